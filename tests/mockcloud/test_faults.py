from __future__ import annotations

from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.mockcloud.faults import (
    ANSWER_SIZES,
    CATALOGUE,
    Ending,
    Fault,
    FaultKind,
    FaultPlan,
    FaultStage,
    check_faults,
    parse_fault,
    parse_probability,
)
from loadgen.protocol.explain import ENDINGS, SESSION_ENDINGS
from loadgen.protocol.firmware import P1_0_7_0
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage

DOCUMENT = Path(__file__).parents[2] / "docs" / "faults.md"
S, K = FaultStage, FaultKind
ALL = [(stage, kind) for kind, type_ in CATALOGUE.items() for stage in type_.stages]


# --- the grammar


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("key:close:0.5%", Fault(S.KEY, K.CLOSE, None, 0.005)),
        ("nonce:delay=50ms:1", Fault(S.NONCE, K.DELAY, 50_000_000, 1.0)),
        ("hello:dribble:100%", Fault(S.HELLO, K.DRIBBLE, 1_000_000, 1.0)),
        ("hello:dribble=200us:.25", Fault(S.HELLO, K.DRIBBLE, 200_000, 0.25)),
        ("nonce:truncate:1%", Fault(S.NONCE, K.TRUNCATE, 39, 0.01)),
        ("key:truncate=1:1%", Fault(S.KEY, K.TRUNCATE, 1, 0.01)),
        ("key:stall:1%", Fault(S.KEY, K.STALL, 0, 0.01)),
        ("key:stall=383:1%", Fault(S.KEY, K.STALL, 383, 0.01)),
        (" session : reset : 2 % ", Fault(S.SESSION, K.RESET, None, 0.02)),
    ],
)
def test_what_can_be_written(text: str, fault: Fault) -> None:
    assert parse_fault(text) == fault
    assert parse_fault(str(fault)) == fault


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ["no fault", "stage:kind"]),
        ("key:close", ["no fault", "key:close:0.5%"]),
        ("key:close:1%:2%", ["no fault"]),
        ("kay:close:1%", ["character 1", "unknown stage", "'key'", "nonce, key, hello, session"]),
        ("connect:close:1%", ["character 1", "'connect'", "Allowed: nonce"]),
        ("key:clsoe:1%", ["character 5", "did you mean 'close'", "Allowed: delay"]),
        ("key:bad-frame:1%", ["character 5", "only at: hello, session"]),
        ("nonce:coalesce:1%", ["only at: key, hello, session"]),
        ("key:close=5:1%", ["character 11", "'close' takes no argument"]),
        ("key:delay:1%", ["character 10", "needs a time", "delay=50ms"]),
        ("key:delay=50:1%", ["character 11", "without a unit"]),
        ("key:delay=0s:1%", ["is nothing"]),
        ("key:truncate=0:1%", ["from 1 to 383"]),
        ("nonce:truncate=40:1%", ["character 16", "from 1 to 39"]),
        ("hello:stall=18:1%", ["from 0 to 17"]),
        ("hello:stall=-1:1%", ["from 0 to 17"]),
        ("key:close:1.5", ["character 11", "over 1"]),
        ("key:close:101%", ["over 1"]),
        ("key:close:0", ["is nothing"]),
        ("key:close:often", ["no probability", "0.5%"]),
        ("key:close:-1%", ["no probability"]),
        ("key:close:", ["no probability"]),
        ("key:close:1e-3", ["no probability"]),
        ("k" * 1000 + ":close:1%", ["…", "unknown stage"]),
    ],
)
def test_what_cannot_is_refused_with_its_place_and_what_is_allowed(text: str, parts: list[str]) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        parse_fault(text)
    for part in parts:
        assert part in str(caught.value)
    assert len(str(caught.value)) < 400


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        fault = parse_fault(text)
    except ValueError:
        return
    assert parse_fault(str(fault)).key == fault.key


def test_probabilities() -> None:
    assert [parse_probability(text) for text in ("1", "100%", "0.5%", "0.005", "12.5 %")] == [1, 1, 0.005, 0.005, 0.125]


@pytest.mark.parametrize(
    ("faults", "replay", "what"),
    [
        (["key:close:60%", "key:reset:41%"], False, "'key' add up to 101%"),
        (["key:wrong-nonce:1%"], True, "'key:wrong-nonce'"),
        (["key:forget:1%"], True, "'key:forget'"),
        (["key:close:0.1%"] * 101, False, "101 faults"),
    ],
)
def test_plans_that_cannot_be_carried_out(faults: list[str], replay: bool, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        check_faults([parse_fault(text) for text in faults], replay=replay)


def test_plans_that_can() -> None:
    check_faults([], replay=True)
    check_faults([parse_fault("key:close:10%")] * 10, replay=True)
    check_faults([parse_fault("key:forget:100%"), parse_fault("nonce:reset:100%")], replay=False)


# --- decisions


PLAN = ["nonce:reset:5%", "key:close:30%", "key:delay=1ms:20%", "hello:stall:50%"]


def decisions(seed: int, numbers: range) -> list[dict[FaultStage, Fault]]:
    plan = FaultPlan(map(parse_fault, PLAN), seed)
    return [plan.at(number) for number in numbers]


def test_a_decision_depends_on_seed_and_number_alone() -> None:
    once = decisions(5, range(1000))
    assert decisions(5, range(1000)) == once
    assert decisions(5, range(999, -1, -1)) == once[::-1]
    assert decisions(6, range(1000)) != once


def test_every_fault_has_its_share_and_two_of_one_stage_never_meet() -> None:
    count = 20_000
    hits = Counter(fault.key for hit in decisions(1, range(count)) for fault in hit.values())
    for text in PLAN:
        fault = parse_fault(text)
        deviation = (count * fault.probability * (1 - fault.probability)) ** 0.5
        assert abs(hits[fault.key] - count * fault.probability) < 3 * deviation


def test_stages_are_independent() -> None:
    count = 20_000
    both = sum(S.HELLO in hit and S.KEY in hit and hit[S.KEY].kind is K.CLOSE for hit in decisions(1, range(count)))
    assert abs(both - count * 0.15) < 3 * (count * 0.15 * 0.85) ** 0.5


def test_certainty_and_nothing() -> None:
    always = FaultPlan([parse_fault("key:close:100%")], 3)
    assert all(S.KEY in always.at(number) for number in range(1000))
    assert FaultPlan([], 3).at(0) == {}


def test_a_fault_travels_as_json() -> None:
    faults = tuple(parse_fault(text) for text in PLAN)
    assert msgspec.json.decode(msgspec.json.encode(faults), type=tuple[Fault, ...]) == faults


# --- the catalogue


@pytest.mark.parametrize(("stage", "kind"), ALL)
def test_every_ending_is_one_that_a_device_knows(stage: FaultStage, kind: FaultKind) -> None:
    ending = CATALOGUE[kind].endings[stage]
    if ending is None:
        assert kind in {K.DELAY, K.DRIBBLE, K.COALESCE}
    elif ending.in_session:
        assert stage is S.SESSION
        assert ending.reason in SESSION_ENDINGS
    else:
        assert (ending.stage, ending.reason) in ENDINGS
        assert P1_0_7_0.device_code(ending.stage, ending.reason) is not None


def test_known_endings() -> None:
    assert CATALOGUE[K.WRONG_NONCE].endings[S.KEY] == Ending(Stage.KEY, Reason.CLOSED)
    assert CATALOGUE[K.STALL].endings[S.SESSION] == Ending(Stage.HELLO, Reason.PING_TIMEOUT, in_session=True)
    assert P1_0_7_0.device_code(Stage.KEY, Reason.CLOSED) == -19
    assert set(CATALOGUE) == set(FaultKind)
    assert set(ANSWER_SIZES) == set(FaultStage)


def _row(stage: FaultStage, kind: FaultKind) -> str:
    type_, ending = CATALOGUE[kind], CATALOGUE[kind].endings[stage]
    argument = {None: "", "time": "=TIME", "bytes": "=N"}[type_.argument]
    if argument and (type_.default is not None or type_.argument == "bytes"):
        argument = f"[{argument}]"
    cells = ["the handshake goes on", "", ""]
    if ending is not None:
        code = P1_0_7_0.device_code(ending.stage, ending.reason, ending.in_session)
        where = "session" if ending.in_session else str(ending.stage)
        cells = [where, str(ending.reason), "none" if code is None else str(code)]
    return f"| `{stage}:{kind}{argument}` | {type_.does} | {' | '.join(cells)} |"


def test_the_document_lists_exactly_this_catalogue() -> None:
    rows = [
        line
        for line in DOCUMENT.read_text(encoding="utf-8").splitlines()
        if line.startswith("| `") and line.count(" | ") == 4
    ]
    assert rows == [_row(stage, kind) for stage, kind in ALL]
