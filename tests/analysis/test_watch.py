"""Thresholds while a run goes on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from loadgen.analysis.gates import GateResult
from loadgen.analysis.thresholds import parse_threshold
from loadgen.analysis.watch import RunWatch
from loadgen.recording.record import SecondFacts
from loadgen.recording.recorder import Recorder
from loadgen.store import interval_line
from tests.recording.made import BASE_NS, FIRMWARES, failure_rows, handshake_rows


def seconds(failures: int = 0) -> Iterator[tuple[object, object]]:
    """Ten seconds of 120 handshakes each, half of them of either firmware, and then some failures."""
    recorder = Recorder(FIRMWARES, BASE_NS)
    recorder.add_rows(handshake_rows(1, 1_200, seconds=10.0, firmwares=2))
    recorder.add_failures(failure_rows(2, failures, seconds=10.0, firmwares=2))
    for interval in recorder.take_until(10):
        ended = sum(interval.completed.values()) + sum(interval.failures.values())
        yield interval, interval_line(interval, SecondFacts(intended=ended, started=ended), 0)


def watch(*texts: str, delay_s: float = 0.0, failures: int = 0) -> list[tuple[int, GateResult]]:
    """Seconds elapsed at each broken threshold, and the threshold."""
    watching = RunWatch(
        [parse_threshold(text) for text in texts], delay_s=delay_s, firmwares=FIRMWARES, offered_per_s=120.0
    )
    found = [watching.second(interval, line) for interval, line in seconds(failures)]  # type: ignore[arg-type]
    return [(elapsed, result) for elapsed, result in enumerate(found, start=1) if result is not None]


def test_nothing_is_broken_by_a_good_run() -> None:
    assert watch("p(50) of handshake < 1s", "rate of failures < 10%", "achieved rate > 50%", "max of key < 1s") == []


def test_broken_threshold_is_found_once_there_is_data_and_the_delay_is_over() -> None:
    first = watch("p(95) of handshake[p1@0.7.0] < 1ms")[0]
    assert first[0] == 4  # 200 samples of one firmware
    assert first[1].observed is not None
    assert watch("p(95) of handshake < 1ms", delay_s=6.0)[0][0] == 6


def test_what_more_time_may_mend_is_passed_over() -> None:
    assert watch("count of handshake >= 1200", "count of handshake == 1200", "failures[key/closed] > 3") == []


def test_windows_are_judged_when_they_are_full() -> None:
    broken = watch("p(50) of handshake < 1ms over 3s windows")
    assert [elapsed for elapsed, _ in broken] == [3, 6, 9]
    assert broken[1][1].detail == "window 3 s to 6 s"
    assert watch("p(99) of handshake < 1ms over 3s windows") == []  # no data
    assert watch("rate of failures < 1% over 5s windows", failures=60)[0][0] == 5


@pytest.mark.parametrize("text", ["failures[key/closed] == 0", "rate of failures < 0.5%"])
def test_failures_break_a_run(text: str) -> None:
    assert watch(text) == []
    assert watch(text, failures=60)


def test_firmware_that_does_not_run_breaks_nothing() -> None:
    assert watch("p(50) of key[other] < 1ns") == []
