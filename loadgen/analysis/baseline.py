"""Baselines: the numbers of a set of runs, kept to be compared against, in a form that people can review.

A baseline belongs to a scenario and a machine. Its file has one line a metric with one number a run, so that a
change of it can be read in a diff. It holds no histograms: the unit of a comparison is the run.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Final

import msgspec

from loadgen.analysis.runvalues import STATISTICS, RunValues, differences, fingerprint
from loadgen.analysis.statistics import noise_of

SCHEMA: Final = "loadgen/baseline/1"
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_KEPT: Final = ("p50", "p90", "p99", "p99.9", "mean")
"""Statistics of a stage that a baseline keeps."""


class BaselineRun(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a baseline, without its numbers."""

    id: str
    started_at: str
    label: str | None = None


class Baseline(msgspec.Struct, frozen=True, kw_only=True):
    """A baseline.

    Attributes:
        schema: of this file.
        records: schema of the records that it was made of.
        scenario: name of the scenario.
        machine: fingerprint of the machine.
        set_at: when it was made, ISO 8601 in UTC.
        note: what the user said of it.
        facts: what all its runs have in common.
        run_facts: what they have not: one text a run.
        runs: its runs.
        units: unit of each metric that is not in µs.
        values: one number a run for each metric, null where a run has none.
    """

    schema: str = SCHEMA
    records: str
    scenario: str
    machine: str
    set_at: str
    note: str | None
    facts: dict[str, str]
    run_facts: dict[str, list[str]]
    runs: list[BaselineRun]
    units: dict[str, str]
    values: dict[str, list[float | None]]

    def run_values(self, shown: str) -> list[RunValues]:
        """Its runs as a comparison takes them; ``shown`` is the file as the user knows it."""
        return [
            RunValues(
                id=run.id,
                shown=f"{shown} (run {run.id})",
                started_at=run.started_at,
                label=run.label,
                schema=self.records,
                facts=self.facts | {name: texts[index] for name, texts in self.run_facts.items()},
                values={name: value for name, row in self.values.items() if (value := row[index]) is not None},
                units={name: self.units.get(name, "us") for name in self.values},
            )
            for index, run in enumerate(self.runs)
        ]

    def noise(self, metric: str) -> float | None:
        """Run-to-run noise of a metric as a share; None for fewer than 3 runs that have it."""
        return noise_of([value for value in self.values.get(metric, ()) if value is not None])


def make_baseline(runs: Sequence[RunValues], set_at: str, note: str | None) -> Baseline:
    """A baseline of these runs.

    Raises:
        ValueError: there are none, or they do not belong together; the sentence says why.
    """
    if not runs:
        raise ValueError("there is no run to make a baseline of")
    for difference in differences(runs, runs):
        if difference.policy == "refuse" or difference.fact == "scenario name":
            raise ValueError(f"the runs do not belong together: {difference.text.rstrip('.')}")
    names = list(dict.fromkeys(name for run in runs for name in run.values if _kept(name)))
    facts = {name for run in runs for name in run.facts}
    shared = {name for name in facts if len({run.facts.get(name) for run in runs}) == 1}
    return Baseline(
        records=runs[0].schema,
        scenario=runs[0].facts.get("scenario name", "unnamed"),
        machine=fingerprint(runs[0].facts),
        set_at=set_at,
        note=note,
        facts={name: text for name, text in runs[0].facts.items() if name in shared},
        run_facts={name: [run.facts.get(name, "not known") for run in runs] for name in sorted(facts - shared)},
        runs=[BaselineRun(id=run.id, started_at=run.started_at, label=run.label) for run in runs],
        units={name: unit for run in runs for name, unit in run.units.items() if name in names and unit != "us"},
        values={name: [run.values.get(name) for run in runs] for name in names},
    )


def _kept(metric: str) -> bool:
    statistic = metric.partition(" ")[2]
    return statistic not in STATISTICS or statistic in _KEPT


def file_name(scenario: str, machine: str) -> str:
    """``<scenario>-<fingerprint>.json``."""
    return f"{_UNSAFE.sub('_', scenario)}-{machine}.json"


def encode_baseline(baseline: Baseline) -> bytes:
    """The file's content: indented JSON, each list of numbers on one line."""
    document = msgspec.to_builtins(baseline)
    text = json.dumps(document, indent=2, ensure_ascii=False)
    one_line = re.compile(r"\[[^\[\]{}\"]*\]")  # lists of numbers only
    return (one_line.sub(lambda found: f"[{' '.join(found[0][1:-1].split())}]", text) + "\n").encode()


def decode_baseline(data: bytes) -> Baseline:
    """Read a file's content.

    Raises:
        ValueError: it is no baseline, damaged, or of a newer loadgen; the sentence says why.
    """
    try:
        document = json.loads(data)
    except ValueError as error:
        raise ValueError(f"the file is no JSON: {error}") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != SCHEMA:
        raise ValueError(f"the file has the schema {schema!r}; this loadgen reads {SCHEMA!r}")
    try:
        baseline = msgspec.convert(document, Baseline)
    except msgspec.ValidationError as error:
        raise ValueError(f"the baseline is damaged: {error}") from None
    rows: list[tuple[str, int]] = [(name, len(row)) for name, row in baseline.values.items()]
    rows += [(name, len(texts)) for name, texts in baseline.run_facts.items()]
    for name, length in rows:
        if length != len(baseline.runs):
            raise ValueError(f"the baseline is damaged: {name} has {length} values for {len(baseline.runs)} runs")
    return baseline
