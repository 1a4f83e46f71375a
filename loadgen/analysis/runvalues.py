"""What one run contributes to a comparison: named numbers, and the facts that must agree for them to be comparable.

A comparison knows nothing of handshakes. Any record can join that is turned into :class:`RunValues`: a run
(``loadgen/run/1``) here, a baseline's stored run, a crypto benchmark.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from loadgen.protocol.stages import STAGE_BOUNDS, SUMS, Stage
from loadgen.recording.record import Environment, RunRecord, StageStats

Policy = Literal["refuse", "warn"]

STATISTICS: Final = {
    "p50": "p50_us",
    "p75": "p75_us",
    "p90": "p90_us",
    "p95": "p95_us",
    "p99": "p99_us",
    "p99.9": "p999_us",
    "p99.99": "p9999_us",
    "mean": "mean_us",
    "max": "max_us",
}
"""Statistics of a stage, by the name that people use."""

DEFAULT_FAMILY: Final = tuple(
    f"{stage} {statistic}" for stage in ("handshake", "cloud", "key") for statistic in ("p50", "p99")
)
"""Metrics that verdicts are given for, unless others are declared."""

_SHOWN_STAGES: Final = (*STAGE_BOUNDS, *SUMS)

_LOAD_KEYS: Final = (
    "mode",
    "rate_per_s",
    "concurrency",
    "max_in_flight",
    "close",
    "hold_ns",
    "cloud_mode",
    "registry",
    "timeouts_ns",
    "device_pace",
)
"""Keys of a scenario that decide what is asked of the other side: with another value it is another question."""
_OTHER_KEYS: Final = ("product_id", "product_version", "name", "duration_ns", "count", "warmup_ns", "cloud_workers")
_RARE_LOAD_KEYS: Final = ("phases", "trace", "storm", "storm_devices", "hold", "events", "reconnect")
_RARE_OTHER_KEYS: Final = ("source_ip", "fault", "delay", "stall")
"""Keys that most scenarios do not use: where they are empty they are no fact, as in records from before them."""


class RunValues(msgspec.Struct, frozen=True, kw_only=True):
    """The numbers of one run.

    Attributes:
        id: the run's id.
        shown: its folder as the user knows it, for messages.
        started_at: ISO 8601 in UTC.
        label: the run's label.
        schema: of its record.
        facts: what must agree, by name; text for people.
        values: numbers by metric; a metric without (enough) samples is left out.
        units: unit of each metric: ``us``, ``share``, ``per_s`` or ``count``.
        problem: why the numbers may not be believed; empty if they may.
    """

    id: str
    shown: str
    started_at: str
    label: str | None
    schema: str
    facts: dict[str, str]
    values: dict[str, float]
    units: dict[str, str]
    problem: str = ""


def policy_of(fact: str) -> Policy:
    """What a difference in a fact leads to."""
    if fact == "schema" or fact.removeprefix("scenario ") in (*_LOAD_KEYS, *_RARE_LOAD_KEYS):
        return "refuse"
    return "refuse" if fact in ("machine: processor", "machine: cores") else "warn"


def higher_is_better(unit: str) -> bool:
    """Whether more of it is good: rates are, times and shares of failures are not."""
    return unit == "per_s"


def values_of_record(record: RunRecord, shown: str, firmware: str | None = None) -> RunValues:
    """The numbers of a run, of all its devices or of one firmware.

    Raises:
        KeyError: the run has no such firmware.
    """
    several = len(record.firmware) > 1
    stages: Mapping[str, StageStats] = record.stages
    if firmware is not None:
        by_name = {facts.name: facts.stages for facts in record.firmware}
        stages = by_name[firmware]
    values = dict(_stage_values(stages))
    units = dict.fromkeys(values, "us")
    whole = _whole_values(record) if firmware is None or not several else _failure_rate(record, firmware)
    for name, unit, value in whole:
        values[name], units[name] = value, unit
    return RunValues(
        id=record.id,
        shown=shown,
        started_at=record.started_at,
        label=record.label,
        schema=record.schema,
        facts=facts_of_record(record, firmware),
        values=values,
        units=units,
        problem=problem_of(record),
    )


def problem_of(record: RunRecord) -> str:
    """Why a run's numbers are left out of a comparison; empty if they are not."""
    if record.validity.verdict != "invalid":
        return "" if record.counts.completed else "no handshake was completed"
    worst = next((finding.text for finding in record.validity.findings if finding.level == "invalid"), "")
    return f"the run is invalid: {worst}" if worst else "the run is invalid"


def _stage_values(stages: Mapping[str, StageStats]) -> Iterable[tuple[str, float]]:
    for stage in _SHOWN_STAGES:
        stats = stages.get(stage.value)
        for name, field in STATISTICS.items() if stats is not None else ():
            value = getattr(stats, field)
            if value is not None:
                yield f"{stage.value} {name}", value


def _failure_rate(record: RunRecord, firmware: str) -> Iterable[tuple[str, str, float]]:
    """Of one firmware of several: its rate and its share of the generator's work say nothing about it."""
    for facts in record.firmware:
        if facts.name == firmware and facts.counts.started:
            yield "failures rate", "share", facts.counts.failed / facts.counts.started


def _whole_values(record: RunRecord) -> Iterable[tuple[str, str, float]]:
    counts = record.counts
    if counts.started:
        yield "failures rate", "share", counts.failed / counts.started
    if record.source is None:
        yield "completed rate", "per_s", record.rate.completed_per_s
    if record.generator.cpu_us_per_handshake is not None:
        yield "generator cpu", "us", record.generator.cpu_us_per_handshake


def stage_metric(metric: str) -> tuple[Stage, float] | None:
    """Stage and quantile of a metric such as ``handshake p99``; None if it is not a percentile of a stage."""
    stage, _, statistic = metric.partition(" ")
    if stage not in set(Stage) or not statistic.startswith("p") or statistic not in STATISTICS:
        return None
    return Stage(stage), float(f"{float(statistic[1:]) / 100:.6g}")


# --- facts


def facts_of_record(record: RunRecord, firmware: str | None = None) -> dict[str, str]:
    """What must agree between the runs of a comparison."""
    environment, scenario = record.environment, record.scenario
    facts = {"schema": record.schema}
    for key in (*_OTHER_KEYS, *_LOAD_KEYS):
        if key in scenario:
            facts[f"scenario {key}"] = _text(scenario[key])
    for key in (*_RARE_OTHER_KEYS, *_RARE_LOAD_KEYS):
        if scenario.get(key):
            facts[f"scenario {key}"] = _rare_text(scenario[key])
    names = [firmware] if firmware else [f"{part.name} {part.weight:.0%}" for part in record.firmware]
    facts |= {
        "target": "mock" if record.target.kind == "mock" else record.target.address,
        "fleet: devices": str(record.fleet.devices),
        "fleet: keys": str(record.fleet.distinct_keys),
        "firmware": ", ".join(names).removesuffix(" 100%"),
        "crypto backend": environment.crypto_backend,
        "workers": str(record.generator.workers),
        **machine_facts(environment),
        "kernel": environment.kernel,
        "openssl": environment.openssl,
        "python": environment.python,
        "timestamps": environment.timestamps,
        "engine": environment.engine,
        "loadgen": environment.loadgen,
    }
    return facts


def machine_facts(environment: Environment) -> dict[str, str]:
    """What makes a machine the same machine."""
    return {
        "machine: processor": environment.cpu_model,
        "machine: cores": str(environment.cores),
        "machine: features": " ".join(environment.isa),
    }


def fingerprint(facts: Mapping[str, str]) -> str:
    """8 hexadecimal digits that stand for a machine: its processor, allowed cores and features."""
    machine = sorted((name, value) for name, value in facts.items() if name.startswith("machine: "))
    return hashlib.sha256(json.dumps(machine).encode()).hexdigest()[:8]


def _text(value: Any) -> str:
    if isinstance(value, float) and value == int(value):
        value = int(value)
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _rare_text(value: Any) -> str:
    """As :func:`_text`, but lists by their entries, and phases as they were written."""
    if not isinstance(value, list):
        return _text(value)
    return ", ".join(_text(entry.get("text", entry) if isinstance(entry, dict) else entry) for entry in value)


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """A fact in which the runs of a comparison do not agree.

    Attributes:
        fact: its name.
        base: values of the base runs, joined.
        new: values of the new runs, joined.
        policy: what follows from it.
    """

    fact: str
    base: str
    new: str
    policy: Policy

    @property
    def text(self) -> str:
        """One sentence."""
        if self.base == self.new:
            return f"{self.fact} differs between the runs of a side: {self.base}."
        return f"{self.fact} differs: {self.base} in base, {self.new} in new."


def differences(base: Sequence[RunValues], new: Sequence[RunValues]) -> list[Difference]:
    """Facts that are not the same in all runs, those that make a comparison meaningless first."""
    found = []
    names = dict.fromkeys(name for run in (*base, *new) for name in run.facts)
    for name in names:
        sides = [_distinct(side, name) for side in (base, new)]
        if len({*sides[0], *sides[1]}) > 1:
            texts = [" and ".join(side) for side in sides]
            found.append(Difference(fact=name, base=texts[0], new=texts[1], policy=policy_of(name)))
    return sorted(found, key=lambda difference: difference.policy != "refuse")


def _distinct(runs: Sequence[RunValues], fact: str) -> list[str]:
    absent = "none" if fact.removeprefix("scenario ") in (*_RARE_OTHER_KEYS, *_RARE_LOAD_KEYS) else "not known"
    return list(dict.fromkeys(run.facts.get(fact, absent) for run in runs))
