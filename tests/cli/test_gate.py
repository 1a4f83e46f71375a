"""``loadgen gate``."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import msgspec
import pytest

from loadgen.recording.record import Counts, Finding, Threshold, Validity
from loadgen.store import HISTOGRAMS_FILE, INTERVALS_FILE, RUN_FILE
from tests.analysis.runs import made_record, write, write_set
from tests.cli.verdicts import loadgen

FIXTURE = Path(__file__).parents[1] / "fixtures" / "record-1"
GOOD, BAD, FEW = "p(99) of handshake < 50ms", "p(99) of handshake < 1ms", "p(99.99) of handshake < 1s"

Capture = pytest.CaptureFixture[str]


def test_three_outcomes_and_their_exit_codes(tmp_path: Path, capsys: Capture) -> None:
    folder = write(tmp_path, made_record(1))
    assert loadgen(capsys, "gate", folder, "--threshold", GOOD).code == 0
    assert loadgen(capsys, "gate", folder, "--threshold", GOOD, "--threshold", FEW).code == 5
    done = loadgen(capsys, "gate", folder, "--threshold", GOOD, "--threshold", FEW, "--threshold", BAD)
    assert done.code == 3
    assert re.findall(r"^  (pass|no data|fail) ", done.out, re.MULTILINE) == ["pass", "no data", "fail"]
    assert "observed 12.02 ms" in done.out
    assert done.err == ""


def test_windows_and_counts_come_from_the_logs(capsys: Capture) -> None:
    done = loadgen(
        capsys,
        "gate",
        FIXTURE,
        "--threshold",
        "p(50) of handshake[photon@0.6.3] < 9ms over 1s windows",
        "--threshold",
        "rate of failures < 3% over 1s windows",
        "--threshold",
        "p(97) of key < 10ms",
        "--json",
    )
    thresholds = done.document["runs"][0]["thresholds"]
    assert [found["outcome"] for found in thresholds] == ["pass", "pass", "pass"]
    assert thresholds[2]["samples"] == 600
    assert done.code == 0


def test_every_record_of_a_set_is_held_against_them(tmp_path: Path, capsys: Capture) -> None:
    write_set(tmp_path, "base", 3)
    slow = write(tmp_path, made_record(77, 9.0, label="other"))
    done = loadgen(capsys, "gate", tmp_path, "--threshold", GOOD, "--json")
    assert done.code == 3
    assert [run["verdict"] for run in done.document["runs"]].count("fail") == 1
    assert loadgen(capsys, "gate", tmp_path / "*-base-*", "--threshold", GOOD).code == 0
    assert loadgen(capsys, "gate", "--label", "other", "--results", tmp_path, "--threshold", GOOD).code == 3
    assert loadgen(capsys, "gate", slow / RUN_FILE, slow, "--threshold", GOOD, "--json").document["runs"][1:] == []


def test_own_thresholds_of_a_record(tmp_path: Path, capsys: Capture) -> None:
    record = made_record(1)
    folder = write(tmp_path, record)
    done = loadgen(capsys, "gate", folder)
    assert done.code == 2
    assert "no threshold to hold it against" in done.err
    in_scenario = msgspec.structs.replace(record, id="00000002", scenario={**record.scenario, "thresholds": [GOOD]})
    assert loadgen(capsys, "gate", write(tmp_path, in_scenario)).code == 0
    stored = Threshold(text=BAD, outcome="pass", observed=None, observed_ci=None, limit=0, samples=0)
    judged = msgspec.structs.replace(record, id="00000003", thresholds=[stored])
    assert loadgen(capsys, "gate", write(tmp_path, judged)).code == 3  # evaluated again


def test_invalid_run_never_passes(tmp_path: Path, capsys: Capture) -> None:
    finding = Finding(code="x", level="invalid", observed=1, limit=0, text="The machine was busy.", remedy="Rest.")
    record = msgspec.structs.replace(made_record(1), validity=Validity(verdict="invalid", findings=[finding]))
    done = loadgen(capsys, "gate", write(tmp_path, record), "--threshold", GOOD, "--threshold", BAD)
    assert done.code == 5
    assert done.out.startswith("INVALID")
    assert "The machine was busy." in done.out


def test_empty_run_has_no_data(tmp_path: Path, capsys: Capture) -> None:
    record = msgspec.structs.replace(made_record(1, count=0), counts=Counts())
    done = loadgen(capsys, "gate", write(tmp_path, record), "--threshold", "count of failed == 0")
    assert done.code == 7
    assert "No handshake was completed." in done.out


def test_record_left_running_is_no_pass(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "left"
    shutil.copytree(FIXTURE, folder)
    document = json.loads((folder / RUN_FILE).read_text())
    (folder / RUN_FILE).write_text(json.dumps(document | {"status": "running"}))
    assert loadgen(capsys, "gate", folder, "--threshold", "p(50) of handshake < 1s").code == 5


def test_interrupted_run_is_pointed_out(tmp_path: Path, capsys: Capture) -> None:
    record = msgspec.structs.replace(made_record(1), status="interrupted")
    done = loadgen(capsys, "gate", write(tmp_path, record), "--threshold", GOOD)
    assert done.code == 0
    assert "was interrupted" in done.err


def test_threshold_within_the_noise_of_the_runs_is_pointed_out(tmp_path: Path, capsys: Capture) -> None:
    write_set(tmp_path, "base", 6)
    done = loadgen(capsys, "gate", tmp_path, "--threshold", "p(99) of handshake < 12.5ms")
    assert "less than three times their noise" in done.err


def test_mistakes_in_a_threshold_have_their_place(capsys: Capture) -> None:
    done = loadgen(capsys, "gate", FIXTURE, "--threshold", "p(99) of handshak < 250ms")
    assert done.code == 2
    assert done.err.splitlines()[:3] == [
        "error: --threshold: 'handshak' is no stage (character 10)",
        "  p(99) of handshak < 250ms",
        "           ^",
    ]
    assert done.err.splitlines()[3].startswith('  Did you mean "handshake"? There are: schedule_lag, connect, ')


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["nowhere"], "no record is named so"),
        (["{tmp}"], "the folder has no record"),
        (["{tmp}/*-base-*"], "no record is named so"),
        ([], "no record is named"),
        (["--label", "x", "--results", "{tmp}"], 'no record has the label "x"'),
        ([str(FIXTURE), "--write", "junit"], "no FORMAT=FILE"),
        ([str(FIXTURE), "--write", "pdf=x"], "no FORMAT=FILE"),
        ([str(FIXTURE), "--format", "pdf"], "pdf"),
    ],
)
def test_mistakes_end_with_2(arguments: list[str], text: str, tmp_path: Path, capsys: Capture) -> None:
    done = loadgen(capsys, "gate", *(word.format(tmp=tmp_path) for word in arguments), "--threshold", GOOD)
    assert done.code == 2
    assert text in done.err
    assert done.out == ""


def test_near_names_are_suggested(tmp_path: Path, capsys: Capture) -> None:
    folder = write(tmp_path, made_record(1, label="base"))
    done = loadgen(capsys, "gate", str(folder)[:-1] + "9", "--threshold", GOOD)
    assert f'Did you mean "{folder}"?' in done.err
    done = loadgen(capsys, "gate", "--label", "bas", "--results", tmp_path, "--threshold", GOOD)
    assert '"base"' in done.err


@pytest.mark.parametrize("content", ["{", "[]", '{"schema": "loadgen/run/99"}', '{"schema": "loadgen/run/1"}'])
def test_damaged_or_newer_records_end_with_2(content: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / RUN_FILE).write_text(content)
    done = loadgen(capsys, "gate", tmp_path / "a", "--threshold", GOOD)
    assert done.code == 2
    assert str(tmp_path / "a" / RUN_FILE) in done.err


def test_truncated_and_missing_logs(tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(FIXTURE, folder)
    log = folder / HISTOGRAMS_FILE
    log.write_bytes(log.read_bytes()[:20_000])
    done = loadgen(capsys, "gate", folder, "--threshold", "p(97) of hello < 1s", "--json")
    assert done.code == 5
    assert "cut off" in done.document["runs"][0]["thresholds"][0]["detail"]
    log.unlink()
    (folder / INTERVALS_FILE).unlink()
    done = loadgen(capsys, "gate", folder, "--threshold", "rate of failures < 5% over 1s windows")
    assert done.code == 5
    assert "no log of its seconds" in done.words


def test_files_and_formats(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write(tmp_path, made_record(1))
    out = tmp_path / "reports"
    writes = [f"--write={form}={out / form}" for form in ("junit", "markdown", "csv", "json")]
    done = loadgen(capsys, "gate", folder, "--threshold", BAD, *writes)
    assert done.code == 3
    assert sorted(path.name for path in out.iterdir()) == ["csv", "json", "junit", "markdown"]
    for form in ("junit", "markdown", "csv"):
        shown = loadgen(capsys, "gate", folder, "--threshold", BAD, "--format", form).out
        assert shown == (out / form).read_text(encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    done = loadgen(capsys, "gate", folder, "--threshold", BAD, "--format", "github")
    assert "::error title=Threshold failed::" in done.out
    assert "## Gate: FAIL" in (tmp_path / "summary.md").read_text(encoding="utf-8")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    assert loadgen(capsys, "gate", folder, "--threshold", BAD, "--format", "github").code == 2
    assert loadgen(capsys, "gate", folder, "--threshold", BAD, f"--write=json={folder}").code == 2


def test_thresholds_in_the_environment_are_separated_by_semicolons(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOADGEN_GATE_THRESHOLD", f"{GOOD}; {BAD}")
    assert loadgen(capsys, "gate", write(tmp_path, made_record(1))).code == 3
