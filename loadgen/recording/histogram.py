"""Histograms of one shared HdrHistogram layout: 1 ns … 1 h, three significant digits.

Values are bucketed with numpy, many at a time. The layout, its indexes and the value a percentile answers
are those of HdrHistogram (Java ``AbstractHistogram``), so that a histogram written to a log gives the same
numbers in every tool that reads it. A :class:`Histogram` is a value: sparse, immutable, cheap to merge.

The bucket of a value below 1,024 is the value itself. Above, a bucket is named by the value's highest set bit
and the ten bits below it, which are the exponent and the leading bits of the mantissa of the same number as
an IEEE 754 double: one conversion and one shift give the index.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from fractions import Fraction
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen.clock import NS_PER_S

LOWEST_NS: Final = 1
HIGHEST_NS: Final = 3_600 * NS_PER_S
"""Longest value that is told apart: one hour. Longer ones are clamped to it and counted."""
SIGNIFICANT_DIGITS: Final = 3

SUB_BUCKET_BITS: Final = 10
"""log2 of half the sub-buckets: 2,048 is the least power of two that holds 2 · 10³."""
HALF_COUNT: Final = 1 << SUB_BUCKET_BITS
LENGTH: Final = (HIGHEST_NS.bit_length() - SUB_BUCKET_BITS + 1) * HALF_COUNT
"""Number of buckets: 33,792."""

_MANTISSA_BITS: Final = 52
_INDEX_SHIFT: Final = _MANTISSA_BITS - SUB_BUCKET_BITS
_INDEX_OFFSET: Final = (1023 + SUB_BUCKET_BITS - 1) << SUB_BUCKET_BITS

MIN_TAIL_SAMPLES: Final = 10
"""A percentile is given only where at least this many samples are expected above it."""

Counts = NDArray[np.int64]


def bucket_indexes(values_ns: Counts) -> Counts:
    """Bucket index of every value, same shape. Values must lie in 0 … :data:`HIGHEST_NS`."""
    bits = values_ns.astype(np.float64).view(np.int64)
    return np.where(values_ns < HALF_COUNT, values_ns, (bits >> _INDEX_SHIFT) - _INDEX_OFFSET)


def lowest_equivalent_ns(indexes: Counts) -> Counts:
    """Smallest value of each bucket."""
    magnitude = np.maximum((indexes >> SUB_BUCKET_BITS) - 1, 0)
    lowest: Counts = (indexes - (magnitude << SUB_BUCKET_BITS)) << magnitude
    return lowest


def highest_equivalent_ns(indexes: Counts) -> Counts:
    """Largest value of each bucket."""
    magnitude = np.maximum((indexes >> SUB_BUCKET_BITS) - 1, 0)
    highest: Counts = ((indexes - (magnitude << SUB_BUCKET_BITS) + 1) << magnitude) - 1
    return highest


@lru_cache(maxsize=256)
def exact_fraction(quantile: float) -> Fraction:
    """The decimal number that a quantile was written as: 0.999 is 999/1000.

    Raises:
        ValueError: the quantile is not between 0 and 1.
    """
    fraction = Fraction(str(quantile))
    if not 0 < fraction <= 1:
        raise ValueError(f"a quantile lies above 0 and at most at 1, not {quantile}")
    return fraction


@lru_cache(maxsize=256)
def samples_needed(quantile: float) -> int:
    """Samples without which a percentile is not given: 10 / (1 − X). One for the maximum."""
    tail = 1 - exact_fraction(quantile)
    return math.ceil(MIN_TAIL_SAMPLES / tail) if tail else 1


@lru_cache(maxsize=4096)
def confidence_ranks(count: int, quantile: float, confidence: float = 0.95) -> tuple[int, int]:
    """Ranks (1-based, both included) of the samples that enclose a quantile with at least this confidence.

    The number of samples below the true quantile is binomial (count, quantile), whatever the distribution of
    the values; the ranks are cut where each tail of it holds at most half of the rest (Conover, Practical
    Nonparametric Statistics, 3.2). They are limited to 1 … count.
    """
    q = float(quantile)
    if count < 1 or not 0 < q < 1:
        return (1, max(count, 1)) if q < 1 else (count, count)
    spread = 12 * math.sqrt(count * q * (1 - q)) + 12
    first, last = max(0, math.floor(count * q - spread)), min(count, math.ceil(count * q + spread))
    below = np.arange(first + 1, last + 1, dtype=np.float64)
    log_ratios = np.log((count - below + 1) / below) + math.log(q / (1 - q))
    log_mass = np.concatenate(([0.0], np.cumsum(log_ratios)))
    mass = np.exp(log_mass - log_mass.max())
    cumulative = np.cumsum(mass / mass.sum())
    tail = (1 - confidence) / 2
    low = first + int(np.searchsorted(cumulative, tail, side="right"))
    high = first + int(np.searchsorted(cumulative, 1 - tail, side="left")) + 1
    return max(low, 1), min(high, count)


def _dot(values_ns: Counts, counts: Counts) -> int:
    """Exact sum of values times counts."""
    if int(values_ns.max()) * int(counts.sum()) < 1 << 63:
        return int(values_ns @ counts)
    return sum(value * count for value, count in zip(values_ns.tolist(), counts.tolist(), strict=True))


class Histogram:
    """Counts of durations in ns, with the exact sum, minimum and maximum where the raw values were seen.

    Args:
        indexes: bucket indexes, ascending, each once.
        counts: samples in each of these buckets, all above zero.
        sum_ns: sum of the raw values.
        min_ns: smallest raw value, None without samples.
        max_ns: largest raw value, None without samples.
        clamped: how many values were longer than :data:`HIGHEST_NS` and stand in its bucket.
    """

    __slots__ = ("_cumulative", "clamped", "count", "counts", "indexes", "max_ns", "min_ns", "sum_ns")

    def __init__(
        self,
        indexes: Counts,
        counts: Counts,
        *,
        sum_ns: int,
        min_ns: int | None,
        max_ns: int | None,
        clamped: int = 0,
    ) -> None:
        self.indexes = indexes
        self.counts = counts
        self.sum_ns = sum_ns
        self.min_ns = min_ns
        self.max_ns = max_ns
        self.clamped = clamped
        self._cumulative = np.cumsum(counts)
        self.count = int(self._cumulative[-1]) if counts.size else 0
        """Number of samples."""

    @classmethod
    def empty(cls) -> Histogram:
        """No samples."""
        nothing = np.empty(0, dtype=np.int64)
        return cls(nothing, nothing, sum_ns=0, min_ns=None, max_ns=None)

    @classmethod
    def of_values(cls, values_ns: Iterable[int] | Counts) -> Histogram:
        """Histogram of raw values; longer ones than an hour are clamped and counted.

        Raises:
            ValueError: a value is negative.
        """
        values = np.asarray(values_ns if isinstance(values_ns, np.ndarray) else list(values_ns), dtype=np.int64)
        if not values.size:
            return cls.empty()
        if values.min() < 0:
            raise ValueError("a duration cannot be negative")
        indexes, counts = np.unique(bucket_indexes(np.minimum(values, HIGHEST_NS)), return_counts=True)
        return cls(
            indexes,
            counts.astype(np.int64),
            sum_ns=sum(values.tolist()),
            min_ns=int(values.min()),
            max_ns=int(values.max()),
            clamped=int(np.count_nonzero(values > HIGHEST_NS)),
        )

    @classmethod
    def of_counts(cls, indexes: Counts, counts: Counts, max_ns: int | None = None) -> Histogram:
        """Histogram of which only the buckets are known, as from a log, and perhaps the maximum.

        Sum, minimum and maximum are then what HdrHistogram answers: every sample stands for the middle of its
        bucket, the minimum is the lowest and the maximum the highest value of the outermost buckets.
        """
        if not indexes.size:
            return cls.empty()
        lowest, highest = lowest_equivalent_ns(indexes), highest_equivalent_ns(indexes)
        middle = lowest + ((highest - lowest + 1) >> 1)
        return cls(
            indexes,
            counts,
            sum_ns=_dot(middle, counts),
            min_ns=int(lowest[0]),
            max_ns=int(highest[-1]) if max_ns is None else max_ns,
        )

    @staticmethod
    def merge(parts: Iterable[Histogram]) -> Histogram:
        """One histogram of all samples of the parts."""
        full = [part for part in parts if part.count]
        if len(full) <= 1:
            return full[0] if full else Histogram.empty()
        first = min(int(part.indexes[0]) for part in full)
        last = max(int(part.indexes[-1]) for part in full)
        dense = np.zeros(last - first + 1, dtype=np.int64)  # faster than sorting what is sorted already
        for part in full:
            dense[part.indexes - first] += part.counts  # a part has each bucket once
        found = np.flatnonzero(dense)
        return Histogram(
            found + first,
            dense[found],
            sum_ns=sum(part.sum_ns for part in full),
            min_ns=min(part.min_ns for part in full if part.min_ns is not None),
            max_ns=max(part.max_ns for part in full if part.max_ns is not None),
            clamped=sum(part.clamped for part in full),
        )

    @property
    def mean_ns(self) -> float | None:
        """Arithmetic mean of the raw values, None without samples."""
        return self.sum_ns / self.count if self.count else None

    def quantile_ns(self, quantile: float) -> int | None:
        """Value at a quantile (0.99 for p99) however few samples there are, None without any.

        The highest equivalent value of the bucket with the ⌈quantile · count⌉-th sample, as in HdrHistogram.
        """
        if not self.count:
            return None
        rank = max(1, math.ceil(exact_fraction(quantile) * self.count))
        return int(highest_equivalent_ns(self._bucket_of_rank(rank)))

    def percentile_ns(self, quantile: float) -> int | None:
        """:meth:`quantile_ns`, but None where there are fewer than 10 / (1 − X) samples."""
        return self.quantile_ns(quantile) if self.count >= samples_needed(quantile) else None

    def percentile_ci_ns(self, quantile: float) -> tuple[int, int] | None:
        """95 % confidence interval of :meth:`percentile_ns` from order ranks; None where that is None.

        From the lowest value of the bucket of the lower rank to the highest of the upper one's.
        """
        if self.count < samples_needed(quantile):
            return None
        low, high = confidence_ranks(self.count, quantile)
        return (
            int(lowest_equivalent_ns(self._bucket_of_rank(low))),
            int(highest_equivalent_ns(self._bucket_of_rank(high))),
        )

    def _bucket_of_rank(self, rank: int) -> Counts:
        """Bucket index (0-d array) of the ``rank``-th smallest sample, counted from 1."""
        position = int(np.searchsorted(self._cumulative, rank, side="left"))
        return np.asarray(self.indexes[position])

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        return (
            np.array_equal(self.indexes, other.indexes)
            and np.array_equal(self.counts, other.counts)
            and (self.sum_ns, self.min_ns, self.max_ns, self.clamped)
            == (other.sum_ns, other.min_ns, other.max_ns, other.clamped)
        )

    __hash__ = None  # type: ignore[assignment]  # compared by content, never a key

    def __repr__(self) -> str:
        return f"Histogram(count={self.count}, min_ns={self.min_ns}, max_ns={self.max_ns})"
