"""Making DCT images: a device's identity, its cloud's key and address, at the places where firmware looks for them.

A made copy has the header of firmware up to 0.6.4 and no record of WICED 3.7, whose checksum nobody outside the vendor
can compute for certain; newer firmware takes such a copy for one of an older release and writes its record itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from loadgen.fleet.address import ADDRESS_RECORD_SIZE
from loadgen.fleet.dct_layout import (
    ADDRESS_AT,
    CLAIM_CODE_AT,
    CLAIMED,
    CLAIMED_AT,
    COPY_ADDRESSES,
    COPY_SIZE,
    DEVICE_ID_AT,
    FLASH_BASE,
    PRIVATE_KEY_AREA,
    PRIVATE_KEY_AT,
    PUBLIC_KEY_AT,
    SECTION_AT,
    SECTION_SIZE,
    SERVER_KEY_AT,
    VERSION_AT,
    VERSION_SIZE,
)
from loadgen.fleet.flash import FLASH_SIZE, FlashImage
from loadgen.protocol.pkcs1 import private_key_integers
from loadgen.protocol.wire import DEVICE_SPKI_SIZE

MAX_CLAIM_CODE: Final = CLAIMED_AT - CLAIM_CODE_AT
"""Bytes of a claim code."""

_FIRST_HEADER = bytes.fromhex("000000000000000000010100") + b"BRCM"  # of a sector as firmware initialises it
_IS_CURRENT_AT: Final = 9
_PUBLIC_KEY_AREA: Final = 384
_PKCS8_HEAD = bytes.fromhex("020100300d06092a864886f70d010101050004")
_UNCLAIMED: Final = 0xFF


class Layout(StrEnum):
    """What an image holds."""

    COPY = "copy"
    BOTH = "both"
    DFU = "dfu"
    FLASH = "flash"


class Part(StrEnum):
    """What can be erased on purpose."""

    DEVICE_KEY = "device-key"
    """FF from 34 on: the firmware makes a new key."""
    SERVER_KEY = "server-key"
    """The 294 bytes of the key; its address stays."""
    ADDRESS = "address"
    SERVER_AREA = "server-area"
    """Key and address, as a bare padded key written over both."""


@dataclass(frozen=True, slots=True)
class Base:
    """What an image begins with."""

    copy: bytes
    """16384 bytes: a copy of the table, with a header that says current and without a version record."""

    @property
    def section(self) -> bytes:
        """Its application section."""
        return self.copy[SECTION_AT:]


def blank_base() -> Base:
    """A freshly initialised table: a header, all else erased."""
    return Base(_FIRST_HEADER.ljust(COPY_SIZE, b"\xff"))


def base_of(image: FlashImage) -> Base:
    """The table that a dump shows. What a DFU dump or one that is cut off lacks is erased."""
    if image.shown is None:
        return Base(_FIRST_HEADER.ljust(SECTION_AT, b"\xff") + _without_record(image.section.data))
    copy = image.shown.data.ljust(COPY_SIZE, b"\xff")
    head = copy[:8] + _FIRST_HEADER[8:10] + copy[10:12] + _FIRST_HEADER[12:]
    return Base(head + copy[len(_FIRST_HEADER) : SECTION_AT] + _without_record(copy[SECTION_AT:]))


def _without_record(section: bytes) -> bytes:
    end = VERSION_AT - SECTION_AT
    return section[:end].ljust(end, b"\xff") + b"\xff" * VERSION_SIZE


class Maker:
    """Changes a table field by field.

    Args:
        base: what to begin with.
    """

    def __init__(self, base: Base) -> None:
        self._base = base
        self._section = bytearray(base.section)

    def put(self, offset: int, data: bytes) -> None:
        """Write bytes to an offset of the application section."""
        if offset + len(data) > SECTION_SIZE:
            raise ValueError("the application section ends before that")
        self._section[offset : offset + len(data)] = data

    def device(self, private_slot: bytes, public_key: bytes | None, device_id: bytes | None) -> None:
        """A device's key (as it is to stand in the slot, up to 1216 bytes), its public key and its id."""
        self.put(PRIVATE_KEY_AT, private_slot.ljust(PRIVATE_KEY_AREA, b"\xff"))
        if public_key is not None:
            self.put(PUBLIC_KEY_AT, public_key[:DEVICE_SPKI_SIZE].ljust(_PUBLIC_KEY_AREA, b"\xff"))
        if device_id is not None:
            self.put(DEVICE_ID_AT, device_id)

    def server_key(self, area: bytes) -> None:
        """The server's key, up to 384 bytes; what follows it is erased, the address stays."""
        self.put(SERVER_KEY_AT, area[: ADDRESS_AT - SERVER_KEY_AT].ljust(ADDRESS_AT - SERVER_KEY_AT, b"\xff"))

    def address(self, record: bytes) -> None:
        """The address record."""
        self.put(ADDRESS_AT, record[:ADDRESS_RECORD_SIZE].ljust(ADDRESS_RECORD_SIZE, b"\xff"))

    def claim(self, *, claimed: bool | None, code: bytes | None) -> None:
        """Claim state and claim code; None leaves either as it is."""
        if claimed is not None:
            self.put(CLAIMED_AT, bytes([CLAIMED if claimed else _UNCLAIMED]))
        if code is not None:
            self.put(CLAIM_CODE_AT, code.ljust(MAX_CLAIM_CODE, b"\0"))

    def erase(self, part: Part) -> None:
        """Erase a part, so that the stories of devices that lost it can be told."""
        if part is Part.DEVICE_KEY:
            self.put(PRIVATE_KEY_AT, b"\xff" * PRIVATE_KEY_AREA)
        if part in (Part.SERVER_KEY, Part.SERVER_AREA):
            self.server_key(b"")
        if part in (Part.ADDRESS, Part.SERVER_AREA):
            self.address(b"")

    def image(self, layout: Layout, *, keep_old: bool = False) -> bytes:
        """The bytes.

        Args:
            layout: one copy (16 KB), both (32 KB), the application section (as DFU gives it), or the whole flash.
            keep_old: with two copies: DCT1 keeps the table of before, superseded, and DCT2 is current, as after a
                write by firmware. Else DCT1 is current and DCT2 erased.
        """
        if layout is Layout.DFU:
            return bytes(self._section)
        current = self._base.copy[:SECTION_AT] + bytes(self._section)
        if layout is Layout.COPY:
            return current
        erased = b"\xff" * COPY_SIZE
        old = self._base.copy[:_IS_CURRENT_AT] + b"\0" + self._base.copy[_IS_CURRENT_AT + 1 :]
        both = old + current if keep_old else current + erased
        if layout is Layout.BOTH:
            return both
        begin = COPY_ADDRESSES[0] - FLASH_BASE
        return (b"\xff" * begin + both).ljust(FLASH_SIZE, b"\xff")


def as_self_made(private_key_der: bytes) -> bytes:
    """A PKCS#1 key as the firmware's own generator writes it (from 0.4.8-rc.2): 611 bytes, each integer with a zero.

    Raises :class:`ValueError` where that is no PKCS#1 key of 1024 bits.
    """
    parts = [_der_integer(b"\0")]
    for name, value in private_key_integers(private_key_der)._asdict().items():
        digits = value.lstrip(b"\0")
        size = {"e": len(digits), "n": 129, "d": 129}.get(name, 65)
        if len(digits) > size:
            raise ValueError(f"the integer {name} of the key has {len(digits)} bytes")
        parts.append(_der_integer(digits.rjust(size, b"\0")))
    content = b"".join(parts)
    return b"\x30\x82" + len(content).to_bytes(2) + content


def _der_integer(value: bytes) -> bytes:
    """An INTEGER of up to 255 bytes, with the leading zeros that it is given."""
    return b"\x02" + (b"\x81" if len(value) >= 0x80 else b"") + bytes([len(value)]) + value


def as_pkcs8(private_key_der: bytes) -> bytes:
    """A PKCS#1 key as PKCS#8 (RFC 5208), as OpenSSL 3 writes it unless told not to."""
    octets = b"\x82" + len(private_key_der).to_bytes(2) + private_key_der
    content = _PKCS8_HEAD + octets
    return b"\x30\x82" + len(content).to_bytes(2) + content
