"""What the plots of a page show, computed once: numbers in their unit, and the table behind each. Pure.

The page's script only draws: it computes no number. Times are in ms there, instants in seconds of the recorded window.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from loadgen.analysis.thresholds import format_value
from loadgen.protocol.stages import SUMS, Stage
from loadgen.recording.crypto_record import CryptoRecord
from loadgen.recording.histogram import MIN_TAIL_SAMPLES, Histogram
from loadgen.recording.record import PERCENTILES, IntervalLine, RunRecord, StageStats
from loadgen.report.crypto import SIDE_NAMES
from loadgen.report.detail import LADDER_STAGES, ladder, waterfall
from loadgen.report.hgrm import NS_PER_MS, percentile_steps
from loadgen.report.summary import NO_VALUE
from loadgen.report.terminal import plain_text
from loadgen.report.verdicts import GateSummary
from loadgen.units import format_count, format_percent

US_PER_MS: Final = 1_000.0
_COMPARED_FIELDS: Final = ("p50_us", "p90_us", "p99_us", "p999_us", "max_us")


@dataclass(frozen=True, slots=True)
class PlotTable:
    """The numbers behind a plot, as text; the first ``left`` columns are words."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1


@dataclass(frozen=True, slots=True)
class Plot:
    """One plot. ``data`` is JSON, its form depends on ``kind`` and is what ``assets/page.js`` draws."""

    title: str
    sentence: str
    """How to read it."""
    kind: str
    data: dict[str, Any]
    table: PlotTable


@dataclass(frozen=True, slots=True)
class Resolution:
    """How finely a run is known over time: that of the logs, unless it was made coarser to be kept."""

    end_s: int | None = None
    """Seconds that were recorded; None: as many as the logs have."""
    line_s: int = 1
    """Seconds that one line of ``intervals`` stands for."""
    histogram_s: int = 1
    """Seconds that one histogram of ``seconds`` stands for."""


@dataclass(frozen=True, slots=True)
class RunData:
    """A run with everything that was read of its logs."""

    record: RunRecord
    path: str
    """Its folder, as the user should read it."""
    gates: GateSummary
    seconds: Mapping[tuple[Stage, str | None], Mapping[int, Histogram]] = field(default_factory=dict)
    """Histograms by second; firmware None is all of them together. Without a stage where there is no log."""
    intervals: Sequence[IntervalLine] = ()
    problems: Sequence[str] = ()
    """Why something is missing."""
    resolution: Resolution = Resolution()
    totals: Mapping[tuple[Stage, str | None], Histogram] = field(default_factory=dict)
    """Histograms of the whole run where they are known without the seconds."""

    @property
    def name(self) -> str:
        """What tells it from other runs."""
        return plain_text(f"{self.record.label} ({self.record.id})" if self.record.label else self.record.id)

    @property
    def legend(self) -> str:
        """The same beside other runs: one that should not be believed says so."""
        return f"invalid: {self.name}" if self.record.validity.verdict == "invalid" else self.name

    def histogram(self, stage: Stage, firmware: str | None = None) -> Histogram:
        """A stage over the whole run; empty without a log."""
        known = self.totals.get((stage, firmware))
        return Histogram.merge(self.seconds.get((stage, firmware), {}).values()) if known is None else known


def milliseconds(us: float | None) -> float | None:
    """µs → ms, four significant digits: more cannot be seen."""
    return None if us is None else four_digits(us / US_PER_MS)


def four_digits(value: float) -> float:
    """A number that is short as JSON."""
    return float(f"{value:.4g}")


# --- percentile spectrum


def _spectrum(name: str, histogram: Histogram, stats: StageStats) -> dict[str, Any]:
    """One line: ``[1/(1-q), ms]``; ``thin`` goes on where a percentile has fewer samples above it than it takes."""
    points = [
        (1 / (1 - level / 100), max(value, 1) / NS_PER_MS)
        for value, level, _ in percentile_steps(histogram)
        if level < 100
    ]
    if not points:  # the record without its log
        levels = ((quantile, getattr(stats, f"{field}_us")) for field, quantile in PERCENTILES.items())
        points = [(1 / (1 - quantile), us / US_PER_MS) for quantile, us in levels if us]
    count = histogram.count or stats.count
    shown = [[four_digits(x), four_digits(y)] for x, y in points]
    solid = [point for point in shown if point[0] * MIN_TAIL_SAMPLES <= count]
    return {"name": plain_text(name), "solid": solid, "thin": shown[max(len(solid) - 1, 0) :]}


def spectrum(run: RunData) -> Plot | None:
    """Percentiles of the stages that people ask for first; None where no handshake was completed."""
    rungs = ladder(run.record)
    if not rungs:
        return None
    lines = [_spectrum(stage.value, run.histogram(stage), run.record.stage(stage)) for stage in LADDER_STAGES]
    return Plot(
        title="Percentile spectrum",
        sentence="How long the slowest handshakes took: each step to the right is a tenth of those before it. "
        "Thin lines: fewer than ten samples lie above, so the place of the line is chance.",
        kind="spectrum",
        data={"lines": lines},
        table=PlotTable(
            ("percentile", *(stage.value for stage in LADDER_STAGES), "95 % interval of handshake"),
            tuple((rung.step, *rung.values, rung.interval) for rung in rungs),
        ),
    )


def _percentile_cells(stats: StageStats) -> tuple[str, ...]:
    return tuple(format_value(getattr(stats, name), "us") for name in _COMPARED_FIELDS)


_COMPARED_HEAD: Final = ("p50", "p90", "p99", "p99.9", "max")


def firmware_spectrum(run: RunData) -> Plot | None:
    """The handshake by firmware; None where one firmware ran."""
    several = run.record.firmware
    if len(several) < 2:
        return None
    lines, rows = [], []
    for facts in several:
        stats = facts.stages.get(Stage.HANDSHAKE.value) or StageStats()
        lines.append(_spectrum(facts.name, run.histogram(Stage.HANDSHAKE, facts.name), stats))
        rows.append((facts.name, *_percentile_cells(stats)))
    return Plot(
        title="Handshake by firmware",
        sentence="The firmwares ran at the same time against the same cloud, so a gap between the lines is theirs.",
        kind="spectrum",
        data={"lines": lines},
        table=PlotTable(("firmware", *_COMPARED_HEAD), tuple(rows)),
    )


def compared_spectrum(runs: Sequence[RunData]) -> Plot | None:
    """The handshake of several runs; None where none of them completed one."""
    done = [run for run in runs if run.record.stage(Stage.HANDSHAKE).count]
    if not done:
        return None
    stats = [run.record.stage(Stage.HANDSHAKE) for run in done]
    both = list(zip(done, stats, strict=True))
    lines = [_spectrum(run.legend, run.histogram(Stage.HANDSHAKE), found) for run, found in both]
    return Plot(
        title="Handshake of every run",
        sentence="Lines that cross each other at random differ by noise; loadgen compare decides with statistics.",
        kind="spectrum",
        data={"lines": lines},
        table=PlotTable(
            ("run", *_COMPARED_HEAD),
            tuple((run.legend, *_percentile_cells(found)) for run, found in both),
        ),
    )


# --- stages


def stage_waterfall(run: RunData) -> Plot | None:
    """The stages of the mean handshake behind each other; None where no handshake was completed."""
    rows = waterfall(run.record)
    if not rows:
        return None
    whole_ms = sum(run.record.stage(stage).mean_us or 0.0 for stage in SUMS[Stage.HANDSHAKE]) / US_PER_MS
    bars = [
        {
            "stage": row.stage,
            "side": row.side,
            "begin": four_digits(row.begin * whole_ms),
            "length": four_digits(row.share * whole_ms),
        }
        for row in rows
    ]
    return Plot(
        title="Stages of the mean handshake",
        sentence="What the cloud and the network took, and what was the device's own work (ours). Means add up.",
        kind="waterfall",
        data={"bars": bars},
        table=PlotTable(
            ("stage", "side", "mean", "share"),
            tuple((row.stage, row.side, row.mean, format_percent(row.share, 1)) for row in rows),
            left=2,
        ),
    )


def compared_stages(runs: Sequence[RunData]) -> Plot | None:
    """The stages of the mean handshake of several runs; None where none of them completed one."""
    done = [run for run in runs if run.record.stage(Stage.HANDSHAKE).count]
    if not done:
        return None
    parts = SUMS[Stage.HANDSHAKE]
    means = {run.legend: [run.record.stage(stage).mean_us for stage in parts] for run in done}
    stacks = [
        {"name": stage.value, "values": [milliseconds(values[index]) or 0.0 for values in means.values()]}
        for index, stage in enumerate(parts)
    ]
    return Plot(
        title="Stages of the mean handshake of every run",
        sentence="Which stage makes a run slower.",
        kind="stacked",
        data={"names": list(means), "stacks": stacks},
        table=PlotTable(
            ("run", *(stage.value for stage in parts)),
            tuple((name, *(format_value(value, "us") for value in values)) for name, values in means.items()),
        ),
    )


# --- crypto


def crypto_plots(record: CryptoRecord) -> Iterable[Plot]:
    """Both sides of a handshake by batch size, and by number of threads."""
    sizes = sorted({result.batch_size for result in record.operations})
    by_size: dict[str, dict[int, float | None]] = {}
    for result in record.operations:
        if result.operation in SIDE_NAMES:
            name = f"{SIDE_NAMES[result.operation]}, {result.backend}"
            by_size.setdefault(name, {})[result.batch_size] = result.per_s_per_core
    if by_size:
        yield _by_step(
            "Handshakes per second and core",
            "What one core sustains if it does nothing but this cryptography, by the number of devices in a batch.",
            ("batch size", sizes),
            by_size,
        )
    threads = sorted({found.threads for found in record.threads})
    by_threads: dict[str, dict[int, float | None]] = {}
    for found in record.threads:
        by_threads.setdefault(f"{found.side}, {found.backend}", {})[found.threads] = found.handshakes_per_s
    if by_threads:
        yield _by_step(
            "Handshakes per second of all threads",
            "All threads together. A line that flattens shows cores that share something.",
            ("threads", threads),
            by_threads,
        )


def _by_step(
    title: str, sentence: str, steps: tuple[str, Sequence[int]], lines: Mapping[str, Mapping[int, float | None]]
) -> Plot:
    axis, values = steps
    return Plot(
        title=title,
        sentence=sentence,
        kind="steps",
        data={
            "axis": axis,
            "steps": [str(value) for value in values],
            "lines": [
                {"name": plain_text(name), "values": [_rounded(found.get(value)) for value in values]}
                for name, found in lines.items()
            ],
        },
        table=PlotTable(
            (axis, *lines),
            tuple((str(value), *(_count(found.get(value)) for found in lines.values())) for value in values),
        ),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else four_digits(value)


def _count(value: float | None) -> str:
    return NO_VALUE if value is None else format_count(round(value))
