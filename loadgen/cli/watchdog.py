"""What must not keep a run from its end: workers that say nothing any more, handshakes that nothing ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.engine.messages import Counts
from loadgen.engine.pool import WorkerStatus

SILENCE_NS: Final = 30 * NS_PER_S
"""A worker that has not reported for so long is given up; they report about ten times a second."""
SILENCE_AT_END_NS: Final = 5 * NS_PER_S
"""The same once the run is over."""
_LONGEST_LOOK_NS: Final = 500 * NS_PER_MS


class Watchdog:
    """Looks at the workers turn by turn, on a clock that stands still while this process does.

    A parent that was suspended finds everything old; no look therefore counts for more than half a second.

    Args:
        patience_ns: the longest time that a handshake takes, with everything that may end it.
    """

    def __init__(self, patience_ns: int) -> None:
        self._patience_ns = patience_ns
        self._looked_ns = 0
        self._awake_ns = 0
        self._heard: dict[int, tuple[int, int]] = {}
        self._ended = -1
        self._moved_ns = 0

    def look(self, now_ns: int, workers: Sequence[WorkerStatus]) -> None:
        """Take note of what has ended since the last look. Once a turn, before the questions below."""
        if self._looked_ns:
            self._awake_ns += min(now_ns - self._looked_ns, _LONGEST_LOOK_NS)
        self._looked_ns = now_ns
        waits = any(worker.counts.in_flight for worker in workers if not worker.over)
        ended = sum(_ended(worker.counts) for worker in workers)
        if ended != self._ended or not waits:
            self._ended, self._moved_ns = ended, self._awake_ns

    @property
    def stuck(self) -> bool:
        """Handshakes are in flight and none has ended for longer than any of them may take."""
        return self._awake_ns - self._moved_ns > self._patience_ns

    def silent(self, workers: Sequence[WorkerStatus], *, over: bool) -> list[int]:
        """Workers that have not reported for too long, by index. ``over``: the run has come to its end."""
        limit_ns = SILENCE_AT_END_NS if over else SILENCE_NS
        found = []
        for worker in workers:
            reported, since_ns = self._heard.get(worker.index, (-1, 0))
            if reported != worker.at_ns:
                self._heard[worker.index] = (worker.at_ns, self._awake_ns)
            elif not worker.over and self._awake_ns - since_ns > limit_ns:
                found.append(worker.index)
        return found


def _ended(counts: Counts) -> int:
    """Handshakes that have ended, in whatever way."""
    return counts.completed + counts.failed + counts.aborted + counts.warmup_completed + counts.warmup_failed
