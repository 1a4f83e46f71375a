"""Schedules are exact and divide exactly."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.clock import NS_PER_S
from loadgen.engine.arrival import ArrivalShare, ConstantRate, share

rates = st.fractions(min_value=Fraction(1, 1000), max_value=1_000_000, max_denominator=10_000)


def test_a_constant_rate_is_exact_for_ever() -> None:
    schedule = ConstantRate(Fraction(3))
    assert [schedule.at(i) for i in range(4)] == [0, 333_333_333, 666_666_666, 1_000_000_000]
    assert schedule.at(3 * 86_400 * 365) == 86_400 * 365 * NS_PER_S


def test_starts_before_an_instant_are_those_below_it() -> None:
    schedule = ConstantRate(Fraction(3))
    assert schedule.starts_before(0) == 0
    assert schedule.starts_before(1) == 1
    assert schedule.starts_before(333_333_333) == 1
    assert schedule.starts_before(333_333_334) == 2
    assert schedule.starts_before(NS_PER_S) == 3


@settings(derandomize=True)
@given(rates, st.integers(0, 10**6))
def test_starts_before_agrees_with_the_exact_instants(rate: Fraction, index: int) -> None:
    schedule = ConstantRate(rate)
    exact = Fraction(index * NS_PER_S) / rate
    assert schedule.at(index) == int(exact)
    assert schedule.starts_before(schedule.at(index)) == index
    assert schedule.starts_before(schedule.at(index) + 1) == index + 1


@settings(derandomize=True)
@given(rates, st.integers(0, 400), st.sampled_from([1, 2, 3, 7]))
def test_the_shares_merged_are_the_schedule_of_one(rate: Fraction, total: int, parts: int) -> None:
    schedule = ConstantRate(rate)
    shares = [ArrivalShare(schedule, total, index, parts) for index in range(parts)]
    merged = sorted(part.at(turn) for part in shares for turn in range(len(part)))
    assert merged == [schedule.at(i) for i in range(total)]


@settings(derandomize=True)
@given(rates, st.integers(0, 300), st.sampled_from([1, 2, 3, 7]), st.integers(0, 10**12))
def test_due_counts_add_up_over_workers(rate: Fraction, total: int, parts: int, elapsed_ns: int) -> None:
    schedule = ConstantRate(rate)
    due = sum(ArrivalShare(schedule, total, index, parts).due(elapsed_ns) for index in range(parts))
    assert due == min(total, schedule.starts_before(elapsed_ns))


@settings(derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 64))
def test_shares_differ_by_one_at_most_and_lose_nothing(total: int, parts: int) -> None:
    shares = [share(total, index, parts) for index in range(parts)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        ConstantRate(Fraction(0))
    with pytest.raises(ValueError, match="part 2 of 2"):
        share(10, 2, 2)
