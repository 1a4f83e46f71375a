"""When handshakes are intended to start. Pure: schedules are values with an exact integer partition.

A schedule maps the index of a start to nanoseconds after the run's begin. Worker ``k`` of ``n`` takes the indices
``k, k + n, k + 2n, …``, so the shares of any number of workers, merged, are the schedule of one.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from loadgen.clock import NS_PER_S


def share(total: int, index: int, parts: int) -> int:
    """How many of ``total`` items fall to part ``index`` of ``parts`` when they are dealt round."""
    if not 0 <= index < parts:
        raise ValueError(f"part {index} of {parts} does not exist")
    return max(0, (total - index + parts - 1) // parts)


@dataclass(frozen=True, slots=True)
class ConstantRate:
    """Start ``i`` is intended ``i / rate`` seconds after the begin, rounded down to a nanosecond.

    Args:
        rate: starts per second, exact and above 0.
    """

    rate: Fraction

    def __post_init__(self) -> None:
        if self.rate <= 0:
            raise ValueError("a rate is above 0 per second")

    def at(self, index: int) -> int:
        """Intended start of ``index``, ns after the begin."""
        return index * self.rate.denominator * NS_PER_S // self.rate.numerator

    def starts_before(self, duration_ns: int) -> int:
        """How many starts are intended before ``duration_ns``; the smallest index not before it."""
        return -(-duration_ns * self.rate.numerator // (self.rate.denominator * NS_PER_S))


@dataclass(frozen=True, slots=True)
class ArrivalShare:
    """The starts of one worker: every ``parts``-th index of a schedule below ``total``.

    Args:
        schedule: the whole run's schedule.
        total: starts of the whole run, over all workers.
        index: this worker.
        parts: number of workers.
    """

    schedule: ConstantRate
    total: int
    index: int
    parts: int

    def __len__(self) -> int:
        return share(self.total, self.index, self.parts)

    def at(self, turn: int) -> int:
        """Intended start of this worker's ``turn``-th handshake, ns after the begin."""
        return self.schedule.at(self.index + turn * self.parts)

    def due(self, elapsed_ns: int) -> int:
        """How many of this worker's starts are intended before ``elapsed_ns`` after the begin."""
        return min(len(self), share(self.schedule.starts_before(elapsed_ns), self.index, self.parts))
