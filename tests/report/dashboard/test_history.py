"""What is kept of a run: bounded, and nothing of it lost but when exactly it was."""

from __future__ import annotations

import pytest

from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram
from loadgen.report import overtime
from loadgen.report.dashboard.history import History, together
from loadgen.report.overtime import MOST_COLUMNS, MOST_POINTS
from loadgen.report.plots import Resolution, RunData
from tests.report.samples import good_record
from tests.report.test_plots import GATES, line

HANDSHAKE = (Stage.HANDSHAKE, None)


def history_of(seconds: int) -> History:
    """One handshake a second, that takes as many ms as the second is old."""
    history = History()
    for second in range(seconds):
        histogram = Histogram.of_values([(second + 1) * 1_000_000])
        history.add(line(second, completed=1, kinds={"closed": 1}), {HANDSHAKE: histogram})
    return history


@pytest.mark.parametrize("seconds", [1, MOST_COLUMNS, MOST_COLUMNS + 1, MOST_POINTS, MOST_POINTS + 1, 5_000])
def test_however_long_a_run_its_history_is_short_and_whole(seconds: int) -> None:
    history = history_of(seconds)
    assert len(history.lines) <= MOST_POINTS
    assert len(history.columns) <= MOST_COLUMNS
    assert history.end_s == seconds
    assert sum(kept.completed for kept in history.lines) == seconds
    assert sum(kept.failures[0].count for kept in history.lines) == seconds
    assert max(kept.in_flight for kept in history.lines) == seconds - 1
    assert sum(found.count for found in history.columns.values()) == seconds
    total = history.total(Stage.HANDSHAKE)
    assert (total.count, total.min_ns, total.max_ns) == (seconds, 1_000_000, seconds * 1_000_000)
    assert total == Histogram.merge(history.columns.values())
    assert not history.total(Stage.KEY).count


def test_lines_stand_for_powers_of_two_seconds() -> None:
    history = history_of(MOST_POINTS + 1)
    assert history.resolution == Resolution(MOST_POINTS + 1, 2, 8)
    assert [kept.second for kept in history.lines[:3]] == [0, 2, 4]
    assert history.lines[-1].completed == 1, "the last one is not full yet"
    assert list(history.columns)[:3] == [0, 8, 16]


def test_two_lines_as_one() -> None:
    first = line(4, completed=10, kinds={"closed": 2, "reset": 1})
    second = line(5, completed=20, kinds={"closed": 5})
    both = together(first, second)
    assert (both.second, both.completed, both.failed, both.in_flight) == (4, 30, 8, 5)
    assert {tally.reason: tally.count for tally in both.failures} == {"closed": 7, "reset": 1}
    assert both.worker_cpu_s == [1.0, 0.5]


def test_plots_of_a_history_are_those_of_the_log_where_nothing_was_put_together() -> None:
    history = history_of(30)
    lines = [line(second, completed=1, kinds={"closed": 1}) for second in range(30)]
    logged = RunData(good_record(), "", GATES, seconds={HANDSHAKE: history.columns}, intervals=lines)
    kept = RunData(
        good_record(), "", GATES, seconds={HANDSHAKE: history.columns}, intervals=history.lines,
        resolution=history.resolution,
    )  # fmt: skip
    assert overtime.over_time(logged) == overtime.over_time(kept)
    assert overtime.heat_map(logged) == overtime.heat_map(kept)


def test_rates_of_what_was_put_together_are_per_second() -> None:
    history = history_of(MOST_POINTS + 1)
    run = RunData(good_record(), "", GATES, intervals=history.lines, resolution=history.resolution)
    rates = overtime.over_time(run)[0]
    completed = next(found["points"] for found in rates.data["lines"] if found["name"] == "completed")
    assert {value for _, value in completed} == {1.0}
    assert rates.data["width"] == 2
    assert len(rates.table.rows) <= overtime.MOST_ROWS
