"""Rows of a run's full report beside the summary's: the percentile ladder and the stage waterfall. Pure.

The ladder has every percentile of the stages that people ask for first. The waterfall puts the stages of the mean
handshake behind each other: means add up exactly, percentiles do not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from loadgen.analysis.thresholds import format_value
from loadgen.protocol.stages import OURS, SUMS, Stage
from loadgen.recording.record import RunRecord
from loadgen.report.summary import NO_VALUE

LADDER_STAGES: Final = (Stage.HANDSHAKE, Stage.CLOUD, Stage.KEY, Stage.RESPONSE)
_STEPS: Final = (
    ("min", "min_us"),
    ("p50", "p50_us"),
    ("p75", "p75_us"),
    ("p90", "p90_us"),
    ("p95", "p95_us"),
    ("p99", "p99_us"),
    ("p99.9", "p999_us"),
    ("p99.99", "p9999_us"),
    ("max", "max_us"),
)


@dataclass(frozen=True, slots=True)
class LadderRow:
    """One percentile: its value for each of :data:`LADDER_STAGES`, and the interval of the handshake's."""

    step: str
    values: tuple[str, ...]
    interval: str


@dataclass(frozen=True, slots=True)
class WaterfallRow:
    """One stage of the mean handshake. ``begin`` and ``share`` are fractions of the whole."""

    stage: str
    side: str
    begin: float
    share: float
    mean: str


def ladder(record: RunRecord) -> tuple[LadderRow, ...]:
    """The percentile ladder; empty where no handshake was completed."""
    if not record.stage(Stage.HANDSHAKE).count:
        return ()
    return tuple(_rung(record, step, field) for step, field in _STEPS)


def _rung(record: RunRecord, step: str, field: str) -> LadderRow:
    values = [getattr(record.stage(stage), field) for stage in LADDER_STAGES]
    interval = getattr(record.stage(Stage.HANDSHAKE), field.replace("_us", "_ci_us"), None)
    return LadderRow(
        step=step,
        values=tuple(NO_VALUE if value is None else format_value(value, "us") for value in values),
        interval="" if interval is None else " … ".join(format_value(end, "us") for end in interval),
    )


def waterfall(record: RunRecord) -> tuple[WaterfallRow, ...]:
    """Stages of the mean handshake in order; empty where no handshake was completed."""
    means = [(stage, record.stage(stage).mean_us or 0.0) for stage in SUMS[Stage.HANDSHAKE]]
    whole = sum(mean for _, mean in means)
    if not whole:
        return ()
    rows, begin = [], 0.0
    for stage, mean in means:
        side = "ours" if stage in OURS else "cloud"
        rows.append(WaterfallRow(stage.value, side, begin / whole, mean / whole, format_value(mean, "us")))
        begin += mean
    return tuple(rows)


def bar(row: WaterfallRow, cells: int) -> str:
    """The row as a bar of so many cells: blanks, then blocks; a stage that takes time has one at least."""
    begin = min(round(row.begin * cells), cells - 1)
    length = max(1 if row.share else 0, round((row.begin + row.share) * cells) - begin)
    return " " * begin + "█" * min(length, cells - begin)
