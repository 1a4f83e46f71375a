"""One run on a fake pool: seconds, counts, interruptions, and everything that goes wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from loadgen.cli.session import DRAIN_NS, Clocks, RunSession, TraceLike
from loadgen.cli.snapshots import Standing
from loadgen.clock import NS_PER_S
from loadgen.engine.arrival import Segment
from loadgen.engine.draws import Distribution
from loadgen.engine.plan import FirmwarePlan, LoadPlan
from loadgen.errors import LocalResourceError
from loadgen.mockcloud.delays import Stall
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.recording.record import RunRecord
from loadgen.recording.rows import FLAG_ONLINE
from loadgen.report.metrics import Snapshot
from tests.cli.fakes import BEGIN_NS, FakeClock, FakeCloud, FakePool, FakeView, FakeWriter, failure, open_plan
from tests.report.samples import good_record


@dataclass
class Run:
    """A session and everything around it."""

    session: RunSession
    pool: FakePool
    writer: FakeWriter
    view: FakeView

    def go(self) -> RunRecord:
        """Run it."""
        return self.session.run()


def make(
    plan: LoadPlan | None = None,
    *,
    fails_at: int | None = None,
    cloud: bool = False,
    publish: Callable[[Standing], None] | None = None,
    trace: TraceLike | None = None,
    **pool: Any,
) -> Run:
    clock = FakeClock()
    fake_pool = FakePool(clock, **pool)
    writer, view = FakeWriter(fails_at), FakeView()
    record = good_record()
    record.status = "running"
    session = RunSession(
        plan or open_plan(),
        record,
        fake_pool,
        lambda _record: writer,
        view,
        cloud=FakeCloud(clock) if cloud else None,
        clocks=Clocks(clock.monotonic_ns, clock.wall_ns, clock.process_cpu_ns),
        cores=2,
        publish=publish,
        trace=trace,
    )
    return Run(session, fake_pool, writer, view)


def test_a_run_from_begin_to_end() -> None:
    run = make()
    record = run.go()
    assert record.status == "complete"
    assert record.duration_s == 2.0
    counts = record.counts
    assert (counts.intended, counts.started, counts.completed, counts.failed) == (200, 200, 200, 0)
    assert (counts.aborted, counts.not_started) == (0, 0)
    assert record.rate.achieved_per_s == 100.0
    assert record.rate.completed_per_s == 100.0
    assert record.stage(Stage.HANDSHAKE).count == 200
    assert record.environment.crypto_backend == "fake"
    assert record.validity.verdict == "valid"
    assert run.writer.finished is record
    assert run.pool.closed
    assert run.view.closed


def test_every_second_is_written_once_with_its_facts() -> None:
    run = make()
    run.go()
    assert [interval.second for interval, _ in run.writer.seconds] == [0, 1]
    assert sum(facts.started for _, facts in run.writer.seconds) == 200
    assert sum(sum(interval.completed.values()) for interval, _ in run.writer.seconds) == 200
    assert run.writer.seconds[0][1].started == 100
    assert run.writer.base_wall_ns == 1_700_000_000 * NS_PER_S + BEGIN_NS


def test_a_warmup_is_shown_and_not_recorded() -> None:
    run = make(open_plan(warmup_ns=1_500_000_000), until_ns=3_500_000_000, warmup_ns=1_500_000_000)
    record = run.go()
    assert record.duration_s == 2.0
    assert record.counts.completed == 200
    phases = [(moment.phase, moment.elapsed_s) for moment in run.view.moments]
    assert phases[:3] == [("warm-up", 1.0), ("warm-up", 1.5), ("running", 2.5)]
    assert [interval.second for interval, _ in run.writer.seconds] == [0, 1]


def test_what_is_shown() -> None:
    run = make()
    run.go()
    first = run.view.moments[0]
    assert (first.elapsed_s, first.rate_per_s, first.share) == (1.0, 100, 0.5)
    assert first.generator_cpu == pytest.approx(0.25)
    assert [stage.stage for stage in first.stages][-2:] == ["handshake", "response"]


def test_what_is_published() -> None:
    standings: list[Standing] = []
    seen: list[Snapshot] = []

    def publish(standing: Standing) -> None:
        standings.append(standing)
        seen.append(standing.snapshot())

    run = make(open_plan(warmup_ns=NS_PER_S), publish=publish, until_ns=3 * NS_PER_S, warmup_ns=NS_PER_S)
    record = run.go()
    assert [snapshot.phase for snapshot in seen] == ["warm-up", "running", "running", "running", "complete"]
    assert [snapshot.record.counts.completed for snapshot in seen] == [0, 0, 130, 200, 200]
    assert [snapshot.record.duration_s for snapshot in seen] == [0, 0, 1, 2, 2]
    published = [standing.second for standing in standings if standing.second is not None]
    assert published == run.writer.seconds, "each second that is recorded, once"
    assert all(snapshot.record.validity.verdict == "valid" for snapshot in seen[:-1])
    assert seen[2].record is not record, "a snapshot never changes"
    assert seen[-1].record is record
    assert seen[2].histograms[Stage.KEY, "p1@0.7.0"].count == 130
    cpu = [snapshot.record.generator.cpu_s for snapshot in seen]
    assert cpu == sorted(cpu)
    assert cpu[0] == 0


def test_generator_cpu_counts_this_process_too() -> None:
    generator = make().go().generator
    assert generator.cpu_s == pytest.approx(2.0 * 0.51, rel=0.01)
    # CPU time counts from the first report in the window on, and so do the handshakes that it is divided by.
    assert generator.cpu_us_per_handshake == pytest.approx(generator.cpu_s * 1e6 / 190)
    assert generator.cpu_utilisation == pytest.approx(0.25)
    assert not generator.saturated


def test_the_first_interruption_drains_and_the_second_stops_now() -> None:
    run = make(open_plan(duration_ns=60 * NS_PER_S), until_ns=60 * NS_PER_S, stubborn=True)

    def end() -> None:
        run.session.interrupt()
        run.pool.stubborn = False

    run.pool.events = {12: run.session.interrupt, 15: end}
    record = run.go()
    assert run.pool.stops == [DRAIN_NS, 0]
    assert run.session.interrupted
    assert record.status == "interrupted"
    assert record.duration_s == pytest.approx(1.2, abs=0.11)
    assert record.rate.achieved_per_s == pytest.approx(100, rel=0.1)
    assert run.writer.finished is record


def test_workers_that_never_end_are_left_behind() -> None:
    run = make(open_plan(duration_ns=60 * NS_PER_S), until_ns=60 * NS_PER_S, stubborn=True)
    run.pool.events = {5: run.session.interrupt}
    record = run.go()
    assert record.status == "interrupted"
    assert run.pool.steps < 100
    assert record.workers[0].lost_reason == "worker 0 does not answer"


def test_a_worker_that_says_nothing_any_more_is_given_up_soon_after_the_end() -> None:
    run = make(silent_from=15)
    record = run.go()
    assert run.pool.steps == pytest.approx(15 + 50, abs=3)
    assert run.view.said == ["Lost: worker 0 does not answer. What it had measured counts."]
    assert (record.status, record.validity.verdict, record.duration_s) == ("complete", "invalid", 2.0)
    assert record.counts.completed == 140


def test_a_worker_that_says_nothing_any_more_is_given_up_in_a_run_without_an_end_too() -> None:
    patient = FirmwarePlan(name="p1@0.7.0", timeouts_ns={Stage.KEY: 60 * NS_PER_S})
    plan = open_plan(duration_ns=None, count=1_000, firmwares=(patient,))
    run = make(plan, until_ns=60 * NS_PER_S, silent_from=5)
    assert run.go().validity.verdict == "invalid"
    assert run.pool.steps == pytest.approx(5 + 300, abs=3)


def test_handshakes_that_nothing_ends_are_ended() -> None:
    run = make(stuck=True)
    record = run.go()
    assert run.pool.stops == [0]
    assert run.pool.steps == pytest.approx(20 + 100, abs=3), "without timeouts, so long after the last that has ended"
    assert run.view.said == ["Handshakes in flight do not end by themselves: ending them."]
    assert (record.status, record.duration_s) == ("complete", 2.0)


def test_a_lost_worker_is_reported_invalidates_and_counts() -> None:
    run = make(until_ns=5 * NS_PER_S)
    run.pool.events = {11: run.pool.lose}
    record = run.go()
    assert run.view.said == ["Lost: worker 0 was killed by signal 9. What it had measured counts."]
    assert record.validity.verdict == "invalid"
    assert record.duration_s == pytest.approx(1.1), "with the last worker the window ends"
    assert record.rate.achieved_per_s == pytest.approx(100, rel=0.1)
    assert record.counts.completed == 100
    assert record.workers[0].lost
    assert record.counts.started == record.counts.completed + record.counts.failed + record.counts.aborted


def test_a_full_disk_ends_the_load_and_keeps_what_was_measured() -> None:
    run = make(open_plan(duration_ns=60 * NS_PER_S), until_ns=60 * NS_PER_S, fails_at=1)
    record = run.go()
    assert run.session.failure is not None
    assert run.pool.stops == [DRAIN_NS]
    assert record.status == "interrupted"
    assert record.counts.completed > 100
    assert run.writer.finished is record


class FakeTrace:
    """Keeps what devices have noted; its disk is full after so many chunks."""

    def __init__(self, room: int) -> None:
        self.begin_ns = 0
        self.chunks: list[bytes] = []
        self._room = room

    def begin(self, begin_ns: int) -> None:
        """Keep it."""
        self.begin_ns = begin_ns

    def add(self, moments: bytes) -> None:
        """Keep it while there is room."""
        if len(self.chunks) == self._room:
            raise LocalResourceError("the log of a device cannot be written any more: disk full", where="trace.log")
        self.chunks.append(moments)


def test_what_devices_note_goes_to_their_logs() -> None:
    trace = FakeTrace(room=1_000)
    run = make(trace=trace, moments=b"noted")
    run.go()
    assert trace.begin_ns == BEGIN_NS
    assert trace.chunks == [b"noted"] * run.pool.steps
    assert run.session.trace_failure is None


def test_logs_whose_disk_is_full_end_neither_the_load_nor_the_record() -> None:
    trace = FakeTrace(room=3)
    run = make(trace=trace, moments=b"noted")
    record = run.go()
    assert (record.status, record.counts.completed) == ("complete", 200)
    assert len(trace.chunks) == 3
    assert run.view.said == [
        "trace.log: the log of a device cannot be written any more: disk full. The run goes on without it."
    ]
    assert run.session.trace_failure is not None
    assert run.session.failure is None


def test_a_target_that_refuses_everybody_is_given_up() -> None:
    run = make(
        open_plan(duration_ns=60 * NS_PER_S),
        until_ns=60 * NS_PER_S,
        fails=True,
        failure_of=lambda at: failure(at, Stage.CONNECT, Reason.REFUSED),
    )
    record = run.go()
    assert run.pool.stops == [0]
    assert record.duration_s < 2
    assert record.failures[0].explanation
    assert record.counts.failed == record.counts.started


def test_other_failures_are_counted_to_the_end() -> None:
    record = make(fails=True).go()
    assert record.counts.failed == 200
    assert [(f.stage, f.reason, f.device_code, f.count) for f in record.failures] == [("key", "closed", None, 200)]
    assert record.stage(Stage.FAILED).count == 200


def test_the_mock_cloud_is_watched_and_accounted_for() -> None:
    record = make(cloud=True).go()
    assert record.mock_cloud is not None
    assert record.mock_cloud["cpu_utilisation"] == 1.0
    assert [finding.code for finding in record.validity.findings if finding.level == "invalid"] == ["mock_cloud_cpu"]


def test_a_count_ends_the_window_by_the_schedule() -> None:
    run = make(open_plan(duration_ns=None, count=150), until_ns=1_500_000_000)
    record = run.go()
    assert record.duration_s == 1.5
    assert record.rate.achieved_per_s == 100.0


def test_a_count_in_the_closed_loop_ends_with_the_last_handshake() -> None:
    plan = open_plan(mode="closed", duration_ns=None, count=100, concurrency=10)
    record = make(plan, until_ns=NS_PER_S).go()
    assert record.rate.offered_per_s is None
    assert record.duration_s == pytest.approx(0.997)


def test_a_clock_that_is_set_invalidates() -> None:
    clock = FakeClock()
    pool = FakePool(clock)

    def step() -> None:
        clock.wall_offset_ns -= NS_PER_S

    pool.events = {7: step}
    session = RunSession(
        open_plan(),
        good_record(),
        pool,
        lambda _record: FakeWriter(),
        FakeView(),
        clocks=Clocks(clock.monotonic_ns, clock.wall_ns, clock.process_cpu_ns),
        cores=2,
    )
    assert "clock_step" in {finding.code for finding in session.run().validity.findings}


def test_a_run_that_cannot_begin_closes_its_pool() -> None:
    run = make()

    def fail() -> None:
        raise OSError("no process")

    run.pool.start = fail  # type: ignore[method-assign]
    with pytest.raises(OSError, match="no process"):
        run.go()
    assert run.pool.closed


def test_the_cost_of_a_handshake_counts_those_of_the_warm_up_that_end_in_the_window() -> None:
    run = make()

    def late_ones() -> None:
        run.pool.status.counts.warmup_completed += 100

    run.pool.events = {5: late_ones}
    generator = run.go().generator
    assert generator.cpu_us_per_handshake == pytest.approx(generator.cpu_s * 1e6 / (190 + 100))


def test_what_the_crypto_backend_had_to_say_is_in_the_record() -> None:
    run = make()
    run.pool.status.warnings = ["The native kernel disagrees with OpenSSL and is not used."]
    record = run.go()
    finding = next(found for found in record.validity.findings if found.code == "crypto_backend")
    assert (finding.level, finding.observed) == ("note", 1)
    assert finding.text == "The native kernel disagrees with OpenSSL and is not used."
    assert record.validity.verdict == "valid"


def test_stalls_are_counted_from_the_begin_of_the_schedule() -> None:
    clock = FakeClock()
    cloud = FakeCloud(clock)
    session = RunSession(
        open_plan(),
        good_record(),
        FakePool(clock),
        lambda _record: FakeWriter(),
        FakeView(),
        cloud=cloud,
        stalls=[Stall(2 * NS_PER_S, NS_PER_S)],
        clocks=Clocks(clock.monotonic_ns, clock.wall_ns, clock.process_cpu_ns),
        cores=2,
    )
    session.run()
    assert cloud.stalls == [(BEGIN_NS + 2 * NS_PER_S, NS_PER_S)]


def test_gaps_between_starts_are_judged_against_the_schedule() -> None:
    run = make()
    run.pool.status.gaps = np.array([[10, 10]] * 60 + [[10, 90]] * 40).tobytes()
    record = run.go()
    finding = next(found for found in record.validity.findings if found.code == "sent_gaps")
    assert (finding.level, finding.observed) == ("invalid", 0.4)


def test_the_offered_rate_of_phases_is_the_mean_of_what_they_intended() -> None:
    segments = (Segment("regular", 2 * NS_PER_S, (0, 1), (200, 1)),)
    record = make(open_plan(rate=0, segments=segments)).go()
    assert record.rate.offered_per_s == 100.0


def test_a_storm_ends_when_every_device_has_been_online() -> None:
    run = make(open_plan(rate=0, duration_ns=600 * NS_PER_S, storm=Distribution("constant", 0.0)))
    run.pool.status.devices = 30
    run.pool.row_flags = FLAG_ONLINE
    run.pool.until_ns = 600 * NS_PER_S
    record = run.go()
    assert run.pool.stops == [0]
    assert record.status == "complete"
    assert record.storm is not None
    assert (record.storm.devices, record.storm.online) == (30, 30)
    assert record.storm.online_50_s == pytest.approx(0.147)
    assert record.rate.offered_per_s is None
    assert record.duration_s == pytest.approx(0.3)
