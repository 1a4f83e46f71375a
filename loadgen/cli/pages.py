"""HTML pages of stored records: their logs are read here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from loadgen.analysis.gates import GateResult
from loadgen.cli.messages import show_warning
from loadgen.cli.records import StoredRun
from loadgen.cryptostore import load_crypto_record
from loadgen.errors import UsageError
from loadgen.protocol.stages import Stage
from loadgen.report.detail import LADDER_STAGES
from loadgen.report.html import CryptoData, page
from loadgen.report.plots import RunData
from loadgen.report.verdicts import summarise_gates
from loadgen.store import read_intervals


def html_page(runs: Sequence[tuple[StoredRun, Sequence[GateResult]]], benchmarks: Sequence[Path] = ()) -> str:
    """The page of some records.

    Args:
        runs: each with how its thresholds went.
        benchmarks: folders of crypto benchmarks.

    Raises:
        UsageError: the record of a benchmark cannot be read.
    """
    found = [CryptoData(load_crypto_record(folder), str(folder)) for folder in benchmarks]
    return page([_run_data(run, results) for run, results in runs], found)


def _run_data(run: StoredRun, results: Sequence[GateResult]) -> RunData:
    """A damaged log costs the plots that need it, and is named on the page and on stderr."""
    problems = []
    firmwares = [facts.name for facts in run.record.firmware] if len(run.record.firmware) > 1 else []
    wanted: list[tuple[Stage, str | None]] = [(stage, None) for stage in LADDER_STAGES]
    wanted += [(Stage.HANDSHAKE, name) for name in firmwares]
    try:
        seconds = run.read_seconds(wanted)
        counted = sum(found.count for found in seconds.get((Stage.HANDSHAKE, None), {}).values())
        expected = run.record.stage(Stage.HANDSHAKE).count
        if counted != expected:
            problems.append(f"The log of histograms has {counted:,} of {expected:,} handshakes.")
    except UsageError as error:
        seconds = {}
        problems.append(f"The log of histograms cannot be read: {error}")
    try:
        intervals = list(read_intervals(run.folder))
    except UsageError as error:
        intervals = []
        problems.append(f"The log of seconds cannot be read: {error}")
    for problem in problems:
        show_warning(f"{run.shown}: {problem}")
    gates = summarise_gates(run.record, run.shown, results, run.view())
    return RunData(run.record, run.shown, gates, seconds, intervals, problems)
