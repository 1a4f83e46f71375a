"""The parts of the firmware in a dump of the whole flash: which, which version, for which platform, intact or not.

Every part has a header of 24 bytes at its begin, or behind the vector table where it has one, and a CRC-32
(big-endian) behind its last byte (``module_info.h`` of particle-iot/device-os). The version of the system parts names
the release of the firmware (``system/system-versions.md``).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from loadgen.fleet.dct_layout import FLASH_BASE

PLATFORM_NAMES: Final = {
    0: "Core",
    6: "Photon",
    8: "P1",
    10: "Electron",
    12: "Argon",
    13: "Boron",
    14: "Xenon",
    15: "ESP32 (mesh)",
    22: "A SoM",
    23: "B SoM",
    24: "X SoM",
    25: "B5 SoM",
    26: "Tracker",
    28: "Tracker M",
    32: "P2",
    35: "M SoM",
    88: "RedBear Duo",
}
"""Platform id → name."""
SYSTEM_VERSION_0_7_0: Final = 200
"""System parts from this version on (0.7.0-rc.1) use a built-in key where the server's key is erased."""

_AREAS: Final = (0x0, 0x20000, 0x60000, 0x80000, 0xA0000, 0xC0000, 0xE0000)  # where parts begin in flash
_HEADER_PLACES: Final = (0, 0x184, 0x200)  # at once, or behind the vector table
_HEADER_SIZE: Final = 24
_BOOTLOADER, _MONOLITH, _SYSTEM, _USER = 2, 3, 4, 5
_MAX_SIZE: Final = 0x80000

_RELEASES: Final = {
    0: "0.4.0", 1: "0.4.0 or 0.4.1", 2: "0.4.2", 3: "0.4.3", 4: "0.4.4-rc", 5: "0.4.4", 6: "0.4.5", 7: "0.4.6",
    8: "0.4.7", 9: "0.4.8-rc.1", 10: "0.4.8-rc.6", 11: "0.4.9", 12: "0.5.0-rc.1", 13: "0.5.0", 14: "0.5.1-rc.1",
    15: "0.5.1", 16: "0.5.2-rc.1", 17: "0.5.2", 18: "0.5.3-rc.1", 19: "0.5.3-rc.2", 20: "0.5.3-rc.3", 21: "0.5.3",
    22: "0.5.4", 23: "0.5.5", 100: "0.6.0-rc.1", 101: "0.6.0-rc.2", 102: "0.6.0", 103: "0.6.1-rc.1",
    104: "0.6.1-rc.2", 105: "0.6.1", 106: "0.6.2-rc.1", 107: "0.6.2-rc.2", 108: "0.6.2", 109: "0.6.3", 110: "0.6.4",
    200: "0.7.0-rc.1", 201: "0.7.0-rc.2", 202: "0.7.0-rc.3", 203: "0.7.0-rc.4", 204: "0.7.0-rc.5", 205: "0.7.0-rc.6",
    206: "0.7.0-rc.7", 207: "0.7.0", 300: "0.8.0-rc.1", 301: "0.8.0-rc.2", 302: "0.8.0-rc.3", 303: "0.8.0-rc.4",
    304: "0.8.0-rc.5", 305: "0.8.0-rc.6", 306: "0.8.0-rc.7", 307: "0.8.0-rc.8", 308: "0.8.0-rc.9",
    309: "0.8.0-rc.10", 310: "0.8.0-rc.11", 311: "0.8.0-rc.12", 312: "0.8.0-rc.14", 1000: "1.0.0",
    1001: "1.0.1-rc.1", 1002: "1.0.1", 1100: "1.1.0-rc.1", 1101: "1.1.0-rc.2", 1102: "1.1.0", 1200: "1.2.0-alpha.1",
    1201: "1.2.0-beta.1", 1202: "1.2.0-rc.1", 1210: "1.2.1-rc.1", 1211: "1.2.1-rc.2", 1212: "1.2.1-rc.3",
    1213: "1.2.1", 1300: "1.3.0-alpha.1", 1301: "1.3.0-rc.1", 1320: "1.3.1-rc.1", 1321: "1.3.1", 1400: "1.4.0-rc.1",
    1401: "1.4.0", 1402: "1.4.1-rc.1", 1403: "1.4.1", 1404: "1.4.2", 1405: "1.4.3", 1406: "1.4.4",
    1500: "1.5.0-rc.1", 1501: "1.5.0-rc.2", 1502: "1.5.0", 1510: "1.5.1-rc.1", 1511: "1.5.1", 1512: "1.5.2",
    1514: "1.5.4-rc.1", 1515: "1.5.4-rc.2", 2000: "2.0.0-alpha.1", 2004: "2.0.0-rc.1", 2005: "2.0.0-rc.2",
    2006: "2.0.0-rc.3", 2007: "2.0.0-rc.4", 2008: "2.0.0", 2011: "2.0.1", 2100: "2.1.0-rc.1", 2101: "2.1.0",
    2200: "2.2.0-rc.1", 2201: "2.2.0-rc.2", 2202: "2.2.0", 2300: "2.3.0-rc.1", 2301: "2.3.0", 3003: "3.0.0-rc.1",
    3004: "3.0.0-rc.2", 3005: "3.0.0", 3102: "3.1.0-rc.1", 3103: "3.1.0", 3200: "3.2.0-rc.1", 3201: "3.2.0",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Module:
    """A part of the firmware."""

    name: str
    """Such as ``system part 1``."""
    address: int
    """Where it lies in flash."""
    end: int
    """Behind its last byte; the checksum follows."""
    version: int
    release: str | None
    """Of the firmware, for system parts with a known version."""
    platform: int
    is_intact: bool | None
    """Whether its checksum is right; None where the dump ends before it."""
    is_installed: bool
    """Whether it lies where it runs; False for a copy that is kept (factory, update)."""

    @property
    def platform_name(self) -> str:
        """The platform in words."""
        return PLATFORM_NAMES.get(self.platform, f"platform {self.platform}")

    @property
    def is_system(self) -> bool:
        """Whether it is installed and contains the code that talks to the cloud."""
        return self.is_installed and self.name.startswith(("system", "monolithic"))


def find_modules(flash: bytes) -> Iterator[Module]:
    """The parts in a dump of the whole flash, in the order of their addresses.

    Args:
        flash: from 0x08000000 on.
    """
    for area in _AREAS:
        for place in _HEADER_PLACES:
            module = _module(flash, area, area + place)
            if module is not None:
                yield module
                break


def system_version(modules: Iterable[Module]) -> int | None:
    """Version of the installed system firmware: its newest part's; None where there is none."""
    return max((module.version for module in modules if module.is_system), default=None)


def release_of(version: int) -> str | None:
    """The release that a system part of this version belongs to."""
    return _RELEASES.get(version)


def _module(flash: bytes, begin: int, header_at: int) -> Module | None:
    """The part that begins at ``begin``, if its header stands at ``header_at``."""
    header = flash[header_at : header_at + _HEADER_SIZE]
    if len(header) < _HEADER_SIZE:
        return None
    start, end = (int.from_bytes(header[at : at + 4], "little") for at in (0, 4))
    version, platform = (int.from_bytes(header[at : at + 2], "little") for at in (10, 12))
    function, index = header[14] & 0x0F, header[15]
    size = end - start
    if platform not in PLATFORM_NAMES or function not in (_BOOTLOADER, _MONOLITH, _SYSTEM, _USER):
        return None
    if not FLASH_BASE <= start < end or not _HEADER_SIZE < size <= _MAX_SIZE or index > 3:
        return None
    stored = flash[begin + size : begin + size + 4]
    intact = zlib.crc32(flash[begin : begin + size]) == int.from_bytes(stored) if len(stored) == 4 else None
    release = release_of(version) if function in (_MONOLITH, _SYSTEM) else None
    address = FLASH_BASE + begin
    return Module(_name(function, index), address, address + size, version, release, platform, intact, start == address)


def _name(function: int, index: int) -> str:
    names = {_BOOTLOADER: "bootloader", _MONOLITH: "monolithic firmware", _USER: "application"}
    return names.get(function, f"system part {index}")
