"""Flash dumps and what differs between them, on a terminal or in a pipe. Commands stay on one line, to be copied."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TextIO

from rich.console import RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from loadgen.fleet.dct import Dct
from loadgen.fleet.dct_diff import Change, Comparison, Mend
from loadgen.fleet.dct_layout import SECTION_AT
from loadgen.fleet.dct_troubles import Trouble
from loadgen.fleet.dct_values import FieldValue, Presence, section_values, system_values
from loadgen.fleet.findings import Level
from loadgen.fleet.flash import Copy, CopyState, FlashImage
from loadgen.fleet.flash_modules import Module
from loadgen.report.terminal import Unbroken, plain_text, write_parts
from loadgen.units import format_count

_LEVEL_STYLE: Final = {Level.ERROR: "bold red", Level.WARNING: "yellow", Level.NOTE: "cyan"}
_FACT_WIDTH: Final = 12
_LOG_WIDTH: Final = 120


def write_dump(
    name: str,
    dct: Dct,
    troubles: Sequence[Trouble],
    stream: TextIO,
    *,
    secrets: bool = False,
    everything: bool = False,
    width: int | None = None,
) -> None:
    """A dump: its copies, firmware, keys, troubles and every field.

    Args:
        name: of the file.
        dct: the dump.
        troubles: what is wrong with it.
        stream: where to.
        secrets: whether to show keys, passphrases and claim codes.
        everything: whether to show the erased fields of WICED too.
        width: columns; None asks the terminal.
    """
    _write(_dump_parts(name, dct, troubles, secrets=secrets, everything=everything), stream, width)


def write_differences(good: str, bad: str, comparison: Comparison, stream: TextIO, width: int | None = None) -> None:
    """What differs between two dumps, which of it can break the handshake, and how to mend it."""
    _write(difference_parts(good, bad, comparison), stream, width)


def _write(parts: Iterable[RenderableType], stream: TextIO, width: int | None) -> None:
    if width is None and not stream.isatty():
        width = _LOG_WIDTH
    write_parts(parts, stream, width)


# --- a dump


def _dump_parts(
    name: str, dct: Dct, troubles: Sequence[Trouble], *, secrets: bool, everything: bool
) -> Iterable[RenderableType]:
    image = dct.image
    yield Text(f"{plain_text(name)}: {image.kind}, {format_count(image.size)} bytes", style="bold")
    yield _copies(image)
    yield Text(image.choice)
    if not image.is_trusted:
        yield Text("What follows comes from a copy that the device does not use.", style="bold red")
    if image.modules:
        yield ""
        yield _modules(image.modules)
    yield ""
    yield _facts(dct, secrets=secrets)
    yield ""
    if troubles:
        for trouble in troubles:
            yield from _trouble_parts(trouble, image)
    else:
        yield Text("Nothing in this dump keeps the device from connecting.", style="green")
    yield ""
    yield _fields("Application section", section_values(image), secrets=secrets)
    if image.shown is not None:
        values = list(system_values(image))
        shown = [value for value in values if everything or value.presence is not Presence.ERASED]
        yield ""
        yield _fields("In front of it (WICED)", shown, secrets=secrets)
        if len(shown) < len(values):
            yield Text(
                f"{len(values) - len(shown)} erased fields of WICED are left out; --all shows them.", style="dim"
            )


def _table(*columns: str, right: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column != columns[-1],
            overflow="fold",
        )
    return table


def _copies(image: FlashImage) -> RenderableType:
    if not image.copies:
        return ""
    table = _table("copy", "address", "state", "written by")
    for copy in image.copies:
        mark = "current" if copy is image.current else ""
        number = f"DCT{copy.number}" if copy.number else "copy"
        address = "unknown sector" if copy.address is None else f"0x{copy.address:08x}"
        table.add_row(number, address, copy.state, _writer(copy), style="bold" if mark else "")
    return table


def _writer(copy: Copy) -> str:
    """What the end of a copy says about the firmware that wrote it."""
    version = copy.version
    if version is None:
        known = copy.state in (CopyState.COMPLETE, CopyState.SUPERSEDED)
        return "firmware up to 0.6.4, or made" if known else "–"
    return f"firmware 0.7.0 or later: sequence {version.sequence}, checksum {version.checksum}"


def _modules(modules: Sequence[Module]) -> RenderableType:
    table = _table("firmware", "address", "version", "platform", "state")
    for module in modules:
        release = f" ({module.release})" if module.release else ""
        state = {True: "intact", False: "damaged: wrong checksum", None: "cut off"}[module.is_intact]
        kept = "" if module.is_installed else ", kept for later"
        table.add_row(
            module.name, f"0x{module.address:08x}", f"{module.version}{release}", module.platform_name, f"{state}{kept}"
        )
    return table


def _facts(dct: Dct, *, secrets: bool) -> RenderableType:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True, style="dim", min_width=_FACT_WIDTH)
    table.add_column(overflow="fold")
    for name, text in dump_facts(dct, secrets=secrets):
        table.add_row(name, Text(plain_text(text)))
    return table


def dump_facts(dct: Dct, *, secrets: bool = False) -> tuple[tuple[str, str], ...]:
    """(name, text) of what matters most in a dump."""
    values = {value.field.name: value for value in section_values(dct.image)}

    def text(name: str) -> str:
        return values[name].text(secrets=secrets)

    claimed = {True: "yes", False: "no", None: "missing"}[dct.claimed]
    return (
        ("Device id", dct.device_id.hex() if dct.device_id else "not in the dump"),
        ("Device key", text("device_private_key")),
        ("  presents", f"SHA-256 {dct.device_fingerprint}" if dct.device_fingerprint else "nothing yet"),
        ("  stored", text("device_public_key")),
        ("Server key", text("server_public_key")),
        ("Address", text("server_address")),
        ("Claimed", f"{claimed}; claim code: {text('claim_code')}"),
    )


def _trouble_parts(trouble: Trouble, image: FlashImage) -> Iterable[RenderableType]:
    place = trouble_place(trouble, image)
    head = Text(f"{trouble.level}: ", style=_LEVEL_STYLE[trouble.level])
    yield Text.assemble(head, plain_text(trouble.what), (f"  [{place}]" if place else "", "dim"))
    for text in (trouble.why, trouble.remedy):
        if text:
            yield Padding(Text(plain_text(text), style="dim" if text is trouble.why else ""), (0, 0, 0, 2))


def trouble_place(trouble: Trouble, image: FlashImage) -> str:
    """Where a trouble is: in the application section (as DFU counts), in the dump and in flash."""
    if trouble.offset is None:
        return ""
    section = image.section
    parts = [f"DFU {trouble.offset}", f"dump 0x{section.offset + trouble.offset:x}"]
    if section.address is not None:
        parts.append(f"flash 0x{section.address + trouble.offset:08x}")
    return ", ".join(parts)


def _fields(title: str, values: Iterable[FieldValue], *, secrets: bool) -> RenderableType:
    table = _table("offset", "dump", "bytes", title, "value", right=("offset", "bytes"))
    for value in values:
        text = plain_text(value.text(secrets=secrets))
        style = "" if value.presence is Presence.SET else "dim"
        row = (str(value.field.offset), f"0x{value.file_offset:05x}", str(value.field.size), value.field.name, text)
        table.add_row(*(Text(cell) for cell in row), style=style)
    return table


# --- two dumps


def difference_parts(good: str, bad: str, comparison: Comparison) -> Iterable[RenderableType]:
    """What :func:`write_differences` writes."""
    names = f"{plain_text(good)} (good) and {plain_text(bad)} (bad)"
    if comparison.undecided:
        names_of = ", ".join(comparison.undecided)
        yield Text(f"One of the dumps is cut off before {names_of}, so they are not compared.", style="bold yellow")
    for name in comparison.missing[:1]:
        yield Text(
            f"{len(comparison.missing)} fields are in only one of the dumps, beginning with {name}.", style="yellow"
        )
    if not comparison.changes:
        what = "no difference in what both have" if comparison.missing else "no difference"
        yield Text(f"{plain_text(good)} and {plain_text(bad)}: {what}.")
        return
    breaking = [change for change in comparison.changes if change.can_break]
    harmless = [change for change in comparison.changes if not change.can_break]
    count = f"{len(comparison.changes)} differences" if len(comparison.changes) > 1 else "1 difference"
    yield Text(f"{names}: {count}, {len(breaking)} of which can break the handshake.", style="bold")
    for change in breaking:
        yield ""
        yield from _change_parts(change)
    if comparison.without_dfu:
        yield ""
        yield Text("All of it without DFU, by ST-Link (st-flash or OpenOCD):", style="bold")
        for command in comparison.without_dfu:
            yield Unbroken(f"    {plain_text(command)}")
    if harmless:
        yield ""
        yield Text("These cannot:", style="bold")
        for change in harmless:
            yield from _change_parts(change)


def _change_parts(change: Change) -> Iterable[RenderableType]:
    style = "bold red" if change.can_break else ""
    place = "" if change.offset is None else f"  [offset {change.offset}]"
    yield Text.assemble((change.name, style), (place, "dim"))
    yield Padding(Text(f"good: {plain_text(change.before)}"), (0, 0, 0, 2))
    yield Padding(Text(f"bad:  {plain_text(change.after)}"), (0, 0, 0, 2))
    yield Padding(Text(change.why, style="" if change.can_break else "dim"), (0, 0, 0, 2))
    if change.mend is not None:
        yield from _mend_parts(change.mend)


def mend_places(mend: Mend) -> str:
    """Where the bytes of a mend begin, in every way of counting."""
    places = f"{mend.offset} (DFU), 0x{SECTION_AT + mend.offset:x} in a copy of the table"
    return places if mend.address is None else f"{places}, 0x{mend.address:08x} in flash"


def _mend_parts(mend: Mend) -> Iterable[RenderableType]:
    yield Padding(Text(f"Mend: {mend.size} bytes at {mend_places(mend)}."), (0, 0, 0, 2))
    for command in mend.with_dfu:
        yield Unbroken(f"    {plain_text(command)}")
    if mend.otherwise:
        yield Unbroken(f"  {plain_text(mend.otherwise)}")
