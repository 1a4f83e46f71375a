"""A summary on a terminal, in a pipe, or in a CI log.

The text is rendered by rich for the stream's width and colours, and then made to fit the stream's encoding: a
terminal that knows only ASCII gets "us" for "µs" rather than a question mark or a crash.
"""

from __future__ import annotations

import os
import textwrap
import unicodedata
from collections.abc import Iterable
from typing import Final, TextIO

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from loadgen.report.calibration import CALIBRATION_COLUMNS, CalibrationTable
from loadgen.report.summary import (
    NO_VALUE,
    STAGE_COLUMNS,
    FailureRow,
    FindingRow,
    FirmwareRow,
    StageRow,
    Summary,
    listed_failures,
)

_ASCII: Final = str.maketrans(
    {
        "µ": "u", "μ": "u", "–": "-", "−": "-", "—": "-", "…": "...", "×": "x", "·": ".", "→": "->",
        "≤": "<=", "≥": ">=", "⌈": "", "⌉": "", "“": '"', "”": '"', "‘": "'", "’": "'", "─": "-", "│": "|",
        "█": "#", "▏": "|", "\u00a0": " ", "▁": "_", "▂": ".", "▃": ":", "▄": "-", "▅": "=", "▆": "+", "▇": "*",
    }
)  # fmt: skip

_WIDE: Final = STAGE_COLUMNS
_NORMAL: Final = ("p50", "p90", "p99", "p99.9", "max")
_NARROW: Final = ("p50", "p99", "max")
_WIDE_FROM: Final = 116
_NORMAL_FROM: Final = 78
_LEAST_WIDTH: Final = 40
"""Narrower, numbers would be cut off; the terminal breaks the lines instead."""
_FACT_WIDTH: Final = 10
MOST_FAILURES: Final = 10
"""Kinds of failures that the summary shows; the others are counted."""

_VERDICT_STYLE: Final = {
    "valid": "bold green",
    "invalid": "bold red",
    "interrupted": "bold yellow",
    "no data": "bold red",
}
_LEVEL_STYLE: Final = {"invalid": "bold red", "warn": "yellow", "note": "cyan"}
_OUTCOME_STYLE: Final = {"pass": "bold green", "fail": "bold red", "no data": "bold red"}
_SIDE_STYLE: Final = {"ours": "magenta", "cloud": "", "sum": "bold", "": "dim"}
"""No blue: most terminals show it too dark on black."""
_GROUP_STYLE: Final = {"part": "", "sum": "bold", "beside": "dim"}


def plain_text(text: str) -> str:
    """``text`` without characters that would steer a terminal; they are shown as escapes. Line ends stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if character == "\n" or not _steers(character) else character.encode("unicode_escape").decode()
        for character in text
    )


def _steers(character: str) -> bool:
    """Control characters, and those that change the direction of text."""
    return unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def supports_colour(stream: TextIO) -> bool:
    """Whether text on ``stream`` is styled: NO_COLOR, FORCE_COLOR, TERM=dumb and terminals."""
    return console_for(stream).color_system is not None


def can_redraw(stream: TextIO) -> bool:
    """Whether somebody looks at ``stream`` who sees lines change.

    Not in a pipe, even one that is given colours (FORCE_COLOR); not on a dumb terminal or one that does not say what it
    is; and not in the log of a CI job (CI), which some services write through a pseudo-terminal.
    """
    kind = os.environ.get("TERM", "").lower()
    in_ci = os.environ.get("CI", "").lower() not in ("", "0", "false")
    return stream.isatty() and kind not in ("", "dumb", "unknown") and not in_ci


def console_for(stream: TextIO, width: int | None = None, *, least: int = _LEAST_WIDTH) -> Console:
    """A rich console for ``stream`` that interprets no markup and highlights nothing by itself.

    With NO_COLOR it styles nothing at all, as https://no-color.org has it for programs that print text
    (https://github.com/jcs/no_color/issues/20): neither colours nor bold and dim.

    Args:
        stream: where the text will go.
        width: columns; None asks the terminal.
        least: columns that are taken in any case.
    """
    console = Console(
        file=stream,
        width=width,
        color_system=None if os.environ.get("NO_COLOR") else "auto",
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=False,
    )
    too_narrow = console.width < least
    if too_narrow:
        console.width = least  # else it follows the terminal
    return console


def wrapped(text: str, stream: TextIO) -> str:
    """``text`` with its lines broken between words, and indented below them, where ``stream`` is a terminal.

    Elsewhere lines stay whole, to be searched for and copied. No word is broken: a path can be copied.
    """
    if not stream.isatty():
        return text
    width = console_for(stream).width
    return "\n".join(_wrapped_line(line, width) for line in text.split("\n"))


def _wrapped_line(line: str, width: int) -> str:
    words = line.lstrip(" ")
    indent = line[: len(line) - len(words)]
    return textwrap.fill(
        words,
        width,
        initial_indent=indent,
        subsequent_indent=f"{indent}  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def fit(text: str, encoding: str | None) -> str:
    """``text`` in characters that ``encoding`` has."""
    encoding = encoding or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_ASCII).encode(encoding, "replace").decode(encoding)
    return text


class Unbroken(Text):
    """A line that is not wrapped, however narrow the stream is: one to be copied or compared."""


def write_parts(parts: Iterable[RenderableType], stream: TextIO, width: int | None = None) -> None:
    """Write one part below the other, without blanks at the ends of lines.

    Args:
        parts: what rich can show.
        stream: a terminal, a pipe or a file.
        width: columns; None asks the terminal, 80 where there is none.
    """
    console = console_for(stream, width)
    with console.capture() as capture:
        for part in parts:
            console.print(part, soft_wrap=isinstance(part, Unbroken))
    lines = (line.rstrip(" ") for line in capture.get().split("\n"))
    stream.write(fit("\n".join(lines), stream.encoding))


def write_summary(summary: Summary, stream: TextIO, width: int | None = None) -> None:
    """Render ``summary`` on ``stream``.

    Args:
        summary: what to show.
        stream: a terminal, a pipe or a file.
        width: columns; None asks the terminal, 80 where there is none.
    """
    console = console_for(stream, width)
    with console.capture() as capture:
        for part in _parts(summary, console.width):
            console.print(part)
        last = (("Record", summary.record_path), ("Compare", summary.compare_with), ("Explain", summary.explain_with))
        for name, text in last:
            if text:
                console.print(_long_fact(name, text), soft_wrap=True)  # one line, so that it can be copied
        if summary.verdict == "invalid":  # what stands above may have left the screen
            last_words = "  Do not use these numbers: see the top."
            console.print(Text.assemble(("INVALID", _VERDICT_STYLE["invalid"]), last_words))
    lines = (line.rstrip(" ") for line in capture.get().split("\n"))
    stream.write(fit("\n".join(lines), stream.encoding))


def _parts(summary: Summary, width: int) -> Iterable[RenderableType]:
    yield Text(plain_text(summary.headline))
    verdict = Text(summary.verdict.upper(), style=_VERDICT_STYLE[summary.verdict])
    yield Text.assemble(verdict, "  ", plain_text(summary.outcome))
    reasons = [row for row in summary.findings if row.level == "invalid"]
    yield from _finding_lines(reasons)
    yield ""
    columns = _columns(width)
    if summary.stages:
        yield _stage_table(summary.stages, columns)
    shown = [row.cell(column) for row in summary.stages for column in columns]
    if NO_VALUE in shown or not any(row.group == "part" for row in summary.stages):
        yield Text(summary.stage_hint, style="dim")
    yield ""
    if summary.calibration is not None:
        yield Group(*_calibration(summary.calibration), "")
    if summary.firmwares:
        yield _firmware_table(summary.firmwares, width)
        yield ""
    for title, rows in (("Failures", summary.failures), ("Failures after Hello", summary.session_failures)):
        if rows:
            yield Group(Text(title, style="bold"), *_failure_lines(rows), "")
    others = [row for row in summary.findings if row not in reasons]
    if others:
        yield Group(*_finding_lines(others), "")
    yield _facts(summary)


def _columns(width: int) -> tuple[str, ...]:
    return _WIDE if width >= _WIDE_FROM else _NORMAL if width >= _NORMAL_FROM else _NARROW


def _stage_table(rows: tuple[StageRow, ...], columns: tuple[str, ...]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    table.add_column("stage", no_wrap=True)
    if columns is not _NARROW:
        table.add_column("side", no_wrap=True)
        table.add_column("count", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    previous = None
    for row in rows:
        if previous not in (None, row.group):
            table.add_row()
        previous = row.group
        cells = [row.stage]
        if columns is not _NARROW:
            cells += [row.side, row.count]
        table.add_row(
            *(Text(cell) for cell in (*cells, row.unit)),
            *(Text(row.cell(column)) for column in columns),
            style=_GROUP_STYLE[row.group] if row.group != "part" else _SIDE_STYLE[row.side],
        )
    return table


def _calibration(calibration: CalibrationTable) -> Iterable[RenderableType]:
    outcome = (calibration.outcome.upper(), _OUTCOME_STYLE[calibration.outcome])
    yield Text.assemble(("Calibration", "bold"), "  ", outcome, f"  {calibration.sentence}")
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in CALIBRATION_COLUMNS:
        words = column in {"stage", "percentile", "outcome"}
        table.add_column("" if column == "percentile" else column, justify="left" if words else "right", no_wrap=True)
    for row in calibration.rows:
        *cells, judged = row
        table.add_row(*cells, Text(judged, style="" if judged == "pass" else _OUTCOME_STYLE[judged]))
    yield table


def _firmware_table(rows: tuple[FirmwareRow, ...], width: int) -> Table:
    """One firmware below the other, stage by stage; with the intervals where there is room."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    names = ["firmware", "stage", "", "p50", "p99"]
    if width >= _WIDE_FROM:
        names = ["firmware", "stage", "", "p50", "95 % interval", "p99", "95 % interval"]
    counts = width >= _NORMAL_FROM
    for name in [*names, "share", "started", "failed"] if counts else names:
        table.add_column(name, justify="left" if name in ("firmware", "stage", "") else "right", no_wrap=True)
    for row in rows:
        times = [row.p50, row.intervals[0], row.p99, row.intervals[1]]
        cells = [row.name, row.stage, row.unit, *(times if width >= _WIDE_FROM else times[::2])]
        if counts:
            cells += [row.share, row.started, row.failed]
        table.add_row(*(Text(plain_text(cell)) for cell in cells))
    return table


def _failure_lines(rows: tuple[FailureRow, ...]) -> Iterable[RenderableType]:
    """``count  share  what, device code``, and below it the explanation where it is a new one."""
    found = listed_failures(rows, MOST_FAILURES)
    count, share = max(len(row.count) for row in rows), max(len(row.share) for row in rows)
    for row, explanation in found.rows:
        code = f", device code {row.code}" if row.code else ""
        yield Text.assemble((f"{row.count:>{count}}", "red"), f"  {row.share:>{share}}  {plain_text(row.what)}{code}")
        if explanation:
            yield Padding(Text(plain_text(explanation), style="dim"), (0, 0, 0, count + share + 4))
    if found.more:
        yield Padding(Text(f"and {found.more}; `loadgen report -o report.html` shows them all"), (0, 0, 0, 2))


def _finding_lines(findings: Iterable[FindingRow]) -> Iterable[RenderableType]:
    for row in findings:
        level = Text(f"{row.level}: ", style=_LEVEL_STYLE[row.level])
        yield Text.assemble(level, plain_text(row.text))
        if row.remedy:
            yield Padding(Text(plain_text(row.remedy), style="dim"), (0, 0, 0, 2))


def _facts(summary: Summary) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim", min_width=_FACT_WIDTH)
    table.add_column(overflow="fold")
    for name, text in summary.facts:
        table.add_row(name, Text(plain_text(text)))
    return table


def _long_fact(name: str, text: str) -> Text:
    return Text.assemble((name.ljust(_FACT_WIDTH + 2), "dim"), plain_text(text))
