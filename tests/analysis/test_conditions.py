"""The text of ``--fail-if``."""

from __future__ import annotations

import pytest

from loadgen.analysis.conditions import parse_condition
from loadgen.analysis.thresholds import ThresholdError

METRICS = ("handshake p50", "handshake p99", "key p99.9", "completed rate")


@pytest.mark.parametrize(
    ("text", "metric", "limit"),
    [
        ("handshake p99 +10%", "handshake p99", 0.1),
        (" handshake  p99+2.5 % ", "handshake p99", 0.025),
        ("completed rate -5%", "completed rate", -0.05),
        ("completed rate −5%", "completed rate", -0.05),
        ("key p99.9 +3%", "key p99.9", 0.03),
        ("Slower", "", 0.0),
    ],
)
def test_conditions(text: str, metric: str, limit: float) -> None:
    found = parse_condition(text, METRICS)
    assert found.metric == metric
    assert found.limit == pytest.approx(limit)


def test_limit_is_reached_from_its_own_side() -> None:
    rise, fall = parse_condition("handshake p99 +10%", METRICS), parse_condition("completed rate -5%", METRICS)
    assert [rise.reached(change) for change in (0.09, 0.1, 0.2, -0.2)] == [False, True, True, False]
    assert [fall.reached(change) for change in (-0.04, -0.05, -0.2, 0.2)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("text", "position", "problem", "remedy"),
    [
        ("handshak p99 +10%", 0, "no metric", '"handshake p99"'),
        ("p(99) of handshake +10%", 0, "no metric", 'Did you mean "handshake p99"?'),
        ("handshake p99 10%", 14, "direction", "handshake p99 +10%"),
        ("handshake p99", 13, "change is missing", "handshake p99 +10%"),
        ("handshake p99 +10", 14, "change is missing", "handshake p99 +10%"),
        ("handshake p99 +0%", 15, "0 %", "handshake p99 +10%"),
        ("+10%", 0, "metric is missing", "handshake p99"),
        ("", 0, "change is missing", "handshake p99 +10%"),
    ],
)
def test_mistakes(text: str, position: int, problem: str, remedy: str) -> None:
    with pytest.raises(ThresholdError) as caught:
        parse_condition(text, METRICS)
    assert caught.value.position == position
    assert problem in caught.value.problem
    assert remedy in caught.value.remedy
