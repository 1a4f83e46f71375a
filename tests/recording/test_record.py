"""From histograms to the numbers of a record."""

from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import pytest

from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram
from loadgen.recording.record import (
    PERCENTILES,
    StageStats,
    failure_counts,
    failure_tallies,
    firmware_facts,
    microseconds,
    recording_facts,
    stage_stats,
    stages_of,
    utc_text,
)
from loadgen.recording.recorder import FailureKey, Recorder
from tests.recording.made import BASE_NS, FIRMWARES, ended_of, handshake_rows, made_recorder, starting_record


def test_statistics_of_a_stage() -> None:
    stats = stage_stats(Histogram.of_values(range(1_001, 2_001)))
    assert (stats.count, stats.min_us, stats.mean_us, stats.max_us) == (1_000, 1.001, 1.5, 2.0)
    assert (stats.p50_us, stats.p75_us, stats.p90_us, stats.p95_us, stats.p99_us) == (1.5, 1.75, 1.9, 1.95, 1.99)
    assert (stats.p999_us, stats.p9999_us) == (None, None)
    assert (stats.p999_ci_us, stats.p9999_ci_us) == (None, None)
    assert stats.p50_ci_us == (1.469, 1.532)  # ranks 469 and 532 of 1,000


@pytest.mark.parametrize(("count", "given"), [(0, 0), (19, 0), (20, 1), (100, 3), (1_000, 5), (100_000, 7)])
def test_percentiles_without_enough_samples_are_null(count: int, given: int) -> None:
    stats = stage_stats(Histogram.of_counts(np.array([70]), np.array([count])) if count else Histogram.empty())
    values = [getattr(stats, f"{name}_us") for name in PERCENTILES]
    assert [value is not None for value in values] == [True] * given + [False] * (7 - given)
    intervals = [getattr(stats, f"{name}_ci_us") for name in PERCENTILES]
    assert [interval is None for interval in intervals] == [value is None for value in values]


def test_percentiles_have_their_fields() -> None:
    fields = StageStats.__struct_fields__
    assert [name for name in fields if name.startswith("p")] == [f"{name}_us" for name in PERCENTILES] + [
        f"{name}_ci_us" for name in PERCENTILES
    ]


def test_statistics_without_samples() -> None:
    assert stage_stats(Histogram.empty()) == StageStats()


def test_stages_beside_the_sum_are_there_when_measured() -> None:
    made = Recorder(FIRMWARES[:1], BASE_NS)
    assert list(stages_of(made.histogram)) == [
        stage.value for stage in Stage if stage.value not in ("wakeup_lag", "crypto_wait", "crypto_run")
    ]
    made.add_rows(handshake_rows(1, 5))
    assert list(stages_of(made.histogram)) == [stage.value for stage in Stage]


def test_all_stages_have_one_count() -> None:
    counts = {name: stats.count for name, stats in stages_of(made_recorder().histogram).items()}
    assert counts.pop("failed") == 9
    assert set(counts.values()) == {600}


def test_firmwares_have_counts_and_stages() -> None:
    made = made_recorder()
    ended = ended_of(made)
    facts = firmware_facts(made, dict.fromkeys(FIRMWARES, 0.5), ended + Counter({FIRMWARES[0]: 3}))
    assert [one.counts.started for one in facts] == [ended[FIRMWARES[0]] + 3, ended[FIRMWARES[1]]]
    assert [one.counts.aborted for one in facts] == [3, 0]
    assert [(one.name, one.weight) for one in facts] == [(name, 0.5) for name in FIRMWARES]
    assert sum(one.counts.completed for one in facts) == 600
    assert sum(one.counts.failed for one in facts) == 9
    for one in facts:
        assert one.stages["key"] == stage_stats(made.histogram(Stage.KEY, one.name))


def test_failures_are_listed_by_frequency_and_explained() -> None:
    seldom = FailureKey(Stage.CONNECT, Reason.LOCAL_RESOURCE, None, "p1@0.7.0")
    often = FailureKey(Stage.KEY, Reason.CLOSED, -19, "p1@0.7.0")
    counts = failure_counts(Counter({seldom: 1, often: 5}))
    assert [(one.stage, one.reason, one.device_code, one.firmware, one.count) for one in counts] == [
        ("key", "closed", -19, "p1@0.7.0", 5),
        ("connect", "local_resource", None, "p1@0.7.0", 1),
    ]
    assert all(one.explanation for one in counts)
    assert [one.count for one in failure_tallies(Counter({seldom: 1, often: 5}))] == [5, 1]


def test_failed_sessions_are_explained_as_such() -> None:
    failures = Counter({FailureKey(Stage.HELLO, Reason.RESET, None, "p1@0.7.0"): 1})
    (handshake,) = failure_counts(failures)
    (session,) = failure_counts(failures, in_session=True)
    assert handshake.explanation != session.explanation


def test_repairs_are_named() -> None:
    made = Recorder(FIRMWARES[:1], BASE_NS)
    rows = handshake_rows(1, 3)
    rows[0, 2] = rows[0, 1] - 2_500
    rows[1, 12] = 1
    made.add_rows(rows)
    facts = recording_facts(made)
    assert facts.corrections == {"connected": 1}
    assert facts.corrected_max_us == 2.5
    assert facts.missing_stamps == {"connected_fallback": 1}
    assert (facts.clamped, facts.late) == (0, 0)


def test_whole_nanoseconds_stay_exact_in_microseconds() -> None:
    assert microseconds(1_234_567) == 1234.567
    assert microseconds(None) is None


def test_time_is_iso_8601_in_utc() -> None:
    assert utc_text(1_767_323_045_678_900_000) == "2026-01-02T03:04:05.678Z"


def test_stage_of_a_record_without_it_has_no_samples() -> None:
    record = starting_record()
    assert record.stage(Stage.KEY) == StageStats()
    record.stages = {"key": StageStats(count=3)}
    assert record.stage(Stage.KEY).count == 3


def test_records_do_not_share_their_lists() -> None:
    first, second = starting_record(), starting_record()
    first.stages["key"] = StageStats()
    first.validity.findings.clear()
    first.generator.workers = 2
    assert second.stages == {}
    assert second.generator.workers == 0
    assert msgspec.structs.asdict(first)["validity"] is not second.validity
