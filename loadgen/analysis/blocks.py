"""Intervals from within runs: a run's one-second histograms, put together to blocks and resampled.

Two sides that were interleaved in the same runs see the same weather second by second, so the same blocks are drawn
for both and what they share cancels. Sides that ran apart are drawn apart; that interval knows nothing of how runs
differ from each other. Blocks of several seconds keep neighbouring seconds, which resemble each other, together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen.analysis.statistics import student_p, student_quantile
from loadgen.recording.histogram import Histogram, exact_fraction, highest_equivalent_ns

MIN_BLOCKS: Final = 10
"""Blocks without which nothing is said."""
BLOCKS: Final = 20
"""Blocks that a run is cut into, if it has so many seconds."""
RESAMPLES: Final = 999
_CHUNK: Final = 111

Seconds = Mapping[int, Histogram]


@dataclass(frozen=True, slots=True)
class BlockChange:
    """The change of a quantile between two sides, from blocks.

    Attributes:
        change: new ÷ base − 1, of all samples.
        low, high: its 95 % interval.
        p: two-sided p-value of "no change"; only meaningful for sides that were interleaved.
        blocks: number of blocks.
    """

    change: float
    low: float
    high: float
    p: float
    blocks: int


def compare_blocks(
    base: Sequence[Seconds],
    new: Sequence[Seconds],
    quantiles: Sequence[float],
    generator: np.random.Generator,
    *,
    paired: bool,
) -> dict[float, BlockChange]:
    """Changes of some quantiles of a stage.

    The resampled changes of the logarithm give a standard error, and Student's distribution with the number of blocks
    less one the interval and the p-value.

    Args:
        base: histograms of the stage by second, one mapping a run.
        new: the same of the other side; with ``paired`` of the same runs in the same order.
        quantiles: 0.99 for p99.
        generator: draws the blocks.
        paired: the sides were interleaved.

    Returns:
        by quantile; empty where there are too few blocks.
    """
    if paired:
        both = [(*_aligned(first, second),) for first, second in zip(base, new, strict=True)]
        sides = [[block for pair in both for block in pair[side]] for side in (0, 1)]
    else:
        sides = [[block for run in runs for block in _blocks(run, _span(run))] for runs in (base, new)]
    if min(len(side) for side in sides) < MIN_BLOCKS or not all(sum(b.count for b in side) for side in sides):
        return {}
    tables = [_Table.of(side) for side in sides]
    draws = [_draws(len(side), generator) for side in sides]
    if paired:
        draws[1] = draws[0]
    resampled = [table.log_quantiles(draw, quantiles) for table, draw in zip(tables, draws, strict=True)]
    whole = [
        table.log_quantiles(np.ones((1, draw.shape[1])), quantiles) for table, draw in zip(tables, draws, strict=True)
    ]
    blocks = min(len(side) for side in sides)
    return {
        quantile: _change(float(whole[1][0, i] - whole[0][0, i]), resampled[1][:, i] - resampled[0][:, i], blocks)
        for i, quantile in enumerate(quantiles)
    }


def _change(estimate: float, resampled: NDArray[np.float64], blocks: int) -> BlockChange:
    error = float(resampled.std()) * math.sqrt(blocks / (blocks - 1))
    half = student_quantile(0.95, blocks - 1) * error
    p = 1.0 if estimate == 0 else student_p(estimate / error, blocks - 1) if error > 0 else 0.0
    return BlockChange(
        change=math.expm1(estimate),
        low=math.expm1(estimate - half),
        high=math.expm1(estimate + half),
        p=max(p, 1 / (RESAMPLES + 1)),
        blocks=blocks,
    )


def _draws(blocks: int, generator: np.random.Generator) -> NDArray[np.float64]:
    """How often each block is drawn in each resample."""
    return generator.multinomial(blocks, np.full(blocks, 1 / blocks), size=RESAMPLES).astype(np.float64)


def _span(*runs: Seconds) -> range:
    """The seconds from the first with samples to the last."""
    seconds = [second for run in runs for second, histogram in run.items() if histogram.count]
    return range(min(seconds), max(seconds) + 1) if seconds else range(0)


def _aligned(first: Seconds, second: Seconds) -> tuple[list[Histogram], list[Histogram]]:
    span = _span(first, second)
    return _blocks(first, span), _blocks(second, span)


def _blocks(run: Seconds, span: range) -> list[Histogram]:
    """Full blocks of a run; what is left at its end joins the last one."""
    length = max(1, len(span) // BLOCKS)
    count = len(span) // length
    return [
        Histogram.merge(
            run[second]
            for second in (span[i * length : (i + 1) * length] if i < count - 1 else span[i * length :])
            if second in run
        )
        for i in range(count)
    ]


@dataclass(frozen=True, slots=True)
class _Table:
    """Counts of all blocks in the buckets that any of them uses, shape (blocks, buckets)."""

    counts: NDArray[np.float64]
    log_values: NDArray[np.float64]

    @classmethod
    def of(cls, blocks: Sequence[Histogram]) -> _Table:
        buckets = np.unique(np.concatenate([block.indexes for block in blocks]))
        counts = np.zeros((len(blocks), buckets.size))
        for row, block in zip(counts, blocks, strict=True):
            row[np.searchsorted(buckets, block.indexes)] = block.counts
        values = np.maximum(highest_equivalent_ns(buckets), 1)
        return cls(counts, np.log(values.astype(np.float64)))

    def log_quantiles(self, weights: NDArray[np.float64], quantiles: Sequence[float]) -> NDArray[np.float64]:
        """Logarithm of each quantile of the blocks' sum with each row of weights, shape (rows, quantiles)."""
        found = np.empty((len(weights), len(quantiles)))
        for begin in range(0, len(weights), _CHUNK):  # bounds the memory
            cumulative = np.cumsum(weights[begin : begin + _CHUNK] @ self.counts, axis=1)
            for column, quantile in enumerate(quantiles):
                ranks = np.maximum(np.ceil(cumulative[:, -1:] * float(exact_fraction(quantile))), 1)
                places = np.minimum((cumulative < ranks).sum(axis=1), cumulative.shape[1] - 1)
                found[begin : begin + _CHUNK, column] = self.log_values[places]
        return found
