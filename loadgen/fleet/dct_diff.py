"""What differs between two dumps, in words: which differences can break the handshake, why, and how to mend each.

Strategy. The fields of both tables are compared one by one, so every byte belongs to a named field. A few of them
decide about the handshake, and of those only the part that the firmware reads: bytes behind a key do not matter.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from loadgen.fleet.address import ADDRESS_RECORD_SIZE, SERVER_KEY_FILE_SIZE
from loadgen.fleet.dct import Dct
from loadgen.fleet.dct_layout import (
    ADDRESS_AT,
    COPY_ADDRESSES,
    PRIVATE_KEY_AREA,
    PRIVATE_KEY_AT,
    SERVER_KEY_AT,
)
from loadgen.fleet.dct_values import HIDDEN, FieldValue, Presence, section_values, system_values
from loadgen.fleet.flash_modules import release_of
from loadgen.fleet.keydata import belongs_together
from loadgen.fleet.keyslot import SlotKind
from loadgen.protocol.wire import SERVER_SPKI_SIZE


@dataclass(frozen=True, slots=True)
class _Part:
    """What is written back at once."""

    item: str
    """For ``dct extract``."""
    offset: int
    size: int
    option: str
    """Of ``dct make``."""


_DEVICE_KEY: Final = _Part("device-slot", PRIVATE_KEY_AT, PRIVATE_KEY_AREA, "--device-from")
_SERVER_KEY: Final = _Part("server-slot", SERVER_KEY_AT, SERVER_KEY_FILE_SIZE, "--server-from")
_ADDRESS: Final = _Part("address-record", ADDRESS_AT, ADDRESS_RECORD_SIZE, "--address-from")

_USB_IDS: Final = "2b04:d008"  # a P1 in DFU mode; a Photon is 2b04:d006
_FOLDER: Final = "mend"


@dataclass(frozen=True, slots=True)
class Mend:
    """How to undo a difference."""

    offset: int
    """First byte to write, in the application section (DFU counts so)."""
    size: int
    """Bytes to write."""
    address: int | None
    """Flash address of the first byte in the current copy; None where the bad dump does not tell."""
    with_dfu: tuple[str, ...]
    """Commands for a device with USB."""
    option: str
    """What of ``dct make`` brings this part back."""
    otherwise: str = ""
    """Another way, a sentence."""


@dataclass(frozen=True, slots=True)
class Change:
    """One difference."""

    name: str
    """The field, or ``firmware`` and ``copies``."""
    offset: int | None
    """In its table; None where it is no field."""
    before: str
    after: str
    can_break: bool
    """Whether it can keep the device from completing a handshake."""
    why: str
    mend: Mend | None = None


_NEEDED: Final = ("device_private_key", "server_public_key", "server_address")


@dataclass(frozen=True, slots=True)
class Comparison:
    """What differs between a good and a bad dump."""

    changes: tuple[Change, ...]
    """Those that can break the handshake first."""
    missing: tuple[str, ...]
    """Fields that only one of the dumps has, so that nothing can be said."""
    without_dfu: tuple[str, ...]
    """Commands that mend everything at once on a device that only an ST-Link reaches."""

    @property
    def can_break(self) -> bool:
        """Whether any difference can break the handshake."""
        return any(change.can_break for change in self.changes)

    @property
    def undecided(self) -> tuple[str, ...]:
        """Of the fields that only one dump has, those that a handshake needs; the other dump is to be taken again."""
        return tuple(name for name in self.missing if name in _NEEDED)


def compare_dumps(good: Dct, bad: Dct, good_name: str, bad_name: str, *, secrets: bool = False) -> Comparison:
    """Every difference between two dumps.

    Args:
        good: of the device when it connected, or of one that does.
        bad: of the device that does not.
        good_name: file of the good dump, for the commands.
        bad_name: file of the bad one.
        secrets: whether to show keys, passphrases and claim codes.
    """
    changes = [*_copies(good, bad), *_firmware(good, bad)]
    missing = []
    for mine, theirs in (*_pairs(section_values(good.image), section_values(bad.image)), *_system_pairs(good, bad)):
        if Presence.MISSING in (mine.presence, theirs.presence):
            if mine.presence is not theirs.presence:
                missing.append(mine.field.name)
        elif mine.data != theirs.data:
            changes.append(_change(good, bad, mine, theirs, _Names(good_name, bad_name), secrets=secrets))
    changes.sort(key=lambda change: not change.can_break)
    return Comparison(tuple(changes), tuple(missing), _without_dfu(changes, bad, bad_name))


@dataclass(frozen=True, slots=True)
class _Names:
    good: str
    bad: str


def _pairs(good: Iterator[FieldValue], bad: Iterator[FieldValue]) -> Iterator[tuple[FieldValue, FieldValue]]:
    return zip(good, bad, strict=True)


def _system_pairs(good: Dct, bad: Dct) -> Iterator[tuple[FieldValue, FieldValue]]:
    """What stands in front of the application section, where both dumps have it."""
    if good.image.shown is not None and bad.image.shown is not None:
        yield from _pairs(system_values(good.image), system_values(bad.image))


def _copies(good: Dct, bad: Dct) -> Iterator[Change]:
    lost = good.image.is_trusted and not bad.image.is_trusted
    mine, theirs = ([copy.state for copy in dct.image.copies] for dct in (good, bad))
    moved = good.image.kind is bad.image.kind and (mine != theirs or _current(good) != _current(bad))
    if lost or moved:
        why = "No valid table: the device begins with a blank one." if lost else "Which sector is current says nothing."
        yield Change("copies", None, good.image.choice, bad.image.choice, lost, why)


def _current(dct: Dct) -> int | None:
    return None if dct.image.current is None else dct.image.current.number


def _firmware(good: Dct, bad: Dct) -> Iterator[Change]:
    before, after = good.system_version, bad.system_version
    if before is None or after is None or before == after:
        return
    is_blank = bad.server_area[:1] == b"\xff"
    crossed = good.uses_built_in_key is not bad.uses_built_in_key
    why = "By itself no reason: key, address and id stay where they are."
    if crossed and is_blank:
        why = (
            "The server's key is erased: firmware up to 0.6.4 uses it as it stands, firmware from 0.7.0-rc.1 on takes "
            "the vendor's built-in key instead."
        )
    yield Change("firmware", None, _release(before), _release(after), crossed and is_blank, why)


def _release(version: int) -> str:
    release = release_of(version)
    return f"system version {version}" + (f" ({release})" if release else "")


def _change(good: Dct, bad: Dct, mine: FieldValue, theirs: FieldValue, names: _Names, *, secrets: bool) -> Change:
    before, after = mine.text(secrets=secrets), theirs.text(secrets=secrets)
    if before == after == HIDDEN:
        after = "another one (hidden)"
    special = {
        "device_private_key": _device_key,
        "server_public_key": _server_key,
        "server_address": _address,
    }.get(mine.field.name)
    can_break, why, mend = (False, _harmless(mine.field.name), None)
    if special is not None:
        can_break, why, mend = special(good, bad, names)
        if mine.field.name == "device_private_key" and not secrets:
            before, after = (_key_text(dct, text) for dct, text in ((good, before), (bad, after)))
    return Change(mine.field.name, mine.field.offset, before, after, can_break, why, mend)


def _key_text(dct: Dct, text: str) -> str:
    """A private key by the fingerprint of what the device presents for it."""
    print_ = dct.device_fingerprint
    return text if print_ is None else f"{text.removesuffix(f', {HIDDEN}')}; presents SHA-256 {print_}"


def _device_key(good: Dct, bad: Dct, names: _Names) -> tuple[bool, str, Mend | None]:
    if good.private_key_der is not None and good.private_key_der == bad.private_key_der:
        return False, "The same key; only what is left behind it differs, which the firmware does not read.", None
    sound = _can_be_used(bad)
    if not _can_be_used(good):
        why = f"No device can use the key of {names.good} either, so nothing is to be taken over from it."
        return not sound, why, None
    if sound and good.device_fingerprint == bad.device_fingerprint:
        return False, "The same key, written in another way that the firmware reads as well.", None
    blank = bad.slot is not None and bad.slot.kind is SlotKind.BLANK
    why = "The cloud knows the device by the public half of the old key."
    if blank:
        why = "The device makes a new key at its next start, which the cloud does not know: -19 from a strict cloud."
    elif bad.slot is not None and not bad.slot.is_usable:
        why = "The firmware cannot use this key: decryption fails with code 6 even if the cloud knows what it presents."
    elif not sound:
        why = (
            "This key is damaged, its integers do not belong together: decryption fails with code 6 even if the cloud "
            "knows what it presents."
        )
    else:
        why += " It rejects the new one (-19), or answers to the old one (code 6)."
    command = f"loadgen dct extract {shlex.quote(names.bad)} {_FOLDER} --only device-public-key"
    other = f"Or give the cloud the new public key: {command}"
    return True, why, _mend(bad, names, _DEVICE_KEY, other if sound else "")


def _can_be_used(dct: Dct) -> bool:
    """Whether a device can complete a handshake with the key in its slot."""
    der = dct.private_key_der
    return der is not None and dct.slot is not None and dct.slot.is_usable and belongs_together(der)


def _server_key(good: Dct, bad: Dct, names: _Names) -> tuple[bool, str, Mend | None]:
    before, after = (dct.server_area[:SERVER_SPKI_SIZE] for dct in (good, bad))
    if before == after:
        return False, "The same key; the bytes behind it are not read.", None
    why = (
        "The device encrypts with this key: with another one the cloud cannot decrypt, and closes the connection (-19)."
    )
    if bad.server_area[:1] == b"\xff":
        kind = {
            True: "This firmware uses the vendor's built-in key instead",
            False: "This firmware uses the erased key as it stands",
            None: "Firmware up to 0.6.4 uses the erased key as it stands, later firmware the vendor's built-in one",
        }[bad.uses_built_in_key]
        why = f"{kind}: the cloud cannot decrypt, and closes the connection (-19)."
    return True, why, _mend(bad, names, _SERVER_KEY)


def _address(good: Dct, bad: Dct, names: _Names) -> tuple[bool, str, Mend | None]:
    before, after = good.address, bad.address
    if before is not None and after is not None and str(before) == str(after):
        return False, "The same address and port; what is behind them is not read.", None
    if before is None and after is None:
        return False, "Unset in both: the device goes to device.spark.io:5683.", None
    went, goes = (str(address) if address else "device.spark.io:5683 (unset)" for address in (before, after))
    why = f"The device goes to {goes} instead of {went}: another cloud, which has neither its key nor this server key."
    return True, why, _mend(bad, names, _ADDRESS)


def _mend(bad: Dct, names: _Names, part: _Part, otherwise: str = "") -> Mend:
    """How to bring a part of the good dump back."""
    good_file = shlex.quote(names.good)
    with_dfu = (
        f"loadgen dct extract {good_file} {_FOLDER} --only {part.item}",
        f"dfu-util -d {_USB_IDS} -a 1 -s {part.offset} -D {_FOLDER}/{part.item}.bin",
    )
    begin = bad.image.section.address
    address = None if begin is None else begin + part.offset
    return Mend(part.offset, part.size, address, with_dfu, f"{part.option} {good_file}", otherwise)


def _without_dfu(changes: Sequence[Change], bad: Dct, bad_name: str) -> tuple[str, ...]:
    """Commands for an ST-Link. Flash is erased by sectors only, so a whole table is written."""
    options = [change.mend.option for change in changes if change.mend is not None]
    if any(option.startswith(_SERVER_KEY.option) for option in options):  # has the address with it
        options = [option for option in options if not option.startswith(_ADDRESS.option)]
    if not options:
        return ()
    sectors = f"0x{COPY_ADDRESSES[0]:08x}"
    has_sector = bad.image.shown is not None  # a DFU dump has nothing of it but the application section
    base = shlex.quote(bad_name) if has_sector else "both.bin"
    read = () if has_sector else (f"st-flash read both.bin {sectors} 0x8000",)
    return (
        *read,
        f"loadgen dct make --base {base} {' '.join(options)} --layout both --output mended.bin",
        f"st-flash write mended.bin {sectors}",
        f'openocd -f interface/stlink.cfg -f target/stm32f2x.cfg -c "program mended.bin {sectors} verify reset exit"',
    )


_HARMLESS: Final = {
    "device_public_key": "A copy: the firmware rewrites it from the private key at its next start.",
    "claimed": "The handshake does not look at it; without it the device sends its claim code afterwards.",
    "claim_code": "Sent after the handshake only.",
    "device_id": "A copy: the device presents the chip's own number. Are both dumps of one device?",
    "cloud_transport": "A P1 or Photon always uses TCP.",
    "server_public_key.rest": "The firmware does not read what is behind the address.",
}


def _harmless(name: str) -> str:
    """Why a difference cannot break the handshake."""
    if name.startswith("wifi."):
        return "Not part of the handshake; the device has to reach its network before it."
    if name.startswith("alt_"):
        return "For UDP, which a P1 or Photon does not speak."
    if name.startswith("dct_version."):
        return "Changes with every write of the table."
    return _HARMLESS.get(name, "Not part of the handshake.")
