"""A calibration for people: what was reported, what it really was, and how far they lie apart. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from loadgen.clock import NS_PER_US
from loadgen.recording.record import CalibratedPercentile, Calibration
from loadgen.units import format_count, format_ns

CALIBRATION_COLUMNS: Final = ("stage", "percentile", "truth", "measured", "error", "allowed", "outcome")
"""Heads of the table."""

_NO_VALUE: Final = "–"
_NAMES: Final = {"p999": "p99.9"}


@dataclass(frozen=True, slots=True)
class CalibrationTable:
    """``outcome`` is ``pass``, ``fail`` or ``no data``; rows are in the order of :data:`CALIBRATION_COLUMNS`."""

    outcome: str
    sentence: str
    rows: tuple[tuple[str, ...], ...]


def calibration_table(calibration: Calibration) -> CalibrationTable:
    """The table of a record's calibration."""
    sentence = (
        f"{format_count(calibration.found)} of {format_count(calibration.handshakes)} handshakes found in the mock "
        "cloud's notes"
    )
    if calibration.outcome == "no_data":
        sentence += "; run longer, or faster: p99.9 takes 10,000 handshakes, nearly all of them found"
    return CalibrationTable(
        outcome=calibration.outcome.replace("_", " "),
        sentence=sentence,
        rows=tuple(_row(each) for each in calibration.percentiles),
    )


def _row(each: CalibratedPercentile) -> tuple[str, ...]:
    name = _NAMES.get(each.percentile, each.percentile)
    values = [
        _NO_VALUE if value is None else format_ns(value * NS_PER_US) for value in (each.truth_us, each.measured_us)
    ]
    error = _NO_VALUE
    if each.error_us is not None:
        error = f"{'+' if each.error_us >= 0 else ''}{format_ns(each.error_us * NS_PER_US)}"
    allowed = _NO_VALUE if each.limit_us is None else f"±{format_ns(each.limit_us * NS_PER_US)}"
    return (each.stage, name, *values, error, allowed, each.outcome.replace("_", " "))
