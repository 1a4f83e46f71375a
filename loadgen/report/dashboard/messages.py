"""What the run hands to the process of its live page, through a socket pair."""

from __future__ import annotations

from typing import TypeAlias

import msgspec
import numpy as np

from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram
from loadgen.recording.record import IntervalLine, RunRecord
from loadgen.recording.recorder import Interval

Key: TypeAlias = tuple[Stage, str | None]
"""A stage of one firmware, or of all."""


class PackedHistogram(msgspec.Struct, frozen=True, array_like=True):
    """A histogram of one second. Buckets are int32 as bytes; neither their number nor a second's count needs more."""

    stage: Stage
    firmware: str | None
    indexes: bytes
    counts: bytes
    sum_ns: int
    min_ns: int
    max_ns: int
    clamped: int

    def unpack(self) -> Histogram:
        """The histogram."""
        return Histogram(
            np.frombuffer(self.indexes, dtype=np.int32).astype(np.int64),
            np.frombuffer(self.counts, dtype=np.int32).astype(np.int64),
            sum_ns=self.sum_ns,
            min_ns=self.min_ns,
            max_ns=self.max_ns,
            clamped=self.clamped,
        )


class Update(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How a run stands, and what the last second brought.

    ``line`` and ``histograms`` are of a second of the recorded window; a run that warms up or has ended has none.
    ``share`` is how much of the run is over, None where nobody knows; ``step`` is the phase of its schedule, if it has
    some. A series counts its runs from 1, and ``name`` says what tells this one from the others.
    """

    run: int = 1
    runs: int = 1
    name: str = ""
    phase: str
    elapsed_s: float
    share: float | None
    step: str = ""
    in_flight: int
    record: RunRecord
    path: str = ""
    line: IntervalLine | None = None
    histograms: list[PackedHistogram] = []


class Over(msgspec.Struct, frozen=True, tag=True):
    """No run follows any more."""


Message: TypeAlias = Update | Over

encoder = msgspec.msgpack.Encoder()
decoder = msgspec.msgpack.Decoder(Message)


def pack_second(interval: Interval) -> list[PackedHistogram]:
    """Every stage of a second, of a mix also by firmware."""
    names = interval.firmwares if len(interval.firmwares) > 1 else ()
    keys: list[Key] = [(stage, name) for name in (None, *names) for stage in Stage]
    return [_pack(key, found) for key in keys if (found := interval.histogram(*key)).count]


def _pack(key: Key, histogram: Histogram) -> PackedHistogram:
    stage, firmware = key
    return PackedHistogram(
        stage,
        firmware,
        histogram.indexes.astype(np.int32).tobytes(),
        histogram.counts.astype(np.int32).tobytes(),
        histogram.sum_ns,
        histogram.min_ns or 0,
        histogram.max_ns or 0,
        histogram.clamped,
    )
