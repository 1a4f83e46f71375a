"""A pool, a mock cloud, a writer and clocks that do what a test says, in no time."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.engine.messages import Counts
from loadgen.engine.plan import FirmwarePlan, LoadPlan, Target
from loadgen.engine.pool import PoolUpdate, WorkerStatus
from loadgen.errors import LocalResourceError
from loadgen.mockcloud.report import CloudReport, CloudStatus, RegistrySummary, WorkerReport, WorkerSummary
from loadgen.mockcloud.timings import TIMING_FIELDS, Timings
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.recording.record import RunRecord, SecondFacts
from loadgen.recording.recorder import Interval
from loadgen.recording.rows import NO_DEVICE_CODE, NOT_MEASURED, REASON_INDEX, STAGE_INDEX
from loadgen.report.live import Moment

STEP_NS = 100 * NS_PER_MS
BEGIN_NS = 1_000 * NS_PER_S


def row(started_ns: int, took_ns: int = 7 * NS_PER_MS, flags: int = 0) -> bytes:
    """A completed handshake that started on time; its seven stages are equally long."""
    points = [started_ns, *(started_ns + took_ns * part // 6 for part in range(7))]
    return array("q", [*points, NOT_MEASURED, NOT_MEASURED, NOT_MEASURED, 0, flags]).tobytes()


def failure(started_ns: int, stage: Stage = Stage.KEY, reason: Reason = Reason.CLOSED) -> bytes:
    """A failed handshake that took 5 ms."""
    values = [started_ns, started_ns + 5 * NS_PER_MS, STAGE_INDEX[stage], REASON_INDEX[reason], NO_DEVICE_CODE, 0]
    return array("q", values).tobytes()


class FakeClock:
    """Two clocks and a CPU clock that a fake pool moves."""

    def __init__(self) -> None:
        self.now_ns = BEGIN_NS
        self.wall_offset_ns = 1_700_000_000 * NS_PER_S

    def monotonic_ns(self) -> int:
        """Now."""
        return self.now_ns

    def wall_ns(self) -> int:
        """Now, since 1970."""
        return self.now_ns + self.wall_offset_ns

    def process_cpu_ns(self) -> int:
        """A hundredth of the time."""
        return (self.now_ns - BEGIN_NS) // 100


@dataclass
class FakePool:
    """Starts ``rate`` handshakes a second, evenly, until ``until_ns`` after the begin, and reports every 100 ms.

    ``make`` gives the bytes of a handshake's row or failure; ``events`` are called at their step.
    """

    clock: FakeClock
    rate: int = 100
    until_ns: int = 2 * NS_PER_S
    warmup_ns: int = 0
    fails: bool = False
    failure_of: Callable[[int], bytes] = failure
    events: dict[int, Callable[[], None]] = field(default_factory=dict)
    status: WorkerStatus = field(default_factory=lambda: WorkerStatus(0, pid=11, devices=500, backend="fake"))
    stops: list[int] = field(default_factory=list)
    closed: bool = False
    steps: int = 0
    row_flags: int = 0
    stubborn: bool = False
    """Does not end when told to."""
    silent_from: int | None = None
    """The step from which on it says nothing any more."""
    stuck: bool = False
    """What it has begun never ends, unless it is told to stop."""
    moments: bytes = b""
    """What devices note in each step."""

    def start(self) -> None:
        """Nothing to wait for."""

    def begin(self) -> int:
        """Now."""
        return self.clock.now_ns

    def poll(self, timeout_s: float) -> PoolUpdate:
        """A tenth of a second passes."""
        if not timeout_s or self.finished:
            return PoolUpdate()
        self.steps += 1
        self.clock.now_ns += STEP_NS
        self.events.get(self.steps, lambda: None)()
        update = PoolUpdate(moments=[self.moments] if self.moments else [])
        if self.silent_from is not None and self.steps >= self.silent_from:
            return update
        elapsed_ns = self.clock.now_ns - BEGIN_NS
        counts = self.status.counts
        if not self.stops and elapsed_ns <= self.until_ns and self.status.lost is None:
            self._handshakes(update, counts)
        self.status.at_ns = self.clock.now_ns
        self.status.cpu_ns = elapsed_ns // 2
        self.status.loop_cpu_ns = elapsed_ns // 4
        over = (elapsed_ns > self.until_ns and not self.stuck) or bool(self.stops)
        self.status.finished = over and not self.stubborn and self.status.lost is None
        return update

    def _handshakes(self, update: PoolUpdate, counts: Counts) -> None:
        per_step = self.rate * STEP_NS // NS_PER_S
        for number in range(per_step):
            started_ns = self.clock.now_ns - STEP_NS + number * STEP_NS // per_step
            if started_ns < BEGIN_NS + self.warmup_ns:
                counts.warmup_completed += 1
                continue
            counts.intended += 1
            counts.started += 1
            if self.fails:
                counts.failed += 1
                update.failures.append(self.failure_of(started_ns))
            else:
                counts.completed += 1
                update.rows.append(row(started_ns, flags=self.row_flags))
        counts.in_flight = 1

    def stop(self, drain_ns: int = 5 * NS_PER_S) -> None:
        """Remember what was asked for."""
        self.stops.append(drain_ns)

    def give_up(self, index: int) -> None:
        """The worker is left behind."""
        if not self.status.over:
            self.status.lost = f"worker {index} does not answer"

    def close(self) -> None:
        """Remember it."""
        self.closed = True

    def lose(self) -> None:
        """The worker dies."""
        self.status.lost = "worker 0 was killed by signal 9"

    @property
    def workers(self) -> list[WorkerStatus]:
        """One."""
        return [self.status]

    @property
    def counts(self) -> Counts:
        """Its counts, as they are now."""
        return self.status.counts + Counts()

    @property
    def finished(self) -> bool:
        """Whether it is over."""
        return self.status.over

    @property
    def lost(self) -> list[WorkerStatus]:
        """Itself, if it died."""
        return [self.status] if self.status.lost is not None else []


class FakeWriter:
    """Keeps what it is given; fails at the ``fails_at``-th second."""

    def __init__(self, fails_at: int | None = None) -> None:
        self.base_wall_ns = 0
        self.seconds: list[tuple[Interval, SecondFacts]] = []
        self.finished: RunRecord | None = None
        self._fails_at = fails_at

    def begin(self, base_wall_ns: int) -> None:
        """Keep it."""
        self.base_wall_ns = base_wall_ns

    def append(self, interval: Interval, facts: SecondFacts) -> None:
        """Keep it, or fail once."""
        if len(self.seconds) == self._fails_at:
            self._fails_at = None
            raise LocalResourceError("the record cannot be written any more: No space left on device")
        self.seconds.append((interval, facts))

    def finish(self, record: RunRecord) -> bool:
        """Keep it."""
        self.finished = record
        return True

    def close(self) -> None:
        """Nothing to release."""


class FakeCloud:
    """A mock cloud of one process that uses all of its core."""

    def __init__(self, clock: FakeClock, *, lost: bool = False) -> None:
        self._clock = clock
        self._lost = lost
        self.stalls: list[tuple[int, int]] = []
        self.timings: Timings = np.empty((0, len(TIMING_FIELDS)), dtype=np.int64)

    def poll(self) -> CloudStatus:
        """As busy as can be."""
        return CloudStatus(workers=[WorkerReport(pid=7, cpu_ns=self._clock.now_ns - BEGIN_NS)], lost=[])

    def stall(self, at_ns: int, for_ns: int) -> None:
        """Remember the order."""
        self.stalls.append((at_ns, for_ns))

    def stop(self) -> CloudReport:
        """Its account."""
        worker = WorkerSummary(pid=7, cpu_s=1.0, accepted=1, handshakes=1, lost=self._lost)
        return CloudReport(
            address="127.0.0.1:1",
            mode="full",
            crypto_backend="fake",
            duration_s=1.0,
            handshakes=1,
            handshakes_per_s=1.0,
            cpu_s=1.0,
            cpu_us_per_handshake=1.0,
            failed=0,
            failures=[],
            session_failures=[],
            limit=None,
            registry=RegistrySummary(policy="open", devices=0),
            counters={},
            workers=[worker],
            warnings=[],
        )


class FakeView:
    """Keeps what it is shown."""

    def __init__(self) -> None:
        self.moments: list[Moment] = []
        self.said: list[str] = []
        self.closed = False

    def show(self, moment: Moment) -> None:
        """Keep it."""
        self.moments.append(moment)

    def say(self, text: str) -> None:
        """Keep it."""
        self.said.append(text)

    def close(self) -> None:
        """Remember it."""
        self.closed = True


def open_plan(rate: int = 100, duration_ns: int | None = 2 * NS_PER_S, **more: object) -> LoadPlan:
    """An open loop."""
    values: dict[str, object] = {
        "mode": "open",
        "target": Target("127.0.0.1", 5683),
        "fleet_path": "fleet",
        "server_public_key": b"",
        "firmwares": (FirmwarePlan(name="p1@0.7.0", timeouts_ns={}),),
        "max_in_flight": 100,
        "rate_numerator": rate,
        "duration_ns": duration_ns,
    }
    return LoadPlan(**(values | more))  # type: ignore[arg-type]
