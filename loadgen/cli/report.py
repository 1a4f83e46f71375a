"""``loadgen report``: stored records in every form."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any, Final, TextIO

import click

from loadgen.analysis.gates import GateResult, stored_result
from loadgen.analysis.thresholds import ThresholdError
from loadgen.cli.formats import (
    FORMATS,
    Rendering,
    as_text,
    chosen_format,
    emit,
    format_options,
    read_writes,
    write_file,
)
from loadgen.cli.messages import show_note
from loadgen.cli.output import write_lines
from loadgen.cli.records import StoredRun, load_run, results_option, select
from loadgen.config.values import read_choice
from loadgen.errors import ExitCode, UsageError
from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram
from loadgen.report.detail import ladder, waterfall
from loadgen.report.detail_text import write_detail
from loadgen.report.documents import runs_document
from loadgen.report.github import gate_annotations
from loadgen.report.hgrm import write_hgrm
from loadgen.report.junit import gate_suite
from loadgen.report.markdown import gates_markdown, run_markdown
from loadgen.report.summary import summarise
from loadgen.report.tables import runs_csv
from loadgen.report.terminal import write_summary
from loadgen.report.verdicts import GateSummary, summarise_gates

HGRM: Final = "hgrm"


@click.command("report")
@click.argument("records", nargs=-1, metavar="RECORD...")
@click.option("--label", metavar="NAME", multiple=True, help="Every record with this label; repeatable.")
@click.option("--stage", metavar="STAGE", default="handshake", show_default=True, help="Stage of the hgrm format.")
@click.option("--firmware", metavar="NAME", help="Firmware of the hgrm format. [all]")
@click.option("--out", metavar="FILE", help="Write to a file instead of stdout.")
@results_option
@format_options(*FORMATS, HGRM)
def command(**values: Any) -> ExitCode:
    """Show stored records again, in any form.

    hgrm is HdrHistogram's percentile text in ms, for its plotters: one stage of one record.
    """
    files = read_writes(values["write"])
    runs = [load_run(folder) for folder in select(values["records"], values["label"], values["results"])]
    form = chosen_format(values)
    if form == HGRM:
        stage = Stage(read_choice(values["stage"], "--stage", [stage.value for stage in Stage]))
        _print(_hgrm(runs, stage, values["firmware"]), values["out"])
        return ExitCode.OK
    rendering = _rendering(runs)
    if not values["out"]:
        emit(rendering, form, files)
        return ExitCode.OK
    for file_form, path in [(form, Path(values["out"])), *files]:
        write_file(path, as_text(rendering, file_form))
    return ExitCode.OK


def _print(text: str, out: str | None) -> None:
    if out:
        write_file(Path(out), text)
    else:
        write_lines(text.rstrip("\n").split("\n"))


def _hgrm(runs: list[StoredRun], stage: Stage, firmware: str | None) -> str:
    """The percentile text of one stage.

    Raises:
        UsageError: more than one record, no such firmware, or no histograms.
    """
    if len(runs) != 1:
        raise UsageError(
            f"{len(runs)} records do not go into one file", where="--format hgrm", remedy="Name one record."
        )
    run = runs[0]
    names = [facts.name for facts in run.record.firmware]
    if firmware is not None and firmware not in names:
        raise UsageError(f"{firmware} did not run", where=run.shown, remedy=f"The run has {', '.join(names)}.")
    seconds = run.seconds(stage, firmware)
    histogram = Histogram.merge(seconds.values()) if seconds else Histogram.empty()
    if not histogram.count:
        raise UsageError(f"there are no histograms of {stage}", where=run.shown)
    expected = run.record.stage(stage).count
    if firmware is None and histogram.count != expected:
        show_note(f"The log of histograms is cut off: it has {histogram.count:,} of {expected:,} samples.")
    text = io.StringIO()
    write_hgrm(histogram, text)
    return text.getvalue()


def _rendering(runs: list[StoredRun]) -> Rendering:
    gates = [_gates(run) for run in runs]
    return Rendering(
        terminal=lambda stream: _terminal(runs, gates, stream),
        markdown=lambda: "\n".join(_markdown(run, gate) for run, gate in zip(runs, gates, strict=True)),
        csv=lambda: runs_csv((run.record, run.shown) for run in runs),
        json=lambda: runs_document((run.record, run.shown) for run in runs),
        suites=lambda: [gate_suite(gate) for gate in gates],
        annotations=lambda: gate_annotations(gates),
    )


def _gates(run: StoredRun) -> GateSummary:
    """The thresholds as they went when the run ended."""
    results: list[GateResult] = []
    for stored in run.record.thresholds:
        try:
            results.append(stored_result(stored))
        except ThresholdError:
            show_note(f"{run.shown}: the threshold {stored.text!r} ({stored.outcome}) is of a later loadgen.")
    return summarise_gates(run.record, run.shown, results, run.view())


def _terminal(runs: list[StoredRun], gates: list[GateSummary], stream: TextIO) -> None:
    for index, (run, gate) in enumerate(zip(runs, gates, strict=True)):
        if index:
            stream.write("\n")
        write_summary(summarise(run.record, run.shown), stream)
        write_detail(ladder(run.record), waterfall(run.record), gate, stream)


def _markdown(run: StoredRun, gate: GateSummary) -> str:
    text = run_markdown(summarise(run.record, run.shown), ladder(run.record), waterfall(run.record))
    return f"{text}\n{gates_markdown([gate])}" if gate.rows else text
