"""``loadgen devicelog`` as a user sees it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadgen.cli import main
from loadgen.errors import ExitCode
from tests.diagnosis.logs import PUBLISHED, Script


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
