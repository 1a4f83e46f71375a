"""The recorder: rows of handshakes in, histograms per stage, second and firmware out.

It lives in the parent process, never on an event loop. A chunk of rows is turned into columns once, and
everything is done on whole columns: points made non-decreasing, stages as differences, sums of stages, bucket
indexes, and one addition at all these buckets of the totals. The totals are dense and as large after a day as
after a second; the seconds that are still open keep the bucket indexes of their rows until they are taken.

A second is the one of completion, counted from ``base_ns``. Chunks of several workers arrive in any order, so
the owner takes seconds with a watermark: what arrives for a second already taken lands in the next open one,
and is counted as late.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from loadgen.clock import NS_PER_S
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import STAGE_BOUNDS, SUMS, Point, Stage
from loadgen.recording.histogram import HIGHEST_NS, LENGTH, Counts, Histogram, bucket_indexes
from loadgen.recording.rows import (
    FAILURE_FIELDS,
    FIRMWARE_COLUMN,
    FLAG_CONNECTED_FALLBACK,
    FLAG_HELLO_MERGED,
    FLAG_HELLO_UNSTAMPED,
    FLAG_KEY_UNSTAMPED,
    FLAG_NAMES,
    FLAG_NONCE_UNSTAMPED,
    FLAGS_COLUMN,
    NO_DEVICE_CODE,
    NOT_MEASURED,
    POINT_COLUMNS,
    REASON_INDEX,
    REASONS,
    ROW_FIELDS,
    STAGE_INDEX,
    STAGES,
    Rows,
    failures_from_bytes,
    rows_from_bytes,
)

__all__ = [
    "FAILURE_FIELDS",
    "FLAG_CONNECTED_FALLBACK",
    "FLAG_HELLO_MERGED",
    "FLAG_HELLO_UNSTAMPED",
    "FLAG_KEY_UNSTAMPED",
    "FLAG_NAMES",
    "FLAG_NONCE_UNSTAMPED",
    "NOT_MEASURED",
    "NO_DEVICE_CODE",
    "REASONS",
    "REASON_INDEX",
    "ROW_FIELDS",
    "STAGES",
    "STAGE_INDEX",
    "FailureKey",
    "Interval",
    "Recorder",
    "Rows",
    "failures_from_bytes",
    "histogram_tag",
    "rows_from_bytes",
    "split_tag",
]

BESIDE: Final = (Stage.WAKEUP_LAG, Stage.CRYPTO_WAIT, Stage.CRYPTO_RUN)
"""Stages measured beside the sum, each with a count of its own."""

_MEASURED: Final = (*STAGE_BOUNDS, *SUMS, *BESIDE)
_ADJACENT: Final = len(STAGE_BOUNDS)
_ALWAYS: Final = _ADJACENT + len(SUMS)
_BESIDE_COLUMNS: Final = slice(ROW_FIELDS.index(BESIDE[0]), ROW_FIELDS.index(BESIDE[-1]) + 1)
_FROM: Final = np.array([bounds[0] for bounds in STAGE_BOUNDS.values()])
_TO: Final = np.array([bounds[1] for bounds in STAGE_BOUNDS.values()])
_SUM_ROWS: Final = [[list(STAGE_BOUNDS).index(part) for part in parts] for parts in SUMS.values()]
_MEASURED_OFFSETS: Final = np.array([STAGE_INDEX[stage] * LENGTH for stage in _MEASURED])[:, np.newaxis]
_FIRMWARE_SPAN: Final = len(STAGES) * LENGTH


class FailureKey(NamedTuple):
    """What a failure is counted under."""

    stage: Stage
    reason: Reason
    device_code: int | None
    firmware: str


def histogram_tag(stage: Stage, firmware: str | None = None) -> str:
    """Tag of a stage in the interval log: ``key``, or ``key@p1@0.7.0`` for one of several firmwares."""
    return stage.value if firmware is None else f"{stage.value}@{firmware}"


def split_tag(tag: str) -> tuple[Stage, str | None]:
    """Reverse of :func:`histogram_tag`.

    Raises:
        ValueError: the tag does not begin with a stage.
    """
    stage, _, firmware = tag.partition("@")
    return Stage(stage), firmware or None


class _Tally:
    """Exact sum, minimum and maximum of one stage, and how many values were clamped."""

    __slots__ = ("clamped", "max_ns", "min_ns", "sum_ns")

    def __init__(self) -> None:
        self.sum_ns = 0
        self.min_ns = 1 << 63
        self.max_ns = -1
        self.clamped = 0

    def add(self, sum_ns: int, min_ns: int, max_ns: int, clamped: int) -> None:
        self.sum_ns += sum_ns
        self.min_ns = min(self.min_ns, min_ns)
        self.max_ns = max(self.max_ns, max_ns)
        self.clamped += clamped

    def absorb(self, other: _Tally) -> None:
        self.add(other.sum_ns, other.min_ns, other.max_ns, other.clamped)

    def histogram(self, indexes: Counts, counts: Counts) -> Histogram:
        if not indexes.size:
            return Histogram.empty()
        return Histogram(
            indexes,
            counts,
            sum_ns=self.sum_ns,
            min_ns=self.min_ns,
            max_ns=self.max_ns,
            clamped=self.clamped,
        )


_Tallies = dict[tuple[int, int], _Tally]  # by (firmware, stage) position


class _OpenSecond:
    """A second that may still receive rows: bucket indexes as they came."""

    __slots__ = ("completed", "failures", "parts", "session_failures", "tallies")

    def __init__(self) -> None:
        self.parts: list[Counts] = []
        self.tallies: _Tallies = {}
        self.completed: Counter[str] = Counter()
        self.failures: Counter[FailureKey] = Counter()
        self.session_failures: Counter[FailureKey] = Counter()

    def absorb(self, other: _OpenSecond) -> None:
        self.parts += other.parts
        _absorb_tallies(self.tallies, other.tallies)
        self.completed += other.completed
        self.failures += other.failures
        self.session_failures += other.session_failures


class Interval:
    """What completed and failed within one second. A value; made by :meth:`Recorder.take_until`.

    Attributes:
        second: seconds from the recorder's ``base_ns`` to the begin of this interval.
        completed: handshakes completed, by firmware.
        failures: handshakes failed.
        session_failures: sessions failed after their Hello.
    """

    __slots__ = ("_histograms", "completed", "failures", "firmwares", "second", "session_failures")

    def __init__(self, second: int, firmwares: tuple[str, ...], content: _OpenSecond | None = None) -> None:
        content = content or _OpenSecond()
        self.second = second
        self.firmwares = firmwares
        self.completed: Mapping[str, int] = dict(content.completed)
        self.failures: Mapping[FailureKey, int] = dict(content.failures)
        self.session_failures: Mapping[FailureKey, int] = dict(content.session_failures)
        self._histograms = _split(content, len(firmwares))

    def histogram(self, stage: Stage, firmware: str | None = None) -> Histogram:
        """Durations of a stage that ended in this second, of one firmware or of all.

        Raises:
            ValueError: no such firmware in this run.
        """
        if firmware is not None:
            key = (self.firmwares.index(firmware), STAGE_INDEX[stage])
            return self._histograms.get(key) or Histogram.empty()
        index = STAGE_INDEX[stage]
        return Histogram.merge(part for (_, part_index), part in self._histograms.items() if part_index == index)

    def tagged(self) -> Iterator[tuple[str, Histogram]]:
        """Tag and histogram of everything that has samples, in the order of the stages."""
        several = len(self.firmwares) > 1
        for stage in Stage:
            merged = self.histogram(stage)
            if not merged.count:
                continue
            yield histogram_tag(stage), merged
            for firmware in self.firmwares if several else ():
                part = self.histogram(stage, firmware)
                if part.count:
                    yield histogram_tag(stage, firmware), part


class Recorder:
    """Everything measured in one run.

    Args:
        firmwares: names of the run's firmwares, in the order of the ``firmware`` column.
        base_ns: begin of the recorded window on CLOCK_MONOTONIC; second 0 begins here.
    """

    def __init__(self, firmwares: Sequence[str], base_ns: int) -> None:
        self.firmwares = tuple(firmwares)
        self.base_ns = base_ns
        self.completed: Counter[str] = Counter()
        """Handshakes completed, by firmware."""
        self.failures: Counter[FailureKey] = Counter()
        """Handshakes failed."""
        self.session_failures: Counter[FailureKey] = Counter()
        """Sessions failed after their Hello; never part of :attr:`failures`."""
        self.corrections: Counter[str] = Counter()
        """How often a point lay before its predecessor and was moved up to it, by the point's name."""
        self.corrected_max_ns = 0
        """The longest such move."""
        self.missing: Counter[str] = Counter()
        """Missing stamps: rows with each flag of ``FLAG_NAMES``, and points that were not given at all."""
        self.late = 0
        """Handshakes and failures that arrived after their second had been taken."""
        self._totals = np.zeros(max(1, len(self.firmwares)) * _FIRMWARE_SPAN, dtype=np.int64)
        self._tallies: _Tallies = {}
        self._open: dict[int, _OpenSecond] = {}
        self._taken_until = 0

    @property
    def clamped(self) -> int:
        """Values above one hour, over all stages."""
        return sum(tally.clamped for tally in self._tallies.values())

    def add_rows(self, rows: Rows) -> None:
        """Record completed handshakes.

        Args:
            rows: int64 of shape (n, 13), columns as ``ROW_FIELDS``, in any order of time.

        Raises:
            ValueError: another shape, or a firmware that the run does not have.
        """
        self._check(rows, ROW_FIELDS, FIRMWARE_COLUMN)
        if not len(rows):
            return
        columns = np.ascontiguousarray(rows.T)
        self._count_flags(columns[FLAGS_COLUMN])
        points = self._ordered_points(columns[:POINT_COLUMNS])
        values = _stage_values(points, columns[_BESIDE_COLUMNS])
        firmware = columns[FIRMWARE_COLUMN]
        buckets = bucket_indexes(np.clip(values, 0, HIGHEST_NS))
        buckets += _MEASURED_OFFSETS
        if len(self.firmwares) > 1:
            buckets += firmware * _FIRMWARE_SPAN
        for second, index, selected in self._groups(points[Point.HELLO_IN], firmware):
            self._add_group(second, index, values[:, selected], buckets[:, selected])

    def add_failures(self, rows: Rows) -> None:
        """Record failed handshakes.

        Args:
            rows: int64 of shape (n, 6), columns as ``FAILURE_FIELDS``.

        Raises:
            ValueError: another shape, or a firmware that the run does not have.
        """
        self._check(rows, FAILURE_FIELDS, len(FAILURE_FIELDS) - 1)
        if not len(rows):
            return
        columns = np.ascontiguousarray(rows.T)
        values = np.maximum(columns[1] - columns[0], 0)[np.newaxis]
        offsets = STAGE_INDEX[Stage.FAILED] * LENGTH + columns[5] * _FIRMWARE_SPAN
        buckets = bucket_indexes(np.minimum(values, HIGHEST_NS)) + offsets
        for second, index, selected in self._groups(columns[1], columns[5]):
            content = self._open_second(second)
            self._store(content, index, STAGE_INDEX[Stage.FAILED], values[0, selected])
            part = buckets[0, selected]
            np.add.at(self._totals, part, 1)
            content.parts.append(part)
            found = self._failure_keys(rows[selected])
            content.failures += found
            self.failures += found

    def add_stage(self, stage: Stage, ended_ns: Counts, values_ns: Counts) -> None:
        """Record one stage of handshakes of which not every point is known, all of the first firmware.

        Args:
            stage: which.
            ended_ns: ends of the handshakes, on the timeline of ``base_ns``.
            values_ns: durations, not below 0.
        """
        if not len(values_ns):
            return
        buckets = bucket_indexes(np.minimum(values_ns, HIGHEST_NS)) + STAGE_INDEX[stage] * LENGTH
        for second, index, selected in self._groups(ended_ns, np.zeros_like(ended_ns)):
            content = self._open_second(second)
            self._store(content, index, STAGE_INDEX[stage], values_ns[selected])
            part = buckets[selected]
            np.add.at(self._totals, part, 1)
            content.parts.append(part)

    def add_completed(self, ended_ns: Counts) -> None:
        """Count handshakes whose stages come by :meth:`add_stage`, all of the first firmware."""
        for second, index, selected in self._groups(ended_ns, np.zeros_like(ended_ns)) if len(ended_ns) else ():
            count = len(ended_ns[selected])
            self._open_second(second).completed[self.firmwares[index]] += count
            self.completed[self.firmwares[index]] += count

    def add_session_failures(self, rows: Rows) -> None:
        """Record sessions that failed after their Hello; same columns as :meth:`add_failures`, no histogram.

        Raises:
            ValueError: another shape, or a firmware that the run does not have.
        """
        self._check(rows, FAILURE_FIELDS, len(FAILURE_FIELDS) - 1)
        for second, _, selected in self._groups(rows[:, 1], rows[:, 5]) if len(rows) else ():
            found = self._failure_keys(rows[selected])
            self._open_second(second).session_failures += found
            self.session_failures += found

    def take_until(self, second: int) -> list[Interval]:
        """Close every second before ``second`` and hand them out, in order, those without events too.

        Each second is handed out once. What arrives for it afterwards goes to the next open one.
        """
        taken = [
            Interval(index, self.firmwares, self._open.pop(index, None)) for index in range(self._taken_until, second)
        ]
        self._taken_until = max(self._taken_until, second)
        return taken

    def take_all(self) -> list[Interval]:
        """Close and hand out everything, up to the last second with an event."""
        return self.take_until(max(self._open, default=self._taken_until - 1) + 1)

    def take_filled(self) -> list[Interval]:
        """As :meth:`take_all`, but only the seconds with events: for timelines of days with an event now and then."""
        taken = [Interval(second, self.firmwares, self._open[second]) for second in sorted(self._open)]
        self._taken_until = max(self._open, default=self._taken_until - 1) + 1
        self._open.clear()
        return taken

    def histogram(self, stage: Stage, firmware: str | None = None) -> Histogram:
        """All durations of a stage so far, of one firmware or of all.

        Raises:
            ValueError: no such firmware in this run.
        """
        chosen = range(len(self.firmwares)) if firmware is None else [self.firmwares.index(firmware)]
        return Histogram.merge(self._total(index, STAGE_INDEX[stage]) for index in chosen)

    def merge(self, other: Recorder) -> None:
        """Add what another recorder of the same run has recorded; the other is used up.

        Raises:
            ValueError: it has other firmwares or another begin.
        """
        if (self.firmwares, self.base_ns) != (other.firmwares, other.base_ns):
            raise ValueError("recorders of different runs cannot be merged")
        self._totals += other._totals
        _absorb_tallies(self._tallies, other._tallies)
        self.completed += other.completed
        self.failures += other.failures
        self.session_failures += other.session_failures
        self.corrections += other.corrections
        self.corrected_max_ns = max(self.corrected_max_ns, other.corrected_max_ns)
        self.missing += other.missing
        self.late += other.late
        for second, content in other._open.items():
            self._open_second(max(second, self._taken_until)).absorb(content)

    def _check(self, rows: Rows, fields: Sequence[str], firmware_column: int) -> None:
        if rows.ndim != 2 or rows.shape[1] != len(fields) or rows.dtype != np.int64:
            raise ValueError(f"rows are int64 of shape (n, {len(fields)}), not {rows.dtype} of {rows.shape}")
        firmware = rows[:, firmware_column]
        if len(rows) and not 0 <= firmware.min() <= firmware.max() < len(self.firmwares):
            raise ValueError(f"rows name a firmware outside the run's {len(self.firmwares)}")

    def _count_flags(self, flags: Counts) -> None:
        if not flags.any():
            return
        for name, bit in FLAG_NAMES.items():
            if found := np.count_nonzero(flags & bit):
                self.missing[name] += int(found)

    def _ordered_points(self, points: Counts) -> Counts:
        """Points in non-decreasing order; a missing one takes its predecessor's value."""
        if points.min() < 0:
            absent = points < 0
            for point, found in zip(Point, np.count_nonzero(absent, axis=1).tolist(), strict=True):
                if found:
                    self.missing[point.name.lower()] += found
            first = np.argmin(absent, axis=0)  # nothing stands before the first point that is there
            points = np.where(absent, -1, points)
            points[0] = points[first, np.arange(points.shape[1])]
        else:
            absent = None
        ordered: Counts = np.maximum.accumulate(points, axis=0)
        moved = ordered - points
        if absent is not None:
            moved[absent] = 0
        if moved.any():
            for point, found in zip(Point, np.count_nonzero(moved, axis=1).tolist(), strict=True):
                if found:
                    self.corrections[point.name.lower()] += found
            self.corrected_max_ns = max(self.corrected_max_ns, int(moved.max()))
        return ordered

    def _groups(self, ended_ns: Counts, firmware: Counts) -> Iterator[tuple[int, int, slice | Counts]]:
        """Split columns by second and firmware: (second, firmware position, selection of columns)."""
        seconds = (ended_ns - self.base_ns) // NS_PER_S
        late = seconds < self._taken_until
        if late.any():
            self.late += int(np.count_nonzero(late))
            seconds = np.maximum(seconds, self._taken_until)
        keys = seconds * len(self.firmwares) + firmware
        lowest = int(keys.min())
        if lowest == keys.max():
            yield *divmod(lowest, len(self.firmwares)), slice(None)
            return
        for key in np.unique(keys).tolist():
            yield *divmod(key, len(self.firmwares)), np.flatnonzero(keys == key)

    def _open_second(self, second: int) -> _OpenSecond:
        content = self._open.get(second)
        if content is None:
            content = self._open[second] = _OpenSecond()
        return content

    def _add_group(self, second: int, firmware: int, values: Counts, buckets: Counts) -> None:
        """Count columns of one second and firmware."""
        content = self._open_second(second)
        name = self.firmwares[firmware]
        content.completed[name] += values.shape[1]
        self.completed[name] += values.shape[1]
        beside = values[_ALWAYS:]
        if beside.min() < 0:
            for row, stage in enumerate(BESIDE):
                measured = beside[row][beside[row] >= 0]
                if measured.size:
                    self._store(content, firmware, STAGE_INDEX[stage], measured)
            complete = values[:_ALWAYS]
            part = buckets[values >= 0]
        else:
            complete = values
            part = buckets.ravel()
        sums, lows, highs = (
            complete.sum(axis=1).tolist(),
            complete.min(axis=1).tolist(),
            complete.max(axis=1).tolist(),
        )
        for row, (total, low, high) in enumerate(zip(sums, lows, highs, strict=True)):
            clamped = int(np.count_nonzero(complete[row] > HIGHEST_NS)) if high > HIGHEST_NS else 0
            key = (firmware, STAGE_INDEX[_MEASURED[row]])
            _tally(content.tallies, key).add(total, low, high, clamped)
            _tally(self._tallies, key).add(total, low, high, clamped)
        np.add.at(self._totals, part, 1)
        content.parts.append(part)

    def _store(self, content: _OpenSecond, firmware: int, stage: int, values: Counts) -> None:
        """Tally the values of one stage, in the second and in total."""
        facts = (
            int(values.sum()),
            int(values.min()),
            int(values.max()),
            int(np.count_nonzero(values > HIGHEST_NS)),
        )
        _tally(content.tallies, (firmware, stage)).add(*facts)
        _tally(self._tallies, (firmware, stage)).add(*facts)

    def _failure_keys(self, rows: Rows) -> Counter[FailureKey]:
        found: Counter[FailureKey] = Counter()
        kinds, counts = np.unique(rows[:, 2:], axis=0, return_counts=True)
        for (stage, reason, code, firmware), count in zip(kinds.tolist(), counts.tolist(), strict=True):
            device_code = None if code == NO_DEVICE_CODE else code
            key = FailureKey(STAGES[stage], REASONS[reason], device_code, self.firmwares[firmware])
            found[key] += count
        return found

    def _total(self, firmware: int, stage: int) -> Histogram:
        tally = self._tallies.get((firmware, stage))
        if tally is None:
            return Histogram.empty()
        begin = firmware * _FIRMWARE_SPAN + stage * LENGTH
        counts = self._totals[begin : begin + LENGTH]
        indexes = np.flatnonzero(counts != 0)
        return tally.histogram(indexes, counts[indexes])


def _tally(tallies: _Tallies, key: tuple[int, int]) -> _Tally:
    tally = tallies.get(key)
    if tally is None:
        tally = tallies[key] = _Tally()
    return tally


def _absorb_tallies(tallies: _Tallies, others: _Tallies) -> None:
    for key, tally in others.items():
        _tally(tallies, key).absorb(tally)


def _stage_values(points: Counts, beside: Counts) -> Counts:
    """Durations in ns, one row a stage in the order of ``_MEASURED``, one column a handshake."""
    values = np.empty((len(_MEASURED), points.shape[1]), dtype=np.int64)
    np.subtract(points[_TO], points[_FROM], out=values[:_ADJACENT])
    for row, parts in enumerate(_SUM_ROWS, start=_ADJACENT):
        values[parts].sum(axis=0, out=values[row])
    values[_ALWAYS:] = beside
    return values


def _split(content: _OpenSecond, firmwares: int) -> dict[tuple[int, int], Histogram]:
    """Histograms of a second by (firmware, stage) position."""
    if not content.parts:
        return {}
    flat = np.concatenate(content.parts)
    space = firmwares * _FIRMWARE_SPAN
    if flat.size * 4 > space:  # counting into the whole space beats sorting
        dense = np.bincount(flat, minlength=space)
        indexes = np.flatnonzero(dense != 0)
        counts = dense[indexes]
    else:
        indexes, counts = np.unique(flat, return_counts=True)
    keys = sorted(content.tallies)
    begins = np.array([firmware * _FIRMWARE_SPAN + stage * LENGTH for firmware, stage in keys])
    lows = np.searchsorted(indexes, begins)
    highs = np.searchsorted(indexes, begins + LENGTH)
    return {
        key: content.tallies[key].histogram(indexes[low:high] - begin, counts[low:high].astype(np.int64))
        for key, begin, low, high in zip(keys, begins, lows, highs, strict=True)
    }
