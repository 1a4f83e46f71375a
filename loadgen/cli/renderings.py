"""Reports of runs in every form, for the command that makes runs and the one that shows them again."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from loadgen.analysis.gates import GateResult, stored_result
from loadgen.analysis.thresholds import ThresholdError
from loadgen.cli.formats import HGRM, PROMETHEUS, Rendering
from loadgen.cli.messages import show_note
from loadgen.cli.pages import html_page
from loadgen.cli.records import StoredRun
from loadgen.errors import UsageError
from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram
from loadgen.report.detail import ladder, waterfall
from loadgen.report.detail_text import write_detail
from loadgen.report.documents import runs_document
from loadgen.report.github import gate_annotations
from loadgen.report.hgrm import write_hgrm
from loadgen.report.junit import gate_suite
from loadgen.report.markdown import gates_markdown, run_markdown
from loadgen.report.metrics import exposition, finished_snapshot
from loadgen.report.summary import summarise
from loadgen.report.tables import runs_csv
from loadgen.report.terminal import write_summary
from loadgen.report.verdicts import GateSummary, summarise_gates


def runs_rendering(
    runs: Sequence[StoredRun],
    stage: Stage = Stage.HANDSHAKE,
    firmware: str | None = None,
    benchmarks: Sequence[Path] = (),
) -> Rendering:
    """Full reports of some runs, with their thresholds as they went when the runs ended.

    Args:
        runs: the runs.
        stage: stage of the hgrm form.
        firmware: firmware of the hgrm form; None: all together.
        benchmarks: folders of crypto benchmarks, for the html form.
    """
    gates = [stored_gates(run) for run in runs]
    return Rendering(
        terminal=lambda stream: _terminal(runs, gates, stream),
        markdown=lambda: "\n".join(_markdown(run, gate) for run, gate in zip(runs, gates, strict=True)),
        csv=lambda: runs_csv((run.record, run.shown) for run in runs),
        json=lambda: runs_document((run.record, run.shown) for run in runs),
        suites=lambda: [gate_suite(gate) for gate in gates],
        annotations=lambda: gate_annotations(gates),
        hgrm=lambda: _hgrm(_only(runs, HGRM), stage, firmware),
        prometheus=lambda: _prometheus(_only(runs, PROMETHEUS)),
        html=lambda: html_page([(run, stored_results(run)) for run in runs], benchmarks),
    )


def stored_gates(run: StoredRun) -> GateSummary:
    """The thresholds as they went when the run ended."""
    return summarise_gates(run.record, run.shown, stored_results(run), run.view())


def stored_results(run: StoredRun) -> list[GateResult]:
    """How each threshold went when the run ended; those that this version cannot read are named on stderr."""
    results: list[GateResult] = []
    for stored in run.record.thresholds:
        try:
            results.append(stored_result(stored))
        except ThresholdError:
            show_note(f"{run.shown}: the threshold {stored.text!r} ({stored.outcome}) cannot be read by this version.")
    return results


def _terminal(runs: Sequence[StoredRun], gates: Sequence[GateSummary], stream: TextIO) -> None:
    for index, (run, gate) in enumerate(zip(runs, gates, strict=True)):
        if index:
            stream.write("\n")
        write_summary(summarise(run.record, run.shown), stream)
        write_detail(ladder(run.record), waterfall(run.record), gate, stream)


def _markdown(run: StoredRun, gate: GateSummary) -> str:
    text = run_markdown(summarise(run.record, run.shown), ladder(run.record), waterfall(run.record))
    return f"{text}\n{gates_markdown([gate])}" if gate.rows else text


def _only(runs: Sequence[StoredRun], form: str) -> StoredRun:
    """The one run of a form that holds one.

    Raises:
        UsageError: there are several.
    """
    if len(runs) != 1:
        raise UsageError(f"{len(runs)} records do not go into one file", where=form, remedy="Name one record.")
    return runs[0]


def _hgrm(run: StoredRun, stage: Stage, firmware: str | None) -> str:
    """The percentile text of one stage.

    Raises:
        UsageError: no such firmware, or no histograms.
    """
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


def _prometheus(run: StoredRun) -> str:
    """The metrics of a finished run; without a log of histograms there are no durations among them."""
    if not run.has_histograms:
        show_note(f"{run.shown}: without its log of histograms there are no durations of stages.")
    return exposition(finished_snapshot(run.record, run.histogram))
