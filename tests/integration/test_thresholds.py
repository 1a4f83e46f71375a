"""Thresholds and series of real runs against the run's own mock cloud."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadgen.cli import main
from loadgen.errors import ExitCode
from loadgen.store import load_record

Capture = pytest.CaptureFixture[str]


def test_a_lost_run_ends_early(fleet_path: Path, tmp_path: Path, capsys: Capture) -> None:
    places = ["--fleet", str(fleet_path), "--out", str(tmp_path)]
    threshold = ["--threshold", "p(50) of handshake < 1us", "--abort-on-fail"]
    code = main(["run", "--rate", "100/s", "--duration", "60s", *threshold, *places, "--json", "-q"])
    document = json.loads(capsys.readouterr().out)
    assert document["status"] == "interrupted"
    assert document["duration_s"] < 20
    assert document["thresholds"][0]["outcome"] == "fail"
    valid = document["validity"]["verdict"] == "valid"
    assert code == (ExitCode.THRESHOLD_FAILED if valid else ExitCode.INCONCLUSIVE)


def test_two_sides_are_measured_in_turns(fleet_path: Path, tmp_path: Path, capsys: Capture) -> None:
    places = ["--fleet", str(fleet_path), "--out", str(tmp_path)]
    series = ["--repeat", "2", "--against", "delay=key:constant=50ms", "--label", "x"]
    main(["run", "--rate", "50/s", "--duration", "1s", *series, *places, "--json", "-q"])
    document = json.loads(capsys.readouterr().out)
    assert document["base"]["name"] == "delay=key:constant=50ms, label x-base"
    records = sorted(map(load_record, tmp_path.iterdir()), key=lambda record: record.started_at)
    assert [record.label for record in records] == ["x-base", "x-new", "x-base", "x-new"]
    medians = [record.stages["key"].p50_us or 0.0 for record in records]
    assert min(medians[0::2]) > 50_000 > max(medians[1::2])
