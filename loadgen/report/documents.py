"""JSON documents of gates, comparisons and reports. Numbers in the unit that stands beside them; null: no value."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from loadgen.analysis.compare import Comparison, Row, Side
from loadgen.analysis.gates import GateResult
from loadgen.recording.record import RunRecord
from loadgen.report.verdicts import GateSummary
from loadgen.store import encode_record

GATE_SCHEMA = "loadgen/gate/1"
COMPARE_SCHEMA = "loadgen/compare/1"
REPORT_SCHEMA = "loadgen/report/1"


def gates_document(gates: Iterable[tuple[GateSummary, Sequence[GateResult]]], exit_code: int) -> bytes:
    """Thresholds of some runs, and the exit code that follows."""
    runs = [
        {
            "path": summary.path,
            "scenario": summary.scenario,
            "verdict": summary.verdict.replace(" ", "_"),
            "problem": summary.problem or None,
            "thresholds": [_gate(result) for result in results],
        }
        for summary, results in gates
    ]
    return _encode({"schema": GATE_SCHEMA, "exit_code": exit_code, "runs": runs})


def _gate(result: GateResult) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(result.for_record())
    return {**built, "operator": result.threshold.operator, "unit": result.unit, "detail": result.detail or None}


def comparison_document(comparison: Comparison, base_name: str, new_name: str, *, seed: int, exit_code: int) -> bytes:
    """A comparison, and the exit code that follows."""
    settings = comparison.settings
    family = set(settings.whole_family)
    document = {
        "schema": COMPARE_SCHEMA,
        "exit_code": exit_code,
        "design": comparison.design,
        "seed": seed,
        "effect": settings.effect,
        "family": list(settings.whole_family),
        "base": {"name": base_name, "runs": [run.id for run in comparison.base]},
        "new": {"name": new_name, "runs": [run.id for run in comparison.new]},
        "left_out": [{"id": run.id, "path": run.shown, "problem": run.problem} for run in comparison.left_out],
        "rows": [_row(row, in_family=row.metric in family) for row in comparison.rows],
        "judged": [
            {"condition": judged.condition.text, "outcome": judged.outcome, "text": judged.text}
            for judged in comparison.judged
        ],
        "warnings": [
            {"code": caution.code, "text": caution.text, "remedy": caution.remedy} for caution in comparison.cautions
        ],
        "differences": msgspec.to_builtins(comparison.differences),
    }
    return _encode(document)


def _row(row: Row, *, in_family: bool) -> dict[str, Any]:
    return {
        "metric": row.metric,
        "unit": row.unit,
        "in_family": in_family,
        "base": _side(row.base),
        "new": _side(row.new),
        "change": row.change,
        "change_ci": row.interval,
        "p": row.p,
        "p_adjusted": row.p_adjusted,
        "verdict": row.verdict.replace(" ", "_") or None,
        "note": row.note or None,
    }


def _side(side: Side) -> dict[str, Any]:
    return {"value": side.value, "noise": side.noise, "runs": side.runs}


def runs_document(records: Iterable[tuple[RunRecord, str]]) -> bytes:
    """Some runs' records, each with its path."""
    built = [{**msgspec.json.decode(encode_record(record)), "path": path} for record, path in records]
    return _encode({"schema": REPORT_SCHEMA, "records": built})


def _encode(document: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2)
