"""Writer and reader of the HdrHistogram interval log, format 1.3 with tags, payload V2 compressed.

One line a second and tag::

    Tag=key,12.000,1.000,48.291000,HISTFAAAA…

that is the tag, the begin of the interval in seconds after ``BaseTime``, its length in seconds, the largest
value divided by :data:`MAX_VALUE_DIVISOR` (so in ms; six decimals keep the ns), and the histogram in base64.
Values in the histogram are ns. A tag holds no comma and no white space. The payload is coded by ``hdrh``; its
own log writer knows no tags, so the lines are written here.
"""

from __future__ import annotations

import binascii
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np
from hdrh.codec import (
    HdrCookieException,
    HdrHistogramEncoder,
    HdrHistogramSettingsException,
    HdrLengthException,
    HdrPayload,
    PayloadHeader,
)
from hdrh.histogram import HdrHistogram

from loadgen.clock import NS_PER_S
from loadgen.errors import UsageError
from loadgen.recording.histogram import (
    HIGHEST_NS,
    LENGTH,
    LOWEST_NS,
    SIGNIFICANT_DIGITS,
    Counts,
    Histogram,
    highest_equivalent_ns,
)
from loadgen.recording.recorder import Interval

MAX_VALUE_DIVISOR: Final = 1_000_000
"""What ``Interval_Max`` is divided by: ns → ms, the default of the Java tools."""

_LEGEND = '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"\n'
_NO_TAG_CHARACTER = re.compile(r"[,\s]")
_TIME = re.compile(r"#\[(StartTime|BaseTime): *([0-9.]+) ")
_LINE = re.compile(r"(?:Tag=([^,\s]+),)?([0-9.]+),([0-9.]+),([0-9.]+),([A-Za-z0-9+/]+={0,2})")
_UNDECODABLE = (
    HdrCookieException,
    HdrLengthException,
    HdrHistogramSettingsException,
    binascii.Error,
    zlib.error,
    IndexError,
    MemoryError,
    TypeError,
    ValueError,
)


class PayloadEncoder:
    """Codes histograms as base64 of the V2 compressed format. One buffer is used again and again."""

    def __init__(self) -> None:
        self._target = HdrHistogram(LOWEST_NS, HIGHEST_NS, SIGNIFICANT_DIGITS)
        self._counts = np.frombuffer(self._target.counts, dtype=np.int64)

    def encode(self, histogram: Histogram) -> str:
        """Text of one histogram, a base64 word beginning with ``HIST``."""
        self._counts[histogram.indexes] = histogram.counts
        self._target.total_count = histogram.count
        last = histogram.indexes[-1:]
        self._target.max_value = int(highest_equivalent_ns(last)[0]) if last.size else 0
        try:
            encoded: bytes = self._target.encode()
        finally:
            self._counts[histogram.indexes] = 0
        return encoded.decode("ascii")


def decode_payload(text: str) -> tuple[Counts, Counts]:
    """Bucket indexes and counts of a coded histogram.

    Raises:
        ValueError: not a V2 compressed histogram, or one of another layout.
    """
    try:
        payload: HdrPayload = HdrHistogramEncoder.decode(text)
        header: PayloadHeader = payload.payload
        layout = (header.lowest_trackable_value, header.highest_trackable_value, header.significant_figures)
        if layout != (LOWEST_NS, HIGHEST_NS, SIGNIFICANT_DIGITS):
            raise ValueError(f"a histogram of another layout {layout}")
        payload.init_counts(LENGTH)
    except _UNDECODABLE as error:
        raise ValueError(f"no histogram that can be read: {error or type(error).__name__}") from error
    dense = np.frombuffer(payload.counts, dtype=np.int64)
    indexes = np.flatnonzero(dense != 0)
    return indexes, dense[indexes]


class LogFormatter:
    """Makes the text of an interval log. The caller writes it where it wants."""

    def __init__(self) -> None:
        self._encoder = PayloadEncoder()

    @staticmethod
    def header(base_wall_ns: int) -> str:
        """First lines of a log whose interval 0 begins at this wall-clock time (ns since 1970)."""
        seconds = base_wall_ns / NS_PER_S
        readable = datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="milliseconds")
        return (
            "#[Logged with loadgen: values in ns, one line a second of completion and tag]\n"
            "#[Histogram log format version 1.3]\n"
            f"#[StartTime: {seconds:.3f} (seconds since epoch), {readable}]\n"
            f"#[BaseTime: {seconds:.3f} (seconds since epoch)]\n"
            f"#[MaxValueDivisor: {MAX_VALUE_DIVISOR:.1f} (Interval_Max is in ms)]\n" + _LEGEND
        )

    def line(self, tag: str, start_s: float, length_s: float, histogram: Histogram) -> str:
        """One line of the log.

        Raises:
            ValueError: the tag has a comma or white space, or is empty.
        """
        if not tag or _NO_TAG_CHARACTER.search(tag):
            raise ValueError(f"a tag of an interval log has no comma and no white space: {tag!r}")
        largest = (histogram.max_ns or 0) / MAX_VALUE_DIVISOR
        payload = self._encoder.encode(histogram)
        return f"Tag={tag},{start_s:.3f},{length_s:.3f},{largest:.6f},{payload}\n"

    def interval(self, interval: Interval) -> str:
        """All lines of one second; empty where nothing ended in it."""
        return "".join(self.line(tag, interval.second, 1.0, histogram) for tag, histogram in interval.tagged())


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One line of an interval log.

    Attributes:
        tag: None for a line without one.
        start_s: begin of the interval, seconds after the log's base time.
        length_s: its length.
        max_ns: the largest value, as the line says it.
        payload: the histogram, still coded.
    """

    tag: str | None
    start_s: float
    length_s: float
    max_ns: int
    payload: str

    def histogram(self) -> Histogram:
        """Decode. The maximum is exact, minimum and mean are those of the buckets.

        Raises:
            ValueError: not a histogram of this program's layout.
        """
        return Histogram.of_counts(*decode_payload(self.payload), max_ns=self.max_ns)


class LogReader:
    """Reads an interval log line by line; iterate over it.

    A last line that was cut off in the middle, as by ``kill -9`` or a full disk, ends the log.

    Attributes:
        start_time_s: the log's ``StartTime``, seconds since 1970, once it has been read.
        base_time_s: its ``BaseTime``.
        truncated: the log ended in a line cut off.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.start_time_s: float | None = None
        self.base_time_s: float | None = None
        self.truncated = False

    def __iter__(self) -> Iterator[LogEntry]:
        """Entries in the order of the file.

        Raises:
            UsageError: the file cannot be read, or a line in it is no line of such a log.
        """
        try:
            with self.path.open(encoding="ascii", errors="replace", newline="\n") as file:
                for number, line in enumerate(file, start=1):
                    entry = self._entry(line, number)
                    if self.truncated:
                        return
                    if entry is not None:
                        yield entry
        except OSError as error:
            raise UsageError(
                f"the interval log cannot be read: {error.strerror}",
                where=str(self.path),
                remedy="Check the path and its permissions.",
            ) from error

    def _entry(self, line: str, number: int) -> LogEntry | None:
        if not line.endswith("\n"):
            return self._last_entry(line)
        text = line.rstrip("\r\n")
        if text.startswith("#"):
            self._note_time(text)
            return None
        if not text or text.startswith('"'):
            return None
        entry = _parse(text)
        if entry is None:
            raise UsageError(
                f"line {number} is no line of an HdrHistogram interval log",
                where=str(self.path),
                remedy="The file was changed after it was written; take the run again.",
            )
        return entry

    def _last_entry(self, text: str) -> LogEntry | None:
        """A last line without its end: good if everything but the end is there."""
        entry = _parse(text)
        if entry is not None:
            try:
                decode_payload(entry.payload)
            except ValueError:
                entry = None
        self.truncated = entry is None
        return entry

    def _note_time(self, comment: str) -> None:
        match = _TIME.match(comment)
        if match is None:
            return
        if match[1] == "StartTime":
            self.start_time_s = float(match[2])
        else:
            self.base_time_s = float(match[2])


def _parse(text: str) -> LogEntry | None:
    match = _LINE.fullmatch(text)
    if match is None:
        return None
    try:
        start_s, length_s, largest = float(match[2]), float(match[3]), float(match[4])
    except ValueError:
        return None
    return LogEntry(match[1], start_s, length_s, round(largest * MAX_VALUE_DIVISOR), match[5])
