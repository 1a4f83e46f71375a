"""A progress bar on a terminal, a line every few seconds elsewhere, nothing with ``-q``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from loadgen import clock
from loadgen.cli.messages import show_note
from loadgen.report.terminal import can_redraw, console_for

ProgressCallback = Callable[[int, int | None], None]
"""Called with what is done and how much there is to do, None while nobody knows."""

_LINE_EVERY_NS: Final = 2 * clock.NS_PER_S


@contextmanager
def fleet_progress(title: str, *, quiet: bool) -> Iterator[ProgressCallback]:
    """Show progress on stderr while the block runs."""
    if quiet or sys.stderr is None:
        yield lambda _done, _total: None
        return
    if can_redraw(sys.stderr):
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=console_for(sys.stderr), transient=True) as bar:
            task = bar.add_task(title, total=None)
            yield lambda done, total: bar.update(task, completed=done, total=total)
        show_note(f"{title}: done")
    else:
        show_note(f"{title} …")
        yield _Lines()
        show_note(f"{title}: done")


class _Lines:
    """A plain line every two seconds."""

    def __init__(self) -> None:
        self._next_ns = clock.monotonic_ns() + _LINE_EVERY_NS

    def __call__(self, done: int, total: int | None) -> None:
        now_ns = clock.monotonic_ns()
        if now_ns >= self._next_ns and (total is None or done < total):
            self._next_ns = now_ns + _LINE_EVERY_NS
            show_note(f"  {done:,}" if total is None else f"  {done:,} of {total:,}")
