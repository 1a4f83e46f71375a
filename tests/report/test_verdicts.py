"""Gates and comparisons in every form, from one summary."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest

from loadgen.analysis.compare import Comparison, Settings, compare
from loadgen.analysis.conditions import parse_condition
from loadgen.analysis.gates import GateResult, evaluate, view_of_record
from loadgen.analysis.runvalues import DEFAULT_FAMILY
from loadgen.analysis.thresholds import parse_threshold
from loadgen.recording.record import Finding, RunRecord, Validity
from loadgen.report.detail import bar, ladder, waterfall
from loadgen.report.detail_text import write_detail
from loadgen.report.documents import comparison_document, gates_document, runs_document
from loadgen.report.github import (
    Annotation,
    annotation_lines,
    comparison_annotations,
    gate_annotations,
    step_summary,
)
from loadgen.report.junit import Suite, comparison_suite, gate_suite, junit_xml
from loadgen.report.markdown import comparison_markdown, escape, gates_markdown, run_markdown
from loadgen.report.summary import summarise
from loadgen.report.tables import comparison_csv, gates_csv, runs_csv
from loadgen.report.verdict_text import write_comparison, write_gates
from loadgen.report.verdicts import (
    ComparisonSummary,
    GateSummary,
    summarise_comparison,
    summarise_gates,
)
from tests.analysis.runs import factors, made_record, run, runs_of
from tests.report.samples import bad_record, many_kinds_record

GOLDEN = Path(__file__).parent / "golden"
THRESHOLDS = ("p(99) of handshake < 50ms", "p(99) of key < 1ms", "p(99.99) of key < 1s", "achieved rate >= 95%")


def gate(record: RunRecord | None = None, path: str = "results/a") -> tuple[GateSummary, list[GateResult]]:
    record = record or made_record(1)
    view = view_of_record(record, lambda *_: None, list)
    results = evaluate([parse_threshold(text) for text in THRESHOLDS], view)
    return summarise_gates(record, path, results, view), results


def invalid_record() -> RunRecord:
    record = made_record(2)
    finding = Finding(code="x", level="invalid", observed=1, limit=0, text="It <was> busy.", remedy="Rest & repeat.")
    record.validity = Validity(verdict="invalid", findings=[finding])
    return record


def comparison(shift: float = 1.06, *conditions: str) -> Comparison:
    generator = np.random.default_rng(5)
    shifts = np.array([1.0, shift, 1.0, 1.0, 1.0, 2 - shift])
    base = runs_of(factors("normal", (10, len(DEFAULT_FAMILY)), generator))
    new = runs_of(shifts * factors("normal", (10, len(DEFAULT_FAMILY)), generator), start=100)
    settings = Settings(conditions=tuple(parse_condition(text, DEFAULT_FAMILY) for text in conditions))
    return compare(base, new, settings, np.random.default_rng(1))


def compared(shift: float = 1.06, *conditions: str) -> ComparisonSummary:
    return summarise_comparison(comparison(shift, *conditions), "base", "new")


def check_golden(name: str, text: str) -> None:
    golden = GOLDEN / name
    if os.environ.get("LOADGEN_GOLDEN") == "write":
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


# --- terminal and Markdown


@pytest.mark.parametrize("width", [80, 120])
def test_gates_on_a_terminal(width: int) -> None:
    stream = io.StringIO()
    write_gates([gate()[0], gate(invalid_record(), "results/b")[0]], stream, width)
    check_golden(f"gates-{width}.txt", stream.getvalue())


@pytest.mark.parametrize("width", [60, 80, 120])
def test_comparison_on_a_terminal(width: int) -> None:
    stream = io.StringIO()
    write_comparison(compared(1.06, "handshake p99 +10%", "slower"), stream, width)
    check_golden(f"comparison-{width}.txt", stream.getvalue())


def test_log_without_a_terminal_has_the_whole_table() -> None:
    stream = io.StringIO()
    write_comparison(compared(), stream)
    assert "95 % interval" in stream.getvalue()


def test_gates_and_comparison_in_markdown() -> None:
    text = gates_markdown([gate()[0], gate(invalid_record(), "results/b")[0]])
    check_golden("verdicts.md", text + "\n" + comparison_markdown(compared(1.06, "handshake p99 +10%")))


def test_markdown_of_a_run_has_ladder_waterfall_and_failures() -> None:
    record = bad_record()
    text = run_markdown(summarise(record, "results/x|y"), ladder(record), waterfall(record))
    assert "| percentile | handshake | cloud | key | response |" in text
    assert "```text\nconnect " in text
    assert "results/x\\|y" in text
    assert f"key/{record.failures[0].reason}" in text or "### Failures" in text


def test_markdown_text_stands_for_itself() -> None:
    assert escape("a|b*c_d`e<f>\ng") == "a\\|b\\*c\\_d\\`e\\<f\\> g"


# --- the run's own report


def test_ladder_and_waterfall() -> None:
    record = made_record(1)
    rungs, falls = ladder(record), waterfall(record)
    assert [rung.step for rung in rungs][-3:] == ["p99.9", "p99.99", "max"]
    assert rungs[-2].values == ("–",) * 4
    assert [fall.stage for fall in falls] == ["connect", "nonce", "encrypt", "key", "unwrap", "hello"]
    assert sum(fall.share for fall in falls) == pytest.approx(1)
    bars = [bar(fall, 40) for fall in falls]
    assert all(0 < len(text) <= 40 for text in bars)
    assert [text.index("█") for text in bars] == sorted(text.index("█") for text in bars)
    stream = io.StringIO()
    write_detail(rungs, falls, gate()[0], stream, 80)
    assert "Stages of the mean handshake" in stream.getvalue()
    assert "p(99) of key < 1ms" in stream.getvalue()


def test_empty_run_has_neither() -> None:
    record = made_record(1, count=0)
    assert (ladder(record), waterfall(record)) == ((), ())


# --- JSON and CSV


def test_documents_have_the_numbers() -> None:
    document = json.loads(gates_document([gate()], 3))
    first = document["runs"][0]["thresholds"][0]
    assert (document["schema"], document["exit_code"]) == ("loadgen/gate/1", 3)
    assert (first["outcome"], first["limit"], first["unit"], first["operator"]) == ("pass", 50_000.0, "us", "<")
    document = json.loads(comparison_document(comparison(), "base", "new", seed=1, exit_code=0))
    rows = {row["metric"]: row for row in document["rows"]}
    assert rows["handshake p99"]["verdict"] == "slower"
    assert rows["handshake p99"]["change_ci"][0] < 0.06 < rows["handshake p99"]["change_ci"][1]
    assert document["base"]["runs"][0] == "00000000"
    document = json.loads(runs_document([(made_record(1), "results/a")]))
    assert document["records"][0]["path"] == "results/a"
    assert document["records"][0]["schema"] == "loadgen/run/1"


def test_tables_have_one_row_a_thing() -> None:
    rows = list(csv.DictReader(io.StringIO(runs_csv([(made_record(1), "results/a"), (bad_record(), "=cmd")]))))
    assert rows[0]["stage"] == "schedule_lag"
    assert rows[-1]["record"] == "'=cmd"
    gates = list(csv.DictReader(io.StringIO(gates_csv([("results/a", gate()[1])]))))
    assert [row["outcome"] for row in gates] == ["pass", "fail", "no_data", "pass"]
    metrics = list(csv.DictReader(io.StringIO(comparison_csv(comparison()))))
    assert [row["metric"] for row in metrics] == list(DEFAULT_FAMILY)
    assert metrics[1]["verdict"] == "slower"


# --- JUnit

SUITE_NEEDS = {"name", "tests", "failures", "errors", "time", "timestamp", "hostname", "id", "package"}
"""Attributes that either Jenkins' ``junit-10.xsd`` or the schema of Apache Ant demands."""


def check_junit(text: str) -> ET.Element:
    """What both schemas ask of a document."""
    root = ET.fromstring(text)
    assert root.tag == "testsuites"
    assert root.attrib == {}
    for index, suite in enumerate(root):
        assert suite.tag == "testsuite"
        assert set(suite.attrib) == SUITE_NEEDS | {"skipped"}
        assert suite.get("id") == str(index)
        assert re.fullmatch(r"[0-9]+\.[0-9]{3}", suite.get("time", ""))
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp", ""))
        tags = [child.tag for child in suite]
        cases = suite.findall("testcase")
        assert tags == ["properties", *["testcase"] * len(cases), "system-out", "system-err"]
        assert suite.get("tests") == str(len(cases))
        for name, attribute in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert suite.get(attribute) == str(len(suite.findall(f"testcase/{name}")))
        for case in cases:
            assert set(case.attrib) == {"name", "classname", "time"}
            assert [child.tag for child in case] in ([], ["failure"], ["error"], ["skipped"])
            assert all(set(child.attrib) == {"type", "message"} for child in case)
    return root


def outcomes_of(root: ET.Element) -> dict[str, str]:
    return {case.get("name", ""): case[0].tag if len(case) else "pass" for case in root.iter("testcase")}


def test_junit_has_a_case_per_threshold() -> None:
    root = check_junit(junit_xml([gate_suite(gate()[0]), gate_suite(gate(invalid_record(), "results/b")[0])]))
    assert outcomes_of(ET.fromstring(junit_xml([gate_suite(gate()[0])]))) == {
        "the run is valid": "pass",
        THRESHOLDS[0]: "pass",
        THRESHOLDS[1]: "failure",
        THRESHOLDS[2]: "error",
        THRESHOLDS[3]: "pass",
    }
    broken = root[1].find("testcase/error")
    assert broken is not None
    assert broken.get("message") == "It <was> busy. Rest & repeat."


def test_junit_has_a_case_per_verdict_and_condition() -> None:
    root = check_junit(junit_xml([comparison_suite(compared(), "2026-01-02T03:04:05.000Z")]))
    assert outcomes_of(root)["handshake p99"] == "failure"
    assert outcomes_of(root)["key p99"] == "pass"
    judged = outcomes_of(check_junit(junit_xml([comparison_suite(compared(1.06, "handshake p99 +30%"), "")])))
    assert judged["fail if handshake p99 +30%"] == "pass"
    assert judged["handshake p99"] == "pass"  # what is judged are the conditions
    single = compare([run({"key p50": 1.0})], [run({"key p50": 2.0}, 1)], Settings(), np.random.default_rng(1))
    alone = summarise_comparison(single, "a", "b")
    assert outcomes_of(check_junit(junit_xml([comparison_suite(alone, "")])))["key p50"] == "skipped"


def test_junit_explains_what_failed() -> None:
    root = check_junit(junit_xml([gate_suite(gate(bad_record())[0]), gate_suite(gate()[0])]))
    told, nothing = (element.text or "" for element in root.iter("system-out"))
    assert "failed: key/closed [p1@0.7.0], device code -19: 6,175 (87 %); the cloud closed the connection" in told
    assert "failed after Hello: hello/ping_timeout [p1@0.7.0]: 1 (0.11 %)\n" in told
    assert told.endswith("more about the first: loadgen explain key/closed")
    assert "failed: " not in nothing


def test_a_thousand_kinds_of_failures_stay_readable() -> None:
    """What people read lists thirty and counts the rest; a step summary and a comment on a pull request hold it."""
    record = many_kinds_record(1_000)
    rest = f"970 more kinds, {sum(range(1, 971)):,} failures; the record has them all"
    told = next(check_junit(junit_xml([gate_suite(gate(record)[0])])).iter("system-out")).text or ""
    assert told.count("failed: key/reason_") == 30
    assert f"failed: {rest}" in told
    text = run_markdown(summarise(record, "results/a"), ladder(record), waterfall(record))
    assert text.count("| key/reason\\_") == 30
    assert f"and {rest}" in text
    assert len(text) < 20_000
    lines = annotation_lines(gate_annotations([gate(record)[0]]))
    assert len([line for line in lines if "key/reason_" in line]) == 1


def test_a_document_for_programs_has_every_kind() -> None:
    text = runs_document([(many_kinds_record(1_000), "results/a")]).decode()
    assert text.count('"reason": "reason_') == 1_000


def test_junit_carries_any_text() -> None:
    text = junit_xml([Suite("a\x00\x1b<&>\"'\ud800", "", 0.0, ())])
    assert "a\ufffd\ufffd&lt;&amp;&gt;" in text
    check_junit(text)
    assert check_junit(junit_xml([])).tag == "testsuites"


# --- GitHub


def test_annotations_say_what_is_no_pass() -> None:
    found = gate_annotations([gate()[0], gate(invalid_record(), "results/b")[0]])
    assert [(annotation.level, annotation.title) for annotation in found[:2]] == [
        ("error", "Threshold failed"),
        ("warning", "No data"),
    ]
    assert ("error", "Invalid run") in [(annotation.level, annotation.title) for annotation in found]
    levels = {annotation.title: annotation.level for annotation in comparison_annotations(compared(1.15, "slower"))}
    assert levels == {"Regression": "error", "Slower": "warning", "Faster": "notice"}


def test_an_annotation_explains_the_most_frequent_failure() -> None:
    found = gate_annotations([gate(bad_record())[0]])
    (failure,) = [annotation for annotation in found if annotation.title == "Most frequent failure"]
    assert failure.level == "warning"
    assert failure.text.startswith("results/a: key/closed [p1@0.7.0], device code -19: 6,175 (87 %); the cloud closed")
    assert failure.text.endswith("`loadgen explain key/closed` says more.")
    assert not any(annotation.title == failure.title for annotation in gate_annotations([gate()[0]]))


def test_annotations_stay_within_ten_of_a_level() -> None:
    many = [Annotation("error", f"E{i}", "x") for i in range(25)] + [Annotation("notice", "N", "y")] * 10
    lines = annotation_lines(many)
    assert len([line for line in lines if line.startswith("::error ")]) == 10
    assert len([line for line in lines if line.startswith("::notice ")]) == 10
    assert lines[9] == "::error title=And more::16 more of this level; the step summary has all of them."


def test_annotations_are_escaped() -> None:
    (line,) = annotation_lines([Annotation("error", "a:b,c%", "100 %\r\n::error::x")])
    assert line == "::error title=a%3Ab%2Cc%25::100 %25%0D%0A::error::x"
    (long,) = annotation_lines([Annotation("error", "t", "x" * 10_000)])
    assert len(long) < 5_000


def test_step_summary_is_cut_at_a_line_within_the_limit() -> None:
    assert step_summary("short\n") == "short\n"
    text = step_summary("zeile µ\n" * 200_000)
    assert len(text.encode()) <= 1 << 20
    assert text.endswith("1 MiB at most.*\n")
    assert "zeile µ\n\n" in text
    assert step_summary("some text\n" * 100, room=10) == ""
