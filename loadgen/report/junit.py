"""JUnit XML as Jenkins, GitLab and GitHub's test reporters read it: a test case per threshold and per verdict.

Valid both against the schema of Jenkins' xUnit plugin (``junit-10.xsd``) and against the stricter one of Apache Ant:
every attribute that either demands is there, and none that either forbids. A failed threshold, a reached condition
and a slower metric are failures; no data, an invalid run and an undecided condition are errors, as no data is not a
pass; a comparison that nobody asked to judge and that cannot be decided is skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal
from xml.etree import ElementTree as ET

from loadgen.report.summary import MOST_LISTED, FailureRow, listed_failures
from loadgen.report.verdicts import ComparisonSummary, GateSummary

_NO_XML: Final = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_TIMESTAMP: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d")
_NO_TIME: Final = "1970-01-01T00:00:00"

Outcome = Literal["pass", "failure", "error", "skipped"]


@dataclass(frozen=True, slots=True)
class Case:
    """One test case. ``kind`` says what went wrong, ``text`` in a sentence."""

    name: str
    outcome: Outcome
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Suite:
    """Test cases of one run or one comparison."""

    name: str
    started_at: str
    duration_s: float
    cases: tuple[Case, ...]
    notes: tuple[str, ...] = ()
    """Lines of the output beside those of the cases."""


def gate_suite(summary: GateSummary) -> Suite:
    """A run: whether it is valid, and a case a threshold; what failed in it is explained in the output."""
    broken: Outcome = "error" if summary.problem else "pass"
    text = f"{summary.problem} {summary.remedy}".strip()
    cases = [Case("the run is valid", broken, "invalid_run", text)]
    outcomes: dict[str, Outcome] = {"pass": "pass", "fail": "failure", "no data": "error"}
    kinds = {"pass": "", "fail": "threshold_failed", "no data": "no_data"}
    cases += [Case(row.text, outcomes[row.outcome], kinds[row.outcome], row.sentence) for row in summary.rows]
    notes = list(_failure_notes("failed", summary.failures))
    notes += _failure_notes("failed after Hello", summary.session_failures)
    if summary.explain_with:
        notes.append(f"more about the first: {summary.explain_with}")
    return Suite(f"loadgen gate {summary.path}", summary.started_at, summary.duration_s, tuple(cases), tuple(notes))


def _failure_notes(word: str, rows: Sequence[FailureRow]) -> Iterator[str]:
    found = listed_failures(rows, MOST_LISTED)
    yield from (f"{word}: {row.sentence}" for row, _ in found.rows)
    if found.more:
        yield f"{word}: {found.more}; the record has them all"


def comparison_suite(summary: ComparisonSummary, started_at: str) -> Suite:
    """A comparison: a case a condition, and a case a verdict.

    Where conditions were given, they are what is judged, and a verdict alone does not fail.
    """
    outcomes: dict[str, Outcome] = {"pass": "pass", "fail": "failure", "inconclusive": "error"}
    cases = [
        Case(f"fail if {row.condition}", outcomes[row.outcome], _judged_kind(row.outcome), row.text)
        for row in summary.judged
    ]
    for row in summary.rows:
        if row.in_family:
            outcome: Outcome = "pass"
            if row.verdict in ("inconclusive", "no data"):
                outcome = "skipped"
            elif row.verdict == "slower" and not summary.judged:
                outcome = "failure"
            cases.append(Case(row.metric, outcome, row.verdict.replace(" ", "_"), row.sentence))
    return Suite(f"loadgen compare {summary.base_name} {summary.new_name}", started_at, 0.0, tuple(cases))


def _judged_kind(outcome: str) -> str:
    return "regression" if outcome == "fail" else outcome


def junit_xml(suites: Sequence[Suite]) -> str:
    """The document."""
    root = ET.Element("testsuites")
    for index, suite in enumerate(suites):
        _add_suite(root, suite, index)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _add_suite(root: ET.Element, suite: Suite, index: int) -> None:
    counts = {name: sum(case.outcome == name for case in suite.cases) for name in ("failure", "error", "skipped")}
    element = ET.SubElement(
        root,
        "testsuite",
        {
            "name": _clean(suite.name),
            "tests": str(len(suite.cases)),
            "failures": str(counts["failure"]),
            "errors": str(counts["error"]),
            "skipped": str(counts["skipped"]),
            "time": f"{suite.duration_s:.3f}",
            "timestamp": found[0] if (found := _TIMESTAMP.match(suite.started_at)) else _NO_TIME,
            "hostname": "localhost",
            "id": str(index),
            "package": "loadgen",
        },
    )
    ET.SubElement(element, "properties")
    for case in suite.cases:
        _add_case(element, suite, case)
    lines = [f"{case.outcome}: {case.name}: {case.text}".rstrip(": ") for case in suite.cases]
    lines += suite.notes
    ET.SubElement(element, "system-out").text = _clean("\n".join(lines))
    ET.SubElement(element, "system-err")


def _add_case(element: ET.Element, suite: Suite, case: Case) -> None:
    words = suite.name.split(" ")
    attributes = {"name": _clean(case.name), "classname": ".".join(words[:2]), "time": "0.000"}
    found = ET.SubElement(element, "testcase", attributes)
    if case.outcome != "pass":
        text = _clean(case.text)
        ET.SubElement(found, case.outcome, {"type": case.kind, "message": text}).text = text


def _clean(text: str) -> str:
    """Without characters that XML cannot carry."""
    return _NO_XML.sub("\ufffd", text)
