"""A network and a crypto backend in memory, for driving devices without sockets, threads or clocks."""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

from loadgen.crypto.base import CryptoBackend, LaneResult
from loadgen.crypto.executor import Completion, InlineExecutor
from loadgen.engine.driver import Driver, LoadedIdentity
from loadgen.engine.mix import assign
from loadgen.engine.plan import FirmwarePlan, LoadPlan, Target
from loadgen.engine.sockets import EVENTS_BETWEEN, READABLE, ReadyHandler, SocketSet
from loadgen.protocol.coap import cloud_hello
from loadgen.protocol.events import DecryptNonce, EncryptNonce, KeyHandle, Open, Seal, UnwrapKey, WrapKey
from loadgen.protocol.firmware import P1_0_7_0, FirmwareProfile
from loadgen.protocol.reasons import CryptoFault
from loadgen.protocol.wire import encode_frame, pad
from tests.fakes import DEVICE_PUBLIC_KEY

MS = 1_000_000
SECOND = 1_000 * MS
RTT_NS = 3_000

NONCE = bytes(range(40))
REPLY = bytes(384)
HELLO = encode_frame(pad(cloud_hello(7)))


class FakeSocket:
    """One connection. ``inbox`` holds what the device will read: bytes, b"" for FIN, or an error."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.inbox: deque[bytes | OSError] = deque()
        self.sent: list[bytes] = []
        self.connected = True
        self.send_limit: int | None = None
        self.repeated = 0
        self.connected_ago_ms = 0

    def recv(self, size: int) -> bytes:
        if not self.inbox:
            raise BlockingIOError
        item = self.inbox.popleft()
        if isinstance(item, OSError):
            raise item
        return item

    def send(self, data: bytes) -> int:
        taken = data if self.send_limit is None else data[: self.send_limit]
        if taken:
            self.sent.append(taken)
        return len(taken)

    def setsockopt(self, *args: object) -> None: ...

    def getsockopt(self, level: int, option: int, size: int) -> bytes:
        return struct.pack("=44xI20xI28xI", self.connected_ago_ms, RTT_NS // 1000, self.repeated)

    def getpeername(self) -> tuple[str, int]:
        if not self.connected:
            raise OSError(errno.ENOTCONN, "not connected")
        return ("127.0.0.1", 5683)

    def fileno(self) -> int:
        return self.number


class FakeNetwork(SocketSet):
    """Connections in memory; ``on_connect`` and ``on_send`` play the cloud."""

    def __init__(self, now: Callable[[], int]) -> None:
        self.now = now
        self.lag_ns: int | None = None
        self.open: dict[int, tuple[FakeSocket, ReadyHandler]] = {}
        self.all: list[FakeSocket] = []
        self.forgotten: set[int] = set()
        self.on_connect: Callable[[FakeSocket], None] = good_connect
        self.on_send: Callable[[FakeSocket, bytes], None] = good_answer
        self.refusal: OSError | None = None
        self._answered: dict[int, int] = {}

    def connect(self, handler: ReadyHandler) -> socket.socket:
        if self.refusal is not None:
            raise self.refusal
        self.begun_ns = self.now()
        sock = FakeSocket(len(self.all))
        self.all.append(sock)
        self.open[sock.number] = (sock, handler)
        self.on_connect(sock)
        return cast("socket.socket", sock)

    def receive(self, sock: socket.socket) -> tuple[bytes, int, int | None]:
        data = sock.recv(4096)
        lag_ns = self.lag_ns
        return data, self.now() - (lag_ns or 0), lag_ns

    def watch(self, sock: socket.socket, mask: int) -> None: ...

    def watches(self, sock: socket.socket) -> bool:
        return sock.fileno() in self.open and sock.fileno() not in self.forgotten

    def forget(self, sock: socket.socket) -> None:
        self.forgotten.add(sock.fileno())

    def close(self, sock: socket.socket, *, reset: bool) -> None:
        del self.open[sock.fileno()]

    def dispatch(self, between: Callable[[], None] | None = None) -> int:
        """Let the cloud answer what was sent, then deliver."""
        for number, (sock, _) in list(self.open.items()):
            for data in sock.sent[self._answered.get(number, 0) :]:
                self.on_send(sock, data)
            self._answered[number] = len(sock.sent)
        ready = 0
        for number, (sock, handler) in list(self.open.items()):
            if sock.inbox and number in self.open and number not in self.forgotten:
                ready += 1
                handler.on_ready(READABLE)
                if between is not None and ready % EVENTS_BETWEEN == 0:
                    between()
        return ready

    def __len__(self) -> int:
        return len(self.open)


def good_connect(sock: FakeSocket) -> None:
    """A cloud that speaks first."""
    sock.inbox.append(NONCE)


def good_answer(sock: FakeSocket, data: bytes) -> None:
    """A cloud that gives the key for 256 bytes and its Hello for a Hello."""
    if len(data) == 256:
        sock.inbox.append(REPLY)
    elif len(sock.sent) == 2:
        sock.inbox.append(HELLO)


class FakeBackend:
    """No crypto: fixed answers, and frames in clear."""

    name = "fake"

    def __init__(self, lanes: int = 1) -> None:
        self.lanes = lanes
        self.unwrapped: LaneResult = bytes(40)

    def load_device_key(self, der: bytes) -> KeyHandle:
        return der

    load_device_public_key = load_server_public_key = load_server_key = load_device_key

    def encrypt_nonce(self, batch: Sequence[EncryptNonce]) -> list[LaneResult]:
        return [request.plaintext.ljust(256, b"\0") for request in batch]

    def unwrap_key(self, batch: Sequence[UnwrapKey]) -> list[LaneResult]:
        return [self.unwrapped for _ in batch]

    def decrypt_nonce(self, batch: Sequence[DecryptNonce]) -> list[LaneResult]:
        return [CryptoFault.BAD_INPUT for _ in batch]

    def wrap_key(self, batch: Sequence[WrapKey]) -> list[LaneResult]:
        return [CryptoFault.BAD_INPUT for _ in batch]

    def seal(self, request: Seal) -> bytes:
        return request.padded

    def open(self, request: Open) -> bytes:
        return request.ciphertext


def renamed(profile: FirmwareProfile, name: str) -> FirmwareProfile:
    """The same firmware by another name."""
    return replace(profile, name=name)


def firmware_plan(profile: FirmwareProfile = P1_0_7_0, **changes: object) -> FirmwarePlan:
    """Devices with the firmware's own timeouts, changed as wanted."""
    timeouts_ns = {str(stage): ns for stage, ns in profile.timeouts_ns.items()}
    return FirmwarePlan(**{"name": profile.name, "timeouts_ns": timeouts_ns, **changes})  # type: ignore[arg-type]


def plan(**changes: object) -> LoadPlan:
    """An open-loop plan of 10/s with the firmware's timeouts, changed as wanted."""
    settings: dict[str, object] = {
        "mode": "open",
        "target": Target("127.0.0.1", 5683),
        "fleet_path": "",
        "server_public_key": b"",
        "firmwares": (firmware_plan(),),
        "max_in_flight": 100,
        "rate_numerator": 10,
        "duration_ns": SECOND,
    }
    return LoadPlan(**{**settings, **changes})  # type: ignore[arg-type]


class Bench:
    """A driver with its fakes and a clock that only moves when told."""

    def __init__(
        self,
        load: LoadPlan,
        devices: int = 20,
        *,
        index: int = 0,
        parts: int = 1,
        lanes: int = 1,
        firmwares: Sequence[FirmwareProfile] = (P1_0_7_0,),
        backend: CryptoBackend | None = None,
    ) -> None:
        self.now = 1_000 * SECOND
        self.begin = self.now
        self.alarm: int | None = None
        self.network = FakeNetwork(lambda: self.now)
        self.backend = FakeBackend(lanes)
        backend = backend or self.backend
        executor = InlineExecutor(backend, self._answer, clock_ns=lambda: self.now, cpu_clock_ns=lambda: 0)
        runs = assign([part.parts for part in load.firmwares], devices * parts, load.seed)[index::parts]
        self.driver = Driver(
            load,
            index,
            parts,
            identities=[
                LoadedIdentity(number.to_bytes(12, "big"), DEVICE_PUBLIC_KEY, DEVICE_PUBLIC_KEY, runs[number])
                for number in range(devices)
            ],
            firmwares=firmwares,
            server_key=b"",
            backend=backend,
            executor=executor,
            sockets=self.network,
            now=lambda: self.now,
            set_alarm=self._set_alarm,
        )

    def _answer(self, done: list[Completion]) -> None:
        self.driver.answer(done)

    def _set_alarm(self, at_ns: int) -> None:
        self.alarm = at_ns

    def settle(self) -> None:
        """Turn until nothing is ready."""
        for _ in range(100):
            self.driver.turn()
            if not any(
                sock.inbox for sock, _ in self.network.open.values() if sock.number not in self.network.forgotten
            ):
                waiting = any(len(s.sent) > self.network._answered.get(n, 0) for n, (s, _) in self.network.open.items())
                if not waiting:
                    return

    def advance(self, to_ns: int, step_ns: int = 10 * MS) -> None:
        """Let time pass until ``to_ns`` after the begin, with alarms and ticks as a loop would give them."""
        end = self.begin + to_ns
        while True:
            self.settle()
            if self.now >= end:
                return
            following = min(end, self.now + step_ns)
            if self.alarm is not None and self.now < self.alarm < following:
                following = self.alarm
            self.now = following
            self.driver.tick()


def answer_every_ms(bench: Bench) -> FakeSocket:
    """Begin one handshake, and give it the cloud's answers 1, 2 and 3 ms after its begin."""
    bench.network.on_connect = lambda sock: None
    bench.network.on_send = lambda sock, data: None
    bench.driver.begin(bench.begin)
    bench.settle()
    (sock,) = bench.network.all
    for step, data in enumerate((NONCE, REPLY, HELLO), 1):
        bench.now = bench.begin + step * MS
        sock.inbox.append(data)
        bench.settle()
    return sock
