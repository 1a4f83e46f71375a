"""What the fields of a DCT say, in words. Pure byte work; secrets are hidden unless somebody asks for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from loadgen.fleet.address import AddressError, parse_address_record
from loadgen.fleet.dct_layout import (
    CLAIMED,
    OTA_PENDING,
    SECTION_AT,
    SECTION_FIELDS,
    SECURITY_NAMES,
    SYSTEM_FIELDS,
    Field,
    Kind,
)
from loadgen.fleet.flash import FlashImage
from loadgen.fleet.keyslot import SlotKind, fingerprint, read_key_slot
from loadgen.protocol.wire import DEVICE_SPKI_SIZE, SERVER_SPKI_SIZE, is_device_spki, is_server_spki

HIDDEN: Final = "hidden (--secrets shows it)"

# Fields whose being erased makes the firmware do something.
_TELLING: Final = ("device_private_key", "server_public_key", "server_address")
_SHOWN_BYTES: Final = 24
_FINGERPRINT_DIGITS: Final = 16


class Presence(StrEnum):
    """Whether a field has anything in it."""

    SET = "set"
    ERASED = "erased"
    """Nothing but FF."""
    MISSING = "missing"
    """The dump ends before or within it."""


@dataclass(frozen=True, slots=True)
class FieldValue:
    """A field of a dump."""

    field: Field
    file_offset: int
    """Of its first byte in the dump."""
    address: int | None
    """Flash address of its first byte, where it is known."""
    data: bytes
    """What the dump has of it."""
    presence: Presence

    def text(self, *, secrets: bool = False) -> str:
        """The value in words."""
        if self.presence is Presence.MISSING or (self.presence is Presence.ERASED and self.field.name not in _TELLING):
            return self.presence
        if self.field.secret and not secrets and self.field.kind is not Kind.PRIVATE_KEY:
            return HIDDEN if self._has_content else "empty"
        if self.field.secret and self.field.kind in (Kind.BYTES, Kind.CURVE_KEY):
            return self.data.rstrip(b"\xff").hex()
        return _READERS[self.field.kind](self.field, self.data, secrets)

    @property
    def _has_content(self) -> bool:
        """Whether a hidden text has any characters."""
        if self.field.kind is Kind.TEXT:
            return bool(_c_text(self.data))
        return self.data[0] != 0 if self.field.kind is Kind.COUNTED else bool(self.data.strip(b"\0"))


def section_values(image: FlashImage) -> Iterator[FieldValue]:
    """The fields of the application section that is looked at, in their order."""
    section = image.section
    for field in SECTION_FIELDS:
        address = None if section.address is None else section.address + field.offset
        yield _value(field, section.data, section.offset, address)


def system_values(image: FlashImage) -> Iterator[FieldValue]:
    """The fields in front of it; none for a DFU dump."""
    copy = image.shown
    if copy is not None:
        for field in SYSTEM_FIELDS:
            address = None if copy.address is None else copy.address + field.offset
            yield _value(field, copy.data[:SECTION_AT], copy.offset, address)


def _value(field: Field, data: bytes, base: int, address: int | None) -> FieldValue:
    part = data[field.offset : field.end]
    presence = Presence.SET if part.strip(b"\xff") else Presence.ERASED
    if len(part) < field.size:
        presence = Presence.MISSING
    return FieldValue(field, base + field.offset, address, part, presence)


# --- readers, one a kind: (field, bytes, whether secrets are shown) -> text


def _unsigned(field: Field, data: bytes, _: bool) -> str:
    number = int.from_bytes(data, "little")
    words = _WORDS.get(field.name)
    if words is not None:
        return words(number)
    if field.name.endswith("security"):
        return SECURITY_NAMES.get(number, f"0x{number:08x}")
    if field.size == 4 or number > 9:
        return f"{number} (0x{number:0{2 * field.size}x})"
    return str(number)


def _claimed(number: int) -> str:
    return "yes" if number == CLAIMED else f"no (0x{number:02x})"


def _sdk(number: int) -> str:
    return f"{number >> 8}.{number >> 4 & 15}.{number & 15} (0x{number:04x})"


_WORDS: Final[dict[str, Callable[[int], str]]] = {
    "claimed": _claimed,
    "ota_update_flag": lambda number: "pending (0xa5)" if number == OTA_PENDING else f"no (0x{number:02x})",
    "cloud_transport": lambda number: {0: "TCP (0)", 1: "UDP (1)"}.get(number, f"0x{number:02x}"),
    "antenna_selection": lambda number: {0: "internal (0)", 1: "external (1)", 3: "automatic (3)"}.get(
        number, f"0x{number:02x}"
    ),
    "dct_version.sdk_version": _sdk,
    "dct_version.crc32": lambda number: f"0x{number:08x}",
    "dct_version.magic": lambda number: f"0x{number:08x}",
    "feature_flags": lambda number: f"0x{number:08x}",
}


def _bytes(field: Field, data: bytes, _: bool) -> str:
    if field.name == "device_id":
        return data.hex()
    if field.size == 6:
        return ":".join(f"{byte:02x}" for byte in data)
    body = data.rstrip(data[-1:]) if data[-1:] in (b"\xff", b"\0") else data
    if not body:
        return f"{len(data)} × 00"
    if len(body) <= _SHOWN_BYTES:
        rest = len(data) - len(body)
        return body.hex(" ") + (f", then {rest} × {data[-1]:02x}" if rest else "")
    return (
        f"{body[:8].hex(' ')} … ({len(body)} of {len(data)} bytes, SHA-256 {fingerprint(data)[:_FINGERPRINT_DIGITS]})"
    )


def _c_text(data: bytes) -> str:
    """Up to a zero byte or FF; what does not print is escaped."""
    for end in (b"\0", b"\xff"):
        data = data.partition(end)[0]
    return data.decode("ascii", "backslashreplace")


def _text(_: Field, data: bytes, __: bool) -> str:
    return f'"{_c_text(data)}"' if _c_text(data) else "empty"


def _counted(_: Field, data: bytes, __: bool) -> str:
    size = data[0]
    if size == 0:
        return "empty"
    if size >= len(data):
        return f"no sensible length: {size}"
    return f'"{data[1 : 1 + size].decode("utf-8", "backslashreplace")}"'


def _private_key(_: Field, data: bytes, secrets: bool) -> str:
    slot = read_key_slot(data)
    if slot.kind is SlotKind.BLANK:
        return "erased (first byte FF): the device makes a key at its next start"
    size = "" if slot.size is None else f", {slot.size} bytes"
    bits = "" if slot.bits is None else f" of {slot.bits} bits"
    body = data[: slot.size or len(data.rstrip(b"\xff"))].hex() if secrets else ""
    return f"{slot.kind} key{bits}{size}" + (f": {body}" if secrets else f", {HIDDEN}")


def _public_key(_: Field, data: bytes, __: bool) -> str:
    key = data[:DEVICE_SPKI_SIZE]
    if not is_device_spki(key):
        return f"no RSA-1024 public key: {data[:8].hex(' ')} …"
    return f"RSA-1024, SHA-256 {fingerprint(key)}"


def _server_key(_: Field, data: bytes, __: bool) -> str:
    key, rest = data[:SERVER_SPKI_SIZE], data[SERVER_SPKI_SIZE:]
    if data[0] == 0xFF:
        return "erased (first byte FF)"
    if not is_server_spki(key):
        return f"not what a device understands: {data[:8].hex(' ')} …"
    tail = "" if not rest.strip(b"\xff") else ", bytes other than FF behind it"
    return f"RSA-2048, SHA-256 {fingerprint(key)}{tail}"


def _curve_key(field: Field, data: bytes, secrets: bool) -> str:
    if data[0] != 0x30:
        return _bytes(field, data, secrets)
    return f"DER, SHA-256 of the area {fingerprint(data)[:_FINGERPRINT_DIGITS]}"


def _address(_: Field, data: bytes, __: bool) -> str:
    try:
        address = parse_address_record(data)
    except AddressError as error:
        return f"not usable: {error}"
    if address is None:
        return f"{'erased' if data[0] == 0xFF else 'unset'} (type:{data[0]}): device.spark.io:5683 is used"
    port = "no port: 5683" if address.port in (None, 0) else f"port {address.port}"
    return f"{address.host}, {port}"


def _ip_config(_: Field, data: bytes, __: bool) -> str:
    names = ("host", "netmask", "gateway", "dns1", "dns2")
    parts = (f"{name} {'.'.join(map(str, data[4 + 4 * at : 8 + 4 * at]))}" for at, name in enumerate(names))
    return f"mode {data[0]}, " + ", ".join(parts)


def _country(_: Field, data: bytes, __: bool) -> str:
    return f"{data[:2].decode('ascii', 'backslashreplace')}, revision {data[3]}"


def _module(_: Field, data: bytes, __: bool) -> str:
    source, destination, size = (int.from_bytes(data[at : at + 4], "little") for at in (4, 8, 12))
    magic = int.from_bytes(data[:2], "little")
    place = f"{size:,} bytes from 0x{source:08x} to 0x{destination:08x}"
    return f"magic 0x{magic:04x}, {place}, function {data[16]}, flags 0x{data[17]:02x}"


_READERS: Final = {
    Kind.UNSIGNED: _unsigned,
    Kind.BYTES: _bytes,
    Kind.TEXT: _text,
    Kind.COUNTED: _counted,
    Kind.PRIVATE_KEY: _private_key,
    Kind.PUBLIC_KEY: _public_key,
    Kind.SERVER_KEY: _server_key,
    Kind.CURVE_KEY: _curve_key,
    Kind.ADDRESS: _address,
    Kind.IP_CONFIG: _ip_config,
    Kind.COUNTRY: _country,
    Kind.MODULE: _module,
    Kind.UNUSED: _bytes,
}
