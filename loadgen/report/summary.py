"""What a record says, computed once: every row, unit and warning that a renderer shows.

Pure. Renderers choose columns, widths and colours; they compute nothing.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from loadgen.clock import NS_PER_S, NS_PER_US
from loadgen.protocol.stages import OURS, STAGE_BOUNDS, SUMS, Stage
from loadgen.protocol.topics import SESSION
from loadgen.recording.record import (
    FailureCount,
    Finding,
    FirmwareFacts,
    Generator,
    RunRecord,
    Sessions,
    Source,
    StageStats,
    Storm,
)
from loadgen.report.calibration import CalibrationTable, calibration_table
from loadgen.units import format_count, format_duration, format_number_of, format_percent, format_rate

NO_VALUE: Final = "–"
"""Stands where there is no number."""

STAGE_COLUMNS: Final = ("min", "mean", "p50", "p90", "p95", "p99", "p99.9", "p99.99", "max")
"""Columns of the stage table, in order; a renderer with little room leaves some out."""

_FIELDS: Final = ("min_us", "mean_us", "p50_us", "p90_us", "p95_us", "p99_us", "p999_us", "p9999_us", "max_us")

Verdict = Literal["valid", "invalid", "interrupted", "no data"]
Side = Literal["ours", "cloud", "sum", ""]
Group = Literal["part", "sum", "beside"]

MOST_LISTED: Final = 30
"""Kinds of failures that a text for people lists at most; documents for programs have every one."""

_COMPARED: Final = (Stage.HANDSHAKE, Stage.CLOUD)
"""Stages by which the firmwares of a mix are shown side by side."""

_BESIDE: Final = (Stage.WAKEUP_LAG, Stage.CRYPTO_WAIT, Stage.CRYPTO_RUN)
_UNITS: Final = (("ns", 1), ("µs", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000))
_WIDEST: Final = 100_000
"""A row's largest value takes at most five digits before the point, or the row gets the next unit."""


@dataclass(frozen=True, slots=True)
class StageRow:
    """One stage. ``cells`` are numbers in ``unit``, in the order of :data:`STAGE_COLUMNS`.

    ``side`` says where the time went: ``ours``, ``cloud`` (with the network), ``sum`` for a sum of stages.
    """

    stage: str
    side: Side
    count: str
    unit: str
    cells: tuple[str, ...]
    group: Group

    def cell(self, column: str) -> str:
        """The number of one of :data:`STAGE_COLUMNS`."""
        return self.cells[STAGE_COLUMNS.index(column)]


@dataclass(frozen=True, slots=True)
class FirmwareRow:
    """One firmware of a mix. Times are numbers in ``unit``; ``intervals`` are those of 95 % confidence of p50 and p99.

    ``started`` counts handshakes, ``failed`` those of them that failed, with their share.
    """

    name: str
    share: str
    started: str
    failed: str
    stage: str
    unit: str
    p50: str
    p99: str
    intervals: tuple[str, str]


@dataclass(frozen=True, slots=True)
class FailureRow:
    """One way to fail, ``number`` times. ``code`` is what a real device prints, empty where it prints none."""

    number: int
    count: str
    share: str
    what: str
    code: str
    explanation: str

    @property
    def sentence(self) -> str:
        """Everything in one line, for annotations and test reports."""
        code = f", device code {self.code}" if self.code else ""
        return f"{self.what}{code}: {self.count} ({self.share})" + (f"; {self.explanation}" if self.explanation else "")


@dataclass(frozen=True, slots=True)
class FindingRow:
    """One thing that limits what the numbers are worth."""

    level: Literal["note", "warn", "invalid"]
    code: str
    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Summary:
    """Everything that a report of one run shows, as text."""

    headline: str
    """What was run, one sentence."""
    verdict: Verdict
    outcome: str
    """What came out, one sentence."""
    stages: tuple[StageRow, ...]
    stage_hint: str
    """Why numbers are missing, where one is."""
    firmwares: tuple[FirmwareRow, ...]
    """Several rows for each firmware of a mix, one a stage; none where one firmware ran."""
    failures: tuple[FailureRow, ...]
    session_failures: tuple[FailureRow, ...]
    facts: tuple[tuple[str, str], ...]
    """(name, text) of the rates and of both sides' health."""
    findings: tuple[FindingRow, ...]
    record_path: str
    compare_with: str
    """The command that says whether the firmwares of a mix differ; empty where one firmware ran."""
    explain_with: str
    """The command that says more about the most frequent failure; empty where nothing failed."""
    calibration: CalibrationTable | None = None
    """Of a run that was held against its mock cloud's notes."""


def summarise(record: RunRecord, record_path: str) -> Summary:
    """Compute the summary of ``record``.

    Args:
        record: a finished record, or one that was rebuilt.
        record_path: its folder, as the user should read it.
    """
    stages = _stage_rows(record)
    return Summary(
        headline=_headline(record),
        verdict=_verdict(record),
        outcome=_outcome(record),
        stages=stages,
        stage_hint=_stage_hint(stages),
        firmwares=_firmware_rows(record),
        failures=failure_rows(record),
        session_failures=session_failure_rows(record),
        facts=tuple(_facts(record)),
        findings=_finding_rows(record.validity.findings),
        record_path=record_path,
        calibration=None if record.calibration is None else calibration_table(record.calibration),
        compare_with=_compare_with(record, record_path),
        explain_with=explain_with(record),
    )


# --- sentences


def _headline(record: RunRecord) -> str:
    if record.source is not None:
        logs = f"{len(record.source.files)} device log{'' if len(record.source.files) == 1 else 's'}"
        names = ", ".join(facts.name for facts in record.firmware)
        return f"{logs} over {_seconds(record.duration_s)} against {_target(record)}, {names}"
    return _run_sentence(record, f" for {_seconds(record.duration_s)}")


def announcement(record: RunRecord) -> str:
    """What is run, one sentence, while nobody knows for how long it will have been."""
    return _run_sentence(record, "")


def _run_sentence(record: RunRecord, duration: str) -> str:
    if record.rate.mode == "open":
        offered = record.rate.offered_per_s
        load = _open_loop(record.scenario)
        load += "" if offered is None else f" at {format_rate(offered)}"
    else:
        slots = record.scenario.get("concurrency")
        load = f"Closed loop with {format_count(slots)} in flight" if slots else "Closed loop"
    mixed = len(record.firmware) > 1
    firmware = ", ".join(
        f"{facts.name} {format_percent(facts.weight)}" if mixed else facts.name for facts in record.firmware
    )
    name = record.scenario.get("name")
    return f"{f'{name}: ' if name else ''}{load}{duration} against {_target(record)}, {firmware}"


def _open_loop(scenario: dict[str, Any]) -> str:
    """What made the schedule, where it was not a constant rate; the rate is then a mean."""
    phases = sum(not phase["warmup"] for phase in scenario.get("phases") or ())
    if phases:
        return f"Open loop in {phases} phases" if phases > 1 else "Open loop in one phase"
    if scenario.get("storm"):
        return f"Reconnect storm of {format_count(scenario['devices'])} devices"
    return f"Replay of {scenario['trace']}" if scenario.get("trace") else "Open loop"


def _target(record: RunRecord) -> str:
    if record.target.kind == "remote":
        return record.target.address
    mode = record.scenario.get("cloud_mode")
    kind = "the mock cloud, replaying" if mode == "replay" else "the mock cloud"
    return f"{kind} ({record.target.address})" if record.target.address else kind


def _verdict(record: RunRecord) -> Verdict:
    """The first of these that applies."""
    if record.validity.verdict == "invalid":
        return "invalid"
    if record.status == "interrupted":
        return "interrupted"
    return "valid" if record.counts.completed else "no data"


def _outcome(record: RunRecord) -> str:
    counts = record.counts
    parts = [f"{_handshakes(counts.completed)} completed"]
    parts.append(f"{format_count(counts.failed)} failed" if counts.failed else "none failed")
    if counts.aborted:
        parts.append(f"{format_count(counts.aborted)} aborted")
    if counts.not_started:
        parts.append(f"{format_count(counts.not_started)} not started")
    if record.status == "interrupted":
        parts.append("interrupted")
    return ", ".join(parts)


def _handshakes(count: int) -> str:
    return f"{format_count(count)} handshake{'' if count == 1 else 's'}"


def _seconds(seconds: float) -> str:
    """A measured duration, as exact as says something."""
    if seconds >= 60:
        return format_duration(round(seconds) * NS_PER_S)
    return f"{seconds:.3g}s"


# --- stages


def _stage_rows(record: RunRecord) -> tuple[StageRow, ...]:
    """The stages that have samples."""
    groups: tuple[tuple[Group, Iterable[Stage]], ...] = (
        ("part", STAGE_BOUNDS),
        ("sum", SUMS),
        ("beside", (Stage.FAILED, *_BESIDE)),
    )
    return tuple(
        _stage_row(record, stage, group) for group, stages in groups for stage in stages if record.stage(stage).count
    )


def _stage_row(record: RunRecord, stage: Stage, group: Group) -> StageRow:
    stats = record.stage(stage)
    unit, cells = _cells(stats)
    side: Side = ""
    if group == "part":
        side = "ours" if stage in OURS else "cloud"
    elif group == "sum":
        side = "sum"
    return StageRow(stage.value, side, format_count(stats.count), unit, cells, group)


def _cells(stats: StageStats) -> tuple[str, tuple[str, ...]]:
    """The row's unit and its numbers, three significant digits each."""
    values = [getattr(stats, field) for field in _FIELDS]
    known = [value * NS_PER_US for value in values if value is not None]
    unit, factor = best_unit(stats.p50_us * NS_PER_US if stats.p50_us else max(known, default=0), known)
    cells = tuple(NO_VALUE if value is None else three_digits(value * NS_PER_US / factor) for value in values)
    return (unit if known else "", cells)


def best_unit(typical_ns: float, values_ns: Sequence[float]) -> tuple[str, int]:
    """The unit in which ``typical_ns`` is at least 1 and no value needs more than five digits before the point.

    Returns:
        its name, and its length in ns.
    """
    largest = max(values_ns, default=0)
    fitting = [(name, factor) for name, factor in _UNITS if largest / factor < _WIDEST] or [_UNITS[-1]]
    return max((unit for unit in fitting if typical_ns >= unit[1]), key=lambda unit: unit[1], default=fitting[0])


def three_digits(value: float) -> str:
    """``value`` ≥ 0 with three significant digits, every digit before the point, and at most six behind it."""
    if value >= 99.95:
        return f"{value:,.0f}"
    if value == 0:
        return "0"
    decimals = min(2 - math.floor(math.log10(value)), 6)
    text = f"{value:.{decimals}f}"
    return text[:-1] if len(text.replace(".", "").lstrip("0")) > 3 else text  # 9.996 → 10.00 → 10.0


def _stage_hint(rows: Sequence[StageRow]) -> str:
    if not any(row.group == "part" for row in rows):
        return "No handshake was completed, so no stage has a time."
    return f"{NO_VALUE}: too few samples. A percentile pX takes 10/(1−X) of them (p99: 1,000)."


# --- firmwares


def _firmware_rows(record: RunRecord) -> tuple[FirmwareRow, ...]:
    if len(record.firmware) < 2:
        return ()
    return tuple(_firmware_row(facts, stage) for stage in _COMPARED for facts in record.firmware)


def _firmware_row(facts: FirmwareFacts, stage: Stage) -> FirmwareRow:
    counts, stats = facts.counts, facts.stages.get(stage.value) or StageStats()
    ends = [end for interval in (stats.p50_ci_us, stats.p99_ci_us) for end in interval or ()]
    known = [value * NS_PER_US for value in (stats.p50_us, stats.p99_us, *ends) if value is not None]
    unit, factor = best_unit(min(known, default=0), known)

    def shown(value_us: float | None) -> str:
        return NO_VALUE if value_us is None else three_digits(value_us * NS_PER_US / factor)

    intervals = tuple(
        "" if interval is None else f"{shown(interval[0])} … {shown(interval[1])}"
        for interval in (stats.p50_ci_us, stats.p99_ci_us)
    )
    return FirmwareRow(
        name=facts.name,
        share=_percent(facts.weight),
        started=format_count(counts.started),
        failed=f"{format_count(counts.failed)} ({_percent(counts.failed / counts.started)})"
        if counts.failed
        else "none",
        stage=stage.value,
        unit=unit if known else "",
        p50=shown(stats.p50_us),
        p99=shown(stats.p99_us),
        intervals=(intervals[0], intervals[1]),
    )


def explain_with(record: RunRecord) -> str:
    """The command that says more about the most frequent failure of a handshake, else of a session; else empty."""
    if record.failures:
        return f"loadgen explain {record.failures[0].stage}/{record.failures[0].reason}"
    if record.session_failures:
        return f"loadgen explain {SESSION}/{record.session_failures[0].reason}"
    return ""


def _compare_with(record: RunRecord, record_path: str) -> str:
    names = [facts.name for facts in record.firmware]
    if len(names) < 2:
        return ""
    chosen = "" if len(names) == 2 else f" --firmware {names[0]} --firmware {names[1]}"
    return f"loadgen compare {shlex.quote(record_path)}{chosen}"


# --- failures and findings


def failure_rows(record: RunRecord) -> tuple[FailureRow, ...]:
    """The ways in which handshakes failed, the most frequent first."""
    return _failure_rows(record.failures, record.counts.started, several=len(record.firmware) > 1)


def session_failure_rows(record: RunRecord) -> tuple[FailureRow, ...]:
    """The same of sessions after Hello."""
    return _failure_rows(record.session_failures, record.counts.completed, several=len(record.firmware) > 1)


def _failure_rows(failures: Sequence[FailureCount], of: int, *, several: bool) -> tuple[FailureRow, ...]:
    return tuple(
        FailureRow(
            number=failure.count,
            count=format_count(failure.count),
            share=_percent(failure.count / of) if of else NO_VALUE,
            what=f"{failure.stage}/{failure.reason}" + (f" [{failure.firmware}]" if several else ""),
            code="" if failure.device_code is None else str(failure.device_code),
            explanation=failure.explanation,
        )
        for failure in failures
    )


@dataclass(frozen=True, slots=True)
class FailureList:
    """The most frequent ways to fail. ``rows`` are explained where their explanation stands for the first time."""

    rows: tuple[tuple[FailureRow, str], ...]
    rest: tuple[FailureRow, ...]

    @property
    def more(self) -> str:
        """How much is left out; empty where nothing is."""
        if not self.rest:
            return ""
        kinds = format_number_of(len(self.rest), "more kind")
        number = sum(row.number for row in self.rest)
        return f"{kinds}, {format_count(number)} failure{'' if number == 1 else 's'}"


def listed_failures(rows: Sequence[FailureRow], most: int) -> FailureList:
    """What there is room for of some failures.

    Args:
        rows: the most frequent first.
        most: rows that are shown.
    """
    explained: set[str] = set()
    shown = []
    for row in rows[:most]:
        shown.append((row, "" if row.explanation in explained else row.explanation))
        explained.add(row.explanation)
    return FailureList(tuple(shown), tuple(rows[most:]))


def _percent(share: float) -> str:
    if share >= 0.0995:
        return format_percent(share)
    return f"{share * 100:.2g} %" if share >= 0.0001 else "<0.01 %"


def _finding_rows(findings: Sequence[Finding]) -> tuple[FindingRow, ...]:
    """The weightiest first."""
    order = {"invalid": 0, "warn": 1, "note": 2}
    return tuple(
        FindingRow(finding.level, finding.code, finding.text, finding.remedy)
        for finding in sorted(findings, key=lambda finding: order[finding.level])
    )


# --- facts


_SHOWN_FILES: Final = 4


def source_text(source: Source) -> str:
    """The logs that a record was made of, the first few by name, and who can have written them."""
    names = source.files[:_SHOWN_FILES]
    left = len(source.files) - len(names)
    more = f" and {left:,} more" if left else ""
    return f"{', '.join(names)}{more}; written by Device OS {source.versions}"


def _facts(record: RunRecord) -> list[tuple[str, str]]:
    if record.source is not None:
        return [("Source", source_text(record.source))]
    facts = [
        ("Rate", _rate(record)),
        ("Fleet", _fleet(record)),
        *_pace(record.scenario),
        ("Generator", _generator(record.generator, record.environment.crypto_backend)),
    ]
    if record.mock_cloud is not None:
        facts.append(("Mock cloud", _mock_cloud(record.mock_cloud, record.duration_s)))
    if record.storm is not None:
        facts.append(("Storm", _storm(record.storm)))
    if record.sessions is not None:
        facts.append(("Sessions", _sessions(record.sessions, storm=record.storm is not None)))
    return facts


def _pace(scenario: dict[str, Any]) -> list[tuple[str, str]]:
    """What was waited for on purpose, and where it shows."""
    texts = scenario.get("device_pace") or ()
    if not texts:
        return []
    return [("Pace", f"{'; '.join(texts)} (waited for in encrypt and unwrap, so in handshake, not in cloud)")]


def _storm(storm: Storm) -> str:
    """Who was back when; who never was."""
    times = (("50 %", storm.online_50_s), ("95 %", storm.online_95_s), ("99 %", storm.online_99_s))
    parts = [f"{share} online after {_seconds(at_s)}" for share, at_s in times if at_s is not None]
    if storm.online_100_s is not None:
        parts.append(f"all after {_seconds(storm.online_100_s)}")
    else:
        parts.append(f"{format_count(storm.devices - storm.online)} of {format_count(storm.devices)} never online")
    return ", ".join(parts)


def _sessions(sessions: Sessions, *, storm: bool) -> str:
    """What happened in them; in a storm every attempt is one to come back."""
    parts = [f"{format_count(sessions.events)} events sent"] if sessions.events else []
    if sessions.returned and not storm:
        parts.append(f"{format_count(sessions.returned)} attempts to come back")
    return ", ".join(parts) or "held, no events sent"


def _rate(record: RunRecord) -> str:
    rate = record.rate
    completed = f"{format_rate(rate.completed_per_s)} completed"
    if rate.offered_per_s is None:
        return completed
    return f"{format_rate(rate.offered_per_s)} offered, {format_rate(rate.achieved_per_s)} started, {completed}"


def _fleet(record: RunRecord) -> str:
    fleet = record.fleet
    return f"{format_number_of(fleet.devices, 'device')}, {format_number_of(fleet.distinct_keys, 'key')}"


def _generator(generator: Generator, backend: str) -> str:
    workers = format_number_of(generator.workers, "worker")
    parts = [f"{workers} on {backend}", f"CPU {format_percent(generator.cpu_utilisation)}"]
    if generator.cpu_us_per_handshake is not None:
        parts.append(f"{three_digits(generator.cpu_us_per_handshake)} µs of CPU a handshake")
    parts.append(f"at most {format_count(generator.max_in_flight)} in flight")
    return ", ".join(parts) + (", saturated" if generator.saturated else "")


def _mock_cloud(cloud: dict[str, Any], duration_s: float) -> str:
    """From the cloud's own account; what it does not say is left out."""
    workers = cloud.get("workers")
    count = len(workers) if isinstance(workers, list) else workers
    parts = []
    if count:
        parts.append(format_number_of(count, "worker"))
    utilisation, cpu_s = cloud.get("cpu_utilisation"), cloud.get("cpu_s")
    if utilisation is not None:
        parts.append(f"CPU {format_percent(utilisation)}")
    elif cpu_s is not None and count and duration_s:
        parts.append(f"CPU {format_percent(cpu_s / duration_s / count)}{' of each' if count > 1 else ''}")
    if cloud.get("cpu_us_per_handshake") is not None:
        parts.append(f"{three_digits(cloud['cpu_us_per_handshake'])} µs of CPU a handshake")
    failed = cloud.get("failed")
    if failed:
        parts.append(f"{format_count(failed)} failed there")
    return ", ".join(parts) or "no account of itself"
