"""Comparison of two sets of runs. The unit is the run.

A verdict needs two things: a difference that chance alone would seldom give (Mann–Whitney over the runs' values,
Holm-corrected over a family declared beforehand), and a size that matters. Both error rates are measured by
``tests/analysis/test_verdict_rates.py``. With too few runs for the test to reach its level the verdict is
"inconclusive", whatever the numbers look like; only sides that were interleaved within runs are told apart
without many runs, by blocks of seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from loadgen.analysis.blocks import BlockChange, Seconds, compare_blocks
from loadgen.analysis.conditions import SLOWER, Condition
from loadgen.analysis.outcomes import Outcome
from loadgen.analysis.runvalues import (
    DEFAULT_FAMILY,
    STATISTICS,
    Difference,
    RunValues,
    differences,
    higher_is_better,
    stage_metric,
)
from loadgen.analysis.statistics import (
    bootstrap_change,
    holm,
    mann_whitney,
    median,
    noise_of,
    rank_shift,
    smallest_p,
)
from loadgen.protocol.stages import Stage

Verdict = Literal["slower", "faster", "none", "inconclusive", "no data", ""]
"""``none``: nothing is shown (``~``). Empty: a row outside the family."""
Design = Literal["runs", "interleaved", "single"]
"""``runs``: several a side. ``interleaved``: both sides in the same runs. ``single``: one run on one side at least."""
Range = tuple[float, float]

ALPHA: Final = 0.05
"""Chance of any false verdict in the whole family."""
EFFECT: Final = 0.02
"""Smallest change that matters, unless set."""
NOISE_FACTOR: Final = 3
"""A limit nearer than so many times the run-to-run noise fails or stays undecided by chance."""

_STATISTICS_SHOWN: Final = ("p50", "p99")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What is asked of a comparison.

    Attributes:
        family: metrics that verdicts are given for, declared before looking.
        effect: smallest change that matters, 0.02 for 2 %.
        conditions: what it is judged by; empty: not judged.
        every_row: show all metrics, not only medians and p99.
    """

    family: tuple[str, ...] = DEFAULT_FAMILY
    effect: float = EFFECT
    conditions: tuple[Condition, ...] = ()
    every_row: bool = False

    @property
    def whole_family(self) -> tuple[str, ...]:
        """The family with the metrics of the conditions: what is judged is corrected for."""
        return tuple(dict.fromkeys((*self.family, *(c.metric for c in self.conditions if c.metric))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """One side of a row: the median over its runs."""

    value: float | None
    noise: float | None
    """Standard deviation ÷ mean over the runs, None for fewer than 3."""
    runs: int
    """Runs that have the metric."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One metric.

    Attributes:
        metric: its name.
        unit: unit of both values.
        base, new: the sides.
        change: new ÷ base − 1, None where there is none.
        interval: its 95 % confidence interval, not corrected for the number of rows.
        p: p-value of the test, None where there was none.
        p_adjusted: the same, Holm-corrected over the family; None outside it.
        verdict: empty outside the family.
        note: why it is undecided, or why a shown change is no verdict; may be empty.
    """

    metric: str
    unit: str
    base: Side
    new: Side
    change: float | None
    interval: Range | None
    p: float | None
    p_adjusted: float | None
    verdict: Verdict
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """How one condition went: ``pass``, ``fail`` (a regression) or ``inconclusive``, and why in one sentence."""

    condition: Condition
    outcome: Literal["pass", "fail", "inconclusive"]
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """Something that limits what a comparison is worth."""

    code: str
    text: str
    remedy: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Everything that a comparison found.

    Attributes:
        base, new: the runs that were compared.
        left_out: runs whose numbers may not be believed.
        design: how the sides were measured.
        settings: what was asked.
        rows: the family first.
        judged: the conditions' outcomes.
        cautions: what limits it, the weightiest first.
        differences: facts that do not agree.
    """

    base: tuple[RunValues, ...]
    new: tuple[RunValues, ...]
    left_out: tuple[RunValues, ...]
    design: Design
    settings: Settings
    rows: tuple[Row, ...]
    judged: tuple[Judged, ...]
    cautions: tuple[Caution, ...]
    differences: tuple[Difference, ...]

    def outcomes(self) -> list[Outcome]:
        """For the exit code; nothing where it was not judged."""
        if self.judged and not (self.base and self.new):
            return [Outcome.INVALID]
        named = {"pass": Outcome.FINE, "fail": Outcome.REGRESSION, "inconclusive": Outcome.NO_DATA}
        return [named[judged.outcome] for judged in self.judged]


SecondsOf = Callable[[Stage], Seconds | None]
"""Finds a run's histograms of a stage by second; None where it has no log of them."""
SecondsOfSides = tuple[Mapping[str, SecondsOf], Mapping[str, SecondsOf]]
"""The same of both sides, by the run's id."""


def compare(
    base: Sequence[RunValues],
    new: Sequence[RunValues],
    settings: Settings,
    generator: np.random.Generator,
    *,
    interleaved: bool = False,
    seconds: SecondsOfSides | None = None,
) -> Comparison:
    """Compare two sets of runs.

    Args:
        base: the runs that are compared against.
        new: the runs in question. With ``interleaved`` the same runs in the same order, of another firmware.
        settings: what is asked.
        generator: draws resamples; the same seed gives the same comparison.
        interleaved: both sides were in the same runs.
        seconds: one-second histograms of both sides; used where the runs are too few.
    """
    sound = [[run for run in side if not run.problem] for side in (base, new)]
    left_out = tuple(dict.fromkeys(run.id for side in (base, new) for run in side if run.problem))
    by_id = {run.id: run for run in (*base, *new)}
    design: Design = "interleaved" if interleaved else "single" if min(map(len, sound)) < 2 else "runs"
    rows = _Rows((sound[0], sound[1]), settings, generator, design=design, seconds=seconds).rows()
    found = differences(*sound) if all(sound) else []
    if interleaved:
        found = [difference for difference in found if difference.fact != "firmware"]
    return Comparison(
        base=tuple(sound[0]),
        new=tuple(sound[1]),
        left_out=tuple(by_id[run_id] for run_id in left_out),
        design=design,
        settings=settings,
        rows=rows,
        judged=tuple(_judge(condition, rows, settings) for condition in settings.conditions),
        cautions=tuple(_cautions([by_id[run_id] for run_id in left_out], sound, design, settings, rows)),
        differences=tuple(found),
    )


def runs_needed(family: int) -> int:
    """Runs a side from which the test can reach its level in a family of so many metrics."""
    runs = 2
    while smallest_p(runs, runs) * family > ALPHA:
        runs += 1
    return runs


# --- rows


class _Rows:
    """Makes the rows of one comparison."""

    def __init__(
        self,
        sides: tuple[Sequence[RunValues], Sequence[RunValues]],
        settings: Settings,
        generator: np.random.Generator,
        *,
        design: Design,
        seconds: SecondsOfSides | None,
    ) -> None:
        self.sides = sides
        self.settings = settings
        self.generator = generator
        self.design = design
        self.family = settings.whole_family
        self.units = {name: unit for side in self.sides for run in side for name, unit in run.units.items()}
        few = min(map(len, self.sides)) < runs_needed(len(self.family))
        self.by_blocks = seconds is not None and (design == "single" or (design == "interleaved" and few))
        self.blocks = self._blocks(seconds) if seconds is not None and self.by_blocks else {}

    def rows(self) -> tuple[Row, ...]:
        others = [name for name in self._names() if name not in self.family]
        drafts = [self._draft(name) for name in (*self.family, *others)]
        of_family = drafts[: len(self.family)]
        adjusted = holm([1.0 if draft.p is None else draft.p for draft in of_family])
        judged = [self._with_verdict(draft, p) for draft, p in zip(of_family, adjusted, strict=True)]
        return (*judged, *drafts[len(self.family) :])

    def _names(self) -> list[str]:
        names = dict.fromkeys(name for side in self.sides for run in side for name in run.values)
        if self.settings.every_row:
            return list(names)
        return [
            name
            for name in names
            if name.rpartition(" ")[2] in _STATISTICS_SHOWN or name.rpartition(" ")[2] not in STATISTICS
        ]

    def _blocks(self, seconds: SecondsOfSides) -> dict[str, BlockChange]:
        """Changes by metric, for all percentiles at once."""
        wanted: dict[Stage, dict[float, str]] = {}
        for name in (*self.family, *self._names()):
            percentile = stage_metric(name)
            if percentile is not None and all(name in run.values for side in self.sides for run in side):
                wanted.setdefault(percentile[0], {})[percentile[1]] = name
        found: dict[str, BlockChange] = {}
        for stage, names in wanted.items():
            base, new = (
                [_found(of_side.get(run.id), stage) for run in side]
                for side, of_side in zip(self.sides, seconds, strict=True)
            )
            paired = self.design == "interleaved"
            changes = compare_blocks(base, new, list(names), self.generator, paired=paired)
            found |= {names[quantile]: change for quantile, change in changes.items()}
        return found

    def _draft(self, name: str) -> Row:
        """A row without verdict."""
        base, new = ([run.values[name] for run in side if name in run.values] for side in self.sides)
        change = interval = p = None
        block = self.blocks.get(name)
        if block is not None:
            change, interval = block.change, (block.low, block.high)
            p = block.p if self.design == "interleaved" else None
        elif base and new:
            middle = median(base)
            change = median(new) / middle - 1 if middle > 0 else None
            if not self.by_blocks and change is not None and min(len(base), len(new)) > 1:
                interval = bootstrap_change(base, new, self.generator)
                p = mann_whitney(base, new)
        return Row(
            metric=name,
            unit=self.units.get(name, ""),
            base=_side(base),
            new=_side(new),
            change=change,
            interval=interval,
            p=p,
            p_adjusted=None,
            verdict="",
            note="",
        )

    def _with_verdict(self, row: Row, adjusted: float) -> Row:
        verdict, note = self._verdict(row, adjusted)
        return replace(row, p_adjusted=None if row.p is None else adjusted, verdict=verdict, note=note)

    def _verdict(self, row: Row, adjusted: float) -> tuple[Verdict, str]:
        if not (row.base.runs and row.new.runs) or row.change is None:
            return "no data", self._missing(row)
        undecidable = self._undecidable(row)
        if undecidable:
            return "inconclusive", undecidable
        if adjusted > ALPHA:
            return "none", ""
        if abs(row.change) < self.settings.effect:
            return "none", f"a change is shown, but smaller than the {self.settings.effect * 100:g} % that matter"
        if not self.by_blocks and self._contradicts(row):
            return "none", "the medians moved one way and most runs the other"
        worse = (row.change > 0) != higher_is_better(row.unit)
        return ("slower" if worse else "faster"), ""

    def _undecidable(self, row: Row) -> str:
        """Why the test cannot reach its level; empty if it can."""
        if self.design == "single":
            return "one run a side does not tell how much runs differ"
        if self.by_blocks:
            return "" if row.metric in self.blocks else "the run is too short: 10 s at least"
        if smallest_p(row.base.runs, row.new.runs) * len(self.family) > ALPHA:
            return f"too few runs: {runs_needed(len(self.family))} a side at least"
        return ""

    def _missing(self, row: Row) -> str:
        if not any(run.values for side in self.sides for run in side):
            return "no run to take it from"
        empty = [name for name, side in zip(("base", "new"), self.sides, strict=True) if not side]
        if empty:
            return f"no run in {empty[0]}"
        sides = [name for name, side in (("base", row.base), ("new", row.new)) if not side.runs]
        return f"no value in {' and '.join(sides)}: too few samples" if sides else "base is 0"

    def _contradicts(self, row: Row) -> bool:
        base, new = ([run.values[row.metric] for run in side if row.metric in run.values] for side in self.sides)
        return row.change is not None and rank_shift(base, new) * row.change < 0


def _found(seconds: SecondsOf | None, stage: Stage) -> Seconds:
    return (seconds(stage) if seconds is not None else None) or {}


def _side(values: Sequence[float]) -> Side:
    return Side(value=median(values) if values else None, noise=noise_of(values), runs=len(values))


# --- judging


def _judge(condition: Condition, rows: Sequence[Row], settings: Settings) -> Judged:
    if condition.text.lower() == SLOWER:
        return _judge_family(condition, [row for row in rows if row.metric in settings.family])
    row = next(row for row in rows if row.metric == condition.metric)
    if row.verdict in ("inconclusive", "no data") or row.change is None or row.p_adjusted is None:
        return Judged(condition=condition, outcome="inconclusive", text=f"{row.metric}: {row.note or 'no test'}.")
    shown = f"{row.metric} changed by {percent(row.change)}"
    if row.interval is not None:
        shown += f" (95 % interval {percent(row.interval[0])} to {percent(row.interval[1])})"
    limit = percent(condition.limit)
    if condition.reached(row.change):
        if row.p_adjusted <= ALPHA:
            return Judged(condition=condition, outcome="fail", text=f"{shown}, the limit is {limit}.")
        return Judged(condition=condition, outcome="inconclusive", text=f"{shown}, which chance alone could give.")
    if row.interval is not None and not any(condition.reached(end) for end in row.interval):
        return Judged(condition=condition, outcome="pass", text=f"{shown}, within the limit of {limit}.")
    return Judged(
        condition=condition,
        outcome="inconclusive",
        text=f"{shown}, which does not rule out {limit}: more runs would.",
    )


def _judge_family(condition: Condition, rows: Sequence[Row]) -> Judged:
    slower = [row.metric for row in rows if row.verdict == "slower"]
    if slower:
        return Judged(condition=condition, outcome="fail", text=f"Slower: {', '.join(slower)}.")
    open_rows = [row for row in rows if row.verdict in ("inconclusive", "no data")]
    if open_rows:
        names = ", ".join(row.metric for row in open_rows)
        return Judged(condition=condition, outcome="inconclusive", text=f"Undecided: {names}: {open_rows[0].note}.")
    return Judged(condition=condition, outcome="pass", text="No metric of the family is shown to be slower.")


def percent(share: float) -> str:
    """A change for people, with its sign: ``+4.9 %``."""
    if not math.isfinite(share):
        return "–"
    value = share * 100
    digits = 0 if abs(value) >= 99.5 else 1 if abs(value) >= 9.95 else 2
    text = f"{value:+.{digits}f} %"
    return text.replace("-", "−")


# --- cautions


def _cautions(
    left_out: Sequence[RunValues],
    sound: Sequence[Sequence[RunValues]],
    design: Design,
    settings: Settings,
    rows: Sequence[Row],
) -> list[Caution]:
    found = [
        Caution(
            code="left_out",
            text=f"{run.shown} is left out: {run.problem.rstrip('.')}.",
            remedy="Take the run again, or leave it out.",
        )
        for run in left_out
    ]
    return [*found, *_few_runs(sound, design, len(settings.whole_family)), *_narrow_conditions(settings, rows)]


def _few_runs(sound: Sequence[Sequence[RunValues]], design: Design, family: int) -> list[Caution]:
    """Too few runs for any verdict."""
    counts = [len(side) for side in sound]
    remedy = f"Take {runs_needed(family)} runs a side or more; 10 find a shift of 5 % at 2 % noise."
    if design == "single" and min(counts):
        text = "With one run a side nothing is known of how runs differ, so there is no verdict."
        return [Caution(code="one_run", text=text, remedy=remedy)]
    if design == "runs" and smallest_p(*counts) * family > ALPHA:
        text = f"{counts[0]} and {counts[1]} runs cannot give a verdict over {family} metrics."
        return [Caution(code="few_runs", text=text, remedy=remedy)]
    return []


def _narrow_conditions(settings: Settings, rows: Sequence[Row]) -> list[Caution]:
    """Conditions that lie within the noise."""
    found = []
    for condition in settings.conditions:
        noise = next((row.base.noise for row in rows if row.metric == condition.metric), None)
        if noise is not None and narrow_limit(abs(condition.limit), noise):
            found.append(
                Caution(
                    code="narrow_gate",
                    text=f"{condition.text}: the limit is narrower than three times the run-to-run noise of base "
                    f"({noise * 100:.2g} %), so chance decides.",
                    remedy=f"Allow at least {math.ceil(noise * NOISE_FACTOR * 100)} %, or make runs quieter: longer, "
                    "on a machine of their own.",
                )
            )
    return found


def narrow_limit(room: float, noise: float | None) -> bool:
    """Whether a limit lies nearer than :data:`NOISE_FACTOR` times the noise; both are shares."""
    return noise is not None and room < NOISE_FACTOR * noise
