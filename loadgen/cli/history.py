"""``loadgen history``: the stored runs, and how their numbers went."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, Final

import click

from loadgen.analysis.cryptovalues import SCENARIO, crypto_family
from loadgen.analysis.trend import History, HistoryRow, history_of
from loadgen.cli.formats import SEMICOLON_TEXT
from loadgen.cli.messages import show_note, show_warning
from loadgen.cli.options import json_option, quiet_option
from loadgen.cli.output import results, write_json
from loadgen.cli.progress import ProgressCallback, fleet_progress
from loadgen.cli.records import results_option
from loadgen.config.bench import suggestion
from loadgen.config.values import read_count
from loadgen.errors import UsageError
from loadgen.history import INDEX_FILE, Group, HistoryIndex, Refreshed
from loadgen.report.history import histories_document, write_histories
from loadgen.units import format_number_of

DEFAULT_METRICS: Final = ("handshake p50", "handshake p99", "completed rate", "failures rate")
DEFAULT_LIMIT: Final = 20
_PROGRESS_FROM: Final = 1_000
"""Records to be read from which it is said that it takes a while."""
_NAMED: Final = 3
"""Unreadable records that are named."""


@click.command("history")
@click.argument("scenario", required=False, metavar="[SCENARIO]")
@click.option("--label", metavar="NAME", multiple=True, help="Only runs with this label; repeatable.")
@click.option(
    "--metric",
    metavar="TEXT",
    multiple=True,
    type=SEMICOLON_TEXT,
    help=f"Number to show, such as 'key p99'; repeatable. [{', '.join(DEFAULT_METRICS)}]",
)
@click.option(
    "--limit",
    metavar="N",
    default=str(DEFAULT_LIMIT),
    show_default=True,
    help="The newest N runs of each history; 0 shows all.",
)
@click.option("--rebuild", is_flag=True, help="Read every record anew.")
@results_option
@quiet_option
@json_option
def command(scenario: str | None, *, quiet: bool, as_json: bool, **values: Any) -> None:
    """Show the stored runs of a scenario as a table, and how their numbers went from run to run.

    Without SCENARIO every history is shown; one is a scenario on one machine. Runs that are invalid or asked another
    question than the newest one (another rate, target, firmware or crypto backend) are not in the trend.
    """
    limit = 0 if values["limit"] == "0" else read_count(values["limit"], "--limit")
    labels: tuple[str, ...] = values["label"]
    with closing(HistoryIndex(Path(values["results"]), rebuild=values["rebuild"])) as index:
        refreshed = _refresh(index, quiet=quiet)
        groups = index.groups(scenario, labels)
        if not groups:
            raise _nothing(index, scenario, labels, values["results"])
        found = [(group, index.rows(group, labels, limit or None)) for group in groups]
    metrics = list(dict.fromkeys(values["metric"])) or list(_default_metrics(found))
    _check_metrics(values["metric"], found)
    histories = [history_of(rows, metrics, group.total) for group, rows in found]
    if not quiet:
        _say(refreshed, values["results"])
    if as_json:
        unreadable = refreshed.unreadable
        write_json(histories_document(values["results"], histories, metrics, unreadable, refreshed.running))
    else:
        with results() as stream:
            for block in _blocks(histories, metrics):
                write_histories(*block, stream)


def _default_metrics(found: Sequence[tuple[Group, list[HistoryRow]]]) -> Sequence[str]:
    """Those of handshakes, and those of crypto benchmarks where there are some."""
    benchmarks = [row for group, rows in found if group.scenario == SCENARIO for row in rows]
    ours = crypto_family(metric for row in benchmarks for metric in row.values.values)
    return [*(DEFAULT_METRICS if any(group.scenario != SCENARIO for group, _ in found) else ()), *ours]


def _blocks(histories: Sequence[History], metrics: Sequence[str]) -> list[tuple[list[History], list[str]]]:
    """Each history with the metrics that one of its runs has; all of them where none has one."""
    blocks = []
    for history in histories:
        having = [metric for metric in metrics if any(metric in row.values.values for row in history.rows)]
        blocks.append(([history], having or list(metrics)))
    return blocks


def _refresh(index: HistoryIndex, *, quiet: bool) -> Refreshed:
    """Bring the index up to date; where that takes a while, it is shown."""
    with ExitStack() as stack:
        show: ProgressCallback | None = None

        def progress(done: int, total: int) -> None:
            nonlocal show
            if total >= _PROGRESS_FROM and show is None:
                show = stack.enter_context(fleet_progress("Reading records", quiet=quiet))
            if show is not None:
                show(done, total)

        return index.refresh(progress)


def _nothing(index: HistoryIndex, scenario: str | None, labels: Sequence[str], folder: str) -> UsageError:
    """Why there is nothing to show."""
    known = list(dict.fromkeys(group.scenario for group in index.groups()))
    if not known:
        return UsageError("the folder has no record that can be read", where=folder, remedy="`loadgen run` makes one.")
    if scenario is not None and scenario not in known:
        remedy = f"{suggestion(scenario, known)}There are runs of {', '.join(known)}."
        return UsageError(f'there is no run of the scenario "{scenario}"', where=folder, remedy=remedy)
    with_labels = index.labels()
    there = f"There are the labels {', '.join(with_labels)}." if with_labels else "`loadgen run --label` gives one."
    named = " or ".join(f'"{label}"' for label in labels)
    return UsageError(f"no such run has the label {named}", where=folder, remedy=there)


def _check_metrics(asked: Sequence[str], found: Sequence[tuple[Group, list[HistoryRow]]]) -> None:
    """Refuse a metric that no run has."""
    known = dict.fromkeys(metric for _, rows in found for row in rows for metric in row.values.values)
    for metric in asked:
        if metric not in known:
            remedy = f"{suggestion(metric, known)}Write for example 'key p99' or 'failures rate'."
            raise UsageError(f'none of the runs has "{metric}"', where="--metric", remedy=remedy)


def _say(refreshed: Refreshed, folder: str) -> None:
    """What the table cannot show."""
    if refreshed.in_memory:
        show_note(f"{Path(folder) / INDEX_FILE} cannot be written: every record is read anew each time.")
    if refreshed.running:
        runs = "1 run is" if len(refreshed.running) == 1 else f"{len(refreshed.running):,} runs are"
        show_note(f"{runs} not finished, and not shown; `loadgen report` shows what there is of one.")
    if refreshed.unreadable:
        some = [f"{name}: {problem}" for name, problem in list(refreshed.unreadable.items())[:_NAMED]]
        more = len(refreshed.unreadable) - len(some)
        some += [f"and {more:,} more; --json names all"] if more else []
        records = format_number_of(len(refreshed.unreadable), "record")
        show_warning("\n".join([f"{records} in {folder} cannot be read", *some]))
