"""What the mock cloud really did, answer by answer: written down by the workers, read by the parent at the end.

A worker collects rows in memory and appends them, every 25 ms, to an unlinked file that it has inherited: cheap for the
event loop, bounded in memory, and nothing has to be read while the run lasts.
"""

from __future__ import annotations

import os
from array import array
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadgen.clock import NS_PER_US
from loadgen.errors import LocalResourceError
from loadgen.mockcloud.delays import DELAYED_STAGES
from loadgen.mockcloud.faults import FaultStage

TIMING_FIELDS: Final = ("stage", "number", "received", "due", "sent")
"""Columns of an answer, int64.

``stage`` is the position in :data:`TIMED_STAGES`, ``number`` that of the handshake in the order of acceptance over all
workers. The rest are instants on CLOCK_MONOTONIC in ns: ``received`` is the arrival of the message that is
answered, by the kernel's stamp where there is one (for the nonce the moment after the accept: the kernel does not
stamp an establishment); ``due`` is ``received`` plus the delay that was drawn; ``sent`` is read just before the send.
"""

TIMED_STAGES: Final = DELAYED_STAGES
"""Position → stage."""

MAX_TIMINGS: Final = 4_000_000
"""Rows that one worker writes at most, 160 MB; beyond them it only counts."""

Timings = NDArray[np.int64]

_STAGE_INDEX: Final = {stage: index for index, stage in enumerate(TIMED_STAGES)}
_ROW_SIZE: Final = 8 * len(TIMING_FIELDS)


class TimingLog:
    """A worker's end of the file.

    Args:
        descriptor: of the file; written from its present position on.
        most: rows written at most.
    """

    def __init__(self, descriptor: int, most: int = MAX_TIMINGS) -> None:
        self._descriptor = descriptor
        self._rows = array("q")
        self._left = most
        self.omitted = 0
        """Rows that there was no room for."""

    def add(self, stage: FaultStage, number: int, received_ns: int, due_ns: int, sent_ns: int) -> None:
        """Note an answer; cheap."""
        if not self._left:
            self.omitted += 1
            return
        self._left -= 1
        self._rows.extend((_STAGE_INDEX[stage], number, received_ns, due_ns, sent_ns))

    def flush(self) -> None:
        """Write what was noted.

        Raises:
            LocalResourceError: the file system does not take it.
        """
        if not self._rows:
            return
        rest = memoryview(self._rows.tobytes())
        del self._rows[:]
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            raise LocalResourceError(
                f"the mock cloud cannot write down its times ({error.strerror})",
                remedy="Make room in the folder for temporary files (TMPDIR).",
            ) from error


def read_timings(descriptor: int) -> Timings:
    """All whole rows of a worker's file, shape (n, 5)."""
    size = os.fstat(descriptor).st_size // _ROW_SIZE * _ROW_SIZE
    data = bytearray(size)
    view, at = memoryview(data), 0
    while at < size and (read := os.preadv(descriptor, [view[at:]], at)):
        at += read
    return np.frombuffer(data, dtype=np.int64).reshape(-1, len(TIMING_FIELDS))


class AnswerTimes(msgspec.Struct, kw_only=True):
    """How one stage's answers were timed. µs; a percentile of few answers is that of the nearest rank."""

    stage: str
    answers: int
    took_p50_us: float
    """Received → sent."""
    took_p99_us: float
    took_max_us: float
    late_p50_us: float
    """Due → sent: the mock cloud's own error, and where it computes longer than the delay, that."""
    late_p99_us: float
    late_max_us: float


def summarize(timings: Timings) -> list[AnswerTimes]:
    """The times of each stage that has any."""
    summaries = []
    for index, stage in enumerate(TIMED_STAGES):
        rows = timings[timings[:, 0] == index]
        if not len(rows):
            continue
        took = np.quantile(rows[:, 4] - rows[:, 2], (0.5, 0.99, 1.0), method="inverted_cdf") / NS_PER_US
        late = np.quantile(rows[:, 4] - rows[:, 3], (0.5, 0.99, 1.0), method="inverted_cdf") / NS_PER_US
        summaries.append(
            AnswerTimes(
                stage=stage,
                answers=len(rows),
                took_p50_us=float(took[0]),
                took_p99_us=float(took[1]),
                took_max_us=float(took[2]),
                late_p50_us=float(late[0]),
                late_p99_us=float(late[1]),
                late_max_us=float(late[2]),
            )
        )
    return summaries
