"""``loadgen compare``: two sets of records, or two firmwares of the same runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import numpy as np

from loadgen.analysis.compare import EFFECT, Comparison, SecondsOf, SecondsOfSides, Settings, compare, runs_needed
from loadgen.analysis.conditions import Condition, parse_condition
from loadgen.analysis.cryptovalues import crypto_family
from loadgen.analysis.outcomes import exit_code
from loadgen.analysis.runvalues import DEFAULT_FAMILY, STATISTICS, RunValues, differences
from loadgen.analysis.thresholds import ThresholdError
from loadgen.cli.baselines import baseline_for, is_baseline, read_baseline
from loadgen.cli.formats import SEMICOLON_TEXT, Rendering, chosen_format, emit, format_options, read_writes
from loadgen.cli.records import (
    COMPARABLE_FILES,
    find_folders,
    folders_with_label,
    load_run,
    load_values,
    results_option,
    text_error,
)
from loadgen.config.bench import suggestion
from loadgen.config.values import read_seed
from loadgen.errors import ExitCode, UsageError
from loadgen.protocol.stages import Stage
from loadgen.report.documents import comparison_document
from loadgen.report.github import comparison_annotations
from loadgen.report.junit import comparison_suite
from loadgen.report.markdown import comparison_markdown
from loadgen.report.tables import comparison_csv
from loadgen.report.verdict_text import write_comparison
from loadgen.report.verdicts import ComparisonSummary, summarise_comparison
from loadgen.store import RUN_FILE

DEFAULT_SEED: Final = 1
EXIT_CODES: Final = (
    "Exit codes: 0 whatever is found; with --fail-if 4 for a regression and 5 for inconclusive. "
    "2 if the sides cannot be compared, 6 if there is no baseline."
)
_PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%")


@click.command("compare", epilog=EXIT_CODES)
@click.argument("sides", nargs=-1, metavar="[BASE] NEW")
@click.option("--label", metavar="NAME", multiple=True, help="A side: every record with this label.")
@click.option("--baseline", is_flag=True, help="BASE is the baseline of NEW's scenario and machine.")
@click.option("--firmware", metavar="NAME", multiple=True, help="One firmware only; twice: BASE's, NEW's.")
@click.option(
    "--fail-if",
    metavar="TEXT",
    multiple=True,
    type=SEMICOLON_TEXT,
    help="Judge: 'handshake p99 +10%', or 'slower' for any verdict; repeatable.",
)
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
    settings = _settings(values, pair)
    if not values["anyway"]:
        _refuse_differences(pair)
    seed = read_seed(values["seed"], "--seed")
    comparison = compare(
        pair.base,
        pair.new,
        settings,
        np.random.default_rng(seed),
        interleaved=pair.interleaved,
        seconds=_seconds(pair, settings),
    )
    code = exit_code(comparison.outcomes())
    rendering = _rendering(comparison, pair, seed, code)
    emit(rendering, chosen_format(values), files)
    return code


# --- the sides


@dataclass(frozen=True, slots=True)
class _Pair:
    """Both sides, read."""

    base_name: str
    new_name: str
    base: list[RunValues]
    new: list[RunValues]
    firmwares: tuple[str | None, str | None]
    interleaved: bool


def _pair(values: Mapping[str, Any]) -> _Pair:
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
    return _Pair(sources[0].name, sources[1].name, base, new, chosen, interleaved=False)


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


def _against_baseline(sources: Sequence[_Source], firmwares: Sequence[str], results: str) -> _Pair:
    if len(sources) != 1:
        raise UsageError(
            "--baseline is the one side, so exactly one other is named", where="compare", remedy="Name only NEW."
        )
    if len(firmwares) > 1:
        raise UsageError("a baseline has the numbers of all firmwares together", where="--firmware")
    new = sources[0].load(firmwares[0] if firmwares else None)
    path, baseline = baseline_for(new[0], Path(results))
    return _Pair(str(path), sources[0].name, baseline.run_values(str(path)), new, (None, None), interleaved=False)


def _within(source: _Source, firmwares: Sequence[str]) -> _Pair:
    """Two firmwares of the same runs."""
    names = _firmwares_of(source) if len(firmwares) != 2 else list(firmwares)
    base, new = (source.load(name) for name in names)
    return _Pair(names[0], names[1], base, new, (names[0], names[1]), interleaved=True)


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


def _refuse_differences(pair: _Pair) -> None:
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


def _seconds(pair: _Pair, settings: Settings) -> SecondsOfSides | None:
    """One-second histograms of both sides, where the runs alone are too few for a verdict."""
    sound = [[run for run in side if not run.problem] for side in (pair.base, pair.new)]
    fewest = min(map(len, sound))
    few = fewest < runs_needed(len(settings.whole_family)) if pair.interleaved else fewest == 1
    if not few:
        return None
    base, new = (
        {run.id: _seconds_of(Path(run.shown), firmware) for run in side if Path(run.shown).is_dir()}
        for side, firmware in zip(sound, pair.firmwares, strict=True)
    )
    return base, new


def _seconds_of(folder: Path, firmware: str | None) -> SecondsOf:
    run = load_run(folder)
    return lambda stage: run.seconds(stage, firmware)


# --- what is asked


def _settings(values: Mapping[str, Any], pair: _Pair) -> Settings:
    present = dict.fromkeys(name for run in (*pair.base, *pair.new) for name in run.values)
    metrics = [*present, *(name for name in _possible_metrics() if name not in present)]
    family = tuple(_metric(text, metrics) for text in values["metric"]) or _default_family(list(present))
    return Settings(
        family=family,
        effect=_effect(values["effect"]),
        conditions=tuple(_condition(text, metrics) for text in values["fail_if"]),
        every_row=values["all"],
    )


def _possible_metrics() -> list[str]:
    """What a run can have; a metric that no run has is no data, not a mistake."""
    return [f"{stage} {name}" for stage in Stage for name in STATISTICS] + ["failures rate", "completed rate"]


def _default_family(present: Sequence[str]) -> tuple[str, ...]:
    """That of runs; of other records every metric they have."""
    stages = {stage.value for stage in Stage}
    if not present or any(name.partition(" ")[0] in stages for name in present):
        return DEFAULT_FAMILY
    return crypto_family(present) or tuple(present)


def _metric(text: str, metrics: Sequence[str]) -> str:
    if text in metrics:
        return text
    raise UsageError(
        f"{text!r} is no metric", where="--metric", remedy=f"{suggestion(text, metrics)}Write for example 'key p99'."
    )


def _condition(text: str, metrics: Sequence[str]) -> Condition:
    try:
        return parse_condition(text, metrics)
    except ThresholdError as error:
        raise text_error(error, "--fail-if") from None


def _effect(text: str) -> float:
    match = _PERCENT.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text!r} is no percentage", where="--effect", remedy="Write for example 2%.")
    return float(match[1]) / 100


# --- showing it


def _rendering(comparison: Comparison, pair: _Pair, seed: int, code: ExitCode) -> Rendering:
    names = (pair.base_name, pair.new_name)
    summary: ComparisonSummary = summarise_comparison(comparison, *names)
    started_at = max((run.started_at for run in comparison.new), default="")
    return Rendering(
        terminal=lambda stream: write_comparison(summary, stream),
        markdown=lambda: comparison_markdown(summary),
        csv=lambda: comparison_csv(comparison),
        json=lambda: comparison_document(comparison, *names, seed=seed, exit_code=code),
        suites=lambda: [comparison_suite(summary, started_at)],
        annotations=lambda: comparison_annotations(summary),
    )
