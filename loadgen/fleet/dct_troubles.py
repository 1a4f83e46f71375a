"""What in a device's table keeps it from connecting: each with the place, the reason and the remedy. Pure byte work.

The rules are those of the firmware: ``handshake.cpp``, ``ota_flash_hal_stm32f2xx.cpp`` and
``system_cloud_internal.cpp`` of particle-iot/device-os.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from loadgen.fleet.address import (
    ADDRESS_RECORD_SIZE,
    AddressError,
    ServerAddress,
    is_ipv4,
    is_vendor_name,
    parse_address_record,
)
from loadgen.fleet.dct_layout import ADDRESS_AT, PRIVATE_KEY_AREA, PRIVATE_KEY_AT, PUBLIC_KEY_AT, SERVER_KEY_AT
from loadgen.fleet.findings import Level
from loadgen.fleet.identity import KEY_SLOT_SIZE
from loadgen.fleet.keydata import belongs_together, repaired_key, small_factor
from loadgen.fleet.keyslot import KeySlot, SlotKind, fingerprint
from loadgen.protocol.wire import DEFAULT_PORT, DEVICE_SPKI_SIZE, SERVER_SPKI_SIZE, is_device_spki, is_server_spki

VENDOR_KEY_SHA256: Final = "aa8aba3c973ed4b668999047a09597948f36eefde525352e705fe8ef98c1677e"
"""Fingerprint of the vendor's key, which is built into firmware from 0.7.0-rc.1 on."""

_PKCS1_HEADS: Final = tuple(b"\x30\x82" + bytes([high]) for high in (1, 2, 3, 4))
_SERVER_MODULUS: Final = slice(33, 33 + 256)
_NAME_AT: Final = 2
_PORT_AT: Final = 66
_SWAPPED_PORT: Final = int.from_bytes(DEFAULT_PORT.to_bytes(2), "little")
_NEW_KEY: Final = (
    "Make a key with `openssl genrsa -traditional 1024` until `loadgen fleet verify ID.der` accepts it, write it to "
    "34, and give its public half to the cloud."
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something in a dump that is wrong or worth knowing."""

    code: str
    """For scripts; snake case."""
    level: Level
    """``error``: the device cannot complete a handshake with this."""
    what: str
    """One sentence without a full stop at the end."""
    offset: int | None = None
    """In the application section."""
    size: int | None = None
    """Bytes concerned."""
    why: str = ""
    """What the firmware does with it."""
    remedy: str = ""


def device_key_troubles(slot: KeySlot | None, area: bytes, stored_public: bytes | None) -> Iterator[Trouble]:
    """The private key at 34, and the public one at 1250."""
    if slot is None:
        yield Trouble(
            "key_missing", Level.ERROR, "the dump ends before the end of the device's key", PRIVATE_KEY_AT,
            PRIVATE_KEY_AREA, remedy="Take the dump again; the table has 16384 bytes.",
        )  # fmt: skip
        return
    if slot.kind is SlotKind.BLANK:
        yield Trouble(
            "no_device_key",
            Level.ERROR,
            "there is no device key: the byte at 34 is FF",
            PRIVATE_KEY_AT,
            KEY_SLOT_SIZE,
            why="The device makes a key of its own at its next start, which no cloud knows: the cloud closes the "
            "connection where the key is due (-19), unless it accepts any key.",
            remedy="Write the old key back, or give the cloud the new public key (`particle keys send`).",
        )
    elif slot.kind is not SlotKind.PKCS1:
        yield _wrong_encoding(slot, area)
    else:
        yield from _pkcs1_troubles(slot, area)
    # What a device presents for another encoding is no key, so that there is nothing to compare or to register.
    if stored_public is not None and slot.kind is SlotKind.PKCS1 and stored_public != slot.presented:
        yield Trouble(
            "public_key_differs",
            Level.WARNING,
            f"the public key at 1250 (SHA-256 {fingerprint(stored_public)}) belongs to another private key",
            PUBLIC_KEY_AT,
            DEVICE_SPKI_SIZE,
            why="The private key was replaced and the device has not started since; it rewrites the public key then. "
            "The cloud probably still knows the older one.",
            remedy=f"Give the cloud the key that the device presents now, SHA-256 {fingerprint(slot.presented)}.",
        )


def _wrong_encoding(slot: KeySlot, area: bytes) -> Trouble:
    codes = {
        SlotKind.PKCS8: "pkcs8_in_slot",
        SlotKind.CURVE: "curve_key_in_slot",
        SlotKind.ENCRYPTED: "encrypted_key_in_slot",
        SlotKind.PUBLIC: "public_key_in_slot",
    }
    what = {
        SlotKind.PKCS8: "the device's key is stored as PKCS#8, as OpenSSL 3 writes it without -traditional",
        SlotKind.CURVE: "there is an elliptic-curve key in the slot of the RSA key",
        SlotKind.ENCRYPTED: "there is an encrypted key in the device's key slot",
        SlotKind.PUBLIC: "there is a public key in the slot of the device's private key",
    }.get(slot.kind)
    if what is None:
        what = f"the device's key slot holds {_other_content(area)}: it begins {area[:8].hex(' ')}"
    leak = " It sends bytes of its private key that way." if slot.kind is SlotKind.CURVE else ""
    return Trouble(
        codes.get(slot.kind, "no_key_in_slot"),
        Level.ERROR,
        what,
        PRIVATE_KEY_AT,
        slot.size or KEY_SLOT_SIZE,
        why="The firmware takes the 128 bytes at 45 for the modulus, presents a key to which no private key exists, "
        f"and cannot decrypt the answer (code 6).{leak}",
        remedy="Write the same key as PKCS#1 to 34: `loadgen dct extract` takes it out as device.der; or openssl rsa "
        "-in key.pem -traditional -outform DER -out key.der. The cloud needs no other public key for it."
        if slot.kind is SlotKind.PKCS8
        else _NEW_KEY,
    )


def _other_content(area: bytes) -> str:
    """What a slot holds that is no private key of any encoding."""
    if area.startswith(b"-----BEGIN"):
        return "PEM text"
    if not any(area[:KEY_SLOT_SIZE]):
        return "nothing but zeros"
    if area.startswith(_PKCS1_HEADS):
        return f"the begin of a key of {int.from_bytes(area[2:4]) + 4} bytes, whose rest is cut off or damaged"
    return "no key in DER"


def _pkcs1_troubles(slot: KeySlot, area: bytes) -> Iterator[Trouble]:
    size = slot.size or KEY_SLOT_SIZE
    if (slot.bits, slot.exponent) != (1024, 65537):
        yield Trouble(
            "unsuitable_key", Level.ERROR,
            f"the device's key has {slot.bits} bits and the exponent {slot.exponent} instead of 1024 and 65537",
            PRIVATE_KEY_AT, size, why="The firmware reads every key as one of 1024 bits with the exponent 65537.",
            remedy=_NEW_KEY,
        )  # fmt: skip
        return
    if slot.misreads:
        first = slot.misreads[0]
        yield Trouble(
            "misread_key",
            Level.ERROR,
            f"the firmware misreads this valid key: {', '.join(reading.name for reading in slot.misreads)}",
            PRIVATE_KEY_AT + first.begin,
            first.end - first.begin,
            why="It reads integers at fixed distances, and one of this key is shorter than usual. The device presents "
            "the right public key and can never decrypt the answer (code 6).",
            remedy=_NEW_KEY,
        )
    if not belongs_together(area[:size]):
        why = "The device cannot decrypt the answer (code 6), or presents a key that the cloud does not know."
        if repaired_key(area[:size]) is not None:
            why += (
                " What of it is whole gives the rest: `loadgen dct extract DUMP mend --only repaired-key` computes the "
                "same key again."
            )
        yield Trouble(
            "damaged_key", Level.ERROR, "the device's key is damaged: its integers do not belong together",
            PRIVATE_KEY_AT, size, why=why,
            remedy="Write the key back, repaired or from a good dump or a backup, or make a new one.",
        )  # fmt: skip


def server_key_troubles(area: bytes, *, built_in: bool | None) -> Iterator[Trouble]:
    """The server's key at 2082.

    Args:
        area: up to 384 bytes from there on.
        built_in: whether this firmware uses a built-in key for an erased one; None if unknown.
    """
    key = area[:SERVER_SPKI_SIZE]
    if len(key) < SERVER_SPKI_SIZE:
        yield Trouble(
            "server_key_missing", Level.ERROR, "the dump ends before the end of the server's key", SERVER_KEY_AT
        )
        return
    if is_server_spki(key):
        factor = small_factor(int.from_bytes(key[_SERVER_MODULUS]))
        if factor is not None:
            yield Trouble(
                "damaged_server_key", Level.ERROR,
                f"the server's key is damaged: its modulus can be divided by {factor}, as no key's can", SERVER_KEY_AT,
                SERVER_SPKI_SIZE, why="No cloud can decrypt what the device sends, and it closes the connection (-19).",
                remedy="Write the cloud's key again.",
            )  # fmt: skip
        elif fingerprint(key) == VENDOR_KEY_SHA256:
            yield Trouble(
                "vendor_key", Level.NOTE, "the server's key is the vendor's, as built into the firmware", SERVER_KEY_AT,
                SERVER_SPKI_SIZE, why="Only the vendor's cloud can decrypt what this device sends.",
            )  # fmt: skip
        if area[SERVER_SPKI_SIZE:].strip(b"\xff"):
            yield Trouble(
                "bytes_behind_server_key", Level.NOTE, "bytes other than FF stand behind the server's key",
                SERVER_KEY_AT + SERVER_SPKI_SIZE, len(area) - SERVER_SPKI_SIZE,
                why="They are left from another key; the firmware does not read them.",
            )  # fmt: skip
        return
    if area[0] == 0xFF:
        yield _blank_server_key(built_in)
        return
    yield Trouble(
        "wrong_server_key",
        Level.ERROR,
        f"what stands in place of the server's key is {_server_key_kind(area)}",
        SERVER_KEY_AT,
        SERVER_SPKI_SIZE,
        why="The firmware takes the 256 bytes at 2115 for the modulus, whatever they are, so the cloud cannot decrypt "
        "what the device sends and closes the connection (-19).",
        remedy="Write the 294 bytes of the cloud's public key (SubjectPublicKeyInfo, DER) to 2082: "
        "openssl rsa -pubin -in cloud.pub.pem -outform DER -out cloud.der",
    )


def _blank_server_key(built_in: bool | None) -> Trouble:
    old = (
        "Firmware up to 0.6.4 uses it as it stands, a modulus of FF: no cloud can decrypt what the device sends (-19)."
    )
    new = (
        "Firmware from 0.7.0-rc.1 on uses the vendor's built-in key instead, in RAM only: a private cloud cannot "
        "decrypt what the device sends (-19)."
    )
    why = {True: new, False: old, None: f"{old} {new}"}[built_in]
    return Trouble(
        "no_server_key", Level.ERROR, "the server's key is erased: the byte at 2082 is FF", SERVER_KEY_AT,
        SERVER_SPKI_SIZE, why=why,
        remedy="Write the cloud's key, with its address: `particle keys server cloud.pub.pem --host HOST`, or the 512 "
        "bytes of `loadgen dct extract` from a good dump to 2082.",
    )  # fmt: skip


def _server_key_kind(area: bytes) -> str:
    if area.startswith(b"-----BEGIN"):
        return "a key in PEM: it has to be DER"
    if is_device_spki(area[:DEVICE_SPKI_SIZE]):
        return "a device's public key (RSA-1024)"
    if area.startswith(bytes.fromhex("3082010a02820101")):
        return "an RSA-2048 key in PKCS#1: it has to be SubjectPublicKeyInfo"
    if area[:2] == b"\x30\x82" and area[4:7] == bytes.fromhex("020100"):
        return "a private key: it has to be the public one"
    if area.startswith(bytes.fromhex("3059301306072a8648ce3d")):
        return "an elliptic-curve key"
    if not any(area):
        return "nothing but zeros"
    if area.startswith(bytes.fromhex("30820122300d")):
        return "damaged, or an RSA key with another size or exponent than 2048 bits and 65537"
    return f"no key: it begins {area[:8].hex(' ')}"


def address_troubles(record: bytes, *, built_in: bool | None) -> Iterator[Trouble]:
    """The server's address at 2466."""
    if len(record) < _PORT_AT + 2:
        yield Trouble(
            "address_missing", Level.ERROR, "the dump ends before the end of the server's address", ADDRESS_AT,
            ADDRESS_RECORD_SIZE, remedy="Take the dump again; the table has 16384 bytes.",
        )  # fmt: skip
        return
    try:
        address = parse_address_record(record)
    except AddressError as error:
        yield Trouble(
            "bad_address", Level.ERROR, str(error), ADDRESS_AT, ADDRESS_RECORD_SIZE,
            why="Firmware before 1.1.0 looks at type and length only, uses what stands there, and finds no cloud with "
            "it; later firmware goes to device.spark.io instead.",
            remedy="Write the address record again: `particle keys server cloud.pub.pem --host HOST`.",
        )  # fmt: skip
        return
    if address is not None:
        yield from _odd_address(address, record)
        return
    kind = record[0]
    words = {
        True: 'The log says "Public Server Address was blank, restoring." and the flash stays as it is.',
        False: f'The log says "Read Server Address = type:{kind},defaulting to device.spark.io".',
        None: f'The log says "type:{kind},defaulting to device.spark.io" (up to 0.6.4) or "was blank, restoring".',
    }
    yield Trouble(
        "no_address",
        Level.WARNING,
        f"the server's address is unset (type {kind} at 2466): the device connects to device.spark.io:5683",
        ADDRESS_AT,
        ADDRESS_RECORD_SIZE,
        why=f"{words[built_in]} A private cloud sees no connection at all. It is erased together with the key by "
        "whoever writes a bare key padded to 512 bytes; the key can be right all the same.",
        remedy="For a private cloud, write the address record to 2466; for the vendor's nothing is to be done.",
    )


def _odd_address(address: ServerAddress, record: bytes) -> Iterator[Trouble]:
    """What makes an address that can be read an unlikely one."""
    again = "Compare it with the cloud's address, and write the record again if it is another."
    size = record[1]
    behind = record[_NAME_AT + size : _PORT_AT].rstrip(b"\xff\0")
    if behind and behind.isascii() and behind.decode("ascii").isprintable():
        yield Trouble(
            "address_cut_off", Level.WARNING,
            f"the device goes to {address}, but more of a name follows in the record: {behind.decode('ascii')!r}",
            ADDRESS_AT + 1, 1, why=f"The length of the name, {size}, does not fit it.", remedy=again,
        )  # fmt: skip
    if address.port == _SWAPPED_PORT:
        yield Trouble(
            "address_swapped", Level.WARNING, f"the port {address.port} is {DEFAULT_PORT} with its bytes swapped",
            ADDRESS_AT + _PORT_AT, 2, why="The firmware reads the port with its high byte first.", remedy=again,
        )  # fmt: skip
    parts = address.host.split(".")
    if is_ipv4(address.host) and parts[3] == "192" and parts[2] == "168":
        yield Trouble(
            "address_swapped", Level.WARNING,
            f"the address {address.host} is {'.'.join(reversed(parts))} with its bytes reversed", ADDRESS_AT + _NAME_AT,
            4, why="The firmware reads the bytes in the order in which people write them.", remedy=again,
        )  # fmt: skip


def pairing_troubles(area: bytes, record: bytes, *, built_in: bool | None) -> Iterator[Trouble]:
    """Whether key and address belong to the same cloud, as far as the vendor's can be told from others."""
    try:
        address = parse_address_record(record)
    except AddressError:
        return
    key = area[:SERVER_SPKI_SIZE]
    is_blank = area[:1] == b"\xff"
    if not is_server_spki(key) and not (is_blank and built_in):
        return
    vendor_key = is_blank or fingerprint(key) == VENDOR_KEY_SHA256
    vendor_host = address is None or is_vendor_name(address.host)
    if vendor_key and not vendor_host:
        yield Trouble(
            "vendor_key_private_address", Level.ERROR,
            f"the device goes to {address} with the vendor's key", SERVER_KEY_AT, SERVER_SPKI_SIZE,
            why="That cloud cannot decrypt what the device sends and closes the connection (-19).",
            remedy="Write that cloud's public key to 2082.",
        )  # fmt: skip
    elif vendor_host and not vendor_key:
        yield Trouble(
            "private_key_vendor_address", Level.ERROR,
            "the device goes to the vendor's cloud with the key of another one", ADDRESS_AT, ADDRESS_RECORD_SIZE,
            why="The vendor's cloud cannot decrypt what the device sends and closes the connection (-19); the cloud "
            "that the key belongs to sees no connection at all.",
            remedy="Write the address of the key's cloud to 2466.",
        )  # fmt: skip
