"""The grammar of thresholds: what is understood, and what is said of what is not."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.analysis.thresholds import EXAMPLES, ThresholdError, format_value, parse_threshold
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage


@pytest.mark.parametrize(
    ("text", "kind", "stage", "operator", "limit"),
    [
        ("p(99) of handshake < 250ms", "percentile", Stage.HANDSHAKE, "<", 250_000.0),
        ("med of key <= 1.5ms", "percentile", Stage.KEY, "<=", 1_500.0),
        ("mean of cloud < 1m30s", "mean", Stage.CLOUD, "<", 90_000_000.0),
        ("max of response<2 s", "max", Stage.RESPONSE, "<", 2_000_000.0),
        ("min of connect > 800ns", "min", Stage.CONNECT, ">", 0.8),
        ("count of handshake >= 10k", "count", Stage.HANDSHAKE, ">=", 10_000.0),
        ("rate of failures < 0.1%", "failure_rate", None, "<", 0.001),
        ("rate of failures < 0.001", "failure_rate", None, "<", 0.001),
        ("achieved rate >= 95 %", "achieved_rate", None, ">=", 0.95),
        ("achieved rate <= 105%", "achieved_rate", None, "<=", 1.05),
        ("achieved rate >= 1", "achieved_rate", None, ">=", 1.0),
        ("failures[key/closed] == 0", "failures", Stage.KEY, "==", 0.0),
        ("  P(99)  OF Handshake < 250ms ", "percentile", Stage.HANDSHAKE, "<", 250_000.0),
    ],
)
def test_every_metric_with_its_unit(text: str, kind: str, stage: Stage | None, operator: str, limit: float) -> None:
    found = parse_threshold(text)
    assert (found.kind, found.stage, found.operator, found.limit) == (kind, stage, operator, limit)
    assert found.text == text.strip()
    assert found.window_s is None


def test_parts_beside_metric_and_limit() -> None:
    assert parse_threshold("p(99.9) of response < 2s over 10s windows").window_s == 10
    assert parse_threshold("rate of failures < 1% over 1m windows").window_s == 60
    assert parse_threshold("p(99.9) of key[p1@0.7.0] < 1s").firmware == "p1@0.7.0"
    assert parse_threshold("p(99.9) of key < 1s").quantile == Fraction(999, 1000)
    assert parse_threshold("med of key < 1s").quantile == Fraction(1, 2)
    assert parse_threshold("failures[unwrap/bad_signature] < 3").reason is Reason.BAD_SIGNATURE


@pytest.mark.parametrize("text", EXAMPLES)
def test_examples_are_right(text: str) -> None:
    parse_threshold(text)


@pytest.mark.parametrize(
    ("text", "at", "problem", "remedy"),
    [
        ("p(99) of handshak < 250ms", "handshak", "no stage", 'Did you mean "handshake"?'),
        ("p99 of handshake < 250ms", "p99", "no metric", 'Did you mean "p(99)"?'),
        ("mena of key < 1s", "mena", "no metric", 'Did you mean "mean"?'),
        ("handshake < 1s", "handshake", "no metric", "p(99) of handshake"),
        ("p(99) handshake < 250ms", "handshake", '"of" should', "p(99) of handshake"),
        ("p(99) of handshake < 250", "250", "without a unit", "250ms"),
        ("p(99) of handshake < 250mss", "250mss", "unknown unit", "250ms"),
        ("p(99) of handshake = 250ms", "= ", "no comparison", "=="),
        ("p(99) of handshake => 250ms", "=>", "no comparison", ">="),
        ("p(99) of handshake != 250ms", "!=", "no comparison", "no !="),
        ("p(101) of key < 1s", "101", "no percentile", "up to 100"),
        ("p(0) of key < 1s", "0)", "no percentile", "above 0"),
        ("p() of key < 1s", ")", "percentile is missing", "p(99.9)"),
        ("rate of failure < 1%", "failure", '"failures" should', "rate of failures"),
        ("achieved rates > 1", "rates", '"rate" should', "achieved rate"),
        ("failures[key/close] == 0", "close]", "no reason", 'Did you mean "closed"?'),
        ("failures[kei/closed] == 0", "kei", "no stage that a handshake fails in", 'Did you mean "key"?'),
        ("failures[key] == 0", "]", "reason is missing", "failures[key/closed]"),
        ("failures == 0", "== 0", "which failures", "rate of failures"),
        ("p(99) of key < 1s over 500ms windows", "500ms", "no whole seconds", "10s"),
        ("p(99) of key < 1s over 10 windows", "10 w", "without a unit", "250ms"),
        ("p(99) of key < 1s over 10s window", "window", '"windows" should', "windows"),
        ("p(99) of key < 1s over 10s windows now", "now", "too much", "ends after"),
        ("p(99) of key < 1s please", "1s please", "'please' does not belong", "over 10s windows"),
        ("p(99) of key[] < 1s", "] <", "firmware is missing", "p1@0.7.0"),
        ("p(99) of key[p1 < 1s", "[p1", "not closed", "p1@0.7.0"),
        ("rate of failures < 5ms", "5ms", "share", "0.1%"),
        ("rate of failures < 1", "1", "is 100 %", '"1%"'),
        ("rate of failures <= 150 %", "150", "never above 150 %", "0.1%"),
        ("achieved rate > 95", "95", "is 9,500 %", '"95%"'),
        ("p(99 of key < 1s", "p(99", "no metric", '"p(99)"'),
        ("count of key > 10ms", "10ms", "count", "10k"),
        ("p(99) of key <", None, "limit is missing", "250ms"),
        ("p(99) of", None, "ends where a stage", "p(99) of handshake"),
        ("", None, "nothing", "p(99) of handshake"),
    ],
)
def test_mistakes_have_a_position_and_a_remedy(text: str, at: str | None, problem: str, remedy: str) -> None:
    with pytest.raises(ThresholdError) as caught:
        parse_threshold(text)
    error = caught.value
    assert problem in error.problem
    assert remedy in error.remedy
    assert error.position == (len(text.rstrip()) if at is None else text.index(at))
    assert error.pointer.endswith("\n" + " " * error.position + "^")
    assert f"character {error.position + 1}" in str(error)


@given(
    st.text(max_size=60)
    | st.from_regex(r"p\([0-9.]{0,5}\) of [a-z]{0,10} ?[<>=]{0,2} ?[0-9a-z%.]{0,8}( over [0-9a-z]{0,4})?")
)
def test_no_text_breaks_the_reader(text: str) -> None:
    error = None
    try:
        found = parse_threshold(text)
    except ThresholdError as caught:
        error = caught
    if error is None:
        assert parse_threshold(found.text) == found
    else:
        assert 0 <= error.position <= len(text)
        assert error.problem
        assert error.remedy


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (250_000.0, "us", "250 ms"),
        (7_581.695, "us", "7.582 ms"),
        (0.8, "us", "800 ns"),
        (12_345_678_900.0, "us", "12,346 s"),
        (0.001, "share", "0.1 %"),
        (95.0, "share", "9,500 %"),
        (1_234.0, "count", "1,234"),
        (0.5, "count", "0.5"),
        (None, "us", "–"),
    ],
)
def test_values_for_people(value: float | None, unit: str, text: str) -> None:
    assert format_value(value, unit) == text  # type: ignore[arg-type]
