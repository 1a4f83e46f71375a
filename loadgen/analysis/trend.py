"""Stored runs as a history: which of them belong together, and how a number went from run to run.

Runs belong to one history when scenario and machine are the same. Within it a run counts for the trend only if it may
be believed and asked the same question as the newest one: another rate, target, firmware or crypto backend is another
question. What a history is for may differ: versions of loadgen, Python, OpenSSL and the kernel, and the day.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from loadgen.analysis.runvalues import RunValues, fingerprint, policy_of
from loadgen.analysis.statistics import median

_ALSO_ASKED: Final = frozenset({"target", "firmware", "crypto backend", "timestamps"})
"""Facts that a comparison only warns of, and that still make it another question."""


class HistoryRow(msgspec.Struct, frozen=True, kw_only=True):
    """One stored run, as far as a history needs it.

    Attributes:
        folder: name of its folder.
        scenario: name of its scenario; ``crypto`` for a crypto benchmark.
        machine: 8 hexadecimal digits that stand for its machine.
        status: ``complete``, ``interrupted`` or ``running``.
        values: the numbers of the run and its facts; see :class:`~loadgen.analysis.runvalues.RunValues`.
    """

    folder: str
    scenario: str
    machine: str
    status: str
    values: RunValues

    @property
    def processor(self) -> str:
        """Model of the machine's processor."""
        return self.values.facts.get("machine: processor", "unknown processor")


def row_of(folder: str, status: str, values: RunValues) -> HistoryRow:
    """The row of a run whose numbers are known."""
    return HistoryRow(
        folder=folder,
        scenario=values.facts.get("scenario name", ""),
        machine=fingerprint(values.facts),
        status=status,
        values=values,
    )


def asked_otherwise(facts: Mapping[str, str], newest: Mapping[str, str]) -> list[str]:
    """Facts in which a run asked another question than the newest one, with their values."""
    names = dict.fromkeys([*facts, *newest])
    asked = [name for name in names if name in _ALSO_ASKED or policy_of(name) == "refuse"]
    return [
        f"{name.removeprefix('scenario ')} {facts.get(name, 'not known')}"
        for name in asked
        if facts.get(name) != newest.get(name)
    ]


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """One number over the runs that count, the oldest first.

    Attributes:
        metric: its name, such as ``handshake p99``.
        unit: ``us``, ``share``, ``per_s`` or ``count``.
        points: its values; at least one.
        usual: median of all points but the latest; None where there is only one.
        change: of the latest against ``usual``, as a fraction; None without it, or where it is 0.
    """

    metric: str
    unit: str
    points: tuple[float, ...]
    usual: float | None
    change: float | None


class History(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of one scenario on one machine, the oldest first.

    Attributes:
        rows: runs that are shown.
        notes: for each of them, why it does not count for the trend; empty if it does.
        trends: one for each metric that at least one counting run has.
        total: number of runs, with those that are not shown.
    """

    rows: tuple[HistoryRow, ...]
    notes: tuple[str, ...]
    trends: tuple[Trend, ...]
    total: int


def history_of(rows: Sequence[HistoryRow], metrics: Sequence[str], total: int) -> History:
    """What the runs of one scenario on one machine show.

    Args:
        rows: the oldest first; at least one.
        metrics: numbers to follow.
        total: how many runs there are, with those left out of ``rows``.
    """
    believed = [row for row in rows if not row.values.problem]
    newest = (believed or list(rows))[-1].values.facts
    notes = tuple(row.values.problem or ", ".join(asked_otherwise(row.values.facts, newest)) for row in rows)
    counting = [row.values for row, note in zip(rows, notes, strict=True) if not note]
    trends = (_trend(metric, counting) for metric in metrics)
    return History(
        rows=tuple(rows), notes=notes, trends=tuple(trend for trend in trends if trend is not None), total=total
    )


def _trend(metric: str, runs: Sequence[RunValues]) -> Trend | None:
    having = [run for run in runs if metric in run.values]
    if not having:
        return None
    points = tuple(run.values[metric] for run in having)
    usual = median(points[:-1]) if len(points) > 1 else None
    change = points[-1] / usual - 1 if usual else None
    return Trend(metric=metric, unit=having[-1].units[metric], points=points, usual=usual, change=change)
