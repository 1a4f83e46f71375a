"""Runs that are made up instead of measured, for commands that make several."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from loadgen.cli.measurement import Measurement, Planned
from loadgen.cli.records import StoredRun
from loadgen.cli.thresholds import make_gate
from loadgen.config.scenario import Scenario
from loadgen.config.target import HostPort
from loadgen.recording.record import RunRecord
from loadgen.report.metrics import Snapshot
from tests.analysis.runs import made_record, write

NOISE: Final = 0.005


class MadeRuns:
    """Takes the place of :func:`loadgen.cli.measurement.measure`.

    Args:
        factor: how many times as long the stages of a run of this scenario take.
        changes: by the run's number from 0: what becomes of its record; may raise.
        interrupted: number of the run that the user ends.
    """

    def __init__(
        self,
        factor: Callable[[Scenario], float] = lambda _: 1.0,
        changes: dict[int, Callable[[RunRecord], None]] | None = None,
        interrupted: int | None = None,
    ) -> None:
        self.scenarios: list[Scenario] = []
        self._factor = factor
        self._changes = changes or {}
        self._interrupted = interrupted

    @property
    def labels(self) -> Sequence[str | None]:
        """Of the runs that were made, in their order."""
        return [scenario.label for scenario in self.scenarios]

    def __call__(
        self,
        planned: Planned,
        *,
        abort_after_ns: int | None = None,
        quiet: bool,
        notes: bool = True,
        publish: Callable[[Snapshot], None] | None = None,
    ) -> Measurement:
        """Make a run of 20,000 handshakes."""
        del quiet, notes, publish
        scenario, number = planned.load.scenario, len(self.scenarios)
        self.scenarios.append(scenario)
        label = scenario.label or ""
        noise = np.random.default_rng([number, *label.encode()]).standard_normal()
        there = len(list(Path(scenario.out).glob("*/run.json")))
        index = (zlib.crc32(label.encode()) & 0xFFFF00) + there
        record = made_record(index, self._factor(scenario) * math.exp(NOISE * noise), label=label)
        record = msgspec.structs.replace(record, scenario={**record.scenario, "name": scenario.name}, thresholds=[])
        if number in self._changes:
            self._changes[number](record)
        if number == self._interrupted:
            record.status = "interrupted"
        folder = write(Path(scenario.out), record)
        gate = make_gate(scenario, 200.0, abort_after_ns, lambda: folder)
        if gate is not None:
            gate.judge(record)
            (folder / "run.json").write_bytes(msgspec.json.encode(record))
        return Measurement(StoredRun(folder, record), HostPort("127.0.0.1", 5683), number == self._interrupted, None)
