"""Progress while a run goes on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.report.live import (
    FailuresMoment,
    LiveView,
    Moment,
    PlainView,
    RedrawnView,
    SilentView,
    StageMoment,
    TolerantView,
    drawing,
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
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "CI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_a_line() -> None:
    assert plain_line(MOMENT) == (
        "   4s  40 %    400/s  17 in flight  3 failed  CPU 11 %  handshake p50 1.90 ms, p99 12.0 ms"
    )
    sparse = replace(MOMENT, phase="draining", share=None, stages=(), generator_cpu=None, waiting=5)
    assert plain_line(sparse) == "   4s  draining    400/s  17 in flight  3 failed  5 waiting"


def test_plain_lines_become_fewer() -> None:
    stream = Stream()
    view = PlainView(stream)
    for second in range(1, 401):
        view.show(replace(MOMENT, elapsed_s=float(second)))
        view.show(replace(MOMENT, elapsed_s=second + 0.1))
    seconds = [int(line.split("s", maxsplit=1)[0]) for line in stream.getvalue().splitlines()]
    assert seconds == [*range(1, 10), *range(10, 300, 5), *range(300, 401, 30)]


def test_what_is_run_stands_above_the_lines_once() -> None:
    stream = Stream()
    view = PlainView(stream)
    for second in (1.0, 2.0):
        view.show(replace(MOMENT, elapsed_s=second, title="quick: Open loop"))
    first, *lines = stream.getvalue().splitlines()
    assert first == "quick: Open loop"
    assert [line.split()[0] for line in lines] == ["1s", "2s"]


def test_plain_lines_fit_the_encoding() -> None:
    stream = Stream("ascii")
    PlainView(stream).show(replace(MOMENT, stages=(StageMoment("key", 5_000, 6_000),)))
    assert "key p50 5.00 us, p99 6.00 us" in stream.getvalue()


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
    monkeypatch.setenv("COLUMNS", "30")
    assert isinstance(chosen(Stream(terminal=True)), PlainView)
    assert isinstance(live_view(None, quiet=False), SilentView)


@pytest.mark.parametrize(("name", "value"), [("TERM", "dumb"), ("TERM", "unknown"), ("TERM", ""), ("CI", "true")])
def test_nothing_is_redrawn_where_nobody_sees_lines_change(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    assert isinstance(chosen(Stream(terminal=True)), PlainView)


def test_a_pipe_that_is_given_colours_is_not_redrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream = Stream()
    view = live_view(stream, quiet=False)
    view.show(MOMENT)
    view.close()
    assert "\x1b" not in stream.getvalue()


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
    assert "[########............] 40 %" in text
    assert "Lost: worker 1" in text
    assert text.rstrip().endswith("\x1b[2K")  # the lines are erased
    view.close()


def drawn(moment: Moment, width: int) -> list[str]:
    """The lines of a terminal of this width, without styles."""
    console = console_for(Stream(), width)
    with console.capture() as capture:
        console.print(drawing(moment, console))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_a_drawing() -> None:
    failures = FailuresMoment(((1_200, "key/closed"), (3, "hello/reset")), other_kinds=2, other_count=7)
    moment = replace(MOMENT, title="quick: Open loop", step="phase 2 of 3: 100/s for 2s", failures=failures)
    lines = [
        "quick: Open loop",
        "running  4s  [########............] 40 %  phase 2 of 3: 100/s for 2s",
        "rate 400/s   in flight 17   completed 1,600   failed 3   CPU 11 %",
    ]
    stages = [
        "last second         p50     p99",
        "key          ms    1.21    9.99",
        "handshake    ms    1.90    12.0",
    ]
    failed = ["failed so far", "1,200  key/closed", "    3  hello/reset", "    7  of 2 other kinds"]
    assert drawn(moment, 80) == [*lines, *stages, *failed]
    wide = drawn(moment, 160)
    assert wide[:3] == lines
    assert [line[37:] for line in wide[3:]] == failed
    assert [line[:37].rstrip() for line in wide[3:6]] == stages


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_drawing_keeps_to_the_width_and_breaks_no_number(width: int) -> None:
    moment = replace(MOMENT, title="t" * 300, completed=123_456_789, failed=98_765, waiting=20_000)
    lines = drawn(moment, width)
    assert max(map(len, lines)) <= width
    for words in ("completed 123,456,789", "waiting 20,000", "CPU 11 %"):
        assert any(words in line for line in lines)
