"""When handshakes are intended to start. Pure: schedules are values with an exact integer partition.

A schedule is a non-decreasing sequence of instants, in ns after the run's begin, given in blocks so that a run of
days holds a few kilobytes of it. Worker ``k`` of ``n`` generates all of it and takes the indices ``k, k + n,
k + 2n, …``: the shares of any number of workers, merged, are the schedule of one.

Both processes come from one idea. Let Λ(t) be the integral of the rate. Starts at the instants where Λ passes
0, 1, 2, … are regular; those where it passes the arrivals of a unit-rate Poisson process are a Poisson process of
that rate (time rescaling). The rate is linear within a segment, so the inverse of Λ is the root of a quadratic.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final, Literal, Protocol, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadgen.clock import NS_PER_S

Block: TypeAlias = NDArray[np.int64]
Process: TypeAlias = Literal["regular", "poisson", "silent"]

BLOCK_SIZE: Final = 1024
"""Starts generated at a time: long enough to be cheap, short enough to be no pause."""

_SAFE: Final = 1 << 62
_NEVER: Final = 1 << 62
"""An instant in 146 years stands for all later ones."""


def share(total: int, index: int, parts: int) -> int:
    """How many of ``total`` items fall to part ``index`` of ``parts`` when they are dealt round."""
    if not 0 <= index < parts:
        raise ValueError(f"part {index} of {parts} does not exist")
    return max(0, (total - index + parts - 1) // parts)


class Schedule(Protocol):
    """Intended starts of a whole run."""

    def blocks(self) -> Iterator[Block]:
        """Every start in order, ns after the begin; without an end where the schedule has none."""


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

    def blocks(self) -> Iterator[Block]:
        """Without an end."""
        return _constant(self.rate, Fraction(0), None)


class Segment(msgspec.Struct, frozen=True):
    """A part of a schedule in which the rate is linear.

    Rates are exact numbers per second as (numerator, denominator), so that a segment travels as plain integers.
    A ``silent`` segment has no starts.
    """

    process: Process
    duration_ns: int
    rate_from: tuple[int, int] = (0, 1)
    rate_to: tuple[int, int] = (0, 1)

    @property
    def first_rate(self) -> Fraction:
        """Starts per second at its begin."""
        return Fraction(*self.rate_from)

    @property
    def last_rate(self) -> Fraction:
        """Starts per second at its end."""
        return Fraction(*self.rate_to)

    @property
    def mass(self) -> Fraction:
        """Λ over the whole segment: the expected number of starts."""
        return (self.first_rate + self.last_rate) / 2 * self.duration_ns / NS_PER_S


@dataclass(frozen=True, slots=True)
class PhasedRate:
    """Segments one after the other.

    Regular segments that touch are one process: cutting a segment in two changes nothing. A Poisson segment
    draws from a generator of its own, seeded by ``seed`` and its position.
    """

    segments: tuple[Segment, ...]
    seed: int

    def __post_init__(self) -> None:
        for segment in self.segments:
            if segment.duration_ns <= 0:
                raise ValueError("a segment is longer than nothing")
            if min(segment.first_rate, segment.last_rate) < 0:
                raise ValueError("a rate is not negative")
            if (segment.process == "silent") != (segment.mass == 0):
                raise ValueError("a segment has starts, unless it is silent")

    def blocks(self) -> Iterator[Block]:
        """All starts of all segments."""
        begin_ns = 0
        ahead = Fraction(0)  # how far Λ has to go from here to the next regular start
        for number, segment in enumerate(self.segments):
            made: Iterator[Block] = iter(())
            mass = segment.mass
            if segment.process == "regular":
                count = max(0, -((ahead - mass) // 1))
                made = _regular(segment, ahead, count)
                ahead += count - mass
            else:
                ahead = Fraction(0)
                if segment.process == "poisson":
                    made = _poisson(segment, np.random.default_rng([self.seed, number]))
            for block in made:
                yield block + begin_ns
            begin_ns += segment.duration_ns

    @property
    def duration_ns(self) -> int:
        """From the begin of the first segment to the end of the last."""
        return sum(segment.duration_ns for segment in self.segments)

    def mean_rate(self, from_ns: int) -> Fraction:
        """Expected starts per second after ``from_ns``, a boundary between two segments."""
        begin_ns, mass = 0, Fraction(0)
        for segment in self.segments:
            if begin_ns >= from_ns:
                mass += segment.mass
            begin_ns += segment.duration_ns
        return mass * NS_PER_S / (begin_ns - from_ns)

    @property
    def peak_rate(self) -> Fraction:
        """The highest rate of any instant, per second."""
        return max(max(segment.first_rate, segment.last_rate) for segment in self.segments)


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """Given starts, replayed.

    Args:
        times_ns: int64, non-decreasing, ns after the begin; may be a mapped file.
    """

    times_ns: Block

    def blocks(self) -> Iterator[Block]:
        """The trace in slices."""
        for begin in range(0, len(self.times_ns), BLOCK_SIZE):
            yield self.times_ns[begin : begin + BLOCK_SIZE]


@dataclass(frozen=True, slots=True)
class Limits:
    """What of a schedule is carried out.

    Args:
        warmup_ns: starts before it are not recorded.
        end_ns: no start at or after it; None without a bound in time.
        count: at most so many recorded starts of all workers together; None without a bound.
    """

    warmup_ns: int = 0
    end_ns: int | None = None
    count: int | None = None


class ArrivalShare:
    """The starts of one worker, block by block: every ``parts``-th index within the limits.

    Attributes:
        counted_out: the end was reached because :attr:`Limits.count` starts are intended, not for want of time.
    """

    def __init__(self, schedule: Schedule, limits: Limits, index: int, parts: int) -> None:
        self.counted_out = False
        self._blocks = schedule.blocks()
        self._limits = limits
        self._index = index
        self._parts = parts
        self._position = 0
        self._warmup = 0
        self._over = False

    def next_block(self) -> Block | None:
        """The next of this worker's starts, possibly none of a block; None after the last block."""
        block = None if self._over else next(self._blocks, None)
        if block is None:
            self._over = True
            return None
        stop = self._stop_in(block)
        own = block[(self._index - self._position) % self._parts : stop : self._parts]
        self._over = stop < len(block)
        self._position += len(block)
        return own

    def _stop_in(self, block: Block) -> int:
        """How many of the block's starts are within the limits."""
        limits, stop = self._limits, len(block)
        if limits.end_ns is not None:
            stop = int(np.searchsorted(block, limits.end_ns))
        if limits.count is not None:
            self._warmup += int(np.searchsorted(block, limits.warmup_ns))
            left = self._warmup + limits.count - self._position
            self.counted_out = left <= stop
            stop = min(stop, left)
        return stop


class ArrivalCursor:
    """A worker's starts, one at a time.

    Attributes:
        at_ns: the present start, ns after the begin; None after the last one.
    """

    __slots__ = ("_block", "_position", "_share", "at_ns")

    def __init__(self, arrivals: ArrivalShare) -> None:
        self._share = arrivals
        self._block: list[int] = []
        self._position = -1
        self.at_ns: int | None = None
        self.advance()

    @property
    def counted_out(self) -> bool:
        """All of the wanted number are past."""
        return self.at_ns is None and self._share.counted_out

    def advance(self) -> None:
        """Go on to the next start."""
        self._position += 1
        while self._position >= len(self._block):
            block = self._share.next_block()
            if block is None:
                self._block, self._position, self.at_ns = [], -1, None
                return
            self._block, self._position = block.tolist(), 0
        self.at_ns = self._block[self._position]


class DueCount:
    """Counts a worker's recorded starts as their time comes, whether or not anybody takes them."""

    def __init__(self, arrivals: ArrivalShare, warmup_ns: int) -> None:
        self._share = arrivals
        self._warmup_ns = warmup_ns
        self._block = arrivals.next_block()
        self._passed = 0

    def before(self, elapsed_ns: int) -> int:
        """How many are intended before ``elapsed_ns`` after the begin; it must not go back between two calls."""
        while self._block is not None:
            due = max(0, self._in_block(elapsed_ns) - self._in_block(self._warmup_ns))
            if len(self._block) and self._block[-1] >= elapsed_ns:
                return self._passed + due
            self._passed += due
            self._block = self._share.next_block()
        return self._passed

    def _in_block(self, at_ns: int) -> int:
        assert self._block is not None
        return int(np.searchsorted(self._block, at_ns))


def _constant(rate: Fraction, ahead: Fraction, count: int | None) -> Iterator[Block]:
    """Starts where Λ = ahead, ahead + 1, …, in exact arithmetic; ``count`` of them, or without an end."""
    divisor = ahead.denominator * rate.numerator
    first = ahead.numerator * rate.denominator * NS_PER_S
    step = ahead.denominator * rate.denominator * NS_PER_S
    exact = np.dtype(np.int64 if BLOCK_SIZE * step + divisor < _SAFE else object)
    done = 0
    while count is None or done < count:
        size = BLOCK_SIZE if count is None else min(BLOCK_SIZE, count - done)
        whole, rest = divmod(first + done * step, divisor)
        starts = (rest + np.arange(size).astype(exact) * step) // divisor + whole
        yield np.minimum(starts, _NEVER).astype(np.int64)
        done += size


def _regular(segment: Segment, ahead: Fraction, count: int) -> Iterator[Block]:
    if segment.rate_from == segment.rate_to:
        yield from _constant(segment.first_rate, ahead, count)
        return
    for begin in range(0, count, BLOCK_SIZE):
        yield _instants(segment, np.arange(begin, min(begin + BLOCK_SIZE, count)) + float(ahead))


def _poisson(segment: Segment, generator: np.random.Generator) -> Iterator[Block]:
    mass, passed = float(segment.mass), 0.0
    while True:
        arrivals = passed + np.cumsum(generator.standard_exponential(BLOCK_SIZE), dtype=np.float64)
        inside = int(np.searchsorted(arrivals, mass))
        if inside:
            yield _instants(segment, arrivals[:inside])
        if inside < BLOCK_SIZE:
            return
        passed = float(arrivals[-1])


def _instants(segment: Segment, masses: NDArray[np.floating[Any]]) -> Block:
    """The inverse of Λ(t) = a·t + s·t²/2, in the form of the root that loses nothing for s near 0 and for a = 0."""
    rate, length_s = float(segment.first_rate), segment.duration_ns / NS_PER_S
    slope = (float(segment.last_rate) - rate) / length_s
    root = np.sqrt(np.maximum(rate * rate + 2 * slope * masses, 0.0))
    with np.errstate(invalid="ignore"):  # 0/0 at the very begin of a ramp from 0
        seconds = np.nan_to_num(2 * masses / (rate + root))
    starts: Block = np.minimum(seconds * NS_PER_S, segment.duration_ns - 1).astype(np.int64)
    return starts
