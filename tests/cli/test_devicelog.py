"""``loadgen devicelog`` as a user sees it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from loadgen.analysis.runvalues import machine_facts
from loadgen.cli import main
from loadgen.errors import ExitCode
from loadgen.protocol.firmware_log import LogEvent
from loadgen.protocol.stages import Stage
from loadgen.recording.record import RunRecord
from loadgen.store import load_record, read_histograms, read_intervals
from tests.diagnosis.logs import PUBLISHED, Script, published


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "120")


def test_show_the_published_log(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devicelog", "show", str(PUBLISHED)]) == ExitCode.OK
    captured = capsys.readouterr()
    assert captured.err == ""
    rows = captured.out.splitlines()
    assert rows[0].endswith(": 1 attempt to connect, 1 failed")
    assert rows[2].split()[:9] == ["1", "1", "5.346s", "288", "286", "94", "–", "–", "–"]
    assert rows[2].endswith("key/closed -19, after 264 ms")
    for part in (
        "0.6.2 to 0.6.4 (loadgen plays p1@0.6.4)",
        'line 8, "Started: Receive nonce": 0.6.1-rc.1 to 0.7.0',
        "type:255: the address record is erased",
        "16 lines, 16 of a device, 14 about its connection",
    ):
        assert part in captured.out


def test_show_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devicelog", "show", str(PUBLISHED), "--json"]) == ExitCode.OK
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "loadgen/devicelog/1"
    (attempt,) = document["attempts"]
    assert attempt["stages_ms"] == {
        "connect": 288, "nonce": 286, "encrypt": 94, "key": None, "unwrap": None, "hello": None,
    }  # fmt: skip
    assert (attempt["stage"], attempt["reason"], attempt["waited_ms"]) == ("key", "closed", 264)
    assert attempt["failed_line"] == {"line": 12, "text": "Unable to receive key -19"}
    assert document["firmware"]["profiles"] == ["p1@0.6.4"]


def test_a_log_without_an_attempt_has_no_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "quiet.log"
    log.write_text("0000000100 [app] INFO: hello\n", encoding="utf-8")
    assert main(["devicelog", "show", str(log)]) == ExitCode.INCONCLUSIVE
    assert "no attempt to connect" in capsys.readouterr().out


def test_what_is_no_log_shows_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, data in (("empty.log", b""), ("a.out", b"\x7fELF" + bytes(200)), ("note.txt", b"nothing here\n")):
        file = tmp_path / name
        file.write_bytes(data)
        assert main(["devicelog", "show", str(file)]) == ExitCode.USAGE
        captured = capsys.readouterr()
        assert captured.out == ""
        assert name in captured.err
        assert "Traceback" not in captured.err


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(published().encode("utf-16-le"))))
    assert main(["devicelog", "show", "-"]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("standard input: 1 attempt to connect, 1 failed\n")
    monkeypatch.setattr("sys.stdin", None)
    assert main(["devicelog", "show", "-"]) == ExitCode.USAGE
    assert "standard input: the log is empty" in capsys.readouterr().err


def test_a_folder_of_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["devicelog", "import", str(tmp_path)]) == ExitCode.USAGE
    said = " ".join(capsys.readouterr().err.split())
    assert f"{tmp_path}: the log cannot be read: Is a directory Give the logs in it, such as {tmp_path}/*.log." in said


def test_escapes_in_a_log_do_not_reach_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "a.log"
    log.write_text("0000000100 [system] INFO: Resolved host \x9b31mevil to 192.0.2.1\n", encoding="utf-8")
    assert main(["devicelog", "show", str(log)]) == ExitCode.OK
    assert "\x9b" not in capsys.readouterr().out


@pytest.mark.parametrize("columns", ["40", "80", "200"])
def test_any_width(columns: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                   capsys: pytest.CaptureFixture[str]) -> None:  # fmt: skip
    monkeypatch.setenv("COLUMNS", columns)
    log = tmp_path / "a.log"
    log.write_text(Script("2.3.1").attempt(9_000).attempt(80_000).attempt(4_000).text, encoding="utf-8")
    assert main(["devicelog", "show", str(log)]) == ExitCode.OK
    assert capsys.readouterr().out.count("completed") >= 3


# --- import


def written(tmp_path: Path, name: str, script: Script) -> str:
    file = tmp_path / name
    file.write_text(script.text, encoding="utf-8")
    return str(file)


def imported(tmp_path: Path, capsys: pytest.CaptureFixture[str], *files: str, code: int = 0) -> RunRecord:
    assert main(["devicelog", "import", *files, "--results", str(tmp_path / "results"), "--json"]) == code
    capsys.readouterr()
    (folder,) = (tmp_path / "results").iterdir()
    return load_record(folder)


def test_import_makes_a_record_with_the_stages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = Script("0.7.0")
    for number in range(30):
        script.attempt(5_000 + number * 60_000)
    record = imported(tmp_path, capsys, written(tmp_path, "a.log", script))
    assert (record.counts.started, record.counts.completed, record.counts.failed) == (30, 30, 0)
    expected_us = {
        "connect": 105_000, "nonce": 150_000, "encrypt": 93_000, "key": 107_000,
        "unwrap": 420_000, "hello": 110_000, "handshake": 985_000, "cloud": 472_000,
    }  # fmt: skip
    for stage, time_us in expected_us.items():
        stats = record.stages[stage]
        assert (stats.count, stats.min_us, stats.max_us) == (30, time_us, time_us)
        assert stats.p50_us == pytest.approx(time_us, rel=1e-3)
    assert record.stages["response"].count == record.stages["schedule_lag"].count == 0
    assert (record.rate.offered_per_s, record.generator.workers, record.validity.verdict) == (None, 0, "valid")
    assert record.duration_s == pytest.approx(29 * 60 + 1.05)
    assert record.source is not None
    assert (record.source.kind, record.source.versions) == ("device_log", "0.6.2 to 0.7.0")
    findings = {finding.code: finding for finding in record.validity.findings}
    assert findings.keys() == {"device_log", "few_samples"}
    assert findings["few_samples"].remedy.startswith("Import longer logs of this firmware, or more of them: p99 takes")
    (folder,) = (tmp_path / "results").iterdir()
    histograms = read_histograms(folder)
    assert histograms[Stage.KEY, None].count == 30
    assert (sum(line.completed for line in read_intervals(folder)), record.status) == (30, "complete")


def test_import_counts_failures_and_what_is_not_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failing = Script("0.7.0").attempt(0, until=LogEvent.SET_KEY).say(657, LogEvent.KEY_FAILED, -19)
    failing.say(667, LogEvent.HANDSHAKE_FAILED, -19).attempt(2_000).attempt(90_000, until=LogEvent.KEY)
    terse = Script("0.5.5").attempt(1_000)
    files = [written(tmp_path, "a.log", failing), written(tmp_path, "b.log", terse)]
    record = imported(tmp_path, capsys, *files)
    counts = record.counts
    assert (counts.started, counts.completed, counts.failed, counts.aborted) == (4, 2, 1, 1)
    (failure,) = record.failures
    assert (failure.stage, failure.reason, failure.device_code) == ("key", "closed", -19)
    assert (record.stages["connect"].count, record.stages["key"].count) == (2, 1)
    codes = {finding.code for finding in record.validity.findings}
    assert {"partial_stages", "unfinished_attempts", "mixed_firmware"} <= codes
    assert record.source is not None
    assert record.source.versions == "0.4.7 to 0.5.5 or 0.6.2 to 0.7.0"


def test_a_record_of_logs_can_be_reported_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, version in (("a", "0.7.0"), ("b", "1.5.2")):
        script = Script(version)
        for number in range(20):
            script.attempt(5_000 + number * 10_000)
        log, out = written(tmp_path, f"{name}.log", script), tmp_path / name
        assert main(["devicelog", "import", log, "--label", name, "--results", str(out)]) == ExitCode.OK
        shown = capsys.readouterr().out
        assert "1 device log over" in shown
        assert "Generator" not in shown
    first, second = (next((tmp_path / name).iterdir()) for name in "ab")
    assert first.name.split("-")[1:4] == ["device", "log", "a"]
    assert main(["report", str(first)]) == ExitCode.OK
    assert main(["compare", "--anyway", str(first), str(second)]) == ExitCode.OK
    assert "key p50" in capsys.readouterr().out
    assert main(["gate", str(first), "--threshold", "p(50) of key < 200ms"]) == ExitCode.OK
    assert main(["history", "--results", str(tmp_path / "a")]) == ExitCode.OK


def test_the_machine_that_imports_is_not_the_one_that_was_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [written(tmp_path, f"{name}.log", Script("0.7.0").attempt(5_000)) for name in "abcdefg"]
    record = imported(tmp_path, capsys, *files)
    assert machine_facts(record.environment) == {
        "machine: processor": "the logged device",
        "machine: cores": "0",
        "machine: features": "",
    }
    (folder,) = (tmp_path / "results").iterdir()
    assert main(["report", str(folder), "-o", str(tmp_path / "page.html")]) == ExitCode.OK
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Imported" in page
    assert ">Processor<" not in page
    capsys.readouterr()
    assert main(["report", str(folder)]) == ExitCode.OK
    shown = " ".join(capsys.readouterr().out.split())
    assert "d.log and 3 more; written by Device OS" in shown
    assert main(["history", "--results", str(tmp_path / "results")]) == ExitCode.OK
    assert "on the logged device" in capsys.readouterr().out


def test_import_of_nothing_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    quiet = tmp_path / "quiet.log"
    quiet.write_text("0000000100 [app] INFO: hello\n", encoding="utf-8")
    out = tmp_path / "results"
    assert main(["devicelog", "import", str(quiet), "--results", str(out)]) == ExitCode.INCONCLUSIVE
    assert "nothing was written" in capsys.readouterr().err
    bare = tmp_path / "bare.log"
    bare.write_text("".join(line[11:] for line in published().splitlines(keepends=True)), encoding="utf-8")
    assert main(["devicelog", "import", str(bare), "--results", str(out)]) == ExitCode.USAGE
    assert "no stamps" in capsys.readouterr().err
    assert not out.exists()


def test_import_of_failures_alone_exits_7(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record = imported(tmp_path, capsys, str(PUBLISHED), code=ExitCode.UNREACHABLE)
    assert record.stages["failed"].max_us == 941_000
    assert record.target.address == "device.spark.io"
