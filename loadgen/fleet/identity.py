"""What makes a device itself, and whether a real P1 could be it. Pure byte work.

The firmware reads its private key with fixed strides instead of parsing DER
(``communication/src/handshake.cpp`` of particle-iot/device-os): it understands 128-byte numbers of 128 or
129 encoded bytes and 64-byte numbers of 64 or 65. DER drops leading zero bytes, so 0.93 % of ordinary keys
have an integer that is shorter still. The device then presents the right public key and can never decrypt
the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from loadgen.protocol.pkcs1 import PrivateKeyIntegers, private_key_integers, private_key_places
from loadgen.protocol.wire import DEVICE_MODULUS_SIZE, device_spki

KEY_SLOT_SIZE: Final = 612
"""Bytes that a P1 has for its private key; unused ones are FF."""

INTEGER_NAMES: Final = ("N", "D", "P", "Q", "DP", "DQ", "QP")
"""The integers of a private key that the firmware reads, in their order; the exponent 65537 is assumed."""

_LONG: Final = DEVICE_MODULUS_SIZE
_SHORT: Final = DEVICE_MODULUS_SIZE // 2
_STRIDES: Final = ((_LONG, _LONG + 7), (_LONG, _LONG + 1), *[(_SHORT, _SHORT + 1)] * len(INTEGER_NAMES[2:]))
"""For each integer: bytes that are read, and how far it is from there to the low byte of the next one's length."""


@dataclass(frozen=True, slots=True)
class Identity:
    """One device of a fleet. Devices that share a key share the two key objects."""

    device_id: bytes
    """12 bytes."""
    private_key_der: bytes
    """PKCS#1, RSA-1024."""
    public_key: bytes
    """162 bytes, SubjectPublicKeyInfo, as the device presents it."""

    @property
    def hex_id(self) -> str:
        """The id as people write it: 24 lower-case hexadecimal digits."""
        return self.device_id.hex()


def public_key_of(private_key_der: bytes) -> bytes:
    """The 162 bytes that a device with this PKCS#1 key presents.

    Raises :class:`ValueError` where the key is no RSA-1024 key in PKCS#1.
    """
    return device_spki(private_key_integers(private_key_der).n.lstrip(b"\0"))


class FirmwareReading(NamedTuple):
    """One integer of a private key: where it stands, and where the firmware believes it to stand. Offsets in bytes."""

    name: str
    """Of :data:`INTEGER_NAMES`."""
    begin: int
    """First byte of the integer, a leading zero byte included."""
    end: int
    read_begin: int
    read_end: int
    is_right: bool
    """Whether the firmware gets the integer's value."""


def firmware_misreads(private_key_der: bytes) -> tuple[str, ...]:
    """Names of the integers that the firmware reads wrongly, out of :data:`INTEGER_NAMES`; empty for a good key.

    Raises :class:`ValueError` where the key is no PKCS#1 key at all.
    """
    return tuple(reading.name for reading in firmware_readings(private_key_der) if not reading.is_right)


def firmware_readings(private_key_der: bytes) -> Iterator[FirmwareReading]:
    """What the firmware makes of each integer of a key, in the order of :data:`INTEGER_NAMES`.

    Raises :class:`ValueError` where the key is no PKCS#1 key at all.
    """
    places = dict(zip(PrivateKeyIntegers._fields, private_key_places(private_key_der), strict=True))
    slot = private_key_der.ljust(KEY_SLOT_SIZE, b"\xff") + b"\xff" * KEY_SLOT_SIZE  # what is read behind it is FF
    position = 9  # low byte of the modulus' length
    for name, (size, stride) in zip(INTEGER_NAMES, _STRIDES, strict=True):
        position += 2 if slot[position] & 1 else 1  # an odd length byte announces a leading zero byte
        begin, end = places[name.lower()]
        is_right = int.from_bytes(private_key_der[begin:end]) == int.from_bytes(slot[position : position + size])
        yield FirmwareReading(name, begin, end, position, position + size, is_right)
        position += stride
