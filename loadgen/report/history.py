"""A history on a terminal or as JSON: the stored runs of a scenario as a table, and how their numbers went."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TextIO

import msgspec
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from loadgen.analysis.trend import History, HistoryRow, Trend
from loadgen.report.summary import NO_VALUE
from loadgen.report.terminal import console_for, fit, plain_text
from loadgen.report.verdicts import format_metric
from loadgen.units import format_number_of

HISTORY_SCHEMA: Final = "loadgen/history/1"

_BARS: Final = "▁▂▃▄▅▆▇█"
_LEAST_SPAN: Final = 0.2
"""A sparkline spans this share of its largest value at least: noise of a few per cent looks as flat as it is."""
_WIDE_FROM: Final = 100
_LABEL_WIDTH: Final = 16
_LEAST_LABEL: Final = 6
_NARROW_TIME: Final = len("01-31 23:59")
_ID_WIDTH: Final = 8
_MARK_WIDTH: Final = 4
_APART: Final = 2


def sparkline(points: Sequence[float]) -> str:
    """One character a point, the higher the larger.

    Args:
        points: at least one.
    """
    low, high = min(points), max(points)
    span = max(high - low, _LEAST_SPAN * abs(high)) or 1.0
    floor = max((low + high - span) / 2, min(low, 0.0))
    steps = len(_BARS)
    return "".join(_BARS[min(int((point - floor) / span * steps), steps - 1)] for point in points)


def write_histories(
    histories: Sequence[History], metrics: Sequence[str], stream: TextIO, width: int | None = None
) -> None:
    """Every history: its heading, its runs, and a line for each number.

    Args:
        histories: one a scenario and machine.
        metrics: columns of the tables.
        stream: a terminal, a pipe or a file.
        width: columns; None asks the terminal, 80 where there is none.
    """
    console = console_for(stream, width)
    with console.capture() as capture:
        for index, history in enumerate(histories):
            if index:
                console.print()
            for part in _parts(history, metrics, console.width):
                console.print(part)
    lines = (line.rstrip(" ") for line in capture.get().split("\n"))
    stream.write(fit("\n".join(lines), stream.encoding))


def _parts(history: History, metrics: Sequence[str], width: int) -> Iterable[RenderableType]:
    newest = history.rows[-1]
    runs = format_number_of(history.total, "run")
    shown = "" if len(history.rows) == history.total else f", the newest {len(history.rows):,} shown"
    where = f"{plain_text(newest.processor)} (machine {newest.machine})"
    name = plain_text(newest.scenario) or "(no scenario)"
    yield Text.assemble((name, "bold"), f"  {runs} on {where}{shown}")
    yield ""
    layout = _layout(history, metrics, width)
    yield _table(history, layout)
    left_out = [metric for metric in metrics if metric not in layout.metrics]
    if left_out:
        yield Text(f"Without {', '.join(left_out)}: there is no room in {width} columns.", style="dim")
    marks = [f"{number}  {plain_text(note)}" for note, number in _numbered(history.notes).items()]
    if marks:
        yield Text("Not in the trend:", style="dim")
        yield from (Padding(Text(mark, style="dim"), (0, 0, 0, 2)) for mark in marks)
    if history.trends:
        yield ""
        yield from _trend_lines(history.trends, width)


def _numbered(notes: Iterable[str]) -> dict[str, int]:
    """Each note once, with its number."""
    return {note: number for number, note in enumerate(dict.fromkeys(note for note in notes if note), start=1)}


@dataclass(frozen=True, slots=True)
class _Layout:
    """What fits into a width: the year and the seconds only where it is wide, as many numbers as stand unbroken."""

    wide: bool
    metrics: tuple[str, ...]
    label_width: int
    """0: no run has a label."""

    def head(self, metric: str) -> str:
        """Name of a column; in two lines where there is little room."""
        return metric if self.wide else "\n".join(metric.rsplit(" ", 1))

    def time(self, started_at: str) -> str:
        """When a run has begun."""
        return started_at[: 19 if self.wide else 16].replace("T", " ")[0 if self.wide else 5 :]


def _layout(history: History, metrics: Sequence[str], width: int) -> _Layout:
    label = max((len(row.values.label or "") for row in history.rows), default=0)
    free = width - _NARROW_TIME - _ID_WIDTH - _MARK_WIDTH - 3 * _APART
    if width >= _WIDE_FROM:
        return _Layout(True, tuple(metrics), min(label, _LABEL_WIDTH))
    free -= min(label, _LEAST_LABEL) + _APART if label else 0
    shown: list[str] = []
    for metric in metrics:
        words = metric.rsplit(" ", 1)
        free -= max(map(len, [*words, *(_cell(row, metric) for row in history.rows)])) + _APART
        if shown and free < 0:
            break
        shown.append(metric)
    return _Layout(False, tuple(shown), min(label, _LEAST_LABEL + max(free, 0)) if label else 0)


def _table(history: History, layout: _Layout) -> Table:
    numbers = _numbered(history.notes)
    table = Table(box=None, pad_edge=False, padding=(0, _APART, 0, 0), header_style="dim")
    table.add_column("started", no_wrap=True)
    table.add_column("id", no_wrap=True)
    if layout.label_width:
        table.add_column("label", no_wrap=True, max_width=layout.label_width, overflow="ellipsis")
    for metric in layout.metrics:
        table.add_column(layout.head(metric), justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row, note in zip(history.rows, history.notes, strict=True):
        label = [plain_text(row.values.label or "")] if layout.label_width else []
        mark = f"[{numbers[note]}]" if note else ""
        cells = [plain_text(row.values.id), *label, *(_cell(row, metric) for metric in layout.metrics), mark]
        table.add_row(*map(Text, (layout.time(row.values.started_at), *cells)), style="dim" if note else "")
    return table


def _cell(row: HistoryRow, metric: str) -> str:
    value = row.values.values.get(metric)
    return NO_VALUE if value is None else format_metric(value, row.values.units[metric])


def _trend_lines(trends: Sequence[Trend], width: int) -> Iterable[RenderableType]:
    """A sparkline each, and what it shows in words: beside it where there is room, else below."""
    longest = max(len(trend.metric) for trend in trends)
    room = max(width - longest - 2, 10)
    for trend in trends:
        line, words = sparkline(trend.points[-room:]), _trend_text(trend)
        beside = f"  {words}" if len(line) + 2 + len(words) <= room else ""
        yield Text.assemble((f"{trend.metric:<{longest}}  ", "bold"), (line, "cyan"), (beside, "dim"))
        if not beside:
            yield Padding(Text(words, style="dim"), (0, 0, 0, longest + 2))


def _trend_text(trend: Trend) -> str:
    latest = format_metric(trend.points[-1], trend.unit)
    low, high = min(trend.points), max(trend.points)
    if trend.usual is None:
        return f"{latest}, one run"
    if low == high:
        return f"{latest} throughout"
    before = len(trend.points) - 1
    usual = "the run before" if before == 1 else f"the median of {before:,} before"
    change = "" if trend.change is None else f" ({100 * trend.change:+.1f} % on {usual})".replace("-", "−", 1)
    return f"{format_metric(low, trend.unit)} … {format_metric(high, trend.unit)}, latest {latest}{change}"


def histories_document(
    results: str,
    histories: Sequence[History],
    metrics: Sequence[str],
    unreadable: Mapping[str, str],
    running: Sequence[str],
) -> bytes:
    """The same as JSON, schema ``loadgen/history/1``. Times in µs, rates per second, shares as fractions.

    Args:
        results: the folder.
        histories: what was found.
        metrics: numbers asked for.
        unreadable: folders whose record cannot be read, and why.
        running: folders of records that are not finished.
    """
    return msgspec.json.encode(
        {
            "schema": HISTORY_SCHEMA,
            "results": results,
            "metrics": metrics,
            "histories": [_history(history, metrics) for history in histories],
            "unreadable": [{"folder": folder, "problem": problem} for folder, problem in unreadable.items()],
            "running": running,
        }
    )


def _history(history: History, metrics: Sequence[str]) -> dict[str, Any]:
    newest = history.rows[-1]
    return {
        "scenario": newest.scenario,
        "machine": newest.machine,
        "processor": newest.processor,
        "total": history.total,
        "runs": [_run(row, note, metrics) for row, note in zip(history.rows, history.notes, strict=True)],
        "trends": [msgspec.to_builtins(trend) for trend in history.trends],
    }


def _run(row: HistoryRow, note: str, metrics: Sequence[str]) -> dict[str, Any]:
    return {
        "folder": row.folder,
        "id": row.values.id,
        "label": row.values.label,
        "started_at": row.values.started_at,
        "status": row.status,
        "not_in_trend": note or None,
        "values": {metric: row.values.values.get(metric) for metric in metrics},
    }
