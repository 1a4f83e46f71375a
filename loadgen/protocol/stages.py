"""Stages of a handshake and the clock points that bound them.

A handshake is seven adjacent intervals between eight clock points. Three sums of them have names of their
own; :data:`STAGE_BOUNDS` and :data:`SUMS` are the one definition, used by the recorder, the reports and the
tests.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum


class Point(IntEnum):
    """Clock points, ns on CLOCK_MONOTONIC, in the order in which they happen.

    ``STARTED`` and every ``…_OUT`` are read just before the system call; every ``…_IN`` is the arrival of the
    last byte of that message.
    """

    INTENDED = 0
    STARTED = 1
    CONNECTED = 2
    NONCE_IN = 3
    CIPHERTEXT_OUT = 4
    KEY_IN = 5
    HELLO_OUT = 6
    HELLO_IN = 7


class Stage(StrEnum):
    """What a latency histogram can be about."""

    SCHEDULE_LAG = "schedule_lag"
    CONNECT = "connect"
    NONCE = "nonce"
    ENCRYPT = "encrypt"
    KEY = "key"
    UNWRAP = "unwrap"
    HELLO = "hello"
    HANDSHAKE = "handshake"
    """connect + nonce + encrypt + key + unwrap + hello."""
    RESPONSE = "response"
    """schedule_lag + handshake: from the intended start, so free of coordinated omission."""
    CLOUD = "cloud"
    """connect + nonce + key + hello: what the other side and the network took."""
    FAILED = "failed"
    """started → failure, of the handshakes that failed."""
    WAKEUP_LAG = "wakeup_lag"
    """Arrival by the kernel's stamp → the program reads it. Beside the sum, never in it."""
    CRYPTO_WAIT = "crypto_wait"
    """Crypto requested → batch begun, both operations of a handshake. Beside the sum."""
    CRYPTO_RUN = "crypto_run"
    """Batch begun → answered, both operations of a handshake. Beside the sum."""


STAGE_BOUNDS: dict[Stage, tuple[Point, Point]] = {
    Stage.SCHEDULE_LAG: (Point.INTENDED, Point.STARTED),
    Stage.CONNECT: (Point.STARTED, Point.CONNECTED),
    Stage.NONCE: (Point.CONNECTED, Point.NONCE_IN),
    Stage.ENCRYPT: (Point.NONCE_IN, Point.CIPHERTEXT_OUT),
    Stage.KEY: (Point.CIPHERTEXT_OUT, Point.KEY_IN),
    Stage.UNWRAP: (Point.KEY_IN, Point.HELLO_OUT),
    Stage.HELLO: (Point.HELLO_OUT, Point.HELLO_IN),
}
"""The seven adjacent intervals: stage → (from, to)."""

SUMS: dict[Stage, tuple[Stage, ...]] = {
    Stage.HANDSHAKE: (Stage.CONNECT, Stage.NONCE, Stage.ENCRYPT, Stage.KEY, Stage.UNWRAP, Stage.HELLO),
    Stage.RESPONSE: (
        Stage.SCHEDULE_LAG,
        Stage.CONNECT,
        Stage.NONCE,
        Stage.ENCRYPT,
        Stage.KEY,
        Stage.UNWRAP,
        Stage.HELLO,
    ),
    Stage.CLOUD: (Stage.CONNECT, Stage.NONCE, Stage.KEY, Stage.HELLO),
}
"""Named sums. Exact on the raw values of one handshake; percentiles do not add."""

OURS: frozenset[Stage] = frozenset({Stage.SCHEDULE_LAG, Stage.ENCRYPT, Stage.UNWRAP})
"""Stages spent in this program; the other intervals are the cloud's and the network's."""
