"""Recorded arrival times: read from CSV once, packed into a file of integers that workers map.

The CSV has one start a line: its first column is the time in seconds after the begin of the run, with up to nine
decimals. Empty lines, lines that begin with ``#`` and a first line without a number are passed over.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import numpy as np

from loadgen.clock import NS_PER_S
from loadgen.engine.arrival import Block, Trace
from loadgen.errors import UsageError

LONGEST_NS: Final = 30 * 86_400 * NS_PER_S
"""No start is later: times since 1970 are a mistake that would otherwise wait for decades."""

_PIECE: Final = 1 << 16
_DECIMALS: Final = 9


@dataclass(frozen=True, slots=True)
class TraceFacts:
    """What a trace asks for. ``peak_per_s`` is the largest number of starts within one second."""

    starts: int
    last_ns: int
    peak_per_s: int


def open_trace(path: Path) -> Trace:
    """A packed trace, mapped and not read."""
    return Trace(np.memmap(path, dtype=np.int64, mode="r"))


def pack_trace(source: Path, packed: IO[bytes], where: str) -> TraceFacts:
    """Check a trace and write it as int64, piece by piece.

    Args:
        source: the CSV file.
        packed: gets the times.
        where: the setting that named the file, for messages.

    Raises:
        UsageError: unreadable, empty, no times, or times that go back; file and line are named.
    """
    starts, last_ns = 0, 0
    try:
        with source.open(encoding="utf-8-sig") as lines:
            for piece in _pieces(_times(lines, f"{where}: {source}")):
                starts, last_ns = starts + len(piece), piece[-1]
                packed.write(piece.tobytes())
    except OSError as error:
        raise UsageError(f"{source} cannot be read: {error.strerror}", where=where) from None
    except UnicodeDecodeError:
        raise UsageError(f"{source} is no text", where=where, remedy="Give a CSV file.") from None
    if not starts:
        raise UsageError(
            f"{source} has no arrival times", where=where, remedy="Write one time in seconds a line, such as 0.125."
        )
    packed.flush()
    return TraceFacts(starts, last_ns, _peak(open_trace(Path(packed.name)).times_ns))


def _peak(times_ns: Block) -> int:
    """Most starts within any second that begins with one of them."""
    peak = 0
    for begin in range(0, len(times_ns), _PIECE):
        piece = times_ns[begin : begin + _PIECE]
        ends = np.searchsorted(times_ns, piece + NS_PER_S)
        peak = max(peak, int((ends - np.arange(begin, begin + len(piece))).max()))
    return peak


def _pieces(times: Iterable[int]) -> Iterator[array[int]]:
    piece = array("q")
    for time_ns in times:
        piece.append(time_ns)
        if len(piece) == _PIECE:
            yield piece
            piece = array("q")
    if piece:
        yield piece


def _times(lines: Iterable[str], where: str) -> Iterator[int]:
    last_ns, first = 0, True
    for number, line in enumerate(lines, 1):
        text = line.partition(",")[0].strip().strip('"')
        if not line.strip() or line.startswith("#"):
            continue
        time_ns = _nanoseconds(text)
        if time_ns is None:
            if first and not text[:1].isdigit() and not text.startswith("-"):
                first = False
                continue
            raise UsageError(
                f"{text[:40]!r} is no time", where=f"{where}: line {number}",
                remedy="Write seconds after the begin of the run, with up to nine decimals, such as 0.125.",
            )  # fmt: skip
        first = False
        if time_ns < last_ns:
            raise UsageError(
                f"the trace goes back in time, from {last_ns / NS_PER_S:.9f} s to {time_ns / NS_PER_S:.9f} s",
                where=f"{where}: line {number}",
                remedy="Sort the file by its first column.",
            )
        if time_ns > LONGEST_NS:
            raise UsageError(
                f"{text} s is more than {LONGEST_NS // NS_PER_S // 86_400} days after the begin of the run",
                where=f"{where}: line {number}",
                remedy="Times count from the begin of the run: subtract the first one from all.",
            )
        last_ns = time_ns
        yield time_ns


def _nanoseconds(text: str) -> int | None:
    """Seconds in decimal digits as ns, exactly; None for anything else."""
    whole, _, decimals = text.partition(".")
    if not (whole.isdecimal() and text.isascii()) or len(whole) > 12 or len(decimals) > _DECIMALS:
        return None
    if decimals and not decimals.isdecimal():
        return None
    return int(whole) * NS_PER_S + int(decimals.ljust(_DECIMALS, "0"))
