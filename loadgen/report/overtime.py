"""What the plots over time show: latency as a heat map, rates, handshakes in flight, failures and CPU. Pure.

Long runs are shown in wider columns, each a whole number of seconds, so that a plot never has more than it can show.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np

from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Counts, Histogram, highest_equivalent_ns
from loadgen.recording.record import IntervalLine
from loadgen.report.plots import Plot, PlotTable, RunData, four_digits
from loadgen.report.summary import NO_VALUE
from loadgen.report.terminal import plain_text
from loadgen.units import format_count, format_ns

MOST_COLUMNS: Final = 120
"""Of the heat map."""
MOST_POINTS: Final = 600
"""Of a line; several runs on one page share them."""
MOST_ROWS: Final = 60
"""Of the table behind a plot over time."""
_LEAST_POINTS: Final = 60
_MOST_BUCKETS: Final = 40
_PER_DECADE: Final = (20, 10, 5, 2, 1)
_MOST_KINDS: Final = 7
OTHER_KINDS: Final = "all others"
"""Name of the failures beyond the most frequent ones, in the plot; the table of failures has every one."""


def column_width(seconds: int, most: int, step: int = 1) -> int:
    """Seconds a column, a multiple of ``step``, so that there are at most so many columns."""
    return max(1, math.ceil(seconds / (most * step))) * step


def span(begin: int, width: int) -> str:
    """The seconds of a column, in words."""
    return f"{begin} s" if width == 1 else f"{begin} to {begin + width} s"


# --- latency


def heat_map(run: RunData) -> Plot | None:
    """How many handshakes took how long, and when; None without a log of histograms."""
    seconds = {second: found for second, found in run.seconds.get((Stage.HANDSHAKE, None), {}).items() if found.count}
    if not seconds:
        return None
    end = run.resolution.end_s or max(seconds) + 1
    width = column_width(end, MOST_COLUMNS, run.resolution.histogram_s)
    columns = _columns(seconds, width)
    bounds_ns = bucket_bounds_ns(columns.values())
    cells = [cell for begin, found in columns.items() for cell in heat_cells(begin // width, found, bounds_ns)]
    return Plot(
        title="Latency over time",
        sentence="Handshakes by the second in which they completed and by how long they took; the darker (in the dark "
        "scheme: the brighter), the more. A pause of the cloud shows as a gap with a slope behind it.",
        kind="heat",
        data={
            "times": [span(begin, width) for begin in range(0, end, width)],
            "begins": list(range(0, end, width)),
            "rows": [format_ns(bound) for bound in bounds_ns],
            "cells": cells,
            "most": max(count for _, _, count in cells),
            "width": width,
        },
        table=_latency_table(seconds, column_width(end, MOST_ROWS, run.resolution.histogram_s)),
    )


def _columns(seconds: Mapping[int, Histogram], width: int) -> dict[int, Histogram]:
    """By the first second of the column, in order."""
    parts: dict[int, list[Histogram]] = {}
    for second, found in sorted(seconds.items()):
        parts.setdefault(second // width * width, []).append(found)
    return {begin: Histogram.merge(found) for begin, found in parts.items()}


def bucket_bounds_ns(histograms: Iterable[Histogram]) -> list[float]:
    """Bounds of the heat map's rows, equal steps of the logarithm through the powers of ten; one more than rows.

    Args:
        histograms: with samples.
    """
    ends = [highest_equivalent_ns(found.indexes[[0, -1]]).tolist() for found in histograms]
    low = math.log10(max(min(low for low, _ in ends), 1))
    high = math.log10(max(*(high for _, high in ends), 1))
    for steps in _PER_DECADE:
        first, last = math.floor(low * steps), math.floor(high * steps) + 1
        if last - first <= _MOST_BUCKETS:
            break
    return [10 ** (step / steps) for step in range(first, last + 1)]


def heat_cells(column: int, histogram: Histogram, bounds_ns: Sequence[float]) -> list[list[int]]:
    """[column, row, samples] of the rows of one column that have some."""
    values: Counts = np.maximum(highest_equivalent_ns(histogram.indexes), 1)
    rows = np.clip(np.searchsorted(np.asarray(bounds_ns), values, side="right") - 1, 0, len(bounds_ns) - 2)
    counts = np.bincount(rows, weights=histogram.counts)
    return [[column, row, round(count)] for row, count in enumerate(counts.tolist()) if count]


def _latency_table(seconds: Mapping[int, Histogram], width: int) -> PlotTable:

    def shown(value_ns: int | None) -> str:
        return NO_VALUE if value_ns is None else format_ns(value_ns)

    rows = tuple(
        (
            span(begin, width),
            format_count(found.count),
            *(shown(found.percentile_ns(quantile)) for quantile in (0.5, 0.9, 0.99)),
            shown(found.max_ns),
        )
        for begin, found in _columns(seconds, width).items()
    )
    return PlotTable(("time", "handshakes", "p50", "p90", "p99", "max"), rows)


# --- counts


Value: TypeAlias = Callable[[IntervalLine], float]


class _Seconds:
    """The lines of ``intervals.jsonl`` in columns of equal width.

    Args:
        intervals: in order.
        width: seconds a column.
        end: seconds that were recorded.
        begin: where the first column begins.
    """

    def __init__(self, intervals: Iterable[IntervalLine], width: int, end: int, begin: int = 0) -> None:
        parts: dict[int, list[IntervalLine]] = {start: [] for start in range(begin, end, width)}
        for line in intervals:
            parts[line.second // width * width].append(line)
        self.width = width
        self.parts = parts
        self._end = end

    @classmethod
    def of(cls, run: RunData, most: int) -> _Seconds:
        """Those of a run, in at most so many columns."""
        end = run.resolution.end_s or max((line.second for line in run.intervals), default=-1) + 1
        return cls(run.intervals, column_width(end, most, run.resolution.line_s), end)

    def rate(self, value: Value) -> list[list[float]]:
        """[second, value per second]; the last column may be shorter than the others."""
        return [
            [begin, four_digits(sum(map(value, lines)) / min(self.width, self._end - begin))]
            for begin, lines in self.parts.items()
        ]

    def highest(self, value: Value) -> list[list[float]]:
        """[second, largest value of the column]."""
        return [[begin, max(map(value, lines), default=0)] for begin, lines in self.parts.items()]


Column: TypeAlias = Callable[[_Seconds], list[list[float]]]


@dataclass(frozen=True, slots=True)
class TimePlot:
    """What a plot over time shows, whatever the columns: lines by name, and how each comes from the seconds."""

    title: str
    sentence: str
    unit: str
    lines: Mapping[str, Column]
    stacked: bool = False

    def plot(self, run: RunData, points: int = MOST_POINTS) -> Plot:
        """The plot of a run, with at most so many points a line."""
        seconds = _Seconds.of(run, points)
        lines = [{"name": name, "points": column(seconds)} for name, column in self.lines.items()]
        data: dict[str, Any] = {"unit": self.unit, "width": seconds.width, "lines": lines}
        if self.stacked:
            data["stacked"] = True
        return Plot(self.title, self.sentence, "time", data, self._table(run))

    def newest(self, run: RunData) -> list[list[float]]:
        """The last point of every line; the run has as many lines as a plot has points."""
        last, width = run.intervals[-1], run.resolution.line_s
        seconds = _Seconds([last], width, run.resolution.end_s or last.second + 1, last.second)
        return [column(seconds)[0] for column in self.lines.values()]

    def _table(self, run: RunData) -> PlotTable:
        seconds = _Seconds.of(run, MOST_ROWS)
        values = [column(seconds) for column in self.lines.values()]
        rows = tuple(
            (span(begin, seconds.width), *(_number(found[index][1]) for found in values))
            for index, begin in enumerate(seconds.parts)
        )
        return PlotTable(("time", *self.lines), rows)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


def points_for(runs: int) -> int:
    """Points of a line where so many runs stand on one page."""
    return max(_LEAST_POINTS, MOST_POINTS // max(runs, 1))


def over_time(run: RunData, points: int = MOST_POINTS) -> list[Plot]:
    """Rates, handshakes in flight, failures and CPU; none without a log of intervals."""
    return [shown.plot(run, points) for shown in time_plots(run.intervals)]


def time_plots(lines: Sequence[IntervalLine]) -> list[TimePlot]:
    """What :func:`over_time` shows of a run with these lines."""
    return [*_counts(), *_failures(lines), _cpu(lines)] if lines else []


def _counts() -> list[TimePlot]:
    return [
        TimePlot(
            "Rates",
            "Handshakes per second. Where started falls behind intended, the load was not offered as planned.",
            "/s",
            {
                "intended": lambda found: found.rate(lambda line: line.intended),
                "started": lambda found: found.rate(lambda line: line.started),
                "completed": lambda found: found.rate(lambda line: line.completed),
                "failed": lambda found: found.rate(lambda line: line.failed + line.session_failed),
            },
        ),
        TimePlot(
            "In flight",
            "Handshakes that had begun and not ended, and starts that were due and had to wait for something.",
            "",
            {
                "in flight": lambda found: found.highest(lambda line: line.in_flight),
                "waiting": lambda found: found.highest(lambda line: line.waiting),
            },
        ),
    ]


def _kinds(line: IntervalLine) -> Counter[str]:
    found: Counter[str] = Counter()
    for failure in line.failures:
        found[f"{failure.stage}/{failure.reason}"] += failure.count
    for failure in line.session_failures:
        found[f"session/{failure.reason}"] += failure.count
    return found


def _failures(lines: Sequence[IntervalLine]) -> list[TimePlot]:
    """The most frequent kinds on top of each other; none where nothing failed."""
    counted = {line.second: (line, _kinds(line)) for line in lines}
    total: Counter[str] = Counter()
    for _, found in counted.values():
        total.update(found)
    if not total:
        return []
    shown = [name for name, _ in total.most_common(_MOST_KINDS)]

    def kinds(line: IntervalLine) -> Counter[str]:
        known, found = counted.get(line.second, (None, Counter()))
        return found if known is line else _kinds(line)

    def of_kind(name: str) -> Column:
        return lambda found: found.rate(lambda line: kinds(line)[name])

    def rest(line: IntervalLine) -> int:
        found = kinds(line)
        return found.total() - sum(found[name] for name in shown)

    columns = {plain_text(name): of_kind(name) for name in shown}
    if len(total) > len(shown):
        columns[OTHER_KINDS] = lambda found: found.rate(rest)
    sentence = "Failures per second by stage and reason, on top of each other."
    return [TimePlot("Failures", sentence, "/s", columns, stacked=True)]


def _cpu(lines: Sequence[IntervalLine]) -> TimePlot:
    """Cores in use by the generator and by the mock cloud."""

    def used(value: Value) -> Column:
        return lambda found: found.rate(value)

    columns = {"generator": used(lambda line: sum(line.worker_cpu_s))}
    if any(len(line.worker_cpu_s) > 1 for line in lines):
        columns["busiest worker"] = used(lambda line: max(line.worker_cpu_s, default=0.0))
    if any(line.mock_cloud_cpu_s for line in lines):
        columns["mock cloud"] = used(lambda line: sum(line.mock_cloud_cpu_s))
        if any(len(line.mock_cloud_cpu_s) > 1 for line in lines):
            columns["busiest cloud worker"] = used(lambda line: max(line.mock_cloud_cpu_s, default=0.0))
    sentence = "Cores in use. A worker near one core makes the times it measures longer than the cloud made them."
    return TimePlot("CPU of generator and mock cloud", sentence, " cores", columns)


def compared_rates(runs: Sequence[RunData]) -> Plot | None:
    """Completed handshakes per second of several runs; None where none has a log."""
    logged = [run for run in runs if run.intervals]
    if not logged:
        return None
    points = points_for(len(runs))
    found = [_Seconds.of(run, points) for run in logged]
    rates = [seconds.rate(lambda line: line.completed) for seconds in found]
    rows = tuple(
        (run.legend, *(f"{value:,.4g}" for value in _lowest_median_highest([rate for _, rate in line])))
        for run, line in zip(logged, rates, strict=True)
    )
    return Plot(
        title="Completed handshakes of every run",
        sentence="Handshakes per second since the begin of each run.",
        kind="time",
        data={
            "unit": "/s",
            "width": max(seconds.width for seconds in found),
            "lines": [{"name": run.legend, "points": line} for run, line in zip(logged, rates, strict=True)],
        },
        table=PlotTable(("run", "lowest", "median", "highest"), rows),
    )


def _lowest_median_highest(rates: Sequence[float]) -> tuple[float, float, float]:
    return min(rates), float(np.median(rates)), max(rates)
