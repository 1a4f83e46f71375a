from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen import units


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("250ms", 250_000_000),
        ("10s", 10_000_000_000),
        ("1m30s", 90_000_000_000),
        ("1m 30s", 90_000_000_000),
        ("1.5s", 1_500_000_000),
        (".5ms", 500_000),
        ("2min", 120_000_000_000),
        ("1h", 3_600_000_000_000),
        ("1d", 86_400_000_000_000),
        ("7us", 7_000),
        ("7µs", 7_000),
        ("7μs", 7_000),
        ("3ns", 3),
        ("0s", 0),
        (" 1 s ", 1_000_000_000),
    ],
)
def test_reads_durations(text: str, ns: int) -> None:
    assert units.parse_duration_ns(text) == ns


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("10", "'10' is no duration without a unit: write for example 250ms, 10s or 1m30s"),
        ("0.5", "'0.5' is no duration without a unit: write for example 250ms, 10s or 1m30s"),
        ("", "'' is no duration: write for example 250ms, 10s or 1m30s"),
        ("s", "'s' is no duration: write for example 250ms, 10s or 1m30s"),
        ("-1s", "'-1s' is no duration: write for example 250ms, 10s or 1m30s"),
        ("1s2", "'1s2' is no duration: write for example 250ms, 10s or 1m30s"),
        ("10sec", "'10sec' has the unknown unit 'sec': write for example 250ms, 10s or 1m30s"),
        ("0.5ns", "'0.5ns' is no whole number of nanoseconds: write for example 250ms, 10s or 1m30s"),
        ("9" * 5000 + "s", f"'{'9' * 40}…' is no duration: write for example 250ms, 10s or 1m30s"),
        ("١s", "'١s' is no duration: write for example 250ms, 10s or 1m30s"),
    ],
)
def test_refuses_what_is_no_duration(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"duration|unit|nanoseconds") as caught:
        units.parse_duration_ns(text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("2000/s", Fraction(2000)),
        ("2000", Fraction(2000)),
        ("2k", Fraction(2000)),
        ("2.5K/s", Fraction(2500)),
        ("1M/s", Fraction(1_000_000)),
        ("120/m", Fraction(2)),
        ("1/min", Fraction(1, 60)),
        ("1 / hour", Fraction(1, 3600)),
        ("0.1/s", Fraction(1, 10)),
    ],
)
def test_reads_rates(text: str, rate: Fraction) -> None:
    assert units.parse_rate(text) == rate


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("0", "a rate must be greater than 0, not '0': write for example 2000/s, 2.5k/s or 120/m"),
        ("0.0/s", "a rate must be greater than 0, not '0.0/s': write for example 2000/s, 2.5k/s or 120/m"),
        ("-5/s", "'-5/s' is no rate: write for example 2000/s, 2.5k/s or 120/m"),
        ("fast", "'fast' is no rate: write for example 2000/s, 2.5k/s or 120/m"),
        (
            "5/fortnight",
            "'5/fortnight' has the unknown unit 'fortnight': write for example 2000/s, 2.5k/s or 120/m",
        ),
        ("1" * 60, f"'{'1' * 40}…' is no rate: write for example 2000/s, 2.5k/s or 120/m"),
    ],
)
def test_refuses_what_is_no_rate(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"rate|unit") as caught:
        units.parse_rate(text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("text", "count"),
    [("500", 500), ("10k", 10_000), ("10K", 10_000), ("1M", 1_000_000), ("1.5k", 1500), ("0", 0)],
)
def test_reads_counts(text: str, count: int) -> None:
    assert units.parse_count(text) == count


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("1.5", "'1.5' is no whole number: write for example 500, 10k or 1M"),
        ("-1", "'-1' is no count: write for example 500, 10k or 1M"),
        ("ten", "'ten' is no count: write for example 500, 10k or 1M"),
        ("10m", "'10m' is no count: write for example 500, 10k or 1M"),
        ("", "'' is no count: write for example 500, 10k or 1M"),
    ],
)
def test_refuses_what_is_no_count(text: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=r"count|whole") as caught:
        units.parse_count(text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (850, "850 ns"),
        (999, "999 ns"),
        (999.6, "1.00 µs"),
        (1_000, "1.00 µs"),
        (12_345, "12.3 µs"),
        (999_499, "999 µs"),
        (999_500, "1.00 ms"),
        (1_500_000, "1.50 ms"),
        (99_960_000, "100 ms"),
        (4_000_000_000, "4.00 s"),
        (3_600_000_000_000, "3,600 s"),
        (-12_345, "-12.3 µs"),
    ],
)
def test_shows_measured_times_with_three_digits(ns: float, text: str) -> None:
    assert units.format_ns(ns) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0, "0/s"),
        (Fraction(2000), "2,000/s"),
        (1999.6, "2,000/s"),
        (Fraction(1234567, 1000), "1,235/s"),
        (12.34, "12.3/s"),
        (Fraction(3, 2), "1.50/s"),
        (Fraction(1, 20), "0.0500/s"),
        (Fraction(5), "5/s"),
    ],
)
def test_shows_rates(rate: Fraction | float, text: str) -> None:
    assert units.format_rate(rate) == text


def test_shows_counts_with_every_digit() -> None:
    assert units.format_count(12345) == "12,345"
    assert [units.format_number_of(count, "worker") for count in (0, 1, 2000)] == [
        "0 workers",
        "1 worker",
        "2,000 workers",
    ]


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (90_000_000_000, "1m30s"),
        (250_000_000, "250ms"),
        (0, "0s"),
        (1_001, "1us1ns"),
        (-5_000_000_000, "-5s"),
    ],
)
def test_shows_durations_as_people_write_them(ns: int, text: str) -> None:
    assert units.format_duration(ns) == text


@given(st.integers(min_value=0, max_value=10**18))
def test_a_shown_duration_reads_back_as_itself(ns: int) -> None:
    assert units.parse_duration_ns(units.format_duration(ns)) == ns
