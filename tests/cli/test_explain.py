"""``loadgen explain`` as a user sees it."""

from __future__ import annotations

import json

import pytest

from loadgen.cli import main
from loadgen.diagnosis.causes import DOCTOR_CAUSES
from loadgen.errors import ExitCode


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")


def explained(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    assert main(["explain", *words]) == ExitCode.OK
    captured = capsys.readouterr()
    assert captured.err == ""
    return captured.out


@pytest.mark.parametrize("words", [("-19",), ("--", "-19"), ("-19", "at", "key"), ("-19 at key",)])
def test_a_negative_number_is_no_option(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys, *words)
    assert out.startswith("-19: WICED_CONNECTION_CLOSED, wiced_result_t, all versions\n")
    for part in (
        "Unable to receive key -19",
        "red for 250 ms",
        "after one round trip",
        "with DFU or ST-Link",
        "without",
    ):
        assert part in out


def test_a_line_of_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    assert "26: IO_ERROR_LIGHTSSL_HANDSHAKE_RECV_KEY" in explained(
        capsys, "0000006302 [system] WARN: Cloud handshake failed, code=26"
    )


def test_options_stand_anywhere(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = explained(capsys, "--firmware", "p1@2.3.1", "key/closed")
    assert "-220" in before
    assert "code=-19" not in before
    assert explained(capsys, "key/closed", "--firmware=p1@2.3.1") == before
    monkeypatch.setenv("LOADGEN_EXPLAIN_FIRMWARE", "p1@2.3.1")
    assert explained(capsys, "key/closed") == before


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    document = json.loads(explained(capsys, "-19", "--json"))
    assert (document["schema"], document["asked"], document["firmware"]) == ("loadgen/explanation/1", "-19", None)
    (topic,) = document["topics"]
    assert (topic["value"], topic["table"], topic["name"]) == (-19, "wiced_result_t", "WICED_CONNECTION_CLOSED")
    by_id = {cause["id"]: cause for cause in topic["causes"]}
    assert by_id["wrong-server-key"]["evidence"]
    assert by_id["wrong-server-key"]["against"]
    assert {"moment": "round_trip", "text": "after one round trip"}.items() <= topic["timing"][1].items()


def test_a_cause_has_everything(capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys, "wrong-server-key")
    for part in (
        "What speaks for it",
        "What speaks against it",
        "What clouds log",
        "key/closed",
        "with DFU or ST-Link",
    ):
        assert part in out


def test_alone_it_lists_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    out = explained(capsys)
    for part in ("key/closed", "session/ping_timeout", "wiced_result_t", "wrong-server-key", "magenta"):
        assert part in out
    document = json.loads(explained(capsys, "--json"))
    assert "key/closed" in document["endings"]
    assert {"table": "ProtocolError", "value": 6, "name": "DECRYPTION_ERROR"} in document["numbers"]


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["key/closd"], "Did you mean 'key/closed'"),
        (["25", "--firmware", "p1@0.7.0"], "p1@0.7.0 prints no such thing, other versions do"),
        (["-777"], "lists what there is"),
        (["-19", "--frimware", "p1@0.7.0"], "--frimware"),
        (["-19", "--firmware", "p1@0.77"], "unknown firmware 'p1@0.77'"),
    ],
)
def test_unknown_words(words: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *words]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert hint in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("width", [40, 80, 200])
def test_lines_fit_the_terminal(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    for words in (["-19"], ["wrong-server-key"], []):
        assert all(len(line) <= width for line in explained(capsys, *words).splitlines())


@pytest.mark.parametrize("cause", DOCTOR_CAUSES)
def test_every_cause_that_the_doctor_names_is_explained(cause: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", cause]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert out.startswith(cause)
    assert DOCTOR_CAUSES[cause].remedy[:30].lower() in out.lower()
