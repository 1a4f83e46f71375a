"""From what a session has measured to the finished record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np

from loadgen.analysis.gates import outcomes
from loadgen.analysis.outcomes import Outcome
from loadgen.analysis.outcomes import exit_code as weightiest
from loadgen.analysis.validity import GAP_TOLERANCE, RunFacts, gap_distance, judge, sustained
from loadgen.cli.fidelity import pace_findings, share_findings
from loadgen.cli.meter import Meter
from loadgen.clock import NS_PER_S, NS_PER_US
from loadgen.engine.messages import Counts as PoolCounts
from loadgen.engine.plan import LoadPlan
from loadgen.engine.pool import WorkerStatus
from loadgen.errors import ExitCode
from loadgen.mockcloud.report import CloudReport
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.recording.record import (
    Calibration,
    Counts,
    Finding,
    FirmwareFacts,
    Generator,
    Rate,
    RunRecord,
    Sessions,
    Storm,
    Validity,
    WorkerFacts,
    failure_counts,
    firmware_facts,
    recording_facts,
    stages_of,
)
from loadgen.recording.recorder import Recorder

_FEWEST_GAPS: Final = 100
"""Below, the distance of two samples says more about chance than about the generator."""
_SATURATED: Final = 0.9
"""Utilisation from which the generator had nothing left to give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Everything that a session knows at its end. Times in ns."""

    plan: LoadPlan
    recorder: Recorder
    meter: Meter
    counts: PoolCounts
    workers: Sequence[WorkerStatus]
    window_ns: int
    """Length of the recorded window: no warm-up, no drain."""
    completed_in_window: int
    cpu_ns: int
    """CPU time of the workers and of this process since CPU time counts."""
    cpu_completed: int
    """Handshakes completed since then."""
    worker_cloud_p50_ns: Sequence[int]
    """Median of ``cloud`` of each worker, where there are several."""
    storm: Storm | None
    clock_step_ns: int
    cloud: CloudReport | None
    """The account of the run's own mock cloud."""
    calibration: Calibration | None
    cut_short: bool
    """By the user, by a threshold that failed, or by a disk that did."""


def fill_in(record: RunRecord, measured: Measured) -> None:
    """Complete ``record``."""
    fill_in_counts(record, measured)
    plan, recorder = measured.plan, measured.recorder
    record.status = "interrupted" if measured.cut_short else "complete"
    record.firmware = _firmware(record, measured, with_stages=True)
    record.stages = stages_of(recorder.histogram)
    record.failures = failure_counts(recorder.failures)
    record.session_failures = failure_counts(recorder.session_failures, in_session=True)
    record.storm = measured.storm
    record.calibration = measured.calibration
    if plan.hold_ns:
        record.sessions = Sessions(events=measured.counts.events, returned=measured.counts.returned)
    record.recording = recording_facts(recorder)
    record.workers = [_worker_facts(worker) for worker in measured.workers]
    record.mock_cloud = _mock_cloud(measured)


def fill_in_counts(record: RunRecord, measured: Measured) -> None:
    """The part of :func:`fill_in` that costs next to nothing, so that it can be known every second."""
    plan = measured.plan
    window_s = measured.window_ns / NS_PER_S
    record.duration_s = round(window_s, 6)
    record.counts = _counts(measured)
    record.rate = Rate(
        mode=plan.mode,
        offered_per_s=_offered(plan, record.counts, measured.counts.returned, window_s),
        achieved_per_s=record.counts.started / window_s if window_s else 0.0,
        completed_per_s=measured.completed_in_window / window_s if window_s else 0.0,
    )
    record.firmware = _firmware(record, measured, with_stages=False)
    record.generator = _generator(measured)
    record.validity = _validity(measured, record.rate)


def _firmware(record: RunRecord, measured: Measured, *, with_stages: bool) -> list[FirmwareFacts]:
    weights = {facts.name: facts.weight for facts in record.firmware}
    started = zip(weights, measured.counts.started_of or [record.counts.started], strict=False)
    return firmware_facts(measured.recorder, weights, Counter(dict(started)), with_stages=with_stages)


def _offered(plan: LoadPlan, counts: Counts, returned: int, window_s: float) -> float | None:
    """Starts per second that the schedule intended: as told, or where the rate changes the mean of what it made.

    Attempts of devices that come back are not the schedule's.
    """
    if plan.mode == "closed" or plan.storm is not None:
        return None
    if plan.rate:
        return float(plan.rate)
    return (counts.intended - returned) / window_s if window_s else None


def exit_code(record: RunRecord, *, interrupted: bool, failed: bool) -> ExitCode:
    """The code of the weightiest condition that holds.

    Args:
        record: finished.
        interrupted: the user has ended the run.
        failed: this machine has, by a disk that is full for instance.
    """
    if interrupted:
        return ExitCode.INTERRUPTED
    if failed:
        return ExitCode.INTERNAL
    return weightiest(found_in(record))


def found_in(record: RunRecord) -> list[Outcome]:
    """What a finished record says for an exit code."""
    judged = [] if record.calibration is None else [record.calibration]
    return outcomes([*record.thresholds, *judged], record)


def _counts(measured: Measured) -> Counts:
    """Counts that add up, even where a worker was lost: what it had in flight was aborted."""
    completed = measured.recorder.completed.total()
    failed = measured.recorder.failures.total()
    started = max(measured.counts.started, completed + failed)
    intended = max(measured.counts.intended, started)
    return Counts(
        intended=intended,
        started=started,
        completed=completed,
        failed=failed,
        aborted=started - completed - failed,
        not_started=intended - started,
    )


def _worker_facts(worker: WorkerStatus) -> WorkerFacts:
    counts = worker.counts
    return WorkerFacts(
        index=worker.index,
        pid=worker.pid,
        started=counts.started,
        completed=counts.completed,
        failed=counts.failed,
        aborted=counts.started - counts.completed - counts.failed,
        cpu_s=worker.cpu_ns / NS_PER_S,
        lost=worker.lost is not None,
        lost_reason=worker.lost,
    )


def _generator(measured: Measured) -> Generator:
    series, cpu_ns = measured.meter.generator_cpu, measured.cpu_ns
    return Generator(
        cpu_s=cpu_ns / NS_PER_S,
        cpu_utilisation=_mean(series) or 0.0,
        cpu_us_per_handshake=cpu_ns / NS_PER_US / measured.cpu_completed if measured.cpu_completed else None,
        workers=len(measured.workers),
        max_in_flight=max(measured.meter.max_in_flight, min(measured.counts.started, 1)),
        saturated=sustained(series) >= _SATURATED,
    )


def _mock_cloud(measured: Measured) -> dict[str, Any] | None:
    if measured.cloud is None:
        return None
    built: dict[str, Any] = msgspec.to_builtins(measured.cloud)
    built["cpu_utilisation"] = _mean(measured.meter.mock_cloud_cpu)
    return built


def _gap_distance(measured: Measured) -> float | None:
    """Of all workers' samples together; None without a schedule, in the closed loop and in a storm."""
    if measured.plan.mode == "closed" or measured.plan.storm is not None:
        return None
    pairs = np.frombuffer(b"".join(worker.gaps for worker in measured.workers), dtype=np.int64).reshape(-1, 2)
    if len(pairs) < _FEWEST_GAPS:
        return None
    return gap_distance(pairs[:, 0], pairs[:, 1], GAP_TOLERANCE)


def _mean(values: Sequence[float]) -> float | None:
    return round(sum(values) / len(values), 4) if values else None


def _backend_findings(workers: Sequence[WorkerStatus]) -> list[Finding]:
    """What the workers' crypto backend had to say, such as a kernel that was left alone; with how many said it."""
    said = Counter(warning for worker in workers for warning in worker.warnings)
    return [
        Finding(
            code="crypto_backend",
            level="note",
            observed=count,
            limit=0,
            text=warning,
            remedy="Compare only with runs of the same backend; `loadgen preflight` says what this machine has.",
        )
        for warning, count in said.items()
    ]


def _validity(measured: Measured, rate: Rate) -> Validity:
    recorder = measured.recorder
    validity = judge(
        RunFacts(
            mode=rate.mode,
            offered_per_s=rate.offered_per_s,
            achieved_per_s=rate.achieved_per_s,
            generator_cpu=measured.meter.generator_cpu,
            schedule_lag_p99_ns=recorder.histogram(Stage.SCHEDULE_LAG).percentile_ns(0.99),
            cloud_p50_ns=recorder.histogram(Stage.CLOUD).quantile_ns(0.5),
            clock_step_ns=measured.clock_step_ns,
            local_resource_failures=sum(
                count for key, count in recorder.failures.items() if key.reason is Reason.LOCAL_RESOURCE
            ),
            descriptor_waits=measured.counts.descriptor_waits,
            port_failures=measured.counts.port_failures,
            mock_cloud_cpu=measured.meter.mock_cloud_cpu,
            workers=len(measured.workers),
            lost_workers=sum(worker.lost is not None for worker in measured.workers),
            samples=recorder.completed.total(),
            gap_distance=_gap_distance(measured),
            worker_cloud_p50_ns=measured.worker_cloud_p50_ns,
        )
    )
    validity.findings.extend(_backend_findings(measured.workers))
    validity.findings.extend(pace_findings(measured.plan.firmwares, recorder))
    validity.findings.extend(share_findings(measured.plan.firmwares, measured.counts.started_of))
    lost = 0 if measured.cloud is None else sum(worker.lost for worker in measured.cloud.workers)
    if not lost:
        return validity
    finding = Finding(
        code="lost_mock_worker",
        level="invalid",
        observed=lost,
        limit=0,
        text=f"{lost} of the mock cloud's {len(measured.cloud.workers) if measured.cloud else 0} workers ended early.",
        remedy="Look at the system's log for an out-of-memory kill, and take the run again.",
    )
    return Validity(verdict="invalid", findings=[finding, *validity.findings])
