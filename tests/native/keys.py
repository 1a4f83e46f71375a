"""RSA keys from a seed, with primes of chosen lengths, and their encodings. Plain integers, no library."""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from math import gcd, prod

E = 65537


@dataclass(frozen=True, slots=True)
class Numbers:
    """The integers of an RSA key with e = 65537."""

    n: int
    p: int
    q: int
    d: int

    @property
    def size(self) -> int:
        """Bytes of the modulus."""
        return (self.n.bit_length() + 7) // 8

    @property
    def crt(self) -> tuple[int, int, int]:
        """dp, dq, qinv."""
        return self.d % (self.p - 1), self.d % (self.q - 1), pow(self.q, -1, self.p)

    def private(self, value: int) -> int:
        """value^d mod n, half by half: four times faster than in one piece."""
        p_part, q_part = pow(value, self.d % (self.p - 1), self.p), pow(value, self.d % (self.q - 1), self.q)
        return q_part + (p_part - q_part) * pow(self.q, -1, self.p) % self.p * self.q

    def integers(self, leading: int = 0) -> dict[str, bytes]:
        """Arguments of the extension's key types, each with ``leading`` superfluous zero bytes."""
        dp, dq, qinv = self.crt
        named = {"n": self.n, "p": self.p, "q": self.q, "dp": dp, "dq": dq, "qinv": qinv}
        return {name: bytes(leading) + magnitude(value) for name, value in named.items()}

    def pkcs1(self, leading: int = 0) -> bytes:
        """PKCS#1 DER; ``leading`` zero bytes more than DER asks for before each big integer."""
        values = (self.n, E, self.d, self.p, self.q, *self.crt)
        body = tlv(0x02, b"\0") + b"".join(integer(value, leading if value != E else 0) for value in values)
        return tlv(0x30, body)

    def pkcs8(self) -> bytes:
        """PKCS#8 DER around it."""
        algorithm = tlv(0x30, bytes.fromhex("06092a864886f70d0101010500"))
        return tlv(0x30, tlv(0x02, b"\0") + algorithm + tlv(0x04, self.pkcs1()))


def magnitude(value: int) -> bytes:
    """Big-endian, no leading zeros."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def tlv(tag: int, body: bytes) -> bytes:
    """One DER element."""
    if len(body) < 0x80:
        return bytes((tag, len(body))) + body
    length = magnitude(len(body))
    return bytes((tag, 0x80 | len(length))) + length + body


def integer(value: int, leading: int = 0) -> bytes:
    """A DER INTEGER of a positive value."""
    body = magnitude(value)
    return tlv(0x02, bytes(leading) + (b"\0" if body[0] & 0x80 else b"") + body)


SMALL = prod(p for p in range(3, 2000, 2) if all(p % d for d in range(3, int(p**0.5) + 1, 2)))


def is_prime(candidate: int) -> bool:
    """Fermat to base 2 after trial division: enough for random candidates of these sizes."""
    return gcd(candidate, SMALL) == 1 and pow(2, candidate - 1, candidate) == 1


def prime(rng: random.Random, bits: int, low: bool = False) -> int:
    """A prime of exactly ``bits`` bits with p − 1 prime to e; the two top bits set unless ``low``."""
    top = (1 << (bits - 1)) if low else (3 << (bits - 2))
    while True:
        candidate = top | rng.getrandbits(bits - 2) | 1
        if candidate % E != 1 and is_prime(candidate):
            return candidate


def from_primes(p: int, q: int) -> Numbers:
    """The key of two primes."""
    return Numbers(p * q, p, q, pow(E, -1, (p - 1) * (q - 1)))


@cache
def key(bits: int, index: int) -> Numbers:
    """Key number ``index`` of a size; half of them with p < q."""
    rng = random.Random(f"{bits}/{index}")
    return from_primes(prime(rng, bits // 2), prime(rng, bits // 2))


@cache
def uneven_key(bits: int, difference: int) -> Numbers:
    """A key whose p is longer than q by ``difference`` bits (shorter where negative)."""
    rng = random.Random(f"uneven {bits}/{difference}")
    shorter = bits // 2 - abs(difference) // 2
    longer = shorter + abs(difference)
    while True:
        pair = prime(rng, longer, low=True), prime(rng, shorter, low=True)
        if bits - 8 < (pair[0] * pair[1]).bit_length() <= bits:
            return from_primes(*(pair if difference >= 0 else reversed(pair)))
