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
from typing import Final

from loadgen.protocol.pkcs1 import private_key_integers
from loadgen.protocol.wire import DEVICE_MODULUS_SIZE, device_spki

KEY_SLOT_SIZE: Final = 612
"""Bytes that a P1 has for its private key; unused ones are FF."""

INTEGER_NAMES: Final = ("N", "D", "P", "Q", "DP", "DQ", "QP")
"""The integers of a private key that the firmware reads, in their order; the exponent 65537 is assumed."""

_LONG: Final = DEVICE_MODULUS_SIZE
_SHORT: Final = DEVICE_MODULUS_SIZE // 2


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


def firmware_misreads(private_key_der: bytes) -> tuple[str, ...]:
    """Names of the integers that the firmware reads wrongly, out of :data:`INTEGER_NAMES`; empty for a good key.

    Raises :class:`ValueError` where the key is no PKCS#1 key at all.
    """
    integers = private_key_integers(private_key_der)
    true = (integers.n, integers.d, integers.p, integers.q, integers.dp, integers.dq, integers.qp)
    read = _read_with_strides(private_key_der)
    return tuple(
        name
        for name, value, seen in zip(INTEGER_NAMES, true, read, strict=True)
        if int.from_bytes(value) != int.from_bytes(seen)
    )


def _read_with_strides(der: bytes) -> Iterator[bytes]:
    """The integers as the firmware sees them, in the order of :data:`INTEGER_NAMES`."""
    slot = der.ljust(KEY_SLOT_SIZE, b"\xff") + b"\xff" * KEY_SLOT_SIZE  # reading on behind the slot finds FF
    position = 9  # low byte of the modulus' length
    strides = (_LONG + 7, _LONG + 1, _SHORT + 1, _SHORT + 1, _SHORT + 1, _SHORT + 1, 0)
    sizes = (_LONG, _LONG, _SHORT, _SHORT, _SHORT, _SHORT, _SHORT)
    for size, stride in zip(sizes, strides, strict=True):
        position += 2 if slot[position] & 1 else 1  # an odd length byte announces a leading zero byte
        yield slot[position : position + size]
        position += stride
