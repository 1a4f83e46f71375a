"""Verdicts, conditions and cautions of comparisons."""

from __future__ import annotations

import numpy as np
import pytest

from loadgen.analysis.compare import Comparison, Row, Settings, compare, percent, runs_needed
from loadgen.analysis.conditions import parse_condition
from loadgen.analysis.outcomes import exit_code
from loadgen.analysis.runvalues import DEFAULT_FAMILY, RunValues, differences
from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram
from tests.analysis.runs import factors, run, runs_of
from tests.analysis.test_blocks import interleaved

METRICS = (*DEFAULT_FAMILY, "completed rate", "failures rate")


def noisy(seed: int, count: int, shift: float = 1.0, noise: float = 0.02) -> list[RunValues]:
    """Runs whose whole family is shifted alike."""
    generator = np.random.default_rng(seed)
    return runs_of(shift * factors("normal", (count, len(DEFAULT_FAMILY)), generator, noise), start=100 * seed)


def found(base: list[RunValues], new: list[RunValues], *conditions: str, effect: float = 0.02) -> Comparison:
    settings = Settings(effect=effect, conditions=tuple(parse_condition(text, METRICS) for text in conditions))
    return compare(base, new, settings, np.random.default_rng(1))


def row(comparison: Comparison, metric: str = "handshake p50") -> Row:
    return next(row for row in comparison.rows if row.metric == metric)


def test_shift_is_found_in_its_direction() -> None:
    base = noisy(1, 10)
    slower, faster = row(found(base, noisy(2, 10, 1.05))), row(found(base, noisy(3, 10, 0.95)))
    assert (slower.verdict, faster.verdict) == ("slower", "faster")
    assert slower.change == pytest.approx(0.05, abs=0.03)
    assert slower.interval is not None
    assert slower.interval[0] < 0.05 < slower.interval[1]
    assert slower.p is not None
    assert slower.p_adjusted is not None
    assert slower.p < slower.p_adjusted <= 0.05
    assert slower.base.noise == pytest.approx(0.02, rel=0.6)


def test_nothing_is_shown_between_like_runs() -> None:
    comparison = found(noisy(1, 10), noisy(2, 10))
    assert {row.verdict for row in comparison.rows} == {"none"}
    assert comparison.cautions == ()


def test_change_that_does_not_matter_is_no_verdict() -> None:
    base, new = noisy(1, 10, noise=0.002), noisy(2, 10, 1.01, noise=0.002)
    small = row(found(base, new))
    assert small.p_adjusted is not None
    assert small.p_adjusted <= 0.05
    assert (small.verdict, small.note) == ("none", "a change is shown, but smaller than the 2 % that matter")
    assert row(found(base, new, effect=0.005)).verdict == "slower"


def test_more_per_second_is_better() -> None:
    base = [run({"completed rate": 100.0 + i}, i) for i in range(6)]
    new = [run({"completed rate": 200.0 + i}, 50 + i) for i in range(6)]
    settings = Settings(family=("completed rate",))
    assert compare(base, new, settings, np.random.default_rng(1)).rows[0].verdict == "faster"
    assert compare(new, base, settings, np.random.default_rng(1)).rows[0].verdict == "slower"


def test_ranks_and_medians_that_disagree_give_no_verdict() -> None:
    base = [run({"key p50": value}, i) for i, value in enumerate([1.0, 2, 3, 4, 5, 100, 101, 102, 103, 104, 105])]
    new = [run({"key p50": value}, 50 + i) for i, value in enumerate([6.0, 7, 8, 9, 10, 11, 90, 200, 201, 202, 203])]
    comparison = compare(base, new, Settings(family=("key p50",)), np.random.default_rng(1))
    assert comparison.rows[0].verdict == "none"


def test_other_rows_have_no_verdict() -> None:
    base = [
        run({"handshake p50": 100.0 + i, "nonce p50": 10.0 + i, "nonce p75": 1.0, "seal x8 cpu": 1.0}, i)
        for i in range(6)
    ]
    comparison = found(base, base)
    assert [row.metric for row in comparison.rows] == [*DEFAULT_FAMILY, "nonce p50", "seal x8 cpu"]
    assert row(comparison, "nonce p50").verdict == ""
    assert row(comparison, "nonce p50").p_adjusted is None
    everything = compare(base, base, Settings(every_row=True), np.random.default_rng(1))
    assert "nonce p75" in [row.metric for row in everything.rows]


def test_metric_without_values_is_no_data() -> None:
    base = [run({"handshake p50": 100.0 + i}, i) for i in range(6)]
    comparison = found(base, base, "handshake p99 +10%")
    assert row(comparison, "handshake p99").verdict == "no data"
    assert row(comparison, "handshake p99").note == "no value in base and new: too few samples"
    assert comparison.judged[0].outcome == "inconclusive"
    zero = [run({"handshake p50": 0.0}, i) for i in range(6)]
    assert row(found(zero, base)).note == "base is 0"


def test_a_side_without_runs_is_said_to_have_none() -> None:
    base = [run({"handshake p50": 100.0 + i}, i) for i in range(6)]
    assert row(found(base, [])).note == "no run in new"
    assert row(found([], base)).note == "no run in base"


# --- too few runs


@pytest.mark.parametrize(("family", "runs"), [(1, 4), (6, 5), (7, 6), (100, 8)])
def test_runs_needed_for_the_test_to_reach_its_level(family: int, runs: int) -> None:
    assert runs_needed(family) == runs


def test_too_few_runs_are_inconclusive_however_far_apart() -> None:
    comparison = found(noisy(1, 4), noisy(2, 4, 2.0), "handshake p50 +10%", "slower")
    assert row(comparison).verdict == "inconclusive"
    assert row(comparison).note == "too few runs: 5 a side at least"
    assert row(comparison).interval is not None
    assert [judged.outcome for judged in comparison.judged] == ["inconclusive", "inconclusive"]
    assert comparison.cautions[0].code == "few_runs"
    assert exit_code(comparison.outcomes()) == 5
    assert row(found(noisy(1, 5), noisy(2, 5, 2.0))).verdict == "slower"
    assert row(found(noisy(1, 10), noisy(2, 3, 2.0))).verdict == "slower"


def seconds_of(side: dict[int, Histogram]) -> object:
    return lambda stage: side if stage is Stage.HANDSHAKE else None


def test_one_run_a_side_has_an_interval_and_no_verdict() -> None:
    base_side, new_side = interleaved(1, 30, 1.3)
    base, new = [run({"handshake p50": 5000.0}, 1)], [run({"handshake p50": 6500.0}, 2)]
    seconds = ({base[0].id: seconds_of(base_side)}, {new[0].id: seconds_of(new_side)})
    settings = Settings(conditions=(parse_condition("handshake p50 +10%", METRICS),))
    comparison = compare(base, new, settings, np.random.default_rng(1), seconds=seconds)  # type: ignore[arg-type]
    only = row(comparison)
    assert comparison.design == "single"
    assert (only.verdict, only.p) == ("inconclusive", None)
    assert only.interval is not None
    assert 0.1 < only.interval[0] < 0.3 < only.interval[1]
    assert comparison.judged[0].outcome == "inconclusive"
    assert comparison.cautions[0].code == "one_run"
    alone = compare(base, new, settings, np.random.default_rng(1))
    assert (row(alone).verdict, row(alone).interval) == ("inconclusive", None)


def test_sides_interleaved_in_one_run_get_a_verdict() -> None:
    base_side, new_side = interleaved(1, 30, 1.1)
    base, new = [run({"handshake p50": 5000.0}, 1, firmware="a")], [run({"handshake p50": 5500.0}, 1, firmware="b")]
    seconds = ({base[0].id: seconds_of(base_side)}, {base[0].id: seconds_of(new_side)})
    comparison = compare(
        base,
        new,
        Settings(conditions=(parse_condition("handshake p50 +5%", METRICS),)),
        np.random.default_rng(1),
        interleaved=True,
        seconds=seconds,  # type: ignore[arg-type]
    )
    assert row(comparison).verdict == "slower"
    assert comparison.judged[0].outcome == "fail"
    assert comparison.differences == ()
    assert row(comparison, "key p50").verdict == "no data"


# --- conditions


@pytest.mark.parametrize(
    ("shift", "condition", "outcome", "code"),
    [
        (1.15, "handshake p99 +10%", "fail", 4),
        (1.0, "handshake p99 +10%", "pass", 0),
        (1.05, "handshake p99 +10%", "pass", 0),
        (0.8, "handshake p99 +10%", "pass", 0),
        (0.8, "handshake p99 -10%", "fail", 4),
        (1.075, "handshake p99 +10%", "inconclusive", 5),
        (1.05, "slower", "fail", 4),
        (0.9, "slower", "pass", 0),
    ],
)
def test_conditions_judge(shift: float, condition: str, outcome: str, code: int) -> None:
    comparison = found(noisy(1, 10), noisy(2, 10, shift), condition)
    assert comparison.judged[0].outcome == outcome
    assert exit_code(comparison.outcomes()) == code


def test_nothing_is_judged_unasked() -> None:
    assert found(noisy(1, 10), noisy(2, 10, 2.0)).outcomes() == []


def test_metric_of_a_condition_joins_the_family() -> None:
    extra = [run(dict.fromkeys(METRICS, 100.0 + i), i) for i in range(10)]
    comparison = found(extra, extra, "completed rate -5%")
    assert comparison.settings.whole_family == (*DEFAULT_FAMILY, "completed rate")
    assert row(comparison, "completed rate").verdict == "none"


def test_change_that_chance_could_give_is_inconclusive() -> None:
    base = [run({"handshake p50": value}, i) for i, value in enumerate([100.0, 150, 60, 120, 90, 130])]
    new = [run({"handshake p50": value}, 50 + i) for i, value in enumerate([120.0, 180, 70, 150, 100, 140])]
    comparison = found(base, new, "handshake p50 +10%")
    assert comparison.judged[0].outcome == "inconclusive"
    assert "chance alone" in comparison.judged[0].text


def test_limit_within_three_times_the_noise_is_called_out() -> None:
    comparison = found(noisy(1, 10), noisy(2, 10), "handshake p50 +5%", "handshake p99 +20%")
    (caution,) = comparison.cautions
    assert caution.code == "narrow_gate"
    assert caution.text.startswith("handshake p50 +5%")
    assert "Allow at least" in caution.remedy


# --- what cannot be compared


def test_runs_that_may_not_be_believed_are_left_out() -> None:
    bad = run({"handshake p50": 1.0}, 999)
    bad = type(bad)(**{name: getattr(bad, name) for name in bad.__struct_fields__} | {"problem": "the run is invalid"})
    base = noisy(1, 10)
    comparison = found([*base, bad], noisy(2, 10, 1.05), "slower")
    assert len(comparison.base) == 10
    assert comparison.left_out == (bad,)
    assert comparison.cautions[0].code == "left_out"
    assert exit_code(comparison.outcomes()) == 4
    nothing = found([bad], base, "slower")
    assert exit_code(nothing.outcomes()) == 5
    assert row(nothing).verdict == "no data"


def test_differences_are_named_the_weightiest_first() -> None:
    base = [run({}, 1, **{"crypto backend": "openssl", "scenario rate_per_s": "200"})]
    new = [run({}, 2, **{"crypto backend": "native", "scenario rate_per_s": "400"})]
    texts = [(difference.text, difference.policy) for difference in differences(base, new)]
    assert texts == [
        ("scenario rate_per_s differs: 200 in base, 400 in new.", "refuse"),
        ("crypto backend differs: openssl in base, native in new.", "warn"),
    ]
    within = [*base, run({}, 3, **{"crypto backend": "native", "scenario rate_per_s": "200"})]
    assert differences(within, within)[0].text.startswith("crypto backend differs between the runs of a side")


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.05, "+5.00 %"), (-0.05, "−5.00 %"), (0.1234, "+12.3 %"), (1.5, "+150 %"), (float("nan"), "–")],
)
def test_percent(share: float, text: str) -> None:
    assert percent(share) == text
