"""One handshake of one device, made by itself, with everything that it shows written down.

The protocol core, the crypto and the waits are those of a run; there is only no event loop, since nothing else is to be
done meanwhile. Where it is asked for, the connection is held: a session as a device holds one, with its messages,
answers and pings; a connection that the device has given up, in silence, until the other side ends it.
"""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from loadgen import clock
from loadgen.crypto.base import CryptoBackend, LaneResult
from loadgen.diagnosis.evidence import Attempt, Later, Seen
from loadgen.diagnosis.reply import read_reply
from loadgen.engine.sockets import reason_of
from loadgen.fleet.identity import Identity
from loadgen.protocol import coap
from loadgen.protocol.answers import device_replies
from loadgen.protocol.boot import RECONNECT, boot_messages
from loadgen.protocol.device import DeviceConnection
from loadgen.protocol.events import (
    NEED_DATA,
    CryptoNeeded,
    CryptoRequest,
    EncryptNonce,
    Event,
    HandshakeCompleted,
    MessageReceived,
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
from loadgen.protocol.wire import REPLY_SIZE, FrameError, unpad

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
    server_spki: bytes
    """The same server key, 294 bytes."""
    cloud_spki: bytes | None = None
    """The cloud's real one, where it is known."""


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
    *,
    hold_ns: int = 0,
) -> Handshake:
    """Make one handshake, hold the connection where that is asked for, and close it.

    Args:
        subject: the device.
        address: numeric, and port.
        firmware: whose rules and waits to follow.
        backend: does the crypto.
        waits_ns: how long to wait at connect, nonce, key and hello; None: as the firmware.
        hold_ns: how long to go on at most, once the device has its session or has given up waiting.
    """
    return _Conversation(subject, address, firmware, backend, waits_ns or firmware.timeouts_ns).run(hold_ns)


def ask_in_http(address: tuple[str, int], wait_ns: int) -> bytes:
    """What a port answers to a line of HTTP, up to 64 bytes; nothing where it says nothing in time.

    A web server answers in HTTP, a TLS server with an alert, a device service with its nonce, which it sends anyway.
    """
    return _ask(_PROBE, address, wait_ns)


def ask_in_tls(address: tuple[str, int], wait_ns: int) -> bytes:
    """What a port answers to the greeting of a TLS client, up to 64 bytes; nothing where it says nothing in time."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # nothing is trusted: the handshake ends with its first answer
    outgoing = ssl.MemoryBIO()
    with suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    return _ask(outgoing.read(), address, wait_ns)


def _ask(greeting: bytes, address: tuple[str, int], wait_ns: int) -> bytes:
    try:
        with socket.create_connection(address, wait_ns / clock.NS_PER_S) as sock:
            sock.sendall(greeting)
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
        self._subject = subject
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
        self._behind_nonce = 0
        self._left_early = False
        self._part = bytearray()
        self._reply = b""
        self._opened: bytes | None = None
        self._was_reset = False
        self._was_asked = False

    def run(self, hold_ns: int) -> Handshake:
        """Go on until the handshake has failed, or is complete and was held."""
        points = self._done.points
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            error: HandshakeError | None = None
            later: Later | None = None
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                points[Point.STARTED] = clock.monotonic_ns()
                self._connect(sock)
                self._talk(sock)
                if hold_ns:
                    self._hold_session(sock, hold_ns)
            except HandshakeError as failed:
                error = failed
            self._done.ended_ns = clock.monotonic_ns()
            if hold_ns and error is not None and error.reason is Reason.TIMEOUT and error.stage in _AWAITED:
                later = self._wait_on(sock, error.stage, hold_ns)
        self._done.attempt = self._completed(hold_ns) if error is None else self._failed(error, later)
        return self._done

    def _connect(self, sock: socket.socket) -> None:
        sock.settimeout(self._waits_ns[Stage.CONNECT] / clock.NS_PER_S)
        try:
            sock.connect(self._address)
        except TimeoutError:
            raise self._core.failure(Reason.TIMEOUT) from None
        except OSError as error:
            if error.errno == errno.ECONNRESET:  # it stood, and was gone before this side knew
                self._connected()
            raise self._core.failure(reason_of(error), detail=error.strerror or "") from None
        self._connected()
        self._core.connected()

    def _connected(self) -> None:
        self._done.points[Point.CONNECTED] = clock.monotonic_ns()
        self._rtt_ns = self._done.points[Point.CONNECTED] - self._done.points[Point.STARTED]

    def _talk(self, sock: socket.socket) -> None:
        while True:
            event = self._core.next_event()
            if event is NEED_DATA:
                self._receive(sock)
            elif isinstance(event, HandshakeCompleted):
                return
            else:
                self._handle(sock, event)

    def _handle(self, sock: socket.socket, event: Event | Sentinel) -> None:
        """Do what the core asks for."""
        if isinstance(event, CryptoNeeded):
            self._core.answer(event.token, self._perform(event.request))
        elif isinstance(event, Received):
            self._done.points[event.point] = self._read_ns
            self._part.clear()
            self._opened = None
            if event.point is Point.NONCE_IN:
                self._behind_nonce = self._core.buffered
        elif isinstance(event, SendBytes):
            self._send(sock, event)
        else:
            assert isinstance(event, MessageReceived)
            self._opened = None
            self._was_asked |= coap.kind_at_device(event.message) is coap.Kind.DESCRIBE_REQUEST
            for reply in device_replies(event.message, self._firmware):
                self._core.send_message(reply)

    def _hold_session(self, sock: socket.socket, hold_ns: int) -> None:
        """Be a device with a session: say what it says by itself, answer, ping after silence."""
        core, firmware = self._core, self._firmware
        assert core.session is not None
        for message in boot_messages(firmware, RECONNECT, core.session.next_token):
            core.send_message(message)
        ends_ns = clock.monotonic_ns() + hold_ns
        since_ns, is_pinged = self._read_ns, False
        while True:
            event = core.next_event()
            if event is not NEED_DATA:
                self._handle(sock, event)
                continue
            patience_ns = firmware.ping_timeout_ns if is_pinged else firmware.ping_after_ns
            if self._read_until(sock, min(since_ns + patience_ns, ends_ns)):
                since_ns, is_pinged = self._read_ns, False
                continue
            since_ns = clock.monotonic_ns()
            if since_ns >= ends_ns:
                return
            if is_pinged and firmware.notices_silence:
                raise core.failure(Reason.PING_TIMEOUT)
            is_pinged = not is_pinged  # who does not notice an unanswered ping waits for the next one to be due
            if is_pinged:
                core.send_message(coap.ping())

    def _read_until(self, sock: socket.socket, until_ns: int) -> bool:
        """Give the core what comes; False where nothing came in time."""
        left_ns = until_ns - clock.monotonic_ns()
        if left_ns <= 0:
            return False
        sock.settimeout(left_ns / clock.NS_PER_S)
        try:
            data = sock.recv(_READ_SIZE)
        except TimeoutError:
            return False
        except OSError as error:
            raise self._core.failure(reason_of(error), detail=error.strerror or "") from None
        self._refuse_end_of_reset(data)
        self._read_ns = clock.monotonic_ns()
        self._core.receive_data(data)
        return True

    def _refuse_end_of_reset(self, data: bytes) -> None:
        """What looks like a close after a reset is none."""
        if not data and self._was_reset:
            raise self._core.failure(Reason.RESET)

    def _wait_on(self, sock: socket.socket, stage: Stage, hold_ns: int) -> Later:
        """Wait for the other side to end what the device has given up."""
        given_ns = self._done.points[_AWAITED[stage]]
        until_ns = clock.monotonic_ns() + hold_ns
        size, reason = 0, None
        while reason is None and (left_ns := until_ns - clock.monotonic_ns()) > 0:
            sock.settimeout(left_ns / clock.NS_PER_S)
            try:
                data = sock.recv(_READ_SIZE)
            except TimeoutError:
                break
            except OSError as error:
                reason = reason_of(error)
            else:
                size += len(data)
                reason = None if data else Reason.CLOSED
        return Later(held_ns=clock.monotonic_ns() - given_ns, reason=reason, size=size)

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
        self._refuse_end_of_reset(data)
        self._read_ns = clock.monotonic_ns()
        self._heard += data[: _HEARD - len(self._heard)]
        self._part += data[: REPLY_SIZE - len(self._part)]
        self._core.receive_data(data)

    def _send(self, sock: socket.socket, event: SendBytes) -> None:
        if event.point is Point.CIPHERTEXT_OUT:
            self._look_ahead(sock)
        if event.point is not None:
            self._done.points[event.point] = clock.monotonic_ns()
        try:
            sock.sendall(event.data)
        except TimeoutError:
            raise self._core.failure(Reason.TIMEOUT) from None
        except OSError as error:
            # A device ignores what becomes of a send; its next receive tells. The kernel tells of a reset only once.
            self._was_reset |= error.errno == errno.ECONNRESET

    def _look_ahead(self, sock: socket.socket) -> None:
        """Note what has come although the other side cannot know yet what it is to answer."""
        patience_s = sock.gettimeout()
        sock.settimeout(0)
        try:
            early = sock.recv(_READ_SIZE, socket.MSG_PEEK)
        except OSError:
            return
        finally:
            sock.settimeout(patience_s)
        self._behind_nonce += len(early)
        self._left_early = not early

    def _perform(self, request: CryptoRequest) -> LaneResult:
        backend = self._backend
        if isinstance(request, EncryptNonce):
            return backend.encrypt_nonce([request])[0]
        if isinstance(request, UnwrapKey):
            self._reply = request.reply
            return backend.unwrap_key([request])[0]
        if isinstance(request, Seal):
            return backend.seal(request)
        assert isinstance(request, Open)
        self._opened = backend.open(request)
        return self._opened

    def _completed(self, hold_ns: int) -> Attempt:
        points, limits = self._done.points, self._firmware.timeouts_ns
        took = {stage: points[end] - points[begin] for stage, (begin, end) in STAGE_BOUNDS.items() if stage in limits}
        slowest = max(took, key=lambda stage: took[stage] / limits[stage])
        return Attempt(
            stage=None,
            reason=None,
            round_trip_ns=self._rtt_ns,
            slowest=(slowest, took[slowest], limits[slowest]),
            held_ns=hold_ns or None,
            was_asked=self._was_asked,
        )

    def _failed(self, error: HandshakeError, later: Later | None) -> Attempt:
        points, ended_ns = self._done.points, self._done.ended_ns
        begin = Point.HELLO_IN if error.in_session else _AWAITED.get(error.stage, Point.STARTED)
        since_ns = points.get(begin)
        return Attempt(
            stage=error.stage,
            reason=error.reason,
            device_code=self._firmware.device_code(error.stage, error.reason, error.in_session),
            elapsed_ns=None if since_ns is None else ended_ns - since_ns,
            round_trip_ns=self._rtt_ns,
            device_limit_ns=None if error.in_session else self._waits_ns.get(error.stage),
            patience_ns=None if error.in_session else self._firmware.timeouts_ns.get(error.stage),
            heard=bytes(self._heard),
            detail=error.detail,
            in_session=error.in_session,
            connected_ns=ended_ns - points[Point.CONNECTED] if error.in_session else None,
            was_asked=self._was_asked,
            seen=self._saw(error),
            later=later,
        )

    def _saw(self, error: HandshakeError) -> Seen:
        reply, message = None, None
        if error.reason in (Reason.BAD_KEY, Reason.BAD_SIGNATURE):
            subject = self._subject
            reply = read_reply(self._reply, subject.identity.private_key_der, subject.server_spki, subject.cloud_spki)
        if error.reason in (Reason.BAD_HELLO, Reason.BAD_FRAME) and self._opened is not None:
            message = self._opened
            with suppress(FrameError):
                message = unpad(message)
        return Seen(
            behind_nonce=self._behind_nonce,
            left_early=self._left_early,
            part=bytes(self._part) if error.reason in (Reason.SHORT, Reason.TIMEOUT, Reason.CLOSED) else b"",
            reply=reply,
            message=message,
        )
