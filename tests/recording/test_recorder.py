"""Rows in, histograms out: stages, order of points, seconds, firmwares, failures, merging."""

from __future__ import annotations

import numpy as np
import pytest

from loadgen.clock import NS_PER_S
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import STAGE_BOUNDS, SUMS, Point, Stage
from loadgen.recording.histogram import HIGHEST_NS, Histogram
from loadgen.recording.recorder import FailureKey, Recorder, histogram_tag, split_tag
from loadgen.recording.rows import (
    FAILURE_FIELDS,
    FLAG_CONNECTED_FALLBACK,
    FLAG_HELLO_MERGED,
    REASON_INDEX,
    REASONS,
    ROW_FIELDS,
    STAGE_INDEX,
    STAGES,
    Rows,
    failures_from_bytes,
    rows_from_bytes,
)
from tests.recording.made import BASE_NS, FIRMWARES, failure_rows, handshake_rows

BESIDE = (Stage.WAKEUP_LAG, Stage.CRYPTO_WAIT, Stage.CRYPTO_RUN)


def row(*points: int, beside: tuple[int, int, int] = (-1, -1, -1), firmware: int = 0, flags: int = 0) -> Rows:
    """One handshake; points in ns after the base, -1 for a missing one."""
    shifted = [point if point < 0 else BASE_NS + point for point in points]
    return np.array([[*shifted, *beside, firmware, flags]], dtype=np.int64)


def recorder(*firmwares: str) -> Recorder:
    return Recorder(firmwares or FIRMWARES[:1], BASE_NS)


def test_columns_begin_with_the_points() -> None:
    assert ROW_FIELDS[:8] == tuple(point.name.lower() for point in Point)
    assert len(ROW_FIELDS) == 13
    assert len(FAILURE_FIELDS) == 6


def test_enumerations_have_positions_in_both_directions() -> None:
    assert all(STAGES[STAGE_INDEX[stage]] is stage for stage in Stage)
    assert all(REASONS[REASON_INDEX[reason]] is reason for reason in Reason)


def test_rows_come_from_bytes() -> None:
    rows, failures = handshake_rows(1, 3), failure_rows(1, 2)
    assert np.array_equal(rows_from_bytes(rows.tobytes()), rows)
    assert np.array_equal(failures_from_bytes(failures.tobytes()), failures)
    assert rows_from_bytes(b"").shape == (0, 13)
    with pytest.raises(ValueError, match="reshape"):
        rows_from_bytes(rows.tobytes()[:-8])


def test_stages_are_the_differences_of_the_points() -> None:
    made = recorder()
    made.add_rows(row(0, 1, 3, 7, 15, 31, 63, 127, beside=(5, 6, 7)))
    expected = {
        Stage.SCHEDULE_LAG: 1,
        Stage.CONNECT: 2,
        Stage.NONCE: 4,
        Stage.ENCRYPT: 8,
        Stage.KEY: 16,
        Stage.UNWRAP: 32,
        Stage.HELLO: 64,
        Stage.HANDSHAKE: 126,
        Stage.RESPONSE: 127,
        Stage.CLOUD: 86,
        Stage.WAKEUP_LAG: 5,
        Stage.CRYPTO_WAIT: 6,
        Stage.CRYPTO_RUN: 7,
    }
    for stage, value in expected.items():
        assert made.histogram(stage) == Histogram.of_values([value]), stage
    assert made.histogram(Stage.FAILED).count == 0


def test_every_stage_is_recorded_as_if_alone() -> None:
    rows = handshake_rows(3, 500)
    made = recorder()
    made.add_rows(rows)
    points = rows[:, :8]
    stages = {stage: points[:, end] - points[:, begin] for stage, (begin, end) in STAGE_BOUNDS.items()}
    for stage, parts in SUMS.items():
        stages[stage] = sum(stages[part] for part in parts)  # type: ignore[assignment]
    for column, stage in enumerate(BESIDE, start=8):
        stages[stage] = rows[:, column]
    for stage, values in stages.items():
        assert made.histogram(stage) == Histogram.of_values(values), stage


def test_sums_are_exact() -> None:
    made = recorder()
    made.add_rows(handshake_rows(4, 200))
    total = {stage: made.histogram(stage).sum_ns for stage in Stage}
    for stage, parts in SUMS.items():
        assert total[stage] == sum(total[part] for part in parts)


def test_points_out_of_order_are_moved_up_and_counted() -> None:
    made = recorder()
    made.add_rows(row(0, 10, 8, 20, 30, 40, 35, 50))
    assert made.corrections == {"connected": 1, "hello_out": 1}
    assert made.corrected_max_ns == 5
    assert made.histogram(Stage.CONNECT) == Histogram.of_values([0])
    assert made.histogram(Stage.NONCE) == Histogram.of_values([10])
    assert made.histogram(Stage.HELLO) == Histogram.of_values([10])
    assert not made.missing


def test_missing_point_takes_its_predecessor_and_is_no_correction() -> None:
    made = recorder()
    made.add_rows(row(0, 10, -1, 20, 30, 40, 50, 60))
    assert made.missing == {"connected": 1}
    assert not made.corrections
    assert made.histogram(Stage.CONNECT) == Histogram.of_values([0])
    assert made.histogram(Stage.HANDSHAKE) == Histogram.of_values([50])


def test_missing_intended_start_is_the_start() -> None:
    made = recorder()
    made.add_rows(row(-1, 10, 15, 20, 30, 40, 50, 60))
    assert made.missing == {"intended": 1}
    assert made.histogram(Stage.SCHEDULE_LAG) == Histogram.of_values([0])
    assert made.histogram(Stage.RESPONSE) == Histogram.of_values([50])


def test_flags_are_counted_by_name() -> None:
    made = recorder()
    made.add_rows(row(*range(8), flags=FLAG_CONNECTED_FALLBACK | FLAG_HELLO_MERGED))
    made.add_rows(row(*range(8), flags=FLAG_HELLO_MERGED))
    assert made.missing == {"connected_fallback": 1, "hello_merged": 2}


def test_what_was_not_measured_has_its_own_count() -> None:
    made = recorder()
    made.add_rows(
        np.concatenate([row(*range(8), beside=(-1, 5, -1)), row(*range(8), beside=(0, 6, -1)), row(*range(8))])
    )
    assert made.histogram(Stage.WAKEUP_LAG) == Histogram.of_values([0])
    assert made.histogram(Stage.CRYPTO_WAIT) == Histogram.of_values([5, 6])
    assert made.histogram(Stage.CRYPTO_RUN).count == 0
    assert made.histogram(Stage.HANDSHAKE).count == 3


def test_seconds_are_those_of_completion() -> None:
    made = recorder()
    made.add_rows(row(0, 1, 2, 3, 4, 5, 6, NS_PER_S - 1))
    made.add_rows(row(0, 1, 2, 3, 4, 5, 6, NS_PER_S))
    made.add_rows(row(0, 1, 2, 3, 4, 5, 6, 3 * NS_PER_S + 5))
    taken = made.take_until(3)
    assert [(interval.second, sum(interval.completed.values())) for interval in taken] == [(0, 1), (1, 1), (2, 0)]
    assert taken[2].histogram(Stage.KEY).count == 0
    assert [interval.second for interval in made.take_all()] == [3]
    assert made.take_all() == []


def test_intervals_add_up_to_the_totals() -> None:
    made = recorder(*FIRMWARES)
    made.add_rows(handshake_rows(6, 700, firmwares=2))
    made.add_failures(failure_rows(6, 30, firmwares=2))
    taken = made.take_all()
    for stage in Stage:
        for firmware in (None, *FIRMWARES):
            merged = Histogram.merge(interval.histogram(stage, firmware) for interval in taken)
            assert merged == made.histogram(stage, firmware), (stage, firmware)
    assert sum(sum(interval.completed.values()) for interval in taken) == 700


def test_many_values_in_a_second_are_counted_like_few() -> None:
    """A full second is counted in another way than a thin one."""
    rows = handshake_rows(7, 10_000, seconds=1.0)
    made = recorder()
    made.add_rows(rows)
    (interval,) = made.take_all()
    assert interval.histogram(Stage.KEY) == Histogram.of_values(rows[:, Point.KEY_IN] - rows[:, Point.CIPHERTEXT_OUT])


def test_late_values_go_to_the_next_open_second_and_are_counted() -> None:
    made = recorder()
    made.take_until(5)
    made.add_rows(row(0, 1, 2, 3, 4, 5, 6, 7))
    made.add_failures(failure_rows(1, 2))
    assert made.late == 3
    (interval,) = made.take_all()
    assert interval.second == 5
    assert sum(interval.completed.values()) == 1
    assert sum(interval.failures.values()) == 2
    assert made.histogram(Stage.HANDSHAKE).count == 1


def test_firmwares_have_their_own_histograms() -> None:
    made = recorder(*FIRMWARES)
    made.add_rows(row(0, 1, 2, 3, 4, 5, 6, 7, firmware=0))
    made.add_rows(row(0, 1, 2, 3, 4, 50, 60, 70, firmware=1))
    assert made.histogram(Stage.KEY, FIRMWARES[0]) == Histogram.of_values([1])
    assert made.histogram(Stage.KEY, FIRMWARES[1]) == Histogram.of_values([46])
    assert made.histogram(Stage.KEY) == Histogram.of_values([1, 46])
    assert made.completed == {FIRMWARES[0]: 1, FIRMWARES[1]: 1}
    (interval,) = made.take_all()
    assert [tag for tag, _ in interval.tagged() if tag.startswith("key")] == [
        "key",
        f"key@{FIRMWARES[0]}",
        f"key@{FIRMWARES[1]}",
    ]
    with pytest.raises(ValueError, match="not in"):
        made.histogram(Stage.KEY, "p1@9.9.9")


def test_one_firmware_needs_no_tags_of_its_own() -> None:
    made = recorder()
    made.add_rows(row(*range(8)))
    (interval,) = made.take_all()
    assert [tag for tag, _ in interval.tagged()] == [
        stage.value for stage in Stage if stage not in (Stage.FAILED, *BESIDE)
    ]


def test_failures_are_counted_by_stage_reason_code_and_firmware() -> None:
    made = recorder()
    rows = failure_rows(9, 60)
    made.add_failures(rows)
    assert made.failures.total() == 60
    assert set(made.failures) == {
        FailureKey(Stage.KEY, Reason.CLOSED, -19, FIRMWARES[0]),
        FailureKey(Stage.UNWRAP, Reason.BAD_SIGNATURE, 8, FIRMWARES[0]),
        FailureKey(Stage.CONNECT, Reason.LOCAL_RESOURCE, None, FIRMWARES[0]),
    }
    assert made.histogram(Stage.FAILED) == Histogram.of_values(rows[:, 1] - rows[:, 0])
    assert made.histogram(Stage.HANDSHAKE).count == 0


def test_failed_sessions_are_no_failed_handshakes() -> None:
    made = recorder()
    made.add_session_failures(failure_rows(9, 4))
    made.add_session_failures(failure_rows(9, 0))
    assert made.session_failures.total() == 4
    assert not made.failures
    assert made.histogram(Stage.FAILED).count == 0
    assert sum(sum(interval.session_failures.values()) for interval in made.take_all()) == 4


def test_values_above_an_hour_are_clamped_and_counted() -> None:
    made = recorder()
    made.add_rows(row(0, 2 * HIGHEST_NS, *(2 * HIGHEST_NS + n for n in range(1, 7))))
    assert made.clamped == 2  # schedule_lag and response
    assert made.histogram(Stage.RESPONSE).max_ns == 2 * HIGHEST_NS + 6
    assert made.histogram(Stage.HANDSHAKE).clamped == 0


def test_nothing_is_recorded_of_nothing() -> None:
    made = recorder()
    made.add_rows(handshake_rows(1, 0))
    made.add_failures(failure_rows(1, 0))
    assert made.take_all() == []


@pytest.mark.parametrize(
    "rows",
    [
        np.zeros((2, 12), dtype=np.int64),
        np.zeros(13, dtype=np.int64),
        np.zeros((2, 13), dtype=np.float64),
        row(*range(8), firmware=1),
        row(*range(8), firmware=-1),
    ],
)
def test_wrong_rows_are_refused(rows: Rows) -> None:
    with pytest.raises(ValueError, match="rows"):
        recorder().add_rows(rows)


@pytest.mark.parametrize("hands", [1, 2, 3, 7])
def test_dealt_recorders_merge_into_one(hands: int) -> None:
    rows, failures = handshake_rows(8, 400, firmwares=2), failure_rows(8, 40, firmwares=2)
    whole, parts = recorder(*FIRMWARES), [recorder(*FIRMWARES) for _ in range(hands)]
    whole.add_rows(rows)
    whole.add_failures(failures)
    for hand, part in enumerate(parts):
        for begin in range(hand * 10, len(rows), hands * 10):
            part.add_rows(rows[begin : begin + 10])
        part.add_failures(failures[hand::hands])
    first = parts[0]
    for part in parts[1:]:
        first.merge(part)
    assert (first.completed, first.failures) == (whole.completed, whole.failures)
    for stage in Stage:
        for firmware in (None, *FIRMWARES):
            assert first.histogram(stage, firmware) == whole.histogram(stage, firmware)
    for merged, expected in zip(first.take_all(), whole.take_all(), strict=True):
        assert merged.failures == expected.failures
        assert list(merged.tagged()) == list(expected.tagged())


def test_recorders_of_different_runs_do_not_merge() -> None:
    with pytest.raises(ValueError, match="different runs"):
        recorder().merge(recorder(*FIRMWARES))


def test_tags_name_stage_and_firmware() -> None:
    assert histogram_tag(Stage.KEY) == "key"
    assert histogram_tag(Stage.KEY, "p1@0.7.0") == "key@p1@0.7.0"
    assert split_tag("key") == (Stage.KEY, None)
    assert split_tag("key@p1@0.7.0") == (Stage.KEY, "p1@0.7.0")
    with pytest.raises(ValueError, match="other"):
        split_tag("other@p1@0.7.0")
