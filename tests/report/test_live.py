"""Progress while a run goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.report.live import (
    LiveView,
    Moment,
    PlainView,
    RedrawnView,
    SilentView,
    StageMoment,
    TolerantView,
    live_view,
    plain_line,
)
from loadgen.report.terminal import console_for
from tests.report.test_terminal import Stream

MOMENT = Moment(
    phase="running",
    elapsed_s=4.0,
    share=0.4,
    rate_per_s=400.0,
    in_flight=17,
    completed=1_600,
    failed=3,
    waiting=0,
    generator_cpu=0.11,
    stages=(StageMoment("key", 1_210_000, 9_990_000), StageMoment("handshake", 1_902_000, 12_020_000)),
)


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_a_line() -> None:
    assert plain_line(MOMENT) == (
        "   4s running: 400/s, 17 in flight, 3 failed, CPU 11%; p50/p99: key 1.21 ms/9.99 ms, handshake 1.90 ms/12.0 ms"
    )
    sparse = replace(MOMENT, stages=(), generator_cpu=None, waiting=5)
    assert plain_line(sparse) == "   4s running: 400/s, 17 in flight, 3 failed, 5 waiting"


def test_plain_lines_come_every_second_and_later_every_five() -> None:
    stream = Stream()
    view = PlainView(stream)
    for second in range(1, 26):
        view.show(replace(MOMENT, elapsed_s=float(second)))
        view.show(replace(MOMENT, elapsed_s=second + 0.1))
    seconds = [int(line.split("s", maxsplit=1)[0]) for line in stream.getvalue().splitlines()]
    assert seconds == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25]


def test_plain_lines_fit_the_encoding() -> None:
    stream = Stream("ascii")
    PlainView(stream).show(replace(MOMENT, stages=(StageMoment("key", 5_000, 6_000),)))
    assert "key 5.00 us/6.00 us" in stream.getvalue()


def test_a_silent_view_says_nothing() -> None:
    stream = Stream()
    view = live_view(stream, quiet=True)
    assert isinstance(view, SilentView)
    view.show(MOMENT)
    view.say("a")
    view.close()
    assert stream.getvalue() == ""


def test_the_view_suits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(chosen(Stream()), PlainView)
    assert isinstance(chosen(Stream(terminal=True)), RedrawnView)
    monkeypatch.setenv("TERM", "dumb")
    assert isinstance(chosen(Stream(terminal=True)), PlainView)
    assert isinstance(live_view(None, quiet=False), SilentView)


def chosen(stream: Stream) -> LiveView:
    view = live_view(stream, quiet=False)
    assert isinstance(view, TolerantView)
    return view.view


@pytest.mark.parametrize("terminal", [False, True])
def test_a_reader_that_has_gone_does_not_end_the_run(terminal: bool) -> None:
    stream = Stream(terminal=terminal)
    view = live_view(stream, quiet=False)
    view.show(MOMENT)
    written = stream.getvalue()
    stream.gone = True
    view.show(replace(MOMENT, elapsed_s=9.0))
    view.say("Lost: worker 1")
    view.close()
    assert stream.getvalue() == written


def test_what_is_redrawn_is_removed_and_what_is_said_stays() -> None:
    stream = Stream(terminal=True)
    view = RedrawnView(console_for(stream, 80))
    view.show(MOMENT)
    view.say("Lost: worker 1")
    view.show(replace(MOMENT, waiting=2, generator_cpu=0.9))
    view.close()
    text = stream.getvalue()
    assert "[########............] 40%" in text
    assert "Lost: worker 1" in text
    assert text.rstrip().endswith("\x1b[2K")  # the lines are erased
    view.close()
