"""Thresholds held against a run while it goes on, second by second, so that a lost one can be ended early.

Pure: it is fed what each second brought. Of thresholds over windows only the seconds of the present window are kept, of
the others the sum of everything, so that a long run takes no more memory than a short one.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

import msgspec

from loadgen.analysis.gates import GateResult, RunView, evaluate, needs_the_end
from loadgen.analysis.thresholds import Threshold
from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram
from loadgen.recording.record import Counts, FailureTally, IntervalLine, Rate, stage_stats

_Key = tuple[Stage, str | None]
_Second = tuple[IntervalLine, Mapping[_Key, Histogram]]
_COUNTS: Final = ("intended", "started", "completed", "failed", "aborted")


class SecondLike(Protocol):
    """The part of :class:`loadgen.recording.recorder.Interval` that a watch looks at."""

    def histogram(self, stage: Stage, firmware: str | None = None, /) -> Histogram: ...


class RunWatch:
    """Watches one run.

    Args:
        thresholds: those that end the run when they fail. What more time may mend is passed over.
        delay_s: nothing is judged in so many first seconds of the recorded window.
        firmwares: names of the run's firmwares.
        offered_per_s: rate that was asked for; None in the closed loop.
        varies: that rate is the mean of a schedule whose rate changes.
    """

    def __init__(
        self,
        thresholds: Sequence[Threshold],
        *,
        delay_s: float,
        firmwares: Sequence[str],
        offered_per_s: float | None,
        varies: bool = False,
    ) -> None:
        self._thresholds = [threshold for threshold in thresholds if not needs_the_end(threshold)]
        self._delay_s = delay_s
        self._firmwares = tuple(firmwares)
        self._offered_per_s = offered_per_s
        self._varies = varies
        several = len(self._firmwares) > 1
        self._keys: set[_Key] = {
            (threshold.stage, threshold.firmware if several else None)
            for threshold in self._thresholds
            if threshold.stage is not None and threshold.firmware in (None, *self._firmwares)
        }
        longest = max((threshold.window_s or 0 for threshold in self._thresholds), default=0)
        self._recent: deque[_Second] = deque(maxlen=longest)
        self._counts: Counter[str] = Counter()
        self._failures: Counter[tuple[str, str]] = Counter()
        self._merged: dict[_Key, Histogram] = {}

    def second(self, interval: SecondLike, line: IntervalLine) -> GateResult | None:
        """The recorder has closed a second. Returns the first threshold that is broken now, if any."""
        histograms = {key: interval.histogram(*key) for key in self._keys}
        self._recent.append((line, histograms))
        self._counts.update({name: getattr(line, name) for name in _COUNTS})
        for tally in line.failures:
            self._failures[tally.stage, tally.reason] += tally.count
        for key, histogram in histograms.items():
            self._merged[key] = Histogram.merge([self._merged.get(key, Histogram.empty()), histogram])
        elapsed_s = line.second + 1
        if elapsed_s < self._delay_s:
            return None
        return next((found for found in self._judge(elapsed_s) if found.outcome == "fail"), None)

    def _judge(self, elapsed_s: int) -> list[GateResult]:
        found = []
        for threshold in self._thresholds:
            window_s = threshold.window_s
            if window_s is None:
                found += evaluate([threshold], self._whole(elapsed_s))
            elif elapsed_s % window_s == 0 and len(self._recent) >= window_s:
                begin_s = elapsed_s - window_s
                found += [
                    replace(result, detail=f"window {begin_s} s to {elapsed_s} s")
                    for result in evaluate([threshold], self._window(window_s))
                ]
        return found

    def _whole(self, elapsed_s: int) -> RunView:
        failures = [
            FailureTally(stage=stage, reason=reason, device_code=None, firmware="", count=count)
            for (stage, reason), count in self._failures.items()
        ]
        return self._view(self._counts, elapsed_s, failures, {key: {0: part} for key, part in self._merged.items()}, ())

    def _window(self, window_s: int) -> RunView:
        """The last seconds as a run of their own."""
        part = list(self._recent)[-window_s:]
        lines = [msgspec.structs.replace(line, second=index) for index, (line, _) in enumerate(part)]
        counts = Counter({name: sum(getattr(line, name) for line in lines) for name in _COUNTS})
        seconds = {key: {index: histograms[key] for index, (_, histograms) in enumerate(part)} for key in self._keys}
        return self._view(counts, window_s, (), seconds, lines)

    def _view(
        self,
        counts: Mapping[str, int],
        duration_s: int,
        failures: Sequence[FailureTally],
        seconds: Mapping[_Key, Mapping[int, Histogram]],
        lines: Sequence[IntervalLine],
    ) -> RunView:
        started = counts["started"]
        offered_per_s = self._offered_per_s
        if self._varies and offered_per_s is not None:
            offered_per_s = counts["intended"] / duration_s
        return RunView(
            counts=Counts(**{name: counts[name] for name in _COUNTS}),
            rate=Rate(
                mode="closed" if self._offered_per_s is None else "open",
                offered_per_s=offered_per_s,
                achieved_per_s=started / duration_s,
            ),
            duration_s=float(duration_s),
            firmwares=self._firmwares,
            failures=failures,
            valid=True,
            stats=lambda stage, firmware: stage_stats(Histogram.merge(seconds[stage, firmware].values())),
            seconds=lambda stage, firmware: seconds[stage, firmware],
            lines=lambda: lines,
        )
