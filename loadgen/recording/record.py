"""The types of a run record, ``loadgen/run/1``, and how the numbers in them come from histograms.

``results/README.md`` describes every field for users. Fields may be added with a default: readers ignore what they
do not know. A field is never renamed or given another meaning under the same schema.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias

import msgspec

from loadgen.clock import NS_PER_S, NS_PER_US
from loadgen.protocol.explain import explain
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram
from loadgen.recording.recorder import BESIDE, FailureKey, Recorder

SCHEMA: Final = "loadgen/run/1"

PERCENTILES: Final[dict[str, float]] = {
    "p50": 0.5,
    "p75": 0.75,
    "p90": 0.9,
    "p95": 0.95,
    "p99": 0.99,
    "p999": 0.999,
    "p9999": 0.9999,
}
"""Percentiles of a record, by the name that begins their fields."""

Level: TypeAlias = Literal["note", "warn", "invalid"]
Outcome: TypeAlias = Literal["pass", "fail", "no_data"]
Interval95: TypeAlias = tuple[float, float]
"""A 95 % confidence interval, both ends included."""


class StageStats(msgspec.Struct, kw_only=True):
    """One stage over the recorded window. Times in µs, null without (enough) samples."""

    count: int = 0
    min_us: float | None = None
    mean_us: float | None = None
    p50_us: float | None = None
    p75_us: float | None = None
    p90_us: float | None = None
    p95_us: float | None = None
    p99_us: float | None = None
    p999_us: float | None = None
    p9999_us: float | None = None
    max_us: float | None = None
    p50_ci_us: Interval95 | None = None
    p75_ci_us: Interval95 | None = None
    p90_ci_us: Interval95 | None = None
    p95_ci_us: Interval95 | None = None
    p99_ci_us: Interval95 | None = None
    p999_ci_us: Interval95 | None = None
    p9999_ci_us: Interval95 | None = None


class Counts(msgspec.Struct, kw_only=True):
    """Handshakes of the recorded window: intended = started + not_started, started = completed + failed + aborted."""

    intended: int = 0
    started: int = 0
    completed: int = 0
    failed: int = 0
    aborted: int = 0
    not_started: int = 0


class FirmwareCounts(msgspec.Struct, kw_only=True):
    """Handshakes of one firmware: started = completed + failed + aborted. Of a start that found no device nobody knows
    what it would have run."""

    started: int = 0
    completed: int = 0
    failed: int = 0
    aborted: int = 0


class FirmwareFacts(msgspec.Struct, kw_only=True):
    """One firmware of the run, and its share of the devices. The weights of a run add up to 1."""

    name: str
    weight: float = 1.0
    counts: FirmwareCounts = msgspec.field(default_factory=FirmwareCounts)
    stages: dict[str, StageStats] = {}


class FailureTally(msgspec.Struct, kw_only=True):
    """How often something failed in one way. ``device_code`` is null where a real device prints none."""

    stage: str
    reason: str
    device_code: int | None
    firmware: str
    count: int


class FailureCount(FailureTally, kw_only=True):
    """The same, explained."""

    explanation: str = ""
    """What it means and its usual cause, one line."""


class Target(msgspec.Struct, kw_only=True):
    """What was measured."""

    address: str
    kind: Literal["mock", "remote"]
    """``mock``: the mock cloud that the run started for itself."""


class FleetFacts(msgspec.Struct, kw_only=True):
    """The devices that took part."""

    devices: int
    distinct_keys: int


class Environment(msgspec.Struct, kw_only=True):
    """Where and with what the run was made."""

    loadgen: str
    git: str | None
    python: str
    openssl: str
    cpu_model: str
    cores: int
    kernel: str
    isa: list[str]
    crypto_backend: str
    timestamps: str
    engine: str


class Generator(msgspec.Struct, kw_only=True):
    """What the load cost this side."""

    cpu_s: float = 0.0
    cpu_utilisation: float = 0.0
    cpu_us_per_handshake: float | None = None
    workers: int = 0
    max_in_flight: int = 0
    """Most handshakes in flight at one time."""
    saturated: bool = False


class Finding(msgspec.Struct, kw_only=True):
    """One thing that limits what the numbers are worth."""

    code: str
    level: Level
    observed: float
    limit: float
    text: str
    """What was observed, in one sentence."""
    remedy: str


class Validity(msgspec.Struct, kw_only=True):
    """Whether the numbers may be believed."""

    verdict: Literal["valid", "invalid"] = "valid"
    findings: list[Finding] = []


class Rate(msgspec.Struct, kw_only=True):
    """Starts and completions per second of the recorded window."""

    mode: Literal["open", "closed"]
    offered_per_s: float | None = None
    achieved_per_s: float = 0.0
    completed_per_s: float = 0.0


class Storm(msgspec.Struct, kw_only=True):
    """Seconds from the loss of all sessions until this share of the fleet was online again."""

    devices: int = 0
    """The fleet."""
    online: int = 0
    """Devices that came back."""
    online_50_s: float | None = None
    online_95_s: float | None = None
    online_99_s: float | None = None
    online_100_s: float | None = None


class Sessions(msgspec.Struct, kw_only=True):
    """What happened in sessions that were held."""

    events: int = 0
    """Sent by devices."""
    returned: int = 0
    """Attempts of devices that had lost their session; they are also in the counts."""


class Threshold(msgspec.Struct, kw_only=True):
    """One threshold and how it went."""

    text: str
    outcome: Outcome
    observed: float | None
    observed_ci: Interval95 | None
    limit: float
    samples: int
    detail: str = ""
    """Why there is no data, or in which window the value was seen."""


class CalibratedPercentile(msgspec.Struct, kw_only=True):
    """One percentile of one stage, as reported and as it was. Times in µs, null where it was not judged."""

    stage: str
    percentile: str
    """``p50``, ``p90``, ``p99`` or ``p999``."""
    truth_us: float | None = None
    measured_us: float | None = None
    error_us: float | None = None
    """measured − truth."""
    limit_us: float | None = None
    """What the error may be, either way."""
    outcome: Outcome


class Calibration(msgspec.Struct, kw_only=True):
    """What the run reported against what its mock cloud wrote down."""

    outcome: Outcome
    handshakes: int
    """Completed in the recorded window."""
    found: int
    """Of these, how many were found in the cloud's notes."""
    percentiles: list[CalibratedPercentile]


class RecordingFacts(msgspec.Struct, kw_only=True):
    """What the recorder had to repair or could not place."""

    corrections: dict[str, int] = {}
    """Points moved up to their predecessor, by point."""
    corrected_max_us: float = 0.0
    """The longest such move."""
    missing_stamps: dict[str, int] = {}
    """Stamps that were missing, by kind."""
    clamped: int = 0
    """Values above one hour."""
    late: int = 0
    """Handshakes counted in a later second than their own."""


class WorkerFacts(msgspec.Struct, kw_only=True):
    """One process of the generator."""

    index: int
    pid: int = 0
    started: int = 0
    completed: int = 0
    failed: int = 0
    aborted: int = 0
    cpu_s: float = 0.0
    lost: bool = False
    lost_reason: str | None = None


class Source(msgspec.Struct, kw_only=True):
    """Where a record comes from that no run of loadgen has measured."""

    kind: Literal["device_log"]
    files: list[str]
    versions: str
    """Of Device OS that can have written them."""
    resolution_us: float
    """Of its times."""


class RunRecord(msgspec.Struct, kw_only=True):
    """The whole of ``run.json``."""

    schema: str = SCHEMA
    id: str
    label: str | None
    status: Literal["running", "complete", "interrupted"]
    started_at: str
    duration_s: float = 0.0
    scenario: dict[str, Any]
    seed: int | None
    target: Target
    fleet: FleetFacts
    firmware: list[FirmwareFacts]
    environment: Environment
    generator: Generator = msgspec.field(default_factory=Generator)
    mock_cloud: dict[str, Any] | None = None
    validity: Validity = msgspec.field(default_factory=Validity)
    rate: Rate
    counts: Counts = msgspec.field(default_factory=Counts)
    stages: dict[str, StageStats] = {}
    failures: list[FailureCount] = []
    session_failures: list[FailureCount] = []
    storm: Storm | None = None
    sessions: Sessions | None = None
    thresholds: list[Threshold] = []
    calibration: Calibration | None = None
    source: Source | None = None
    recording: RecordingFacts = msgspec.field(default_factory=RecordingFacts)
    workers: list[WorkerFacts] = []

    def stage(self, stage: Stage) -> StageStats:
        """Statistics of a stage; those of no samples where the record has none."""
        return self.stages.get(stage.value) or StageStats()


class SecondFacts(msgspec.Struct, kw_only=True):
    """What the recorder cannot know of one second: counts within it, and the state at its end."""

    intended: int = 0
    started: int = 0
    aborted: int = 0
    in_flight: int = 0
    waiting: int = 0
    """Starts that are due and wait for a device, a slot or a descriptor."""
    started_of: list[int] = []
    """``started`` of each firmware in the record's order; empty where there is only one."""
    worker_cpu_s: list[float] = []
    """CPU time that each worker process used within the second."""
    mock_cloud_cpu_s: list[float] = []
    """The same of the mock cloud's processes."""


class FirmwareSecond(msgspec.Struct, kw_only=True):
    """Handshakes of one firmware within a second."""

    started: int = 0
    completed: int = 0
    failed: int = 0


class IntervalLine(msgspec.Struct, kw_only=True):
    """One line of ``intervals.jsonl``."""

    second: int
    time: str
    intended: int
    started: int
    completed: int
    failed: int
    aborted: int
    session_failed: int
    in_flight: int
    waiting: int
    firmware: dict[str, FirmwareSecond]
    failures: list[FailureTally]
    session_failures: list[FailureTally]
    worker_cpu_s: list[float]
    mock_cloud_cpu_s: list[float]


def utc_text(wall_ns: int) -> str:
    """An instant (ns since 1970) as ISO 8601 in UTC with milliseconds."""
    instant = datetime.fromtimestamp(wall_ns / NS_PER_S, UTC)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def microseconds(value_ns: float | None) -> float | None:
    """ns → µs with three decimals, so that whole ns stay exact."""
    return None if value_ns is None else round(value_ns / NS_PER_US, 3)


def stage_stats(histogram: Histogram) -> StageStats:
    """Everything that a record says of one histogram."""
    stats = StageStats(
        count=histogram.count,
        min_us=microseconds(histogram.min_ns),
        mean_us=microseconds(histogram.mean_ns),
        max_us=microseconds(histogram.max_ns),
    )
    for name, quantile in PERCENTILES.items():
        interval = histogram.percentile_ci_ns(quantile)
        if interval is not None:
            low, high = interval
            setattr(stats, f"{name}_us", microseconds(histogram.percentile_ns(quantile)))
            setattr(stats, f"{name}_ci_us", (low / NS_PER_US, high / NS_PER_US))
    return stats


def stages_of(histogram_of: Callable[[Stage], Histogram]) -> dict[str, StageStats]:
    """Statistics of every stage. Those beside the sum are left out where they were not measured.

    Args:
        histogram_of: for example ``recorder.histogram``.
    """
    stages = {stage: stage_stats(histogram_of(stage)) for stage in Stage}
    return {stage.value: stats for stage, stats in stages.items() if stats.count or stage not in BESIDE}


def firmware_counts(started: int, completed: int, failed: int) -> FirmwareCounts:
    """Counts that add up: what has started and not ended was aborted."""
    started = max(started, completed + failed)
    return FirmwareCounts(started=started, completed=completed, failed=failed, aborted=started - completed - failed)


def firmware_facts(
    recorder: Recorder, weights: Mapping[str, float], started: Mapping[str, int], *, with_stages: bool = True
) -> list[FirmwareFacts]:
    """What is known of each firmware of a run.

    Args:
        recorder: of the run.
        weights: share of the devices, by name.
        started: handshakes started, by name.
        with_stages: also the statistics of the stages, which are most of the work.
    """
    return [
        FirmwareFacts(
            name=name,
            weight=weights[name],
            counts=firmware_counts(
                started[name],
                recorder.completed[name],
                sum(n for key, n in recorder.failures.items() if key.firmware == name),
            ),
            stages=stages_of(lambda stage, name=name: recorder.histogram(stage, name))  # type: ignore[misc]
            if with_stages
            else {},
        )
        for name in recorder.firmwares
    ]


def failure_tallies(failures: Mapping[FailureKey, int]) -> list[FailureTally]:
    """Failures as an interval lists them, the most frequent first."""
    ordered = sorted(failures.items(), key=lambda item: (-item[1], *map(str, item[0])))
    return [
        FailureTally(
            stage=key.stage.value,
            reason=key.reason.value,
            device_code=key.device_code,
            firmware=key.firmware,
            count=count,
        )
        for key, count in ordered
    ]


def failure_counts(failures: Mapping[FailureKey, int], *, in_session: bool = False) -> list[FailureCount]:
    """Failures as a record lists them: :func:`failure_tallies` with an explanation of each."""
    return [
        FailureCount(
            **msgspec.structs.asdict(tally),
            explanation=explain(Stage(tally.stage), Reason(tally.reason), in_session=in_session).sentence,
        )
        for tally in failure_tallies(failures)
    ]


def recording_facts(recorder: Recorder) -> RecordingFacts:
    """What a recorder had to repair."""
    return RecordingFacts(
        corrections=dict(recorder.corrections),
        corrected_max_us=recorder.corrected_max_ns / NS_PER_US,
        missing_stamps=dict(recorder.missing),
        clamped=recorder.clamped,
        late=recorder.late,
    )
