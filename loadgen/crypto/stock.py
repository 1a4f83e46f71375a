"""RSA keys that cost nothing to make: random pairs out of a small stock of primes.

For self-tests and benchmarks, which need many different keys at once and would spend most of their time on the search
for primes. The primes are no secret: each is the first one that will do from the digest of its name on. Nothing else
ever uses such keys.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Final

PUBLIC_EXPONENT: Final = 65537

_OFFSETS: Final = {
    512: (0, 100, 588, 142, 104, 108, 120, 54),
    1024: (2588, 142, 466, 198, 112, 414, 1264, 108),
}
"""From the digest of a number's name, with the two top bits and the lowest one set, to the next prime that will do."""

KEYS: Final = 28
"""Different keys of one size."""


@dataclass(frozen=True)
class Numbers:
    """The integers of an RSA key with e = 65537."""

    p: int
    q: int

    @property
    def n(self) -> int:
        """The modulus."""
        return self.p * self.q

    @property
    def d(self) -> int:
        """The private exponent."""
        return pow(PUBLIC_EXPONENT, -1, (self.p - 1) * (self.q - 1))

    @property
    def modulus(self) -> bytes:
        """``n`` as 128 or 256 bytes, big-endian."""
        return self.n.to_bytes(self.n.bit_length() // 8)

    @property
    def crt(self) -> tuple[int, int, int]:
        """d mod (p − 1), d mod (q − 1), 1/q mod p."""
        d = self.d
        return d % (self.p - 1), d % (self.q - 1), pow(self.q, -1, self.p)

    def pkcs1(self) -> bytes:
        """The private key as PKCS#1 DER (RFC 8017, appendix A.1.2)."""
        values = (0, self.n, PUBLIC_EXPONENT, self.d, self.p, self.q, *self.crt)
        return _der(0x30, b"".join(_der(0x02, value.to_bytes(value.bit_length() // 8 + 1)) for value in values))


def _der(tag: int, content: bytes) -> bytes:
    """One DER element of less than 64 KiB."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    if size < 0x100:
        return bytes((tag, 0x81, size)) + content
    return bytes((tag, 0x82)) + size.to_bytes(2) + content


@cache
def stock_prime(bits: int, number: int) -> int:
    """Prime ``number`` (0 … 7) of 512 or 1024 bits."""
    name = f"loadgen self-test prime {bits} {number}".encode()
    start = int.from_bytes(hashlib.shake_256(name).digest(bits // 8))
    return (start | 3 << (bits - 2) | 1) + _OFFSETS[bits][number]


def stock_keys(bits: int, count: int, chance: random.Random) -> list[Numbers]:
    """``count`` different keys of 1024 or 2048 bits, at most :data:`KEYS`, drawn with ``chance``."""
    half = bits // 2
    pairs = chance.sample(list(combinations(range(len(_OFFSETS[half])), 2)), count)
    return [Numbers(stock_prime(half, a), stock_prime(half, b)) for a, b in pairs]
