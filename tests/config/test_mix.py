"""Mixes of firmwares as people write them."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from loadgen.config.mix import mix_text, read_mix, whole_parts
from loadgen.errors import UsageError
from loadgen.protocol import firmware
from loadgen.protocol.firmware import P1_0_7_0
from tests.engine.fakes import renamed

A, B, C = "p1@0.0.1", "p1@0.0.2", "p1@0.0.3"


@pytest.fixture(autouse=True)
def _profiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three more firmwares, whichever there are."""
    for name in (A, B, C):
        monkeypatch.setitem(firmware.PROFILES, name, renamed(P1_0_7_0, name))


@pytest.mark.parametrize(
    ("raw", "weights"),
    [
        (A, {A: 1}),
        (f"{A}=30%,{B}=70%", {A: 0.3, B: 0.7}),
        (f" {A} = 30 % ; {B} = 70 % ", {A: 0.3, B: 0.7}),
        (f"{A}=30,{B}=70", {A: 0.3, B: 0.7}),
        (f"{A}=1,{B}=99", {A: 0.01, B: 0.99}),
        (f"{A}=0.3,{B}=.7", {A: 0.3, B: 0.7}),
        (f"{A}=1/4,{B}=75%", {A: 0.25, B: 0.75}),
        (f"{A}=12.5%,{B}=87.5%", {A: 0.125, B: 0.875}),
        (f"{A},{B}", {A: 0.5, B: 0.5}),
        (f"{A},{B},{C}", {A: 1 / 3, B: 1 / 3, C: 1 / 3}),
        (f"{A}=30%,{B}", {A: 0.3, B: 0.7}),
        (f"{A}=30%,{B},{C}", {A: 0.3, B: 0.35, C: 0.35}),
        ([f"{A}=30%", f"{B}=70%"], {A: 0.3, B: 0.7}),
        ([A, B], {A: 0.5, B: 0.5}),
        ({A: "30%", B: 0.7}, {A: 0.3, B: 0.7}),
        ({A: 30, B: 70}, {A: 0.3, B: 0.7}),
    ],
)
def test_spellings(raw: Any, weights: dict[str, float]) -> None:
    mix = read_mix(raw, "--firmware")
    assert {part.profile.name: float(part.weight) for part in mix} == pytest.approx(weights)
    assert sum(part.weight for part in mix) == 1
    names, shares = [part.profile.name for part in mix], [part.weight for part in mix]
    assert read_mix(mix_text(names, shares), "--firmware") == mix, "what --dry-run prints means the same"


@pytest.mark.parametrize(
    ("raw", "what"),
    [
        ("", "names no firmware"),
        (" , ", "names no firmware"),
        ([], "names no firmware"),
        ({}, "names no firmware"),
        (f"{A}=30%,{B}=60%", "the weights add up to 90 %, not 100 %"),
        (f"{A}=0.5,{B}=0.6", "the weights add up to 110 %, not 100 %"),
        (f"{A}=33.3%,{B}=33.3%,{C}=33.3%", "the weights add up to 99.9 %, not 100 %"),
        (f"{A}=1,{B}=1", "the weights add up to 200 %, not 100 %"),
        (f"{A}=90%", "the weights add up to 90 %, not 100 %"),
        (f"{A}=120%,{B}", "the weights add up to 120 %, not 100 %"),
        (f"{A}=100%,{B}", f"the weights leave nothing for {B}"),
        (f"{A}=0%,{B}=100%", f"{A} gets no device"),
        (f"{A}=50%,{A}=50%", f"{A} is named twice"),
        (f"{A},{B},{A}", f"{A} is named twice"),
        (f"{A}=-10%,{B}=110%", "'-10%' is no share of the devices"),
        (f"{A}=half,{B}=50%", "'half' is no share of the devices"),
        (f"{A}=1/0,{B}", "'1/0' is no share of the devices"),
        (f"{A}=nan,{B}", "'nan' is no share of the devices"),
        (f"{A}=1e400,{B}", "'1e400' is no share of the devices"),
        (f"{A}=0.00001,{B}=0.99999", "whole numbers of devices only in more than 10,000"),
        ("=30%,=70%", "unknown firmware ''"),
        (f"{A} {B}", "unknown firmware"),
        ("p1@0.7.1", "unknown firmware 'p1@0.7.1'; did you mean p1@0.7"),
    ],
)
def test_what_is_no_mix(raw: Any, what: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_mix(raw, "--firmware")
    assert what in caught.value.what
    assert caught.value.where == "--firmware"


def test_parts_are_the_smallest_whole_numbers() -> None:
    assert whole_parts([Fraction(3, 10), Fraction(7, 10)]) == [3, 7]
    assert whole_parts([Fraction(1)]) == [1]
    assert whole_parts([Fraction(1, 2), Fraction(1, 3), Fraction(1, 6)]) == [3, 2, 1]
