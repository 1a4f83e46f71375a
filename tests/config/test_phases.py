"""Phases as people write them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from loadgen.clock import NS_PER_S
from loadgen.config.phases import read_phases, segments_of, warmup_ns_of
from loadgen.config.show import scenario_lines
from loadgen.engine.arrival import Segment
from loadgen.errors import UsageError
from tests.config.test_resolve import refusal, resolve

S = NS_PER_S


def rates(*texts: str) -> list[tuple[str, Fraction, Fraction, int]]:
    return [
        (segment.process, segment.first_rate, segment.last_rate, segment.duration_ns)
        for segment in segments_of(read_phases(texts, "--phase"))
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200/s for 10s", [("regular", 200, 200, 10 * S)]),
        ("  poisson   2.5k/s  for 1m30s ", [("poisson", 2500, 2500, 90 * S)]),
        ("constant 120/m for 1h", [("regular", 2, 2, 3600 * S)]),
        ("200/s..800/s for 30s", [("regular", 200, 800, 30 * S)]),
        ("ramp 200/s .. 800/s for 30s", [("regular", 200, 800, 30 * S)]),
        ("poisson ramp 0..1.5k/s for 2s", [("poisson", 0, 1500, 2 * S)]),
        ("ramp 9/s..0/s for 1s", [("regular", 9, 0, S)]),
        (
            "steps 100/s..400/s in 4 for 40s",
            [("regular", rate, rate, 10 * S) for rate in (100, 200, 300, 400)],
        ),
        ("spike 100/s..900/s for 10s", [("regular", 100, 900, 5 * S), ("regular", 900, 100, 5 * S)]),
        ("5 for 3ns", [("regular", 5, 5, 3)]),
    ],
)
def test_what_a_phase_means(text: str, expected: list[Any]) -> None:
    assert rates(text) == expected


def test_phases_follow_one_another_or_wait_for_their_time() -> None:
    phases = read_phases(["warmup 10/s for 2s", "20/s for 3s at 2s", "poisson 30/s for 1s at 8s"], "--phase")
    assert [(phase.begin_ns, phase.end_ns) for phase in phases] == [(0, 2 * S), (2 * S, 5 * S), (8 * S, 9 * S)]
    assert warmup_ns_of(phases) == 2 * S
    assert segments_of(phases)[2] == Segment("silent", 3 * S)
    assert sum(segment.duration_ns for segment in segments_of(phases)) == 9 * S


@pytest.mark.parametrize(
    ("texts", "where", "what"),
    [
        ([], "phases", "no phase to record"),
        (["warmup 5/s for 1s"], "phases", "no phase to record"),
        (["5/s for 1s", "warmup 5/s for 1s"], "phases [2]", "comes before everything"),
        (["5/s for 2s", "5/s for 2s at 1s"], "phases [2]", "begins at 1s, before the phase before it ends at 2s"),
        (["5/s for 0s"], "phases [1]", "longer than nothing"),
        (["0/s for 1s"], "phases [1]", "rate of 0"),
        (["ramp 0..0 for 1s"], "phases [1]", "rate of 0"),
        (["-5/s for 1s"], "phases [1]", "negative"),
        (["5/s"], "phases [1]", "is no phase"),
        (["5/s for 10"], "phases [1]", "without a unit"),
        (["poison 5/s for 1s"], "phases [1]", 'unknown word "poison"'),
        (["ramp spike 1/s..2/s for 1s"], "phases [1]", "contradicts itself"),
        (["poisson poisson 1/s for 1s"], "phases [1]", "contradicts itself"),
        (["ramp 5/s for 1s"], "phases [1]", "two rates"),
        (["constant 5/s..6/s for 1s"], "phases [1]", "one rate"),
        (["steps 5/s..6/s for 1s"], "phases [1]", "into how many"),
        (["ramp 5/s..6/s in 3 for 1s"], "phases [1]", "into how many"),
        (["steps 5/s..6/s in 1 for 1s"], "phases [1]", "at least 2"),
        (["steps 5/s..6/s in 1001 for 1s"], "phases [1]", "more than the 1000"),
    ],
)
def test_what_is_no_phase_is_refused_with_its_place(texts: list[str], where: str, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_phases(texts, "phases")
    assert caught.value.where == where
    assert what in caught.value.what


def test_an_unknown_word_gets_a_suggestion() -> None:
    with pytest.raises(UsageError) as caught:
        read_phases(["poison 5/s for 1s"], "--phase")
    assert caught.value.remedy is not None
    assert 'Did you mean "poisson"?' in caught.value.remedy


def test_phases_replace_the_rate_and_the_length_of_lower_layers() -> None:
    file = {"rate": "400/s", "duration": "10s", "warmup": "2s"}
    scenario = resolve({"phases": ["warmup 10/s for 1s", "20/s for 4s"]}, None, file)
    assert scenario.rate_per_s is None
    assert (scenario.mode, scenario.warmup_ns, scenario.duration_ns, scenario.count) == ("open", S, 4 * S, None)
    lines = scenario_lines(scenario)
    assert 'phases = ["warmup 10/s for 1s", "20/s for 4s"]' in lines
    assert not [line for line in lines if line.startswith(("rate", "duration", "warmup"))]


def test_options_replace_the_phases_of_a_scenario() -> None:
    file = {"phases": ["20/s for 4s"]}
    assert resolve({"rate": "5/s", "duration": "2s"}, None, file).phases == ()
    assert resolve({"count": 7}, None, file).count == 7


@pytest.mark.parametrize(
    ("layers", "where", "what"),
    [
        (({"phases": ["5/s for 1s"], "rate": "5/s"},), "--rate and --phase", "exclude each other"),
        (({"phases": ["5/s for 1s"], "duration": "1s"},), "--duration", "say themselves"),
        (({"warmup": "1s"}, None, {"phases": ["5/s for 1s"]}), "--warmup", "say themselves"),
        (({}, None, {"phases": ["nonsense"]}), "bench.toml: scenario.quick.phases [1]", "is no phase"),
        (({"trace": "a.csv", "concurrency": 5},), "--trace and --concurrency", "exclude each other"),
    ],
)
def test_what_contradicts_phases_is_refused(layers: tuple[Any, ...], where: str, what: str) -> None:
    error = refusal(*layers)
    assert error.where == where
    assert what in error.what


def test_a_trace_ends_by_itself() -> None:
    scenario = resolve({"trace": "a.csv"})
    assert (scenario.trace, scenario.duration_ns, scenario.rate_per_s) == ("a.csv", None, None)
    assert resolve({"trace": "a.csv", "duration": "2s", "warmup": "1s"}).warmup_ns == S
