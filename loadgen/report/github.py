"""GitHub Actions: annotations and the step summary, within GitHub's limits.

GitHub shows at most ten annotations of each level a step and drops the rest without a word; so the tenth says how many
there are more. A step summary above 1 MiB is not shown at all; so a longer one is cut at a line.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from loadgen.report.verdicts import ComparisonSummary, GateSummary

MAX_ANNOTATIONS: Final = 10
"""Annotations of one level that a step can show."""
MAX_SUMMARY_BYTES: Final = 1 << 20
"""Largest step summary."""
_MAX_MESSAGE: Final = 4_000
_CUT: Final = "\n\n*The summary is cut here: GitHub shows 1 MiB at most.*\n"

Level = Literal["error", "warning", "notice"]


@dataclass(frozen=True, slots=True)
class Annotation:
    """One message beside the job."""

    level: Level
    title: str
    text: str


def gate_annotations(summaries: Iterable[GateSummary]) -> list[Annotation]:
    """What of some runs' gates is not a pass."""
    found: list[Annotation] = []
    for summary in summaries:
        if summary.problem:
            text = f"{summary.problem} {summary.remedy}".strip()
            found.append(Annotation("error", "Invalid run", f"{summary.path}: {text}"))
        levels: dict[str, Level] = {"fail": "error", "no data": "warning"}
        titles = {"fail": "Threshold failed", "no data": "No data"}
        found += [
            Annotation(levels[row.outcome], titles[row.outcome], f"{row.text}: {row.sentence}")
            for row in summary.rows
            if row.outcome in levels
        ]
        failures = summary.failures or summary.session_failures
        if summary.verdict != "pass" and failures:
            text = f"{summary.path}: {failures[0].sentence}. `{summary.explain_with}` says more."
            found.append(Annotation("warning", "Most frequent failure", text))
        if summary.verdict == "pass":
            found.append(Annotation("notice", "Gate passed", f"{summary.path}: {summary.sentence}"))
    return found


def comparison_annotations(summary: ComparisonSummary) -> list[Annotation]:
    """What of a comparison somebody should look at."""
    found: list[Annotation] = []
    for judged in summary.judged:
        if judged.outcome != "pass":
            level: Level = "error" if judged.outcome == "fail" else "warning"
            title = "Regression" if judged.outcome == "fail" else "Undecided"
            found.append(Annotation(level, title, f"{judged.condition}: {judged.text}"))
    for row in summary.rows:
        if row.verdict in ("slower", "faster"):
            slower = row.verdict == "slower"
            found.append(Annotation("warning" if slower else "notice", row.verdict.capitalize(), row.sentence))
    found += [Annotation("warning", "Comparison", f"{caution.text} {caution.remedy}") for caution in summary.cautions]
    found += [Annotation("notice", "Comparison", text) for text in summary.differences]
    return found


def annotation_lines(annotations: Iterable[Annotation]) -> list[str]:
    """Workflow commands, at most ten of each level; the last of them counts what was left out."""
    lines = []
    everything = list(annotations)
    for level in ("error", "warning", "notice"):
        of_level = [annotation for annotation in everything if annotation.level == level]
        rest = len(of_level) - MAX_ANNOTATIONS
        if rest > 0:
            of_level = of_level[: MAX_ANNOTATIONS - 1]
            more = f"{rest + 1} more of this level; the step summary has all of them."
            of_level.append(Annotation(level, "And more", more))
        lines += [f"::{level} title={_property(found.title)}::{_data(found.text)}" for found in of_level]
    return lines


def step_summary(markdown: str, room: int = MAX_SUMMARY_BYTES) -> str:
    """Markdown that fits into ``room`` bytes, cut at the end of a line."""
    data = markdown.encode()
    if len(data) <= room:
        return markdown
    kept = data[: max(0, room - len(_CUT.encode()))]
    kept = kept[: kept.rfind(b"\n") + 1]
    return kept.decode() + _CUT if kept else ""


def _data(text: str) -> str:
    shown = text if len(text) <= _MAX_MESSAGE else f"{text[:_MAX_MESSAGE]}…"
    return shown.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
