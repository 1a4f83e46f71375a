"""From the bytes of a captured serial log to its lines, whatever terminal program has saved them.

Pure. Understood are UTF-8, UTF-16 of either order with or without its mark, and single-byte encodings; line ends CR LF,
LF and CR alone; NUL bytes of a badly framed port; escape sequences of terminals. What had to be repaired is said as
:class:`Repair`. Bytes that are no text at all are refused, by name where they are known.
"""

from __future__ import annotations

import codecs
import re
from typing import Final, NamedTuple

from loadgen.errors import UsageError

MAX_LOG: Final = 256 << 20
"""Bytes of a log that is read: two million lines."""

_SAMPLE: Final = 1 << 16
_BINARY_SHARE: Final = 0.1
"""Share of control characters from which bytes are no text."""
_ESCAPE: Final = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_LINE_END: Final = re.compile(r"\r+\n?")
_CONTROLS: Final = dict.fromkeys((*range(9), 11, 12, *range(14, 32), 127))
_KINDS: Final = (
    (b"\x7fELF", "an ELF program"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip file; unpack it first"),
    (b"\x0a\x0d\x0d\x0a", "a packet capture"),
    (b"\xd4\xc3\xb2\xa1", "a packet capture"),
    (b"\x30\x82", "a key in DER"),
    (b"\x49\xc5\xc7\x2e", "a Saleae capture"),
)
_DUMP_SIZES: Final = frozenset((16 << 10, 32 << 10, 1 << 20))


class Repair(NamedTuple):
    """Something that had to be repaired before the text could be read."""

    code: str
    """``encoding``, ``nul_bytes``, ``escapes`` or ``line_ends``."""
    text: str
    """One sentence."""


class LogText(NamedTuple):
    """The lines of a log. The first line of the file is the first entry; empty ones are kept, for their number."""

    lines: list[str]
    repairs: tuple[Repair, ...]
    ends_in_line: bool
    """The last line has no end: it may have been cut off."""


def read_text(data: bytes, where: str) -> LogText:
    """Take the bytes of a log apart into lines.

    Args:
        data: the file.
        where: its name, for messages.

    Raises:
        UsageError: there is nothing in it, or it is no text.
    """
    if not data.strip(b"\0\r\n\t \xff"):
        raise UsageError(
            "the log is empty" if not data.strip(b"\0\xff") else "the log has nothing but empty lines",
            where=where,
            remedy="Log at 115,200 baud with SerialLogHandler, or with the debug build of firmware before 0.6.0.",
        )
    repairs: list[Repair] = []
    text = _decode(data, repairs)
    text = _without_noise(text, repairs)
    if _is_binary(text):
        raise _no_text(data, where)
    if "\r" in text:
        if "\n" not in text:
            repairs.append(Repair("line_ends", "Lines end in CR alone."))
        text = _LINE_END.sub(lambda end: "\n" * (1 if end[0].endswith("\n") else len(end[0])), text)
    return LogText(text.split("\n"), tuple(repairs), not text.endswith("\n"))


def _decode(data: bytes, repairs: list[Repair]) -> str:
    wide = _utf16(data)
    if wide:
        repairs.append(Repair("encoding", f"The file is {wide.upper()}, as Windows programs write it."))
        return data.decode(wide, errors="replace").removeprefix("\ufeff")
    data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode()
    except UnicodeDecodeError:
        bad = sum(byte >= 0x80 for byte in data)
        what = "1 byte is no UTF-8 and was" if bad == 1 else f"{bad:,} bytes are no UTF-8 and were"
        repairs.append(Repair("encoding", f"{what} read as Latin-1: another encoding, or line noise."))
        return data.decode("latin-1")


def _utf16(data: bytes) -> str:
    """Which UTF-16 it is by its mark, or by where its NULs are; empty for none."""
    if data.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le"
    if data.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be"
    sample = data[:_SAMPLE]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    half = len(sample) // 2
    if odd > 0.8 * half and even < 0.1 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.8 * half and odd < 0.1 * half else ""


def _without_noise(text: str, repairs: list[Repair]) -> str:
    if "\0" in text:
        repairs.append(Repair("nul_bytes", f"{text.count(chr(0)):,} NUL bytes were left out."))
        text = text.replace("\0", "")
    if "\x1b" in text:
        text, found = _ESCAPE.subn("", text)
        repairs.append(Repair("escapes", f"{found:,} escape sequences of a terminal were left out."))
    return text


def _is_binary(text: str) -> bool:
    """By control characters and by bytes above 0x7f together: line noise is far below, programs and dumps far above."""
    sample = text[:_SAMPLE]
    controls = len(sample) - len(sample.translate(_CONTROLS))
    high = sum("\x80" <= character <= "\xff" for character in sample)
    return controls > _BINARY_SHARE * len(sample) or (controls + high > 0.4 * len(sample))


def _no_text(data: bytes, where: str) -> UsageError:
    kind = next((name for magic, name in _KINDS if data.startswith(magic)), "")
    if not kind and len(data) in _DUMP_SIZES:
        return UsageError(
            "the file is no log but binary, with the size of a flash dump",
            where=where,
            remedy=f"Read it with `loadgen dct show {where}`.",
        )
    return UsageError(
        f"the file is no log but {kind or 'binary'}",
        where=where,
        remedy="Give what a terminal program has saved of the device's serial port (115,200 baud), as text.",
    )
