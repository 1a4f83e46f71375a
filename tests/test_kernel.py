"""What is asked of the operating system."""

from __future__ import annotations

import os
import resource
import select
import subprocess
import sys
import threading

import pytest

from loadgen import clock
from loadgen.kernel import (
    OWN_DESCRIPTORS,
    AlarmClock,
    descriptor_limit,
    prefer_latency,
    prefer_throughput,
    raise_descriptor_limit,
)


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


def test_open_files_are_raised_to_the_hard_limit() -> None:
    lowered = "import resource as r; r.setrlimit(r.RLIMIT_NOFILE, (100, 300)); "
    raised = "from loadgen.kernel import *; print(descriptor_limit(), raise_descriptor_limit(), "
    seen = "*r.getrlimit(r.RLIMIT_NOFILE))"
    command = [sys.executable, "-c", lowered + raised + seen]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert said.split() == ["300", "300", "300", "300"]
    assert descriptor_limit() > OWN_DESCRIPTORS


def test_without_a_limit_a_process_counts_on_what_linux_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = resource.RLIM_INFINITY
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (endless, endless))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: asked.append(limits))
    assert raise_descriptor_limit() == descriptor_limit() == 1 << 20
    assert asked == [(1 << 20, endless)]


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
