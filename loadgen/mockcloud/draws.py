"""Random numbers that need no memory: the draw for handshake number n is a function of the seed, its purpose and n.

So workers share one plan without a word to each other, and a run can be repeated. The function is splitmix64
(Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014; the constants are those of
Java's SplittableRandom), which maps a counter to 64 well-mixed bits.
"""

from __future__ import annotations

from typing import Final

_MASK: Final = (1 << 64) - 1
_GAMMA: Final = 0x9E3779B97F4A7C15


def _mix(value: int) -> int:
    """The output function of splitmix64: a bijection of 64-bit values."""
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ value >> 27) * 0x94D049BB133111EB & _MASK
    return value ^ value >> 31


class Draws:
    """One draw a handshake for one purpose; draws for different purposes are independent.

    Args:
        seed: 0 … 2^64 - 1.
        purpose: any word.
    """

    __slots__ = ("_base",)

    def __init__(self, seed: int, purpose: str) -> None:
        base = _mix(seed + _GAMMA & _MASK)
        for byte in purpose.encode():
            base = _mix((base ^ byte) + _GAMMA & _MASK)
        self._base = base

    def at(self, number: int) -> float:
        """The draw of handshake ``number``, uniform in the open interval (0, 1), in steps of 2^-52."""
        return ((_mix(self._base + number * _GAMMA & _MASK) >> 12) + 0.5) / (1 << 52)
