"""What gates and comparisons say, computed once: every row, unit and sentence that a renderer shows. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from loadgen.analysis.compare import ALPHA, Caution, Comparison, Row, Side, percent
from loadgen.analysis.gates import GateResult, RunView
from loadgen.analysis.thresholds import format_value
from loadgen.recording.record import RunRecord
from loadgen.report.summary import NO_VALUE, FailureRow, explain_with, failure_rows, session_failure_rows
from loadgen.units import format_count, format_number_of, format_rate

NOTHING_SHOWN: Final = "~"
"""Stands where no change is shown."""

Mark = Literal["good", "bad", "open", "plain"]
"""How a row is coloured: ``open`` for what could not be decided."""


@dataclass(frozen=True, slots=True)
class GateRow:
    """One threshold of one run."""

    outcome: Literal["pass", "fail", "no data"]
    text: str
    observed: str
    interval: str
    """95 % confidence interval, empty where there is none."""
    limit: str
    samples: str
    detail: str

    @property
    def mark(self) -> Mark:
        """Its colour."""
        return {"pass": "good", "fail": "bad", "no data": "open"}[self.outcome]  # type: ignore[return-value]

    @property
    def sentence(self) -> str:
        """Everything in one line, for annotations and test reports."""
        interval = f" (95 % interval {self.interval})" if self.interval else ""
        parts = [f"observed {self.observed}{interval}", f"limit {self.limit}", f"{self.samples} samples"]
        return "; ".join(parts) + (f"; {self.detail}" if self.detail else "")


@dataclass(frozen=True, slots=True)
class GateSummary:
    """All thresholds of one run."""

    path: str
    scenario: str
    started_at: str
    duration_s: float
    verdict: Literal["pass", "fail", "no data", "invalid"]
    problem: str
    """Why the run passes nothing; empty for a valid one."""
    remedy: str
    rows: tuple[GateRow, ...]
    failures: tuple[FailureRow, ...]
    """Handshakes that failed, the most frequent way first."""
    session_failures: tuple[FailureRow, ...]
    """The same of sessions after Hello."""
    explain_with: str
    """The command that says more about the first of them; empty where nothing failed."""

    @property
    def sentence(self) -> str:
        """The result in one line."""
        counts = [(sum(row.outcome == name for row in self.rows), name) for name in ("pass", "fail", "no data")]
        found = ", ".join(f"{count} {name}" for count, name in counts if count)
        thresholds = format_number_of(len(self.rows), "threshold")
        return f"{thresholds}: {found}" if found else "no threshold"


def summarise_gates(record: RunRecord, path: str, results: Sequence[GateResult], view: RunView) -> GateSummary:
    """Rows of the thresholds of one run.

    Args:
        record: the run.
        path: its folder, as the user should read it.
        results: how the thresholds went.
        view: what they were held against.
    """
    finding = next((found for found in record.validity.findings if found.level == "invalid"), None)
    outcomes = {result.outcome for result in results}
    verdict: Literal["pass", "fail", "no data", "invalid"] = "pass"
    if not view.valid:
        verdict = "invalid"
    elif "fail" in outcomes:
        verdict = "fail"
    elif "no_data" in outcomes or not view.counts.completed:
        verdict = "no data"
    problem = "" if view.counts.completed else "No handshake was completed."
    if not view.valid:
        problem = finding.text if finding is not None else "The run is invalid."
    return GateSummary(
        path=path,
        scenario=str(record.scenario.get("name", "")),
        started_at=record.started_at,
        duration_s=record.duration_s,
        verdict=verdict,
        problem=problem,
        remedy=finding.remedy if finding is not None and not view.valid else "",
        rows=tuple(gate_row(result) for result in results),
        failures=failure_rows(record),
        session_failures=session_failure_rows(record),
        explain_with=explain_with(record),
    )


def gate_row(result: GateResult) -> GateRow:
    """One threshold, as text."""
    interval = ""
    if result.interval is not None:
        low, high = (format_value(end, result.unit) for end in result.interval)
        interval = f"{low} … {high}"
    return GateRow(
        outcome="no data" if result.outcome == "no_data" else result.outcome,
        text=result.threshold.text,
        observed=format_value(result.observed, result.unit),
        interval=interval,
        limit=f"{result.threshold.operator} {format_value(result.threshold.limit, result.unit)}",
        samples=format_count(result.samples),
        detail=result.detail,
    )


@dataclass(frozen=True, slots=True)
class CompareRow:
    """One metric of a comparison."""

    metric: str
    base: str
    new: str
    change: str
    """With its sign, or ``~``."""
    interval: str
    p: str
    runs: str
    verdict: str
    note: str
    in_family: bool

    @property
    def mark(self) -> Mark:
        """Its colour."""
        marks: dict[str, Mark] = {"slower": "bad", "faster": "good", "inconclusive": "open", "no data": "open"}
        return marks.get(self.verdict, "plain")

    @property
    def sentence(self) -> str:
        """Everything in one line, for annotations and test reports."""
        parts = [f"{self.base} → {self.new}"]
        if self.interval:
            parts.append(f"95 % interval {self.interval}")
        parts += [text for text in (self.p, self.runs, self.note) if text]
        change = "no change is shown" if self.change == NOTHING_SHOWN else self.change
        return f"{self.metric}: {change} ({'; '.join(parts)})"


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """One condition of ``--fail-if``."""

    outcome: Literal["pass", "fail", "inconclusive"]
    condition: str
    text: str


@dataclass(frozen=True, slots=True)
class ComparisonSummary:
    """Everything that a report of a comparison shows, as text."""

    headline: str
    base_name: str
    new_name: str
    rows: tuple[CompareRow, ...]
    judged: tuple[JudgedRow, ...]
    cautions: tuple[Caution, ...]
    differences: tuple[str, ...]
    footnote: str


def summarise_comparison(comparison: Comparison, base_name: str, new_name: str) -> ComparisonSummary:
    """Rows of a comparison.

    Args:
        comparison: what was found.
        base_name: what the user called the base side.
        new_name: the same of the new one.
    """
    family = set(comparison.settings.whole_family)
    return ComparisonSummary(
        headline=_headline(comparison, base_name, new_name),
        base_name=base_name,
        new_name=new_name,
        rows=tuple(_compare_row(row, comparison, in_family=row.metric in family) for row in comparison.rows),
        judged=tuple(JudgedRow(found.outcome, found.condition.text, found.text) for found in comparison.judged),
        cautions=comparison.cautions,
        differences=tuple(difference.text for difference in comparison.differences),
        footnote=_footnote(comparison),
    )


def _headline(comparison: Comparison, base_name: str, new_name: str) -> str:
    counts = [len(comparison.base), len(comparison.new)]
    if comparison.design == "interleaved":
        return f"{base_name} against {new_name}, interleaved in {_runs(counts[0])}"
    return f"{base_name} ({_runs(counts[0])}) against {new_name} ({_runs(counts[1])})"


def _runs(count: int) -> str:
    return format_number_of(count, "run")


def _footnote(comparison: Comparison) -> str:
    settings = comparison.settings
    return (
        f"{NOTHING_SHOWN}: no change is shown. A verdict takes a change that chance would seldom give (5 % over all "
        f"{len(settings.whole_family)} metrics of the family) and that is at least {settings.effect * 100:g} %. "
        "Rows below the family have none. Within it p is corrected for the number of metrics (Holm)."
    )


def _compare_row(row: Row, comparison: Comparison, *, in_family: bool) -> CompareRow:
    interval = ""
    if row.interval is not None:
        interval = f"{percent(row.interval[0])} … {percent(row.interval[1])}"
    p = row.p_adjusted if in_family else row.p
    runs = f"n={row.base.runs}" if row.base.runs == row.new.runs else f"n={row.base.runs}+{row.new.runs}"
    return CompareRow(
        metric=row.metric,
        base=_side(row.base, row.unit),
        new=_side(row.new, row.unit),
        change=_change(row, in_family=in_family),
        interval=interval,
        p="" if p is None else f"p={p:.3f}" if p >= 0.001 else "p<0.001",
        runs=runs if comparison.design != "interleaved" else f"n={row.base.runs}, interleaved",
        verdict={"none": NOTHING_SHOWN}.get(row.verdict, row.verdict),
        note=row.note,
        in_family=in_family,
    )


def _change(row: Row, *, in_family: bool) -> str:
    if row.change is None:
        return NO_VALUE
    if row.verdict == "none" or (not in_family and row.p is not None and row.p > ALPHA):
        return NOTHING_SHOWN
    return percent(row.change) + ("?" if row.p is None else "")


def _side(side: Side, unit: str) -> str:
    if side.value is None:
        return NO_VALUE
    value = format_metric(side.value, unit)
    return value if side.noise is None else f"{value} ± {_noise(side.noise)}"


def _noise(noise: float) -> str:
    return f"{noise * 100:.0f} %" if noise >= 0.0995 else f"{noise * 100:.1f} %"


def format_metric(value: float, unit: str) -> str:
    """A metric's value for people."""
    if unit == "per_s":
        return format_rate(value)
    if unit == "us":
        return format_value(value, "us")
    if unit == "share":
        return format_value(value, "share")
    return format_value(value, "count")
