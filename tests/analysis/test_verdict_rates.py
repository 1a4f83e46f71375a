"""How often verdicts are right: false alarms and power, measured by simulation.

The unit is the run, ten a side, six metrics. Without a true difference any verdict in the family is a false alarm; at
most 5 % of comparisons may have one, whatever the distribution of the runs. A true shift of 5 % of one metric at 2 %
run-to-run noise must be found in 95 %. ``python -m tests.analysis.test_verdict_rates`` prints the rates.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
import pytest

from loadgen.analysis import statistics
from loadgen.analysis.compare import Settings, compare
from loadgen.analysis.runvalues import DEFAULT_FAMILY
from tests.analysis.runs import Shape, factors, runs_of

SETTINGS = Settings()
SHIFTS = (1.05, 1 / 1.05)


@dataclass(frozen=True)
class Rates:
    """Shares of simulated comparisons."""

    any_verdict: float
    right_verdict: float


def simulate(shape: Shape, shift: float, comparisons: int, *, seed: int, runs: int = 10, common: float = 0.0) -> Rates:
    """Compare made-up runs of which the first metric of one side is shifted.

    Args:
        shape: distribution of the run values.
        shift: factor of the first metric's values.
        comparisons: how many.
        seed: of everything drawn.
        runs: a side.
        common: share of the log variance that all metrics of a run have in common.
    """
    generator = np.random.default_rng(seed)
    any_verdict = right = 0
    for _ in range(comparisons):
        own = np.log(factors(shape, (2, runs, len(DEFAULT_FAMILY)), generator))
        shared = np.log(factors(shape, (2, runs, 1), generator))
        sides = np.exp(np.sqrt(1 - common) * own + np.sqrt(common) * shared)
        sides[1, :, 0] *= shift
        comparison = compare(runs_of(sides[0]), runs_of(sides[1], start=runs), SETTINGS, generator)
        verdicts = [row.verdict for row in comparison.rows]
        any_verdict += bool({"slower", "faster"} & set(verdicts))
        right += verdicts[0] == ("slower" if shift > 1 else "faster")
    return Rates(any_verdict / comparisons, right / comparisons)


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals are no part of a verdict; they need not be good here."""
    monkeypatch.setattr(statistics, "RESAMPLES", 10)


def test_small_simulation() -> None:
    for index, shape in enumerate(get_args(Shape)):
        assert simulate(shape, 1.0, 150, seed=index).any_verdict <= 0.08
    for shift in SHIFTS:
        assert simulate("normal", shift, 150, seed=7).right_verdict >= 0.94


@pytest.mark.long
@pytest.mark.parametrize("shape", get_args(Shape))
@pytest.mark.parametrize("common", [0.0, 0.8])
def test_false_alarms(shape: Shape, common: float) -> None:
    rate = simulate(shape, 1.0, 6_000, seed=11, common=common).any_verdict
    assert rate <= 0.05


@pytest.mark.long
@pytest.mark.parametrize("shift", SHIFTS)
@pytest.mark.parametrize("common", [0.0, 0.8])
def test_power(shift: float, common: float) -> None:
    assert simulate("normal", shift, 4_000, seed=12, common=common).right_verdict >= 0.95


def print_rates(comparisons: int = 4_000) -> None:
    """A line for each distribution: false alarms, and power for a shift of 5 % up and down."""
    statistics.RESAMPLES = 10  # type: ignore[misc]
    for runs in (5, 7, 10, 15):
        for shape in get_args(Shape):
            alarms = simulate(shape, 1.0, comparisons, seed=1, runs=runs).any_verdict
            power = [simulate(shape, shift, comparisons, seed=2, runs=runs).right_verdict for shift in SHIFTS]
            print(f"{runs} runs a side, {shape:<8} alarms {alarms:.3f}, power {power[0]:.3f} up, {power[1]:.3f} down")


if __name__ == "__main__":
    print_rates()
