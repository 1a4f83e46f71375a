"""Baselines: what they keep, their file, and what cannot become one."""

from __future__ import annotations

import json

import pytest

from loadgen.analysis.baseline import decode_baseline, encode_baseline, file_name, make_baseline
from loadgen.analysis.room import narrow_thresholds
from loadgen.analysis.runvalues import fingerprint, values_of_record
from loadgen.analysis.thresholds import parse_threshold
from tests.analysis.runs import FACTS, made_record, run


def test_baseline_keeps_what_a_comparison_needs() -> None:
    runs = [values_of_record(made_record(index, 1 + index / 100), f"results/{index}") for index in range(4)]
    baseline = make_baseline(runs, "2026-01-02T03:04:05.000Z", "before the upgrade")
    back = decode_baseline(encode_baseline(baseline))
    assert back == baseline
    again = back.run_values("results/baselines/quick.json")
    assert [found.id for found in again] == [found.id for found in runs]
    assert [found.facts for found in again] == [found.facts for found in runs]
    assert again[2].values["handshake p99"] == runs[2].values["handshake p99"]
    assert again[2].units["completed rate"] == "per_s"
    assert "handshake p75" not in again[2].values
    assert baseline.noise("handshake p50") == pytest.approx(0.0127, rel=0.01)


def test_file_has_one_line_a_metric() -> None:
    runs = [run({"handshake p50": 100.0 + i, "key p50": 50.0}, i) for i in range(3)]
    lines = encode_baseline(make_baseline(runs, "2026-01-02T03:04:05.000Z", None)).decode().splitlines()
    assert '    "handshake p50": [100.0, 101.0, 102.0],' in lines
    assert json.loads("".join(lines))["schema"] == "loadgen/baseline/1"


def test_missing_values_stay_missing() -> None:
    runs = [run({"handshake p50": 100.0}, 1), run({"handshake p50": 101.0, "key p50": 3.0}, 2)]
    back = decode_baseline(encode_baseline(make_baseline(runs, "", None))).run_values("x")
    assert "key p50" not in back[0].values
    assert back[1].values["key p50"] == 3.0


def test_facts_that_differ_are_kept_by_run() -> None:
    runs = [run({"key p50": 1.0}, 1, kernel="a"), run({"key p50": 1.0}, 2, kernel="b")]
    baseline = make_baseline(runs, "", None)
    assert baseline.run_facts == {"kernel": ["a", "b"]}
    assert [found.facts["kernel"] for found in baseline.run_values("x")] == ["a", "b"]


@pytest.mark.parametrize(
    ("fact", "value"),
    [("scenario name", "other"), ("machine: processor", "B"), ("scenario rate_per_s", "3"), ("schema", "loadgen/x/1")],
)
def test_runs_that_do_not_belong_together(fact: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"do not belong together: {fact} differs"):
        make_baseline([run({}, 1), run({}, 2, **{fact: value})], "", None)


def test_no_runs_make_no_baseline() -> None:
    with pytest.raises(ValueError, match="no run"):
        make_baseline([], "", None)


def test_key_is_scenario_and_machine() -> None:
    other = FACTS | {"machine: processor": "Another"}
    assert fingerprint(FACTS) == fingerprint(FACTS | {"kernel": "new"}) != fingerprint(other)
    assert file_name("a/b c", "0123abcd") == "a_b_c-0123abcd.json"


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"{", "no JSON"),
        (b"[]", "schema None"),
        (b'{"schema": "loadgen/baseline/2"}', "loadgen/baseline/2"),
        (b'{"schema": "loadgen/baseline/1"}', "damaged"),
    ],
)
def test_files_that_are_no_baseline(data: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        decode_baseline(data)


def test_file_with_a_row_of_another_length_is_damaged() -> None:
    baseline = make_baseline([run({"key p50": 1.0}, 1)], "", None)
    document = json.loads(encode_baseline(baseline))
    document["values"]["key p50"].append(2.0)
    with pytest.raises(ValueError, match="key p50 has 2 values for 1 runs"):
        decode_baseline(json.dumps(document).encode())


def test_thresholds_within_the_noise_of_a_baseline_are_called_out() -> None:
    runs = [
        run({"handshake p99": value, "failures rate": 0.0}, i) for i, value in enumerate([98_000.0, 100_000, 102_000])
    ]
    texts = [
        "p(99) of handshake < 103ms",
        "p(99) of handshake < 110ms",
        "p(99) of handshake < 103ms over 1s windows",
        "rate of failures < 1%",
        "count of handshake > 5",
    ]
    (caution,) = narrow_thresholds([parse_threshold(text) for text in texts], runs)
    assert caution.text.startswith("p(99) of handshake < 103ms: the limit is 3 % from the median")
    assert narrow_thresholds([parse_threshold(texts[0])], runs[:2]) == []
