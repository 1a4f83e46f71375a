"""The keys, the address and the identity in a dump of a P1 or Photon, and what of it keeps a device from connecting."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadgen.errors import UsageError
from loadgen.fleet.address import ADDRESS_RECORD_SIZE, AddressError, ServerAddress, parse_address_record
from loadgen.fleet.dct_layout import (
    ADDRESS_AT,
    ALT_PRIVATE_KEY_AT,
    CLAIM_CODE_AT,
    CLAIMED,
    CLAIMED_AT,
    DEVICE_ID_AT,
    PRIVATE_KEY_AREA,
    PRIVATE_KEY_AT,
    PUBLIC_KEY_AT,
    SERVER_KEY_AT,
)
from loadgen.fleet.dct_troubles import (
    Trouble,
    address_troubles,
    device_key_troubles,
    pairing_troubles,
    server_key_troubles,
)
from loadgen.fleet.findings import Level
from loadgen.fleet.flash import MAX_DUMP, Checksum, FlashImage, ImageKind, examine
from loadgen.fleet.flash_modules import SYSTEM_VERSION_0_7_0, system_version
from loadgen.fleet.identity import Identity
from loadgen.fleet.keyslot import KeySlot, SlotKind, fingerprint, read_key_slot
from loadgen.protocol.wire import (
    DEVICE_ID_SIZE,
    DEVICE_SPKI_SIZE,
    SERVER_MODULUS_SIZE,
    SERVER_SPKI_SIZE,
    is_device_spki,
    is_server_spki,
    server_spki,
)

_PHOTON, _P1 = 6, 8
_CURVE_DER: Final = 0x30
_SERVER_MODULUS_AT: Final = 33
"""Where the firmware looks for the modulus, counted from the begin of the server's key."""


@dataclass(frozen=True, slots=True)
class Dct:
    """What a dump says about its device. Every field can be missing from a dump that is cut off."""

    image: FlashImage
    slot: KeySlot | None
    """The private-key slot; None where the dump ends before it."""
    private_area: bytes
    """The whole slot, 1216 bytes."""
    stored_public_key: bytes | None
    """162 bytes; None unless there is a public key of the usual layout."""
    server_key: bytes | None
    """294 bytes; None unless there is a key of the one layout that devices understand."""
    server_area: bytes
    """What stands where the server's key belongs, up to 384 bytes."""
    address_record: bytes
    """Up to 128 bytes."""
    device_id: bytes | None
    """12 bytes; None where the dump does not know it, as before firmware 0.6.0."""
    claimed: bool | None
    claim_code: bytes
    """Empty if there is none."""

    @property
    def address(self) -> ServerAddress | None:
        """Where the device finds its cloud; None if that is unset, unusable or missing."""
        try:
            return parse_address_record(self.address_record)
        except AddressError:
            return None

    @property
    def system_version(self) -> int | None:
        """Module version of the installed system firmware, of a whole flash only."""
        return system_version(self.image.modules)

    @property
    def uses_built_in_key(self) -> bool | None:
        """Whether the firmware replaces an erased server key by its built-in one (0.7.0-rc.1 on); None if unknown."""
        version = self.system_version
        if version is not None:
            return version >= SYSTEM_VERSION_0_7_0
        record = None if self.image.shown is None else self.image.shown.version
        return None if record is None or record.checksum is Checksum.UNCONFIRMED else True

    def server_key_in_use(self, *, built_in: bool) -> bytes | None:
        """The server's key as firmware uses it, 294 bytes: its modulus is whatever stands at 2115, erased or not.

        None where there is nothing to encrypt with: the dump ends before, the number is even (no RSA library computes
        with it), or the firmware takes its built-in key instead.

        Args:
            built_in: whether the firmware does that for an erased key, from 0.7.0-rc.1 on.
        """
        modulus = self.server_area[_SERVER_MODULUS_AT:][:SERVER_MODULUS_SIZE]
        is_replaced = built_in and self.server_area[:1] == b"\xff"
        if is_replaced or len(modulus) < SERVER_MODULUS_SIZE or modulus[-1] % 2 == 0 or modulus[0] < 0x80:
            return None
        return server_spki(modulus)

    @property
    def private_key_der(self) -> bytes | None:
        """The device's key as it stands in the slot, without what follows; None unless it is PKCS#1."""
        if self.slot is None or self.slot.kind is not SlotKind.PKCS1:
            return None
        return self.private_area[: self.slot.size]

    @property
    def device_fingerprint(self) -> str | None:
        """SHA-256 of the public key that the device presents; None where it will make a new key first."""
        if self.slot is None or self.slot.kind is SlotKind.BLANK:
            return None
        return fingerprint(self.slot.presented)

    @property
    def server_fingerprint(self) -> str | None:
        """SHA-256 of the server's key; None where there is none that a device understands."""
        return None if self.server_key is None else fingerprint(self.server_key)


@dataclass(frozen=True, slots=True)
class DumpIdentity:
    """The device of a dump as something that loadgen can play."""

    identity: Identity | None
    """None where the key cannot be played, or the id is unknown; the troubles say which."""
    dct: Dct
    troubles: tuple[Trouble, ...]


def read_dump(path: Path) -> bytes:
    """The bytes of a dump.

    Raises:
        UsageError: unreadable, or too large for a dump.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_DUMP + 1)
    except OSError as error:
        raise UsageError(
            f"the dump cannot be read: {error.strerror}",
            where=str(path),
            remedy="Check the name and the permissions of the file.",
        ) from None
    if len(data) > MAX_DUMP:
        raise UsageError(
            "the file is too large for a dump",
            where=str(path),
            remedy="A P1 has 1 MB of flash; give a dump of that, of the DCT sectors, or from DFU.",
        )
    return data


def read_dct(image: FlashImage) -> Dct:
    """Take the application section of a dump apart."""
    section = image.section.data

    def part(offset: int, size: int) -> bytes:
        return section[offset : offset + size]

    private = part(PRIVATE_KEY_AT, PRIVATE_KEY_AREA)
    public = part(PUBLIC_KEY_AT, DEVICE_SPKI_SIZE)
    server_area = part(SERVER_KEY_AT, ADDRESS_AT - SERVER_KEY_AT)
    server = server_area[:SERVER_SPKI_SIZE]
    device_id = part(DEVICE_ID_AT, DEVICE_ID_SIZE)
    claimed = part(CLAIMED_AT, 1)
    code = part(CLAIM_CODE_AT, CLAIMED_AT - CLAIM_CODE_AT).partition(b"\0")[0]
    return Dct(
        image,
        read_key_slot(private) if len(private) >= PRIVATE_KEY_AREA else None,
        private,
        public if is_device_spki(public) else None,
        server if is_server_spki(server) else None,
        server_area,
        part(ADDRESS_AT, ADDRESS_RECORD_SIZE),
        device_id if len(device_id) == DEVICE_ID_SIZE and device_id.strip(b"\xff") and any(device_id) else None,
        claimed[0] == CLAIMED if claimed else None,
        b"" if code[:1] == b"\xff" else code,
    )


def find_troubles(dct: Dct) -> tuple[Trouble, ...]:
    """What is wrong or worth knowing, errors first."""
    found = [
        *_dump_troubles(dct),
        *device_key_troubles(dct.slot, dct.private_area, dct.stored_public_key),
        *server_key_troubles(dct.server_area, built_in=dct.uses_built_in_key),
        *address_troubles(dct.address_record, built_in=dct.uses_built_in_key),
        *pairing_troubles(dct.server_area, dct.address_record, built_in=dct.uses_built_in_key),
        *_firmware_troubles(dct),
    ]
    return tuple(sorted(found, key=lambda trouble: list(Level).index(trouble.level)))


def identity_from_dct(data: bytes, *, device_id: bytes | None = None, where: str | None = None) -> DumpIdentity:
    """The identity in a dump, with what is wrong with it.

    Args:
        data: a dump of any kind that :func:`loadgen.fleet.flash.examine` reads.
        device_id: 12 bytes, for a dump that has no id, or instead of the one in it.
        where: name of the file, for the error.

    Raises:
        UsageError: no dump of a P1 or Photon.
    """
    dct = read_dct(examine(data, where))
    troubles = find_troubles(dct)
    known = device_id or dct.device_id
    if known is None:
        troubles = (*troubles, _no_id())
    der = dct.private_key_der
    playable = der is not None and dct.slot is not None and (dct.slot.bits, dct.slot.exponent) == (1024, 65537)
    if known is None or der is None or dct.slot is None or not playable:
        return DumpIdentity(None, dct, troubles)
    return DumpIdentity(Identity(known, der, dct.slot.presented), dct, troubles)


def _no_id() -> Trouble:
    return Trouble(
        "no_device_id",
        Level.WARNING,
        "the dump does not say which device it is from",
        DEVICE_ID_AT,
        DEVICE_ID_SIZE,
        why="Firmware before 0.6.0 does not copy the chip's number into the table.",
        remedy="Give the id with --id: 24 hexadecimal digits, as the cloud or `particle serial identify` knows it.",
    )


def _dump_troubles(dct: Dct) -> Iterator[Trouble]:
    image = dct.image
    for note in image.notes:
        yield Trouble("dump", Level.WARNING, note.removesuffix("."))
    if not image.is_trusted and image.lacks_a_copy:
        yield Trouble(
            "copy_missing",
            Level.WARNING,
            "the copy that the device uses is not in this dump, which is cut off",
            why="What the other copy has is older than what the device uses now.",
            remedy="Take the dump again: both copies have 0x8000 bytes from 0x08004000.",
        )
    elif not image.is_trusted and len(image.copies) > 1:
        yield Trouble(
            "no_valid_copy",
            Level.ERROR,
            "neither copy of the table is valid",
            why="The device begins with a blank table: it makes a new key, and has no Wi-Fi, server key or address.",
            remedy="Write a good dump of the table back (below), or set the device up anew.",
        )
    elif not image.is_trusted:
        yield Trouble(
            "not_current",
            Level.WARNING,
            "this copy is not one that the device uses",
            why="What it has can be older than what the device uses now.",
            remedy="Take a dump of both copies: 0x8000 bytes from 0x08004000.",
        )
    version = image.shown.version if image.shown is not None else None
    if version is None or version.checksum is not Checksum.UNCONFIRMED:
        return
    if dct.uses_built_in_key is False:
        yield Trouble(
            "downgraded",
            Level.WARNING,
            "firmware 0.7.0 or later wrote this table, and the older one that is installed has changed it since",
            why="The older one does not keep the checksum right; by the WICED sources newer firmware takes such a copy "
            "for invalid, and without another valid one begins with a blank table: no keys, no address.",
            remedy="Keep this dump. Before an update, write the table without that record: loadgen dct make --base.",
        )
    else:
        yield Trouble(
            "checksum",
            Level.NOTE,
            "the checksum of this copy is not confirmed",
            why="Which bytes the vendor's build covers is not published, so this alone is no sign of damage.",
        )


def _firmware_troubles(dct: Dct) -> Iterator[Trouble]:
    modules = dct.image.modules
    for module in modules:
        if module.is_intact is False and module.is_installed:
            yield Trouble(
                "damaged_firmware",
                Level.ERROR,
                f"{module.name} at 0x{module.address:08x} is damaged: its checksum is wrong",
                why="The device does not start it.",
                remedy="Flash that part of the firmware again.",
            )
    others = {module.platform_name for module in modules if module.platform not in (_PHOTON, _P1)}
    if others:
        yield Trouble(
            "other_platform", Level.WARNING, f"the flash has firmware of another device: {', '.join(sorted(others))}"
        )
    versions = {module.version for module in modules if module.is_system}
    if len(versions) > 1:
        yield Trouble(
            "mixed_firmware",
            Level.WARNING,
            f"the parts of the system firmware have different versions: {', '.join(map(str, sorted(versions)))}",
            why="An update or downgrade was not finished.",
            remedy="Flash all parts of one release.",
        )
    alternative = dct.image.section.data[ALT_PRIVATE_KEY_AT : ALT_PRIVATE_KEY_AT + 1]
    if alternative == bytes([_CURVE_DER]) and dct.image.kind is ImageKind.SECTION and dct.private_key_der is None:
        yield Trouble(
            "electron",
            Level.WARNING,
            "there is an elliptic-curve key in the alternate slot, as an Electron has it",
            ALT_PRIVATE_KEY_AT,
            192,
            why="An Electron speaks UDP with that key and never uses the RSA slot.",
        )
