"""Tests and intervals against published tables and brute force."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from loadgen.analysis import statistics
from loadgen.analysis.statistics import (
    bootstrap_change,
    holm,
    mann_whitney,
    noise_of,
    rank_shift,
    smallest_p,
    student_p,
    student_quantile,
    wilson,
)


def sides_with_u(n: int, m: int, u: int) -> tuple[list[float], list[float]]:
    """Two sides without ties whose Mann-Whitney U is ``u``."""
    first, rest = [], u
    for index in range(n):
        above = min(m, rest)
        rest -= above
        first.append(above + 0.5 - index * 0.001)
    assert rest == 0
    return first, [float(index) for index in range(1, m + 1)]


@pytest.mark.parametrize(
    ("n", "m", "critical", "level"),
    [
        # Critical values of U, two-sided, as in every table after Mann and Whitney (1947): largest U with p <= level.
        (5, 5, 2, 0.05),
        (5, 5, 0, 0.01),
        (8, 8, 13, 0.05),
        (8, 8, 7, 0.01),
        (10, 10, 23, 0.05),
        (10, 10, 16, 0.01),
        (7, 12, 18, 0.05),
        (15, 20, 90, 0.05),
        (20, 20, 127, 0.05),
        (20, 20, 105, 0.01),
    ],
)
def test_mann_whitney_has_the_critical_values_of_the_tables(n: int, m: int, critical: int, level: float) -> None:
    assert mann_whitney(*sides_with_u(n, m, critical)) <= level
    assert mann_whitney(*sides_with_u(n, m, critical + 1)) > level


@pytest.mark.parametrize("pooled", [[1, 1, 2, 2, 3, 4, 4, 4], [5, 5, 5, 5, 5, 5], [1, 2, 3, 4, 5, 6, 7], [1, 1, 1, 2]])
def test_mann_whitney_counts_every_division_of_the_ranks_with_ties(pooled: list[float]) -> None:
    values = np.array(pooled, float)
    ranks = np.array([(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values])
    chosen = len(pooled) // 2
    mean = chosen * (len(pooled) + 1) / 2
    sums = [ranks[list(picks)].sum() for picks in itertools.combinations(range(len(pooled)), chosen)]
    observed = ranks[:chosen].sum()
    expected = sum(abs(total - mean) >= abs(observed - mean) - 1e-9 for total in sums) / len(sums)
    assert mann_whitney(pooled[:chosen], pooled[chosen:]) == pytest.approx(expected)


def test_mann_whitney_of_many_values_is_the_normal_approximation(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(3)
    first = generator.normal(size=40).round(1).tolist()
    second = (generator.normal(size=38) + 0.3).round(1).tolist()
    exact = mann_whitney(first, second)
    monkeypatch.setattr(statistics, "EXACT_UP_TO", 10)
    assert mann_whitney(first, second) == pytest.approx(exact, abs=1e-3)
    assert mann_whitney([1.0] * 50, [1.0] * 50) == 1.0


def test_mann_whitney_needs_both_sides() -> None:
    with pytest.raises(ValueError, match="both sides"):
        mann_whitney([], [1.0])


def test_rank_shift_has_the_direction() -> None:
    assert rank_shift([1, 2, 3], [4, 5, 6]) == 0.5
    assert rank_shift([4, 5, 6], [1, 2, 3]) == -0.5
    assert rank_shift([1, 2], [1, 2]) == 0


@pytest.mark.parametrize(("n", "m", "p"), [(5, 5, 2 / 252), (4, 4, 2 / 70), (1, 1, 1.0), (0, 3, 1.0), (10, 3, 2 / 286)])
def test_smallest_p(n: int, m: int, p: float) -> None:
    assert smallest_p(n, m) == pytest.approx(p)
    if n and m:
        assert mann_whitney(list(range(n)), list(range(100, 100 + m))) == pytest.approx(p)


def test_holm_steps_down() -> None:
    # The example of Holm's procedure with four hypotheses: 0.005 x 4, 0.01 x 3, then 0.03 x 2 holds for both others.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    # Newcombe (1998), table I: Wilson's method without continuity correction.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_has_the_intervals_of_newcombe(hits: int, of: int, low: float, high: float) -> None:
    interval = wilson(hits, of)
    assert interval == pytest.approx((low, high), abs=5e-5)


def test_wilson_at_its_ends() -> None:
    assert wilson(0, 0) is None
    assert wilson(5, 5) == pytest.approx((0.5655, 1.0), abs=1e-4)


@pytest.mark.parametrize(
    ("confidence", "freedom", "t"),
    [(0.95, 1, 12.706), (0.95, 4, 2.776), (0.95, 10, 2.228), (0.99, 30, 2.750), (0.95, 200, 1.972), (0.9, 5, 2.015)],
)
def test_student_has_the_values_of_the_tables(confidence: float, freedom: int, t: float) -> None:
    assert student_quantile(confidence, freedom) == pytest.approx(t, abs=6e-4)
    assert student_p(-t, freedom) == pytest.approx(1 - confidence, abs=1e-4)


def test_student_at_its_ends() -> None:
    assert student_p(0.0, 5) == 1.0
    assert student_p(math.inf, 5) == 0.0


def test_noise_is_the_standard_deviation_over_the_mean() -> None:
    assert noise_of([98.0, 100.0, 102.0]) == pytest.approx(0.02)
    assert noise_of([98.0, 102.0]) is None
    assert noise_of([-1.0, 0.0, 1.0]) is None


def test_bootstrap_is_the_same_for_the_same_seed_and_encloses_the_change() -> None:
    base, new = [100.0, 101.0, 99.0, 100.5, 99.5, 98.8], [105.0, 106.0, 104.0, 105.5, 104.4, 105.2]
    found = bootstrap_change(base, new, np.random.default_rng(1))
    assert found == bootstrap_change(base, new, np.random.default_rng(1))
    assert found is not None
    assert 0.03 < found[0] < 0.05 < found[1] < 0.07


@pytest.mark.parametrize(("base", "new"), [([1.0, 2.0], [1.0, 2.0, 3.0]), ([0.0, 1.0, 2.0], [1.0, 2.0, 3.0])])
def test_bootstrap_of_too_few_values_or_of_zeros_is_none(base: list[float], new: list[float]) -> None:
    assert bootstrap_change(base, new, np.random.default_rng(1)) is None


def test_interval_of_three_runs_is_wider_than_what_they_show() -> None:
    found = bootstrap_change([99.0, 100.0, 101.0], [99.0, 100.0, 101.0], np.random.default_rng(1))
    assert found is not None
    assert found[0] < -0.02 < 0.02 < found[1]
