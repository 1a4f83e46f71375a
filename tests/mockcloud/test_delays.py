from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.mockcloud.delays import (
    MAX_DELAY_NS,
    Bimodal,
    Constant,
    Delay,
    DelayPlan,
    Exponential,
    Listed,
    LogNormal,
    Stall,
    Uniform,
    check_delays,
    check_stalls,
    parse_delay,
    parse_stall,
)
from loadgen.mockcloud.faults import FaultStage

MS = 1_000_000
KEY = FaultStage.KEY


@pytest.mark.parametrize(
    ("text", "distribution"),
    [
        ("key:constant=20ms", Constant(20 * MS)),
        ("key:constant=0s", Constant(0)),
        ("key:uniform=1ms,9ms", Uniform(MS, 9 * MS)),
        ("key:exponential=1.5ms", Exponential(1_500_000)),
        ("key:lognormal=20ms,0.5", LogNormal(20 * MS, 0.5)),
        ("key:bimodal=5ms,100ms,10%", Bimodal(5 * MS, 100 * MS, 0.1)),
        ("key: list = 1ms, 2ms ,3ms", Listed((MS, 2 * MS, 3 * MS))),
    ],
)
def test_what_can_be_written(text: str, distribution: object) -> None:
    delay = parse_delay(text)
    assert delay == Delay(KEY, distribution)  # type: ignore[arg-type]
    assert parse_delay(str(delay)) == delay
    assert msgspec.json.decode(msgspec.json.encode(delay), type=Delay) == delay


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["no delay", "key:exponential=20ms"]),
        ("key:20ms", ["no delay"]),
        ("session:constant=1ms", ["unknown stage 'session'", "nonce, key, hello"]),
        ("key:gamma=1ms", ["unknown distribution 'gamma'", "lognormal"]),
        ("key:constant=20", ["without a unit", "key:constant=20ms"]),
        ("key:constant=1ms,2ms", ["takes 1 argument, not 2"]),
        ("key:uniform=1ms", ["takes 2 arguments, not 1"]),
        ("key:uniform=9ms,1ms", ["shorter than the first"]),
        ("key:lognormal=1ms,x", ["sigma 'x'"]),
        ("key:lognormal=1ms,0", ["sigma '0'"]),
        ("key:lognormal=1ms,nan", ["sigma 'nan'"]),
        ("key:bimodal=1ms,2ms,101%", ["over 1"]),
        ("key:constant=2h", ["longer than 1h"]),
        ("key:list=" + "1ms," * 1000 + "1ms", ["1001 values"]),
    ],
)
def test_what_cannot_is_refused(text: str, parts: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_delay(text)
    for part in parts:
        assert part in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    for parse in (parse_delay, parse_stall):
        try:
            parse(text)
        except ValueError:
            continue


def drawn(text: str, count: int = 20_000) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    plan = DelayPlan([parse_delay(text)], 11)
    return np.array([plan.delay_ns(KEY, number) for number in range(count)])


@pytest.mark.parametrize(
    ("text", "quantiles"),
    [
        ("key:uniform=10ms,30ms", {0.1: 12 * MS, 0.5: 20 * MS, 0.9: 28 * MS}),
        ("key:exponential=20ms", {p: -20 * MS * math.log(1 - p) for p in (0.1, 0.5, 0.9, 0.99)}),
        ("key:lognormal=20ms,0.5", {0.5: 20 * MS, 0.841345: 20 * MS * math.exp(0.5)}),
    ],
)
def test_the_quantiles_are_those_of_the_distribution(text: str, quantiles: dict[float, float]) -> None:
    values = drawn(text)
    for p, expected in quantiles.items():
        assert np.mean(values <= expected) == pytest.approx(p, abs=3 * (p * (1 - p) / len(values)) ** 0.5)


def test_two_modes_a_constant_and_a_list() -> None:
    values = drawn("key:bimodal=5ms,100ms,10%")
    assert set(values.tolist()) == {5 * MS, 100 * MS}
    assert np.mean(values == 100 * MS) == pytest.approx(0.1, abs=0.0064)
    assert set(drawn("key:constant=3ms", 10).tolist()) == {3 * MS}
    assert drawn("key:list=1ms,2ms,3ms", 5).tolist() == [MS, 2 * MS, 3 * MS, MS, 2 * MS]


def test_the_tail_ends() -> None:
    assert LogNormal(MAX_DELAY_NS, 5).delay_ns(1 - 2**-53, 0) == MAX_DELAY_NS
    assert Exponential(MAX_DELAY_NS).delay_ns(1 - 2**-53, 0) == MAX_DELAY_NS
    assert Exponential(MAX_DELAY_NS).delay_ns(2**-53, 0) == 0


def test_stages_are_drawn_apart_and_the_seed_decides() -> None:
    delays = [parse_delay("key:exponential=1s"), parse_delay("hello:exponential=1s")]
    plan = DelayPlan(delays, 1)
    assert plan.delay_ns(KEY, 7) == DelayPlan(delays[:1], 1).delay_ns(KEY, 7)
    assert plan.delay_ns(KEY, 7) != plan.delay_ns(FaultStage.HELLO, 7)
    assert plan.delay_ns(KEY, 7) != DelayPlan(delays, 2).delay_ns(KEY, 7)
    assert plan.delay_ns(FaultStage.NONCE, 7) == 0


def test_one_delay_for_a_stage() -> None:
    check_delays([parse_delay("key:constant=1ms"), parse_delay("hello:constant=1ms")])
    with pytest.raises(ValueError, match="'key' has more than one"):
        check_delays([parse_delay("key:constant=1ms")] * 2)


def test_stalls() -> None:
    assert parse_stall("10s:1s") == Stall(10_000 * MS, 1_000 * MS)
    assert parse_stall("0s:250ms") == Stall(0, 250 * MS)
    assert parse_stall(str(Stall(5, 6))) == Stall(5, 6)
    for text in ("10s", "10:1", "1s:0s", "1s:", ":1s", "1s:1s:1s"):
        with pytest.raises(ValueError, match=r"\w"):
            parse_stall(text)
    check_stalls([parse_stall("2s:1s"), parse_stall("1s:1s")])
    with pytest.raises(ValueError, match="overlap"):
        check_stalls([parse_stall("2s:1s"), parse_stall("1s:1.1s")])
