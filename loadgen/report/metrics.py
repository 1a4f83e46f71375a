"""A run as Prometheus metrics: names, help texts, labels and values. No sockets here.

One table, :data:`METRICS`, holds everything; the endpoint of a run that goes on, the text of a finished record and the
page of the documentation come from it. Names and units follow the conventions of Prometheus: base units (seconds),
``_total`` for what only grows, ``_ratio`` for shares. Labels take their values from enumerations (stages, reasons,
device codes, firmwares); text that a user wrote stands in ``loadgen_run_info`` only, one series a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

import numpy as np
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector, CollectorRegistry

from loadgen.clock import NS_PER_S, NS_PER_US
from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram, bucket_indexes
from loadgen.recording.record import FailureTally, RunRecord
from loadgen.recording.recorder import BESIDE

PHASES: Final = ("warm-up", "running", "draining", "complete", "interrupted")
"""What a run can be doing."""

BUCKET_BOUNDS_NS: Final = (
    *(step * 10**power for power in range(3, 10) for step in (10, 15, 20, 30, 50, 70)),
    100 * NS_PER_S,
)
"""Upper bounds of the classic buckets: 1, 1.5, 2, 3, 5, 7 times the powers of ten from 10 µs to 100 s."""

Kind: TypeAlias = Literal["counter", "gauge", "histogram", "info"]
Values: TypeAlias = Iterable[tuple[tuple[str, ...], float]]
"""Values of the labels, and the value."""
Histograms: TypeAlias = Mapping[tuple[Stage, str], Histogram]
"""By stage and firmware."""

_BUCKET_OF_BOUND: Final = bucket_indexes(np.array(BUCKET_BOUNDS_NS, dtype=np.int64))
_BUCKET_NAMES: Final = tuple(str(bound / NS_PER_S) for bound in BUCKET_BOUNDS_NS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """How a run stands. A value: nobody changes it or anything in it once it is published.

    Attributes:
        record: what is known so far; of a finished run its record.
        phase: one of :data:`PHASES`.
        in_flight: handshakes in flight.
        histograms: of the recorded window so far. A stage that is missing is left out.
    """

    record: RunRecord
    phase: str
    in_flight: int = 0
    histograms: Histograms


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric: everything about it but its value, and where that comes from."""

    name: str
    """As Prometheus stores it; that of a histogram without ``_bucket``, ``_sum`` and ``_count``."""
    kind: Kind
    help: str
    labels: tuple[str, ...]
    values: Callable[[Snapshot], Values]
    """Of a histogram: nothing, it has buckets."""

    @property
    def unit(self) -> str:
        """The base unit in the name; empty where there is none."""
        return "seconds" if self.name.removesuffix("_total").endswith("_seconds") else ""

    def family(self, snapshot: Snapshot) -> Metric:
        """The metric with its samples."""
        if self.kind == "histogram":
            return self._histogram(snapshot)
        if self.kind == "info":
            info = InfoMetricFamily(self.name.removesuffix("_info"), self.help, labels=())
            for values, _ in self.values(snapshot):
                info.add_metric((), dict(zip(self.labels, values, strict=True)))
            return info
        kind = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family = kind(self.name, self.help, labels=self.labels, unit=self.unit)
        for values, value in self.values(snapshot):
            family.add_metric(values, value)
        return family

    def _histogram(self, snapshot: Snapshot) -> Metric:
        family = HistogramMetricFamily(self.name, self.help, labels=self.labels, unit=self.unit)
        for (stage, firmware), histogram in snapshot.histograms.items():
            family.add_metric((stage.value, firmware), cumulative_buckets(histogram), histogram.sum_ns / NS_PER_S)
        return family


def cumulative_buckets(histogram: Histogram) -> list[tuple[str, float]]:
    """``le`` and the number of samples up to there, the last one ``+Inf``.

    Exact within the resolution of the histogram: a sample up to 0.1 % above a bound may count as below it, as both
    stand in the same bucket of the HDR histogram.
    """
    totals = np.concatenate(([0], np.cumsum(histogram.counts)))
    below = totals[np.searchsorted(histogram.indexes, _BUCKET_OF_BOUND, side="right")].tolist()
    return [*zip(_BUCKET_NAMES, map(float, below), strict=True), ("+Inf", float(histogram.count))]


# --- where values come from


def _one(value: Callable[[Snapshot], float | None]) -> Callable[[Snapshot], Values]:
    """A single series; none where there is no value."""

    def values(snapshot: Snapshot) -> Values:
        found = value(snapshot)
        return () if found is None else (((), float(found)),)

    return values


def _info(snapshot: Snapshot) -> Values:
    record = snapshot.record
    scenario = str(record.scenario.get("name", ""))
    kept = (record.id, scenario, record.label or "", record.target.address, record.target.kind)
    return (((*kept, record.rate.mode, record.environment.crypto_backend, record.environment.loadgen), 1.0),)


def _phases(snapshot: Snapshot) -> Values:
    return (((phase,), float(phase == snapshot.phase)) for phase in PHASES)


def _of_firmwares(field: str) -> Callable[[Snapshot], Values]:
    return lambda snapshot: (
        ((facts.name,), float(getattr(facts.counts, field))) for facts in snapshot.record.firmware
    )  # fmt: skip


def _failures(field: str) -> Callable[[Snapshot], Values]:
    def values(snapshot: Snapshot) -> Values:
        tallies: list[FailureTally] = getattr(snapshot.record, field)
        return (
            (
                (
                    tally.stage,
                    tally.reason,
                    "" if tally.device_code is None else str(tally.device_code),
                    tally.firmware,
                ),
                float(tally.count),
            )
            for tally in tallies
        )

    return values


def _mock_cloud(field: str) -> Callable[[Snapshot], float | None]:
    def value(snapshot: Snapshot) -> float | None:
        found = (snapshot.record.mock_cloud or {}).get(field)
        return float(found) if isinstance(found, int | float) else None

    return value


def _findings(snapshot: Snapshot) -> Values:
    counts = Counter((finding.code, finding.level) for finding in snapshot.record.validity.findings)
    return ((key, float(count)) for key, count in counts.items())


def _thresholds(snapshot: Snapshot) -> Values:
    counts = Counter(threshold.outcome for threshold in snapshot.record.thresholds)
    return (((outcome,), float(counts[outcome])) for outcome in ("pass", "fail", "no_data"))


_FAILURE_LABELS: Final = ("stage", "reason", "device_code", "firmware")

METRICS: Final = (
    MetricSpec(
        "loadgen_run_info",
        "info",
        "What is measured, and with what.",
        ("run_id", "scenario", "label", "target", "target_kind", "mode", "crypto_backend", "version"),
        _info,
    ),
    MetricSpec("loadgen_run_phase", "gauge", "1 for what the run is doing, 0 for the rest.", ("phase",), _phases),
    MetricSpec(
        "loadgen_run_start_time_seconds",
        "gauge",
        "When the recorded window began, seconds since 1970.",
        (),
        _one(lambda snapshot: datetime.fromisoformat(snapshot.record.started_at).timestamp()),
    ),
    MetricSpec(
        "loadgen_run_duration_seconds",
        "gauge",
        "Length of the recorded window so far, without warm-up and drain.",
        (),
        _one(lambda snapshot: snapshot.record.duration_s),
    ),
    MetricSpec(
        "loadgen_run_valid",
        "gauge",
        "1 as long as nothing was found that makes the numbers invalid, else 0. The rate is judged at the end.",
        (),
        _one(lambda snapshot: snapshot.record.validity.verdict == "valid"),
    ),
    MetricSpec(
        "loadgen_run_findings",
        "gauge",
        "What limits the worth of the numbers so far, by code and level (note, warn, invalid).",
        ("code", "level"),
        _findings,
    ),
    MetricSpec(
        "loadgen_run_thresholds",
        "gauge",
        "Thresholds of the run by outcome; judged at its end.",
        ("outcome",),
        _thresholds,
    ),
    MetricSpec(
        "loadgen_offered_handshakes_per_second",
        "gauge",
        "Starts per second that the schedule offers, on average. Not in the closed loop.",
        (),
        _one(lambda snapshot: snapshot.record.rate.offered_per_s),
    ),
    MetricSpec(
        "loadgen_handshakes_intended_total",
        "counter",
        "Handshakes that the schedule has called for.",
        (),
        _one(lambda snapshot: snapshot.record.counts.intended),
    ),
    MetricSpec(
        "loadgen_handshakes_started_total", "counter", "Handshakes started.", ("firmware",), _of_firmwares("started")
    ),
    MetricSpec(
        "loadgen_handshakes_completed_total",
        "counter",
        "Handshakes completed and verified.",
        ("firmware",),
        _of_firmwares("completed"),
    ),
    MetricSpec(
        "loadgen_handshakes_failed_total",
        "counter",
        "Handshakes failed; device_code is what a real device prints for it, empty where it prints none.",
        _FAILURE_LABELS,
        _failures("failures"),
    ),
    MetricSpec(
        "loadgen_handshakes_aborted_total",
        "counter",
        "Handshakes that the end of the run has cut off.",
        (),
        _one(lambda snapshot: snapshot.record.counts.aborted),
    ),
    MetricSpec(
        "loadgen_session_failures_total",
        "counter",
        "Sessions that failed after their handshake was completed.",
        _FAILURE_LABELS,
        _failures("session_failures"),
    ),
    MetricSpec(
        "loadgen_handshakes_in_flight",
        "gauge",
        "Handshakes in flight.",
        (),
        _one(lambda snapshot: snapshot.in_flight),
    ),
    MetricSpec(
        "loadgen_handshakes_waiting",
        "gauge",
        "Starts that are due and wait for a device, a slot or a descriptor.",
        (),
        _one(lambda snapshot: snapshot.record.counts.not_started),
    ),
    MetricSpec(
        "loadgen_stage_duration_seconds",
        "histogram",
        "Duration of the stages of completed handshakes, and of failed handshakes (stage failed).",
        ("stage", "firmware"),
        lambda _: (),
    ),
    MetricSpec(
        "loadgen_generator_workers",
        "gauge",
        "Worker processes of the generator.",
        (),
        _one(lambda snapshot: snapshot.record.generator.workers),
    ),
    MetricSpec(
        "loadgen_generator_cpu_seconds_total",
        "counter",
        "CPU time of all processes of the generator within the recorded window.",
        (),
        _one(lambda snapshot: snapshot.record.generator.cpu_s),
    ),
    MetricSpec(
        "loadgen_generator_cpu_utilisation_ratio",
        "gauge",
        "Utilisation of the generator in the last second, of a finished run its mean; 1 is all that it has.",
        (),
        _one(lambda snapshot: snapshot.record.generator.cpu_utilisation),
    ),
    MetricSpec(
        "loadgen_mock_cloud_cpu_seconds_total",
        "counter",
        "CPU time of the run's own mock cloud since it was started.",
        (),
        _one(_mock_cloud("cpu_s")),
    ),
    MetricSpec(
        "loadgen_mock_cloud_cpu_utilisation_ratio",
        "gauge",
        "Utilisation of the mock cloud's busiest process in the last second, of a finished run its mean.",
        (),
        _one(_mock_cloud("cpu_utilisation")),
    ),
)
"""Every metric, in the order of the exposition."""


def histograms_of(
    record: RunRecord, histogram_of: Callable[[Stage, str], Histogram | None]
) -> dict[tuple[Stage, str], Histogram]:
    """The histograms of a snapshot: every stage of every firmware, those beside the sum only where measured.

    Args:
        record: names the firmwares.
        histogram_of: of a stage and a firmware; None where it is not known.
    """
    found = {}
    for stage in Stage:
        for facts in record.firmware:
            histogram = histogram_of(stage, facts.name)
            if histogram is not None and (histogram.count or stage not in BESIDE):
                found[stage, facts.name] = histogram
    return found


def finished_snapshot(record: RunRecord, histogram_of: Callable[[Stage, str], Histogram | None]) -> Snapshot:
    """How a run stood at its end, or when its record was cut off. Arguments as of :func:`histograms_of`.

    Histograms that were read from a log know no exact sums: those are taken from the record's means.
    """
    phase = "interrupted" if record.status == "running" else record.status
    histograms = histograms_of(record, histogram_of)
    for (stage, firmware), histogram in histograms.items():
        sum_ns = _recorded_sum_ns(record, stage, firmware, histogram.count)
        if sum_ns is not None and not histogram.clamped:
            histograms[stage, firmware] = Histogram(
                histogram.indexes,
                histogram.counts,
                sum_ns=sum_ns,
                min_ns=histogram.min_ns,
                max_ns=histogram.max_ns,
            )
    return Snapshot(record=record, phase=phase, histograms=histograms)


def _recorded_sum_ns(record: RunRecord, stage: Stage, firmware: str, count: int) -> int | None:
    """Sum that the record's mean stands for; None where the record counts another number of samples."""
    stages = next((facts.stages for facts in record.firmware if facts.name == firmware), {})
    stats = stages.get(stage.value)
    if stats is None or stats.mean_us is None or stats.count != count:
        return None
    return round(stats.mean_us * NS_PER_US * count)


class SnapshotCollector(Collector):
    """Gives prometheus_client the metrics of one snapshot, and of nothing else of this process."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Every metric that has samples: a type without samples would be a metric that never existed."""
        for spec in METRICS:
            family = spec.family(self._snapshot)
            if family.samples:
                yield family


def registry_of(snapshot: Snapshot) -> CollectorRegistry:
    """A registry of its own, without the collectors of the process and the platform."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(snapshot))
    return registry


def exposition(snapshot: Snapshot) -> str:
    """The text format 0.0.4, for a Pushgateway or the textfile collector of the node exporter."""
    return generate_latest(registry_of(snapshot)).decode()
