"""Two firmwares of one run: equal ones are seldom told apart, 5 ms are found, whatever the weather was.

Simulated from the assignment of devices to the blocks of the comparison. All handshakes of a second share a weather
that wanders and has stalls, as a cloud's does: it moves the median by far more than one firmware does.
"""

from __future__ import annotations

import numpy as np
import pytest

from loadgen.analysis import blocks
from loadgen.analysis.blocks import BlockChange, compare_blocks
from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.engine.mix import assign
from loadgen.protocol.stages import Point, Stage
from loadgen.recording.histogram import Histogram
from loadgen.recording.recorder import Recorder
from loadgen.recording.rows import FIRMWARE_COLUMN, ROW_FIELDS

SECONDS = 30
PER_S = 200
FIRMWARES = ("p1@a", "p1@b")


def simulated(seed: int, injected_ns: int, parts: tuple[int, int] = (1, 1)) -> BlockChange:
    """The change of the median handshake in a run whose second firmware takes ``injected_ns`` longer."""
    generator = np.random.default_rng(seed)
    starts = np.arange(SECONDS * PER_S) * (NS_PER_S // PER_S)
    wander = np.cumsum(generator.normal(0, 0.1, SECONDS)) + 0.7 * (generator.random(SECONDS) < 0.1)
    weather = np.repeat(np.exp(wander), PER_S)
    took_ns = (60 * NS_PER_MS * weather * generator.lognormal(0, 0.2, starts.size)).astype(np.int64)
    firmware = np.array(assign(parts, starts.size, seed))
    rows = np.zeros((starts.size, len(ROW_FIELDS)), dtype=np.int64)
    rows[:, : Point.HELLO_IN] = starts[:, np.newaxis]
    rows[:, Point.HELLO_IN] = starts + took_ns + injected_ns * firmware
    rows[:, FIRMWARE_COLUMN] = firmware
    recorder = Recorder(FIRMWARES, 0)
    recorder.add_rows(rows)
    intervals = recorder.take_all()
    base, new = (
        {interval.second: interval.histogram(Stage.HANDSHAKE, name) for interval in intervals} for name in FIRMWARES
    )
    return compared(base, new, generator)


def compared(base: dict[int, Histogram], new: dict[int, Histogram], generator: np.random.Generator) -> BlockChange:
    return compare_blocks([base], [new], [0.5], generator, paired=True)[0.5]


def alarms_and_finds(runs: int, parts: tuple[int, int] = (1, 1)) -> tuple[float, float]:
    """Share of runs in which equal firmwares are told apart, and in which 5 ms are found."""
    equal = [simulated(seed, 0, parts) for seed in range(runs)]
    slower = [simulated(seed, 5 * NS_PER_MS, parts) for seed in range(1000, 1000 + runs)]
    alarms = sum(change.p <= 0.05 for change in equal) / runs
    assert alarms == pytest.approx(sum(not change.low <= 0 <= change.high for change in equal) / runs, abs=0.05)
    return alarms, sum(change.p <= 0.05 and change.low > 0 for change in slower) / runs


@pytest.fixture(autouse=True)
def fewer_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """They are for a standard error, which needs no more."""
    monkeypatch.setattr(blocks, "RESAMPLES", 199)


def test_equal_firmwares_are_seldom_told_apart_and_five_milliseconds_are_found() -> None:
    alarms, finds = alarms_and_finds(20)
    assert alarms <= 0.15
    assert finds >= 0.95


@pytest.mark.long
@pytest.mark.parametrize("parts", [(1, 1), (3, 7), (1, 9)])
def test_the_same_of_many_runs_and_uneven_shares(parts: tuple[int, int]) -> None:
    alarms, finds = alarms_and_finds(300, parts)
    assert alarms <= 0.07
    assert finds >= 0.95
