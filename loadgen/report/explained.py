"""Explanations for people and as JSON. What is shown stands in the topics; here it is only laid out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, TextIO

import msgspec
from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from loadgen.protocol.causes import Cause
from loadgen.protocol.moments import MOMENT_TEXT
from loadgen.protocol.topics import Printed, Topic
from loadgen.report.terminal import console_for, fit, plain_text

SCHEMA: Final = "loadgen/explanation/1"

_LABEL_WIDTH: Final = 9


def explanation_document(asked: str, firmware: str | None, topics: Iterable[Topic]) -> bytes:
    """One JSON document: what was asked, and every topic with its causes in full."""
    return msgspec.json.encode(
        {"schema": SCHEMA, "asked": asked, "firmware": firmware, "topics": [_built(topic) for topic in topics]}
    )


def _built(topic: Topic) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(topic)
    built["timing"] = [
        {"moment": moment.value, "text": MOMENT_TEXT[moment], "causes": [cause.id for cause in found]}
        for moment, found in topic.timing
    ]
    return built


def write_topics(topics: Sequence[Topic], stream: TextIO, width: int | None = None) -> None:
    """Show ``topics``.

    Args:
        topics: what there is to say.
        stream: a terminal, a pipe or a file.
        width: columns; None asks the terminal, 80 where there is none.
    """
    console = console_for(stream, width)
    with console.capture() as capture:
        for index, topic in enumerate(topics):
            for part in _parts(topic, first=index == 0):
                console.print(part)
    lines = (line.rstrip(" ") for line in capture.get().split("\n"))
    stream.write(fit("\n".join(lines), stream.encoding))


def _parts(topic: Topic, *, first: bool) -> Iterable[RenderableType]:
    if not first:
        yield ""
    yield Text(plain_text(topic.title), style="bold")
    yield Text(_sentence(topic.meaning))
    facts = _grid(_LABEL_WIDTH)
    for label, rows in (
        ("Code", _spans(topic.codes)),
        ("Log", _spans(topic.printed)),
        ("LED", _spans(topic.leds)),
        ("Wire", topic.wire),
        ("First", (_sentence(topic.remedy),) if topic.remedy else ()),
    ):
        for index, row in enumerate(rows):
            facts.add_row(label if index == 0 else "", Text(plain_text(row)))
    if facts.row_count:
        yield ""
        yield facts
    if len(topic.causes) == 1 and topic.title == topic.causes[0].id:
        yield from _cause_in_full(topic.causes[0])
    elif topic.causes:
        yield from _when(topic)
        yield from _causes(topic.causes)


def _spans(printed: Sequence[Printed]) -> tuple[str, ...]:
    return tuple(
        entry.text if entry.versions == "all versions" else f"{entry.text}  ({entry.versions})" for entry in printed
    )


def _when(topic: Topic) -> Iterable[RenderableType]:
    """How the moment tells the causes apart."""
    yield ""
    yield Text("When it comes", style="bold")
    for moment, found in topic.timing:
        names = ", ".join(cause.id for cause in found)
        yield Padding(Text.assemble(f"{MOMENT_TEXT[moment]}: ", (names, "cyan")), (0, 0, 0, 2))


def _causes(causes: Sequence[Cause]) -> Iterable[RenderableType]:
    yield ""
    yield Text("Causes, the most likely first", style="bold")
    told: dict[str, str] = {}
    for cause in causes:
        yield Padding(Text.assemble((cause.id, "cyan"), f": {cause.what}"), (0, 0, 0, 2))
        yield Padding(_remedies(cause, told), (0, 0, 0, 4))
    yield ""
    yield Text(f"What speaks for a cause and against it: loadgen explain {causes[0].id}", style="dim")


def _cause_in_full(cause: Cause) -> Iterable[RenderableType]:
    for title, rows in (
        ("When it comes", tuple(MOMENT_TEXT[moment] for moment in cause.moments)),
        ("What speaks for it", cause.evidence),
        ("What speaks against it", cause.against),
        ("What clouds log", cause.cloud_log),
    ):
        if rows:
            yield ""
            yield Text(title, style="bold")
            for row in rows:
                yield Padding(Text(row), (0, 0, 0, 2))
    if cause.with_dfu or cause.without_dfu:
        yield ""
        yield _remedies(cause, {}, skip_first=True)


def _remedies(cause: Cause, told: dict[str, str], *, skip_first: bool = False) -> Table:
    """What to do; what another cause has ``told`` already is not said again."""
    grid = _grid(0)
    for label, text in (
        ("do", "" if skip_first else cause.remedy),
        ("with DFU or ST-Link", cause.with_dfu),
        ("without", cause.without_dfu),
    ):
        if text:
            before = told.setdefault(text, cause.id)
            shown = _sentence(text) if label == "do" else text
            grid.add_row(Text.assemble((f"{label}: ", "dim"), shown if before == cause.id else f"as for {before}"))
    return grid


def _grid(label_width: int) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    if label_width:
        table.add_column(no_wrap=True, style="dim", min_width=label_width)
    table.add_column(overflow="fold")
    return table


def _sentence(text: str) -> str:
    """With a capital, unless it begins with something to be typed."""
    return text if text[:1] in "`{" else text[:1].upper() + text[1:]


# --- what there is


def contents_document(ends: Sequence[str], causes: Sequence[str], numbers: Sequence[dict[str, Any]]) -> bytes:
    """Everything that can be asked for, as JSON."""
    return msgspec.json.encode({"schema": SCHEMA, "endings": ends, "causes": causes, "numbers": numbers})


def write_contents(ends: Sequence[str], causes: Sequence[Cause], tables: Mapping[str, int], stream: TextIO) -> None:
    """Show everything that can be asked for.

    Args:
        ends: endings, as they are written.
        causes: in full.
        tables: tables of numbers and how many each has.
        stream: a terminal, a pipe or a file.
    """
    console = console_for(stream)
    with console.capture() as capture:
        console.print(Text("Endings", style="bold"))
        console.print(Padding(Text("  ".join(ends)), (0, 0, 0, 2)))
        console.print()
        console.print(Text("Numbers and their constants", style="bold"))
        console.print(Padding(Text("  ".join(f"{name} ({count})" for name, count in tables.items())), (0, 0, 0, 2)))
        console.print()
        console.print(Text("Causes", style="bold"))
        for cause in causes:
            console.print(Padding(Text.assemble((cause.id, "cyan"), f"  {cause.what}"), (0, 0, 0, 2)))
        console.print()
        console.print(Text("Lines of a device's log, and the LED: red, orange, magenta", style="bold"))
        console.print()
        console.print(Text("For example: loadgen explain -19 at key"))
    lines = (line.rstrip(" ") for line in capture.get().split("\n"))
    stream.write(fit("\n".join(lines), stream.encoding))
