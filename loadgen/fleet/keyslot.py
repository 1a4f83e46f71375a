"""What a device makes of the bytes in its private-key slot, whatever they are. Pure byte work.

The firmware never parses its key: it presents the 128 bytes at offset 11 as its modulus, and reads the integers with
fixed strides (``communication/src/handshake.cpp`` of particle-iot/device-os). So a key in another encoding gives a
public key that looks perfect and to which no private key has ever existed.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from loadgen.fleet.identity import KEY_SLOT_SIZE, FirmwareReading, firmware_readings
from loadgen.protocol.pkcs1 import private_key_integers, private_key_size
from loadgen.protocol.wire import DEVICE_MODULUS_SIZE, device_spki

SELF_MADE_SIZE: Final = 611
"""Bytes of a key that a device has made itself: every integer with a leading zero (from 0.4.8-rc.2)."""

_MODULUS_AT: Final = 11
_RSA = bytes.fromhex("300d06092a864886f70d0101010500")  # AlgorithmIdentifier of an RSA key
_CURVE = bytes.fromhex("06072a8648ce3d0201")  # OID id-ecPublicKey
_SEC1_VERSION = bytes.fromhex("020101")  # RFC 5915; an RSA key has version 0
_PUBLIC_HEAD: Final = 19
_ENCRYPTED = bytes.fromhex("06092a864886f70d0105")  # OID arc of PKCS#5
_PKCS8_MODULUS = bytes.fromhex("2a864886f70d010101050004")  # what a device presents that holds RSA as PKCS#8
_CURVE_PARTS: Final = (bytes.fromhex("2a8648ce3d0301"), bytes.fromhex("2a8648ce3d0201"))


class SlotKind(StrEnum):
    """What lies in a key slot."""

    BLANK = "blank"
    """Erased flash: the device makes a key of its own at its next start, which no cloud knows."""
    PKCS1 = "PKCS#1"
    """The one encoding that the firmware understands; whether it reads this key is another question."""
    PKCS8 = "PKCS#8"
    """What ``openssl rsa -outform DER`` of OpenSSL 3 writes without ``-traditional``."""
    CURVE = "elliptic curve"
    ENCRYPTED = "encrypted"
    PUBLIC = "public key"
    """A SubjectPublicKeyInfo, which has no private half."""
    OTHER = "unknown"


@dataclass(frozen=True, slots=True)
class KeySlot:
    """What a device makes of its key slot."""

    kind: SlotKind
    size: int | None
    """Bytes that the key takes, by its own length; None where there is none."""
    bits: int | None
    """Size of the modulus; None unless the key is PKCS#1."""
    exponent: int | None
    """Public exponent; None unless the key is PKCS#1. The firmware assumes 65537."""
    presented: bytes
    """The 162 bytes that the device presents as its public key, right or wrong."""
    misreads: tuple[FirmwareReading, ...]
    """Integers of a PKCS#1 key that the firmware reads wrongly."""
    is_self_made: bool = False
    """Written as only the firmware's own key generator writes a key: 611 bytes, with zeros that DER leaves out.

    From 0.4.8-rc.2. One in some forty of its keys needs all of those zeros and is not recognised.
    """

    @property
    def is_usable(self) -> bool:
        """Whether a device with this slot can complete a handshake, provided that its integers belong together."""
        return (
            self.kind is SlotKind.PKCS1
            and (self.bits, self.exponent) == (DEVICE_MODULUS_SIZE * 8, 65537)
            and not self.misreads
        )


def read_key_slot(slot: bytes) -> KeySlot:
    """Read a slot or a DER file as the firmware does. Never raises: everything is something to a device.

    Args:
        slot: from the first byte of the key on; what is missing to the 612 bytes of the slot is FF, as in flash.
    """
    filled = slot.ljust(KEY_SLOT_SIZE, b"\xff")
    presented = device_spki(filled[_MODULUS_AT : _MODULUS_AT + DEVICE_MODULUS_SIZE])
    kind = kind_of_slot(slot)
    try:
        size = private_key_size(slot)
    except ValueError:
        size = None
    if kind is not SlotKind.PKCS1:
        return KeySlot(kind, size, None, None, presented, ())
    integers = private_key_integers(slot)
    return KeySlot(
        kind,
        size,
        int.from_bytes(integers.n).bit_length(),
        int.from_bytes(integers.e),
        presented,
        tuple(reading for reading in firmware_readings(slot) if not reading.is_right),
        size == SELF_MADE_SIZE and any(value[0] == 0 and value[1] < 0x80 for value in integers if len(value) > 1),
    )


def kind_of_slot(slot: bytes) -> SlotKind:
    """What lies at the beginning of a slot or a DER file."""
    if slot[:1] in (b"", b"\xff"):
        return SlotKind.BLANK
    try:
        private_key_integers(slot)
    except ValueError:
        pass
    else:
        return SlotKind.PKCS1
    head = slot[:48]
    if _RSA in head[:_PUBLIC_HEAD]:  # without a version in front of it, which PKCS#8 has
        return SlotKind.PUBLIC
    if _RSA in head:
        return SlotKind.PKCS8
    if _CURVE in head or (head[:1] == b"\x30" and _SEC1_VERSION in head[2:6]):
        return SlotKind.CURVE
    return SlotKind.ENCRYPTED if _ENCRYPTED in head else SlotKind.OTHER


def presented_by_mistake(spki: bytes) -> SlotKind | None:
    """What lies in the key slot of a device that presents these 162 bytes; None where nothing is suspicious.

    Such a key is not the public half of any private key; a cloud that has stored it has to be given the right one.
    """
    modulus = spki[-DEVICE_MODULUS_SIZE - 5 : -5]
    if modulus.startswith(_PKCS8_MODULUS):
        return SlotKind.PKCS8
    if any(part in modulus for part in _CURVE_PARTS):
        return SlotKind.CURVE
    return SlotKind.BLANK if modulus == b"\xff" * DEVICE_MODULUS_SIZE else None


def fingerprint(key: bytes) -> str:
    """SHA-256 of a public key's DER (162 bytes a device's, 294 a cloud's), 64 hexadecimal digits.

    The same as ``openssl pkey -pubin -in key.pub.pem -outform DER | sha256sum``.
    """
    return hashlib.sha256(key).hexdigest()
