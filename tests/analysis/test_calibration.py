"""Handshakes found again in the cloud's notes, and the arithmetic of the errors, on made-up times."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from loadgen.analysis.calibration import CALIBRATED, calibrate, journeys, match, truths
from loadgen.clock import NS_PER_MS, NS_PER_S, NS_PER_US
from loadgen.mockcloud.timings import TIMING_FIELDS, Timings
from loadgen.protocol.stages import STAGE_BOUNDS, Point, Stage
from loadgen.recording.histogram import Histogram
from loadgen.recording.record import Calibration
from loadgen.recording.rows import Rows

WAY_NS = 8 * NS_PER_US
"""From one side's clock point to the other's."""


class Load:
    """Handshakes at 2,000/s, seen from both sides: rows of the generator, notes of the cloud, in the same order.

    Answers take lognormal times; ``late_ns`` is how long the generator needs to notice what has come.
    """

    def __init__(self, count: int, seed: int = 1, *, late_ns: int = 0) -> None:
        rng = np.random.default_rng(seed)

        def some(median_ns: float, sigma: float = 0.5) -> np.ndarray:
            return (median_ns * np.exp(rng.normal(0.0, sigma, count))).astype(np.int64)

        late = [(late_ns * rng.random(count)).astype(np.int64) for _ in range(3)]
        started = np.cumsum(rng.exponential(NS_PER_S / 2_000, count)).astype(np.int64)
        connected = started + 10 * NS_PER_US
        self.received = np.empty((3, count), dtype=np.int64)
        self.sent = np.empty((3, count), dtype=np.int64)
        self.received[0] = connected + some(50 * NS_PER_US)
        self.sent[0] = self.received[0] + some(3 * NS_PER_MS)
        nonce_in = self.sent[0] + WAY_NS + late[0]
        ciphertext_out = nonce_in + some(300 * NS_PER_US)
        self.received[1] = ciphertext_out + WAY_NS
        self.sent[1] = self.received[1] + some(20 * NS_PER_MS)
        key_in = self.sent[1] + WAY_NS + late[1]
        hello_out = key_in + some(300 * NS_PER_US)
        self.received[2] = hello_out + WAY_NS
        self.sent[2] = self.received[2] + some(2 * NS_PER_MS)
        hello_in = self.sent[2] + WAY_NS + late[2]
        self.rows: Rows = np.stack(
            [started, started, connected, nonce_in, ciphertext_out, key_in, hello_out, hello_in], axis=1
        )

    def notes(self, stages: int = 3) -> Timings:
        """What the cloud wrote down, of so many stages, in no order."""
        count = len(self.rows)
        timings = np.empty((stages, count, len(TIMING_FIELDS)), dtype=np.int64)
        timings[:, :, 0] = np.arange(stages)[:, np.newaxis]
        timings[:, :, 1] = np.arange(count)
        timings[:, :, 2] = timings[:, :, 3] = self.received[:stages]
        timings[:, :, 4] = self.sent[:stages]
        return np.random.default_rng(0).permutation(timings.reshape(-1, len(TIMING_FIELDS)))

    def histogram_of(self, stage: Stage) -> Histogram:
        """As a run records it."""
        begin, end = STAGE_BOUNDS[stage]
        return Histogram.of_values(self.rows[:, end] - self.rows[:, begin])

    def calibration(self) -> Calibration:
        """As a run calibrates itself."""
        return calibrate(self.rows, self.notes(), self.histogram_of)


def numbers_of(load: Load) -> np.ndarray:
    """For each row the number of the handshake that it was found to be."""
    by_arrival = np.argsort(load.received[1], kind="stable")
    found = match(load.rows, journeys(load.notes()))
    return np.where(found >= 0, by_arrival[found], -1)


@pytest.mark.parametrize("late_ns", [0, 30 * NS_PER_MS], ids=["on time", "noticed up to 30 ms late"])
def test_every_handshake_is_found(late_ns: int) -> None:
    load = Load(20_000, late_ns=late_ns)
    assert (numbers_of(load) == np.arange(20_000)).all()


def test_handshakes_that_the_generator_did_not_record_are_nobody_elses() -> None:
    """Those of the warm-up, failed and aborted ones; what is left comes in another order."""
    load = Load(5_000)
    kept = np.random.default_rng(2).permutation(5_000)[:3_000]
    notes, load.rows = journeys(load.notes()), load.rows[kept]
    by_arrival = np.argsort(load.received[1], kind="stable")
    assert (by_arrival[match(load.rows, notes)] == kept).all()


def test_a_send_that_was_held_up_is_found_all_the_same() -> None:
    """The generator lost its core for 3 ms between the clock and the system call; others came in between."""
    load = Load(3_000)
    held = np.arange(100, 3_000, 97)
    load.received[1, held] += 3 * NS_PER_MS
    load.sent[1, held] += 3 * NS_PER_MS
    load.rows[held, Point.KEY_IN :] += 3 * NS_PER_MS
    load.received[2, held] += 3 * NS_PER_MS
    load.sent[2, held] += 3 * NS_PER_MS
    assert (numbers_of(load) == np.arange(3_000)).all()


def test_messages_sent_in_one_go_keep_their_order() -> None:
    """A generator that catches up sends every 12 µs, hardly more than one takes to arrive."""
    load = Load(2_000)
    at = np.arange(2_000) * 12 * NS_PER_US
    for points, begin_ns in (
        ((Point.STARTED, Point.CONNECTED, Point.NONCE_IN), 0),
        ((Point.CIPHERTEXT_OUT,), 20 * NS_PER_MS),
        ((Point.KEY_IN,), 60 * NS_PER_MS),
        ((Point.HELLO_OUT,), 90 * NS_PER_MS),
        ((Point.HELLO_IN,), 130 * NS_PER_MS),
    ):
        for point in points:
            load.rows[:, point] = begin_ns + at
    load.received[1:] = load.rows[:, (Point.CIPHERTEXT_OUT, Point.HELLO_OUT)].T + WAY_NS
    load.sent[:] = load.rows[:, (Point.NONCE_IN, Point.KEY_IN, Point.HELLO_IN)].T - WAY_NS
    assert (numbers_of(load) == np.arange(2_000)).all()


def test_what_the_cloud_never_noted_is_not_found() -> None:
    load = Load(200)
    rows = load.rows + 3_600 * NS_PER_S
    assert (match(rows, journeys(load.notes())) == -1).all()
    assert (match(rows, journeys(load.notes()[:0])) == -1).all()
    assert (match(load.rows, journeys(load.notes(stages=2))) == -1).all()
    assert match(load.rows[:0], journeys(load.notes())).shape == (0,)


def test_the_truth_is_what_the_cloud_took() -> None:
    load = Load(500)
    seen = journeys(load.notes())
    truth = truths(load.rows, seen, match(load.rows, seen))
    assert list(truth) == list(CALIBRATED) == [Stage.NONCE, Stage.KEY, Stage.HELLO]
    assert (truth[Stage.NONCE] == load.sent[0] - load.rows[:, Point.CONNECTED]).all()
    assert (truth[Stage.KEY] == load.sent[1] - load.received[1]).all()
    assert (truth[Stage.HELLO] == load.sent[2] - load.received[2]).all()


def test_errors_are_measured_minus_truth() -> None:
    load = Load(10_000)
    calibration = load.calibration()
    assert (calibration.outcome, calibration.handshakes, calibration.found) == ("pass", 10_000, 10_000)
    assert [(each.stage, each.percentile) for each in calibration.percentiles] == [
        (stage, name) for stage in ("nonce", "key", "hello") for name in ("p50", "p90", "p99", "p999")
    ]
    ranks = {"p50": (0.5, 5_000), "p90": (0.9, 9_000), "p99": (0.99, 9_900), "p999": (0.999, 9_990)}
    for each in calibration.percentiles:
        quantile, rank = ranks[each.percentile]
        stage = Stage(each.stage)
        row = CALIBRATED.index(stage)
        begin = load.rows[:, Point.CONNECTED] if stage is Stage.NONCE else load.received[row]
        truth_ns = int(np.sort(load.sent[row] - begin)[rank - 1])
        measured_ns = load.histogram_of(stage).percentile_ns(quantile)
        assert measured_ns is not None
        assert each.truth_us == truth_ns / NS_PER_US
        assert each.measured_us == measured_ns / NS_PER_US
        assert each.error_us == (measured_ns - truth_ns) / NS_PER_US
        assert each.limit_us == pytest.approx(max(100.0, truth_ns / NS_PER_US / 100))
        assert 0 < measured_ns - truth_ns < 2 * WAY_NS + truth_ns / 1_000


def shifted(shift_of: Callable[[int], int]) -> Histogram:
    """Values of 2 … 1,001 times 50 µs, each moved by ``shift_of(value)``."""
    values = np.arange(2, 1_002) * 50 * NS_PER_US
    return Histogram.of_values(np.array([value + shift_of(value) for value in values.tolist()]))


@pytest.mark.parametrize(
    ("shift_of", "outcomes"),
    [
        (lambda value: 0, ["pass", "pass", "pass"]),
        (lambda value: -90 * NS_PER_US, ["pass", "pass", "pass"]),
        (lambda value: 300 * NS_PER_US, ["fail", "pass", "pass"]),
        (lambda value: value // 50, ["fail", "fail", "fail"]),
        (lambda value: -value // 50, ["fail", "fail", "fail"]),
        (lambda value: value // 250, ["pass", "pass", "pass"]),
    ],
    ids=["exact", "90 µs", "300 µs", "2 %", "-2 %", "0.4 %"],
)
def test_limits(shift_of: Callable[[int], int], outcomes: list[str]) -> None:
    load = Load(1_000)
    load.sent[1] = load.received[1] + np.arange(2, 1_002) * 50 * NS_PER_US
    load.rows[:, Point.KEY_IN] = load.sent[1] + WAY_NS
    load.received[2] = load.rows[:, Point.HELLO_OUT] = load.rows[:, Point.KEY_IN]
    load.sent[2] = load.rows[:, Point.HELLO_IN] = load.received[2]
    calibration = calibrate(load.rows, load.notes(), lambda stage: shifted(shift_of))
    assert calibration.found == 1_000
    key = [each for each in calibration.percentiles if each.stage == "key"]
    assert [each.outcome for each in key] == [*outcomes, "no_data"]


def test_too_few_handshakes_or_too_few_found_is_no_data() -> None:
    few = Load(999).calibration()
    assert few.outcome == "no_data"
    assert [each.outcome for each in few.percentiles[:4]] == ["pass", "pass", "no_data", "no_data"]
    assert few.percentiles[3].truth_us is None
    load = Load(10_000)
    notes = load.notes()
    for lost, outcomes in ((1, ["pass", "pass", "pass", "no_data"]), (2, ["pass", "pass", "no_data", "no_data"])):
        calibration = calibrate(load.rows, notes[~np.isin(notes[:, 1], range(lost))], load.histogram_of)
        assert calibration.found == 10_000 - lost
        assert [each.outcome for each in calibration.percentiles[:4]] == outcomes
    nothing = calibrate(load.rows[:0], notes, lambda stage: Histogram.empty())
    assert (nothing.outcome, nothing.handshakes, nothing.found) == ("no_data", 0, 0)


def test_a_late_generator_is_found_out() -> None:
    calibration = Load(10_000, late_ns=5 * NS_PER_MS).calibration()
    assert calibration.found == 10_000
    assert calibration.outcome == "fail"
