"""CSV: one row a stage, a threshold or a metric. Numbers are bare, in the unit that the column or row names."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from loadgen.analysis.compare import Comparison
from loadgen.analysis.gates import GateResult
from loadgen.recording.record import RunRecord, StageStats

_STAT_FIELDS = tuple(field for field in StageStats.__struct_fields__ if not field.endswith("_ci_us"))
_INTERVALS = tuple(field for field in StageStats.__struct_fields__ if field.endswith("_ci_us"))


def runs_csv(records: Iterable[tuple[RunRecord, str]]) -> str:
    """Every stage of some runs, of all devices and of each firmware.

    Args:
        records: runs and their paths.
    """
    ends = [f"{name.removesuffix('_us')}_{end}_us" for name in _INTERVALS for end in ("low", "high")]
    head = ["record", "id", "label", "scenario", "started_at", "verdict", "stage", "firmware", *_STAT_FIELDS, *ends]
    rows = []
    for record, path in records:
        first = [
            path,
            record.id,
            record.label or "",
            record.scenario.get("name", ""),
            record.started_at,
            record.validity.verdict,
        ]
        several = [(facts.name, facts.stages) for facts in record.firmware] if len(record.firmware) > 1 else []
        for firmware, stages in (("", record.stages), *several):
            for stage, stats in stages.items():
                rows.append([*first, stage, firmware, *_numbers(stats)])
    return _text(head, rows)


def _numbers(stats: StageStats) -> list[object]:
    intervals = [getattr(stats, name) or (None, None) for name in _INTERVALS]
    return [*(getattr(stats, name) for name in _STAT_FIELDS), *(end for interval in intervals for end in interval)]


def gates_csv(gates: Iterable[tuple[str, Sequence[GateResult]]]) -> str:
    """Thresholds of some runs.

    Args:
        gates: paths of the runs, and how their thresholds went.
    """
    head = [
        "record",
        "threshold",
        "outcome",
        "observed",
        "low",
        "high",
        "operator",
        "limit",
        "unit",
        "samples",
        "detail",
    ]
    rows = [
        [
            path,
            result.threshold.text,
            result.outcome,
            result.observed,
            *(result.interval or (None, None)),
            result.threshold.operator,
            result.threshold.limit,
            result.unit,
            result.samples,
            result.detail,
        ]
        for path, results in gates
        for result in results
    ]
    return _text(head, rows)


def comparison_csv(comparison: Comparison) -> str:
    """The rows of a comparison."""
    head = [
        "metric",
        "unit",
        "base",
        "base_noise",
        "base_runs",
        "new",
        "new_noise",
        "new_runs",
        "change",
        "low",
        "high",
    ]
    rows = [
        [
            row.metric,
            row.unit,
            row.base.value,
            row.base.noise,
            row.base.runs,
            row.new.value,
            row.new.noise,
            row.new.runs,
            row.change,
            *(row.interval or (None, None)),
            row.p,
            row.p_adjusted,
            row.verdict,
            row.note,
        ]
        for row in comparison.rows
    ]
    return _text([*head, "p", "p_adjusted", "verdict", "note"], rows)


def _text(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return stream.getvalue()


def _cell(value: object) -> object:
    """Text that a spreadsheet would take for a formula is marked as text."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "@", "-", "\t", "\r") else value
