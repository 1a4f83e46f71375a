"""Three outcomes of every kind of threshold, of runs and of their windows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from loadgen.analysis.gates import GateResult, RunView, evaluate, outcomes, stored_result
from loadgen.analysis.outcomes import Outcome, exit_code
from loadgen.analysis.thresholds import parse_threshold
from loadgen.clock import NS_PER_MS
from loadgen.errors import ExitCode
from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram
from loadgen.recording.record import Counts, FailureTally, IntervalLine, Rate, stage_stats

KEY_CLOSED = FailureTally(stage="key", reason="closed", device_code=-19, firmware="p1@0.7.0", count=3)


def milliseconds(*values: float) -> Histogram:
    return Histogram.of_values([round(value * NS_PER_MS) for value in values])


def view(
    seconds: Mapping[int, Histogram] | None = None,
    *,
    failed: int = 0,
    failures: Sequence[FailureTally] = (),
    lines: Sequence[IntervalLine] = (),
    duration_s: float = 10.0,
    started: int | None = None,
    rate: Rate | None = None,
) -> RunView:
    """A run of one firmware; every stage has the histograms of ``seconds``."""
    seconds = {0: milliseconds(*range(1, 2001))} if seconds is None else seconds
    whole = Histogram.merge(seconds.values())
    started = whole.count + failed if started is None else started
    return RunView(
        counts=Counts(intended=started, started=started, completed=started - failed, failed=failed),
        rate=rate or Rate(mode="open", offered_per_s=200.0, achieved_per_s=198.0),
        duration_s=duration_s,
        firmwares=("p1@0.7.0",),
        failures=failures,
        valid=True,
        stats=lambda _stage, _firmware: stage_stats(whole),
        seconds=lambda _stage, _firmware: seconds,
        lines=lambda: lines,
    )


def line(second: int, *, started: int, failed: int = 0, failures: Sequence[FailureTally] = ()) -> IntervalLine:
    return IntervalLine(
        second=second,
        time="",
        intended=started,
        started=started,
        completed=started - failed,
        failed=failed,
        aborted=0,
        session_failed=0,
        in_flight=0,
        waiting=0,
        firmware={},
        failures=list(failures),
        session_failures=[],
        worker_cpu_s=[],
        mock_cloud_cpu_s=[],
    )


def one(text: str, run: RunView) -> GateResult:
    (result,) = evaluate([parse_threshold(text)], run)
    return result


@pytest.mark.parametrize(
    ("text", "outcome", "observed"),
    [
        ("p(99) of key < 2s", "pass", 1_980_000.0),
        ("p(99) of key < 1.9s", "fail", 1_980_000.0),
        ("p(97.5) of key < 2s", "pass", 1_950_000.0),
        ("med of key >= 1s", "pass", 1_000_000.0),
        ("min of key == 1ms", "pass", 1_000.0),
        ("max of key <= 2s", "pass", 2_000_000.0),
        ("mean of key < 1s", "fail", 1_000_500.0),
        ("count of key == 2k", "pass", 2000),
        ("p(100) of key <= 2.1s", "pass", 2_000_000.0),
        ("achieved rate >= 99%", "pass", 0.99),
        ("achieved rate > 99%", "fail", 0.99),
        ("rate of failures < 0.1%", "pass", 0.0),
        ("failures[key/closed] == 0", "pass", 0),
    ],
)
def test_whole_runs(text: str, outcome: str, observed: float) -> None:
    result = one(text, view())
    assert result.outcome == outcome
    assert result.observed == pytest.approx(observed, rel=1e-3)
    assert result.samples == 2000


def test_values_have_their_intervals() -> None:
    low, high = one("p(90) of key < 2s", view()).interval or (0.0, 0.0)
    assert low < 1_800_000 < high
    mean = one("mean of key < 2s", view()).interval
    assert mean is not None
    assert mean == pytest.approx((975_200, 1_025_800), rel=1e-3)  # 1,000.5 ± 1.96 · 577.5 / sqrt(2000) ms
    share = one("rate of failures < 10%", view(failed=40)).interval
    assert share is not None
    assert share[0] < 40 / 2040 < share[1]
    assert one("max of key < 3s", view()).interval is None


@pytest.mark.parametrize(
    ("text", "run", "detail"),
    [
        ("p(99) of key < 2s", view({0: milliseconds(*range(1, 1000))}), "p99 takes 1,000 samples, there are 999"),
        ("p(99.9) of key < 2s", view(), "takes 10,000"),
        ("max of key < 2s", view({}, failed=3), "no samples"),
        ("p(99) of key < 2s", view({}), "no handshake was started"),
        ("count of failed == 0", view({}), "no handshake was started"),
        ("failures[key/closed] == 0", view({}), "no handshake was started"),
        ("rate of failures < 0.1%", view({0: milliseconds(*range(1, 1000))}), "takes 1,000 handshakes to be seen"),
        ("achieved rate > 90%", view(rate=Rate(mode="closed")), "closed loop"),
        ("p(99) of key[photon@0.6.3] < 2s", view(), "photon@0.6.3 did not run; there were p1@0.7.0"),
        ("p(50) of key < 2s over 20s windows", view(), "no full window"),
    ],
)
def test_no_data_is_said_and_is_no_pass(text: str, run: RunView, detail: str) -> None:
    result = one(text, run)
    assert result.outcome == "no_data"
    assert detail in result.detail


def test_few_handshakes_can_fail_a_rate_of_failures_but_not_pass_it() -> None:
    few = view({0: milliseconds(*range(1, 100))}, failed=1)
    assert one("rate of failures < 0.1%", few).outcome == "fail"
    assert one("rate of failures < 5%", few).outcome == "pass"
    assert one("rate of failures == 0", view({0: milliseconds(1, 2)})).outcome == "pass"


def test_failures_are_those_of_the_stage_and_reason() -> None:
    run = view(failed=3, failures=[KEY_CLOSED])
    assert one("failures[key/closed] == 0", run).observed == 3
    assert one("failures[key/reset] == 0", run).outcome == "pass"
    assert one("failures[nonce/closed] == 0", run).outcome == "pass"


def test_firmware_of_a_run_with_one_is_the_whole_run() -> None:
    asked: list[str | None] = []

    def stats(_stage: Stage, firmware: str | None) -> object:
        asked.append(firmware)
        return stage_stats(milliseconds(*range(1, 2001)))

    run = replace(view(), stats=stats)  # type: ignore[arg-type]
    assert one("p(50) of key[p1@0.7.0] < 2s", run).outcome == "pass"
    assert (
        one("p(50) of key[photon@0.6.3] < 2s", replace(run, firmwares=("p1@0.7.0", "photon@0.6.3"))).outcome == "pass"
    )
    assert asked == [None, "photon@0.6.3"]


def test_log_that_was_cut_off_is_no_data() -> None:
    seconds = {0: milliseconds(*range(1, 1001))}
    run = replace(view(), seconds=lambda _stage, _firmware: seconds)
    assert "cut off: it has 1,000 of 2,000" in one("p(97) of key < 2s", run).detail
    assert one("p(95) of key < 2s", run).outcome == "pass"  # stands in the record itself
    missing = replace(view(), seconds=lambda _stage, _firmware: None)
    assert one("p(97) of key < 2s", missing).outcome == "no_data"
    assert one("mean of key < 2s", missing).outcome == "pass"


# --- windows


def steady(seconds: int, value_ms: float, count: int = 50) -> dict[int, Histogram]:
    return {second: milliseconds(*[value_ms] * count) for second in range(seconds)}


def test_every_full_window_must_hold_and_the_worst_is_shown() -> None:
    seconds = steady(10, 10.0) | {4: milliseconds(*[500.0] * 50), 5: milliseconds(*[500.0] * 50)}
    assert one("p(50) of key < 100ms", view(seconds)).outcome == "pass"
    result = one("p(50) of key < 100ms over 2s windows", view(seconds))
    assert (result.outcome, result.samples) == ("fail", 100)
    assert result.detail == "worst of 5 windows, 4 s to 6 s"
    assert one("p(50) of key < 600ms over 2s windows", view(seconds)).outcome == "pass"
    assert one("p(50) of key > 5ms over 2s windows", view(seconds)).detail == "worst of 5 windows, 0 s to 2 s"


def test_what_is_left_behind_the_last_full_window_is_not_looked_at() -> None:
    seconds = steady(10, 10.0) | {9: milliseconds(*[500.0] * 50), 10: milliseconds(*[500.0] * 50)}
    assert one("max of key < 100ms over 3s windows", view(seconds)).outcome == "pass"
    assert one("max of key < 100ms over 2s windows", view(seconds)).outcome == "fail"
    assert one("max of key < 100ms over 10s windows", view(seconds, duration_s=9.98)).outcome == "fail"


def test_one_window_with_too_few_samples_makes_no_data_of_the_whole() -> None:
    seconds = steady(10, 500.0) | {4: milliseconds(10.0), 5: milliseconds(10.0)}
    result = one("p(50) of key < 100ms over 2s windows", view(seconds))
    assert (result.outcome, result.observed) == ("no_data", None)
    assert result.detail == "4 s to 6 s: p50 takes 20 samples, there are 2"
    assert one("p(50) of key < 100ms over 2s windows", replace(view(), seconds=lambda *_: None)).outcome == "no_data"


@pytest.mark.parametrize("text", ["max of key < 1s over 2s windows", "p(50) of key < 1s over 1s windows"])
def test_windows_of_a_log_that_was_cut_off_pass_nothing(text: str) -> None:
    seconds = {second: milliseconds(*range(1, 101)) for second in range(10)}
    whole = view(seconds)
    assert one(text, whole).outcome == "pass"
    cut = replace(whole, seconds=lambda *_: {second: seconds[second] for second in range(9)})
    result = one(text, cut)
    assert (result.outcome, result.detail) == (
        "no_data",
        "the log of histograms is cut off: it has 900 of 1,000 samples",
    )


def test_windows_with_a_second_missing_pass_nothing() -> None:
    lines = [line(second, started=200) for second in range(10)]
    assert one("rate of failures < 1% over 5s windows", view(lines=lines)).outcome == "pass"
    result = one("rate of failures < 1% over 5s windows", view(lines=lines[:9]))
    assert (result.outcome, result.detail) == ("no_data", "the log of seconds is cut off: it has 9 of 10 seconds")
    assert one("rate of failures < 1% over 3s windows", view(lines=lines[:9])).outcome == "pass"  # no window needs it


def test_windows_of_what_is_counted_come_from_the_intervals() -> None:
    lines = [line(second, started=200, failed=3 * (second == 7)) for second in range(10)]
    run = view(steady(10, 10.0), failed=3, lines=lines)
    assert one("rate of failures < 0.5% over 10s windows", run).outcome == "pass"
    result = one("rate of failures < 1% over 2s windows", run)
    assert (result.outcome, result.observed, result.detail) == ("pass", 3 / 400, "worst of 5 windows, 6 s to 8 s")
    assert one("rate of failures < 1% over 1s windows", run).outcome == "fail"
    assert one("rate of failures < 0.1% over 1s windows", run).outcome == "no_data"  # 200 are too few
    assert one("achieved rate >= 100% over 5s windows", run).outcome == "pass"
    assert one("rate of failures < 1% over 1s windows", view()).detail == "the record has no log of its seconds"
    stalled = view(steady(10, 10.0), lines=[*lines[:5], *(line(second, started=0) for second in range(5, 10))])
    assert one("rate of failures < 1% over 5s windows", stalled).outcome == "no_data"
    failing = [line(0, started=200, failed=3, failures=[KEY_CLOSED]), line(1, started=200)]
    run = view(steady(2, 10.0), lines=failing, duration_s=2.0)
    assert one("failures[key/closed] < 2 over 1s windows", run).observed == 3


def test_windows_of_a_rate_that_changes_were_offered_what_was_due_in_them() -> None:
    rate = Rate(mode="open", offered_per_s=200.0, achieved_per_s=200.0)
    ramp = [line(0, started=100), line(1, started=300)]
    run = view(steady(2, 10.0), lines=ramp, duration_s=2.0, rate=rate)
    assert one("achieved rate >= 95% over 1s windows", run).observed == 0.5
    assert one("achieved rate >= 95% over 1s windows", replace(run, varies=True)).outcome == "pass"
    storm = replace(run, varies=True, rate=Rate(mode="open"))
    assert one("achieved rate >= 95% over 1s windows", storm).outcome == "no_data"


# --- the whole


def test_invalid_run_passes_nothing() -> None:
    run = replace(view(), valid=False)
    good, bad = evaluate([parse_threshold("p(50) of key < 2s"), parse_threshold("p(50) of key < 1ms")], run)
    assert (good.outcome, bad.outcome) == ("no_data", "fail")
    assert "invalid" in good.detail
    assert exit_code(outcomes([good, bad], run)) == ExitCode.INCONCLUSIVE


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([], 0),
        ([Outcome.FINE], 0),
        ([Outcome.FINE, Outcome.NO_DATA, Outcome.NO_BASELINE], 5),
        ([Outcome.NO_BASELINE, Outcome.FINE], 6),
        ([Outcome.NO_DATA, Outcome.REGRESSION], 4),
        ([Outcome.REGRESSION, Outcome.THRESHOLD_FAILED], 3),
        ([Outcome.THRESHOLD_FAILED, Outcome.INVALID], 5),
        ([Outcome.INVALID, Outcome.UNREACHABLE], 7),
        ([Outcome.UNREACHABLE, Outcome.INTERRUPTED], 130),
    ],
)
def test_one_exit_code_by_precedence(found: list[Outcome], code: int) -> None:
    assert exit_code(found) == code


def test_run_without_a_completed_handshake_is_unreachable() -> None:
    run = view({}, failed=5)
    assert exit_code(outcomes(evaluate([parse_threshold("p(50) of key < 2s")], run), run)) == ExitCode.UNREACHABLE


def test_result_goes_into_the_record_and_back() -> None:
    result = one("p(99) of key < 2s", view())
    assert stored_result(result.for_record()) == result
    assert result.for_record().limit == 2_000_000.0
