"""Keys in every encoding that people have: PEM and DER, PKCS#1 and PKCS#8. Pure byte work.

Strategy. Strict readers refuse what devices make and understand (superfluous leading zero bytes, flash behind the key)
and read what devices cannot. So the encodings are taken apart here, and everything odd about them is said beside the
key. RFC 7468 (PEM), RFC 8017 appendix A (PKCS#1), RFC 5208 (PKCS#8), RFC 5280 4.1.2.7 (SubjectPublicKeyInfo).
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import Final

from loadgen.fleet.findings import Code
from loadgen.fleet.keyslot import SlotKind, kind_of_slot
from loadgen.protocol.pkcs1 import der_header, private_key_integers, private_key_places, private_key_size

_BOM: Final = b"\xef\xbb\xbf"
_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----[ \t]*\r?\n(.*?)-----END \1-----", re.DOTALL)
_SEQUENCE, _INTEGER, _BIT_STRING, _OCTET_STRING = 0x30, 0x02, 0x03, 0x04
_RSA_ALGORITHM = bytes.fromhex("300d06092a864886f70d0101010500")
_RSA_ALGORITHM_WITHOUT_NULL = bytes.fromhex("300b06092a864886f70d010101")
_SMALL: Final = 1 << 16
_CURVE_OID = bytes.fromhex("06072a8648ce3d0201")
_PEM_REFUSED: Final = {
    b"EC PRIVATE KEY": (Code.CURVE_KEY, "this is an elliptic-curve key"),
    b"EC PARAMETERS": (Code.CURVE_KEY, "this is an elliptic-curve key"),
    b"ENCRYPTED PRIVATE KEY": (Code.ENCRYPTED, "this private key is encrypted"),
    b"CERTIFICATE": (Code.NOT_A_KEY, "this is a certificate, not a key"),
    b"CERTIFICATE REQUEST": (Code.NOT_A_KEY, "this is a certificate request, not a key"),
    b"OPENSSH PRIVATE KEY": (Code.NOT_A_KEY, "this is a key of OpenSSH"),
}


class Encoding(StrEnum):
    """How a key is written inside its PEM or DER."""

    PKCS1 = "PKCS#1"
    PKCS8 = "PKCS#8"
    SPKI = "SubjectPublicKeyInfo"
    PKCS1_PUBLIC = "PKCS#1 public"


class KeyDataError(ValueError):
    """These bytes hold no RSA key that can be used; one sentence."""

    def __init__(self, code: Code, what: str) -> None:
        super().__init__(what)
        self.code = code


@dataclass(frozen=True, slots=True)
class RsaKey:
    """An RSA key and how it was written."""

    modulus: int
    exponent: int
    encoding: Encoding
    private_der: bytes | None
    """The key as PKCS#1 DER, byte for byte as it stood there; None for a public key."""
    is_pem: bool = False
    has_byte_order_mark: bool = False
    has_crlf: bool = False
    trailing: bytes = b""
    """What stood behind the key: in a copy of a flash area FF or the rest of an older key, in a PEM file text."""

    @property
    def bits(self) -> int:
        """Size of the modulus."""
        return self.modulus.bit_length()

    @property
    def is_private(self) -> bool:
        """Whether the private half is there."""
        return self.private_der is not None


def read_key(data: bytes) -> RsaKey:
    """Read a key, whatever it is written in.

    Raises:
        KeyDataError: no key, no RSA key, encrypted, or cut off.
    """
    if not data:
        raise KeyDataError(Code.EMPTY, "the file is empty")
    marked = data.startswith(_BOM)
    text = data[len(_BOM) :] if marked else data
    if b"-----BEGIN " not in text:
        return _read_der(data)
    label, der, behind = _unarmour(text)
    if label in _PEM_REFUSED:
        raise KeyDataError(*_PEM_REFUSED[label])
    key = _read_der(der)
    return RsaKey(
        key.modulus,
        key.exponent,
        key.encoding,
        key.private_der,
        is_pem=True,
        has_byte_order_mark=marked,
        has_crlf=b"\r\n" in text,
        trailing=behind.strip(),
    )


def is_pem(data: bytes) -> bool:
    """Whether ``data`` is PEM text."""
    return b"-----BEGIN " in data


def pem(label: str, der: bytes) -> bytes:
    """DER as PEM (RFC 7468), lines of 64 characters, as OpenSSL writes it."""
    text = base64.b64encode(der)
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    return b"\n".join((f"-----BEGIN {label}-----".encode(), *lines, f"-----END {label}-----".encode(), b""))


def private_key_pem(der: bytes) -> bytes:
    """A PKCS#1 private key as PEM, as ``openssl genrsa -traditional`` and particle-cli write it."""
    return pem("RSA PRIVATE KEY", der)


def belongs_together(der: bytes) -> bool:
    """Whether the integers of a PKCS#1 key fit each other: n = p·q, and d and its three parts undo the exponent."""
    n, e, d, p, q, dp, dq, qp = (int.from_bytes(value) for value in private_key_integers(der))
    if min(p, q) < 3 or p * q != n:
        return False
    return (
        e * d % (p - 1) == e * d % (q - 1) == 1
        and (dp, dq) == (d % (p - 1), d % (q - 1))
        and q * qp % p == 1
    )  # fmt: skip


def repaired_key(der: bytes) -> bytes | None:
    """A damaged PKCS#1 key with the integers that are wrong computed again; None where too much of it is damaged.

    One prime and the modulus give everything else, and so do both primes with a d that undoes the exponent for them
    (RFC 8017, section 3.2). Every integer keeps its length. Of the exponents d that fit, a new one is the smallest.
    """
    places = private_key_places(der)
    n, e, d, p, q = (int.from_bytes(der[slice(*place)]) for place in places[:5])
    if 1 < p < n and n % p == 0:
        q = n // p
    elif 1 < q < n and n % q == 0:
        p = n // q
    elif min(p, q) < 3 or not e * d % (p - 1) == e * d % (q - 1) == 1:
        return None
    if math.gcd(e, (p - 1) * (q - 1)) != 1 or math.gcd(p, q) != 1:
        return None
    if not e * d % (p - 1) == e * d % (q - 1) == 1:
        d = pow(e, -1, math.lcm(p - 1, q - 1))
    whole = bytearray(der[: private_key_size(der)])
    values = (p * q, e, d, p, q, d % (p - 1), d % (q - 1), pow(q, -1, p))
    for (begin, end), value in zip(places, values, strict=True):
        if value.bit_length() >= (end - begin) * 8:  # the first bit is the sign
            return None
        whole[begin:end] = value.to_bytes(end - begin)
    return bytes(whole)


def small_factor(modulus: int) -> int | None:
    """The smallest prime below 65,536 that divides a modulus; None for that of a sound key.

    Of moduli with a wrong bit nine in ten have one: by Mertens' third theorem a random number has none with a
    probability of 0.56 / ln 65536, about one in twenty, an odd one twice that.
    """
    common = math.gcd(modulus, _product_of_primes())
    if common == 1:
        return None
    return next(prime for prime in _primes() if common % prime == 0)


@cache
def _primes() -> tuple[int, ...]:
    sieve = bytearray([1]) * _SMALL
    sieve[:2] = b"\0\0"
    for number in range(2, math.isqrt(_SMALL) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(range(number * number, _SMALL, number)))
    return tuple(number for number, is_prime in enumerate(sieve) if is_prime)


@cache
def _product_of_primes() -> int:
    return math.prod(_primes())


def _unarmour(text: bytes) -> tuple[bytes, bytes, bytes]:
    """Label, DER and what follows of the first PEM block that is not merely about parameters."""
    blocks = [match for match in _PEM.finditer(text) if match[1] != b"EC PARAMETERS"] or list(_PEM.finditer(text))
    if not blocks:
        raise KeyDataError(Code.CUT_OFF, "the PEM text has no end")
    block = blocks[0]
    body = block[2]
    if b"Proc-Type:" in body:
        raise KeyDataError(Code.ENCRYPTED, "this private key is encrypted")
    try:
        der = base64.b64decode(b"".join(body.split()), validate=True)
    except binascii.Error:
        raise KeyDataError(Code.NOT_A_KEY, "the PEM text is damaged: it is no base64") from None
    return block[1], der, text[block.end() :]


def _read_der(data: bytes) -> RsaKey:
    try:
        return _private(data, Encoding.PKCS1)
    except ValueError:
        kind = kind_of_slot(data)
    if kind is SlotKind.BLANK:
        raise KeyDataError(Code.NOT_A_KEY, "this is erased flash (FF), there is no key in it")
    if kind is SlotKind.PKCS8:
        with suppress(ValueError):
            return _private(_pkcs8_content(data), Encoding.PKCS8, data[private_key_size(data) :])
    public = _public(data)
    if public is not None:
        return public
    if kind is SlotKind.CURVE or _CURVE_OID in data[:48]:
        raise KeyDataError(Code.CURVE_KEY, "this is an elliptic-curve key")
    if kind is SlotKind.ENCRYPTED:
        raise KeyDataError(Code.ENCRYPTED, "this private key is encrypted")
    if data[:2] == b"\x30\x82" and int.from_bytes(data[2:4]) + 4 > len(data):
        raise KeyDataError(Code.CUT_OFF, f"the key is cut off after {len(data)} bytes")
    raise KeyDataError(Code.NOT_A_KEY, "this is no key")


def _private(data: bytes, encoding: Encoding, trailing: bytes | None = None) -> RsaKey:
    integers, size = private_key_integers(data), private_key_size(data)
    modulus, exponent = int.from_bytes(integers.n), int.from_bytes(integers.e)
    return RsaKey(modulus, exponent, encoding, data[:size], trailing=data[size:] if trailing is None else trailing)


def _pkcs8_content(data: bytes) -> bytes:
    """The PKCS#1 key within a PKCS#8 one. Raises :class:`ValueError` where that is cut off or damaged."""
    reader = _Der(data).enter(_SEQUENCE)
    reader.take(_INTEGER)
    reader.take(_SEQUENCE)
    return reader.take(_OCTET_STRING)


def _public(data: bytes) -> RsaKey | None:
    """A SubjectPublicKeyInfo or a PKCS#1 public key at the beginning of ``data``."""
    try:
        outer = _Der(data)
        reader = outer.enter(_SEQUENCE)
        encoding = Encoding.PKCS1_PUBLIC
        if reader.rest.startswith((_RSA_ALGORITHM, _RSA_ALGORITHM_WITHOUT_NULL)):
            encoding = Encoding.SPKI
            reader.take(_SEQUENCE)
            reader = _Der(reader.take(_BIT_STRING)[1:]).enter(_SEQUENCE)
        modulus, exponent = reader.take(_INTEGER), reader.take(_INTEGER)
    except ValueError:
        return None
    if reader.rest or not modulus:
        return None
    return RsaKey(int.from_bytes(modulus), int.from_bytes(exponent), encoding, None, trailing=outer.rest)


class _Der:
    """Takes DER values from the front of some bytes. Raises :class:`ValueError` where they are not there."""

    def __init__(self, data: bytes) -> None:
        self.rest = data

    def take(self, tag: int) -> bytes:
        """The content of the next value, which has to have this tag."""
        start, size = der_header(self.rest, 0, tag)
        content, self.rest = self.rest[start : start + size], self.rest[start + size :]
        return content

    def enter(self, tag: int) -> _Der:
        """What is within the next value."""
        return _Der(self.take(tag))
