"""What a record says, as rows and sentences."""

from __future__ import annotations

import pytest

from loadgen.recording.record import Counts, Sessions, Storm
from loadgen.report.summary import NO_VALUE, STAGE_COLUMNS, best_unit, summarise, three_digits
from tests.report.samples import bad_record, empty_record, good_record


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.000_000_4, "0.000000"),
        (0.000_99, "0.000990"),
        (0.0901, "0.0901"),
        (0.9, "0.900"),
        (0.9996, "1.00"),
        (1, "1.00"),
        (9.994, "9.99"),
        (9.996, "10.0"),
        (99.94, "99.9"),
        (99.96, "100"),
        (999.6, "1,000"),
        (12_345.6, "12,346"),
    ],
)
def test_three_digits(value: float, text: str) -> None:
    assert three_digits(value) == text


@pytest.mark.parametrize(
    ("typical", "values", "unit"),
    [
        (800, [800.0], "ns"),
        (1_000, [1_000.0, 99_999_000.0], "µs"),
        (1_000, [1_000.0, 100_000_000.0], "ms"),
        (2_000_000, [2_000_000.0], "ms"),
        (5e9, [5e9], "s"),
        (0, [0.0], "ns"),
        (9e18, [9e18], "s"),
    ],
)
def test_the_unit_suits_the_typical_value_and_holds_the_largest(typical: float, values: list[float], unit: str) -> None:
    assert best_unit(typical, values)[0] == unit


def test_a_good_run() -> None:
    summary = summarise(good_record(), "results/x")
    assert summary.verdict == "valid"
    assert summary.headline == "quick: Open loop at 400/s for 30s against the mock cloud (127.0.0.1:41234), p1@0.7.0"
    assert summary.outcome == "12,000 handshakes completed, none failed"
    assert [row.stage for row in summary.stages if row.group == "part"] == [
        "schedule_lag", "connect", "nonce", "encrypt", "key", "unwrap", "hello",
    ]  # fmt: skip
    assert {row.stage for row in summary.stages if row.side == "ours"} == {"schedule_lag", "encrypt", "unwrap"}
    assert summary.failures == ()


def test_a_row_has_one_unit() -> None:
    row = next(row for row in summarise(good_record(), "").stages if row.stage == "key")
    assert row.unit == "ms"
    assert len(row.cells) == len(STAGE_COLUMNS)
    assert (row.cell("p50"), row.cell("p99"), row.cell("max")) == ("1.21", "9.99", "31.2")
    assert row.cell("p99.99") == NO_VALUE


def test_stages_without_samples_have_no_row() -> None:
    assert "failed" not in {row.stage for row in summarise(good_record(), "").stages}
    empty = summarise(empty_record(), "")
    assert empty.stages == ()
    assert empty.verdict == "no data"
    assert "No handshake was completed" in empty.stage_hint


def test_failures_carry_share_code_and_explanation() -> None:
    failures = summarise(bad_record(), "").failures
    assert [(row.count, row.share, row.what, row.code) for row in failures] == [
        ("6,175", "87 %", "key/closed [p1@0.7.0]", "-19"),
        ("5", "0.071 %", "connect/local_resource [p1@0.6.4]", ""),
    ]
    assert failures[0].explanation.startswith("the cloud closed")


def test_the_weightiest_finding_comes_first() -> None:
    assert [row.level for row in summarise(bad_record(), "").findings] == ["invalid", "warn", "note"]


def test_invalid_outweighs_interrupted_and_both_are_said() -> None:
    summary = summarise(bad_record(), "")
    assert summary.verdict == "invalid"
    assert summary.outcome.endswith("12 not started, interrupted")


def test_interrupted() -> None:
    record = good_record()
    record.status = "interrupted"
    assert summarise(record, "").verdict == "interrupted"


def test_one_handshake_is_singular() -> None:
    record = good_record()
    record.counts = Counts(intended=1, started=1, completed=1)
    assert summarise(record, "").outcome == "1 handshake completed, none failed"


def test_a_closed_loop_names_its_slots_and_no_offered_rate() -> None:
    summary = summarise(bad_record(), "")
    assert summary.headline.startswith("steady: Closed loop with 500 in flight for 12m34s against [fd00::1]:5683")
    assert dict(summary.facts)["Rate"] == "1.20/s completed"


def test_load_models_are_named() -> None:
    record = good_record()
    phases = [{"warmup": True}, {"warmup": False}, {"warmup": False}]
    for scenario, words in (
        ({"phases": phases}, "Open loop in 2 phases at "),
        ({"phases": phases[:2]}, "Open loop in one phase at "),
        ({"trace": "monday.csv"}, "Replay of monday.csv at "),
    ):
        record.scenario = {"name": "x", **scenario}
        assert summarise(record, "").headline.startswith(f"x: {words}")


def test_a_storm_says_who_was_back_when() -> None:
    record = good_record()
    record.scenario = {"storm": {"kind": "constant"}, "devices": 2000}
    record.rate.offered_per_s = None
    record.storm = Storm(devices=2000, online=2000, online_50_s=0.5, online_95_s=1, online_99_s=1.5, online_100_s=2)
    record.sessions = Sessions(returned=2000)
    summary = summarise(record, "")
    assert summary.headline.startswith("Reconnect storm of 2,000 devices for ")
    facts = dict(summary.facts)
    assert facts["Storm"] == (
        "50 % online after 0.5s, 95 % online after 1s, 99 % online after 1.5s, all after 2s"
    )  # fmt: skip
    assert facts["Sessions"] == "held, no events sent"
    record.storm = Storm(devices=2000, online=1200, online_50_s=0.5)
    assert dict(summarise(record, "").facts)["Storm"] == "50 % online after 0.5s, 800 of 2,000 never online"


def test_what_happened_in_sessions() -> None:
    record = good_record()
    record.sessions = Sessions(events=1200, returned=3)
    assert dict(summarise(record, "").facts)["Sessions"] == "1,200 events sent, 3 attempts to come back"
