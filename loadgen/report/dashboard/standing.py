"""Thresholds as they stand while a run goes on. Pure.

What more time may mend has no outcome yet; of a threshold over windows the first one that broke it stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from loadgen.analysis.gates import GateResult, RunView, evaluate, needs_the_end
from loadgen.analysis.thresholds import Threshold, ThresholdError, parse_threshold
from loadgen.analysis.watch import RunWatch
from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram
from loadgen.recording.record import IntervalLine, RunRecord
from loadgen.report.dashboard.messages import Key


@dataclass(frozen=True, slots=True)
class Second:
    """What :class:`RunWatch` looks at of a second."""

    histograms: Mapping[Key, Histogram]

    def histogram(self, stage: Stage, firmware: str | None = None) -> Histogram:
        """Durations of a stage that ended in this second."""
        return self.histograms.get((stage, firmware)) or Histogram.empty()


class Thresholds:
    """Those of one run.

    Args:
        record: of the run, as it begins.
    """

    def __init__(self, record: RunRecord) -> None:
        self.read = list(_read(record.scenario.get("thresholds") or ()))
        firmwares = [facts.name for facts in record.firmware]
        self._watches = {
            threshold.text: RunWatch(
                [threshold],
                delay_s=0,
                firmwares=firmwares,
                offered_per_s=record.rate.offered_per_s,
                varies=record.scenario.get("rate_per_s") is None,
            )
            for threshold in self.read
            if threshold.window_s is not None
        }
        self._broken: dict[str, GateResult] = {}

    def second(self, line: IntervalLine, histograms: Mapping[Key, Histogram]) -> None:
        """A second of the recorded window is over."""
        for text, watch in self._watches.items():
            broken = watch.second(Second(histograms), line)
            if broken is not None:
                self._broken.setdefault(text, broken)

    def results(self, view: RunView) -> list[GateResult]:
        """How each stands, in their order."""
        return [self._result(threshold, view) for threshold in self.read]

    def _result(self, threshold: Threshold, view: RunView) -> GateResult:
        if threshold.window_s is not None:
            known = self._broken.get(threshold.text)
            return known or GateResult(
                threshold=threshold, outcome="no_data", observed=None, interval=None, samples=view.counts.completed,
                detail="no window has broken it so far; judged at the end",
            )  # fmt: skip
        result = evaluate([threshold], view)[0]
        if result.outcome == "fail" and needs_the_end(threshold):
            return replace(result, outcome="no_data", detail="not reached so far; judged at the end")
        return result


def _read(texts: Sequence[str]) -> list[Threshold]:
    found = []
    for text in texts:
        try:
            found.append(parse_threshold(text))
        except ThresholdError:  # the run has refused it already
            continue
    return found
