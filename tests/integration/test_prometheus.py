"""A real run, scraped while it goes on."""

from __future__ import annotations

import threading
import urllib.request
from itertools import pairwise
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from loadgen.cli import audience, main
from loadgen.report.metrics import Snapshot
from loadgen.report.prometheus import PrometheusEndpoint
from loadgen.store import load_record

Totals = dict[str, float]


def scrape(url: str) -> Totals:
    """Every counter and number of samples, summed over its labels."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    found: Totals = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.endswith("_total") or sample.labels.get("stage") == "handshake":
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def test_counters_rise_and_agree_with_the_record(
    fleet_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[Totals] = []

    class Watched(PrometheusEndpoint):
        """Scraped right after each snapshot, by a client of its own."""

        def publish(self, snapshot: Snapshot) -> None:
            super().publish(snapshot)
            client = threading.Thread(target=lambda: seen.append(scrape(self.url)))
            client.start()
            client.join()

    monkeypatch.setattr(audience, "PrometheusEndpoint", Watched)
    places = ["--fleet", str(fleet_path), "--out", str(tmp_path)]
    faults = ["--fault", "key:close:30%", "--prometheus", ":0", "--seed", "1"]
    main(["run", "--rate", "50/s", "--duration", "2s", *faults, *places, "--json"])
    assert "Metrics for Prometheus: http://127.0.0.1:" in capsys.readouterr().err
    assert len(seen) >= 3
    for before, after in pairwise(seen):
        assert {name: after[name] for name in before if after[name] < before[name]} == {}  # Prometheus: a restart
    assert seen[0]["loadgen_handshakes_started_total"] == 0
    assert 0 < seen[1]["loadgen_handshakes_started_total"] < seen[-1]["loadgen_handshakes_started_total"]
    counts = load_record(next(tmp_path.iterdir())).counts
    last = seen[-1]
    assert counts.failed > 0
    assert last["loadgen_handshakes_intended_total"] == counts.intended
    assert last["loadgen_handshakes_started_total"] == counts.started
    assert last["loadgen_handshakes_completed_total"] == counts.completed
    assert last["loadgen_handshakes_failed_total"] == counts.failed
    assert last["loadgen_stage_duration_seconds_count"] == counts.completed
