"""Random quantities of single devices: distributions as values, and the numbers that are put into them.

A draw depends on the seed, the device, what is drawn and how often it has been: not on which worker asks, or when.
"""

from __future__ import annotations

import math
from typing import Final, Literal, TypeAlias

import msgspec

Purpose: TypeAlias = Literal["detection", "hold", "event rate", "first event", "firmware"]

_PURPOSES: Final[dict[Purpose, int]] = {"detection": 1, "hold": 2, "event rate": 3, "first event": 4, "firmware": 5}
_MASK: Final = (1 << 64) - 1


class Distribution(msgspec.Struct, frozen=True):
    """A distribution of a quantity that is not negative; the unit is that of its user.

    ``constant`` and ``exponential`` have the mean ``low``; ``uniform`` lies from ``low`` to ``high``.
    """

    kind: Literal["constant", "uniform", "exponential"]
    low: float
    high: float = 0.0

    def at(self, share: float) -> float:
        """The value that ``share`` of all draws lie below, 0 ≤ share < 1."""
        if self.kind == "uniform":
            return self.low + (self.high - self.low) * share
        return self.low if self.kind == "constant" else -self.low * math.log1p(-share)

    @property
    def mean(self) -> float:
        """The mean of all draws."""
        return (self.low + self.high) / 2 if self.kind == "uniform" else self.low


def draw(distribution: Distribution, seed: int, device: int, purpose: Purpose, turn: int = 0) -> float:
    """The ``turn``-th value for a device of the fleet."""
    if distribution.kind == "constant":
        return distribution.low
    return distribution.at(uniform(seed, device, purpose, turn))


def uniform(seed: int, device: int, purpose: Purpose, turn: int = 0) -> float:
    """A number from 0 inclusive to 1 exclusive, uniform over devices, purposes and turns."""
    state = seed
    for part in (device, _PURPOSES[purpose], turn):
        state = _mix((state ^ part) + 0x9E3779B97F4A7C15)
    return (state >> 11) / (1 << 53)


def _mix(value: int) -> int:
    """The finaliser of splitmix64 (Steele, Lea and Flood 2014): every bit of the input moves all of the output."""
    value &= _MASK
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)
