"""The transition tables: states × inputs, and that the tables are whole."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.protocol.cloud import CloudConnection
from loadgen.protocol.device import DeviceConnection
from loadgen.protocol.session import Connection
from loadgen.protocol.stages import STAGE_BOUNDS, Stage
from loadgen.protocol.states import (
    CLOUD_STAGES,
    CLOUD_TABLE,
    DEVICE_STAGES,
    DEVICE_TABLE,
    CloudState,
    DeviceState,
    EventKind,
    IllegalTransition,
    step,
)

DEVICE_WALK = """
    CONNECT        CONNECTED       EXPECT_NONCE
    EXPECT_NONCE   BLOCK_IN        ENCRYPT_NONCE
    ENCRYPT_NONCE  RESULT          EXPECT_KEY
    EXPECT_KEY     BLOCK_IN        UNWRAP_KEY
    UNWRAP_KEY     RESULT          SEAL_HELLO
    SEAL_HELLO     RESULT          EXPECT_HELLO
    EXPECT_HELLO   FRAME_IN        OPEN_HELLO
    EXPECT_HELLO   MESSAGE_OUT     SEAL_EARLY
    SEAL_EARLY     RESULT          EXPECT_HELLO
    OPEN_HELLO     MESSAGE_OPENED  EXPECT_HELLO
    OPEN_HELLO     HELLO_OPENED    SESSION
    SESSION        FRAME_IN        OPEN_MESSAGE
    SESSION        MESSAGE_OUT     SEAL_MESSAGE
    OPEN_MESSAGE   MESSAGE_OPENED  SESSION
    SEAL_MESSAGE   RESULT          SESSION
"""
CLOUD_WALK = """
    SEND_NONCE         NONCE_OUT       EXPECT_CIPHERTEXT
    EXPECT_CIPHERTEXT  BLOCK_IN        DECRYPT_NONCE
    EXPECT_CIPHERTEXT  PREPARED_REPLY  EXPECT_HELLO
    DECRYPT_NONCE      IDENTIFIED      IDENTIFY_DEVICE
    IDENTIFY_DEVICE    ADMITTED        WRAP_KEY
    WRAP_KEY           RESULT          EXPECT_HELLO
    EXPECT_HELLO       FRAME_IN        OPEN_HELLO
    EXPECT_HELLO       MESSAGE_OUT     SEAL_EARLY
    SEAL_EARLY         RESULT          EXPECT_HELLO
    OPEN_HELLO         MESSAGE_OPENED  EXPECT_HELLO
    OPEN_HELLO         HELLO_OPENED    SEAL_HELLO
    SEAL_HELLO         RESULT          SESSION
    SESSION            FRAME_IN        OPEN_MESSAGE
    SESSION            MESSAGE_OUT     SEAL_MESSAGE
    OPEN_MESSAGE       MESSAGE_OPENED  SESSION
    SEAL_MESSAGE       RESULT          SESSION
"""
SIDES: list[Any] = [
    pytest.param(DeviceState, DEVICE_TABLE, DEVICE_WALK, id="device"),
    pytest.param(CloudState, CLOUD_TABLE, CLOUD_WALK, id="cloud"),
]


@pytest.mark.parametrize(("states", "table", "walk"), SIDES)
def test_states_by_inputs(states: Any, table: Any, walk: str) -> None:
    """Each pair leads where the list above says, any live state fails on a fault, and every other pair raises."""
    expected = {
        (states[state], EventKind[kind]): states[following]
        for state, kind, following in (line.split() for line in walk.strip().splitlines())
    }
    expected |= {(state, EventKind.FAULT): states.FAILED for state in states if state is not states.FAILED}
    for state in states:
        for kind in EventKind:
            if (state, kind) in expected:
                assert step(table, state, kind) is expected[state, kind]
            else:
                with pytest.raises(IllegalTransition, match=f"{kind.name} in state {state.name}"):
                    step(table, state, kind)


@pytest.mark.parametrize(("states", "table", "walk"), SIDES)
def test_every_state_is_reachable_and_only_failure_is_final(states: Any, table: Any, walk: str) -> None:
    reached, fresh = set(), {states(0)}
    while fresh:
        reached |= fresh
        fresh = {following for state in fresh for following in table[state].values()} - reached
    assert reached == set(states) == set(table)
    assert [state for state in states if not table[state]] == [states.FAILED]


@pytest.mark.parametrize(("connection", "states"), [(DeviceConnection, DeviceState), (CloudConnection, CloudState)])
def test_every_state_has_a_handler(connection: type[Connection], states: Any) -> None:
    assert [int(state) for state in states] == list(range(len(connection._HANDLERS)))


def test_session_states_have_the_same_numbers() -> None:
    for name in ("SESSION", "OPEN_MESSAGE", "SEAL_MESSAGE", "FAILED"):
        assert int(DeviceState[name]) == int(CloudState[name])
    for states in (DeviceState, CloudState):
        assert max(states) == states["FAILED"]
        early = [states[name] for name in ("EXPECT_HELLO", "OPEN_HELLO", "SEAL_EARLY")]
        assert min(early) == states["EXPECT_HELLO"]


def test_stages_of_the_device_are_the_histograms() -> None:
    """Time is given to every stage between ``started`` and Hello, and to no other."""
    assert set(DEVICE_STAGES) == set(DeviceState)
    assert set(CLOUD_STAGES) == set(CloudState)
    expected = {stage for stage in STAGE_BOUNDS if stage is not Stage.SCHEDULE_LAG}
    assert set(DEVICE_STAGES.values()) == expected | {Stage.FAILED}
