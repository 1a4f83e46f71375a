"""Histograms of single seconds, read back from an interval log."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from loadgen.errors import UsageError
from loadgen.recording.histogram import Histogram
from loadgen.recording.hlog import LogReader


def read_seconds(path: Path, tags: Collection[str]) -> dict[str, dict[int, Histogram]]:
    """Histograms of some tags by second, counted from the log's base time. Other tags are not decoded.

    A last line that was cut off is left out.

    Raises:
        UsageError: the log cannot be read, or is damaged.
    """
    found: dict[str, dict[int, Histogram]] = {tag: {} for tag in tags}
    for entry in LogReader(path):
        seconds = found.get(entry.tag or "")
        if seconds is None:
            continue
        try:
            histogram = entry.histogram()
        except ValueError as error:
            raise UsageError(
                f"the line of {entry.start_s:g} s with the tag {entry.tag!r} is damaged: {error}",
                where=str(path),
                remedy="The file was changed after it was written; take the run again.",
            ) from error
        second = int(entry.start_s)
        seconds[second] = Histogram.merge([seconds[second], histogram]) if second in seconds else histogram
    return found
