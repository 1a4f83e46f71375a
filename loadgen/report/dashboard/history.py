"""What is kept of a run for its live page, bounded: however long the run, a page is as large as one of minutes. Pure.

Seconds are kept as they come until there are more than a plot shows; then neighbours are put together and each stands
for twice as many seconds. Stages are summed up over the whole run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import zip_longest

import msgspec
import numpy as np

from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import LENGTH, Histogram
from loadgen.recording.record import FailureTally, IntervalLine
from loadgen.report.dashboard.messages import Key
from loadgen.report.overtime import MOST_COLUMNS, MOST_POINTS
from loadgen.report.plots import Resolution


class _Total:
    """One histogram that others are added to; as large after a day as after a second."""

    __slots__ = ("clamped", "counts", "max_ns", "min_ns", "sum_ns")

    def __init__(self) -> None:
        self.counts = np.zeros(LENGTH, dtype=np.int64)
        self.sum_ns = self.clamped = 0
        self.min_ns, self.max_ns = 1 << 63, -1

    def add(self, other: Histogram) -> None:
        self.counts[other.indexes] += other.counts
        self.sum_ns += other.sum_ns
        self.clamped += other.clamped
        self.min_ns = min(self.min_ns, other.min_ns or 0)
        self.max_ns = max(self.max_ns, other.max_ns or 0)

    def histogram(self) -> Histogram:
        indexes = np.flatnonzero(self.counts)
        return Histogram(
            indexes,
            self.counts[indexes],
            sum_ns=self.sum_ns,
            min_ns=self.min_ns,
            max_ns=self.max_ns,
            clamped=self.clamped,
        )


class History:
    """One run so far."""

    def __init__(self) -> None:
        self.lines: list[IntervalLine] = []
        """What happened, each line over ``resolution.line_s`` seconds; at most :data:`MOST_POINTS`."""
        self.columns: dict[int, Histogram] = {}
        """The handshake by the first second of a column of ``resolution.histogram_s``; at most :data:`MOST_COLUMNS`."""
        self.end_s = 0
        """Seconds so far."""
        self._line_s = self._column_s = 1
        self._totals: dict[Key, _Total] = {}

    @property
    def resolution(self) -> Resolution:
        """How finely the run is known."""
        return Resolution(self.end_s or None, self._line_s, self._column_s)

    def add(self, line: IntervalLine, histograms: Mapping[Key, Histogram]) -> None:
        """A second that follows those before it, and the durations of what completed in it."""
        self.end_s = line.second + 1
        self._add_line(line)
        for key, histogram in histograms.items():
            self._totals.setdefault(key, _Total()).add(histogram)
        self._add_column(line.second, histograms.get((Stage.HANDSHAKE, None)) or Histogram.empty())

    def total(self, stage: Stage, firmware: str | None = None) -> Histogram:
        """All durations so far."""
        total = self._totals.get((stage, firmware))
        return Histogram.empty() if total is None else total.histogram()

    def totals(self, keys: Iterable[Key]) -> dict[Key, Histogram]:
        """The same of several."""
        return {key: self.total(*key) for key in keys}

    def _add_line(self, line: IntervalLine) -> None:
        begin = line.second // self._line_s * self._line_s
        if self.lines and self.lines[-1].second == begin:
            self.lines[-1] = together(self.lines[-1], line)
            return
        self.lines.append(msgspec.structs.replace(line, second=begin))
        if len(self.lines) > MOST_POINTS:
            self._line_s *= 2
            lines, self.lines = self.lines, []
            for kept in lines:
                self._add_line(kept)

    def _add_column(self, second: int, histogram: Histogram) -> None:
        begin = second // self._column_s * self._column_s
        self.columns[begin] = Histogram.merge([self.columns.get(begin, Histogram.empty()), histogram])
        if len(self.columns) > MOST_COLUMNS:
            self._column_s *= 2
            columns, self.columns = self.columns, {}
            for kept, found in columns.items():
                self._add_column(kept, found)


def together(first: IntervalLine, second: IntervalLine) -> IntervalLine:
    """Two lines as one: what happened adds up, what was at one time is the larger."""
    return IntervalLine(
        second=first.second,
        time=first.time,
        intended=first.intended + second.intended,
        started=first.started + second.started,
        completed=first.completed + second.completed,
        failed=first.failed + second.failed,
        aborted=first.aborted + second.aborted,
        session_failed=first.session_failed + second.session_failed,
        in_flight=max(first.in_flight, second.in_flight),
        waiting=max(first.waiting, second.waiting),
        firmware={},
        failures=_tallies(first.failures, second.failures),
        session_failures=_tallies(first.session_failures, second.session_failures),
        worker_cpu_s=_sums(first.worker_cpu_s, second.worker_cpu_s),
        mock_cloud_cpu_s=_sums(first.mock_cloud_cpu_s, second.mock_cloud_cpu_s),
    )


def _tallies(*parts: list[FailureTally]) -> list[FailureTally]:
    found: Counter[tuple[str, str, int | None, str]] = Counter()
    for tally in (tally for part in parts for tally in part):
        found[tally.stage, tally.reason, tally.device_code, tally.firmware] += tally.count
    return [
        FailureTally(stage=stage, reason=reason, device_code=code, firmware=firmware, count=count)
        for (stage, reason, code, firmware), count in found.items()
    ]


def _sums(first: list[float], second: list[float]) -> list[float]:
    return [one + other for one, other in zip_longest(first, second, fillvalue=0.0)]
