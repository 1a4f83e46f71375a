"""The live page of a run: the whole of it, and what a second changes in it. Pure.

A browser gets the whole page once. Then come events, each with what the second added to the plots over time; every few
seconds also the words and tables, and the plots that have no newest point. An event is relative to those before it:
whoever has missed one gets everything anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, TypeAlias

import msgspec

from loadgen.analysis.gates import GateResult, RunView, stored_result, view_of_record
from loadgen.analysis.thresholds import ThresholdError
from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram
from loadgen.recording.record import FirmwareFacts, RunRecord, stages_of
from loadgen.report import overtime
from loadgen.report.dashboard.history import History
from loadgen.report.dashboard.messages import Key, Update
from loadgen.report.dashboard.standing import Thresholds
from loadgen.report.dashboard.words import ENDED, running_verdict, status
from loadgen.report.detail import LADDER_STAGES
from loadgen.report.html import Drawings, Part, final_verdict, navigation, run_part, table_of
from loadgen.report.markup import Markup, element
from loadgen.report.overtime import TimePlot
from loadgen.report.plots import Plot, RunData
from loadgen.report.summary import announcement, summarise
from loadgen.report.verdicts import GateSummary, summarise_gates
from loadgen.units import format_ns

WORDS_EVERY: Final = 5
"""Seconds after which words and tables are made anew; what is newest in the plots over time comes every second."""
WORDS_AT_FIRST: Final = 10
"""In so many first seconds that is every second: there is little of anything, and people look."""

Event: TypeAlias = dict[str, Any]
"""What the page's script is told, as JSON."""

_ANCHOR: Final = "run-0"
_WAITING: Final = Part(element("article", element("h1", "Waiting for the run to begin"), id=_ANCHOR), ())


@dataclass(frozen=True, slots=True)
class _Shown:
    """What browsers have: words, plots, and where the newest point of a plot comes from."""

    part: Part = _WAITING
    title: str = "loadgen"
    gates: GateSummary | None = None
    plots: Mapping[str, Plot] = field(default_factory=dict)
    over_time: Mapping[str, TimePlot] = field(default_factory=dict)
    """Of the plots that grow by points, by id."""

    @property
    def heat(self) -> str | None:
        """Id of the heat map."""
        return next((name for name, plot in self.plots.items() if plot.kind == "heat"), None)


class LivePage:
    """The page of the run that goes on; in a series of the one that does so now.

    Use: :meth:`take` each update. While somebody watches, send :meth:`event` after each, and before :meth:`whole` goes
    to somebody new, :meth:`renewed` to all others unless :attr:`fresh`.
    """

    def __init__(self) -> None:
        self.fresh = True
        """Browsers have been told everything there is."""
        self._update: Update | None = None
        self._history = History()
        self._thresholds: Thresholds | None = None
        self._shown = _Shown()
        self._most = 0
        self._over = False
        self._words_s = 0
        self._untold = 0

    def take(self, update: Update) -> None:
        """The run has got so far."""
        if self._update is None or self._update.run != update.run:
            self._history, self._thresholds = History(), Thresholds(update.record)
            self._shown, self._words_s = _Shown(), 0
        self._update, self.fresh = update, False
        self._untold += 1
        if update.line is not None and self._thresholds is not None:
            histograms = {(packed.stage, packed.firmware): packed.unpack() for packed in update.histograms}
            self._history.add(update.line, histograms)
            self._thresholds.second(update.line, histograms)

    def end(self) -> None:
        """No run follows any more."""
        self._over = True

    def status(self) -> Event:
        """The line above the page."""
        return {"status": status(self._update, over=self._over)}

    def event(self) -> Event:
        """What the last update changes for those who have everything before it."""
        update, gates = self._update, self._shown.gates
        if update is None or self.fresh:
            return self.status()
        grown = self._grown(self._shown)
        if gates is None or grown is None or self._words_due(update):
            return self.renewed()
        self._untold = 0
        return {**self.status(), "verdict": str(running_verdict(update, gates)), "grown": grown}

    def renewed(self) -> Event:
        """All words, and every plot as far as it is not what browsers have and only grows."""
        before = self._shown
        grown = self._grown(before) or {}
        event = self._anew()
        event["grown"] = {name: point for name, point in grown.items() if _continues(before, self._shown, name)}
        for name in event["grown"]:
            del event["plots"][name]
        return event

    def whole(self) -> Event:
        """Everything, for whoever has nothing."""
        return {**(self._told() if self.fresh else self._anew()), "whole": True}

    def table(self, name: str) -> Markup | None:
        """The table behind a plot; None where there is no such plot."""
        plot = self._shown.plots.get(name)
        return None if plot is None else table_of(plot)

    def _anew(self) -> Event:
        if self._update is not None:
            self._shown = self._draw(self._update)
            self._words_s = self._history.end_s
        self.fresh, self._untold = True, 0
        return self._told()

    def _told(self) -> Event:
        shown = self._shown
        links = [(block.anchor, block.title) for block in shown.part.blocks]
        return {
            **self.status(),
            "title": shown.title,
            "nav": str(navigation(links or [(_ANCHOR, "The run")])),
            "main": str(shown.part.markup),
            "plots": {name: {"kind": plot.kind, "data": plot.data} for name, plot in shown.plots.items()},
        }

    # --- what grows

    def _words_due(self, update: Update) -> bool:
        since_s = self._history.end_s - self._words_s
        return update.line is None or since_s >= WORDS_EVERY or self._history.end_s <= WORDS_AT_FIRST

    def _grown(self, shown: _Shown) -> Event | None:
        """The newest points of plots, by id; None where there is more to a plot than a point."""
        update, history = self._update, self._history
        if update is None or update.line is None or shown.gates is None:
            return {}
        if self._untold > 1:
            return None
        run = RunData(update.record, "", shown.gates, intervals=history.lines, resolution=history.resolution)
        grown: Event = {}
        for name, source in shown.over_time.items():
            if shown.plots[name].data["width"] != run.resolution.line_s:
                return None
            grown[name] = {"points": source.newest(run)}
        heat = shown.heat
        if heat is not None:
            column = self._heat_column(shown.plots[heat])
            if column is None:
                return None
            grown[heat] = column
        return grown

    def _heat_column(self, plot: Plot) -> Event | None:
        """The newest column of the heat map; None where its rows or columns are not the same any more."""
        history, data = self._history, plot.data
        width = history.resolution.histogram_s
        bounds_ns = overtime.bucket_bounds_ns(found for found in history.columns.values() if found.count)
        if data["width"] != width or data["rows"] != [format_ns(bound) for bound in bounds_ns]:
            return None
        begin, found = max(history.columns.items())
        cells = overtime.heat_cells(begin // width, found, bounds_ns) if found.count else []
        self._most = max(self._most, *(count for _, _, count in cells), 1)
        time = overtime.span(begin, width)
        return {"column": begin // width, "begin": begin, "time": time, "cells": cells, "most": self._most}

    # --- everything

    def _draw(self, update: Update) -> _Shown:
        ended = update.phase in ENDED
        record = update.record if ended else self._so_far(update.record)
        drawn = Drawings(live=not ended)  # afterwards nobody can be asked for what is left out
        summary = summarise(record, update.path)
        if not ended:
            summary = replace(summary, headline=announcement(record))
        results = _stored(record) if ended else self._standing(record)
        gates = summarise_gates(record, update.path, results, self._view(record))
        verdict = final_verdict(summary, gates) if ended else running_verdict(update, gates)
        part = run_part(self._run_data(record, update.path, gates), summary, verdict, _ANCHOR, drawn)
        sources = {source.title: source for source in overtime.time_plots(self._history.lines)}
        over_time = {name: sources[plot.title] for name, plot in drawn.plots.items() if plot.title in sources}
        word = summary.verdict if ended else update.phase
        title = f"{word}: {record.scenario.get('name', 'run')} – loadgen"
        shown = _Shown(part, title, gates, drawn.plots, over_time)
        self._most = 0 if shown.heat is None else shown.plots[shown.heat].data["most"]
        return shown

    def _so_far(self, record: RunRecord) -> RunRecord:
        """The record with the statistics of its stages."""
        stages = stages_of(self._history.total)
        if len(record.firmware) == 1:
            firmware = [msgspec.structs.replace(record.firmware[0], stages=stages)]
        else:
            firmware = [self._firmware_so_far(facts) for facts in record.firmware]
        return msgspec.structs.replace(record, stages=stages, firmware=firmware)

    def _firmware_so_far(self, facts: FirmwareFacts) -> FirmwareFacts:
        total = self._history.total
        return msgspec.structs.replace(facts, stages=stages_of(lambda stage: total(stage, facts.name)))

    def _run_data(self, record: RunRecord, path: str, gates: GateSummary) -> RunData:
        """The run as plots take it."""
        history = self._history
        keys: list[Key] = [(stage, None) for stage in LADDER_STAGES]
        keys += [(Stage.HANDSHAKE, facts.name) for facts in record.firmware if len(record.firmware) > 1]
        return RunData(
            record,
            path,
            gates,
            seconds={(Stage.HANDSHAKE, None): history.columns},
            intervals=history.lines,
            resolution=history.resolution,
            totals={key: history.total(*key) for key in keys},
        )

    def _view(self, record: RunRecord) -> RunView:
        """As thresholds look at a run; over windows they are watched second by second."""

        def total(stage: Stage, firmware: str | None) -> Mapping[int, Histogram]:
            return {0: self._history.total(stage, firmware)}

        return view_of_record(record, total, list)

    def _standing(self, record: RunRecord) -> list[GateResult]:
        return [] if self._thresholds is None else self._thresholds.results(self._view(record))


def _continues(before: _Shown, after: _Shown, name: str) -> bool:
    """Whether a plot is the one that browsers have, but for its newest point."""
    old, new = before.plots[name], after.plots.get(name)
    if new is None or (old.kind, old.title) != (new.kind, new.title):
        return False
    if old.kind == "heat":
        return True  # its rows and columns were compared when it grew
    return list(before.over_time[name].lines) == list(after.over_time[name].lines)


def _stored(record: RunRecord) -> list[GateResult]:
    results = []
    for stored in record.thresholds:
        try:
            results.append(stored_result(stored))
        except ThresholdError:  # of another version; this run has made it
            continue
    return results
