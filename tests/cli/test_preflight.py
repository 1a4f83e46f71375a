"""``loadgen preflight`` as a user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadgen.cli import main
from loadgen.errors import ExitCode
from tests.fleet import dumps


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_a_modest_run_can_be_carried_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["preflight", "--rate", "10/s", "--max-in-flight", "10"]) == ExitCode.OK
    out = capsys.readouterr().out
    assert "Open files" in out
    assert out.splitlines()[-1].startswith('Nothing on this machine keeps the scenario "quick"')


def test_an_impossible_one_exits_with_3_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--concurrency", "900M", "--devices", "900M", "--workers", "1"]
    assert main(["preflight", *options, "--json"]) == ExitCode.THRESHOLD_FAILED
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["verdict"]) == ("loadgen/preflight/1", "invalid")
    assert document["wanted"]["connections"] == 900_000_000
    assert {finding["code"] for finding in document["findings"] if finding["level"] == "invalid"} >= {"descriptors"}
    assert main(["preflight", *options]) == ExitCode.THRESHOLD_FAILED
    assert "cannot be carried out" in capsys.readouterr().out


def test_the_device_of_a_dump(capsys: pytest.CaptureFixture[str]) -> None:
    """What a run with the dump would need: one device, one connection."""
    Path("p1.bin").write_bytes(dumps.copy())
    assert main(["preflight", "--dct", "p1.bin", "--json"]) == ExitCode.OK
    document = json.loads(capsys.readouterr().out)
    assert (document["verdict"], document["wanted"]["connections"]) == ("valid", 1)
    Path("none.bin").write_bytes(dumps.copy(dumps.section(b"\xff" * 612)))
    assert main(["preflight", "--dct", "none.bin"]) == ExitCode.USAGE
    assert "its device cannot be played" in capsys.readouterr().err
    assert main(["preflight", "--dct", "p1.bin", "--fleet", "f.sqlite"]) == ExitCode.USAGE
    assert "name two fleets" in capsys.readouterr().err
    assert main(["preflight", "--id", "3a" * 12]) == ExitCode.USAGE
    assert "an id belongs to a dump" in capsys.readouterr().err


def test_bad_input_is_refused_as_by_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("preflight", "run"):
        assert main([command, "--source-ip", "192.0.2.77", "--rate", "10/s"]) == ExitCode.USAGE
        assert "192.0.2.77 is no address of this machine" in capsys.readouterr().err


def test_the_environment_has_the_commands_name(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOADGEN_PREFLIGHT_RATE", "fast")
    assert main(["preflight"]) == ExitCode.USAGE
    assert "LOADGEN_PREFLIGHT_RATE" in capsys.readouterr().err
