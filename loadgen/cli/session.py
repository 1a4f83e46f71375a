"""One run from its begin to its finished record. Knows no options and no terminal, so that it runs on fakes too.

The parent's loop: take what the workers have measured, close a second a little after its end, write it, show it.
An interruption, a full disk or a target that refuses everybody stops the load early; whatever had been measured is
in the record all the same.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from loadgen import clock
from loadgen.cli.calibration import CalibrationWatch
from loadgen.cli.medians import WorkerMedians
from loadgen.cli.meter import ClockWatch, Meter
from loadgen.cli.moments import failures_moment, stage_moments, step_of
from loadgen.cli.result import Measured, fill_in
from loadgen.cli.snapshots import Standing, record_so_far
from loadgen.cli.storm import StormWatch
from loadgen.cli.watchdog import Watchdog
from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.engine.arrival import ConstantRate
from loadgen.engine.messages import Counts
from loadgen.engine.plan import DRAIN_ON_STOP_NS, LoadPlan
from loadgen.engine.pool import PoolUpdate, WorkerStatus
from loadgen.errors import LocalResourceError
from loadgen.mockcloud.delays import Stall
from loadgen.mockcloud.report import CloudReport, CloudStatus
from loadgen.mockcloud.timings import Timings
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Point, Stage
from loadgen.recording.record import RunRecord, SecondFacts
from loadgen.recording.recorder import Interval, Recorder
from loadgen.recording.rows import failures_from_bytes, rows_from_bytes
from loadgen.report.live import LiveView, Moment
from loadgen.report.summary import announcement

DRAIN_NS: Final = DRAIN_ON_STOP_NS
"""What the first interruption leaves to the handshakes in flight."""

_POLL_S: Final = 0.1
_LAG_NS: Final = 300 * NS_PER_MS
"""A second is closed so long after its end: workers report about ten times a second."""
_GIVE_UP_NS: Final = 2 * NS_PER_S
"""Workers that have not ended so long after they should have are left behind."""


class PoolLike(Protocol):
    """The part of :class:`loadgen.engine.pool.Pool` that a session uses."""

    def start(self) -> None: ...
    def begin(self) -> int: ...
    def poll(self, timeout_s: float) -> PoolUpdate: ...
    def stop(self, drain_ns: int = DRAIN_NS) -> None: ...
    def give_up(self, index: int) -> None: ...
    def close(self) -> None: ...
    @property
    def workers(self) -> list[WorkerStatus]: ...
    @property
    def counts(self) -> Counts: ...
    @property
    def finished(self) -> bool: ...
    @property
    def lost(self) -> list[WorkerStatus]: ...


class CloudLike(Protocol):
    """The part of :class:`loadgen.mockcloud.MockCloud` that a session uses."""

    timings: Timings

    def poll(self) -> CloudStatus: ...
    def stall(self, at_ns: int, for_ns: int) -> None: ...
    def stop(self) -> CloudReport: ...


class GateLike(Protocol):
    """The part of :class:`loadgen.cli.thresholds.RunGate` that a session uses."""

    def second(self, interval: Interval, facts: SecondFacts) -> str | None: ...
    def judge(self, record: RunRecord) -> None: ...


class TraceLike(Protocol):
    """The part of :class:`loadgen.cli.trace_log.TraceLog` that a session uses."""

    def begin(self, begin_ns: int) -> None: ...
    def add(self, moments: bytes) -> None: ...


class WriterLike(Protocol):
    """The part of :class:`loadgen.store.RunWriter` that a session uses."""

    def begin(self, base_wall_ns: int) -> None: ...
    def append(self, interval: Interval, facts: SecondFacts) -> None: ...
    def finish(self, record: RunRecord) -> bool: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Clocks:
    """The two clocks of a session; a test brings its own."""

    monotonic_ns: Callable[[], int] = clock.monotonic_ns
    wall_ns: Callable[[], int] = clock.wall_ns
    process_cpu_ns: Callable[[], int] = clock.process_cpu_ns


class RunSession:
    """One run.

    Args:
        plan: what the workers do.
        record: the record as far as it is known before the run; filled in here.
        pool: the workers, not yet started.
        open_writer: makes the record's writer once the workers are ready.
        view: where progress goes.
        cloud: the run's own mock cloud, started, or None.
        calibrate: hold what was measured against that cloud's notes, which it has been told to take.
        stalls: when that cloud stops answering, counted from the begin of the schedule.
        gate: the run's thresholds.
        trace: writes the logs of chosen devices.
        publish: takes how the run stands, after each second and at its end; must not wait for anybody.
        clocks: the clocks.
        cores: cores that this program may use.
    """

    def __init__(
        self,
        plan: LoadPlan,
        record: RunRecord,
        pool: PoolLike,
        open_writer: Callable[[RunRecord], WriterLike],
        view: LiveView,
        *,
        cloud: CloudLike | None = None,
        stalls: Sequence[Stall] = (),
        calibrate: bool = False,
        gate: GateLike | None = None,
        trace: TraceLike | None = None,
        publish: Callable[[Standing], None] | None = None,
        clocks: Clocks | None = None,
        cores: int | None = None,
    ) -> None:
        self.interrupted = False
        """Somebody asked for the end before it was due."""
        self.failure: LocalResourceError | None = None
        """Why the record could not be written any more."""
        self.trace_failure: LocalResourceError | None = None
        """Why the logs of devices could not."""
        self._plan = plan
        self._record = record
        self._pool = pool
        self._open_writer = open_writer
        self._view = view
        self._cloud = cloud
        self._stalls = stalls
        self._gate = gate
        self._trace = trace
        self._publish = publish
        self._cloud_status: CloudStatus | None = None
        self._lost_cause = False
        self._clocks = clocks or Clocks()
        self._cores = cores or len(os.sched_getaffinity(0))
        self._meter = Meter(self._cores)
        self._watch = ClockWatch()
        self._watchdog = Watchdog(plan.patience_ns)
        self._medians = WorkerMedians()
        self._calibration = CalibrationWatch() if calibrate else None
        self._storm: StormWatch | None = None
        self._firmwares = tuple(facts.name for facts in record.firmware)
        self._recorder = Recorder(self._firmwares, 0)
        self._writer: WriterLike | None = None
        self._requests = 0
        self._obeyed = 0
        self._begin_ns = self._base_ns = self._boundary_ns = 0
        self._stopped_ns: int | None = None
        self._stop_by_ns: int | None = None
        self._cpu_counts = False
        self._reported_lost = 0
        self._pending: deque[tuple[int, SecondFacts]] = deque()
        self._second = 0
        self._last_started_ns = self._last_ended_ns = 0
        self._completed_in_window = 0
        self._cpu_at_begin = (0, 0)
        self._completed_at_begin = 0

    def interrupt(self) -> None:
        """Ask for the end: once to drain, twice to stop now. May be called from a signal handler."""
        self._requests += 1

    def run(self) -> RunRecord:
        """Run, write, and return the finished record.

        A disk that fails in between ends the load and is kept in :attr:`failure`.

        Raises:
            LoadgenError: the run could not begin.
        """
        try:
            self._pool.start()
            self._begin()
            while not self._pool.finished:
                self._turn(_POLL_S)
            self._turn(0.0)
            return self._finish()
        finally:
            self._view.close()
            self._pool.close()
            if self._writer is not None:
                self._writer.close()

    # --- the loop

    def _begin(self) -> None:
        workers = self._pool.workers
        self._record.environment.crypto_backend = workers[0].backend
        for warning in dict.fromkeys(warning for worker in workers for warning in worker.warnings):
            self._view.say(warning)
        self._writer = self._open_writer(self._record)
        self._begin_ns = self._pool.begin()
        if self._trace is not None:
            self._trace.begin(self._begin_ns)
        if self._cloud is not None:
            for stall in self._stalls:
                self._cloud.stall(self._begin_ns + stall.after_ns, stall.for_ns)
        self._base_ns = self._begin_ns + self._plan.warmup_ns
        self._boundary_ns = self._boundary_after(self._begin_ns)
        self._recorder = Recorder(self._firmwares, self._base_ns)
        if self._plan.storm is not None:
            self._storm = StormWatch(sum(worker.devices for worker in workers), self._base_ns)
        base_wall_ns = self._clocks.wall_ns() + self._base_ns - self._clocks.monotonic_ns()
        self._write(lambda writer: writer.begin(base_wall_ns))
        self._publish_at(self._begin_ns)

    def _turn(self, timeout_s: float) -> None:
        update = self._pool.poll(timeout_s)
        now_ns = self._clocks.monotonic_ns()
        self._watch.look(now_ns, self._clocks.wall_ns(), self._clocks.monotonic_ns())
        self._meter.saw(self._pool.counts)
        self._obey(now_ns)
        self._take(update)
        self._give_up(now_ns)
        self._report_lost(now_ns)
        self._end_storm(now_ns)
        if not self._cpu_counts and now_ns >= self._base_ns:
            self._begin_cpu(now_ns)
        while now_ns >= self._boundary_ns:
            self._end_second(now_ns)
        self._close_seconds(now_ns)

    def _obey(self, now_ns: int) -> None:
        """Act on interruptions: the first drains, the second stops now."""
        if self._requests == self._obeyed:
            return
        self._obeyed, self.interrupted = self._requests, True
        if self._requests == 1:
            self._view.say("Interrupted: finishing what is in flight, for 5 s at most. Again to stop now.")
            self._stop(now_ns, DRAIN_NS)
        else:
            self._stop(now_ns, 0)

    def _stop(self, now_ns: int, drain_ns: int) -> None:
        self._pool.stop(drain_ns)
        self._stop_by_ns = now_ns + drain_ns
        if self._stopped_ns is None:
            self._stopped_ns = now_ns

    def _give_up(self, now_ns: int) -> None:
        """Let nothing keep the run from its end."""
        pool, watchdog = self._pool, self._watchdog
        watchdog.look(now_ns, pool.workers)
        if self._stop_by_ns is None and watchdog.stuck:
            self._view.say("Handshakes in flight do not end by themselves: ending them.")
            self._stop(now_ns, 0)
        over = now_ns >= self._window_limit_ns() or any(worker.finished for worker in pool.workers)
        for index in watchdog.silent(pool.workers, over=over):
            pool.give_up(index)
        if self._stop_by_ns is not None and now_ns > self._stop_by_ns + _GIVE_UP_NS:
            for worker in pool.workers:
                pool.give_up(worker.index)

    def _take(self, update: PoolUpdate) -> None:
        for index, chunk in enumerate(update.rows):
            rows = rows_from_bytes(chunk)
            if len(self._pool.workers) > 1:
                self._medians.add(update.row_workers[index], rows)
            ends = rows[:, Point.HELLO_IN]
            self._last_started_ns = max(self._last_started_ns, int(rows[:, Point.STARTED].max()))
            self._last_ended_ns = max(self._last_ended_ns, int(ends.max()))
            self._completed_in_window += int((ends <= self._window_limit_ns()).sum())
            self._recorder.add_rows(rows)
            if self._storm is not None:
                self._storm.add(rows)
            if self._calibration is not None:
                self._calibration.add(rows)
        for chunk in update.failures:
            failures = failures_from_bytes(chunk)
            self._last_started_ns = max(self._last_started_ns, int(failures[:, 0].max()))
            self._last_ended_ns = max(self._last_ended_ns, int(failures[:, 1].max()))
            self._recorder.add_failures(failures)
        for chunk in update.session_failures:
            self._recorder.add_session_failures(failures_from_bytes(chunk))
        for chunk in update.moments:
            self._write_trace(chunk)

    def _end_storm(self, now_ns: int) -> None:
        """A storm is over when every device has been online."""
        if self._storm is not None and self._storm.complete and self._stopped_ns is None:
            self._stop(now_ns, 0)

    def _report_lost(self, now_ns: int) -> None:
        lost = self._pool.lost
        nobody_left = len(lost) == len(self._pool.workers)
        fate = "What it had measured counts." if nobody_left else "The others go on; what it had measured counts."
        for worker in lost[self._reported_lost :]:
            self._view.say(f"Lost: {worker.lost}. {fate}")
        self._reported_lost = len(lost)
        if nobody_left and self._stopped_ns is None:
            self._stopped_ns = now_ns

    def _begin_cpu(self, now_ns: int) -> None:
        """Count CPU time from the begin of the window, once every worker has said how much it had used by then."""
        if any(worker.at_ns < self._base_ns and not worker.over for worker in self._pool.workers):
            return
        self._cpu_counts = True
        self._meter.begin(now_ns, self._pool.workers, self._poll_cloud())
        self._cpu_at_begin = self._cpu_ns()
        self._completed_at_begin = self._completed()

    def _completed(self) -> int:
        """Handshakes completed so far. Those of the warm-up that end in the window count: their CPU time does."""
        counts = self._pool.counts
        return counts.completed + counts.warmup_completed

    def _end_second(self, now_ns: int) -> None:
        """A second is over: keep its facts until its last rows have come."""
        boundary_ns, self._boundary_ns = self._boundary_ns, self._boundary_after(self._boundary_ns)
        if boundary_ns <= self._base_ns:
            self._show_warmup(boundary_ns)
            self._publish_at(boundary_ns)
            return
        facts = self._meter.second(
            now_ns,
            self._pool.counts,
            self._pool.workers,
            self._poll_cloud(),
            under_load=boundary_ns <= self._window_limit_ns(),
        )
        self._pending.append((boundary_ns, facts))
        if self._stopped_ns is None and self._storm is None and self._nobody_listens():
            self._view.say("Nothing but refused connections: giving up.")
            self._stop(now_ns, 0)

    def _boundary_after(self, at_ns: int) -> int:
        """Seconds are counted from the begin of the warm-up, and anew from that of the window."""
        next_ns = at_ns + NS_PER_S
        return min(next_ns, self._base_ns) if at_ns < self._base_ns else next_ns

    def _close_seconds(self, now_ns: int) -> None:
        while self._pending and now_ns >= self._pending[0][0] + _LAG_NS:
            boundary_ns, facts = self._pending.popleft()
            self._second = (boundary_ns - self._base_ns) // NS_PER_S
            for interval in self._recorder.take_until(self._second):
                self._append(interval, facts)
                self._show(boundary_ns, interval, facts)
                self._watch_thresholds(interval, facts, now_ns)
                self._publish_at(boundary_ns, (interval, facts))

    def _watch_thresholds(self, interval: Interval, facts: SecondFacts, now_ns: int) -> None:
        """End a run that cannot be a pass any more, where that was asked for."""
        if self._gate is None or self._stopped_ns is not None:
            return
        why = self._gate.second(interval, facts)
        if why is not None:
            self._lost_cause = True
            self._view.say(why)
            self._stop(now_ns, DRAIN_NS)

    def _append(self, interval: Interval, facts: SecondFacts) -> None:
        self._write(lambda writer: writer.append(interval, facts))

    def _write(self, action: Callable[[WriterLike], None]) -> None:
        """Write; a disk that fails ends the load, not the record."""
        assert self._writer is not None
        try:
            action(self._writer)
        except LocalResourceError as error:
            self.failure = error
            self._stop(self._clocks.monotonic_ns(), DRAIN_NS)

    def _write_trace(self, moments: bytes) -> None:
        """Write what devices have noted; a disk that fails ends their logs, and neither the load nor the record."""
        if self._trace is None:
            return
        try:
            self._trace.add(moments)
        except LocalResourceError as error:
            self._trace, self.trace_failure = None, error
            self._view.say(f"{error.where}: {error.what}. The run goes on without it.")

    def _poll_cloud(self) -> CloudStatus | None:
        self._cloud_status = None if self._cloud is None else self._cloud.poll()
        return self._cloud_status

    def _nobody_listens(self) -> bool:
        """Every attempt so far was turned away at the door."""
        failures = self._recorder.failures
        return (
            not self._recorder.completed.total()
            and bool(failures)
            and all(
                key.stage is Stage.CONNECT and key.reason in {Reason.REFUSED, Reason.UNREACHABLE} for key in failures
            )
        )

    def _cpu_ns(self) -> tuple[int, int]:
        """CPU time until now: of the workers together, and of this process."""
        return sum(worker.cpu_ns for worker in self._pool.workers), self._clocks.process_cpu_ns()

    # --- what the view and the metrics get

    def _show_warmup(self, at_ns: int) -> None:
        counts = self._pool.counts
        elapsed_s = (at_ns - self._begin_ns) / NS_PER_S
        self._view.show(
            Moment(
                phase="warm-up",
                elapsed_s=elapsed_s,
                share=self._share(at_ns),
                rate_per_s=counts.warmup_completed / elapsed_s,
                in_flight=counts.in_flight,
                completed=counts.warmup_completed,
                failed=counts.warmup_failed,
                waiting=0,
                generator_cpu=None,
                stages=(),
                title=announcement(self._record),
                step=step_of(self._record.scenario, at_ns - self._begin_ns),
            )
        )

    def _show(self, at_ns: int, interval: Interval, facts: SecondFacts) -> None:
        self._view.show(
            Moment(
                phase=self._phase(at_ns),
                elapsed_s=(at_ns - self._begin_ns) / NS_PER_S,
                share=self._share(at_ns),
                rate_per_s=sum(interval.completed.values()),
                in_flight=facts.in_flight,
                completed=self._recorder.completed.total(),
                failed=self._recorder.failures.total(),
                waiting=facts.waiting,
                generator_cpu=self._meter.generator_cpu[-1] if self._meter.generator_cpu else None,
                stages=stage_moments(interval),
                failures=failures_moment(self._recorder),
                title=announcement(self._record),
                step=step_of(self._record.scenario, at_ns - self._begin_ns),
            )
        )

    def _phase(self, at_ns: int) -> str:
        end_ns = self._plan.end_ns
        if at_ns < self._base_ns:
            return "warm-up"
        over = self._stopped_ns is not None or (end_ns is not None and at_ns > self._begin_ns + end_ns)
        return "draining" if over else "running"

    def _publish_at(self, at_ns: int, second: tuple[Interval, SecondFacts] | None = None) -> None:
        """Publish what was measured up to an instant for which everything has come."""
        if self._publish is None:
            return
        measured = self._measured(min(at_ns, self._window_end_ns()))
        if not self._cpu_counts:
            measured = replace(measured, cpu_ns=0)
        record = record_so_far(self._record, measured, self._cloud_status)
        self._publish(self._standing(record, at_ns, self._phase(at_ns), second))

    def _standing(
        self, record: RunRecord, at_ns: int, phase: str, second: tuple[Interval, SecondFacts] | None = None
    ) -> Standing:
        return Standing(
            record=record,
            phase=phase,
            elapsed_s=(at_ns - self._begin_ns) / NS_PER_S,
            share=self._share(at_ns),
            step=step_of(self._record.scenario, at_ns - self._begin_ns),
            in_flight=self._pool.counts.in_flight,
            second=second,
            recorder=self._recorder,
        )

    def _share(self, at_ns: int) -> float | None:
        """How much of the run is over, by whichever bound is nearer."""
        shares = []
        if self._plan.end_ns:
            shares.append((at_ns - self._begin_ns) / self._plan.end_ns)
        if self._storm is not None:
            return self._storm.online / max(self._storm.devices, 1)
        if self._plan.count:
            shares.append(self._pool.counts.started / self._plan.count)
        return min(max(shares), 1.0) if shares else None

    # --- the end

    def _finish(self) -> RunRecord:
        last = self._meter.second(
            self._clocks.monotonic_ns(),
            self._pool.counts,
            self._pool.workers,
            self._poll_cloud(),
            under_load=not self._meter.generator_cpu,  # a part of a second counts only where it is all there is
        )
        for boundary_ns, facts in self._pending:
            for interval in self._recorder.take_until((boundary_ns - self._base_ns) // NS_PER_S):
                self._append(interval, facts)
                self._publish_at(boundary_ns, (interval, facts))
        rest = self._recorder.take_all()
        if not rest and (last.intended or last.started or last.aborted):
            rest = self._recorder.take_until(self._second + len(self._pending) + 1)
        for interval in rest:
            self._append(interval, last)
            self._publish_at(self._clocks.monotonic_ns(), (interval, last))
            last = SecondFacts(in_flight=last.in_flight)
        measured = self._measured_whole()
        fill_in(self._record, measured)
        if self._gate is not None:
            self._gate.judge(self._record)
        if self._publish is not None:
            self._publish(self._standing(self._record, self._clocks.monotonic_ns(), self._record.status))
        self._write(self._finish_writer)
        return self._record

    def _finish_writer(self, writer: WriterLike) -> None:
        writer.finish(self._record)

    def _measured_whole(self) -> Measured:
        cloud, calibration = None, None
        if self._cloud is not None:
            cloud = self._cloud.stop()
            if self._calibration is not None:
                calibration = self._calibration.facts(self._cloud.timings, self._recorder.histogram)
        measured = self._measured(self._window_end_ns())
        storm = None if self._storm is None else self._storm.facts()
        return replace(measured, cloud=cloud, calibration=calibration, storm=storm)

    def _measured(self, window_end_ns: int) -> Measured:
        """Everything measured so far, without what is known at the end only."""
        workers_ns, own_ns = self._cpu_ns()
        return Measured(
            plan=self._plan,
            recorder=self._recorder,
            meter=self._meter,
            counts=self._pool.counts,
            workers=self._pool.workers,
            window_ns=max(window_end_ns - self._base_ns, 0),
            completed_in_window=self._completed_in_window,
            cpu_ns=workers_ns - self._cpu_at_begin[0] + own_ns - self._cpu_at_begin[1],
            cpu_completed=self._completed() - self._completed_at_begin,
            worker_cloud_p50_ns=self._medians.medians_ns(),
            storm=None,
            clock_step_ns=self._watch.largest_step_ns,
            cloud=None,
            calibration=None,
            cut_short=self.interrupted or self._lost_cause or self.failure is not None,
        )

    def _window_limit_ns(self) -> int:
        """No completion after this instant belongs to the window, as far as is known now."""
        limits = [self._stopped_ns] if self._stopped_ns is not None else []
        if self._plan.end_ns is not None:
            limits.append(self._begin_ns + self._plan.end_ns)
        return min(limits, default=1 << 62)

    def _window_end_ns(self) -> int:
        """End of the recorded window: of the time given, or of the starts where their number was."""
        end_ns = self._window_limit_ns()
        plan = self._plan
        if self._stopped_ns == end_ns:
            end_ns = max(end_ns, self._last_started_ns)  # the workers have heard of it a little later
        if plan.count is None or self._pool.counts.started < plan.count:
            return end_ns if end_ns < 1 << 62 else self._last_ended_ns
        if plan.mode == "closed":
            return min(end_ns, self._last_ended_ns)
        if not plan.rate:  # the schedule has no instant at which the next start would have come
            return min(end_ns, self._last_started_ns)
        scheduled_ns = self._base_ns + ConstantRate(plan.rate).at(plan.count)
        return min(end_ns, max(scheduled_ns, self._last_started_ns))
