"""Updates of a run that goes on, made up, and a browser that only knows what it has been told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram
from loadgen.recording.record import Counts, IntervalLine, RunRecord
from loadgen.report.dashboard.livepage import Event
from loadgen.report.dashboard.messages import Update, pack_second
from tests.report.made_logs import second_of
from tests.report.samples import good_record
from tests.report.test_plots import line

FIRMWARE = "p1@0.7.0"


@dataclass(frozen=True)
class MadeInterval:
    """What is packed of a second of the recorder."""

    histograms: dict[Stage, Histogram]
    firmwares: tuple[str, ...] = (FIRMWARE,)

    def histogram(self, stage: Stage, firmware: str | None = None) -> Histogram:
        """The same of every firmware."""
        return self.histograms.get(stage) or Histogram.empty()


def running_record(**changes: Any) -> RunRecord:
    """A record as it begins."""
    plain = msgspec.structs.replace(good_record(), status="running", stages={}, failures=[], counts=Counts())
    return msgspec.structs.replace(plain, **changes)


def update_of(
    second: int | None,
    *,
    completed: int = 50,
    kinds: dict[str, int] | None = None,
    record: RunRecord | None = None,
    phase: str = "running",
    run: int = 1,
    runs: int = 1,
    firmwares: tuple[str, ...] = (FIRMWARE,),
) -> Update:
    """How a run stands after one of its seconds, in which so many handshakes completed; None: no second of it."""
    if record is None:
        done = 0 if second is None else (second + 1) * completed
        record = running_record(counts=Counts(intended=done, started=done, completed=done))
    happened: IntervalLine | None = None
    found: dict[Stage, Histogram] = {}
    if second is not None:
        happened = line(second, completed=completed, kinds=kinds)
        found = second_of(np.random.default_rng(second), second, completed) if completed else {}
    interval = MadeInterval(found, firmwares)
    return Update(
        run=run,
        runs=runs,
        phase=phase,
        elapsed_s=float((second or 0) + 1),
        share=0.5,
        in_flight=3,
        record=record,
        path="results/made",
        line=happened,
        histograms=pack_second(interval) if second is not None else [],  # type: ignore[arg-type]
    )


class ToldBrowser:
    """Applies events to plots as the page's script does."""

    def __init__(self, whole: Event) -> None:
        self.plots: dict[str, Any] = {}
        self.main = ""
        self.hear(whole)

    def hear(self, event: Event) -> None:
        """One event."""
        event = msgspec.json.decode(msgspec.json.encode(event))
        self.main = event.get("main", self.main)
        if event.get("whole"):
            self.plots = {}
        self.plots.update(event.get("plots", {}))
        for name, newest in event.get("grown", {}).items():
            data = self.plots[name]["data"]
            if self.plots[name]["kind"] == "heat":
                self._column(data, newest)
            else:
                for known, point in zip(data["lines"], newest["points"], strict=True):
                    points = known["points"]
                    if points and points[-1][0] == point[0]:
                        points[-1] = point
                    else:
                        points.append(point)

    @staticmethod
    def _column(data: Any, newest: Any) -> None:
        column = newest["column"]
        data["cells"] = [cell for cell in data["cells"] if cell[0] != column] + newest["cells"]
        for name, value in (("begins", newest["begin"]), ("times", newest["time"])):
            data[name][column:] = [value]
        data["most"] = newest["most"]
