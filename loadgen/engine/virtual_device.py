"""One virtual device from its intended start to its end: the thin shell between socket, protocol core and crypto.

It reads clocks, moves bytes and answers crypto requests; what the bytes mean is the core's business. An attempt
is one object that ends once, with a failure or without; nothing of it is kept.
"""

from __future__ import annotations

import socket
from typing import Protocol

from loadgen.crypto.base import CryptoBackend
from loadgen.crypto.executor import Completion
from loadgen.engine.cohort import Cohort
from loadgen.engine.sessions import Session
from loadgen.engine.sockets import READABLE, WRITABLE, SocketSet, connected_at, is_connected, reason_of
from loadgen.protocol import coap
from loadgen.protocol.answers import device_replies
from loadgen.protocol.boot import Boot, boot_messages
from loadgen.protocol.coap import Message
from loadgen.protocol.device import DeviceConnection
from loadgen.protocol.events import (
    NEED_DATA,
    PAUSED,
    BatchedRequest,
    CryptoNeeded,
    HandshakeCompleted,
    MessageReceived,
    Open,
    Received,
    Seal,
    SendBytes,
)
from loadgen.protocol.reasons import HandshakeError, Reason
from loadgen.protocol.stages import Point, Stage
from loadgen.recording.rows import (
    FLAG_CONNECTED_FALLBACK,
    FLAG_HELLO_MERGED,
    FLAG_HELLO_UNSTAMPED,
    FLAG_KEY_UNSTAMPED,
    FLAG_NONCE_UNSTAMPED,
    FLAG_SYN_REPEATED,
)

PING, PONG = "ping", "pong"
"""Waits of the session: for silence to become too long, for the answer to a ping."""

EVENT_NAME = "loadgen"
"""Of the events that sessions send; short, as application events are."""

_AWAITED_AFTER = {Point.CIPHERTEXT_OUT: Stage.KEY, Point.HELLO_OUT: Stage.HELLO}
"""What a device waits for once it has sent a message."""

_UNSTAMPED = {
    Point.NONCE_IN: FLAG_NONCE_UNSTAMPED,
    Point.KEY_IN: FLAG_KEY_UNSTAMPED,
    Point.HELLO_IN: FLAG_HELLO_UNSTAMPED,
}


class DeviceHost(Protocol):
    """What a virtual device needs from the driver of its worker."""

    sockets: SocketSet
    backend: CryptoBackend
    hold_ns: int
    closing: bool
    close_with_reset: bool
    kernel_stamps: bool

    def now(self) -> int:
        """CLOCK_MONOTONIC, ns."""

    def submit(self, device: VirtualDevice, token: int, request: BatchedRequest) -> None:
        """Hand a request to the crypto thread; the answer comes through ``on_crypto``."""

    def handshake_completed(self, device: VirtualDevice) -> None:
        """The points of ``device`` are final; called once, before ``ended``."""

    def session_begun(self, device: VirtualDevice, now: int) -> None:
        """The session is to be held; called once, after ``handshake_completed``."""

    def boot_of(self, device: VirtualDevice) -> Boot:
        """How ``device`` came up; called once, after ``session_begun``."""

    def session_over(self, device: VirtualDevice) -> None:
        """The held session ends; called once, before ``ended``."""

    def ended(self, device: VirtualDevice, error: HandshakeError | None) -> None:
        """The attempt is over and its socket closed; called once."""


class VirtualDevice:
    """One attempt of one device.

    Attributes:
        cohort: the devices of the same firmware.
        identity: index of the device in its worker's fleet.
        points: the eight clock points in the order of :class:`~loadgen.protocol.stages.Point`, ns; 0 = not reached.
        wakeup_lag_ns: arrival by the kernel's stamp → read, summed over the three messages; None without stamps.
        crypto_wait_ns: requested → batch begun, summed over both operations.
        crypto_run_ns: batch begun → answered, summed over both operations.
        flags: the recorder's row flags.
        in_session: the handshake is completed.
        session: what the driver keeps of a held session.
    """

    __slots__ = (
        "_awaited",
        "_core",
        "_host",
        "_lag_ns",
        "_outbox",
        "_read_at",
        "_socket",
        "cohort",
        "crypto_run_ns",
        "crypto_wait_ns",
        "flags",
        "identity",
        "in_session",
        "points",
        "session",
        "wakeup_lag_ns",
    )

    def __init__(
        self,
        host: DeviceHost,
        cohort: Cohort[VirtualDevice],
        core: DeviceConnection,
        identity: int,
        intended_ns: int,
    ) -> None:
        self._host = host
        self._core = core
        self._socket: socket.socket | None = None
        self._outbox = b""
        self._awaited: str | None = None
        self._read_at = 0
        self._lag_ns: int | None = None
        self.cohort = cohort
        self.identity = identity
        self.points = [intended_ns, 0, 0, 0, 0, 0, 0, 0]
        self.wakeup_lag_ns: int | None = None
        self.crypto_wait_ns = 0
        self.crypto_run_ns = 0
        self.flags = 0
        self.in_session = False
        self.session: Session[VirtualDevice] | None = None

    def start(self) -> None:
        """Begin to connect. :class:`OSError` where this machine cannot; the attempt has not ended then."""
        sockets = self._host.sockets
        self.points[Point.STARTED] = self._host.now()  # of an attempt that fails before its connect
        self._socket = sockets.connect(self)
        self.points[Point.STARTED] = sockets.begun_ns
        self._await(Stage.CONNECT, sockets.begun_ns)

    # --- what happens to the device

    def on_ready(self, mask: int) -> None:
        """Read what has come, stamp it, and go on."""
        sock = self._socket
        if sock is None:
            return
        if mask & WRITABLE and self._outbox:
            self._write(b"")
            if mask == WRITABLE or self._socket is None:
                return
        try:
            data, self._read_at, self._lag_ns = self._host.sockets.receive(sock)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(reason_of(error))
            return
        if not data:  # level-triggered: an end that was read would be reported for ever
            self._host.sockets.forget(sock)
        elif self.in_session:
            self._heard()
        self._core.receive_data(data)
        self._pump()

    def on_crypto(self, done: Completion) -> None:
        """Take the answer to a crypto request; it is no :class:`LocalResourceError`."""
        if self._socket is None:  # ended meanwhile
            return
        self.crypto_wait_ns += done.begun_ns - done.requested_ns
        self.crypto_run_ns += done.answered_ns - done.begun_ns
        self._core.answer(done.token, done.result)  # type: ignore[arg-type]
        self._pump()

    def on_deadline(self, kind: str, now: int) -> None:
        """A wait is over. What is in the socket already counts as in time: it waited for us."""
        if kind == PING:
            if self._socket is not None:  # the hold may have been over at the same time
                self._ping(now)
            return
        if self._awaited == kind:  # not after a FIN: the core has drawn its conclusion from that
            self.on_ready(READABLE)
        if self._socket is None or self._awaited != kind:
            return
        self._awaited = None
        if kind == Stage.CONNECT:
            self._connect_overdue(now)
        elif kind == PONG and not self.cohort.profile.notices_silence:
            self.cohort.deadlines.arm(PING, self, now)
        else:
            self._fail(Reason.PING_TIMEOUT if kind == PONG else Reason.TIMEOUT)

    def send_event(self) -> None:
        """Publish an event, as an application does."""
        self._core.send_message(coap.event(EVENT_NAME, b"0"))
        self._pump()

    def leave(self) -> None:
        """End the session on purpose, with a word where the firmware has one and a close that does not overtake it."""
        if self.cohort.profile.says_goodbye and not self._host.close_with_reset:
            self._core.send_message(coap.goodbye())
            self._pump()
        self.end(None)

    def end(self, error: HandshakeError | None) -> None:
        """Close the socket and tell the driver; harmless when repeated."""
        sock, self._socket = self._socket, None
        if sock is None:
            return
        host = self._host
        self._await(None, 0)
        if self.session is not None:
            host.session_over(self)
            self.cohort.deadlines.disarm(PING, self)
        host.sockets.close(sock, reset=host.close_with_reset)
        host.ended(self, error)

    # --- what the device does

    def _pump(self) -> None:
        # By exact type: events have no subclasses, and isinstance() with an enum is the slowest line of a handshake.
        core, host = self._core, self._host
        try:
            while self._socket is not None:
                event = core.next_event()
                if event is NEED_DATA or event is PAUSED:
                    return
                if type(event) is CryptoNeeded:
                    request = event.request
                    if isinstance(request, Seal):
                        core.answer(event.token, host.backend.seal(request))
                    elif isinstance(request, Open):
                        core.answer(event.token, host.backend.open(request))
                    else:
                        host.submit(self, event.token, request)
                elif type(event) is Received:
                    self._received(event.point)
                elif type(event) is SendBytes:
                    self._send(event)
                elif type(event) is HandshakeCompleted:
                    self._completed()
                elif type(event) is MessageReceived:
                    self._answer(event.message)
        except HandshakeError as error:
            self.end(error)

    def _answer(self, message: Message) -> None:
        for reply in device_replies(message, self._core.firmware):
            self._core.send_message(reply)

    def _send(self, event: SendBytes) -> None:
        if event.point is not None:
            now = self._host.now()
            self.points[event.point] = now
            self._await(_AWAITED_AFTER[event.point], now)
        self._write(event.data)

    def _write(self, data: bytes) -> None:
        """Send at once, as a real device does; what the kernel does not take waits for room."""
        sock = self._socket
        assert sock is not None
        data = self._outbox + data if self._outbox else data
        try:
            sent = sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            # The firmware ignores the result of its send: the receive that follows tells what happened.
            if self._host.sockets.watches(sock):
                self._fail(reason_of(error))
            return
        if sent == len(data) and not self._outbox:
            return
        self._outbox = data[sent:]
        if not self._host.sockets.watches(sock):  # after a FIN nobody tells when there is room, or reads the rest
            return
        self._host.sockets.watch(sock, READABLE | WRITABLE if self._outbox else READABLE)

    def _received(self, point: Point) -> None:
        self._await(None, 0)
        self.points[point] = self._read_at
        lag_ns = self._lag_ns
        if lag_ns is not None:
            self.wakeup_lag_ns = lag_ns + (self.wakeup_lag_ns or 0)
        elif self._host.kernel_stamps:
            self.flags |= _UNSTAMPED[point]
        if point is Point.NONCE_IN:
            assert self._socket is not None
            connected = connected_at(self._socket, self.points[Point.STARTED], self._host.now)
            if connected is None:
                self.flags |= FLAG_CONNECTED_FALLBACK
            elif not connected.by_rtt:
                self.flags |= FLAG_SYN_REPEATED
            self.points[Point.CONNECTED] = self._read_at if connected is None else connected.at_ns
        elif point is Point.HELLO_IN and self._core.buffered:
            self.flags |= FLAG_HELLO_MERGED

    def _completed(self) -> None:
        host = self._host
        host.handshake_completed(self)
        self.in_session = True
        if host.closing or not host.hold_ns:
            self.end(None)
            return
        assert self._socket is not None
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.cohort.deadlines.arm(PING, self, self._read_at)
        host.session_begun(self, self._read_at)
        self._boot(host.boot_of(self))

    def _boot(self, boot: Boot) -> None:
        """Queue what the device says by itself; the pump sends it, a frame a write."""
        core = self._core
        channel = core.session
        assert channel is not None
        for message in boot_messages(core.firmware, boot, channel.next_token):
            core.send_message(message)

    # --- waiting

    def _await(self, kind: str | None, since_ns: int) -> None:
        deadlines = self.cohort.deadlines
        if self._awaited is not None:
            deadlines.disarm(self._awaited, self)
        self._awaited = kind
        if kind is not None:
            deadlines.arm(kind, self, since_ns)

    def _connect_overdue(self, now: int) -> None:
        """Tell a connect that hangs from a silent cloud: only here is it asked whether the connection stands."""
        assert self._socket is not None
        started = self.points[Point.STARTED]
        timeouts_ns = self.cohort.timeouts_ns
        if not is_connected(self._socket):
            if now - started >= timeouts_ns[Stage.CONNECT]:
                self._fail(Reason.TIMEOUT)
            else:
                self._await(Stage.CONNECT, now)
            return
        self._core.connected()
        connected = connected_at(self._socket, started, self._host.now)
        since_ns = started if connected is None else connected.at_ns
        if now - since_ns >= timeouts_ns[Stage.NONCE]:
            self._fail(Reason.TIMEOUT)
        else:
            self._await(Stage.NONCE, since_ns)

    def _heard(self) -> None:
        """Anything that is received satisfies a ping and begins the silence anew."""
        if self._awaited == PONG:
            self._await(None, 0)
        else:
            self.cohort.deadlines.disarm(PING, self)
        self.cohort.deadlines.arm(PING, self, self._read_at)

    def _ping(self, now: int) -> None:
        self._await(PONG, now)
        self._core.send_message(coap.ping())
        self._pump()

    def _fail(self, reason: Reason) -> None:
        self.end(self._core.failure(reason))
