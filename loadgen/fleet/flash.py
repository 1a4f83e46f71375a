"""Flash dumps of a P1 or Photon: recognising what a file is, and choosing the current copy of the table as it does.

Strategy. A file is taken for each thing that it could be (the whole flash, both copies, one copy, the application
section as DFU gives it) and every landmark that stands where it belongs counts: the magic number of WICED, keys in the
one encoding that devices understand, address records. The best reading wins, so a damaged header or a missing key does
not hide the rest. Files that are something else are refused with what they are.

Firmware up to 0.6.4 takes DCT1 if its header says complete and current, else DCT2 under the same test. From 0.7.0 on
(WICED 3.7, ``wiced_dct_internal_common.c``) a record at the end of the copy has a checksum and a sequence number; a
superseded copy fails its own checksum there, because the word "current" in its header was cleared afterwards. Older
firmware copies such a record along without keeping it right, so a table that was written after a downgrade has a record
whose checksum is wrong. Which bytes the vendor's build covers by the checksum is not published: a checksum that is not
confirmed decides nothing here.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from loadgen.errors import UsageError
from loadgen.fleet.dct_layout import (
    ADDRESS_AT,
    COPY_ADDRESSES,
    COPY_SIZE,
    FLASH_BASE,
    HEADER_SIZE,
    MAGIC,
    MAGIC_AT,
    PRIVATE_KEY_AT,
    PUBLIC_KEY_AT,
    SECTION_AT,
    SECTION_SIZE,
    SERVER_KEY_AT,
    VERSION_AT,
    VERSION_MAGIC,
    VERSION_SIZE,
)
from loadgen.fleet.flash_modules import SYSTEM_VERSION_0_7_0, Module, find_modules, system_version
from loadgen.fleet.foreign import describe_foreign

FLASH_SIZE: Final = 0x100000
"""Bytes of internal flash of a P1 or Photon."""
MAX_DUMP: Final = 4 * FLASH_SIZE
"""Bytes; larger files are no dump of these devices."""

_MAGIC_POINTS: Final = 4
_ENOUGH_POINTS: Final = 4
_NEWEST_SDK: Final = 0x0370
_SDK_UNKNOWN: Final = 0x7FFF
_SHIM_CHUNKS: Final = (64, 128, 256, 512, 1024, 2048, 4096, COPY_SIZE)
_SUFFIX: Final = 16  # of a file made by dfu-suffix


class ImageKind(StrEnum):
    """What a dump holds."""

    FLASH = "whole flash"
    BOTH = "both copies of the DCT"
    COPY = "one copy of the DCT"
    SECTION = "application section (DFU dump)"


class CopyState(StrEnum):
    """What the header of a copy says."""

    COMPLETE = "complete, marked current"
    SUPERSEDED = "complete, superseded"
    INCOMPLETE = "writing it was not finished"
    BLANK = "erased"
    DAMAGED = "damaged header"
    MISSING = "not in the dump"


class Checksum(StrEnum):
    """What can be said about the checksum of a copy."""

    CONFIRMED = "confirmed"
    FIRST_WRITE = "none yet (first write)"
    UNCONFIRMED = "not confirmed"


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """The record of WICED 3.7 at the end of a copy: firmware 0.7.0 or newer has written it."""

    usage_flags: int
    sdk_version: int
    """0x0370 for WICED 3.7.0."""
    crc: int
    initial_write: int
    sequence: int
    checksum: Checksum


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of the table."""

    number: int | None
    """1 or 2; None where a dump of one copy does not say which."""
    offset: int
    """Where it begins in the dump."""
    data: bytes
    """Up to 16384 bytes; fewer where the dump is cut off."""
    state: CopyState
    version: VersionRecord | None

    @property
    def address(self) -> int | None:
        """Flash address of its first byte."""
        return None if self.number is None else COPY_ADDRESSES[self.number - 1]

    @property
    def is_valid(self) -> bool:
        """Whether firmware could take it for the current one, the other copy aside."""
        return self.state is CopyState.COMPLETE


@dataclass(frozen=True, slots=True)
class Section:
    """The application section that is looked at, and where it stands."""

    data: bytes
    """From its first byte on, at most 8836 bytes."""
    offset: int
    """In the dump."""
    address: int | None
    """Flash address; None where the dump does not say which sector it comes from."""


@dataclass(frozen=True, slots=True)
class FlashImage:
    """A dump that was recognised."""

    kind: ImageKind
    size: int
    copies: tuple[Copy, ...]
    """Empty for a DFU dump."""
    current: Copy | None
    """The copy that firmware uses; None where there is no valid one, and for a DFU dump."""
    choice: str
    """How that was found, a sentence."""
    shown: Copy | None
    """The copy whose fields are looked at: the current one, else the one with most in it."""
    section: Section
    """Its application section."""
    modules: tuple[Module, ...]
    """Firmware in a whole flash."""
    notes: tuple[str, ...]
    """What is odd about the dump itself, sentences."""

    @property
    def is_trusted(self) -> bool:
        """Whether the fields come from a copy that firmware would use."""
        return self.kind is ImageKind.SECTION or self.current is not None

    @property
    def lacks_a_copy(self) -> bool:
        """Whether one of the two copies is not in the dump."""
        return any(copy.state is CopyState.MISSING for copy in self.copies)

    def with_copy(self, number: int) -> FlashImage:
        """The same dump, looking at DCT1 or DCT2 whatever firmware would do.

        Raises:
            UsageError: that copy is not in the dump.
        """
        for copy in self.copies:
            if copy.number == number and len(copy.data) > SECTION_AT:
                return replace(self, shown=copy, section=_section_of(copy))
        raise UsageError(f"there is no DCT{number} in this dump", where="--copy", remedy="Leave --copy out.")


def examine(data: bytes, where: str | None = None) -> FlashImage:
    """Recognise a dump and choose its current copy.

    Args:
        data: the file.
        where: its name, for the error.

    Raises:
        UsageError: it is no dump of a P1 or Photon; says what it is instead where that can be seen.
    """
    notes: list[str] = []
    if data[-8:-5] == b"UFD" and data[-5:-4] == bytes([_SUFFIX]):
        data = data[:-_SUFFIX]
        notes.append("A DFU suffix of 16 bytes at the end is left out.")
    modules = tuple(find_modules(data)) if len(data) > COPY_SIZE * 3 else ()
    reading = _best_reading(data, modules)
    if reading is None:
        what, remedy = describe_foreign(data, modules)
        raise UsageError(what, where=where, remedy=remedy)
    if reading is ImageKind.SECTION:
        return _section_image(data, notes)
    copies = tuple(_copy(data, number, offset) for number, offset in _places(reading))
    return _image(reading, data, copies, modules, notes)


# --- recognising


def _places(kind: ImageKind) -> tuple[tuple[int | None, int], ...]:
    """(number, offset) of the copies in a dump of this kind."""
    if kind is ImageKind.FLASH:
        return tuple((number + 1, address - FLASH_BASE) for number, address in enumerate(COPY_ADDRESSES))
    if kind is ImageKind.BOTH:
        return (1, 0), (2, COPY_SIZE)
    return ((None, 0),)


def _best_reading(data: bytes, modules: Sequence[Module]) -> ImageKind | None:
    """The kind with most landmarks in their place; None where there are too few for any."""
    points: dict[ImageKind, int] = {}
    if len(data) > COPY_SIZE * 2:
        flash = sum(_copy_points(data, offset) for _, offset in _places(ImageKind.FLASH))
        points[ImageKind.FLASH] = flash + (_MAGIC_POINTS if any(module.platform in (6, 8) for module in modules) else 0)
    if len(data) > COPY_SIZE:  # longer ones go on behind the copies; in those of a whole flash DCT1 is the second
        both = sum(_copy_points(data, offset) for _, offset in _places(ImageKind.BOTH))
        second = data[COPY_SIZE : 2 * COPY_SIZE]
        is_alone = _state(data[:COPY_SIZE]) is CopyState.COMPLETE and not second.strip(b"\xff")
        goes_on = _copy_points(data, 0) and (_copy_points(data, COPY_SIZE) or is_alone)
        points[ImageKind.BOTH] = both if len(data) <= COPY_SIZE * 2 + SECTION_AT or goes_on else 0
    if COPY_SIZE < len(data) <= COPY_SIZE * 2:  # the begin of a whole flash, with the bootloader in front
        points[ImageKind.FLASH] = _copy_points(data, COPY_SIZE) + _bootloader_points(data)
    if len(data) <= COPY_SIZE:
        points[ImageKind.COPY] = _copy_points(data, 0)
    if len(data) <= COPY_SIZE and data[MAGIC_AT : MAGIC_AT + 4] != MAGIC:
        points[ImageKind.SECTION] = _section_points(data, 0) + 2 * (_magic(data, SECTION_SIZE))
    best = max(points, key=lambda kind: points[kind], default=None)
    return best if best is not None and points[best] >= _ENOUGH_POINTS else None


def _magic(data: bytes, offset: int) -> bool:
    return data[offset + MAGIC_AT : offset + MAGIC_AT + 4] == MAGIC


def _copy_points(data: bytes, offset: int) -> int:
    return _MAGIC_POINTS * _magic(data, offset) + _section_points(data, offset + SECTION_AT)


def _bootloader_points(data: bytes) -> int:
    """Points for a vector table of a program in flash: the stack in RAM, the start in flash."""
    stack, start = int.from_bytes(data[:4], "little"), int.from_bytes(data[4:8], "little")
    is_program = 0x20000000 < stack <= 0x20020000 and FLASH_BASE <= start < FLASH_BASE + FLASH_SIZE
    return _MAGIC_POINTS * is_program


def _section_points(data: bytes, base: int) -> int:
    """Points for keys and an address where an application section at ``base`` would have them."""
    landmarks = (
        (PRIVATE_KEY_AT, bytes.fromhex("3082"), 2),
        (PUBLIC_KEY_AT, bytes.fromhex("30819f300d06092a864886f70d"), 4),
        (SERVER_KEY_AT, bytes.fromhex("30820122300d"), 4),
    )
    points = sum(worth for offset, head, worth in landmarks if data.startswith(head, base + offset))
    if data[base + PRIVATE_KEY_AT + 4 : base + PRIVATE_KEY_AT + 7] == bytes.fromhex("020100"):
        points += 2
    kind, size, *start = data[base + ADDRESS_AT : base + ADDRESS_AT + 4] or b"\xff\xff"
    if (kind == 0 and size == 4) or (kind == 1 and 0 < size <= 64 and all(32 < byte < 127 for byte in start)):
        points += 2
    return points


# --- copies


def _copy(data: bytes, number: int | None, offset: int) -> Copy:
    part = data[offset : offset + COPY_SIZE]
    return Copy(number, offset, part, _state(part), _version(part))


def _state(copy: bytes) -> CopyState:
    head = copy[: MAGIC_AT + 4]
    if len(head) < MAGIC_AT + 4:
        return CopyState.MISSING
    if head[MAGIC_AT:] != MAGIC:
        return CopyState.BLANK if not copy.strip(b"\xff") else CopyState.DAMAGED
    if head[8] != 0:
        return CopyState.INCOMPLETE
    return CopyState.COMPLETE if head[9] == 1 else CopyState.SUPERSEDED


def _version(copy: bytes) -> VersionRecord | None:
    """The record of WICED 3.7, where there is a sensible one."""
    record = copy[VERSION_AT : VERSION_AT + VERSION_SIZE]
    if len(record) < VERSION_SIZE or int.from_bytes(record[:4], "little") != VERSION_MAGIC:
        return None
    flags, sdk = (int.from_bytes(record[at : at + 2], "little") for at in (4, 6))
    crc, initial, sequence = int.from_bytes(record[8:12], "little"), record[12], record[13]
    if sdk in (0, 0xFFFF, _SDK_UNKNOWN) or sdk > _NEWEST_SDK:
        return None
    if initial == 1 and crc == 0:
        checksum = Checksum.FIRST_WRITE
    else:
        checksum = Checksum.CONFIRMED if crc in _checksums(copy) else Checksum.UNCONFIRMED
    return VersionRecord(flags, sdk, crc, initial, sequence, checksum)


def _checksums(copy: bytes) -> Iterator[int]:
    """Checksums that WICED's rule gives: the copy with "incomplete", checksum and "first write" as zero.

    CRC-32 without and with the final inversion, and as the vendor's shim in ``dct_hal.c`` joins the CRCs of the header,
    of chunks of the middle and of the record, for every plausible size of a chunk.
    """
    header = copy[:8] + b"\0" + copy[9:HEADER_SIZE]
    middle = copy[HEADER_SIZE:VERSION_AT]
    record = copy[VERSION_AT : VERSION_AT + 8] + bytes(5) + copy[VERSION_AT + 13 : VERSION_AT + VERSION_SIZE]
    chained = zlib.crc32(header + middle + record)
    yield chained
    yield chained ^ 0xFFFFFFFF
    for size in _SHIM_CHUNKS:
        chunks = (header, *(middle[start : start + size] for start in range(0, len(middle), size)), record)
        joined = 0xFFFFFFFF
        for chunk in chunks:
            joined ^= zlib.crc32(chunk) ^ 0xFFFFFFFF
        yield joined


# --- choosing


def _image(
    kind: ImageKind, data: bytes, copies: tuple[Copy, ...], modules: tuple[Module, ...], notes: list[str]
) -> FlashImage:
    expected = {ImageKind.FLASH: FLASH_SIZE, ImageKind.BOTH: 2 * COPY_SIZE, ImageKind.COPY: COPY_SIZE}[kind]
    if len(data) < expected:
        notes.append(f"The dump is cut off: {len(data):,} bytes of {expected:,}; what is missing is not shown.")
    elif len(data) > expected:
        notes.append(f"The dump is longer than it should be: {len(data):,} bytes instead of {expected:,}.")
    current, choice = _choose(copies, system_version(modules))
    shown = current or max(copies, key=lambda copy: _copy_points(copy.data, 0))
    if shown is not current and len(copies) > 1:
        choice += f" Shown is what can be read in DCT{shown.number}."
    return FlashImage(kind, len(data), copies, current, choice, shown, _section_of(shown), modules, tuple(notes))


def _choose(copies: tuple[Copy, ...], version: int | None) -> tuple[Copy | None, str]:
    """The copy that firmware of this system version uses, and how it finds it; unknown firmware is guessed."""
    if len(copies) == 1:
        copy = copies[0]
        if copy.is_valid:
            return copy, "The header of this copy says complete and current."
        return None, f"This copy is not a current one: {copy.state}."
    is_new = any(copy.version for copy in copies) if version is None else version >= SYSTEM_VERSION_0_7_0
    if is_new:
        return _choose_by_record(copies)
    for copy in copies:
        if copy.is_valid:
            return copy, f"DCT{copy.number} is the first copy whose header says complete and current."
    return None, "Neither copy is valid: the device erases sector 1 and begins with a blank table."


def _choose_by_record(copies: tuple[Copy, ...]) -> tuple[Copy | None, str]:
    """The choice of firmware from 0.7.0 on."""
    candidates = [copy for copy in copies if _has_sound_header(copy)]
    if not candidates:
        return None, "Neither copy is valid: the device begins with a blank table."
    best = max(candidates, key=_rank)
    others = [copy for copy in candidates if copy is not best]
    if not others:
        return best, f"DCT{best.number} is the only copy with a sound header."
    return best, _reason(best, others[0])


def _has_sound_header(copy: Copy) -> bool:
    full, used = (int.from_bytes(copy.data[at : at + 4], "little") for at in (0, 4))
    return copy.state in (CopyState.COMPLETE, CopyState.SUPERSEDED) and used <= full


def _rank(copy: Copy) -> tuple[bool, bool, int, bool, int, int]:
    """What decides between two sound headers, in this order; the higher wins, DCT1 where all is equal."""
    version = copy.version
    return (
        version is not None and version.checksum is not Checksum.UNCONFIRMED,
        copy.state is CopyState.COMPLETE,
        0 if version is None else version.sdk_version,
        version is not None and version.checksum is Checksum.FIRST_WRITE,
        0 if version is None else version.sequence,
        -(copy.number or 0),
    )


_RANK_WORDS: Final = (
    "its checksum is confirmed",
    "its header says current",
    "it was written by newer firmware",
    "it was written first at manufacture",
    "its sequence number is newer",
    "nothing tells the copies apart, and the first is taken",
)


def _reason(best: Copy, other: Copy) -> str:
    for mine, theirs, words in zip(_rank(best), _rank(other), _RANK_WORDS, strict=True):
        if mine != theirs:
            return f"DCT{best.number} of two sound headers: {words}."
    return f"DCT{best.number}."


def _section_of(copy: Copy) -> Section:
    address = None if copy.address is None else copy.address + SECTION_AT
    return Section(copy.data[SECTION_AT:], copy.offset + SECTION_AT, address)


def _section_image(data: bytes, notes: list[str]) -> FlashImage:
    """A DFU dump: the bootloader gives the current copy, whichever it is."""
    address = None
    choice = "DFU gives the application section of the current copy."
    if _magic(data, SECTION_SIZE):
        address = COPY_ADDRESSES[0] + SECTION_AT
        choice += " The header of DCT2 follows behind it, so the current copy is DCT1."
    if len(data) < SECTION_SIZE:
        notes.append(
            f"The dump is cut off: {len(data):,} bytes of at least {SECTION_SIZE:,}; what is missing is not shown."
        )
    section = Section(data[:SECTION_SIZE], 0, address)
    return FlashImage(ImageKind.SECTION, len(data), (), None, choice, None, section, (), tuple(notes))
