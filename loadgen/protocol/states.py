"""Every transition of the handshake, as one table a side.

A table maps a state to the kinds of input that it accepts, and each of them to the next state. What is not in it
cannot happen: :func:`step` raises, because then the core itself or the shell around it is wrong. The states are
``EXPECT_X`` while bytes of the other side are awaited, else the action that is being done. Both sides end in
the same three session states and in ``FAILED``.

While the Hello of the other side is awaited, other messages may come and be answered: hence ``OPEN_HELLO`` (which
may turn out to be something else) and ``SEAL_EARLY``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Final, TypeAlias, TypeVar

from loadgen.protocol.stages import Stage


class EventKind(IntEnum):
    """Inputs of the state machines."""

    CONNECTED = 0
    """The TCP connection stands."""
    NONCE_OUT = 1
    """The cloud's 40 bytes were handed to the shell."""
    BLOCK_IN = 2
    """A fixed-size block is complete: nonce, ciphertext or reply."""
    PREPARED_REPLY = 3
    """A ciphertext is complete, and a prepared reply answers it without a look at it."""
    RESULT = 4
    """The crypto request in flight was answered without a fault."""
    IDENTIFIED = 5
    """The decrypted nonce is the right one."""
    ADMITTED = 6
    """The shell lets the device in and has named its key."""
    FRAME_IN = 7
    """A frame is complete; it is about to be opened."""
    HELLO_OPENED = 8
    """The opened frame is the other side's Hello."""
    MESSAGE_OPENED = 9
    """The opened frame is any other message that may stand there."""
    MESSAGE_OUT = 10
    """A message of the shell is about to be sealed."""
    FAULT = 11
    """Anything that ends the connection: a fault, a timeout, the end of the stream where more was due."""


class DeviceState(IntEnum):
    """Where a device stands."""

    CONNECT = 0
    EXPECT_NONCE = 1
    ENCRYPT_NONCE = 2
    EXPECT_KEY = 3
    UNWRAP_KEY = 4
    SEAL_HELLO = 5
    EXPECT_HELLO = 6
    OPEN_HELLO = 7
    SEAL_EARLY = 8
    SESSION = 9
    OPEN_MESSAGE = 10
    SEAL_MESSAGE = 11
    FAILED = 12


class CloudState(IntEnum):
    """Where the cloud's end of a connection stands."""

    SEND_NONCE = 0
    EXPECT_CIPHERTEXT = 1
    DECRYPT_NONCE = 2
    IDENTIFY_DEVICE = 3
    WRAP_KEY = 4
    EXPECT_HELLO = 5
    OPEN_HELLO = 6
    SEAL_EARLY = 7
    SEAL_HELLO = 8
    SESSION = 9
    OPEN_MESSAGE = 10
    SEAL_MESSAGE = 11
    FAILED = 12


_State = TypeVar("_State", DeviceState, CloudState)
Table: TypeAlias = Mapping[_State, Mapping[EventKind, _State]]
"""State → kind of input → next state."""

_K = EventKind
_D = DeviceState
_C = CloudState

DEVICE_TABLE: Final[Table[DeviceState]] = {
    _D.CONNECT: {_K.CONNECTED: _D.EXPECT_NONCE, _K.FAULT: _D.FAILED},
    _D.EXPECT_NONCE: {_K.BLOCK_IN: _D.ENCRYPT_NONCE, _K.FAULT: _D.FAILED},
    _D.ENCRYPT_NONCE: {_K.RESULT: _D.EXPECT_KEY, _K.FAULT: _D.FAILED},
    _D.EXPECT_KEY: {_K.BLOCK_IN: _D.UNWRAP_KEY, _K.FAULT: _D.FAILED},
    _D.UNWRAP_KEY: {_K.RESULT: _D.SEAL_HELLO, _K.FAULT: _D.FAILED},
    _D.SEAL_HELLO: {_K.RESULT: _D.EXPECT_HELLO, _K.FAULT: _D.FAILED},
    _D.EXPECT_HELLO: {_K.FRAME_IN: _D.OPEN_HELLO, _K.MESSAGE_OUT: _D.SEAL_EARLY, _K.FAULT: _D.FAILED},
    _D.OPEN_HELLO: {
        _K.HELLO_OPENED: _D.SESSION,
        _K.MESSAGE_OPENED: _D.EXPECT_HELLO,
        _K.FAULT: _D.FAILED,
    },
    _D.SEAL_EARLY: {_K.RESULT: _D.EXPECT_HELLO, _K.FAULT: _D.FAILED},
    _D.SESSION: {_K.FRAME_IN: _D.OPEN_MESSAGE, _K.MESSAGE_OUT: _D.SEAL_MESSAGE, _K.FAULT: _D.FAILED},
    _D.OPEN_MESSAGE: {_K.MESSAGE_OPENED: _D.SESSION, _K.FAULT: _D.FAILED},
    _D.SEAL_MESSAGE: {_K.RESULT: _D.SESSION, _K.FAULT: _D.FAILED},
    _D.FAILED: {},
}
"""The device's side."""

CLOUD_TABLE: Final[Table[CloudState]] = {
    _C.SEND_NONCE: {_K.NONCE_OUT: _C.EXPECT_CIPHERTEXT, _K.FAULT: _C.FAILED},
    _C.EXPECT_CIPHERTEXT: {
        _K.BLOCK_IN: _C.DECRYPT_NONCE,
        _K.PREPARED_REPLY: _C.EXPECT_HELLO,
        _K.FAULT: _C.FAILED,
    },
    _C.DECRYPT_NONCE: {_K.IDENTIFIED: _C.IDENTIFY_DEVICE, _K.FAULT: _C.FAILED},
    _C.IDENTIFY_DEVICE: {_K.ADMITTED: _C.WRAP_KEY, _K.FAULT: _C.FAILED},
    _C.WRAP_KEY: {_K.RESULT: _C.EXPECT_HELLO, _K.FAULT: _C.FAILED},
    _C.EXPECT_HELLO: {_K.FRAME_IN: _C.OPEN_HELLO, _K.MESSAGE_OUT: _C.SEAL_EARLY, _K.FAULT: _C.FAILED},
    _C.OPEN_HELLO: {
        _K.HELLO_OPENED: _C.SEAL_HELLO,
        _K.MESSAGE_OPENED: _C.EXPECT_HELLO,
        _K.FAULT: _C.FAILED,
    },
    _C.SEAL_EARLY: {_K.RESULT: _C.EXPECT_HELLO, _K.FAULT: _C.FAILED},
    _C.SEAL_HELLO: {_K.RESULT: _C.SESSION, _K.FAULT: _C.FAILED},
    _C.SESSION: {_K.FRAME_IN: _C.OPEN_MESSAGE, _K.MESSAGE_OUT: _C.SEAL_MESSAGE, _K.FAULT: _C.FAILED},
    _C.OPEN_MESSAGE: {_K.MESSAGE_OPENED: _C.SESSION, _K.FAULT: _C.FAILED},
    _C.SEAL_MESSAGE: {_K.RESULT: _C.SESSION, _K.FAULT: _C.FAILED},
    _C.FAILED: {},
}
"""The cloud's side."""

DEVICE_STAGES: Final[Mapping[DeviceState, Stage]] = {
    _D.CONNECT: Stage.CONNECT,
    _D.EXPECT_NONCE: Stage.NONCE,
    _D.ENCRYPT_NONCE: Stage.ENCRYPT,
    _D.EXPECT_KEY: Stage.KEY,
    _D.UNWRAP_KEY: Stage.UNWRAP,
    _D.SEAL_HELLO: Stage.UNWRAP,
    _D.EXPECT_HELLO: Stage.HELLO,
    _D.OPEN_HELLO: Stage.HELLO,
    _D.SEAL_EARLY: Stage.HELLO,
    _D.SESSION: Stage.HELLO,
    _D.OPEN_MESSAGE: Stage.HELLO,
    _D.SEAL_MESSAGE: Stage.HELLO,
    _D.FAILED: Stage.FAILED,
}
"""The stage that a device's time goes to in each state; the session counts as ``hello`` (see ``in_session``)."""

CLOUD_STAGES: Final[Mapping[CloudState, Stage]] = {
    _C.SEND_NONCE: Stage.NONCE,
    _C.EXPECT_CIPHERTEXT: Stage.ENCRYPT,
    _C.DECRYPT_NONCE: Stage.KEY,
    _C.IDENTIFY_DEVICE: Stage.KEY,
    _C.WRAP_KEY: Stage.KEY,
    _C.EXPECT_HELLO: Stage.HELLO,
    _C.OPEN_HELLO: Stage.HELLO,
    _C.SEAL_EARLY: Stage.HELLO,
    _C.SEAL_HELLO: Stage.HELLO,
    _C.SESSION: Stage.HELLO,
    _C.OPEN_MESSAGE: Stage.HELLO,
    _C.SEAL_MESSAGE: Stage.HELLO,
    _C.FAILED: Stage.FAILED,
}
"""The same stages seen from the cloud. While it waits for the ciphertext it is the device that works."""


class IllegalTransition(RuntimeError):  # noqa: N818  (the name says it)
    """An input that the present state does not accept: an error of the program, never of the other side."""


def step(table: Table[_State], state: _State, kind: EventKind) -> _State:
    """The state after ``kind`` in ``state``. Raises :class:`IllegalTransition` where the table has none."""
    following = table[state].get(kind)
    if following is None:
        raise IllegalTransition(f"{kind.name} in state {state.name}")
    return following
