"""A comparison of two sides that were read or measured: what is asked of it, and every form of its report."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click
import numpy as np

from loadgen.analysis.compare import EFFECT, Comparison, SecondsOf, SecondsOfSides, Settings, compare, runs_needed
from loadgen.analysis.conditions import Condition, parse_condition
from loadgen.analysis.cryptovalues import crypto_family
from loadgen.analysis.runvalues import DEFAULT_FAMILY, STATISTICS, RunValues
from loadgen.analysis.thresholds import ThresholdError
from loadgen.cli.formats import SEMICOLON_TEXT, Rendering
from loadgen.cli.records import load_run
from loadgen.config.bench import suggestion
from loadgen.config.values import text_error
from loadgen.errors import ExitCode, UsageError
from loadgen.protocol.stages import Stage
from loadgen.report.documents import comparison_document
from loadgen.report.github import comparison_annotations
from loadgen.report.junit import comparison_suite
from loadgen.report.markdown import comparison_markdown
from loadgen.report.tables import comparison_csv
from loadgen.report.verdict_text import write_comparison
from loadgen.report.verdicts import ComparisonSummary, summarise_comparison

DEFAULT_SEED: Final = 1
"""Of the resampling."""
_PERCENT: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?)\s*%")

fail_if_option = click.option(
    "--fail-if",
    metavar="TEXT",
    multiple=True,
    type=SEMICOLON_TEXT,
    help="Judge: 'handshake p99 +10%', or 'slower' for any verdict; repeatable.",
)


@dataclass(frozen=True, slots=True)
class Pair:
    """Both sides. ``interleaved``: they are two ``firmwares`` of the same runs."""

    base_name: str
    new_name: str
    base: list[RunValues]
    new: list[RunValues]
    firmwares: tuple[str | None, str | None] = (None, None)
    interleaved: bool = False


def compare_pair(pair: Pair, settings: Settings, seed: int) -> Comparison:
    """Compare both sides; histograms are read where the runs alone are too few.

    Raises:
        UsageError: a log of histograms is damaged.
    """
    return compare(
        pair.base,
        pair.new,
        settings,
        np.random.default_rng(seed),
        interleaved=pair.interleaved,
        seconds=_seconds(pair, settings),
    )


def _seconds(pair: Pair, settings: Settings) -> SecondsOfSides | None:
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


def read_settings(
    runs: Sequence[RunValues],
    *,
    fail_if: Sequence[str] = (),
    metric: Sequence[str] = (),
    effect: str | None = None,
    every_row: bool = False,
) -> Settings:
    """What is asked of a comparison, from the texts of options.

    Args:
        runs: runs of both sides; their metrics may be asked for, beside those that any run can have.
        fail_if: conditions.
        metric: the family; none: the default one.
        effect: smallest change that matters, such as ``2%``.
        every_row: show all metrics.

    Raises:
        UsageError: one of the texts cannot be read.
    """
    present = dict.fromkeys(name for run in runs for name in run.values)
    metrics = [*present, *(name for name in _possible_metrics() if name not in present)]
    return Settings(
        family=tuple(_metric(text, metrics) for text in metric) or _default_family(list(present)),
        effect=EFFECT if effect is None else _effect(effect),
        conditions=tuple(_condition(text, metrics) for text in fail_if),
        every_row=every_row,
    )


def _possible_metrics() -> list[str]:
    """What a run can have; a metric that no run has is no data, not a mistake."""
    whole = ["failures rate", "completed rate", "generator cpu"]
    return [f"{stage} {name}" for stage in Stage for name in STATISTICS] + whole


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


def comparison_rendering(comparison: Comparison, pair: Pair, seed: int, code: ExitCode) -> Rendering:
    """Every form of a comparison's report. ``code`` is the exit code that follows."""
    names = (pair.base_name, pair.new_name)
    summary: ComparisonSummary = summarise_comparison(comparison, *names)
    started_at = max((run.started_at for run in comparison.new or comparison.base), default="")
    return Rendering(
        terminal=lambda stream: write_comparison(summary, stream),
        markdown=lambda: comparison_markdown(summary),
        csv=lambda: comparison_csv(comparison),
        json=lambda: comparison_document(comparison, *names, seed=seed, exit_code=code),
        suites=lambda: [comparison_suite(summary, started_at)],
        annotations=lambda: comparison_annotations(summary),
    )
