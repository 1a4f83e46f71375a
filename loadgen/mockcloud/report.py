"""What a mock cloud says about itself: while it runs (:class:`CloudStatus`) and at the end (:class:`CloudReport`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from loadgen.clock import NS_PER_S, NS_PER_US
from loadgen.mockcloud.timings import AnswerTimes

SCHEMA: Final = "loadgen/cloud/1"

COUNTERS: Final[dict[str, str]] = {
    "accepted": "connections accepted",
    "handshakes": "handshakes completed: the device's Hello was valid, the cloud's is on its way",
    "delayed": "handshakes that had to wait for the limit",
    "rejected": "handshakes closed because the limit's queue was full",
    "over_connections": "connections closed at once because the worker had its most",
    "accept_errors": "times the system refused to hand over a connection (descriptors, memory)",
    "not_taken": "connections closed because the device did not take what it was sent",
    "idle_closed": "sessions closed after a long silence",
    "closed_by_device": "sessions ended by the device's FIN",
    "reset_by_device": "sessions ended by the device's RST",
    "messages": "messages received from devices after their Hello",
    "out_of_order": "of these, with another message id than the next one",
    "describes_asked": "describe requests sent",
    "describes_answered": "answers to them",
}
"""Every counter of a worker, with its meaning. Failures are counted apart, by stage and reason."""


class StallTimes(msgspec.Struct):
    """When a worker really did nothing. Instants on CLOCK_MONOTONIC in ns."""

    begun_ns: int
    ended_ns: int


class WorkerReport(msgspec.Struct, kw_only=True):
    """What one worker process reports about itself, four times a second and at its end."""

    pid: int
    cpu_ns: int = 0
    """User and system time of all its threads since it was ready to serve."""
    counters: dict[str, int] = {}
    """By the names of :data:`COUNTERS`."""
    failures: dict[str, int] = {}
    """Handshakes that failed, by ``stage/reason``."""
    session_failures: dict[str, int] = {}
    """Sessions that failed after Hello, by ``stage/reason``."""
    injected: dict[str, int] = {}
    """Faults committed on purpose, by ``stage:kind``."""
    timings_omitted: int = 0
    """Answers whose times were not written down, for want of room."""
    stalls: list[StallTimes] = []
    """Stalls that are over; at the end, also one that was cut short."""
    connections: int = 0
    """Open now."""
    sessions: int = 0
    """Of these, with a completed handshake."""
    waiting: int = 0
    """Handshakes that now wait for the limit or for a crypto slot."""
    final: bool = False
    """The worker has closed everything and ends in order."""
    error: str | None = None
    """Why it cannot go on."""


class CloudStatus(msgspec.Struct, kw_only=True):
    """Totals of a running mock cloud, at most a quarter of a second old."""

    workers: list[WorkerReport]
    lost: list[int]
    """Process ids of workers that ended without being asked."""

    @property
    def counters(self) -> dict[str, int]:
        """Sums over the workers, by the names of :data:`COUNTERS`; every name is there."""
        return _sum((worker.counters for worker in self.workers), COUNTERS)

    @property
    def failures(self) -> dict[str, int]:
        """Failed handshakes by ``stage/reason``."""
        return _sum(worker.failures for worker in self.workers)

    @property
    def session_failures(self) -> dict[str, int]:
        """Failed sessions by ``stage/reason``."""
        return _sum(worker.session_failures for worker in self.workers)

    @property
    def injected(self) -> dict[str, int]:
        """Faults committed on purpose by ``stage:kind``."""
        return _sum(worker.injected for worker in self.workers)

    @property
    def handshakes(self) -> int:
        """Handshakes completed."""
        return self.counters["handshakes"]

    @property
    def connections(self) -> int:
        """Connections open now."""
        return sum(worker.connections for worker in self.workers)

    @property
    def sessions(self) -> int:
        """Connections open now whose handshake is completed."""
        return sum(worker.sessions for worker in self.workers)

    @property
    def waiting(self) -> int:
        """Handshakes that now wait for the limit or for a crypto slot."""
        return sum(worker.waiting for worker in self.workers)

    @property
    def cpu_ns(self) -> int:
        """User and system time of all workers since they were ready."""
        return sum(worker.cpu_ns for worker in self.workers)


class FailureCount(msgspec.Struct, kw_only=True):
    """How often something failed at one stage for one reason."""

    stage: str
    reason: str
    count: int


class InjectedCount(msgspec.Struct, kw_only=True):
    """How often one fault was committed on purpose."""

    stage: str
    fault: str
    count: int


class LimitReport(msgspec.Struct, kw_only=True):
    """What the limit did."""

    per_s: float
    queue: int
    """How many handshakes could wait."""
    delayed: int
    rejected: int


class RegistrySummary(msgspec.Struct, kw_only=True):
    """The registry at the end."""

    policy: str
    devices: int


class WorkerSummary(msgspec.Struct, kw_only=True):
    """What one worker did."""

    pid: int
    cpu_s: float
    accepted: int
    handshakes: int
    lost: bool
    """It ended without being asked; its numbers are those of its last report."""


class CloudReport(msgspec.Struct, kw_only=True):
    """A mock cloud's account of itself; JSON by ``msgspec.json.encode`` or ``msgspec.to_builtins``."""

    schema: str = SCHEMA
    address: str
    mode: str
    crypto_backend: str
    duration_s: float
    """From ready to stopped."""
    handshakes: int
    handshakes_per_s: float
    """Over the whole duration, idle times included."""
    cpu_s: float
    """User and system time of all workers, all threads, while serving."""
    cpu_us_per_handshake: float | None
    """None without a handshake."""
    failed: int
    failures: list[FailureCount]
    session_failures: list[FailureCount]
    injected: list[InjectedCount] = []
    """Faults committed on purpose. Connections that the cloud itself cut short by one are no failures above."""
    answers: list[AnswerTimes] = []
    """When answers left, by stage; empty unless it was written down."""
    stalls: list[StallTimes] = []
    """Stalls, from the first worker's begin to the last one's end."""
    seed: int | None = None
    """Of faults and delays; None where there are none."""
    limit: LimitReport | None
    registry: RegistrySummary
    counters: dict[str, int]
    """By the names of :data:`COUNTERS`."""
    workers: list[WorkerSummary]
    warnings: list[str]


def build_report(
    status: CloudStatus,
    *,
    address: str,
    mode: str,
    crypto_backend: str,
    duration_ns: int,
    limit: tuple[float, int] | None,
    registry: RegistrySummary,
    warnings: list[str],
    answers: Sequence[AnswerTimes] = (),
    seed: int | None = None,
) -> CloudReport:
    """Compute the final report. ``limit`` is (handshakes/s, queue bound)."""
    counters, failures = status.counters, status.failures
    handshakes, cpu_ns = counters["handshakes"], status.cpu_ns
    return CloudReport(
        address=address,
        mode=mode,
        crypto_backend=crypto_backend,
        duration_s=duration_ns / NS_PER_S,
        handshakes=handshakes,
        handshakes_per_s=handshakes * NS_PER_S / duration_ns if duration_ns else 0.0,
        cpu_s=cpu_ns / NS_PER_S,
        cpu_us_per_handshake=cpu_ns / NS_PER_US / handshakes if handshakes else None,
        failed=sum(failures.values()),
        failures=_failure_counts(failures),
        session_failures=_failure_counts(status.session_failures),
        injected=_injected_counts(status.injected),
        answers=list(answers),
        stalls=_joint_stalls([worker.stalls for worker in status.workers]),
        seed=seed,
        limit=limit
        and LimitReport(per_s=limit[0], queue=limit[1], delayed=counters["delayed"], rejected=counters["rejected"]),
        registry=registry,
        counters=counters,
        workers=[_worker_summary(worker, worker.pid in status.lost) for worker in status.workers],
        warnings=[
            *warnings,
            *(_lost_warning(pid) for pid in status.lost),
            *(_omitted_warning(worker) for worker in status.workers if worker.timings_omitted),
        ],
    )


def _worker_summary(worker: WorkerReport, lost: bool) -> WorkerSummary:
    return WorkerSummary(
        pid=worker.pid,
        cpu_s=worker.cpu_ns / NS_PER_S,
        accepted=worker.counters.get("accepted", 0),
        handshakes=worker.counters.get("handshakes", 0),
        lost=lost,
    )


def _lost_warning(pid: int) -> str:
    return f"Worker {pid} of the mock cloud ended without being asked; its numbers are those of its last report."


def _omitted_warning(worker: WorkerReport) -> str:
    return (
        f"Worker {worker.pid} of the mock cloud had no room to write down the times of {worker.timings_omitted} "
        "answers, the last ones; make the run shorter or use more workers."
    )


def _injected_counts(injected: Mapping[str, int]) -> list[InjectedCount]:
    """Most frequent first."""
    ordered = sorted(injected.items(), key=lambda item: (-item[1], item[0]))
    return [
        InjectedCount(stage=stage, fault=fault, count=count)
        for (stage, fault), count in ((key.split(":", 1), count) for key, count in ordered)
    ]


def _joint_stalls(stalls: Sequence[Sequence[StallTimes]]) -> list[StallTimes]:
    """The stalls that every worker has had, each from its first begin to its last end."""
    return [
        StallTimes(min(each.begun_ns for each in turn), max(each.ended_ns for each in turn))
        for turn in zip(*stalls, strict=False)
    ]


def _failure_counts(failures: Mapping[str, int]) -> list[FailureCount]:
    """Most frequent first."""
    ordered = sorted(failures.items(), key=lambda item: (-item[1], item[0]))
    counts = []
    for key, count in ordered:
        stage, _, reason = key.partition("/")
        counts.append(FailureCount(stage=stage, reason=reason, count=count))
    return counts


def _sum(parts: Iterable[Mapping[str, int]], names: Iterable[str] = ()) -> dict[str, int]:
    total: Counter[str] = Counter(dict.fromkeys(names, 0))
    for part in parts:
        total.update(part)
    return dict(total)
