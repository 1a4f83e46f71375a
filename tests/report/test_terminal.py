"""The summary on a terminal, against golden files.

``LOADGEN_GOLDEN=write`` writes them anew; look at what has changed.
"""

from __future__ import annotations

import errno
import io
import os
from pathlib import Path

import pytest

from loadgen.report.summary import listed_failures, summarise
from loadgen.report.terminal import (
    MOST_FAILURES,
    can_redraw,
    fit,
    plain_text,
    supports_colour,
    wrapped,
    write_summary,
)
from tests.report.samples import bad_record, calibrated_record, empty_record, good_record, many_kinds_record

GOLDEN = Path(__file__).parent / "golden"
RECORDS = {"good": good_record, "bad": bad_record, "empty": empty_record, "calibrated": calibrated_record}
PATH = "results/20250102T030405Z-quick-1a2b3c4d"


class Stream(io.StringIO):
    """Text with an encoding, and a terminal or not."""

    def __init__(self, encoding: str = "utf-8", *, terminal: bool = False) -> None:
        super().__init__()
        self._encoding = encoding
        self._terminal = terminal
        self.gone = False
        """Its reader has gone."""

    def write(self, text: str, /) -> int:
        if self.gone:
            raise OSError(errno.EIO, "Input/output error")
        return super().write(text)

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._encoding

    def isatty(self) -> bool:
        return self._terminal


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def rendered(name: str, width: int, *, terminal: bool = False, encoding: str = "utf-8") -> str:
    stream = Stream(encoding, terminal=terminal)
    write_summary(summarise(RECORDS[name](), PATH), stream, width)
    return stream.getvalue()


@pytest.mark.parametrize("colour", [False, True], ids=["plain", "colour"])
@pytest.mark.parametrize("width", [60, 80, 200])
@pytest.mark.parametrize("name", list(RECORDS))
def test_golden(name: str, width: int, colour: bool) -> None:
    text = rendered(name, width, terminal=colour)
    golden = GOLDEN / f"{name}-{width}-{'colour' if colour else 'plain'}.txt"
    if os.environ.get("LOADGEN_GOLDEN") == "write":
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [44, 60, 80, 200])
@pytest.mark.parametrize("name", list(RECORDS))
def test_nothing_is_wider_than_the_terminal_but_the_path(name: str, width: int) -> None:
    for line in rendered(name, width).splitlines():
        assert len(line) <= width or PATH in line


def test_the_path_can_be_copied() -> None:
    assert PATH in rendered("good", 30)


@pytest.mark.parametrize("width", [60, 80])
def test_numbers_are_never_cut(width: int) -> None:
    assert "…" not in rendered("bad", width)


def test_no_color_leaves_no_style(monkeypatch: pytest.MonkeyPatch) -> None:
    styled = rendered("bad", 80, terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    text = rendered("bad", 80, terminal=True)
    assert not supports_colour(Stream(terminal=True))
    assert "\x1b" in styled
    assert text == rendered("bad", 80)


def test_an_invalid_run_says_why_before_it_shows_a_number() -> None:
    text = rendered("bad", 80)
    verdict, reason, remedy, table, end = map(
        text.index,
        ("INVALID  905", "invalid: Worker 1", "  Look into the system's log", "schedule_lag", "INVALID  Do not use"),
    )
    assert verdict < reason < remedy < table < end
    assert text.rstrip().endswith("INVALID  Do not use these numbers: see the top.")
    assert "Do not use" not in rendered("good", 80)


def test_a_thousand_kinds_of_failures_take_a_screen_at_most() -> None:
    stream = Stream()
    write_summary(summarise(many_kinds_record(1_000), PATH), stream, 80)
    text = stream.getvalue()
    lines = text[text.index("Failures\n") : text.index("Failures after Hello")].splitlines()
    assert lines[1] == "1,000     14 %  key/reason_0 [p1@0.7.0], device code -19"
    assert lines[2].strip() == "explanation 0"
    assert sum("key/reason" in line for line in lines) == MOST_FAILURES
    assert sum("explanation" in line for line in lines) == 4, "each once"
    rest = sum(range(1, 1_001 - MOST_FAILURES))
    assert f"and 990 more kinds, {rest:,} failures; `loadgen report -o report.html` shows" in lines[-3]
    assert len(lines) < 20


@pytest.mark.parametrize(("kinds", "more"), [(10, ""), (11, "1 more kind, 1 failure")])
def test_nothing_is_left_out_without_a_word(kinds: int, more: str) -> None:
    rows = summarise(many_kinds_record(kinds), PATH).failures
    assert listed_failures(rows, 10).more == more
    assert len(listed_failures(rows, 10).rows) == 10


@pytest.mark.parametrize(
    ("name", "value", "redrawn"),
    [
        ("TERM", "xterm", True),
        ("TERM", "dumb", False),
        ("TERM", "", False),
        ("CI", "true", False),
        ("CI", "1", False),
        ("CI", "false", True),
    ],
)
def test_what_can_be_redrawn(monkeypatch: pytest.MonkeyPatch, name: str, value: str, redrawn: bool) -> None:
    monkeypatch.setenv(name, value)
    assert can_redraw(Stream(terminal=True)) is redrawn
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert not can_redraw(Stream())


def test_messages_are_broken_between_words_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    path = "results/20250102T030405Z-quick-1a2b3c4d-and-a-long-label"
    text = f"warning: a sentence that is longer than a line\n  {path} is whole\n"
    assert wrapped(text, Stream(terminal=True)) == (
        f"warning: a sentence that is longer than\n  a line\n  {path}\n    is whole\n"
    )
    assert wrapped(text, Stream()) == text


@pytest.mark.parametrize("columns", ["1", "20", "39"])
def test_a_very_narrow_terminal_breaks_lines_rather_than_numbers(monkeypatch: pytest.MonkeyPatch, columns: str) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    stream = Stream(terminal=True)
    write_summary(summarise(good_record(), PATH), stream)
    assert "…" not in stream.getvalue()


def test_a_dumb_terminal_gets_no_escapes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in rendered("bad", 80, terminal=True)


def test_a_stream_that_knows_only_ascii() -> None:
    text = rendered("bad", 80, encoding="ascii")
    assert text.isascii()
    assert " us " in text
    assert "?" not in text


def test_text_from_outside_cannot_steer_the_terminal() -> None:
    record = good_record()
    record.target.address = "evil\x1b[2Jhost\u202e\r"
    record.scenario["name"] = "[red]x[/red]"
    stream = Stream()
    write_summary(summarise(record, PATH), stream, 200)
    assert "\x1b" not in stream.getvalue()
    assert "\u202e" not in stream.getvalue()
    assert "[red]x[/red]" in stream.getvalue()


@pytest.mark.parametrize(
    ("text", "shown"),
    [("plain", "plain"), ("µs – ü", "µs – ü"), ("a\nb", "a\nb"), ("\x1b[1m", "\\x1b[1m"), ("\u202ex", "\\u202ex")],
)
def test_plain_text(text: str, shown: str) -> None:
    assert plain_text(text) == shown


def test_fit() -> None:
    assert fit("10 µs – 1−2…", "latin-1") == "10 us - 1-2..."
    assert fit("10 µs", "latin-1") == "10 µs"
    assert fit("日", "ascii") == "?"
    assert fit("µ", None) == "µ"
