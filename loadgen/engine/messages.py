"""What parent and workers say to each other over their socket pair, and how it is framed."""

from __future__ import annotations

from itertools import zip_longest
from typing import TypeAlias

import msgspec

from loadgen.engine.plan import LoadPlan


class Setup(msgspec.Struct, frozen=True, tag=True):
    """Parent → worker, first: what to do and which share of it is yours."""

    plan: LoadPlan
    index: int
    parts: int


class Begin(msgspec.Struct, frozen=True, tag=True):
    """Parent → worker: start the schedule at this instant of CLOCK_MONOTONIC."""

    at_ns: int


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Parent → worker: start nothing more; drain until ``drain_until_ns``, or end now where it is past."""

    drain_until_ns: int


class Ready(msgspec.Struct, frozen=True, tag=True):
    """Worker → parent: keys are parsed, the schedule may begin."""

    pid: int
    devices: int
    backend: str
    descriptors: int
    """Sockets that this worker can hold."""
    warnings: list[str]


class Counts(msgspec.Struct):
    """Counts of one worker, from its beginning. Warm-up handshakes are in the two ``warmup_`` counts only."""

    intended: int = 0
    started: int = 0
    completed: int = 0
    failed: int = 0
    aborted: int = 0
    session_failed: int = 0
    warmup_completed: int = 0
    warmup_failed: int = 0
    descriptor_waits: int = 0
    port_failures: int = 0
    """Connects that found no free local port; also in ``failed``."""
    in_flight: int = 0
    sessions: int = 0
    events: int = 0
    """Sent in sessions."""
    returned: int = 0
    """Attempts of devices that had lost their session; also in ``started``."""
    started_of: list[int] = []
    """``started`` of each firmware in the plan's order; empty where there is only one."""

    def __add__(self, other: Counts) -> Counts:
        numbers = {f: getattr(self, f) + getattr(other, f) for f in self.__struct_fields__ if f != "started_of"}
        pairs = zip_longest(self.started_of, other.started_of, fillvalue=0)
        return Counts(**numbers, started_of=[sum(pair) for pair in pairs])


class Progress(msgspec.Struct, frozen=True, tag=True):
    """Worker → parent, about ten times a second and once more at the end.

    ``rows``, ``failures`` and ``session_failures`` are what came since the last message, as bytes of int64 in the
    recorder's field order, ``moments`` in that of :mod:`loadgen.engine.logged_device`; counts and CPU times are totals.
    ``cpu_ns`` is that of the whole process.
    """

    at_ns: int
    rows: bytes
    failures: bytes
    session_failures: bytes
    counts: Counts
    cpu_ns: int
    loop_cpu_ns: int
    crypto_cpu_ns: int
    finished: bool
    moments: bytes = b""
    gaps: bytes = b""
    """With the last message: :meth:`loadgen.engine.gaps.GapSample.tobytes`."""


class Problem(msgspec.Struct, frozen=True, tag=True):
    """Worker → parent: this worker cannot go on, and why. The worker ends after it."""

    exit_code: int
    what: str
    where: str | None = None
    remedy: str | None = None


FromParent: TypeAlias = Setup | Begin | Stop
FromWorker: TypeAlias = Ready | Progress | Problem

_LENGTH_SIZE = 4

encoder = msgspec.msgpack.Encoder()
from_parent = msgspec.msgpack.Decoder(FromParent)
from_worker = msgspec.msgpack.Decoder(FromWorker)


def pack(message: FromParent | FromWorker) -> bytes:
    """Encode a message with its length in front (4 bytes, big-endian)."""
    return frame(encoder.encode(message))


def frame(body: bytes) -> bytes:
    """The body of a message with its length in front, as :class:`Unpacker` reads it."""
    return len(body).to_bytes(_LENGTH_SIZE, "big") + body


class Unpacker:
    """Takes a byte stream apart into the bodies of messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Add what was read; returns the bodies that are complete."""
        buffer = self._buffer
        buffer += data
        bodies = []
        while len(buffer) >= _LENGTH_SIZE:
            end = _LENGTH_SIZE + int.from_bytes(buffer[:_LENGTH_SIZE], "big")
            if len(buffer) < end:
                break
            bodies.append(bytes(buffer[_LENGTH_SIZE:end]))
            del buffer[:end]
        return bodies
