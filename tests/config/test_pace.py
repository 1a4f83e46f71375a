"""The pace of devices as people write it."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.clock import NS_PER_MS
from loadgen.config.pace import P1_PACE, pace_texts, read_paces
from loadgen.engine.plan import Pace
from loadgen.errors import UsageError

A, B = "p1@0.6.4", "p1@0.7.0"


def pace(encrypt: int = 0, unwrap: int = 0, rtt: int = 0) -> Pace:
    return Pace(encrypt_ns=encrypt * NS_PER_MS, unwrap_ns=unwrap * NS_PER_MS, rtt_ns=rtt * NS_PER_MS)


@pytest.mark.parametrize(
    ("raw", "paces"),
    [
        ("p1", {A: P1_PACE, B: P1_PACE}),
        (["p1"], {A: P1_PACE, B: P1_PACE}),
        (" encrypt = 83ms , unwrap=0.4s", {A: pace(83, 400), B: pace(83, 400)}),
        ("p1,rtt=60ms", {A: pace(83, 400, 60), B: pace(83, 400, 60)}),
        ([f"{B}:encrypt=88ms", "encrypt=83ms"], {A: pace(83), B: pace(88)}),
        (["p1", f"{B}:rtt=0s"], {A: P1_PACE, B: pace(83, 400)}),
        (["p1", f"{B}:off"], {A: P1_PACE}),
        (f"{A}:encrypt=5ms", {A: pace(5)}),
        ("off", {}),
        ("rtt=0ms", {}),
        (["p1", "off"], {}),
    ],
)
def test_spellings(raw: Any, paces: dict[str, Pace]) -> None:
    found = read_paces(raw, "--device-pace", names=[A, B])
    assert found == paces
    assert read_paces(pace_texts(found, [A, B]), "--device-pace", names=[A, B]) == paces


def test_a_pace_of_all_is_written_once() -> None:
    assert pace_texts({A: P1_PACE, B: P1_PACE}, [A, B]) == ["encrypt=83ms,unwrap=400ms,rtt=264ms"]
    assert pace_texts({A: pace(5)}, [A, B]) == [f"{A}:encrypt=5ms,unwrap=0s,rtt=0s"]


@pytest.mark.parametrize(
    ("raw", "what", "remedy"),
    [
        ("", "says nothing", "Write p1"),
        ("p2", "unknown pace 'p2'", "p1"),
        ("83ms", "unknown pace '83ms'", "encrypt=83ms"),
        ("encypt=83ms", "unknown pace 'encypt=83ms'", 'Did you mean "encrypt"?'),
        ("encrypt=83", "without a unit", ""),
        ("encrypt=-1ms", "negative", ""),
        ("p1@9.9.9:p1", "'p1@9.9.9' does not run", f"Running: {A}, {B}."),
        (f"{A}:", "says nothing", "Write p1"),
    ],
)
def test_what_is_no_pace(raw: str, what: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_paces(raw, "--device-pace", names=[A, B])
    assert what in caught.value.what
    assert remedy in (caught.value.remedy or "")
    assert (caught.value.where or "").startswith("--device-pace")
