"""Device logs as the record of a run, so that what reads records (reports, comparisons, gates, histories) reads them.

A log has no load: nothing was offered, and no generator ran. Boots and files follow each other on one timeline; each
lasts from its first stamp to its last. Only what the log tells is counted: a stage that a firmware does not print has
no samples. A device connects seldom, so the two logs of the record have a line an hour, not a second.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen import __version__, clock
from loadgen.analysis.validity import RunFacts, judge
from loadgen.diagnosis.devicelog import DeviceLog, Outcome, Versions
from loadgen.diagnosis.logattempts import Attempt
from loadgen.diagnosis.loglines import meet
from loadgen.errors import UsageError
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import STAGE_BOUNDS, SUMS, Point, Stage
from loadgen.recording.record import (
    Counts,
    Environment,
    Finding,
    FirmwareFacts,
    FleetFacts,
    Rate,
    RunRecord,
    SecondFacts,
    Source,
    Target,
    failure_counts,
    firmware_facts,
    recording_facts,
    stages_of,
    utc_text,
)
from loadgen.recording.recorder import FAILURE_FIELDS, NO_DEVICE_CODE, REASON_INDEX, STAGE_INDEX, Recorder, Rows
from loadgen.store import RunWriter, new_id

SCENARIO: Final = "device-log"
"""What such a record has for the name of a scenario."""
RESOLUTION_US: Final = 1_000.0
"""Of a device's stamps."""
_DEVICE: Final = Environment(
    loadgen=__version__,
    git=None,
    python="none",
    openssl="none",
    cpu_model="the logged device",
    cores=0,
    kernel="none",
    isa=[],
    crypto_backend="device",
    timestamps="device",
    engine="none",
)
"""What has measured: not the machine that reads the log, which would only pass for the one that the times come from."""
_HOUR_MS: Final = 3_600_000
_COMPLETED: Final = Outcome.COMPLETED
_PARTS: Final = tuple(stage for stage in STAGE_BOUNDS if stage is not Stage.SCHEDULE_LAG)


def import_logs(logs: Sequence[DeviceLog], parent: Path, label: str | None) -> tuple[Path, RunRecord] | None:
    """Write one record of some logs.

    Args:
        logs: of one device each.
        parent: folder that gets the record's folder.
        label: of the record.

    Returns:
        The folder and the record; None, and nothing written, where there is no attempt in the logs.

    Raises:
        UsageError: the folder cannot be written, or a log has no stamps.
        LocalResourceError: the disk is full.
    """
    if not any(log.attempts for log in logs):
        return None
    for log in logs:
        if all(boot.first_ms is None for boot in log.boots):
            raise UsageError(
                "the lines have no stamps of the device, so there are no times in them",
                where=log.name,
                remedy="Log with SerialLogHandler; `loadgen devicelog show` shows endings and codes all the same.",
            )
    versions = _versions(logs)
    recorder = Recorder((versions.name,), 0)
    length_ns = _fill(recorder, logs)
    now_ns = clock.wall_ns()
    record = _record(logs, versions, label, now_ns)
    _finish(record, recorder, logs, length_ns)
    record.status = "running"
    writer = RunWriter(parent, record, SCENARIO)
    writer.begin(now_ns)
    for interval in recorder.take_filled():
        started = sum(interval.completed.values()) + sum(interval.failures.values())
        writer.append(interval, SecondFacts(intended=started, started=started))
    record.status = "complete"
    writer.finish(record)
    return writer.path, record


def _versions(logs: Sequence[DeviceLog]) -> Versions:
    """Versions that can have written all logs; those that can have written any of them where there are none."""
    spans = logs[0].versions.spans
    for log in logs[1:]:
        spans = meet(spans, log.versions.spans)
    every = [span for log in logs for span in log.versions.spans]
    return Versions(spans or meet(every, every))


def _fill(recorder: Recorder, logs: Sequence[DeviceLog]) -> int:
    """Hand all attempts to the recorder; returns the length of the timeline in ns."""
    begin_ms = 0
    placed: list[tuple[int, Attempt]] = []
    for log in logs:
        offsets = {}
        for boot in log.boots:
            first_ms = boot.first_ms or 0
            offsets[boot.number] = begin_ms - first_ms
            begin_ms += (boot.last_ms or first_ms) - first_ms
        placed += [(offsets[attempt.boot], attempt) for attempt in log.attempts if _is_timed(attempt)]
    completed = [
        (_hour_ms(offset + _ended_ms(attempt)), attempt) for offset, attempt in placed if attempt.outcome is _COMPLETED
    ]
    recorder.add_completed(_ns([at_ms for at_ms, _ in completed]))
    for stage in (*_PARTS, Stage.HANDSHAKE, Stage.CLOUD):
        found = [(at_ms, time) for at_ms, attempt in completed if (time := _time_ms(attempt, stage)) is not None]
        recorder.add_stage(stage, _ns([at_ms for at_ms, _ in found]), _ns([time for _, time in found]))
    recorder.add_failures(_failure_rows(placed))
    recorder.add_session_failures(_session_rows(placed))
    return begin_ms * clock.NS_PER_MS


def _is_timed(attempt: Attempt) -> bool:
    """Whether the log tells begin and end, and how it ended."""
    named = attempt.outcome is _COMPLETED or attempt.reason is not None
    return named and attempt.begun_ms is not None and attempt.ended_ms is not None


def _ended_ms(attempt: Attempt) -> int:
    return attempt.ended_ms or 0


def _hour_ms(at_ms: int) -> int:
    return at_ms // _HOUR_MS * _HOUR_MS


def _time_ms(attempt: Attempt, stage: Stage) -> int | None:
    if stage is Stage.HANDSHAKE:
        return attempt.handshake_ms
    known = attempt.stages_ms
    times = [known.get(part) for part in SUMS.get(stage, (stage,))]
    return None if None in times else sum(time for time in times if time is not None)


def _ns(times_ms: Sequence[int]) -> NDArray[np.int64]:
    return np.array(times_ms, dtype=np.int64) * clock.NS_PER_MS


def _failure_rows(placed: Sequence[tuple[int, Attempt]]) -> Rows:
    """Failed attempts, as the recorder takes them."""
    rows = []
    for offset, attempt in placed:
        if attempt.stage is not None and attempt.reason is not None:
            started_ms = attempt.points_ms.get(Point.STARTED, attempt.begun_ms or 0)
            hour_ms = _hour_ms(offset + _ended_ms(attempt))
            times = _ns([hour_ms - (_ended_ms(attempt) - started_ms), hour_ms]).tolist()
            rows.append([*times, STAGE_INDEX[attempt.stage], *_why(attempt.reason, attempt.device_code)])
    return np.array(rows, dtype=np.int64).reshape(-1, len(FAILURE_FIELDS))


def _session_rows(placed: Sequence[tuple[int, Attempt]]) -> Rows:
    """Sessions that ended badly."""
    rows = []
    for offset, attempt in placed:
        if attempt.outcome is _COMPLETED and attempt.session_reason is not None:
            hour_ms = _hour_ms(offset + _ended_ms(attempt) + (attempt.session_ms or 0))
            times = _ns([hour_ms - (attempt.session_ms or 0), hour_ms]).tolist()
            rows.append([*times, STAGE_INDEX[Stage.HELLO], *_why(attempt.session_reason, attempt.session_code)])
    return np.array(rows, dtype=np.int64).reshape(-1, len(FAILURE_FIELDS))


def _why(reason: Reason, code: int | None) -> tuple[int, int, int]:
    return REASON_INDEX[reason], NO_DEVICE_CODE if code is None else code, 0


def _record(logs: Sequence[DeviceLog], versions: Versions, label: str | None, now_ns: int) -> RunRecord:
    """The record before anything is filled in."""
    addresses = dict.fromkeys(attempt.address.text for log in logs for attempt in log.attempts)
    known = [address for address in addresses if address]
    return RunRecord(
        id=new_id(),
        label=label,
        status="running",
        started_at=utc_text(now_ns),
        scenario={"name": SCENARIO},
        seed=None,
        target=Target(address=", ".join(known) or "an unknown cloud", kind="remote"),
        fleet=FleetFacts(devices=len(logs), distinct_keys=len(logs)),
        firmware=[FirmwareFacts(name=versions.name)],
        environment=_DEVICE,
        rate=Rate(mode="closed"),
        source=Source(
            kind="device_log",
            files=[log.name for log in logs],
            versions=versions.text,
            resolution_us=RESOLUTION_US,
        ),
    )


def _finish(record: RunRecord, recorder: Recorder, logs: Sequence[DeviceLog], length_ns: int) -> None:
    """Fill in what was found."""
    attempts = [attempt for log in logs for attempt in log.attempts]
    completed, failed = recorder.completed.total(), recorder.failures.total()
    aborted = len(attempts) - completed - failed
    record.duration_s = length_ns / clock.NS_PER_S
    record.counts = Counts(
        intended=len(attempts), started=len(attempts), completed=completed, failed=failed, aborted=aborted
    )
    if length_ns:
        record.rate.achieved_per_s = len(attempts) / record.duration_s
        record.rate.completed_per_s = completed / record.duration_s
    name = record.firmware[0].name
    record.firmware = firmware_facts(recorder, {name: 1.0}, {name: len(attempts)})
    record.stages = stages_of(recorder.histogram)
    record.failures = failure_counts(recorder.failures)
    record.session_failures = failure_counts(recorder.session_failures, in_session=True)
    record.recording = recording_facts(recorder)
    facts = RunFacts(
        mode="closed",
        achieved_per_s=record.rate.achieved_per_s,
        samples=completed,
        more_samples="Import longer logs of this firmware, or more of them",
    )
    record.validity = judge(facts)
    record.validity.findings += _findings(record, logs)


def _findings(record: RunRecord, logs: Sequence[DeviceLog]) -> Iterator[Finding]:
    """Where the numbers come from, and what they leave out."""
    yield Finding(
        code="device_log",
        level="note",
        observed=RESOLUTION_US / 1_000,
        limit=0,
        text="The times are the device's own, from the stamps of its log: 1 ms fine, printing of lines included.",
        remedy="Compare it with `loadgen compare --anyway`, and medians rather than tails.",
    )
    partial = record.counts.completed - record.stage(Stage.CLOUD).count
    if partial:
        yield Finding(
            code="partial_stages",
            level="warn",
            observed=partial,
            limit=0,
            text=f"Of {partial:,} completed handshakes the log does not tell every stage; they are in those it tells.",
            remedy="Log at level ALL; firmware to 0.6.0 does not print the steps at all.",
        )
    if record.counts.aborted:
        yield Finding(
            code="unfinished_attempts",
            level="note",
            observed=record.counts.aborted,
            limit=0,
            text=f"Of {record.counts.aborted:,} attempts the log does not tell how or when they ended.",
            remedy="`loadgen devicelog show` lists them.",
        )
    damaged = sum(log.counts["broken"] + log.counts["interleaved"] + log.counts["garbled"] for log in logs)
    if damaged:
        yield Finding(
            code="broken_lines",
            level="note",
            observed=damaged,
            limit=0,
            text=f"{damaged:,} lines are broken, double or have a garbled stamp; what is whole in them was used.",
            remedy="Take the log with one program on the port, at the device's own rate.",
        )
    if len({log.versions.name for log in logs}) > 1 or any(log.changed_firmware for log in logs):
        yield Finding(
            code="mixed_firmware",
            level="warn",
            observed=len({log.versions.name for log in logs}),
            limit=1,
            text="The logs may be of several firmware versions: their words do not have the same versions in common.",
            remedy="Import the logs of each firmware by themselves.",
        )
