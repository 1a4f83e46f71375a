"""Dumps for the tests, laid out with literal offsets: those of the firmware's own assertions."""

from __future__ import annotations

import struct
import zlib

from tests.fleet.keys import good_keys, server_spki

DEVICE_ID = bytes.fromhex("3a0042000647343232363230")
ADDRESS = (b"\x00\x04\xc0\xa8\x01\x0a".ljust(66, b"\xff") + (5683).to_bytes(2, "big")).ljust(128, b"\xff")
HEADER = bytes.fromhex("0000000000000000000101004252434d")


def public_of(der: bytes) -> bytes:
    """The 162 bytes for a standard key, whose modulus begins at 11."""
    head = bytes.fromhex("30819f300d06092a864886f70d010101050003818d0030818902818100")
    return head + der[11:139] + bytes.fromhex("0203010001")


def section(
    key: bytes | None = None,
    *,
    server: bytes | None = None,
    address: bytes = ADDRESS,
    claimed: bytes = b"1",
    device_id: bytes = DEVICE_ID,
    changes: dict[int, bytes] | None = None,
) -> bytes:
    """An application section of 8836 bytes."""
    key = good_keys()[0] if key is None else key
    server = server_spki() if server is None else server
    data = bytearray(b"\xff" * 8836)
    public = public_of(key) if key[:1] == b"\x30" else b""
    parts = {34: key, 1250: public, 1825: claimed, 2082: server, 2466: address, 3618: device_id}
    for offset, part in {**parts, **(changes or {})}.items():
        data[offset : offset + len(part)] = part
    return bytes(data)


def copy(application: bytes | None = None, *, incomplete: int = 0, current: int = 1, magic: bytes = b"BRCM") -> bytes:
    """A copy of 16384 bytes."""
    head = HEADER[:8] + bytes([incomplete, current]) + HEADER[10:12] + magic
    return head.ljust(7548, b"\xff") + (section() if application is None else application)


def with_record(data: bytes, *, sequence: int, initial: int = 0, crc: int | None = None, sdk: int = 0x370) -> bytes:
    """A copy with the record of WICED 3.7; the checksum over all of it, with itself as zero, unless it is given."""
    record = struct.pack("<IHHIBB2x", 0xDC0200CD, 0, sdk, 0, 0, sequence)
    if crc is None:
        crc = zlib.crc32(data[:16368] + record)
    return data[:16368] + struct.pack("<IHHIBB2x", 0xDC0200CD, 0, sdk, crc, initial, sequence)


def flash(first: bytes, second: bytes, modules: dict[int, bytes] | None = None) -> bytes:
    """A whole flash of 1 MB."""
    data = bytearray(b"\xff" * 0x100000)
    data[0:8] = struct.pack("<II", 0x20020000, 0x08000195)
    data[0x4000:0x8000], data[0x8000:0xC000] = first, second
    for offset, module in (modules or {}).items():
        data[offset : offset + len(module)] = module
    return bytes(data)


def module(
    address: int, *, version: int, platform: int = 8, function: int = 4, index: int = 1, vectors: int = 0x184
) -> bytes:
    """A part of the firmware of 2 KB with its checksum."""
    size = 2048
    header = struct.pack("<IIBBHHBBII", address, address + size, 0, 0, version, platform, function, index, 0, 0)
    body = (b"\x5a" * vectors + header).ljust(size, b"\xa5")
    return body + zlib.crc32(body).to_bytes(4, "big")
