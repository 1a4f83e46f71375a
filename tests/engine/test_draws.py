"""Draws have their distribution, and belong to a device."""

from __future__ import annotations

import numpy as np
import pytest

from loadgen.engine.draws import Distribution, draw, uniform


def test_uniform_draws_are_uniform_over_devices_and_over_turns() -> None:
    for values in (
        [uniform(5, device, "hold") for device in range(20_000)],
        [uniform(5, 3, "hold", turn) for turn in range(20_000)],
        [uniform(seed, 3, "detection") for seed in range(20_000)],
    ):
        counts = np.histogram(values, bins=20, range=(0, 1))[0]
        assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # chi-squared, 19 degrees of freedom, 0.1 %
        assert abs(np.corrcoef(values[:-1], values[1:])[0, 1]) < 0.03


def test_purposes_and_seeds_are_independent() -> None:
    assert len({uniform(s, 1, p) for s in (1, 2) for p in ("detection", "hold", "event rate", "first event")}) == 8
    assert 0 <= uniform(2**64 - 1, 2**40, "hold", 2**40) < 1


@pytest.mark.parametrize(
    ("distribution", "mean", "median"),
    [
        (Distribution("constant", 7.0), 7.0, 7.0),
        (Distribution("uniform", 2.0, 10.0), 6.0, 6.0),
        (Distribution("exponential", 5.0), 5.0, 5 * np.log(2)),
    ],
)
def test_distributions(distribution: Distribution, mean: float, median: float) -> None:
    values = [draw(distribution, 1, device, "hold") for device in range(20_000)]
    assert distribution.mean == mean
    assert np.mean(values) == pytest.approx(mean, rel=0.03)
    assert np.median(values) == pytest.approx(median, rel=0.03)
    assert min(values) >= 0
