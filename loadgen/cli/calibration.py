"""Keeps every handshake of a calibration until the mock cloud's notes can be read, which is after its end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from loadgen.analysis.calibration import calibrate
from loadgen.mockcloud.timings import Timings
from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram
from loadgen.recording.record import Calibration
from loadgen.recording.rows import POINT_COLUMNS, Rows

CALIBRATION_SCENARIO: Final = "calibrate"
"""Scenario of ``run --calibrate`` unless another is named."""


class CalibrationWatch:
    """The clock points of all completed handshakes, 64 bytes each."""

    def __init__(self) -> None:
        self._points: list[Rows] = [np.empty((0, POINT_COLUMNS), dtype=np.int64)]

    def add(self, rows: Rows) -> None:
        """Take completed handshakes, shape (n, 13)."""
        self._points.append(rows[:, :POINT_COLUMNS].copy())

    def facts(self, timings: Timings, histogram_of: Callable[[Stage], Histogram]) -> Calibration:
        """For the record. ``histogram_of`` gives the run's histogram of a stage."""
        return calibrate(np.concatenate(self._points), timings, histogram_of)
