"""Reports in GitHub's Markdown: runs, gates and comparisons."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

from loadgen.report.calibration import CALIBRATION_COLUMNS
from loadgen.report.detail import LADDER_STAGES, LadderRow, WaterfallRow, bar
from loadgen.report.summary import MOST_LISTED, FirmwareRow, Summary, listed_failures
from loadgen.report.terminal import plain_text
from loadgen.report.verdicts import ComparisonSummary, GateSummary

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>|#~])")
_COLUMNS: Final = ("p50", "p90", "p95", "p99", "p99.9", "max")
_BAR_CELLS: Final = 40
_WORDS: Final = frozenset(
    {"metric", "percentile", "stage", "side", "unit", "what", "explanation", "fact", "value", "outcome", "threshold",
     "detail", "test", "verdict", "firmware"}
)  # fmt: skip
"""Heads of columns that are no numbers."""
_FIRMWARE_COLUMNS: Final = (
    "firmware", "share", "started", "failed", "stage", "unit", "p50", "95 % interval", "p99", "95 % interval",
)  # fmt: skip


def escape(text: str) -> str:
    """Text that stands for itself, also in a cell of a table."""
    return _SPECIAL.sub(r"\\\1", plain_text(text).replace("\n", " "))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; columns of numbers are aligned to the right. Cells are escaped here."""
    marks = ["---" if name in _WORDS else "---:" for name in head]
    lines = [head, marks, *([escape(cell) for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def run_markdown(summary: Summary, rungs: Sequence[LadderRow], falls: Sequence[WaterfallRow]) -> str:
    """One run."""
    parts = [f"## {escape(summary.headline)}\n", f"**{summary.verdict.upper()}**: {escape(summary.outcome)}\n"]
    if rungs:
        head = ["handshake", *(stage.value for stage in LADDER_STAGES[1:])]
        rows = [[rung.step, *rung.values, rung.interval] for rung in rungs]
        parts.append(table(["percentile", *head, "95 % interval of handshake"], rows))
    if falls:
        lines = [f"{row.stage:<8} {row.mean:>9}  {bar(row, _BAR_CELLS)}".rstrip() for row in falls]
        parts.append("Stages of the mean handshake:\n\n```text\n" + "\n".join(lines) + "\n```\n")
    if summary.stages:
        stages = [[row.stage, row.side, row.count, row.unit, *map(row.cell, _COLUMNS)] for row in summary.stages]
        parts.append(table(["stage", "side", "count", "unit", *_COLUMNS], stages))
    if summary.calibration is not None:
        parts.append(f"### Calibration: {summary.calibration.outcome}\n")
        parts.append(f"{escape(summary.calibration.sentence)}\n")
        parts.append(table(CALIBRATION_COLUMNS, summary.calibration.rows))
    if summary.firmwares:
        parts.append(table(_FIRMWARE_COLUMNS, map(_firmware_cells, summary.firmwares)))
    for title, failures in (("Failures", summary.failures), ("Failures after Hello", summary.session_failures)):
        if failures:
            found = listed_failures(failures, MOST_LISTED)
            cells = [[row.what, row.count, row.share, row.code, row.explanation] for row, _ in found.rows]
            parts.append(f"### {title}\n")
            parts.append(table(["what", "count", "share", "device code", "explanation"], cells))
            parts += [f"and {found.more}; the record has them all\n"] if found.more else []
    parts += [f"- **{row.level}**: {escape(row.text)} {escape(row.remedy)}\n" for row in summary.findings]
    facts = [*summary.facts, ("Record", summary.record_path)]
    facts += [("Compare", summary.compare_with)] if summary.compare_with else []
    facts += [("Explain", summary.explain_with)] if summary.explain_with else []
    parts.append(table(["fact", "value"], facts))
    return "\n".join(parts)


def _firmware_cells(row: FirmwareRow) -> list[str]:
    low, high = row.intervals
    return [row.name, row.share, row.started, row.failed, row.stage, row.unit, row.p50, low, row.p99, high]


def gates_markdown(summaries: Sequence[GateSummary]) -> str:
    """Thresholds of some runs."""
    return "\n".join(_gate_part(summary) for summary in summaries)


def _gate_part(summary: GateSummary) -> str:
    parts = [f"## Gate: {summary.verdict.upper()}\n", f"{escape(summary.path)}: {summary.sentence}\n"]
    if summary.problem:
        parts.append(f"**{escape(summary.problem)}** {escape(summary.remedy)}\n")
    rows = [
        [row.outcome, row.text, row.observed, row.interval, row.limit, row.samples, row.detail] for row in summary.rows
    ]
    head = ["outcome", "threshold", "observed", "95 % interval", "limit", "samples", "detail"]
    return "\n".join([*parts, table(head, rows)])


def comparison_markdown(summary: ComparisonSummary) -> str:
    """A comparison."""
    head = ["metric", "base", "new", "change", "95 % interval", "test", "verdict"]
    rows = [
        [
            row.metric,
            row.base,
            row.new,
            row.change,
            row.interval,
            ", ".join(filter(None, (row.p, row.runs))),
            row.verdict,
        ]
        for row in summary.rows
    ]
    parts = [f"## {escape(summary.headline)}\n", table(head, rows), f"{escape(summary.footnote)}\n"]
    notes = [f"- {escape(f'{row.metric}: {row.note}')}.\n" for row in summary.rows if row.note]
    notes += [f"- **{row.outcome}** {escape(f'{row.condition}: {row.text}')}\n" for row in summary.judged]
    notes += [f"- **warn** {escape(f'{caution.text} {caution.remedy}')}\n" for caution in summary.cautions]
    notes += [f"- **note** {escape(text)}\n" for text in summary.differences]
    return "\n".join(parts) + ("\n" + "".join(notes) if notes else "")
