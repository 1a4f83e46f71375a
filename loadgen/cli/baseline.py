"""``loadgen baseline``: numbers to compare against, kept in files that can be reviewed and committed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from loadgen import clock
from loadgen.analysis.baseline import Baseline, make_baseline
from loadgen.analysis.compare import runs_needed
from loadgen.analysis.room import narrow_thresholds
from loadgen.analysis.runvalues import DEFAULT_FAMILY, RunValues
from loadgen.cli.baselines import FOLDER, list_baselines, read_baseline, write_baseline
from loadgen.cli.groups import CommandGroup
from loadgen.cli.messages import show_note, show_warning
from loadgen.cli.options import json_option
from loadgen.cli.output import write_json, write_lines
from loadgen.cli.records import COMPARABLE_FILES, load_run, load_values, own_thresholds, results_option, select
from loadgen.errors import NoBaselineError, UsageError
from loadgen.recording.record import utc_text
from loadgen.report.verdict_text import spread_lines
from loadgen.units import format_number_of


@click.group("baseline", cls=CommandGroup)
def command() -> None:
    """Keep the numbers of a set of runs to compare against.

    A baseline belongs to a scenario and a machine: results/baselines/<scenario>-<machine>.json, one line a metric.
    Compare with it by: loadgen compare --baseline NEW
    """


@command.command("set")
@click.argument("records", nargs=-1, metavar="RECORD...")
@click.option("--label", metavar="NAME", multiple=True, help="Every record with this label; repeatable.")
@click.option("--note", metavar="TEXT", help="Why; kept in the file.")
@results_option
@json_option
def set_command(**values: Any) -> None:
    """Make these runs the baseline of their scenario and machine, in place of an older one."""
    folders = select(values["records"], values["label"], values["results"], COMPARABLE_FILES)
    runs = [load_values(folder) for folder in folders]
    for run in runs:
        if run.problem:
            raise UsageError(run.problem, where=run.shown, remedy="Take the run again, or leave it out.")
    try:
        baseline = make_baseline(runs, utc_text(clock.wall_ns()), values["note"])
    except ValueError as error:
        raise UsageError(str(error), where="baseline set", remedy="Take all runs alike on one machine.") from None
    _warn(baseline, runs, folders)
    path, replaced = write_baseline(baseline, Path(values["results"]))
    if values["as_json"]:
        write_json(msgspec.json.encode({**_overview(path, baseline), "replaced": replaced}))
    else:
        write_lines([f"{'Replaced' if replaced else 'Wrote'} {path}: {_sentence(baseline)}", *_noise_lines(baseline)])


def _warn(baseline: Baseline, runs: list[RunValues], folders: list[Path]) -> None:
    """What makes a baseline a weak one."""
    needed = runs_needed(len(DEFAULT_FAMILY))
    if len(runs) < needed:
        counted = "1 run is" if len(runs) == 1 else f"{len(runs)} runs are"
        show_warning(
            f"{counted} too few for verdicts: a comparison takes {needed} a side or more.\n"
            "Take 10 runs; they find a shift of 5 % at 2 % noise."
        )
    for fact, texts in baseline.run_facts.items():
        show_note(f"The runs differ in {fact}: {', '.join(dict.fromkeys(texts))}.")
    if runs[0].schema.startswith("loadgen/run/"):
        for caution in narrow_thresholds(own_thresholds(load_run(folders[0])), runs):
            show_warning(f"{caution.text}\n{caution.remedy}")


@command.command("show")
@click.argument("name", required=False, metavar="[SCENARIO|FILE]")
@results_option
@json_option
def show_command(name: str | None, results: str, as_json: bool) -> None:
    """Show baselines, all of them or those of a scenario: median and run-to-run noise of each metric."""
    if name is not None and Path(name).is_file():
        found = [(Path(name), read_baseline(Path(name)))]
    else:
        found = [entry for entry in list_baselines(Path(results)) if name in (None, entry[1].scenario)]
    if not found:
        raise NoBaselineError(
            "no baseline" + (f' of the scenario "{name}"' if name else ""),
            where=str(Path(results) / FOLDER),
            remedy="Set one with `loadgen baseline set RECORD...`.",
        )
    if as_json:
        documents = [{"path": str(path), **msgspec.to_builtins(baseline)} for path, baseline in found]
        write_json(msgspec.json.encode({"schema": "loadgen/baselines/1", "baselines": documents}))
        return
    for path, baseline in found:
        write_lines([f"{path}: {_sentence(baseline)}", *spread_lines(_numbers(baseline), baseline.units), ""])


@command.command("list")
@results_option
@json_option
def list_command(results: str, as_json: bool) -> None:
    """List baselines."""
    found = list_baselines(Path(results))
    if as_json:
        entries = [_overview(path, baseline) for path, baseline in found]
        write_json(msgspec.json.encode({"schema": "loadgen/baselines/1", "baselines": entries}))
    elif found:
        write_lines(f"{path}: {_sentence(baseline)}" for path, baseline in found)
    else:
        show_note(f"No baseline in {Path(results) / FOLDER}. Set one with `loadgen baseline set RECORD...`.")


def _overview(path: Path, baseline: Baseline) -> dict[str, Any]:
    return {
        "path": str(path),
        "scenario": baseline.scenario,
        "machine": baseline.machine,
        "processor": baseline.facts.get("machine: processor"),
        "set_at": baseline.set_at,
        "note": baseline.note,
        "runs": len(baseline.runs),
        "noise": {metric: baseline.noise(metric) for metric in baseline.values},
    }


def _sentence(baseline: Baseline) -> str:
    machine = f"{baseline.facts.get('machine: processor', 'unknown processor')}, machine {baseline.machine}"
    runs = format_number_of(len(baseline.runs), "run")
    note = f" ({baseline.note})" if baseline.note else ""
    return f"scenario {baseline.scenario}, {runs} on {machine}, set {baseline.set_at}{note}"


def _noise_lines(baseline: Baseline) -> list[str]:
    """The noise of the family, where it is known."""
    known = [(metric, baseline.noise(metric)) for metric in DEFAULT_FAMILY if metric in baseline.values]
    texts = [f"{metric} {noise * 100:.2g} %" for metric, noise in known if noise is not None]
    return [f"Run-to-run noise: {', '.join(texts)}."] if texts else []


def _numbers(baseline: Baseline) -> dict[str, list[float]]:
    """What each metric was in the runs that have it."""
    return {metric: [value for value in row if value is not None] for metric, row in baseline.values.items()}
