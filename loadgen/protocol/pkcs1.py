"""The PKCS#1 private key as a device stores it: finding its integers, without any arithmetic.

A P1 keeps its RSA-1024 key as ``RSAPrivateKey`` (RFC 8017, appendix A.1.2) in a slot of 612 bytes. A copy
of the slot is longer than the key; its own length stands in bytes 2 and 3. The generator inside the
firmware writes 129- and 65-byte integers even where a leading zero byte is superfluous, so what strict DER
readers refuse has to be read here.
"""

from __future__ import annotations

from typing import NamedTuple


class PrivateKeyIntegers(NamedTuple):
    """The integers of an ``RSAPrivateKey``, big-endian and with the leading zero bytes as encoded."""

    n: bytes
    e: bytes
    d: bytes
    p: bytes
    q: bytes
    dp: bytes
    dq: bytes
    qp: bytes


def private_key_size(der: bytes) -> int:
    """How many bytes of ``der`` the key takes; what follows in the slot is no part of it.

    Raises :class:`ValueError` unless ``der`` begins with a whole DER sequence.
    """
    start, size = der_header(der, 0, 0x30)
    return start + size


def private_key_integers(der: bytes) -> PrivateKeyIntegers:
    """The eight integers of the PKCS#1 key at the beginning of ``der``.

    Raises :class:`ValueError` where that is no ``RSAPrivateKey`` of two primes.
    """
    return PrivateKeyIntegers(*(der[begin:end] for begin, end in private_key_places(der)))


def private_key_places(der: bytes) -> list[tuple[int, int]]:
    """Offsets (begin, end) of the integers, as :func:`private_key_integers` gives and refuses them."""
    start, size = der_header(der, 0, 0x30)
    key = der[: start + size]
    places: list[tuple[int, int]] = []
    position = start
    for _ in range(9):
        begin, length = der_header(key, position, 0x02)
        position = begin + length
        places.append((begin, position))
    version, *integers = places
    if position != len(key) or any(key[slice(*version)]):
        raise ValueError("no PKCS#1 private key of version 0 with eight integers")
    return integers


def der_header(data: bytes, position: int, tag: int) -> tuple[int, int]:
    """Where the content of the DER value at ``position`` begins, and its size.

    Raises :class:`ValueError` unless a value with this tag, which is not empty, is there as a whole.
    """
    head = data[position : position + 2]
    if len(head) < 2 or head[0] != tag:
        raise ValueError("no PKCS#1 private key: another encoding, or damaged")
    start, size = position + 2, head[1]
    if size >= 0x80:
        count = size - 0x80
        start += count
        size = int.from_bytes(data[start - count : start])
        if not 1 <= count <= 2:
            raise ValueError("no PKCS#1 private key: another encoding, or damaged")
    if size == 0 or start + size > len(data):
        raise ValueError("the PKCS#1 private key is cut off")
    return start, size
