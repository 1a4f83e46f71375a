"""The percentile ladder, the stage waterfall and the thresholds of a run on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TextIO

from rich.table import Table
from rich.text import Text

from loadgen.report.detail import LADDER_STAGES, LadderRow, WaterfallRow, bar
from loadgen.report.terminal import console_for, fit
from loadgen.report.verdict_text import write_gates
from loadgen.report.verdicts import GateSummary

_LEAST_CELLS: Final = 10
_MOST_CELLS: Final = 60
_BESIDE_BAR: Final = 30
_SIDE_STYLE: Final = {"ours": "blue", "cloud": "cyan"}


def write_detail(
    rungs: Sequence[LadderRow],
    falls: Sequence[WaterfallRow],
    gates: GateSummary,
    stream: TextIO,
    width: int | None = None,
) -> None:
    """Write what a run's full report has beside the summary; what is empty is left out."""
    console = console_for(stream, width)
    with console.capture() as capture:
        if rungs:
            console.print()
            console.print(_ladder(rungs))
        if falls:
            console.print()
            console.print(Text("Stages of the mean handshake", style="bold"))
            console.print(_waterfall(falls, max(_LEAST_CELLS, min(_MOST_CELLS, console.width - _BESIDE_BAR))))
        console.print()
    lines = (line.rstrip(" ") for line in capture.get().split("\n"))
    stream.write(fit("\n".join(lines), stream.encoding))
    if gates.rows:
        write_gates([gates], stream, width)


def _ladder(rungs: Sequence[LadderRow]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("percentile", no_wrap=True)
    for stage in LADDER_STAGES:
        table.add_column(stage.value, justify="right", no_wrap=True)
    table.add_column("95 % interval of handshake", justify="right")
    for rung in rungs:
        table.add_row(rung.step, *rung.values, rung.interval)
    return table


def _waterfall(falls: Sequence[WaterfallRow], cells: int) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for justify in ("left", "left", "right", "left"):
        table.add_column(justify=justify, no_wrap=True)
    for row in falls:
        table.add_row(row.stage, row.side, row.mean, Text(bar(row, cells), style=_SIDE_STYLE[row.side]))
    return table
