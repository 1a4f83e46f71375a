"""``loadgen gate``: thresholds held against stored records."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from loadgen.analysis.compare import Caution
from loadgen.analysis.gates import GateResult, evaluate, outcomes
from loadgen.analysis.outcomes import exit_code
from loadgen.analysis.room import narrow_thresholds
from loadgen.analysis.runvalues import values_of_record
from loadgen.analysis.thresholds import Threshold
from loadgen.cli.formats import Rendering, chosen_format, emit, format_options, read_writes
from loadgen.cli.messages import show_warning
from loadgen.cli.records import (
    StoredRun,
    load_run,
    own_thresholds,
    results_option,
    select,
    threshold_option,
)
from loadgen.config.values import read_thresholds
from loadgen.errors import ExitCode, UsageError
from loadgen.report.documents import gates_document
from loadgen.report.github import gate_annotations
from loadgen.report.junit import gate_suite
from loadgen.report.markdown import gates_markdown
from loadgen.report.tables import gates_csv
from loadgen.report.verdict_text import write_gates
from loadgen.report.verdicts import GateSummary, summarise_gates

EXIT_CODES = (
    "Exit codes: 0 every threshold passed, 3 one failed, 5 no data or an invalid run, 7 no handshake completed."
)


@click.command("gate", epilog=EXIT_CODES)
@click.argument("records", nargs=-1, metavar="RECORD...")
@threshold_option
@click.option("--label", metavar="NAME", multiple=True, help="Every record with this label; repeatable.")
@results_option
@format_options()
def command(**values: Any) -> ExitCode:
    """Hold thresholds against stored records.

    RECORD is the folder of a run, a pattern such as 'results/*-base-*', or a folder of records. Without --threshold
    each record is held against the thresholds that it was made with.
    """
    files = read_writes(values["write"])
    given = read_thresholds(values["threshold"], "--threshold")
    runs = [load_run(folder) for folder in select(values["records"], values["label"], values["results"])]
    gates = [_gate(run, given) for run in runs]
    code = exit_code(found for gate in gates for found in outcomes(gate.results, gate.run.view()))
    for caution in _cautions(runs, given):
        show_warning(f"{caution.text}\n{caution.remedy}".rstrip())
    emit(_rendering(gates, code), chosen_format(values), files)
    return code


class _Gate:
    """One run and how its thresholds went."""

    def __init__(self, run: StoredRun, thresholds: Sequence[Threshold]) -> None:
        view = run.view()
        self.run = run
        self.results: list[GateResult] = evaluate(thresholds, view)
        self.summary: GateSummary = summarise_gates(run.record, run.shown, self.results, view)


def _gate(run: StoredRun, given: Sequence[Threshold]) -> _Gate:
    thresholds = given or own_thresholds(run)
    if not thresholds:
        raise UsageError(
            "there is no threshold to hold it against",
            where=run.shown,
            remedy="Give --threshold 'p(99) of handshake < 250ms', or thresholds in the scenario.",
        )
    return _Gate(run, thresholds)


def _cautions(runs: Sequence[StoredRun], thresholds: Sequence[Threshold]) -> list[Caution]:
    """Thresholds that lie within the noise of these runs, and runs that were cut short."""
    found = [
        Caution(code="interrupted", text=f"{run.shown} was interrupted: it is shorter than planned.", remedy="")
        for run in runs
        if run.record.status == "interrupted"
    ]
    values = [values_of_record(run.record, run.shown) for run in runs]
    if len({run.facts.get("scenario name") for run in values}) == 1:
        found += narrow_thresholds(thresholds, [run for run in values if not run.problem])
    return found


def _rendering(gates: Sequence[_Gate], code: ExitCode) -> Rendering:
    summaries = [gate.summary for gate in gates]
    return Rendering(
        terminal=lambda stream: write_gates(summaries, stream),
        markdown=lambda: gates_markdown(summaries),
        csv=lambda: gates_csv((gate.run.shown, gate.results) for gate in gates),
        json=lambda: gates_document([(gate.summary, gate.results) for gate in gates], code),
        suites=lambda: [gate_suite(summary) for summary in summaries],
        annotations=lambda: gate_annotations(summaries),
    )
