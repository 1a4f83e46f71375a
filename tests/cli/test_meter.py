"""Differences of counts and CPU times."""

from __future__ import annotations

import pytest

from loadgen.cli.meter import ClockWatch, Meter
from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.engine.messages import Counts
from loadgen.engine.pool import WorkerStatus
from loadgen.mockcloud.report import CloudStatus, WorkerReport


def worker(index: int, at_s: float, *, cpu_s: float, loop_s: float = 0.0, crypto_s: float = 0.0) -> WorkerStatus:
    return WorkerStatus(
        index,
        at_ns=int(at_s * NS_PER_S),
        cpu_ns=int(cpu_s * NS_PER_S),
        loop_cpu_ns=int(loop_s * NS_PER_S),
        crypto_cpu_ns=int(crypto_s * NS_PER_S),
    )


def test_utilisation_is_that_of_the_busiest_thread_or_of_all_cores() -> None:
    meter = Meter(cores=4)
    meter.begin(0, [worker(0, 10, cpu_s=5), worker(1, 10, cpu_s=5)], None)
    meter.second(
        NS_PER_S, Counts(), [worker(0, 11, cpu_s=5.9, loop_s=0.8, crypto_s=0.1), worker(1, 11, cpu_s=5.5)], None
    )
    assert meter.generator_cpu == [pytest.approx(0.8)]
    meter.second(2 * NS_PER_S, Counts(), [worker(0, 12, cpu_s=7.9, loop_s=1.0), worker(1, 12, cpu_s=7.1)], None)
    assert meter.generator_cpu[1] == pytest.approx((2.0 + 1.6) / 4)


def test_each_worker_is_measured_by_its_own_time() -> None:
    meter = Meter(cores=1)
    meter.begin(0, [worker(0, 10, cpu_s=0)], None)
    facts = meter.second(NS_PER_S, Counts(), [worker(0, 10.8, cpu_s=0.4)], None)
    assert meter.generator_cpu == [pytest.approx(0.5)]
    assert facts.worker_cpu_s == [pytest.approx(0.4)]


def test_counts_become_differences() -> None:
    meter = Meter(cores=1)
    meter.second(1, Counts(intended=10, started=8, in_flight=3), [], None)
    facts = meter.second(2, Counts(intended=30, started=25, aborted=2, in_flight=5), [], None)
    assert (facts.intended, facts.started, facts.aborted, facts.in_flight, facts.waiting) == (20, 17, 2, 5, 5)
    assert meter.max_in_flight == 5


def test_the_drain_does_not_dilute() -> None:
    meter = Meter(cores=1)
    meter.second(NS_PER_S, Counts(), [worker(0, 1, cpu_s=1)], None, under_load=False)
    assert meter.generator_cpu == []


def test_the_mock_clouds_busiest_process() -> None:
    def status(*cpu_s: float) -> CloudStatus:
        reports = [WorkerReport(pid=pid, cpu_ns=int(value * NS_PER_S)) for pid, value in enumerate(cpu_s)]
        return CloudStatus(workers=reports, lost=[])

    meter = Meter(cores=1)
    meter.begin(0, [], status(1.0, 1.0))
    facts = meter.second(NS_PER_S, Counts(), [], status(1.2, 1.7))
    assert meter.mock_cloud_cpu == [pytest.approx(0.7)]
    assert facts.mock_cloud_cpu_s == [pytest.approx(0.2), pytest.approx(0.7)]
    meter.second(2 * NS_PER_S, Counts(), [], status(1.2, 2.9))
    assert meter.mock_cloud_cpu[1] == 1.0


def test_a_step_of_the_wall_clock_is_noticed() -> None:
    watch = ClockWatch()
    watch.look(0, 1_000, 0)
    watch.look(NS_PER_S, NS_PER_S + 1_000, NS_PER_S)
    assert watch.largest_step_ns == 0
    watch.look(2 * NS_PER_S, NS_PER_S, 2 * NS_PER_S)
    watch.look(3 * NS_PER_S, 2 * NS_PER_S, 3 * NS_PER_S)
    assert watch.largest_step_ns == -NS_PER_S - 1_000


def test_a_look_that_was_held_up_says_nothing() -> None:
    watch = ClockWatch()
    watch.look(0, 0, 0)
    watch.look(0, 50 * NS_PER_MS, 50 * NS_PER_MS)
    assert watch.largest_step_ns == 0
