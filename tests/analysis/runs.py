"""Made-up runs for comparisons: values with a chosen noise, as pure numbers or as records on disk."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from loadgen.analysis.runvalues import DEFAULT_FAMILY, RunValues
from loadgen.recording.record import (
    Counts,
    FirmwareCounts,
    FirmwareFacts,
    Rate,
    RunRecord,
    StageStats,
    Validity,
)
from loadgen.store import RUN_FILE, encode_record
from tests.recording.made import starting_record
from tests.report.samples import stages

Shape = Literal["normal", "heavy", "bimodal"]

FACTS: Final = {"schema": "loadgen/run/1", "scenario name": "quick", "machine: processor": "A processor"}


def factors(
    shape: Shape, size: tuple[int, ...], generator: np.random.Generator, noise: float = 0.02
) -> NDArray[np.float64]:
    """Factors around 1 by which runs differ.

    ``normal``: log-normal with this standard deviation. ``heavy``: Student's t with 2 degrees of freedom, whose
    variance is infinite. ``bimodal``: three runs in ten are 10 % slower.
    """
    if shape == "heavy":
        return np.exp(noise * generator.standard_t(2, size))
    logs = noise * generator.standard_normal(size)
    if shape == "bimodal":
        logs = logs + 0.1 * (generator.random(size) < 0.3)
    return np.exp(logs)


def run(values: Mapping[str, float], index: int = 0, **facts: str) -> RunValues:
    """One run with these values."""
    return RunValues(
        id=f"{index:08x}",
        shown=f"results/run-{index}",
        started_at=f"2026-01-02T03:04:{index % 60:02}.000Z",
        label=None,
        schema="loadgen/run/1",
        facts=FACTS | facts,
        values=dict(values),
        units={name: "per_s" if name.endswith("rate") else "us" for name in values},
    )


def runs_of(table: NDArray[np.float64], metrics: tuple[str, ...] = DEFAULT_FAMILY, start: int = 0) -> list[RunValues]:
    """One run a row of the table, one metric a column, around 1 ms."""
    return [
        run(dict(zip(metrics, (1000.0 * row).tolist(), strict=True)), start + index) for index, row in enumerate(table)
    ]


def made_record(index: int, factor: float = 1.0, *, label: str = "base", count: int = 20_000) -> RunRecord:
    """A finished run whose stages all take ``factor`` times as long."""
    scaled = {name: _scaled(stats, factor) for name, stats in stages(count).items()}
    record = starting_record(("p1@0.7.0",), label=label)
    return msgspec.structs.replace(
        record,
        id=f"{index:08x}",
        status="complete",
        started_at=f"2026-01-02T03:04:{index % 60:02}.000Z",
        duration_s=100.0,
        counts=Counts(intended=count, started=count, completed=count),
        rate=Rate(mode="open", offered_per_s=200, achieved_per_s=200.0, completed_per_s=200.0),
        validity=Validity(),
        stages=scaled,
        firmware=[FirmwareFacts(name="p1@0.7.0", counts=FirmwareCounts(completed=count), stages=scaled)],
    )


def _scaled(stats: StageStats, factor: float) -> StageStats:
    scaled = {
        name: round(value * factor, 3)
        for name, value in msgspec.structs.asdict(stats).items()
        if isinstance(value, float)
    }
    return msgspec.structs.replace(stats, **scaled)


def write(folder: Path, record: RunRecord) -> Path:
    """Put a record's ``run.json`` into a folder of its own below ``folder``."""
    path = folder / f"20260102T0304{int(record.id, 16) % 60:02}Z-quick-{record.label}-{record.id}"
    path.mkdir(parents=True)
    (path / RUN_FILE).write_bytes(encode_record(record))
    return path


def write_set(
    folder: Path, label: str, count: int, shift: float = 1.0, *, seed: int = 1, noise: float = 0.02
) -> list[Path]:
    """Records of some runs with log-normal noise around ``shift``."""
    generator = np.random.default_rng([seed, *label.encode()])
    start = sum(label.encode()) * 100
    return [
        write(folder, made_record(start + i, shift * math.exp(noise * generator.standard_normal()), label=label))
        for i in range(count)
    ]
