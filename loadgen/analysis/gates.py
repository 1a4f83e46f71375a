"""Thresholds held against a run: pass, fail or no data.

No data is not a pass. A percentile without 10 / (1 − X) samples has no value; a rate of failures below a limit is
no pass unless one failure more would have stayed within it; of windows, each full one must hold, and one with too few
samples leaves the whole undecided. A run that is invalid passes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Final, Literal

import numpy as np

from loadgen.analysis.outcomes import Outcome
from loadgen.analysis.statistics import wilson
from loadgen.analysis.thresholds import Threshold, Unit, format_value, parse_threshold
from loadgen.protocol.stages import Stage
from loadgen.recording import record as records
from loadgen.recording.histogram import Histogram, lowest_equivalent_ns, samples_needed
from loadgen.recording.record import (
    PERCENTILES,
    Counts,
    FailureTally,
    IntervalLine,
    Rate,
    RunRecord,
    StageStats,
    microseconds,
    stage_stats,
)

Result = Literal["pass", "fail", "no_data"]
Range = tuple[float, float]

_NAMES: Final = {Fraction(str(quantile)): name for name, quantile in PERCENTILES.items()}
ALMOST_S: Final = 0.05
"""A recorded window that ends so little before a full second still has it."""
_NO_LOG: Final = "the record has no log of its seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunView:
    """What thresholds look at, of a record or of a run that goes on.

    Attributes:
        counts: handshakes of the recorded window.
        rate: offered and achieved.
        duration_s: length of the recorded window until now.
        firmwares: names of the run's firmwares.
        failures: how often handshakes failed in which way.
        valid: whether the numbers may be believed.
        stats: statistics of a stage, of one firmware or (None) of all.
        seconds: histograms of a stage by second, None where there is no log of them.
        lines: what else happened in each second; empty where that is not known.
        varies: the rate changes in the course of the run: a window was offered what was due in it.
    """

    counts: Counts
    rate: Rate
    duration_s: float
    firmwares: tuple[str, ...]
    failures: Sequence[FailureTally]
    valid: bool
    stats: Callable[[Stage, str | None], StageStats]
    seconds: Callable[[Stage, str | None], Mapping[int, Histogram] | None]
    lines: Callable[[], Sequence[IntervalLine]]
    varies: bool = False


def view_of_record(
    record: RunRecord,
    seconds: Callable[[Stage, str | None], Mapping[int, Histogram] | None],
    lines: Callable[[], Sequence[IntervalLine]],
) -> RunView:
    """A stored record as thresholds look at it; the two logs are read only where a threshold needs them."""
    by_name = {facts.name: facts.stages for facts in record.firmware}

    def stats(stage: Stage, firmware: str | None) -> StageStats:
        if firmware is None:
            return record.stage(stage)
        return by_name[firmware].get(stage.value) or StageStats()

    return RunView(
        counts=record.counts,
        rate=record.rate,
        duration_s=record.duration_s,
        firmwares=tuple(by_name),
        failures=record.failures,
        valid=record.validity.verdict == "valid",
        stats=stats,
        seconds=seconds,
        lines=lines,
        varies=record.rate.mode == "open" and record.scenario.get("rate_per_s") is None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GateResult:
    """How one threshold went.

    Attributes:
        threshold: what was asked.
        outcome: ``pass``, ``fail`` or ``no_data``.
        observed: in the threshold's unit, None where there is no value.
        interval: 95 % confidence interval of it, None where there is none.
        samples: handshakes that the value comes from.
        detail: why there is no data, or in which window the value was seen; may be empty.
    """

    threshold: Threshold
    outcome: Result
    observed: float | None
    interval: Range | None
    samples: int
    detail: str = ""

    @property
    def unit(self) -> Unit:
        """Unit of limit and observed value."""
        return self.threshold.unit

    def for_record(self) -> records.Threshold:
        """As it stands in ``run.json``."""
        return records.Threshold(
            text=self.threshold.text,
            outcome=self.outcome,
            observed=self.observed,
            observed_ci=self.interval,
            limit=self.threshold.limit,
            samples=self.samples,
            detail=self.detail,
        )


def evaluate(thresholds: Iterable[Threshold], view: RunView) -> list[GateResult]:
    """Hold every threshold against a run, in their order."""
    return [_evaluate(threshold, view) for threshold in thresholds]


def stored_result(stored: records.Threshold) -> GateResult:
    """How a threshold went when its run ended, as the record has it.

    Raises:
        ThresholdError: its text is of a later loadgen.
    """
    return GateResult(
        threshold=parse_threshold(stored.text),
        outcome=stored.outcome,
        observed=stored.observed,
        interval=stored.observed_ci,
        samples=stored.samples,
        detail=stored.detail,
    )


_OUTCOMES: Final = {"pass": Outcome.FINE, "fail": Outcome.THRESHOLD_FAILED, "no_data": Outcome.NO_DATA}


def outcomes(
    results: Iterable[GateResult | records.Threshold | records.Calibration], run: RunView | RunRecord
) -> list[Outcome]:
    """What the results of a run, and the run itself, say for the exit code."""
    found = [_OUTCOMES[result.outcome] for result in results]
    valid = run.valid if isinstance(run, RunView) else run.validity.verdict == "valid"
    if not valid:
        found.append(Outcome.INVALID)
    if not run.counts.completed:
        found.append(Outcome.UNREACHABLE)
    return found


def needs_the_end(threshold: Threshold) -> bool:
    """Whether a threshold that fails now may yet hold: counts only grow, and may still reach a number."""
    counted = threshold.kind in ("count", "failures") and threshold.window_s is None
    return counted and (threshold.operator in (">", ">=") or (threshold.operator == "==" and threshold.limit > 0))


# --- one threshold


@dataclass(frozen=True, slots=True)
class _Observation:
    """A value and where it comes from; ``value`` None with the reason in ``detail``."""

    value: float | None
    interval: Range | None
    samples: int
    detail: str = ""
    enough: bool = True
    """Whether staying within the limit says anything with so many samples."""


def _evaluate(threshold: Threshold, view: RunView) -> GateResult:
    observation = _observe(threshold, view)
    outcome: Result = "no_data"
    detail = observation.detail
    if observation.value is not None:
        outcome = "pass" if threshold.holds(observation.value) else "fail"
        if outcome == "pass" and not observation.enough:
            outcome, detail = "no_data", _too_few_for_share(threshold, observation)
    if outcome == "pass" and not view.valid:
        outcome, detail = "no_data", "the run is invalid, and an invalid run passes nothing"
    return GateResult(
        threshold=threshold,
        outcome=outcome,
        observed=observation.value,
        interval=observation.interval,
        samples=observation.samples,
        detail=detail,
    )


def _observe(threshold: Threshold, view: RunView) -> _Observation:
    if not view.counts.started:
        return _Observation(None, None, 0, "no handshake was started")
    firmware = threshold.firmware
    if firmware is not None and firmware not in view.firmwares:
        return _Observation(None, None, 0, f"{firmware} did not run; there were {', '.join(view.firmwares)}")
    if len(view.firmwares) == 1:
        threshold = replace(threshold, firmware=None)  # its numbers are those of all
    if threshold.window_s is not None:
        return _worst_window(threshold, threshold.window_s, view)
    if threshold.kind == "failure_rate":
        return _share_of_failures(view.counts.failed, view.counts.started, threshold)
    if threshold.kind == "achieved_rate":
        return _achieved(view.rate.achieved_per_s, view.rate.offered_per_s, view.counts.started)
    if threshold.kind == "failures":
        return _failures(_matching(view.failures, threshold), view.counts.started)
    return _of_stage(threshold, view)


def _of_stage(threshold: Threshold, view: RunView) -> _Observation:
    assert threshold.stage is not None
    stats = view.stats(threshold.stage, threshold.firmware)
    if threshold.kind in ("percentile", "mean") and threshold.quantile not in _NAMES:
        seconds = view.seconds(threshold.stage, threshold.firmware)
        if seconds is not None:
            merged = Histogram.merge(seconds.values())
            if merged.count != stats.count:
                return _Observation(None, None, merged.count, _cut_off(merged.count, stats.count))
            mean = stats.mean_us if threshold.kind == "mean" else None  # the record's is that of the raw values
            return _of_histogram(threshold, merged, mean)
        if threshold.kind == "percentile":
            return _Observation(None, None, stats.count, "the record has no histograms to take it from")
    return _of_stats(threshold, stats)


def _of_histogram(threshold: Threshold, histogram: Histogram, mean_us: float | None = None) -> _Observation:
    if threshold.kind == "percentile":
        assert threshold.quantile is not None
        quantile = float(threshold.quantile)
        interval = histogram.percentile_ci_ns(quantile)
        if interval is None:
            return _too_few(threshold.quantile, histogram.count)
        value = microseconds(histogram.percentile_ns(quantile))
        return _Observation(value, (interval[0] / 1000, interval[1] / 1000), histogram.count)
    if threshold.kind == "mean" and histogram.count:
        mean = mean_us if mean_us is not None else microseconds(histogram.mean_ns)
        return _Observation(mean, _interval_of_mean(histogram, mean), histogram.count)
    return _of_stats(threshold, stage_stats(histogram))


def _of_stats(threshold: Threshold, stats: StageStats) -> _Observation:
    if threshold.kind == "count":
        return _Observation(stats.count, None, stats.count)
    if threshold.kind == "percentile":
        assert threshold.quantile is not None
        name = _NAMES[threshold.quantile]
        value = getattr(stats, f"{name}_us")
        if value is None:
            return _too_few(threshold.quantile, stats.count)
        return _Observation(value, getattr(stats, f"{name}_ci_us"), stats.count)
    value = {"mean": stats.mean_us, "max": stats.max_us, "min": stats.min_us}[threshold.kind]
    return _Observation(value, None, stats.count, "" if stats.count else "there are no samples")


def _interval_of_mean(histogram: Histogram, mean_us: float | None) -> Range | None:
    """95 % interval of a mean from the spread of the buckets; None for a single sample."""
    if histogram.count < 2 or mean_us is None:
        return None
    values = lowest_equivalent_ns(histogram.indexes).astype(np.float64) / 1000
    centre = float(values @ histogram.counts) / histogram.count
    variance = float(((values - centre) ** 2) @ histogram.counts) / (histogram.count - 1)
    half = 1.959963984540054 * math.sqrt(variance / histogram.count)
    return max(0.0, mean_us - half), mean_us + half


def _too_few(quantile: Fraction, count: int) -> _Observation:
    needed = samples_needed(float(quantile))
    name = f"p{float(quantile * 100):g}"
    return _Observation(None, None, count, f"{name} takes {needed:,} samples, there are {count:,}")


def _share_of_failures(failed: int, started: int, threshold: Threshold) -> _Observation:
    if not started:
        return _Observation(None, None, 0, "no handshake was started")
    enough = not threshold.upper or threshold.limit <= 0 or started * threshold.limit >= 1
    return _Observation(failed / started, wilson(failed, started), started, enough=enough)


def too_few_for_share(threshold: Threshold) -> str:
    """How many handshakes a rate below the limit takes, for a sentence that says how many there are."""
    limit = format_value(threshold.limit, "share")
    return f"a rate of {limit} takes {math.ceil(1 / threshold.limit):,} handshakes to be seen"


def _too_few_for_share(threshold: Threshold, observation: _Observation) -> str:
    return f"{too_few_for_share(threshold)}, there are {observation.samples:,}"


def _achieved(achieved_per_s: float, offered_per_s: float | None, started: int) -> _Observation:
    if not offered_per_s:
        return _Observation(None, None, started, "no rate was offered, as in a closed loop")
    return _Observation(achieved_per_s / offered_per_s, None, started)


def _failures(count: int, started: int) -> _Observation:
    share = wilson(min(count, started), started)
    return _Observation(count, None if share is None else (share[0] * started, share[1] * started), started)


def _matching(failures: Iterable[FailureTally], threshold: Threshold) -> int:
    return sum(
        failure.count for failure in failures if failure.stage == threshold.stage and failure.reason == threshold.reason
    )


# --- windows


def _worst_window(threshold: Threshold, length_s: int, view: RunView) -> _Observation:
    """The observation of the window that is nearest to breaking the threshold, or breaks it the most."""
    windows = int((view.duration_s + ALMOST_S) // length_s)
    if not windows:
        return _Observation(None, None, 0, f"the run of {view.duration_s:g} s has no full window of {length_s} s")
    observe = _window_reader(threshold, length_s, windows, view)
    if isinstance(observe, str):
        return _Observation(None, None, 0, observe)
    found = [observe(index * length_s) for index in range(windows)]
    for index, observation in enumerate(found):
        if observation.value is None or (not observation.enough and threshold.holds(observation.value)):
            detail = observation.detail or _too_few_for_share(threshold, observation)
            return replace(observation, value=None, interval=None, detail=f"{_place(index, length_s)}: {detail}")
    worst = max(range(windows), key=lambda index: _badness(threshold, found[index].value or 0.0))
    detail = f"worst of {windows} windows, {_place(worst, length_s)}"
    return replace(found[worst], detail=detail if windows > 1 else _place(worst, length_s))


def _place(index: int, length_s: int) -> str:
    return f"{index * length_s} s to {(index + 1) * length_s} s"


def _badness(threshold: Threshold, value: float) -> float:
    if threshold.operator == "==":
        return abs(value - threshold.limit)
    return value if threshold.upper else -value


def _window_reader(
    threshold: Threshold, length_s: int, windows: int, view: RunView
) -> Callable[[int], _Observation] | str:
    """What observes the window that begins at a second; a sentence where the log of the seconds is not whole."""
    if threshold.kind in ("failure_rate", "achieved_rate", "failures"):
        lines = {line.second: line for line in view.lines()}
        covered = range(windows * length_s)
        if not lines:
            return _NO_LOG
        there = sum(second in lines for second in covered)
        if there < len(covered):
            return f"the log of seconds is cut off: it has {there:,} of {len(covered):,} seconds"
        return lambda begin: _of_lines(
            threshold, [lines[second] for second in range(begin, begin + length_s)], length_s, view
        )
    assert threshold.stage is not None
    seconds = view.seconds(threshold.stage, threshold.firmware)
    if seconds is None:
        return _NO_LOG
    logged = sum(histogram.count for histogram in seconds.values())
    count = view.stats(threshold.stage, threshold.firmware).count
    if logged != count:
        return _cut_off(logged, count)
    return lambda begin: _of_histogram(
        threshold,
        Histogram.merge(seconds[second] for second in range(begin, begin + length_s) if second in seconds),
    )


def _cut_off(logged: int, count: int) -> str:
    return f"the log of histograms is cut off: it has {logged:,} of {count:,} samples"


def _of_lines(threshold: Threshold, lines: Sequence[IntervalLine], length_s: int, view: RunView) -> _Observation:
    started = sum(line.started for line in lines)
    if threshold.kind == "failure_rate":
        return _share_of_failures(min(sum(line.failed for line in lines), started), started, threshold)
    if threshold.kind == "achieved_rate":
        offered_per_s = view.rate.offered_per_s
        if view.varies and offered_per_s is not None:
            offered_per_s = sum(line.intended for line in lines) / length_s
        return _achieved(started / length_s, offered_per_s, started)
    if not started:
        return _Observation(None, None, 0, "no handshake was started")
    return _failures(sum(_matching(line.failures, threshold) for line in lines), started)
