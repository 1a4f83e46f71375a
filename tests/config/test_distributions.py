"""Distributions and storms as people write them."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.clock import NS_PER_S
from loadgen.config.distributions import (
    durations_text,
    event_rates_text,
    read_detection,
    read_durations,
    read_event_rates,
)
from loadgen.config.show import scenario_lines
from loadgen.engine.draws import Distribution
from loadgen.errors import UsageError
from loadgen.protocol.firmware import P1_0_7_0
from tests.config.test_resolve import BASE, refusal, resolve

S = float(NS_PER_S)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10s", Distribution("constant", 10 * S)),
        ("0s", Distribution("constant", 0.0)),
        ("uniform 10s..1m", Distribution("uniform", 10 * S, 60 * S)),
        ("uniform  0s .. 1m", Distribution("uniform", 0.0, 60 * S)),
        ("exponential 1m30s", Distribution("exponential", 90 * S)),
    ],
)
def test_times(text: str, expected: Distribution) -> None:
    assert read_durations(text, "--hold") == expected
    assert read_durations(durations_text(expected), "--hold") == expected


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("10", "without a unit"),
        ("normal 10s", 'unknown distribution "normal"'),
        ("uniform 10s", "two bounds"),
        ("uniform 10s..5s", "wrong way round"),
        ("5s..10s", "only a uniform"),
        ("exponential -1s", "negative"),
        ("", "is no duration"),
    ],
)
def test_what_is_no_distribution_is_refused(text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        read_durations(text, "--hold")
    assert caught.value.where == "--hold"


def test_event_rates_stay_within_the_firmware() -> None:
    assert read_event_rates("2/m", "--events", [P1_0_7_0]) == Distribution("constant", 2 / 60)
    assert read_event_rates("uniform 1..4", "--events", [P1_0_7_0]) == Distribution("uniform", 1.0, 4.0)
    assert event_rates_text(Distribution("constant", 0.5)) == "1800/h"
    for text in ("5/s", "uniform 1/s..5/s", "exponential 4.1/s"):
        with pytest.raises(UsageError, match="more than the 4 events a second"):
            read_event_rates(text, "--events", [P1_0_7_0])


def test_how_a_loss_is_noticed() -> None:
    assert read_detection("fin", "--storm", [P1_0_7_0]) == Distribution("constant", 0.0)
    assert read_detection("silent", "--storm", [P1_0_7_0]) == Distribution("uniform", 0.0, 25 * S)
    assert read_detection("2s", "--storm", [P1_0_7_0]) == Distribution("constant", 2 * S)
    assert read_detection("uniform 0s..2s", "--storm", [P1_0_7_0]) == Distribution("uniform", 0.0, 2 * S)
    with pytest.raises(UsageError) as caught:
        read_detection("silence", "--storm", [P1_0_7_0])
    assert 'Did you mean "silent"?' in (caught.value.remedy or "")


def test_a_storm_takes_its_place_and_its_devices_stay() -> None:
    file = {"rate": "400/s", "duration": "10s", "warmup": "2s", "devices": "10k"}
    scenario = resolve({"storm": "fin"}, None, file)
    assert (scenario.mode, scenario.rate_per_s, scenario.warmup_ns) == ("open", None, 0)
    assert scenario.duration_ns == scenario.hold_ns == 600 * NS_PER_S
    assert (scenario.storm_devices, scenario.max_in_flight) == (None, 10_000)
    own = resolve({"storm": "silent", "devices": 500, "hold": "5s", "duration": "1m"}, None, file)
    assert (own.storm_devices, own.devices, own.max_in_flight, own.hold_ns) == (500, 500, 500, 5 * NS_PER_S)
    assert 'storm = "uniform 0s..25s"' in scenario_lines(own)


def test_sessions_of_a_scenario() -> None:
    scenario = resolve({"hold": "uniform 1m..3m", "events": "6/m", "reconnect": True})
    assert (scenario.hold_ns, scenario.hold) == (120 * NS_PER_S, Distribution("uniform", 60 * S, 180 * S))
    assert {'hold = "uniform 1m..3m"', 'events = "360/h"', "reconnect = true"} <= set(scenario_lines(scenario))


@pytest.mark.parametrize(
    ("options", "where", "what"),
    [
        ({"events": "1/m"}, "--events", "sessions that last"),
        ({"reconnect": True}, "--reconnect", "sessions that last"),
        ({"reconnect": True, "hold": "1s", "concurrency": 5}, "--reconnect", "taken again at once"),
        ({"storm": "fin", "count": 5}, "--count", "begins at once"),
        ({"storm": "fin", "warmup": "5s"}, "--warmup", "begins at once"),
        ({"storm": "fin", "phases": ["1/s for 1s"]}, "--phase and --storm", "exclude each other"),
        ({"storm": "fin", "devices": 50, "max_in_flight": 49}, "--max-in-flight", "fewer than"),
    ],
)
def test_what_contradicts_itself_is_refused(options: dict[str, Any], where: str, what: str) -> None:
    error = refusal(options, {}, BASE)
    assert error.where == where
    assert what in error.what
