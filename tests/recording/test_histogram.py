"""The layout against ``hdrh`` itself, percentiles, intervals and merging."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st

from loadgen.recording.histogram import (
    HALF_COUNT,
    HIGHEST_NS,
    LENGTH,
    Histogram,
    bucket_indexes,
    confidence_ranks,
    exact_fraction,
    highest_equivalent_ns,
    lowest_equivalent_ns,
    samples_needed,
)

durations = st.one_of(
    st.integers(0, HIGHEST_NS),
    st.integers(0, 5_000),
    st.integers(0, 41).flatmap(lambda bits: st.integers(max(0, (1 << bits) - 2), (1 << bits) + 2)),
)


def reference(values: list[int]) -> HdrHistogram:
    histogram = HdrHistogram(1, HIGHEST_NS, 3)
    for value in values:
        assert histogram.record_value(value)
    return histogram


def test_layout_is_that_of_hdrh() -> None:
    assert HdrHistogram(1, HIGHEST_NS, 3).counts_len == LENGTH


@settings(deadline=None)
@given(st.lists(durations, min_size=1, max_size=50))
def test_counts_are_those_of_hdrh(values: list[int]) -> None:
    expected = np.frombuffer(reference(values).counts, dtype=np.int64)
    dense = np.zeros(LENGTH, dtype=np.int64)
    histogram = Histogram.of_values(values)
    dense[histogram.indexes] = histogram.counts
    assert np.array_equal(dense, expected)


@settings(deadline=None)
@given(durations)
def test_range_of_a_bucket_is_that_of_hdrh(value: int) -> None:
    index = bucket_indexes(np.array([value]))
    layout = HdrHistogram(1, HIGHEST_NS, 3)
    assert index[0] == layout.get_counts_array_index(value)
    assert lowest_equivalent_ns(index)[0] == layout.get_lowest_equivalent_value(value)
    assert highest_equivalent_ns(index)[0] == layout.get_highest_equivalent_value(value)


def test_buckets_join_without_gap_or_overlap() -> None:
    indexes = np.arange(LENGTH)
    lowest, highest = lowest_equivalent_ns(indexes), highest_equivalent_ns(indexes)
    assert lowest[0] == 0
    assert np.array_equal(highest[:-1] + 1, lowest[1:])
    assert highest[-1] > HIGHEST_NS
    inside = indexes[highest <= HIGHEST_NS]
    assert np.array_equal(bucket_indexes(lowest[inside]), inside)
    assert np.array_equal(bucket_indexes(highest[inside]), inside)


def test_resolution_is_three_digits() -> None:
    indexes = np.arange(HALF_COUNT, LENGTH)
    lowest, highest = lowest_equivalent_ns(indexes), highest_equivalent_ns(indexes)
    assert ((highest - lowest) / lowest).max() < 1e-3


@settings(max_examples=25, deadline=None)
@given(st.lists(durations, min_size=20, max_size=60))
def test_percentiles_are_those_of_hdrh(values: list[int]) -> None:
    """At ranks that are whole numbers; elsewhere hdrh rounds the rank where HdrHistogram takes the next one."""
    count = len(values) - len(values) % 20
    histogram, expected = Histogram.of_values(values[:count]), reference(values[:count])
    for percent in (5, 25, 50, 75, 90, 95, 100):
        assert histogram.quantile_ns(percent / 100) == expected.get_value_at_percentile(percent)


def test_percentile_takes_the_rank_above() -> None:
    histogram = Histogram.of_values(range(1, 102))
    assert histogram.quantile_ns(0.5) == 51  # ⌈50.5⌉
    assert histogram.quantile_ns(0.99) == 100  # ⌈99.99⌉
    assert histogram.quantile_ns(1) == 101
    assert histogram.quantile_ns(0.001) == 1


def test_rank_of_a_decimal_is_exact() -> None:
    """0.07 · 100 is 7.000000000000001 in binary; the rank is 7 all the same."""
    assert 0.07 * 100 > 7
    assert Histogram.of_values(range(1, 101)).quantile_ns(0.07) == 7


@pytest.mark.parametrize("quantile", [0.0, -0.1, 1.5])
def test_quantile_out_of_range_is_refused(quantile: float) -> None:
    with pytest.raises(ValueError, match="quantile"):
        exact_fraction(quantile)


@pytest.mark.parametrize(
    ("quantile", "needed"),
    [(0.5, 20), (0.75, 40), (0.9, 100), (0.95, 200), (0.99, 1_000), (0.999, 10_000), (0.9999, 100_000), (1.0, 1)],
)
def test_percentile_needs_ten_samples_in_the_tail(quantile: float, needed: int) -> None:
    assert samples_needed(quantile) == needed
    enough = Histogram.of_counts(np.array([5]), np.array([needed]))
    assert enough.percentile_ns(quantile) == 5
    assert enough.percentile_ci_ns(quantile) == (5, 5)
    short = Histogram.of_counts(np.array([5]), np.array([needed - 1])) if needed > 1 else Histogram.empty()
    assert short.percentile_ns(quantile) is None
    assert short.percentile_ci_ns(quantile) is None


def test_empty_histogram_has_no_numbers() -> None:
    empty = Histogram.of_values([])
    assert empty == Histogram.empty() == Histogram.merge([])
    assert (empty.count, empty.min_ns, empty.max_ns, empty.mean_ns) == (0, None, None, None)
    assert empty.quantile_ns(0.5) is None


def test_sum_minimum_and_maximum_are_exact() -> None:
    values = [1_000_003, 7, 123_456_789_012]
    histogram = Histogram.of_values(values)
    assert (histogram.sum_ns, histogram.min_ns, histogram.max_ns) == (sum(values), 7, 123_456_789_012)
    assert histogram.mean_ns == sum(values) / 3


def test_values_above_an_hour_are_clamped_and_counted() -> None:
    histogram = Histogram.of_values([HIGHEST_NS, HIGHEST_NS + 1, 3 * HIGHEST_NS])
    assert histogram.clamped == 2
    assert histogram.indexes.size == 1
    assert histogram.max_ns == 3 * HIGHEST_NS


def test_negative_value_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        Histogram.of_values([3, -1])


def test_from_counts_answers_like_hdrh() -> None:
    values = np.random.default_rng(5).lognormal(15, 1, 500).astype(np.int64).tolist()
    exact, expected = Histogram.of_values(values), reference(values)
    read = Histogram.of_counts(exact.indexes, exact.counts)
    assert read.mean_ns == pytest.approx(expected.get_mean_value())
    assert (read.min_ns, read.max_ns) == (expected.get_min_value(), expected.get_max_value())
    assert read.mean_ns == pytest.approx(exact.mean_ns, rel=1e-3)


def test_sum_of_many_long_values_does_not_overflow() -> None:
    index = bucket_indexes(np.array([HIGHEST_NS]))
    histogram = Histogram.of_counts(index, np.array([10_000_000]))
    assert histogram.sum_ns == pytest.approx(HIGHEST_NS * 10_000_000, rel=1e-3)


@settings(deadline=None)
@given(st.lists(durations, min_size=1, max_size=60), st.sampled_from([1, 2, 3, 7]))
def test_dealing_and_merging_changes_nothing(values: list[int], hands: int) -> None:
    dealt = [Histogram.of_values(values[hand::hands]) for hand in range(hands)]
    assert Histogram.merge(dealt) == Histogram.of_values(values)


def test_histograms_differ_by_content() -> None:
    assert Histogram.of_values([1, 2]) != Histogram.of_values([1, 3])
    assert Histogram.of_values([1, 2]) != Histogram.of_values([1, 2, 2])
    assert Histogram.of_values([4096]) != Histogram.of_values([4097])  # one bucket, another sum
    assert Histogram.of_values([1]) != [1]


def binomial(count: int, q: float) -> list[float]:
    """P(B ≤ k) for k = 0 … count, the slow way."""
    mass = [math.comb(count, k) * q**k * (1 - q) ** (count - k) for k in range(count + 1)]
    return np.cumsum(mass).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(("count", "q"), [(20, 0.5), (40, 0.75), (100, 0.9), (200, 0.95), (333, 0.5)])
def test_confidence_ranks_are_the_tightest_of_the_binomial(count: int, q: float) -> None:
    low, high = confidence_ranks(count, q)
    below = [0.0, *binomial(count, q)]  # below[k] = P(B < k)
    assert below[low] <= 0.025 < below[low + 1]
    assert below[high] >= 0.975 > below[high - 1]
    assert below[high] - below[low] >= 0.95


def test_confidence_ranks_of_many_samples_approach_the_normal() -> None:
    count, q = 2_000_000, 0.99
    low, high = confidence_ranks(count, q)
    spread = 1.959964 * math.sqrt(count * q * (1 - q))
    assert low == pytest.approx(count * q - spread, abs=2)
    assert high == pytest.approx(count * q + spread, abs=2)


def test_confidence_ranks_stay_within_the_samples() -> None:
    assert confidence_ranks(1, 0.5) == (1, 1)
    assert confidence_ranks(0, 0.5) == (1, 1)
    assert confidence_ranks(9, 1.0) == (9, 9)
    assert confidence_ranks(10, 0.99)[1] == 10


def test_confidence_interval_covers_the_truth_as_often_as_it_says() -> None:
    """The median of an exponential distribution, 400 samples of 300: ln 2 lies inside in 95 % of them."""
    rng = np.random.default_rng(11)
    truth = math.log(2) * 1_000_000
    covered = 0
    for _ in range(400):
        values = rng.exponential(1_000_000, 300).astype(np.int64)
        interval = Histogram.of_values(values).percentile_ci_ns(0.5)
        assert interval is not None
        covered += interval[0] <= truth <= interval[1]
    assert 0.93 <= covered / 400 <= 0.99


def test_repr_says_what_it_is() -> None:
    assert repr(Histogram.of_values([5, 7])) == "Histogram(count=2, min_ns=5, max_ns=7)"
