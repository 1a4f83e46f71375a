"""The cloud's median as each worker saw it: workers that disagree were not equally well off."""

from __future__ import annotations

from loadgen.protocol.stages import Point
from loadgen.recording.histogram import Histogram
from loadgen.recording.rows import Rows


class WorkerMedians:
    """Medians of ``cloud``, worker by worker."""

    def __init__(self) -> None:
        self._histograms: dict[int, Histogram] = {}

    def add(self, worker: int, rows: Rows) -> None:
        """Take completed handshakes of one worker, shape (n, 13)."""
        cloud = (
            rows[:, Point.NONCE_IN] - rows[:, Point.STARTED]
            + rows[:, Point.KEY_IN] - rows[:, Point.CIPHERTEXT_OUT]
            + rows[:, Point.HELLO_IN] - rows[:, Point.HELLO_OUT]
        )  # fmt: skip
        seen = self._histograms.get(worker) or Histogram.empty()
        self._histograms[worker] = Histogram.merge((seen, Histogram.of_values(cloud.clip(min=0))))

    def medians_ns(self) -> list[int]:
        """Of every worker with enough handshakes for a median."""
        found = [histogram.percentile_ns(0.5) for histogram in self._histograms.values()]
        return [median for median in found if median is not None]
