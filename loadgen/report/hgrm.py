"""HdrHistogram percentile text (``.hgrm``), exactly as Java's ``outputPercentileDistribution`` prints it.

The plotters that people use read it. Values are divided by the unit asked for, 1,000,000 by default: ns in the
histogram, ms in the text, as the Java tools do.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from typing import Final, TextIO

import numpy as np

from loadgen.recording.histogram import (
    HALF_COUNT,
    HIGHEST_NS,
    SIGNIFICANT_DIGITS,
    SUB_BUCKET_BITS,
    Histogram,
    highest_equivalent_ns,
    lowest_equivalent_ns,
)

TICKS_PER_HALF_DISTANCE: Final = 5
"""Steps between a percentile and the one half as far from 100, the default of the Java tools."""
NS_PER_MS: Final = 1_000_000.0

_SUB_BUCKETS: Final = 2 * HALF_COUNT
_BUCKETS: Final = HIGHEST_NS.bit_length() - SUB_BUCKET_BITS
"""Halvings of the resolution up to the highest value, as the Java class counts them."""


def write_hgrm(histogram: Histogram, stream: TextIO, unit_ns: float = NS_PER_MS) -> None:
    """Write the percentile distribution of a histogram.

    Args:
        histogram: values in ns.
        stream: where the text goes.
        unit_ns: length of the unit that values are printed in.
    """
    stream.write(f"{'Value':>12} {'Percentile':>14} {'TotalCount':>10} {'1/(1-Percentile)':>14}\n\n")
    for value_ns, level, total in percentile_steps(histogram):
        value = fixed(value_ns / unit_ns, SIGNIFICANT_DIGITS, 12)
        line = f"{value} {fixed(level / 100, 12)} {total:>10}"
        if level != 100.0:
            line += f" {fixed(1 / (1 - level / 100), 2, 14)}"
        stream.write(f"{line}\n")
    mean, deviation = _mean_and_deviation(histogram)
    top = int(highest_equivalent_ns(histogram.indexes[-1:])[0]) if histogram.count else 0
    stream.write(
        f"#[Mean    = {fixed(mean / unit_ns, SIGNIFICANT_DIGITS, 12)},"
        f" StdDeviation   = {fixed(deviation / unit_ns, SIGNIFICANT_DIGITS, 12)}]\n"
        f"#[Max     = {fixed(top / unit_ns, SIGNIFICANT_DIGITS, 12)}, Total count    = {histogram.count:>12}]\n"
        f"#[Buckets = {_BUCKETS:>12}, SubBuckets     = {_SUB_BUCKETS:>12}]\n"
    )


def percentile_steps(histogram: Histogram) -> Iterator[tuple[int, float, int]]:
    """(highest value of the bucket, percentile, samples up to there), as Java's ``PercentileIterator`` walks.

    A bucket is reported for every level that it reaches, the last bucket for one level and then as 100.
    """
    level = 0.0
    totals = np.cumsum(histogram.counts).tolist()
    for value, total in zip(highest_equivalent_ns(histogram.indexes).tolist(), totals, strict=True):
        while 100.0 * total / histogram.count >= level:
            yield value, level, total
            if total == histogram.count:
                yield value, 100.0, total
                return
            level += _tick(level)


def _tick(level: float) -> float:
    """Distance to the next percentile: it halves each time the rest to 100 has halved."""
    halvings = int(math.log(100.0 / (100.0 - level)) / math.log(2)) + 1
    return 100.0 / (TICKS_PER_HALF_DISTANCE << halvings)


def _mean_and_deviation(histogram: Histogram) -> tuple[float, float]:
    """Java's: every sample stands for the middle of its bucket."""
    if not histogram.count:
        return 0.0, 0.0
    lowest, highest = lowest_equivalent_ns(histogram.indexes), highest_equivalent_ns(histogram.indexes)
    middle = (lowest + ((highest - lowest + 1) >> 1)).astype(np.float64)
    mean = float(middle @ histogram.counts) / histogram.count
    variance = float(((middle - mean) ** 2) @ histogram.counts) / histogram.count
    return mean, math.sqrt(variance)


def fixed(value: float, digits: int, width: int = 0) -> str:
    """``%width.digitsf`` of Java: the shortest decimal of the number, rounded half up."""
    step = Decimal(1).scaleb(-digits)
    return f"{Decimal(repr(value)).quantize(step, ROUND_HALF_UP):f}".rjust(width)
