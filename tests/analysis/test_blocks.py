"""Changes within runs, from blocks of seconds."""

from __future__ import annotations

import numpy as np
import pytest

from loadgen.analysis import blocks
from loadgen.analysis.blocks import compare_blocks
from loadgen.recording.histogram import Histogram

Seconds = dict[int, Histogram]


def interleaved(
    seed: int, seconds: int, shift: float, *, rates: tuple[int, int] = (150, 150)
) -> tuple[Seconds, Seconds]:
    """Two sides that share the weather of a run: a level that wanders from second to second."""
    generator = np.random.default_rng(seed)
    sides: tuple[Seconds, Seconds] = ({}, {})
    level = 0.0
    for second in range(seconds):
        level = 0.7 * level + 0.07 * generator.standard_normal()
        for side, rate, factor in zip(sides, rates, (1.0, shift), strict=True):
            values = 5e6 * factor * np.exp(level + 0.2 * generator.standard_normal(generator.poisson(rate)))
            side[second] = Histogram.of_values(values.astype(np.int64))
    return sides


def test_interleaved_sides_are_told_apart_in_one_run() -> None:
    base, new = interleaved(1, 30, 1.05)
    found = compare_blocks([base], [new], [0.5, 0.9], np.random.default_rng(1), paired=True)
    change = found[0.5]
    assert change.p < 0.01
    assert change.low < 0.05 < change.high
    assert change.blocks == 30
    assert found == compare_blocks([base], [new], [0.5, 0.9], np.random.default_rng(1), paired=True)


def test_sides_apart_have_the_wider_interval_of_the_weather() -> None:
    base, new = interleaved(1, 30, 1.0)
    paired = compare_blocks([base], [new], [0.5], np.random.default_rng(1), paired=True)[0.5]
    apart = compare_blocks([base], [new], [0.5], np.random.default_rng(1), paired=False)[0.5]
    assert paired.change == apart.change
    assert apart.high - apart.low > 1.5 * (paired.high - paired.low)


@pytest.mark.parametrize("rates", [(150, 150), (200, 60)])
def test_false_alarms_and_power_within_runs(rates: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blocks, "RESAMPLES", 199)

    def alarms(shift: float, runs: int) -> int:
        found = 0
        for seed in range(runs):
            base, new = interleaved(seed, 12, shift, rates=rates)
            change = compare_blocks([base], [new], [0.5], np.random.default_rng(seed), paired=True)[0.5]
            found += change.p <= 0.05
        return found

    assert alarms(1.0, 30) <= 4
    assert alarms(1.08, 8) >= 7


def test_several_runs_are_taken_together() -> None:
    pairs = [interleaved(seed, 5, 1.06) for seed in range(4)]
    found = compare_blocks([a for a, _ in pairs], [b for _, b in pairs], [0.5], np.random.default_rng(1), paired=True)
    assert found[0.5].blocks == 20
    assert found[0.5].p < 0.05


def test_long_runs_are_cut_into_blocks_of_seconds() -> None:
    base, new = interleaved(1, 105, 1.0, rates=(20, 20))
    found = compare_blocks([base], [new], [0.5], np.random.default_rng(1), paired=True)
    assert found[0.5].blocks == 21


def test_too_few_blocks_say_nothing() -> None:
    base, new = interleaved(1, 9, 1.05)
    assert compare_blocks([base], [new], [0.5], np.random.default_rng(1), paired=True) == {}
    assert compare_blocks([{}], [{}], [0.5], np.random.default_rng(1), paired=True) == {}
    empty: Seconds = dict.fromkeys(range(20), Histogram.empty())
    assert compare_blocks([interleaved(1, 20, 1.0)[0]], [empty], [0.5], np.random.default_rng(1), paired=True) == {}


def test_equal_constants_do_not_differ() -> None:
    constant: Seconds = {second: Histogram.of_values([1_000_000] * 50) for second in range(12)}
    other: Seconds = {second: Histogram.of_values([1_100_000] * 50) for second in range(12)}
    same = compare_blocks([constant], [constant], [0.5], np.random.default_rng(1), paired=True)[0.5]
    assert (same.change, same.p) == (0.0, 1.0)
    differs = compare_blocks([constant], [other], [0.5], np.random.default_rng(1), paired=True)[0.5]
    assert differs.p == 0.001
