"""What is known of a threshold before its run begins."""

from __future__ import annotations

import pytest

from loadgen.analysis.foresight import Prospect, hopeless, starts_at_most
from loadgen.analysis.thresholds import parse_threshold


def reason(text: str, *, offered: bool = True, duration_s: float | None = 10.0, most: int | None = 1000) -> str:
    run = Prospect(offered=offered, duration_s=duration_s, most_starts=most)
    return hopeless(parse_threshold(text), run)


@pytest.mark.parametrize(
    ("text", "most", "why"),
    [
        ("p(99) of key < 1s", 999, "p99 takes 1,000 samples, and a run makes 999 at most"),
        ("p(99.9) of key[p1@0.7.0] < 1s", 1000, "p99.9 takes 10,000 samples, and a run makes 1,000 at most"),
        ("rate of failures < 0.1%", 999, "a rate of 0.1 % takes 1,000 handshakes to be seen, and a run makes 999"),
        ("p(50) of key < 1s over 2s windows", 99, "p50 takes 20 samples, and a window makes 19 at most"),
        ("p(50) of key < 1s over 11s windows", 1000, "a run of 10 s has no full window of 11 s"),
    ],
)
def test_too_small_a_run_is_known_beforehand(text: str, most: int, why: str) -> None:
    assert reason(text, most=most).startswith(why)


@pytest.mark.parametrize(
    ("text", "most"),
    [
        ("p(99) of key < 1s", 1000),
        ("p(50) of key < 1s over 2s windows", 100),
        ("rate of failures < 0.1%", 1000),
        ("rate of failures == 0", 1),
        ("rate of failures > 0.1%", 1),  # a cloud that is to fail is seen to by any failure
        ("max of key < 1s", 1),
        ("p(100) of key < 1s", 1),
        ("p(99.9) of key < 1s", None),
        ("achieved rate >= 95%", 1),
    ],
)
def test_what_may_be_decided_is_not_spoken_of(text: str, most: int | None) -> None:
    assert reason(text, most=most) == ""


def test_without_an_offered_rate_none_can_be_reached() -> None:
    assert reason("achieved rate >= 95%", offered=False, most=None) == "no rate is offered, as in a closed loop"


def test_windows_of_a_run_that_a_count_ends_are_not_counted() -> None:
    assert reason("p(50) of key < 1s over 1m windows", duration_s=None, most=20) == ""


def test_the_bound_of_a_constant_rate_is_its_number_of_starts() -> None:
    assert [starts_at_most(100.0, 10.0), starts_at_most(0.5, 3.0)] == [1000, 2]
