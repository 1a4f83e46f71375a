"""The thresholds of one run: watched while it goes on, and held against it when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from loadgen.analysis.foresight import Prospect, hopeless, starts_at_most
from loadgen.analysis.gates import GateResult, evaluate, view_of_record
from loadgen.analysis.thresholds import Threshold, parse_threshold
from loadgen.analysis.watch import RunWatch
from loadgen.cli.messages import show_warning
from loadgen.cli.prepare import Load
from loadgen.cli.records import StoredRun
from loadgen.clock import NS_PER_S
from loadgen.config.bench import suggestion
from loadgen.config.scenario import Scenario
from loadgen.errors import LoadgenError, UsageError
from loadgen.recording.record import Finding, RunRecord, SecondFacts
from loadgen.recording.recorder import Interval
from loadgen.report.verdicts import gate_row
from loadgen.store import interval_line


class RunGate:
    """The thresholds of one run.

    Args:
        thresholds: what the run is held against.
        folder: gives the record's folder, once there is one; its logs are read for thresholds over windows.
        watch: ends the run at the first threshold that is broken; None: it goes on to its end.
    """

    def __init__(self, thresholds: Sequence[Threshold], folder: Callable[[], Path], watch: RunWatch | None) -> None:
        self._thresholds = thresholds
        self._folder = folder
        self._watch = watch
        self._broken: GateResult | None = None
        self._broken_at_s = 0

    def second(self, interval: Interval, facts: SecondFacts) -> str | None:
        """A second was recorded: a sentence if the run is to end for it."""
        if self._watch is None:
            return None
        self._broken = self._watch.second(interval, interval_line(interval, facts, 0))
        if self._broken is None:
            return None
        self._broken_at_s = interval.second + 1
        return f"{self._reason(self._broken)} Finishing what is in flight, for 5 s at most."

    def _reason(self, broken: GateResult) -> str:
        return (
            f"Ended after {self._broken_at_s} s, because a threshold failed: {broken.threshold.text} "
            f"({gate_row(broken).sentence})."
        )

    def judge(self, record: RunRecord) -> None:
        """Put into the finished record how the thresholds went.

        The one that ended a run has failed, even where what was in flight then would have mended it.
        """
        results = self._results(record)
        broken = self._broken
        if broken is not None:
            results = [
                broken if result.threshold == broken.threshold and result.outcome != "fail" else result
                for result in results
            ]
            record.validity.findings.append(
                Finding(
                    code="ended_early",
                    level="note",
                    observed=self._broken_at_s,
                    limit=0,
                    text=self._reason(broken),
                    remedy="Give --abort-on-fail a delay, or leave it out, to measure on.",
                )
            )
        record.thresholds = [result.for_record() for result in results]

    def _results(self, record: RunRecord) -> list[GateResult]:
        try:
            return evaluate(self._thresholds, StoredRun(self._folder(), record).view())
        except LoadgenError:  # the logs cannot be read back: the record is finished all the same
            return evaluate(self._thresholds, view_of_record(record, lambda _stage, _firmware: None, list))


def make_gate(
    scenario: Scenario, offered_per_s: float | None, abort_after_ns: int | None, folder: Callable[[], Path]
) -> RunGate | None:
    """The gate of a run; None without thresholds.

    Args:
        scenario: the run.
        offered_per_s: its mean rate; None where it offers none.
        abort_after_ns: end the run at a broken threshold, but not in so many first ns of the recorded window; None:
            never.
        folder: as :class:`RunGate` takes it.
    """
    if not scenario.thresholds:
        return None
    thresholds = [parse_threshold(text) for text in scenario.thresholds]
    watch = None
    if abort_after_ns is not None:
        watch = RunWatch(
            thresholds,
            delay_s=abort_after_ns / NS_PER_S,
            firmwares=[share.name for share in scenario.firmware],
            offered_per_s=offered_per_s,
            varies=scenario.rate_per_s is None,
        )
    return RunGate(thresholds, folder, watch)


def check_abort(scenario: Scenario, abort_after_ns: int | None) -> None:
    """Refuse to watch for what cannot happen.

    Raises:
        UsageError: there is no threshold that could fail.
    """
    if abort_after_ns is not None and not scenario.thresholds:
        raise UsageError(
            f'the scenario "{scenario.name}" has no threshold that could fail',
            where="--abort-on-fail",
            remedy="Give --threshold 'p(99) of handshake < 250ms', or thresholds in the scenario.",
        )


def check_firmwares(scenario: Scenario) -> None:
    """Refuse a threshold about a firmware that the run does not play.

    Raises:
        UsageError: naming the threshold and the firmwares that there are.
    """
    played = [share.name for share in scenario.firmware]
    for threshold in map(parse_threshold, scenario.thresholds):
        if threshold.firmware is not None and threshold.firmware not in played:
            raise UsageError(
                f"{threshold.firmware!r} is not played by this run",
                where=f"threshold {threshold.text}",
                remedy=f"{suggestion(threshold.firmware, played)}It plays {', '.join(played)}.",
            )


def warn_of_hopeless(loads: Iterable[Load]) -> None:
    """Say before a run which of its thresholds this load can never decide, each once."""
    reasons = {
        threshold.text: reason
        for load in loads
        for threshold in map(parse_threshold, load.scenario.thresholds)
        if (reason := hopeless(threshold, prospect(load)))
    }
    for text, reason in reasons.items():
        show_warning(f"{text} cannot pass: {reason}.\nRun longer or faster, or ask for what this load can show.")


def prospect(load: Load) -> Prospect:
    """What is certain of a run before it begins."""
    scenario = load.scenario
    duration_ns = scenario.duration_ns
    return Prospect(
        offered=load.offered_per_s is not None,
        duration_s=None if duration_ns is None else duration_ns / NS_PER_S,
        most_starts=_most_starts(load),
    )


def _most_starts(load: Load) -> int | None:
    """Bound of the starts in the recorded window. Devices that come back, and chance, know none."""
    scenario = load.scenario
    if scenario.reconnect or scenario.storm is not None:
        return None
    bounds = [scenario.count, None if load.trace is None else load.trace.starts]
    if scenario.rate_per_s is not None and scenario.duration_ns is not None:
        bounds.append(starts_at_most(float(scenario.rate_per_s), scenario.duration_ns / NS_PER_S))
    return min((bound for bound in bounds if bound is not None), default=None)
