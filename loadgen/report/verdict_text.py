"""Gates and comparisons on a terminal, in a pipe or in a CI log; the comparison in the manner of benchstat."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TextIO

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from loadgen.analysis.statistics import median, noise_of
from loadgen.report.summary import NO_VALUE
from loadgen.report.terminal import console_for, fit, plain_text
from loadgen.report.verdicts import CompareRow, ComparisonSummary, GateSummary, format_metric

_STYLES: Final = {"good": "green", "bad": "bold red", "open": "yellow", "plain": ""}
_OUTCOME_STYLES: Final = {
    "pass": "green",
    "fail": "bold red",
    "no data": "yellow",
    "invalid": "bold red",
    "inconclusive": "yellow",
}
_WIDE_FROM: Final = 118
_NOISE_FROM: Final = 78
"""Narrower, the noise beside each value would cost the table its metrics and verdicts; the sentences below have it."""
_LOG_WIDTH: Final = 120


def write_gates(summaries: Sequence[GateSummary], stream: TextIO, width: int | None = None) -> None:
    """Thresholds of some runs, one block a run."""
    _write((part for summary in summaries for part in _gate_parts(summary)), stream, width)


def write_comparison(summary: ComparisonSummary, stream: TextIO, width: int | None = None) -> None:
    """A comparison: the family's rows, the others, what is judged, and what limits it.

    Where there is no terminal, as in a CI log, lines are as long as the table takes.
    """
    if width is None and not stream.isatty():
        width = _LOG_WIDTH
    console = console_for(stream, width)
    _write(_compare_parts(summary, console.width), stream, width)


def spread_lines(values: Mapping[str, Sequence[float]], units: Mapping[str, str]) -> list[str]:
    """A line a metric: the median over some runs, and by how much they differ where that is known.

    Args:
        values: a metric's value in each run; metrics without any are shown as such.
        units: unit by metric.
    """
    lines = []
    for metric, row in values.items():
        noise = noise_of(row)
        value = format_metric(median(row), units.get(metric, "us")) if row else NO_VALUE
        lines.append(f"  {metric:<18} {value:>12}" + (f" ± {noise * 100:.2g} %" if noise is not None else ""))
    return lines


def _write(parts: Iterable[RenderableType], stream: TextIO, width: int | None) -> None:
    console = console_for(stream, width)
    with console.capture() as capture:
        for part in parts:
            console.print(part)
    lines = (line.rstrip(" ") for line in capture.get().split("\n"))
    stream.write(fit("\n".join(lines), stream.encoding))


def _gate_parts(summary: GateSummary) -> Iterable[RenderableType]:
    verdict = Text(summary.verdict.upper(), style=_OUTCOME_STYLES[summary.verdict])
    yield Text.assemble(verdict, f"  {plain_text(summary.path)}: {summary.sentence}")
    if summary.problem:
        yield Padding(Text(plain_text(summary.problem), style="red"), (0, 0, 0, 2))
    if summary.remedy:
        yield Padding(Text(plain_text(summary.remedy), style="dim"), (0, 0, 0, 2))
    for row in summary.rows:
        head = Text(f"  {row.outcome:<8}", style=_STYLES[row.mark])
        yield Text.assemble(head, plain_text(row.text))
        yield Padding(Text(plain_text(row.sentence), style="dim"), (0, 0, 0, 10))


def _compare_parts(summary: ComparisonSummary, width: int) -> Iterable[RenderableType]:
    yield Text(plain_text(summary.headline))
    yield ""
    family = [row for row in summary.rows if row.in_family]
    others = [row for row in summary.rows if not row.in_family]
    yield _table(family, others, wide=width >= _WIDE_FROM, noise=width >= _NOISE_FROM)
    yield ""
    if width < _WIDE_FROM:
        yield from (Text(row.sentence) for row in family if row.interval or row.p)
    yield from _notes(family)
    yield Text(summary.footnote, style="dim")
    if summary.judged:
        yield ""
        for judged in summary.judged:
            head = Text(f"{judged.outcome:<13}", style=_OUTCOME_STYLES[judged.outcome])
            yield Text.assemble(head, f"{plain_text(judged.condition)}: {plain_text(judged.text)}")
    if summary.cautions or summary.differences:
        yield ""
    for caution in summary.cautions:
        yield Group(
            Text.assemble(("warn: ", "yellow"), plain_text(caution.text)),
            Padding(Text(plain_text(caution.remedy), style="dim"), (0, 0, 0, 2)),
        )
    for text in summary.differences:
        yield Text.assemble(("note: ", "cyan"), plain_text(text))


def _notes(rows: Sequence[CompareRow]) -> Iterable[Text]:
    """What the rows have to say, each sentence once."""
    for note in dict.fromkeys(row.note for row in rows if row.note):
        named = [row for row in rows if row.note == note]
        metrics = ", ".join(row.metric for row in named)
        yield Text(f"{metrics}: {plain_text(note)}.", style="yellow" if named[0].mark == "open" else "dim")


def _table(family: Sequence[CompareRow], others: Sequence[CompareRow], *, wide: bool, noise: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("metric", no_wrap=True)
    table.add_column("base", justify="right", no_wrap=True)
    table.add_column("new", justify="right", no_wrap=True)
    table.add_column("change", justify="right", no_wrap=True)
    if wide:
        table.add_column("95 % interval", justify="right", no_wrap=True)
        table.add_column("test", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    for rows in (family, others):
        if rows is others and others:
            table.add_row()
        for row in rows:
            middle = [row.interval, ", ".join(text for text in (row.p, row.runs) if text)] if wide else []
            values = [value if noise else value.partition(" ± ")[0] for value in (row.base, row.new)]
            cells = [row.metric, *values, row.change, *middle, row.verdict]
            table.add_row(*map(Text, cells), style=_STYLES[row.mark] if row.in_family else "dim")
    return table
