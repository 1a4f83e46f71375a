"""Metrics of a run, read back by Prometheus' own parsers."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.exposition import choose_encoder
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from loadgen.cli.records import load_run
from loadgen.clock import NS_PER_S
from loadgen.protocol.explain import ENDINGS, SESSION_ENDINGS
from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import HIGHEST_NS, Histogram
from loadgen.recording.record import RunRecord
from loadgen.report.metrics import (
    BUCKET_BOUNDS_NS,
    METRICS,
    Snapshot,
    cumulative_buckets,
    exposition,
    finished_snapshot,
    registry_of,
)
from tests.report.samples import bad_record, empty_record, good_record, many_kinds_record

ROOT = Path(__file__).parents[2]
FIXTURE = ROOT / "tests" / "fixtures" / "record-1"
PAGE = ROOT / "docs" / "prometheus.md"
DASHBOARD = ROOT / "docs" / "grafana-dashboard.json"
SPECS = {spec.name: spec for spec in METRICS}

Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def snapshot_of(record: RunRecord) -> Snapshot:
    histogram = Histogram.of_values([2_000_000, 30_000_000])
    return finished_snapshot(record, lambda stage, _: histogram if stage is Stage.KEY else Histogram.empty())


def fixture_snapshot() -> Snapshot:
    run = load_run(FIXTURE)
    return finished_snapshot(run.record, run.histogram)


def series(text: str) -> Series:
    """Every series of a text, each once."""
    found: Series = {}
    for family in read_text(text):
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in found
            found[key] = sample.value
    return found


def test_a_finished_record_as_text() -> None:
    found = series(exposition(fixture_snapshot()))
    assert found["loadgen_handshakes_intended_total", ()] == 609
    assert found["loadgen_handshakes_completed_total", (("firmware", "photon@0.6.3"),)] == 270
    labels = (("device_code", "-19"), ("firmware", "p1@0.7.0"), ("reason", "closed"), ("stage", "key"))
    assert found["loadgen_handshakes_failed_total", labels] == 2
    assert found["loadgen_run_phase", (("phase", "complete"),)] == 1
    assert found["loadgen_run_valid", ()] == 1
    key = (("firmware", "p1@0.7.0"), ("stage", "key"))
    assert found["loadgen_stage_duration_seconds_count", key] == 330
    record = load_run(FIXTURE).record
    mean_us = record.firmware[0].stages["key"].mean_us
    assert mean_us is not None
    assert found["loadgen_stage_duration_seconds_sum", key] == pytest.approx(mean_us * 330 / 1e6)
    assert (
        found["loadgen_stage_duration_seconds_bucket", (("firmware", "p1@0.7.0"), ("le", "+Inf"), ("stage", "key"))]
        == 330
    )


@pytest.mark.parametrize("make", [good_record, bad_record, empty_record])
def test_openmetrics_is_read_by_the_strict_parser(make: Any) -> None:
    encoder, _ = choose_encoder("application/openmetrics-text;version=1.0.0")
    text = encoder(registry_of(snapshot_of(make()))).decode()
    families = {family.name: family for family in read_openmetrics(text)}  # type: ignore[no-untyped-call]
    assert families["loadgen_run"].type == "info"
    assert families["loadgen_handshakes_started"].type == "counter"
    assert (families["loadgen_stage_duration_seconds"].type, families["loadgen_stage_duration_seconds"].unit) == (
        "histogram",
        "seconds",
    )
    assert all(family.documentation for family in families.values())
    assert text.endswith("# EOF\n")


def test_a_thousand_kinds_of_failures_are_a_thousand_series() -> None:
    """Each is a counter, which may neither vanish nor fall; so none is folded into others."""
    text = exposition(snapshot_of(many_kinds_record(1_000)))
    kinds = [labels for name, labels in series(text) if name == "loadgen_handshakes_failed_total"]
    assert len(kinds) == 1_000
    assert all([name for name, _ in labels] == ["device_code", "firmware", "reason", "stage"] for labels in kinds)
    assert len(text) < 250_000


def test_the_page_bounds_the_series_of_failures() -> None:
    page = (Path(__file__).parents[2] / "docs" / "prometheus.md").read_text(encoding="utf-8")
    words = " ".join(page.split())
    assert f"can fail in {len(ENDINGS)} ways before Hello and in {len(SESSION_ENDINGS)} after it" in words


def test_text_of_a_user_is_escaped() -> None:
    record = good_record()
    record.label = 'a"b\\c\nd'
    found = [labels for name, labels in series(exposition(snapshot_of(record))) if name == "loadgen_run_info"]
    assert dict(found[0])["label"] == 'a"b\\c\nd'


def test_a_record_left_running_was_interrupted() -> None:
    record = good_record()
    record.status = "running"
    assert series(exposition(snapshot_of(record)))["loadgen_run_phase", (("phase", "interrupted"),)] == 1


def test_what_there_is_not_is_left_out() -> None:
    record = bad_record()
    names = {name for name, _ in series(exposition(finished_snapshot(record, lambda *_: None)))}
    assert record.rate.offered_per_s is None
    assert "loadgen_offered_handshakes_per_second" not in names
    assert "loadgen_mock_cloud_cpu_seconds_total" not in names
    assert not any(name.startswith("loadgen_stage_duration") for name in names)


def test_buckets_are_exact_within_the_resolution() -> None:
    generator = np.random.default_rng(1)
    values = (10 ** generator.uniform(3.5, 11.5, 20_000)).astype(np.int64)
    buckets = cumulative_buckets(Histogram.of_values(values))
    assert [float(name) for name, _ in buckets[:-1]] == [bound / NS_PER_S for bound in BUCKET_BOUNDS_NS]
    for bound, (_, count) in zip(BUCKET_BOUNDS_NS, buckets[:-1], strict=True):
        assert (values <= bound).sum() <= count <= (values <= bound * 1.001).sum()
    assert buckets[-1] == ("+Inf", 20_000.0)
    counts = [count for _, count in buckets]
    assert counts == sorted(counts)


def test_bounds_and_their_ends() -> None:
    assert (BUCKET_BOUNDS_NS[0], BUCKET_BOUNDS_NS[-1], len(BUCKET_BOUNDS_NS)) == (10_000, 100 * NS_PER_S, 43)
    for value, below_first, below_last in ((10_000, 1, 1), (11_000, 0, 1), (HIGHEST_NS + 1, 0, 0)):
        buckets = cumulative_buckets(Histogram.of_values([value]))
        assert (buckets[0][1], buckets[-2][1], buckets[-1][1]) == (below_first, below_last, 1)
    assert {count for _, count in cumulative_buckets(Histogram.empty())} == {0}


# --- the documentation


def test_the_page_lists_every_metric_as_it_is() -> None:
    rows = re.findall(r"^\| `(loadgen_\w+)` \| (\w+) \| (.*?) \| (.*?) \|$", PAGE.read_text(encoding="utf-8"), re.M)
    expected = [(spec.name, spec.kind, ", ".join(f"`{label}`" for label in spec.labels), spec.help) for spec in METRICS]
    assert rows == expected


def _expressions() -> list[str]:
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in document["panels"] for target in panel.get("targets", [])]
    variables = [variable["query"] for variable in document["templating"]["list"] if variable["type"] == "query"]
    return queries + [re.sub(r"^label_values\((.*),.*\)$", r"\1", query["query"]) for query in variables]


def test_every_query_of_the_dashboard_names_metrics_and_labels_that_exist() -> None:
    expressions = _expressions()
    assert len(expressions) >= 15
    for expression in expressions:
        names = re.findall(r"\b(loadgen_\w+)", expression)
        assert names, expression
        allowed = {"le", "job", "instance"}
        for name in names:
            base = re.sub(r"_(bucket|sum|count)$", "", name)
            spec = SPECS[name if name in SPECS else base]
            assert (spec.kind == "histogram") == (name != spec.name), expression
            allowed |= set(spec.labels)
        inside = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", expression)
        grouped = [label.strip() for part in re.findall(r"by \(([^)]*)\)", expression) for label in part.split(",")]
        assert set(inside) | set(grouped) <= allowed, expression


def test_the_dashboard_can_be_imported() -> None:
    document = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    ids = [panel["id"] for panel in document["panels"]]
    assert len(ids) == len(set(ids))
    inputs = {given["name"] for given in document["__inputs"]}
    used = set(re.findall(r"\$\{(DS_\w+)\}", json.dumps(document["panels"] + document["templating"]["list"])))
    assert used == inputs
    for panel in document["panels"]:
        place = panel["gridPos"]
        assert 0 <= place["x"] < place["x"] + place["w"] <= 24
        assert panel["title"]
        assert panel["type"] == "row" or panel["description"]


# --- Prometheus' own linter


def _promtool(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed")
    return subprocess.run([tool, *arguments], input=text, text=True, capture_output=True, check=False)


@pytest.mark.long
@pytest.mark.parametrize("make", [good_record, bad_record, empty_record])
def test_promtool_finds_nothing(make: Any) -> None:
    done = _promtool("check", "metrics", text=exposition(snapshot_of(make())))
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.long
def test_promtool_reads_every_query_of_the_dashboard(tmp_path: Path) -> None:
    concrete = [
        expression.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$quantile", "0.99")
        for expression in _expressions()
    ]
    rules = [{"record": f"dashboard:query:{index}", "expr": query} for index, query in enumerate(concrete)]
    path = tmp_path / "rules.json"  # JSON is YAML
    path.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}), encoding="utf-8")
    done = _promtool("check", "rules", str(path))
    assert done.returncode == 0, done.stdout + done.stderr
