"""How the gaps between starts came out, beside what the schedule intended: a sample of bounded size."""

from __future__ import annotations

from array import array

_MOST = 8_192


class GapSample:
    """Pairs of gaps of one worker, spread evenly over the whole run.

    Every start is looked at, every ``n``-th gap is kept; when the sample is full every second one is dropped and
    ``n`` doubles.
    """

    __slots__ = ("_every", "_intended", "_pairs", "_started", "_until_next")

    def __init__(self) -> None:
        self._pairs = array("q")
        self._every = 1
        self._until_next = 0
        self._intended = self._started = -1

    def saw(self, intended_ns: int, started_ns: int) -> None:
        """A handshake was started."""
        if self._until_next:
            self._until_next -= 1
        elif self._started >= 0:
            self._pairs.extend((intended_ns - self._intended, started_ns - self._started))
            self._until_next = self._every - 1
            if len(self._pairs) >= 2 * _MOST:
                self._thin()
        self._intended, self._started = intended_ns, started_ns

    def tobytes(self) -> bytes:
        """int64 of shape (n, 2): intended gap, gap between the starts, ns."""
        return self._pairs.tobytes()

    def _thin(self) -> None:
        kept = array("q")
        for index in range(0, len(self._pairs), 4):
            kept.extend(self._pairs[index : index + 2])
        self._pairs, self._every = kept, self._every * 2
