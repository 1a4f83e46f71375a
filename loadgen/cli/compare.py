"""``loadgen compare``: two sets of records, or two firmwares of the same runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from loadgen.analysis.compare import EFFECT
from loadgen.analysis.outcomes import exit_code
from loadgen.analysis.runvalues import RunValues, differences
from loadgen.cli.baselines import baseline_for, is_baseline, read_baseline
from loadgen.cli.comparison import (
    DEFAULT_SEED,
    Pair,
    compare_pair,
    comparison_rendering,
    fail_if_option,
    read_settings,
)
from loadgen.cli.formats import SEMICOLON_TEXT, chosen_format, emit, format_options, read_writes
from loadgen.cli.records import (
    COMPARABLE_FILES,
    find_folders,
    folders_with_label,
    load_run,
    load_values,
    results_option,
)
from loadgen.config.values import read_seed
from loadgen.errors import ExitCode, UsageError
from loadgen.store import RUN_FILE

EXIT_CODES: Final = (
    "Exit codes: 0 whatever is found; with --fail-if 4 for a regression and 5 for inconclusive. "
    "2 if the sides cannot be compared, 6 if there is no baseline."
)


@click.command("compare", epilog=EXIT_CODES)
@click.argument("sides", nargs=-1, metavar="[BASE] NEW")
@click.option("--label", metavar="NAME", multiple=True, help="A side: every record with this label.")
@click.option("--baseline", is_flag=True, help="BASE is the baseline of NEW's scenario and machine.")
@click.option("--firmware", metavar="NAME", multiple=True, help="One firmware only; twice: BASE's, NEW's.")
@fail_if_option
@click.option(
    "--effect", metavar="N%", default=f"{EFFECT * 100:g}%", show_default=True, help="Smallest change that matters."
)
@click.option(
    "--metric",
    metavar="TEXT",
    multiple=True,
    type=SEMICOLON_TEXT,
    help="Metric of the family that verdicts are given for; repeatable. [p50 and p99 of handshake, cloud, key]",
)
@click.option("--all", is_flag=True, help="Show every metric.")
@click.option("--anyway", is_flag=True, help="Compare although scenario or machine differ.")
@click.option("--seed", metavar="N", default=str(DEFAULT_SEED), show_default=True, help="Seed of the resampling.")
@results_option
@format_options()
def command(**values: Any) -> ExitCode:
    """Compare records, NEW against BASE.

    A side is the folder of a run, a quoted pattern such as 'results/*-base-*', or a baseline's file. The unit is the
    run: five a side are needed for a verdict, ten find a shift of 5 % at 2 % noise. One set of runs with
    two firmwares is compared within the runs.
    """
    files = read_writes(values["write"])
    pair = _pair(values)
    settings = read_settings(
        [*pair.base, *pair.new],
        fail_if=values["fail_if"],
        metric=values["metric"],
        effect=values["effect"],
        every_row=values["all"],
    )
    if not values["anyway"]:
        _refuse_differences(pair)
    seed = read_seed(values["seed"], "--seed")
    comparison = compare_pair(pair, settings, seed)
    code = exit_code(comparison.outcomes())
    emit(comparison_rendering(comparison, pair, seed, code), chosen_format(values), files)
    return code


# --- the sides


def _pair(values: Mapping[str, Any]) -> Pair:
    sources = [_Source(f"label {label}", _of_label(values["results"], label)) for label in values["label"]]
    sources += [_Source(text, _of_text(text)) for text in values["sides"]]
    firmwares: tuple[str, ...] = values["firmware"]
    if len(firmwares) > 2:
        raise UsageError(f"{len(firmwares)} firmwares are more than the two sides", where="--firmware")
    if values["baseline"]:
        return _against_baseline(sources, firmwares, values["results"])
    if len(sources) == 1:
        return _within(sources[0], firmwares)
    if len(sources) != 2:
        raise UsageError(
            f"{len(sources)} sides are named, not two" if sources else "no record is named",
            where="compare",
            remedy="Name BASE and NEW. Quote patterns, so that the shell does not expand them: 'results/*-base-*'.",
        )
    chosen = (firmwares[0], firmwares[-1]) if firmwares else (None, None)
    base, new = (source.load(firmware) for source, firmware in zip(sources, chosen, strict=True))
    return Pair(sources[0].name, sources[1].name, base, new, chosen, interleaved=False)


@dataclass(frozen=True, slots=True)
class _Source:
    """One side as it was named."""

    name: str
    load: Callable[[str | None], list[RunValues]]


def _of_label(results: str, label: str) -> Callable[[str | None], list[RunValues]]:
    folders = folders_with_label(results, label, COMPARABLE_FILES)
    return lambda firmware: [load_values(folder, firmware) for folder in folders]


def _of_text(text: str) -> Callable[[str | None], list[RunValues]]:
    path = Path(text)
    if is_baseline(path):
        return lambda _: read_baseline(path).run_values(text)
    folders = find_folders(text, COMPARABLE_FILES)
    return lambda firmware: [load_values(folder, firmware) for folder in folders]


def _against_baseline(sources: Sequence[_Source], firmwares: Sequence[str], results: str) -> Pair:
    if len(sources) != 1:
        raise UsageError(
            "--baseline is the one side, so exactly one other is named", where="compare", remedy="Name only NEW."
        )
    if len(firmwares) > 1:
        raise UsageError("a baseline has the numbers of all firmwares together", where="--firmware")
    new = sources[0].load(firmwares[0] if firmwares else None)
    path, baseline = baseline_for(new[0], Path(results))
    return Pair(str(path), sources[0].name, baseline.run_values(str(path)), new, (None, None), interleaved=False)


def _within(source: _Source, firmwares: Sequence[str]) -> Pair:
    """Two firmwares of the same runs."""
    names = _firmwares_of(source) if len(firmwares) != 2 else list(firmwares)
    base, new = (source.load(name) for name in names)
    return Pair(names[0], names[1], base, new, (names[0], names[1]), interleaved=True)


def _firmwares_of(source: _Source) -> list[str]:
    """The two firmwares of a set of runs.

    Raises:
        UsageError: there are not exactly two.
    """
    first = source.load(None)[0]
    folder = Path(first.shown)
    is_run = (folder / RUN_FILE).is_file()
    names = [facts.name for facts in load_run(folder).record.firmware] if is_run else []
    if len(names) == 2:
        return names
    remedy = "Name BASE and NEW, or one set of runs with two firmwares."
    if len(names) > 2:
        remedy = f"Choose two with --firmware: {', '.join(names)}."
    raise UsageError("only one side is named", where=source.name, remedy=remedy)


def _refuse_differences(pair: Pair) -> None:
    """Stop where the two sides answer different questions.

    Raises:
        UsageError: naming the differences.
    """
    found = [difference for difference in differences(pair.base, pair.new) if difference.policy == "refuse"]
    if not found:
        return
    if found[0].fact == "schema":
        raise UsageError(found[0].text.rstrip("."), where="compare", remedy="Compare records of one kind.")
    remedy = "Take both sides with the same scenario on the same machine, or compare with --anyway."
    raise UsageError("\n".join(difference.text for difference in found).rstrip("."), where="compare", remedy=remedy)
