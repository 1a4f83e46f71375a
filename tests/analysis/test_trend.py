"""Which runs belong to one history, and how a number went."""

from __future__ import annotations

import msgspec
import pytest

from loadgen.analysis.trend import HistoryRow, asked_otherwise, history_of, row_of
from tests.analysis.runs import run


def row(index: int, value: float, *, problem: str = "", **facts: str) -> HistoryRow:
    """A run whose p99 of `handshake` is ``value``."""
    values = run({"handshake p99": value}, index)
    changed = msgspec.structs.replace(values, problem=problem, facts=values.facts | facts)
    return row_of(f"run-{index}", "complete", changed)


def test_a_row_knows_its_scenario_and_machine() -> None:
    first = row(1, 1.0)
    other = row_of("other", "complete", run({"x": 1.0}, 0, **{"machine: processor": "Another"}))
    assert (first.scenario, first.processor) == ("quick", "A processor")
    assert first.machine != other.machine


def test_the_latest_is_held_against_the_median_of_those_before() -> None:
    (trend,) = history_of([row(i, value) for i, value in enumerate([100, 104, 90, 110])], ["handshake p99"], 4).trends
    assert trend.points == (100, 104, 90, 110)
    assert trend.usual == 100
    assert trend.change == pytest.approx(0.1)


def test_one_run_has_nothing_to_be_held_against() -> None:
    (trend,) = history_of([row(1, 5.0)], ["handshake p99"], 1).trends
    assert (trend.usual, trend.change) == (None, None)


def test_from_nothing_there_is_no_share() -> None:
    (trend,) = history_of([row(1, 0.0), row(2, 5.0)], ["handshake p99"], 2).trends
    assert (trend.usual, trend.change) == (0.0, None)


def test_a_run_that_may_not_be_believed_does_not_count() -> None:
    history = history_of([row(1, 5.0), row(2, 50.0, problem="the run is invalid")], ["handshake p99"], 2)
    assert history.notes == ("", "the run is invalid")
    assert history.trends[0].points == (5.0,)


def test_a_run_that_asked_otherwise_does_not_count() -> None:
    old = row(1, 9.0, **{"scenario rate_per_s": "1000", "crypto backend": "openssl"})
    new = row(2, 5.0, **{"scenario rate_per_s": "2000", "crypto backend": "openssl"})
    history = history_of([old, new], ["handshake p99"], 2)
    assert history.notes == ("rate_per_s 1000", "")
    assert history.trends[0].points == (5.0,)


def test_the_newest_run_that_may_be_believed_says_what_is_asked() -> None:
    rows = [row(1, 9.0, target="mock"), row(2, 5.0, target="10.0.0.1:5683", problem="the run is invalid")]
    assert history_of(rows, ["handshake p99"], 2).notes == ("", "the run is invalid")


def test_runs_that_nobody_believes_have_no_trend() -> None:
    history = history_of([row(1, 9.0, problem="the run is invalid")], ["handshake p99"], 1)
    assert history.trends == ()


def test_versions_may_differ() -> None:
    assert asked_otherwise({"loadgen": "1", "python": "3.11", "kernel": "6"}, {"loadgen": "2", "python": "3.13"}) == []


def test_a_metric_that_no_run_has_is_left_out() -> None:
    assert history_of([row(1, 9.0)], ["key p50", "handshake p99"], 1).trends[0].metric == "handshake p99"
