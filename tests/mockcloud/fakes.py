"""A worker and a socket in memory, for driving one connection of the mock cloud."""

from __future__ import annotations

import socket
from collections import deque
from functools import cache
from itertools import count
from typing import cast

from loadgen.crypto.base import CryptoBackend, LaneResult
from loadgen.kernel import LINGER_RST
from loadgen.mockcloud.connection import Connection, SessionCounts
from loadgen.mockcloud.delays import DelayPlan, parse_delay
from loadgen.mockcloud.disturbance import Disturbance
from loadgen.mockcloud.disturbed import DisturbedConnection
from loadgen.mockcloud.faults import FaultPlan, parse_fault
from loadgen.mockcloud.gate import Entry
from loadgen.mockcloud.timings import TimingLog
from loadgen.protocol.cloud import CloudConnection
from loadgen.protocol.events import BatchedRequest, DecryptNonce, KeyHandle, WrapKey
from loadgen.protocol.reasons import HandshakeError, Reason
from tests.mockcloud.peer import BACKEND, server_key

NONCE = bytes(range(40))
MATERIAL = bytes(range(100, 140))
CLOUD_ID = 0x2001
NOW_S = 1_600_000_000
LATER_NS = 120_000_000_000


@cache
def _load_server_key(der: bytes) -> KeyHandle:
    return BACKEND.load_server_key(der)


class FakeSocket:
    """``inbox`` holds what the cloud will read: bytes, b"" for FIN, or an error."""

    def __init__(self) -> None:
        self.inbox: deque[bytes | OSError] = deque()
        self.sent: list[bytes] = []
        self.room = 1 << 20
        self.error: OSError | None = None
        self.lingers = True
        self.half_closed = False

    def shutdown(self, how: int) -> None:
        assert how == socket.SHUT_WR
        self.half_closed = True

    def setsockopt(self, level: int, option: int, value: bytes) -> None:
        assert (level, option, value) == (socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RST)
        self.lingers = False

    def recv(self, size: int) -> bytes:
        if not self.inbox:
            raise BlockingIOError
        item = self.inbox.popleft()
        if isinstance(item, OSError):
            raise item
        return item

    def send(self, data: bytes) -> int:
        if self.error is not None:
            raise self.error
        if self.room == 0:
            raise BlockingIOError
        taken = data[: self.room]
        self.room -= len(taken)
        self.sent.append(taken)
        return len(taken)


class FakeHost:
    """A worker with one connection. RSA runs when :meth:`compute` is called."""

    def __init__(
        self,
        *,
        key: KeyHandle | Reason,
        prepared: bytes | None = None,
        material: bytes = MATERIAL,
        nonce: bytes = NONCE,
        private_key: bytes | None = None,
        disturbance: Disturbance | None = None,
    ) -> None:
        self.backend: CryptoBackend = BACKEND
        self.counts = SessionCounts()
        self.session_deadline_ns = LATER_NS
        self.key = key
        self.entry = Entry.PASS
        self.inside = 0
        self.asked: list[tuple[bytes, bytes]] = []
        self.submitted: deque[tuple[int, BatchedRequest]] = deque()
        self.completed = 0
        self.ends: list[str | None] = []
        self.unwatched = False
        self.socket = FakeSocket()
        core = CloudConnection(
            server_key=_load_server_key(private_key or server_key()),
            nonce=nonce,
            material=material,
            message_id=CLOUD_ID,
            prepared=prepared,
        )
        sock = cast("socket.socket", self.socket)
        self.connection = (
            Connection(self, core, sock, 30)
            if disturbance is None
            else DisturbedConnection(self, core, sock, 30, disturbance=disturbance, accepted_ns=disturbance.now())
        )
        self.connection.start()

    def receive(self, *items: bytes | OSError) -> list[bytes]:
        """Let the connection read; what it sends, RSA included."""
        self.socket.inbox.extend(items)
        for _ in items:
            self.connection.on_readable()
        return self.sent()

    def sent(self) -> list[bytes]:
        """What was sent since the last look, after doing the RSA that is due."""
        while self.submitted:
            token, request = self.submitted.popleft()
            self.connection.on_crypto(token, request, _compute(request))
        sent, self.socket.sent = self.socket.sent, []
        return sent

    def now_s(self) -> int:
        return NOW_S

    def submit(self, connection: Connection, token: int, request: BatchedRequest) -> None:
        self.submitted.append((token, request))

    def enter_gate(self, connection: Connection) -> Entry:
        self.inside += self.entry is Entry.PASS
        return self.entry

    def leave_gate(self) -> None:
        self.inside -= 1

    def key_for(self, device_id: bytes, presented: bytes) -> KeyHandle | Reason:
        self.asked.append((device_id, presented))
        return self.key

    def handshake_completed(self, connection: Connection) -> None:
        self.completed += 1

    def end_of_stream(self, sock: socket.socket) -> None:
        self.unwatched = True

    def ended(self, connection: Connection, sock: socket.socket, error: HandshakeError | None) -> None:
        self.ends.append(None if error is None else f"{error.stage}/{error.reason}")


class FakeClock:
    """Stands still until it is set."""

    def __init__(self, ns: int = 1_000) -> None:
        self.ns = ns

    def __call__(self) -> int:
        return self.ns


def disturbance(
    clock: FakeClock, *faults: str, delays: tuple[str, ...] = (), seed: int = 0, log: TimingLog | None = None
) -> Disturbance:
    """The disturbances of a worker whose handshakes are numbered from 0."""
    return Disturbance(
        FaultPlan(map(parse_fault, faults), seed),
        DelayPlan(map(parse_delay, delays), seed),
        take_number=count().__next__,
        log=log,
        now=clock,
        kernel_stamps=False,
    )


def _compute(request: BatchedRequest) -> LaneResult:
    if isinstance(request, DecryptNonce):
        return BACKEND.decrypt_nonce([request])[0]
    assert isinstance(request, WrapKey)
    return BACKEND.wrap_key([request])[0]
