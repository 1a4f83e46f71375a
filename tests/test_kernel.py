"""What is asked of the operating system."""

from __future__ import annotations

import os
import select
import threading

from loadgen import clock
from loadgen.kernel import AlarmClock, prefer_latency, prefer_throughput


def test_short_slices_change_neither_policy_nor_niceness() -> None:
    seen: list[tuple[int, int]] = []

    def ask() -> None:  # on a thread of its own: the wish holds for the thread that asks
        prefer_latency()
        seen.append((os.sched_getscheduler(0), os.nice(0)))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert seen == [(os.SCHED_OTHER, os.nice(0))]


def test_work_in_bulk_is_marked_as_such_on_its_own_thread_only() -> None:
    seen: list[tuple[int, int]] = []

    def ask() -> None:
        prefer_throughput()
        seen.append((os.sched_getscheduler(0), os.nice(0)))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    assert seen == [(os.SCHED_BATCH, os.nice(0))]
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_an_alarm_rings_at_its_instant_and_not_before() -> None:
    alarm = AlarmClock()
    try:
        at_ns = clock.monotonic_ns() + 3 * clock.NS_PER_MS
        alarm.set(at_ns)
        assert select.select([alarm], [], [], 5)[0] == [alarm]
        assert clock.monotonic_ns() >= at_ns
        alarm.silence()
        assert select.select([alarm], [], [], 0)[0] == []
    finally:
        alarm.close()


def test_an_instant_that_is_past_rings_at_once() -> None:
    alarm = AlarmClock()
    try:
        alarm.set(1)
        assert select.select([alarm], [], [], 5)[0] == [alarm]
    finally:
        alarm.close()
