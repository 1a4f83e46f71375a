"""Every finding at its limits, in both loops, and the verdict."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from loadgen.analysis.validity import CLOCK_STEP_LIMIT_NS, RunFacts, gap_distance, judge, sustained
from loadgen.recording.record import Finding

FORMAT = Path(__file__).parents[2] / "results" / "README.md"

OPEN = RunFacts(
    mode="open",
    offered_per_s=400.0,
    achieved_per_s=400.0,
    generator_cpu=(0.3, 0.4, 0.3, 0.2),
    schedule_lag_p99_ns=100_000,
    cloud_p50_ns=2_000_000,
    mock_cloud_cpu=(0.5, 0.5, 0.5),
    workers=2,
    samples=4_000,
    gap_distance=0.01,
    worker_cloud_p50_ns=(2_000_000, 2_100_000),
)
CLOSED = replace(OPEN, mode="closed", offered_per_s=None, gap_distance=None)


def found(facts: RunFacts) -> list[tuple[str, str]]:
    return [(finding.code, finding.level) for finding in judge(facts).findings]


def only(facts: RunFacts) -> Finding:
    (finding,) = judge(facts).findings
    return finding


@pytest.mark.parametrize("facts", [OPEN, CLOSED, RunFacts(mode="open", samples=1_000)])
def test_good_run_is_valid(facts: RunFacts) -> None:
    validity = judge(facts)
    assert (validity.verdict, validity.findings) == ("valid", [])


@pytest.mark.parametrize(
    ("achieved", "levels"),
    [(359.9, ["invalid"]), (360.0, []), (400.0, []), (440.0, []), (440.1, ["invalid"]), (0.0, ["invalid"])],
)
def test_achieved_rate_of_the_open_loop(achieved: float, levels: list[str]) -> None:
    facts = replace(OPEN, achieved_per_s=achieved)
    assert [finding.level for finding in judge(facts).findings] == levels
    assert found(replace(facts, mode="closed", offered_per_s=None)) == []


def test_achieved_rate_names_the_side_that_was_missed() -> None:
    low, high = only(replace(OPEN, achieved_per_s=200.0)), only(replace(OPEN, achieved_per_s=500.0))
    assert (low.code, low.observed, low.limit) == ("achieved_rate", 0.5, 0.9)
    assert (high.observed, high.limit) == (1.25, 1.1)
    assert low.text == "200.0/s were started of 400.0/s offered (50 %)."


@pytest.mark.parametrize(
    ("cpu", "open_level", "closed_level"),
    [
        (0.69, None, None),
        (0.7, "note", "note"),
        (0.8, "warn", "note"),
        (0.9, "invalid", "note"),
        (1.0, "invalid", "note"),
    ],
)
def test_generator_cpu(cpu: float, open_level: str | None, closed_level: str | None) -> None:
    series = (0.1, cpu, cpu, cpu, 0.1)
    assert found(replace(OPEN, generator_cpu=series)) == ([("generator_cpu", open_level)] if open_level else [])
    assert found(replace(CLOSED, generator_cpu=series)) == ([("generator_cpu", closed_level)] if closed_level else [])


def test_generator_cpu_has_to_hold() -> None:
    assert found(replace(OPEN, generator_cpu=(1.0, 1.0, 0.5, 1.0, 1.0))) == []
    assert found(replace(OPEN, generator_cpu=(1.0, 1.0, 0.85, 1.0, 1.0))) == [("generator_cpu", "warn")]


def test_short_series_is_taken_as_a_whole() -> None:
    assert sustained((0.9, 1.0)) == 0.9
    assert sustained((0.7,)) == 0.7
    assert sustained(()) == 0.0
    assert sustained((0.1, 0.5, 0.6, 0.7, 0.2)) == 0.5


@pytest.mark.parametrize(("cpu", "levels"), [(0.949, []), (0.95, ["invalid"])])
def test_mock_cloud_cpu(cpu: float, levels: list[str]) -> None:
    series = (cpu, cpu, cpu)
    assert [level for _, level in found(replace(OPEN, mock_cloud_cpu=series))] == levels
    assert [level for _, level in found(replace(CLOSED, mock_cloud_cpu=series))] == ["note"] * len(levels)


@pytest.mark.parametrize(("late_ns", "levels"), [(1_000_000, []), (1_000_001, ["invalid"])])
def test_start_lateness(late_ns: int, levels: list[str]) -> None:
    facts = replace(OPEN, schedule_lag_p99_ns=late_ns)
    assert [level for _, level in found(facts)] == levels
    closed = replace(CLOSED, schedule_lag_p99_ns=late_ns)
    assert [level for _, level in found(closed)] == ["note"] * len(levels)


@pytest.mark.parametrize(("distance", "levels"), [(0.1, []), (0.11, ["warn"]), (0.25, ["warn"]), (0.26, ["invalid"])])
def test_sent_gaps(distance: float, levels: list[str]) -> None:
    assert [level for _, level in found(replace(OPEN, gap_distance=distance))] == levels
    assert found(replace(CLOSED, gap_distance=distance)) == []


@pytest.mark.parametrize("facts", [OPEN, CLOSED])
def test_what_invalidates_in_either_loop(facts: RunFacts) -> None:
    assert found(replace(facts, clock_step_ns=CLOCK_STEP_LIMIT_NS)) == []
    for changed, code in (
        (replace(facts, clock_step_ns=CLOCK_STEP_LIMIT_NS + 1), "clock_step"),
        (replace(facts, clock_step_ns=-CLOCK_STEP_LIMIT_NS - 1), "clock_step"),
        (replace(facts, local_resource_failures=1), "local_resources"),
        (replace(facts, local_resource_failures=2, port_failures=2), "ports_exhausted"),
        (replace(facts, lost_workers=1), "lost_worker"),
    ):
        assert found(changed) == [(code, "invalid")]
        assert judge(changed).verdict == "invalid"


def test_samples_of_the_percentiles_that_were_asked_for() -> None:
    assert found(replace(OPEN, samples=999)) == [("few_samples", "warn")]
    assert found(replace(OPEN, samples=999, quantiles=(0.5,))) == []
    finding = only(replace(OPEN, samples=150, quantiles=(0.999, 0.5, 0.95)))
    assert (finding.observed, finding.limit) == (150, 10_000)
    assert finding.text == "150 handshakes are too few for p95, p99.9."
    assert only(replace(OPEN, samples=1)).text.startswith("1 handshake is too few for p")
    assert judge(replace(OPEN, samples=0)).findings == [], "running longer would not help where everything failed"


@pytest.mark.parametrize(
    ("medians", "levels"), [((100, 125), []), ((100, 126), ["warn"]), ((100, 99, 130), ["warn"]), ((7,), []), ((), [])]
)
def test_workers_that_disagree(medians: tuple[int, ...], levels: list[str]) -> None:
    assert [level for _, level in found(replace(OPEN, worker_cloud_p50_ns=medians))] == levels


def test_worst_finding_comes_first_and_decides() -> None:
    facts = replace(OPEN, generator_cpu=(0.75,) * 3, samples=10, achieved_per_s=1.0)
    assert found(facts) == [("achieved_rate", "invalid"), ("few_samples", "warn"), ("generator_cpu", "note")]
    assert judge(facts).verdict == "invalid"
    assert judge(replace(facts, achieved_per_s=400.0)).verdict == "valid"


def test_every_finding_says_what_to_do() -> None:
    facts = replace(
        OPEN,
        achieved_per_s=1.0,
        generator_cpu=(1.0,) * 3,
        mock_cloud_cpu=(1.0,) * 3,
        schedule_lag_p99_ns=9_000_000,
        gap_distance=0.9,
        clock_step_ns=10**9,
        local_resource_failures=1_234,
        port_failures=234,
        lost_workers=1,
        samples=3,
        worker_cloud_p50_ns=(1, 9),
    )
    findings = judge(facts).findings
    assert len(findings) == len({finding.code for finding in findings}) == 11
    for finding in findings:
        assert finding.text.endswith(".")
        assert finding.remedy.endswith(".")
        assert finding.observed != finding.limit
        assert f"`{finding.code}`" in FORMAT.read_text()


def test_gap_distance_is_the_largest_difference_of_the_distributions() -> None:
    gaps = np.arange(1_000)
    assert gap_distance(gaps, gaps[::-1].copy()) == 0.0
    assert gap_distance(gaps, gaps + 1_000) == 1.0
    assert gap_distance(gaps, gaps + 250) == pytest.approx(0.25)
    assert gap_distance(np.array([1, 2, 3, 4]), np.array([2, 3])) == pytest.approx(0.25)
    assert gap_distance(np.array([], dtype=np.int64), gaps) == 0.0


def test_gap_distance_takes_ties() -> None:
    assert gap_distance(np.array([5, 5, 5, 7]), np.array([5, 7])) == pytest.approx(0.25)


def test_gap_distance_does_not_grow_with_the_samples() -> None:
    rng = np.random.default_rng(3)
    few = gap_distance(rng.exponential(1e6, 2_000).astype(int), rng.exponential(1e6, 2_000).astype(int))
    many = gap_distance(rng.exponential(1e6, 200_000).astype(int), rng.exponential(1e6, 200_000).astype(int))
    assert many < few < 0.06


def test_gaps_within_the_tolerance_are_the_same() -> None:
    regular = np.full(1_000, 1_000)
    jitter = np.random.default_rng(1).integers(-90, 91, 1_000)
    assert gap_distance(regular, regular + jitter) > 0.4
    assert gap_distance(regular, regular + jitter, 0.1) == 0.0
    late = np.where(np.arange(1_000) < 300, 1_500, 1_000)
    assert gap_distance(regular, late, 0.1) == pytest.approx(0.3)
    assert gap_distance(late, regular, 0.1) == pytest.approx(0.3)


def test_starts_that_wait_for_descriptors_invalidate_both_loops() -> None:
    for facts in (OPEN, CLOSED):
        assert found(replace(facts, descriptor_waits=3)) == [("local_resources", "invalid")]
    assert found(replace(OPEN, descriptor_waits=3, local_resource_failures=1)) == [("local_resources", "invalid")]


def test_exhausted_ports_are_told_from_other_local_failures() -> None:
    facts = replace(OPEN, local_resource_failures=5, port_failures=3)
    by_code = {finding.code: finding.observed for finding in judge(facts).findings}
    assert by_code == {"ports_exhausted": 3, "local_resources": 2}
    facts = replace(OPEN, local_resource_failures=3, port_failures=3, descriptor_waits=7)
    by_code = {finding.code: finding.observed for finding in judge(facts).findings}
    assert by_code == {"ports_exhausted": 3, "local_resources": 7}
