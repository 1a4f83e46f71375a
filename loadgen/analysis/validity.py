"""Whether a run's numbers may be believed.

In the open loop the generator promises a schedule; where it, this machine or the run's own mock cloud could not
keep up, the latencies are those of the bottleneck, and the run is invalid. In the closed loop saturation is
the question that is asked, so the same observations are notes; there only clock steps, exhausted descriptors or
ports and a lost worker invalidate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from loadgen.clock import NS_PER_MS
from loadgen.recording.histogram import samples_needed
from loadgen.recording.record import Finding, Level, Validity
from loadgen.units import format_percent

RATE_BAND: Final = (0.9, 1.1)
"""Achieved ÷ offered rate outside which a run did not do what it was asked."""
CPU_LEVELS: Final[tuple[tuple[float, Level], ...]] = ((0.9, "invalid"), (0.8, "warn"), (0.7, "note"))
"""Generator CPU utilisation from which a level holds."""
MOCK_CLOUD_CPU: Final = 0.95
"""Mock cloud CPU utilisation from which the mock was measured, not the handshake."""
SUSTAINED_S: Final = 3
"""A utilisation counts when it holds for so many seconds running."""
LATENESS_SHARE: Final = 0.5
"""Share of p50 ``cloud`` that p99 ``schedule_lag`` may reach."""
CLOCK_STEP_LIMIT_NS: Final = 10 * NS_PER_MS
"""Move of CLOCK_REALTIME against CLOCK_MONOTONIC between two looks that is a step. NTP slews by at most 0.5 ms/s."""
GAP_LEVELS: Final[tuple[tuple[float, Level], ...]] = ((0.25, "invalid"), (0.1, "warn"))
"""Kolmogorov distance between sent and intended gaps above which a level holds."""
GAP_TOLERANCE: Final = 0.1
"""Gaps that differ by less than this share of the mean gap count as the same."""
WORKER_RATIO: Final = 1.25
"""Largest ÷ smallest median of ``cloud`` over the workers above which they disagree."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """What is judged. None or empty: was not measured, or did not exist.

    Attributes:
        mode: the load model.
        offered_per_s: rate that was asked for; None in the closed loop.
        achieved_per_s: starts per second of the recorded window.
        generator_cpu: for each second, the larger of (busiest thread ÷ wall) and (all threads of all workers ÷
            wall × allowed cores); 1 is all of it.
        schedule_lag_p99_ns: p99 of start lateness; None where there are too few samples for one.
        cloud_p50_ns: median of ``cloud``.
        clock_step_ns: the largest move of CLOCK_REALTIME against CLOCK_MONOTONIC between two looks.
        local_resource_failures: handshakes that failed because descriptors, ports or memory were used up.
        descriptor_waits: how often a start had to wait because descriptors were used up.
        port_failures: of ``local_resource_failures`` those that found no free local port.
        mock_cloud_cpu: for each second, utilisation of the run's own mock cloud: its busiest process ÷ wall.
        workers: processes of the generator.
        lost_workers: of these, how many ended before they were done.
        samples: completed handshakes.
        quantiles: percentiles that the run was asked for, 0.99 for p99.
        more_samples: how to get more of them, for people.
        gap_distance: :func:`gap_distance` of sent and intended gaps.
        worker_cloud_p50_ns: median of ``cloud`` of each worker that has enough samples for one.
    """

    mode: Literal["open", "closed"]
    offered_per_s: float | None = None
    achieved_per_s: float = 0.0
    generator_cpu: Sequence[float] = ()
    schedule_lag_p99_ns: int | None = None
    cloud_p50_ns: int | None = None
    clock_step_ns: int = 0
    local_resource_failures: int = 0
    descriptor_waits: int = 0
    port_failures: int = 0
    mock_cloud_cpu: Sequence[float] = ()
    workers: int = 1
    lost_workers: int = 0
    samples: int = 0
    quantiles: Sequence[float] = (0.5, 0.95, 0.99)
    more_samples: str = "Run longer or faster"
    gap_distance: float | None = None
    worker_cloud_p50_ns: Sequence[int] = ()


def judge(facts: RunFacts) -> Validity:
    """Findings about a run, the worst first, and the verdict: invalid if one of them is."""
    rank: dict[str, int] = {"invalid": 0, "warn": 1, "note": 2}
    findings = sorted(_findings(facts), key=lambda finding: rank[finding.level])
    invalid = any(finding.level == "invalid" for finding in findings)
    return Validity(verdict="invalid" if invalid else "valid", findings=findings)


def sustained(values: Sequence[float], seconds: int = SUSTAINED_S) -> float:
    """The highest level that every one of ``seconds`` values running reaches; 0 without values.

    A shorter series is taken as a whole.
    """
    if not values:
        return 0.0
    width = min(seconds, len(values))
    return max(min(values[begin : begin + width]) for begin in range(len(values) - width + 1))


def gap_distance(intended_gaps: NDArray[np.int64], sent_gaps: NDArray[np.int64], tolerance: float = 0.0) -> float:
    """Two-sample Kolmogorov–Smirnov distance: the largest difference of the two distributions, 0 … 1.

    Used as an effect size, not as a test: it does not grow with the number of samples. 0 if one side is empty.

    Args:
        intended_gaps, sent_gaps: ns.
        tolerance: as a share of the mean intended gap: gaps that differ by no more count as the same, as in Lévy's
            distance. The gaps of a constant rate are one value, which no program can hit to the nanosecond.
    """
    if not intended_gaps.size or not sent_gaps.size:
        return 0.0
    first, second = np.sort(intended_gaps), np.sort(sent_gaps)
    slack_ns = int(tolerance * first.mean())
    longer = _below(first, first) - _below(second, first + slack_ns)
    shorter = _below(second, second) - _below(first, second + slack_ns)
    return max(0.0, float(longer.max()), float(shorter.max()))


def _below(values: NDArray[np.int64], at: NDArray[np.int64]) -> NDArray[np.float64]:
    """Share of sorted ``values`` that are not above each of ``at``."""
    return np.asarray(np.searchsorted(values, at, side="right") / values.size, dtype=np.float64)


def _findings(facts: RunFacts) -> Iterator[Finding]:
    for check in (
        _lost_workers,
        _ports,
        _local_resources,
        _clock_step,
        _achieved_rate,
        _generator_cpu,
        _mock_cloud_cpu,
        _lateness,
        _gaps,
        _samples,
        _workers_disagree,
    ):
        finding = check(facts)
        if finding is not None:
            yield finding


def _of_saturation(facts: RunFacts, level: Level) -> Level:
    """In the closed loop, saturation is no fault."""
    return level if facts.mode == "open" else "note"


def _lost_workers(facts: RunFacts) -> Finding | None:
    if not facts.lost_workers:
        return None
    return Finding(
        code="lost_worker",
        level="invalid",
        observed=facts.lost_workers,
        limit=0,
        text=f"{facts.lost_workers} of {facts.workers} workers ended before they were done.",
        remedy="Look at the messages above for why, and at the system's log for an out-of-memory kill.",
    )


def _ports(facts: RunFacts) -> Finding | None:
    if not facts.port_failures:
        return None
    return Finding(
        code="ports_exhausted",
        level="invalid",
        observed=facts.port_failures,
        limit=0,
        text=f"{facts.port_failures:,} handshakes found no free local port.",
        remedy="Use more --source-ip addresses, --close rst, or a wider net.ipv4.ip_local_port_range.",
    )


def _local_resources(facts: RunFacts) -> Finding | None:
    failures = facts.local_resource_failures - facts.port_failures
    if failures <= 0 and not facts.descriptor_waits:
        return None
    if failures <= 0:
        return Finding(
            code="local_resources",
            level="invalid",
            observed=facts.descriptor_waits,
            limit=0,
            text=f"Starts had to wait for descriptors {facts.descriptor_waits:,} times.",
            remedy="Raise `ulimit -n`, use more workers, or lower --max-in-flight.",
        )
    return Finding(
        code="local_resources",
        level="invalid",
        observed=failures,
        limit=0,
        text=f"{failures:,} handshakes failed for want of descriptors, buffers or memory here.",
        remedy="Raise `ulimit -n`, use more --workers, or lower --max-in-flight or --concurrency.",
    )


def _clock_step(facts: RunFacts) -> Finding | None:
    if abs(facts.clock_step_ns) <= CLOCK_STEP_LIMIT_NS:
        return None
    return Finding(
        code="clock_step",
        level="invalid",
        observed=facts.clock_step_ns / NS_PER_MS,
        limit=CLOCK_STEP_LIMIT_NS / NS_PER_MS,
        text=f"The system clock was set by {facts.clock_step_ns / NS_PER_MS:,.1f} ms during the run.",
        remedy="Let the time service settle, or stop it, and take the run again.",
    )


def _achieved_rate(facts: RunFacts) -> Finding | None:
    if facts.mode != "open" or not facts.offered_per_s:
        return None
    share = facts.achieved_per_s / facts.offered_per_s
    low, high = RATE_BAND
    if low <= share <= high:
        return None
    return Finding(
        code="achieved_rate",
        level="invalid",
        observed=round(share, 4),
        limit=low if share < low else high,
        text=f"{facts.achieved_per_s:,.1f}/s were started of {facts.offered_per_s:,.1f}/s offered "
        f"({format_percent(share)}).",
        remedy="Lower --rate, or raise --max-in-flight, --workers or the number of devices.",
    )


def _generator_cpu(facts: RunFacts) -> Finding | None:
    observed = sustained(facts.generator_cpu)
    for limit, level in CPU_LEVELS:
        if observed >= limit:
            return Finding(
                code="generator_cpu",
                level=_of_saturation(facts, level),
                observed=round(observed, 4),
                limit=limit,
                text=f"The generator used {format_percent(observed)} of its CPU for {SUSTAINED_S} s running.",
                remedy="Use more --workers or more cores, or lower the load; a replay cloud shows the ceiling.",
            )
    return None


def _mock_cloud_cpu(facts: RunFacts) -> Finding | None:
    observed = sustained(facts.mock_cloud_cpu)
    if observed < MOCK_CLOUD_CPU:
        return None
    return Finding(
        code="mock_cloud_cpu",
        level=_of_saturation(facts, "invalid"),
        observed=round(observed, 4),
        limit=MOCK_CLOUD_CPU,
        text=f"The mock cloud used {format_percent(observed)} of its CPU: the run measured the mock.",
        remedy="Lower the load, give it more --cloud-workers, or use --cloud-mode replay.",
    )


def _lateness(facts: RunFacts) -> Finding | None:
    if facts.schedule_lag_p99_ns is None or facts.cloud_p50_ns is None:
        return None
    limit_ns = LATENESS_SHARE * facts.cloud_p50_ns
    if facts.schedule_lag_p99_ns <= limit_ns:
        return None
    late_ms, limit_ms = facts.schedule_lag_p99_ns / NS_PER_MS, limit_ns / NS_PER_MS
    return Finding(
        code="start_lateness",
        level=_of_saturation(facts, "invalid"),
        observed=late_ms,
        limit=limit_ms,
        text=f"p99 of start lateness is {late_ms:,.3f} ms, above half of the cloud's median ({limit_ms:,.3f} ms).",
        remedy="Lower --rate, use more --workers, or raise --max-in-flight so that no start has to wait.",
    )


def _gaps(facts: RunFacts) -> Finding | None:
    for limit, level in GAP_LEVELS:
        if facts.mode == "open" and facts.gap_distance is not None and facts.gap_distance > limit:
            return Finding(
                code="sent_gaps",
                level=level,
                observed=round(facts.gap_distance, 4),
                limit=limit,
                text=f"Gaps between starts differ from the schedule's by a distance of {facts.gap_distance:.2f}.",
                remedy="Use more --workers or lower --rate, and keep other work off this machine.",
            )
    return None


def _samples(facts: RunFacts) -> Finding | None:
    missing = [q for q in sorted(set(facts.quantiles)) if facts.samples < samples_needed(q)]
    if not missing or not facts.samples:  # without any, running longer is no remedy
        return None
    names = ", ".join(f"p{q * 100:g}" for q in missing)
    needed = samples_needed(missing[-1])
    return Finding(
        code="few_samples",
        level="warn",
        observed=facts.samples,
        limit=needed,
        text=f"{'1 handshake is' if facts.samples == 1 else f'{facts.samples:,} handshakes are'} too few for {names}.",
        remedy=f"{facts.more_samples}: p{missing[-1] * 100:g} takes {needed:,} completed handshakes.",
    )


def _workers_disagree(facts: RunFacts) -> Finding | None:
    medians = [median for median in facts.worker_cloud_p50_ns if median > 0]
    if len(medians) < 2:
        return None
    ratio = max(medians) / min(medians)
    if ratio <= WORKER_RATIO:
        return None
    return Finding(
        code="workers_disagree",
        level="warn",
        observed=round(ratio, 4),
        limit=WORKER_RATIO,
        text=f"The cloud's median is {ratio:.2f} times as long in one worker as in another.",
        remedy="Keep other work off this machine's cores, or use fewer --workers.",
    )
