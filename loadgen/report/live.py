"""Progress while a run goes on, on stderr.

On a terminal a few lines that are redrawn; elsewhere one plain line a second at first, then one every five seconds, and
after five minutes two a minute, so that a CI log stays readable. The view computes nothing but text: what it shows is a
:class:`Moment`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from loadgen.protocol.stages import Stage
from loadgen.report.summary import best_unit, three_digits
from loadgen.report.terminal import can_redraw, console_for, fit, plain_text, wrapped
from loadgen.units import format_count, format_ns, format_number_of, format_percent, format_rate

PAUSES_S: Final = ((10, 1), (300, 5), (float("inf"), 30))
"""Until when a plain line comes how often, both in s."""

_BAR_CELLS: Final = 20
_LEAST_WIDTH: Final = 40
_BESIDE_FROM: Final = 100
"""From so many columns on what fails stands beside the stages."""


@dataclass(frozen=True, slots=True)
class StageMoment:
    """A stage over the last second. Times in ns, whatever the number of samples."""

    stage: str
    p50_ns: int
    p99_ns: int


@dataclass(frozen=True, slots=True)
class FailuresMoment:
    """What has failed so far: (count, what) of the most frequent kinds, and how many others there are."""

    kinds: tuple[tuple[int, str], ...] = ()
    other_kinds: int = 0
    other_count: int = 0


@dataclass(frozen=True, slots=True)
class Moment:
    """One second of a run.

    ``elapsed_s`` counts from the begin of the warm-up; ``share`` is how much of the run is over, None where that
    is not known. Rates and ``generator_cpu`` (1 is all of it) are those of the last second. ``title`` says what is run,
    ``step`` which part of its schedule is on, where there are several.
    """

    phase: str
    elapsed_s: float
    share: float | None
    rate_per_s: float
    in_flight: int
    completed: int
    failed: int
    waiting: int
    generator_cpu: float | None
    stages: tuple[StageMoment, ...]
    failures: FailuresMoment = FailuresMoment()
    title: str = ""
    step: str = ""


class LiveView(Protocol):
    """Where progress goes."""

    def show(self, moment: Moment) -> None:
        """Show how things stand."""

    def say(self, text: str) -> None:
        """A sentence that stays."""

    def close(self) -> None:
        """Remove what is redrawn; what was said stays."""


def live_view(stream: TextIO | None, *, quiet: bool) -> LiveView:
    """The view that suits ``stream``; None is a standard error that was closed before the start."""
    if quiet or stream is None:
        return SilentView()
    if can_redraw(stream):
        console = console_for(stream, least=0)
        if console.width >= _LEAST_WIDTH:
            return TolerantView(RedrawnView(console))
    return TolerantView(PlainView(stream))


class TolerantView:
    """Another view for as long as it can be written; a reader that has gone must not end the run."""

    def __init__(self, view: LiveView) -> None:
        self.view = view

    def show(self, moment: Moment) -> None:
        """As the other view does."""
        with self._or_silence():
            self.view.show(moment)

    def say(self, text: str) -> None:
        """As the other view does."""
        with self._or_silence():
            self.view.say(text)

    def close(self) -> None:
        """As the other view does."""
        with self._or_silence():
            self.view.close()

    @contextmanager
    def _or_silence(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            self.view = SilentView()


class SilentView:
    """No progress."""

    def show(self, moment: Moment) -> None:
        """Nothing."""

    def say(self, text: str) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


class PlainView:
    """Lines that are written once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._next_s = 0.0
        self._title = ""

    def show(self, moment: Moment) -> None:
        """One line, unless one was written shortly before; what is run stands above the first."""
        if moment.title != self._title:
            self._title = moment.title
            self.say(moment.title)
        if moment.elapsed_s < self._next_s:
            return
        pause_s = next(pause_s for until_s, pause_s in PAUSES_S if moment.elapsed_s < until_s)
        self._next_s = moment.elapsed_s + pause_s - 0.5  # half a second of tolerance for a late poll
        self.say(plain_line(moment))

    def say(self, text: str) -> None:
        """One line."""
        self._stream.write(wrapped(fit(plain_text(text) + "\n", self._stream.encoding), self._stream))
        self._stream.flush()

    def close(self) -> None:
        """Nothing: lines stay."""


class RedrawnView:
    """A few lines of a terminal, redrawn."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None

    def show(self, moment: Moment) -> None:
        """Redraw."""
        if self._live is None:
            self._live = Live(
                console=self._console,
                auto_refresh=False,
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            self._live.start()
        self._live.update(drawing(moment, self._console), refresh=True)

    def say(self, text: str) -> None:
        """A line above what is redrawn."""
        self._console.print(Text(fit(plain_text(text), self._console.encoding)))

    def close(self) -> None:
        """Remove the lines."""
        if self._live is not None:
            self._live.stop()
            self._live = None


def plain_line(moment: Moment) -> str:
    """``moment`` in one line of fewer than 100 columns, which stand below each other from line to line."""
    parts = [
        f"{moment.elapsed_s:4.0f}s" + ("" if moment.share is None else f" {moment.share * 100:3.0f} %"),
        *([moment.phase] if moment.phase != "running" else []),
        f"{format_rate(moment.rate_per_s):>7}",
        f"{format_count(moment.in_flight)} in flight",
        f"{format_count(moment.failed)} failed",
    ]
    if moment.waiting:
        parts.append(f"{format_count(moment.waiting)} waiting")
    if moment.generator_cpu is not None:
        parts.append(f"CPU {format_percent(moment.generator_cpu)}")
    if moment.stages:
        whole = next((stage for stage in moment.stages if stage.stage == Stage.HANDSHAKE.value), moment.stages[-1])
        parts.append(f"{whole.stage} p50 {format_ns(whole.p50_ns)}, p99 {format_ns(whole.p99_ns)}")
    return "  ".join(parts)


def drawing(moment: Moment, console: Console) -> Group:
    """``moment`` in a few lines: what is run, how far, how fast, how long each stage takes, what fails."""
    parts: list[RenderableType] = []
    if moment.title:
        parts.append(Text(fit(plain_text(moment.title), console.encoding), no_wrap=True, overflow="ellipsis"))
    head = Text(f"{moment.phase}  {moment.elapsed_s:.0f}s", style="bold")
    if moment.share is not None:
        filled = round(_BAR_CELLS * min(max(moment.share, 0.0), 1.0))
        head.append(f"  [{'#' * filled}{'.' * (_BAR_CELLS - filled)}] {format_percent(moment.share)}", style="not bold")
    if moment.step:
        head.append(f"  {moment.step}", style="not bold")
    parts += [head, _numbers(moment, console.width)]
    stages, failures = _stages(moment, console), _failures(moment)
    if moment.stages and failures and console.width >= _BESIDE_FROM:
        both = Table.grid(padding=(0, 6, 0, 0))
        both.add_row(stages, Group(*failures))
        return Group(*parts, both)
    return Group(*parts, *([stages] if moment.stages else []), *failures)


def _numbers(moment: Moment, width: int) -> Text:
    """Counts by name; a line is broken between two of them only."""
    numbers = [
        ("rate", format_rate(moment.rate_per_s), ""),
        ("in flight", format_count(moment.in_flight), ""),
        ("completed", format_count(moment.completed), ""),
        ("failed", format_count(moment.failed), "red" if moment.failed else ""),
    ]
    if moment.waiting:
        numbers.append(("waiting", format_count(moment.waiting), "yellow"))
    if moment.generator_cpu is not None:
        numbers.append(("CPU", format_percent(moment.generator_cpu), "yellow" if moment.generator_cpu >= 0.8 else ""))
    line = Text()
    taken = 0
    for name, value, style in numbers:
        length = len(name) + 1 + len(value)
        if taken:
            apart = "   " if taken + 3 + length <= width else "\n"
            line.append(apart)
            taken = taken + 3 if apart != "\n" else 0
        line.append(f"{name} ", "dim").append(value, style)
        taken += length
    return line


def _stages(moment: Moment, console: Console) -> Table:
    """As in the summary: a unit a row, so that its numbers can be compared."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("last second", no_wrap=True)
    table.add_column("", no_wrap=True)
    for name in ("p50", "p99"):
        table.add_column(name, justify="right", no_wrap=True, min_width=6)
    for stage in moment.stages:
        unit, factor = best_unit(stage.p50_ns, [stage.p50_ns, stage.p99_ns])
        values = (three_digits(value / factor) for value in (stage.p50_ns, stage.p99_ns))
        table.add_row(stage.stage, fit(unit, console.encoding), *values)
    return table


def _failures(moment: Moment) -> list[Text]:
    """The most frequent kinds, and a line for all others."""
    found = moment.failures
    if not found.kinds:
        return []
    width = max(len(format_count(count)) for count in (found.other_count, *(count for count, _ in found.kinds)))
    lines = [Text("failed so far", style="dim")]
    lines += [
        Text.assemble((f"{format_count(count):>{width}}", "red"), f"  {plain_text(what)}")
        for count, what in found.kinds
    ]
    if found.other_kinds:
        kinds = format_number_of(found.other_kinds, "other kind")
        lines.append(Text.assemble((f"{format_count(found.other_count):>{width}}", "red"), f"  of {kinds}"))
    return lines
