"""One handshake of one device, made by itself, with everything that it shows written down.

The protocol core, the crypto and the waits are those of a run; there is only no event loop, since nothing else is to be
done meanwhile.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from loadgen import clock
from loadgen.crypto.base import CryptoBackend, LaneResult
from loadgen.diagnosis.evidence import Attempt
from loadgen.engine.sockets import reason_of
from loadgen.fleet.identity import Identity
from loadgen.protocol.device import DeviceConnection
from loadgen.protocol.events import (
    NEED_DATA,
    CryptoNeeded,
    CryptoRequest,
    EncryptNonce,
    HandshakeCompleted,
    Open,
    Received,
    Seal,
    SendBytes,
    Sentinel,
    UnwrapKey,
)
from loadgen.protocol.firmware import FirmwareProfile
from loadgen.protocol.reasons import HandshakeError, Reason
from loadgen.protocol.stages import STAGE_BOUNDS, Point, Stage

_READ_SIZE: Final = 4096
_HEARD: Final = 64
"""So many bytes of what the cloud sends are kept: more than a nonce."""
_PROBE: Final = b"GET / HTTP/1.0\r\n\r\n"
_AWAITED: Final = {Stage.NONCE: Point.CONNECTED, Stage.KEY: Point.CIPHERTEXT_OUT, Stage.HELLO: Point.HELLO_OUT}
"""Stage of the cloud → the point at which it begins."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Who shakes hands: keys as the crypto backend has parsed them."""

    identity: Identity
    device_key: object
    server_key: object


@dataclass(slots=True)
class Handshake:
    """A handshake that has ended. Points in ns of the monotonic clock."""

    points: dict[Point, int] = field(default_factory=dict)
    ended_ns: int = 0
    attempt: Attempt = field(default_factory=lambda: Attempt(stage=None, reason=None))

    @property
    def stages_ns(self) -> dict[Stage, int]:
        """Durations of the stages that it has passed, in their order."""
        points = self.points
        return {
            stage: points[end] - points[begin]
            for stage, (begin, end) in STAGE_BOUNDS.items()
            if begin in points and end in points and begin is not Point.INTENDED
        }


def shake_hands(
    subject: Subject,
    address: tuple[str, int],
    firmware: FirmwareProfile,
    backend: CryptoBackend,
    waits_ns: Mapping[Stage, int] | None = None,
) -> Handshake:
    """Make one handshake and close the connection.

    Args:
        subject: the device.
        address: numeric, and port.
        firmware: whose rules and waits to follow.
        backend: does the crypto.
        waits_ns: how long to wait at connect, nonce, key and hello; None: as the firmware.
    """
    return _Conversation(subject, address, firmware, backend, waits_ns or firmware.timeouts_ns).run()


def ask_in_http(address: tuple[str, int], wait_ns: int) -> bytes:
    """What a port answers to a line of HTTP, up to 64 bytes; nothing where it says nothing in time.

    A web server answers in HTTP, a TLS server with an alert, a device service with its nonce, which it sends anyway.
    """
    try:
        with socket.create_connection(address, wait_ns / clock.NS_PER_S) as sock:
            sock.sendall(_PROBE)
            return sock.recv(_HEARD)
    except OSError:
        return b""


class _Conversation:
    """One handshake in the making."""

    def __init__(
        self,
        subject: Subject,
        address: tuple[str, int],
        firmware: FirmwareProfile,
        backend: CryptoBackend,
        waits_ns: Mapping[Stage, int],
    ) -> None:
        self._address = address
        self._firmware = firmware
        self._backend = backend
        self._waits_ns = waits_ns
        self._core = DeviceConnection(
            device_id=subject.identity.device_id,
            public_key=subject.identity.public_key,
            device_key=subject.device_key,
            server_key=subject.server_key,
            firmware=firmware,
        )
        self._done = Handshake()
        self._heard = bytearray()
        self._rtt_ns: int | None = None
        self._read_ns = 0

    def run(self) -> Handshake:
        """Go on until the handshake is complete or has failed."""
        points = self._done.points
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            error: HandshakeError | None = None
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                points[Point.STARTED] = clock.monotonic_ns()
                self._connect(sock)
                self._talk(sock)
            except HandshakeError as failed:
                error = failed
            self._done.ended_ns = clock.monotonic_ns()
        self._done.attempt = self._completed() if error is None else self._failed(error)
        return self._done

    def _connect(self, sock: socket.socket) -> None:
        sock.settimeout(self._waits_ns[Stage.CONNECT] / clock.NS_PER_S)
        try:
            sock.connect(self._address)
        except TimeoutError:
            raise self._core.failure(Reason.TIMEOUT) from None
        except OSError as error:
            raise self._core.failure(reason_of(error), detail=error.strerror or "") from None
        self._done.points[Point.CONNECTED] = clock.monotonic_ns()
        self._rtt_ns = self._done.points[Point.CONNECTED] - self._done.points[Point.STARTED]
        self._core.connected()

    def _talk(self, sock: socket.socket) -> None:
        while True:
            event = self._core.next_event()
            if event is NEED_DATA:
                self._receive(sock)
            elif isinstance(event, CryptoNeeded):
                self._core.answer(event.token, self._perform(event.request))
            elif isinstance(event, Received):
                self._done.points[event.point] = self._read_ns
            elif isinstance(event, SendBytes):
                self._send(sock, event)
            elif isinstance(event, HandshakeCompleted):
                return
            else:
                assert not isinstance(
                    event, Sentinel
                )  # a message in front of Hello: a ping is answered by the next one

    def _receive(self, sock: socket.socket) -> None:
        stage = self._core.stage
        begin_ns = self._done.points[_AWAITED[stage]]
        left_ns = begin_ns + self._waits_ns[stage] - clock.monotonic_ns()
        try:
            if left_ns <= 0:
                raise TimeoutError
            sock.settimeout(left_ns / clock.NS_PER_S)
            data = sock.recv(_READ_SIZE)
        except TimeoutError:
            raise self._core.failure(Reason.TIMEOUT) from None
        except OSError as error:
            raise self._core.failure(reason_of(error), detail=error.strerror or "") from None
        self._read_ns = clock.monotonic_ns()
        self._heard += data[: _HEARD - len(self._heard)]
        self._core.receive_data(data)

    def _send(self, sock: socket.socket, event: SendBytes) -> None:
        if event.point is not None:
            self._done.points[event.point] = clock.monotonic_ns()
        try:
            sock.sendall(event.data)
        except TimeoutError:
            raise self._core.failure(Reason.TIMEOUT) from None
        except OSError:
            # A device ignores what becomes of a send; its next receive tells.
            return

    def _perform(self, request: CryptoRequest) -> LaneResult:
        backend = self._backend
        if isinstance(request, EncryptNonce):
            return backend.encrypt_nonce([request])[0]
        if isinstance(request, UnwrapKey):
            return backend.unwrap_key([request])[0]
        if isinstance(request, Seal):
            return backend.seal(request)
        assert isinstance(request, Open)
        return backend.open(request)

    def _completed(self) -> Attempt:
        points, limits = self._done.points, self._firmware.timeouts_ns
        took = {stage: points[end] - points[begin] for stage, (begin, end) in STAGE_BOUNDS.items() if stage in limits}
        slowest = max(took, key=lambda stage: took[stage] / limits[stage])
        return Attempt(
            stage=None, reason=None, round_trip_ns=self._rtt_ns, slowest=(slowest, took[slowest], limits[slowest])
        )

    def _failed(self, error: HandshakeError) -> Attempt:
        begin = _AWAITED.get(error.stage, Point.STARTED)
        since_ns = self._done.points.get(begin)
        return Attempt(
            stage=error.stage,
            reason=error.reason,
            device_code=self._firmware.device_code(error.stage, error.reason),
            elapsed_ns=None if since_ns is None else self._done.ended_ns - since_ns,
            round_trip_ns=self._rtt_ns,
            device_limit_ns=self._waits_ns.get(error.stage),
            heard=bytes(self._heard),
            detail=error.detail,
        )
