"""Several runs in turns: of one side, for a baseline, or of two, for a comparison.

Two sides take turns run by run, so that whatever drifts in the course of the series meets both alike. What has been
done stands: an interruption or a fault ends the series, and the runs before it are reported.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import TextIO

import msgspec

from loadgen.analysis.compare import Comparison, Settings
from loadgen.analysis.outcomes import Outcome
from loadgen.analysis.outcomes import exit_code as weightiest
from loadgen.analysis.runvalues import DEFAULT_FAMILY, RunValues, values_of_record
from loadgen.cli import measurement
from loadgen.cli.audience import NOBODY, Audience
from loadgen.cli.comparison import DEFAULT_SEED, Pair, compare_pair, comparison_rendering
from loadgen.cli.formats import Rendering
from loadgen.cli.measurement import Measurement, Planned, show_end
from loadgen.cli.messages import show_note
from loadgen.cli.records import DEFAULT_RESULTS, StoredRun
from loadgen.cli.renderings import runs_rendering, stored_gates, stored_results
from loadgen.cli.result import found_in
from loadgen.errors import ExitCode
from loadgen.protocol.stages import Stage
from loadgen.report.documents import gates_document
from loadgen.report.markdown import gates_markdown
from loadgen.report.summary import summarise
from loadgen.report.verdict_text import spread_lines, write_gates
from loadgen.report.verdicts import format_metric


@dataclass(slots=True)
class Side:
    """One side of a series, and the runs that it has so far. ``name`` is what it differs in; empty for the only one."""

    name: str
    label: str
    planned: Planned
    done: list[Measurement] = field(default_factory=list)

    @property
    def shown(self) -> str:
        """What it is called in reports."""
        return f"{self.name}, label {self.label}" if self.name else f"label {self.label}"

    @property
    def whole(self) -> list[StoredRun]:
        """Runs that came to their end."""
        return [measured.run for measured in self.done if not measured.interrupted and measured.failure is None]

    def values(self) -> list[RunValues]:
        """Their numbers."""
        return [values_of_record(run.record, run.shown) for run in self.whole]


@dataclass(slots=True)
class Series:
    """A series: of one side, or of base and new."""

    sides: Sequence[Side]
    interrupted: bool = False

    @property
    def done(self) -> list[Measurement]:
        """Every run, in the order in which they were made."""
        turns = zip_longest(*(side.done for side in self.sides))
        return [measured for turn in turns for measured in turn if measured is not None]

    def make(
        self,
        turns: int,
        *,
        abort_after_ns: int | None,
        quiet: bool,
        told: Audience = NOBODY,
    ) -> None:
        """Make the runs, ``turns`` a side, until the end or whatever ends it early."""
        total = turns * len(self.sides)
        for number in range(total):
            side = self.sides[number % len(self.sides)]
            if not quiet:
                show_note(f"Run {number + 1} of {total}: {side.shown}")
            try:
                measured = measurement.measure(
                    side.planned,
                    abort_after_ns=abort_after_ns,
                    quiet=quiet,
                    notes=not side.done,
                    publish=told.of_run(number + 1, total, side.shown),
                )
            except KeyboardInterrupt:  # between two runs
                self.interrupted = True
                return
            side.done.append(measured)
            if not quiet:
                show_note(f"  {_sentence(measured.run)}")
            if measured.code in (ExitCode.INTERRUPTED, ExitCode.INTERNAL, ExitCode.UNREACHABLE):
                self.interrupted = measured.interrupted
                return

    def show_end(self) -> None:
        """Say what ended the series early, if anything did."""
        for measured in self.done:
            show_end(measured)

    def code(self, comparison: Comparison | None) -> ExitCode:
        """The exit code of everything: thresholds of every run, and the comparison's conditions.

        Runs that may not be believed are left out of a comparison; without one, the set is not what was asked for.
        """
        done = self.done
        if any(measured.failure is not None for measured in done) and not self.interrupted:
            return ExitCode.INTERNAL
        found = [] if comparison is None else comparison.outcomes()
        if comparison is not None and not (comparison.base and comparison.new):
            found.append(Outcome.INVALID)
        if self.interrupted:
            found.append(Outcome.INTERRUPTED)
        for measured in done:
            record = measured.run.record
            judged = record.thresholds or record.calibration is not None
            if comparison is None or judged or not record.counts.completed:
                found += found_in(record)
        return weightiest(found)


def _sentence(run: StoredRun) -> str:
    """A run in one line."""
    summary = summarise(run.record, run.shown)
    stage = run.record.stage(Stage.HANDSHAKE)
    both = (("p50", stage.p50_us), ("p99", stage.p99_us))
    known = [f"{name} {format_metric(value, 'us')}" for name, value in both if value is not None]
    handshake = f"; handshake {', '.join(known)}" if known else ""
    return f"{summary.verdict.upper()} {summary.outcome}{handshake}; {run.shown}"


# --- reports


def set_rendering(side: Side) -> Rendering:
    """The report of a set of runs: what they were, and by how much they differ."""
    runs = [measured.run for measured in side.done]
    return replace(runs_rendering(runs), terminal=lambda stream: _write_set(side, runs, stream))


def _write_set(side: Side, runs: Sequence[StoredRun], stream: TextIO) -> None:
    stream.writelines(f"{_sentence(run)}\n" for run in runs)
    values = [run for run in side.values() if not run.problem]
    table = {name: [run.values[name] for run in values if name in run.values] for name in DEFAULT_FAMILY}
    units = {name: unit for run in values for name, unit in run.units.items()}
    lines = spread_lines(table, units)
    if lines:
        stream.write("\nMedian and run-to-run noise\n")
        stream.writelines(f"{line}\n" for line in lines)
    _write_gates(runs, stream)
    stream.write(f"\nA baseline of these runs: loadgen baseline set --label {side.label}{_results(side)}\n")


def compare_sides(base: Side, new: Side, settings: Settings) -> tuple[Comparison, Pair]:
    """Compare two sides by the runs that came to their end."""
    pair = Pair(base.shown, new.shown, base.values(), new.values())
    return compare_pair(pair, settings, DEFAULT_SEED), pair


def comparison_report(base: Side, new: Side, comparison: Comparison, pair: Pair, code: ExitCode) -> Rendering:
    """The report of a comparison, with the thresholds of every run where there were some."""
    plain = comparison_rendering(comparison, pair, DEFAULT_SEED, code)
    runs = [measured.run for measured in Series([base, new]).done]
    gated = [run for run in runs if run.record.thresholds]
    of_runs, page = runs_rendering(gated), runs_rendering(runs).html
    again = f"\nAgain: loadgen compare --label {base.label} --label {new.label}{_results(base)}\n"

    def terminal(stream: TextIO) -> None:
        plain.terminal(stream)
        _write_gates(gated, stream)
        stream.write(again)

    if not gated:
        return replace(plain, terminal=terminal, html=page)
    return replace(
        plain,
        terminal=terminal,
        markdown=lambda: f"{plain.markdown()}\n{gates_markdown([stored_gates(run) for run in gated])}",
        json=lambda: _with_runs(plain.json(), gated, code),
        suites=lambda: [*plain.suites(), *of_runs.suites()],
        annotations=lambda: [*plain.annotations(), *of_runs.annotations()],
        html=page,
    )


def _with_runs(comparison: bytes, runs: Sequence[StoredRun], code: ExitCode) -> bytes:
    """The document of a comparison with the thresholds of its runs, as ``loadgen gate`` says them."""
    gates = gates_document([(stored_gates(run), stored_results(run)) for run in runs], code)
    return msgspec.json.encode({**msgspec.json.decode(comparison), "runs": msgspec.json.decode(gates)["runs"]})


def _write_gates(runs: Sequence[StoredRun], stream: TextIO) -> None:
    gated = [stored_gates(run) for run in runs if run.record.thresholds]
    if gated:
        stream.write("\n")
        write_gates(gated, stream)


def _results(side: Side) -> str:
    """The option that says where the records are, if they are not where they are looked for."""
    out = side.planned.load.scenario.out
    return "" if out == DEFAULT_RESULTS else f" --results {shlex.quote(out)}"
