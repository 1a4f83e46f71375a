"""Schedules are exact, divide exactly, and are the processes that they claim to be."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.clock import NS_PER_S
from loadgen.engine.arrival import (
    BLOCK_SIZE,
    ArrivalCursor,
    ArrivalShare,
    Block,
    ConstantRate,
    DueCount,
    Limits,
    PhasedRate,
    Process,
    Schedule,
    Segment,
    Trace,
    share,
)

PROCESSES: tuple[Process, ...] = ("regular", "poisson", "silent")
PARTS = st.sampled_from([1, 2, 3, 7])
rates = st.fractions(min_value=Fraction(1, 1000), max_value=1_000_000, max_denominator=10_000)
small_rates = st.fractions(min_value=0, max_value=3000, max_denominator=100)


def segment(process: Process, duration_s: float, first: float = 0, last: float | None = None) -> Segment:
    begin, end = Fraction(first), Fraction(first if last is None else last)
    return Segment(process, int(duration_s * NS_PER_S), begin.as_integer_ratio(), end.as_integer_ratio())


@st.composite
def phased(draw: st.DrawFn) -> PhasedRate:
    segments = []
    for _ in range(draw(st.integers(1, 4))):
        process: Process = draw(st.sampled_from(PROCESSES))
        first, last = (0, 0) if process == "silent" else (draw(small_rates), draw(small_rates))
        if process != "silent" and not first and not last:
            first = Fraction(1)
        segments.append(segment(process, draw(st.floats(0.001, 2.0)), float(first), float(last)))
    return PhasedRate(tuple(segments), draw(st.integers(0, 2**64 - 1)))


def whole(schedule: Schedule, limits: Limits | None = None, index: int = 0, parts: int = 1) -> list[int]:
    cursor = ArrivalCursor(ArrivalShare(schedule, limits or Limits(), index, parts))
    found = []
    while cursor.at_ns is not None:
        found.append(cursor.at_ns)
        cursor.advance()
    return found


def merged(schedule: Schedule, limits: Limits, parts: int) -> list[int]:
    shares = [whole(schedule, limits, index, parts) for index in range(parts)]
    dealt = [one for turn in itertools.zip_longest(*shares) for one in turn if one is not None]
    assert dealt == sorted(dealt), "every parts-th index"
    return dealt


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


@settings(derandomize=True, deadline=None)
@given(
    st.one_of(rates, st.fractions(min_value=Fraction(1, 10**15), max_value=10**6, max_denominator=10**15)),
    st.integers(0, 3 * BLOCK_SIZE),
    PARTS,
)
def test_the_shares_of_a_constant_rate_are_exact(rate: Fraction, total: int, parts: int) -> None:
    schedule = ConstantRate(rate)
    assert merged(schedule, Limits(count=total), parts) == [min(schedule.at(i), 1 << 62) for i in range(total)]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(phased(), PARTS, st.integers(0, 3 * NS_PER_S), st.one_of(st.none(), st.integers(0, 5000)))
def test_the_shares_of_phases_merged_are_the_schedule_of_one(
    schedule: PhasedRate, parts: int, end_ns: int, count: int | None
) -> None:
    limits = Limits(warmup_ns=end_ns // 3, end_ns=end_ns, count=count)
    one = whole(schedule, limits)
    assert one == sorted(one)
    assert merged(schedule, limits, parts) == one
    everything = [at_ns for at_ns in whole(schedule) if at_ns < end_ns]
    if count is None:
        assert one == everything
    else:
        recorded = [at_ns for at_ns in everything if at_ns >= limits.warmup_ns]
        assert one == [at_ns for at_ns in everything if at_ns < limits.warmup_ns] + recorded[:count]


@settings(derandomize=True, deadline=None, max_examples=60)
@given(phased(), PARTS, st.lists(st.integers(0, 5 * NS_PER_S), min_size=1, max_size=5))
def test_due_counts_add_up_over_workers(schedule: PhasedRate, parts: int, instants: list[int]) -> None:
    limits = Limits(warmup_ns=NS_PER_S // 2, end_ns=4 * NS_PER_S)
    counters = [DueCount(ArrivalShare(schedule, limits, i, parts), limits.warmup_ns) for i in range(parts)]
    starts = np.array(whole(schedule, limits), dtype=np.int64)
    for at_ns in sorted(instants):
        expected = ((starts >= limits.warmup_ns) & (starts < at_ns)).sum()
        assert sum(counter.before(at_ns) for counter in counters) == expected


def test_a_count_ends_a_share_and_says_so() -> None:
    for parts in (1, 2, 3, 7):
        for index in range(parts):
            cursor = ArrivalCursor(ArrivalShare(ConstantRate(Fraction(10)), Limits(count=5), index, parts))
            while cursor.at_ns is not None:
                assert not cursor.counted_out
                cursor.advance()
            assert cursor.counted_out
    by_time = ArrivalCursor(ArrivalShare(ConstantRate(Fraction(10)), Limits(end_ns=NS_PER_S, count=11), 0, 1))
    while by_time.at_ns is not None:
        by_time.advance()
    assert not by_time.counted_out


def test_cutting_a_regular_segment_in_two_changes_nothing() -> None:
    one = PhasedRate((segment("regular", 2, 7.3),), 1)
    two = PhasedRate((segment("regular", 0.75, 7.3), segment("regular", 1.25, 7.3)), 1)
    assert len(whole(one)) == 15
    assert np.abs(np.array(whole(one)) - np.array(whole(two))).max() <= 1


def test_a_ramp_starts_where_its_integral_passes_whole_numbers() -> None:
    ramp = PhasedRate((segment("regular", 10, 0, 20),), 1)
    starts = np.array(whole(ramp)) / NS_PER_S
    assert len(starts) == 100
    np.testing.assert_allclose(starts**2, np.arange(100), atol=1e-6)
    down = np.array(whole(PhasedRate((segment("regular", 10, 20, 0),), 1))) / NS_PER_S
    np.testing.assert_allclose(20 * down - down**2, np.arange(100), atol=1e-5)


def test_silence_has_no_starts_and_keeps_its_place() -> None:
    schedule = PhasedRate((segment("regular", 1, 2), segment("silent", 3), segment("regular", 1, 2)), 1)
    assert [at_ns / NS_PER_S for at_ns in whole(schedule)] == [0, 0.5, 4, 4.5]
    assert schedule.duration_ns == 5 * NS_PER_S
    assert schedule.mean_rate(0) == Fraction(4, 5)
    assert schedule.mean_rate(NS_PER_S) == Fraction(1, 2)
    assert schedule.peak_rate == 2


def test_the_seed_makes_the_schedule() -> None:
    segments = (segment("poisson", 2, 500), segment("poisson", 2, 500))
    one = whole(PhasedRate(segments, 7))
    assert one == whole(PhasedRate(segments, 7))
    assert one != whole(PhasedRate(segments, 8))
    halves = np.array(one)
    assert not np.array_equal(halves[halves < 2 * NS_PER_S][:50], halves[halves >= 2 * NS_PER_S][:50] - 2 * NS_PER_S)


def test_a_schedule_is_made_as_it_is_used() -> None:
    year = PhasedRate((segment("poisson", 86_400 * 365, 1000),), 1)
    blocks = year.blocks()
    assert sum(len(next(blocks)) for _ in range(3)) == 3 * BLOCK_SIZE


def test_a_trace_is_replayed_as_it_is() -> None:
    times = np.arange(3000, dtype=np.int64) ** 2
    assert whole(Trace(times)) == times.tolist()
    assert merged(Trace(times), Limits(end_ns=2000**2), 3) == times[:2000].tolist()


# Poisson schedules: gaps of the rescaled process are exponential, counts have the right mean.

RATES = {
    "constant": (segment("poisson", 20, 500),),
    "slow": (segment("poisson", 2000, 5),),
    "ramp": (segment("poisson", 20, 100, 900),),
    "ramp down to nothing": (segment("poisson", 20, 1000, 0),),
    "spike": (segment("poisson", 10, 50, 950), segment("poisson", 10, 950, 50)),
    "steps": tuple(segment("poisson", 5, rate) for rate in (200, 400, 600, 800)),
}


def mass_until(segments: Sequence[Segment], starts: Block) -> np.ndarray:
    """Λ at every start, from the definition."""
    total, begin_s, passed = np.zeros(len(starts)), 0.0, 0.0
    for part in segments:
        length_s, first, last = part.duration_ns / NS_PER_S, float(part.first_rate), float(part.last_rate)
        t = starts / NS_PER_S - begin_s
        inside = (t >= 0) & (t <= length_s)
        t = t[inside]
        total[inside] = passed + first * t + (last - first) / length_s * t * t / 2
        begin_s, passed = begin_s + length_s, passed + float(part.mass)
    return total


def anderson_darling(gaps: np.ndarray) -> float:
    """A² of gaps against the exponential distribution of mean 1, all known beforehand (no parameter estimated)."""
    u = -np.expm1(-np.sort(gaps))
    n = len(u)
    i = np.arange(1, n + 1)
    return float(-n - ((2 * i - 1) * (np.log(u) + np.log1p(-u[::-1]))).sum() / n)


CRITICAL_1_PERCENT = 3.857
"""Of A² with known parameters (Stephens 1974)."""


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("name", RATES)
def test_intended_gaps_are_those_of_a_poisson_process(name: str, seed: int) -> None:
    segments = RATES[name]
    starts = np.array(whole(PhasedRate(segments, seed)), dtype=np.int64)
    expected = float(sum(part.mass for part in segments))
    assert abs(len(starts) - expected) < 4 * expected**0.5
    gaps = np.diff(mass_until(segments, starts), prepend=0.0)
    assert anderson_darling(np.maximum(gaps, 1e-12)) < CRITICAL_1_PERCENT


def test_the_statistic_tells_regular_gaps_from_exponential_ones() -> None:
    schedule = PhasedRate((segment("regular", 20, 500),), 1)
    gaps = np.diff(np.array(whole(schedule))) / NS_PER_S * 500
    assert anderson_darling(gaps) > 1000


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
    with pytest.raises(ValueError, match="longer than nothing"):
        PhasedRate((segment("regular", 0, 5),), 1)
    with pytest.raises(ValueError, match="not negative"):
        PhasedRate((segment("regular", 1, -5, 10),), 1)
    for wrong in (segment("regular", 1, 0), segment("silent", 1, 3)):
        with pytest.raises(ValueError, match="unless it is silent"):
            PhasedRate((wrong,), 1)
