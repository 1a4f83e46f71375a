"""Saying what a file is that is no flash dump of a P1 or Photon."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from loadgen.fleet.address import SERVER_KEY_FILE_SIZE
from loadgen.fleet.dct_layout import (
    ALT_PRIVATE_KEY_AT,
    ALT_SERVER_KEY_AT,
    COPY_SIZE,
    MAGIC,
    MAGIC_AT,
    PRIVATE_KEY_AT,
    PUBLIC_KEY_AT,
    SECTION_AT,
    SERVER_KEY_AT,
)
from loadgen.fleet.flash_modules import PLATFORM_NAMES, Module
from loadgen.protocol.wire import SERVER_SPKI_SIZE, is_server_spki

_DCD = bytes.fromhex("9a271c1e")  # watermark of the Electron's table (services/inc/dcd.h of particle-iot/device-os)
_CURVE_KEY = bytes.fromhex("30770201010420")  # RFC 5915, P-256
_RTL872X = bytes.fromhex("999996963fcc66fc")
_ESP_MAGIC: Final = b"\xe9"
_PUBLIC_HEAD = bytes.fromhex("30819f300d06092a864886f70d010101")
_SERVER_HEAD = bytes.fromhex("30820122300d06092a864886f70d010101")
_CORE_KEYS: Final = (0x1000, 0x2000)
_HOW: Final = "Take a dump as docs/flash-dumps.md says: dfu-util -a 0 -s 0x08000000:0x100000 -U flash.bin"
_OTHER_DEVICE: Final = "Only P1 and Photon keep what this command reads; give a dump of one of those."


def describe_foreign(data: bytes, modules: Sequence[Module]) -> tuple[str, str]:
    """(what the file is, what to do): for a file that was not recognised as a dump.

    Args:
        data: the file.
        modules: parts of firmware that were found in it.
    """
    for describe in (_empty, _text, _container, _key, _platform, _swapped, _displaced):
        found = describe(data, modules)
        if found is not None:
            return found
    return "this is no flash dump: neither a table nor keys stand where a P1 has them", _HOW


def _swapped(data: bytes, _: Sequence[Module]) -> tuple[str, str] | None:
    """A dump by a tool that writes words with their high byte first."""
    for size in (4, 2):
        magic = b"".join(MAGIC[at : at + size][::-1] for at in range(0, len(MAGIC), size))
        if any(data.startswith(magic, at + MAGIC_AT) for at in (0, COPY_SIZE, 2 * COPY_SIZE)):
            return (
                f"this is a dump with the bytes of every {8 * size}-bit word swapped",
                f"Put them right: objcopy -I binary -O binary --reverse-bytes={size} dump.bin right.bin",
            )
    return None


def _displaced(data: bytes, _: Sequence[Module]) -> tuple[str, str] | None:
    """A table that stands somewhere else in the file than in any dump, or has lost its begin."""
    cut = "Cut off what is in front: tail -c +{} dump.bin > cut.bin"
    found = data.find(MAGIC)
    while found >= 0:
        begin = found - MAGIC_AT
        key = data[begin + SECTION_AT + PRIVATE_KEY_AT :][:2] if begin >= 0 else b""
        if begin == 0:
            what = "one copy of a P1's table begins this file, and something else follows it"
            return what, f"Keep the copy alone: head -c {COPY_SIZE} dump.bin > copy.bin"
        if key in (b"\x30\x82", b"\xff\xff"):
            what = f"a table of a P1 begins at byte {begin:,} of this file, where that of no dump does"
            return what, cut.format(begin + 1)
        found = data.find(MAGIC, found + 1)
    begin = data.find(_PUBLIC_HEAD) - PUBLIC_KEY_AT
    if begin >= -PRIVATE_KEY_AT and data.startswith(_SERVER_HEAD, begin + SERVER_KEY_AT):
        what = f"keys of a P1 stand in this file as if the application's section began at byte {begin:,}"
        if begin < 0:
            return f"{what}: its begin is missing", _HOW
        return f"{what}, without the header that would belong to it", cut.format(begin + 1)
    return None


def _empty(data: bytes, _: Sequence[Module]) -> tuple[str, str] | None:
    if not data:
        return "the file is empty", _HOW
    for byte, words in ((b"\xff", "FF: erased flash"), (b"\0", "00: reading it failed, or the chip is protected")):
        if not data.strip(byte):
            return f"the file has nothing but {words}", _HOW
    return None


def _text(data: bytes, _: Sequence[Module]) -> tuple[str, str] | None:
    head = data[:4096]
    if b"-----BEGIN " in head:
        return "this is a key or certificate in PEM, not a dump", "Give a dump; `loadgen fleet` reads key files."
    if any(byte < 9 or 13 < byte < 32 or byte > 126 for byte in head):
        return None
    binary = "Convert it first: objcopy -I {} -O binary {} dump.bin"
    if head.startswith(b":") and head[1:9].isalnum():
        return "this is an Intel HEX file, not a binary dump", binary.format("ihex", "dump.hex")
    if head.startswith((b"S0", b"S1", b"S3")):
        return "this is an S-record file, not a binary dump", binary.format("srec", "dump.s19")
    return "this is a text file, not a binary dump", f"{_HOW}. A hex listing becomes binary with: xxd -r listing.txt"


def _container(data: bytes, _: Sequence[Module]) -> tuple[str, str] | None:
    if data.startswith(b"\x7fELF"):
        return "this is an ELF program, not a flash dump", _HOW
    if data.startswith(b"DfuSe"):
        return "this is a DfuSe container, not a flash dump", _HOW
    if data.startswith((b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ")):
        return "this is a compressed file", "Unpack it and give the dump that is in it."
    return None


def _key(data: bytes, _: Sequence[Module]) -> tuple[str, str] | None:
    if is_server_spki(data[:SERVER_SPKI_SIZE]) and len(data) <= 2 * SERVER_KEY_FILE_SIZE:
        return "this is the file of a server's public key, not a dump", "Give a dump; --server-key takes key files."
    if data.startswith(b"\x30") and len(data) <= 2048:
        return (
            "this is a key in DER (as `particle keys save` writes it), not a dump",
            "Give a dump; `loadgen fleet import` reads key files.",
        )
    return None


def _platform(data: bytes, modules: Sequence[Module]) -> tuple[str, str] | None:
    others = {module.platform for module in modules} - {6, 8}
    if others:
        platform = min(others)
        return f"this is the flash of another device: {PLATFORM_NAMES[platform]} (platform {platform})", _OTHER_DEVICE
    if (
        any(data.startswith(_DCD, at) for at in (0, COPY_SIZE, 2 * COPY_SIZE))
        or any(data.startswith(_CURVE_KEY, at) for at in (ALT_PRIVATE_KEY_AT, ALT_PRIVATE_KEY_AT + 8))
        or data.startswith(bytes.fromhex("3059301306072a8648ce3d"), ALT_SERVER_KEY_AT)
    ):
        return (
            "this is a dump of an Electron (platform 10), which has elliptic-curve keys and speaks UDP",
            _OTHER_DEVICE,
        )
    if all(data.startswith(b"\x30\x82", at) for at in _CORE_KEYS):
        return "this is a dump of a Core (platform 0): its keys stand at 0x1000 and 0x2000", _OTHER_DEVICE
    esp32_begins = not data[:0x1000].strip(b"\xff") and data[0x1000:0x1001] == _ESP_MAGIC
    if data.startswith(_ESP_MAGIC) or esp32_begins:
        return "this is the flash of an ESP8266 or ESP32", _OTHER_DEVICE
    if data.startswith(_RTL872X):
        return "this is the flash of an RTL872x (P2, Photon 2)", _OTHER_DEVICE
    return None
