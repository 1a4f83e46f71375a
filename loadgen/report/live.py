"""Progress while a run goes on, on stderr.

On a terminal a few lines that are redrawn; elsewhere one plain line a second at first and then one every five
seconds, so that a CI log stays readable. The view computes nothing but text: what it shows is a :class:`Moment`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Protocol, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from loadgen.report.terminal import console_for, fit, plain_text
from loadgen.units import format_count, format_ns, format_rate

EVERY_SECOND_UNTIL_S: Final = 10
"""So long a plain line comes every second; later only every :data:`LATER_EVERY_S`."""
LATER_EVERY_S: Final = 5

_BAR_CELLS: Final = 20
_LEAST_WIDTH: Final = 40


@dataclass(frozen=True, slots=True)
class StageMoment:
    """A stage over the last second. Times in ns, whatever the number of samples."""

    stage: str
    p50_ns: int
    p99_ns: int


@dataclass(frozen=True, slots=True)
class Moment:
    """One second of a run.

    ``elapsed_s`` counts from the begin of the warm-up; ``share`` is how much of the run is over, None where that
    is not known. Rates and ``generator_cpu`` (1 is all of it) are those of the last second.
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
    console = console_for(stream)
    if console.is_terminal and not console.is_dumb_terminal and console.width >= _LEAST_WIDTH:
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

    def show(self, moment: Moment) -> None:
        """One line, unless one was written shortly before."""
        if moment.elapsed_s < self._next_s:
            return
        pause_s = 1 if moment.elapsed_s < EVERY_SECOND_UNTIL_S else LATER_EVERY_S
        self._next_s = moment.elapsed_s + pause_s - 0.5  # half a second of tolerance for a late poll
        self.say(plain_line(moment))

    def say(self, text: str) -> None:
        """One line."""
        self._stream.write(fit(plain_text(text) + "\n", self._stream.encoding))
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
    """``moment`` in one line."""
    parts = [
        f"{moment.elapsed_s:4.0f}s",
        f"{moment.phase}:",
        f"{format_rate(moment.rate_per_s)},",
        f"{format_count(moment.in_flight)} in flight,",
        f"{format_count(moment.failed)} failed",
    ]
    if moment.waiting:
        parts[-1] += ","
        parts.append(f"{format_count(moment.waiting)} waiting")
    if moment.generator_cpu is not None:
        parts[-1] += ","
        parts.append(f"CPU {moment.generator_cpu:.0%}")
    line = " ".join(parts)
    if moment.stages:
        stages = ", ".join(
            f"{stage.stage} {format_ns(stage.p50_ns)}/{format_ns(stage.p99_ns)}" for stage in moment.stages
        )
        line += f"; p50/p99: {stages}"
    return line


def drawing(moment: Moment, console: Console) -> Group:
    """``moment`` in a few lines: how far, how fast, how long each stage takes."""
    encoding = console.encoding
    head = Text(f"{moment.phase}  {moment.elapsed_s:.0f}s", style="bold")
    if moment.share is not None:
        filled = round(_BAR_CELLS * min(max(moment.share, 0.0), 1.0))
        head.append(f"  [{'#' * filled}{'.' * (_BAR_CELLS - filled)}] {moment.share:.0%}", style="not bold")
    numbers = [
        ("rate", format_rate(moment.rate_per_s), ""),
        ("in flight", format_count(moment.in_flight), ""),
        ("completed", format_count(moment.completed), ""),
        ("failed", format_count(moment.failed), "red" if moment.failed else ""),
    ]
    if moment.waiting:
        numbers.append(("waiting", format_count(moment.waiting), "yellow"))
    if moment.generator_cpu is not None:
        numbers.append(("CPU", f"{moment.generator_cpu:.0%}", "yellow" if moment.generator_cpu >= 0.8 else ""))
    line = Text("   ").join(Text.assemble((f"{name} ", "dim"), (value, style)) for name, value, style in numbers)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("last second", no_wrap=True)
    table.add_column("p50", justify="right", no_wrap=True)
    table.add_column("p99", justify="right", no_wrap=True)
    for stage in moment.stages:
        table.add_row(stage.stage, fit(format_ns(stage.p50_ns), encoding), fit(format_ns(stage.p99_ns), encoding))
    return Group(head, line, table) if moment.stages else Group(head, line)
