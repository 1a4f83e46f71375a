"""The cloud's end of one connection: the thin shell between socket, protocol core, gate and crypto.

It moves bytes, answers crypto requests and acknowledges what a device says in its session; what the bytes mean is
the core's business. A connection ends once. Nothing here waits: the worker calls when bytes, crypto results, a place
at the gate or a deadline have come.
"""

from __future__ import annotations

import socket
from typing import Protocol

from loadgen.crypto.base import CryptoBackend, LaneResult
from loadgen.mockcloud.gate import Entry
from loadgen.protocol import coap
from loadgen.protocol.cloud import CloudConnection
from loadgen.protocol.events import (
    BatchedRequest,
    CryptoNeeded,
    DecryptNonce,
    DeviceIdentified,
    HandshakeCompleted,
    KeyHandle,
    MessageReceived,
    Open,
    Seal,
    SendBytes,
    Sentinel,
    WrapKey,
)
from loadgen.protocol.reasons import HandshakeError, Reason, Side
from loadgen.protocol.session import MAX_EARLY_BYTES, cloud_replies
from loadgen.protocol.stages import Stage
from loadgen.protocol.wire import REPLY_SIZE

_READ_SIZE = 4096
_DISCARD_SIZE = 65536
_MODULES = b'"m":'
"""In the one document of an answer that says what the device is; firmware to 0.6.0 sends another without it."""
_DESCRIBE_TOKEN = b"\x01"


class SessionCounts:
    """What a worker counts on the way of its connections, by the names of ``report.COUNTERS``."""

    __slots__ = (
        "closed_by_device",
        "describes_answered",
        "describes_asked",
        "idle_closed",
        "messages",
        "not_taken",
        "out_of_order",
        "reset_by_device",
    )

    def __init__(self) -> None:
        self.closed_by_device = 0
        self.reset_by_device = 0
        self.idle_closed = 0
        self.messages = 0
        self.out_of_order = 0
        self.describes_asked = 0
        self.describes_answered = 0
        self.not_taken = 0


class CloudHost(Protocol):
    """What a connection needs from its worker."""

    backend: CryptoBackend
    counts: SessionCounts
    session_deadline_ns: int
    """When a session that is heard of now has been silent for too long; on CLOCK_MONOTONIC."""

    def now_s(self) -> int:
        """Seconds since 1970, for devices that ask."""

    def submit(self, connection: Connection, token: int, request: BatchedRequest) -> None:
        """Hand a request to the crypto thread; the answer comes through :meth:`Connection.on_crypto`."""

    def enter_gate(self, connection: Connection) -> Entry:
        """Ask for a place; after WAIT :meth:`Connection.on_pass` is called when there is one."""

    def leave_gate(self) -> None:
        """Give the place back."""

    def key_for(self, device_id: bytes, presented: bytes) -> KeyHandle | Reason:
        """The device's key by the registry, ready for use, or why the device is closed."""

    def handshake_completed(self, connection: Connection) -> None:
        """The handshake of ``connection`` is complete; called once."""

    def end_of_stream(self, sock: socket.socket) -> None:
        """Do not watch ``sock`` any more: its end was read and would be reported for ever."""

    def ended(self, connection: Connection, sock: socket.socket, error: HandshakeError | None) -> None:
        """The connection is over; the host closes ``sock``. Called once."""


class Connection:
    """One device's connection.

    Attributes:
        deadline_ns: when the worker closes it unless something happens before.
        in_session: the handshake is complete.
    """

    __slots__ = (
        "_core",
        "_early",
        "_expected_id",
        "_has_passed",
        "_held",
        "_host",
        "_in_gate",
        "_socket",
        "deadline_ns",
        "in_session",
    )

    def __init__(self, host: CloudHost, core: CloudConnection, sock: socket.socket, deadline_ns: int) -> None:
        self._host = host
        self._core = core
        self._socket: socket.socket | None = sock
        self._held: CryptoNeeded | SendBytes | None = None
        self._has_passed = False
        self._in_gate = False
        self._early = 0
        self._expected_id: int | None = None
        self.deadline_ns = deadline_ns
        self.in_session = False

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self._socket is not None

    def start(self) -> None:
        """Speak first: the nonce."""
        self._pump()

    # --- what happens to the connection

    def on_readable(self) -> None:
        """Read what has come and go on."""
        sock = self._socket
        if sock is None:
            return
        try:
            data = self._receive(sock)
        except BlockingIOError:
            return
        except OSError:
            self._lost()
            return
        if not data:
            self._host.end_of_stream(sock)
        elif self.in_session:
            self.deadline_ns = self._host.session_deadline_ns
        self._core.receive_data(data)
        if self._held is None:
            self._pump()
        else:
            self._wait_on(len(data))

    def _wait_on(self, size: int) -> None:
        """``size`` bytes came while the gate was closed, when nothing is due; 0 for the end of the stream."""
        self._early += size
        if not size:  # a device that has gone needs no answer
            self._fail(Reason.CLOSED)
        elif self._early > MAX_EARLY_BYTES:
            self._fail(Reason.BAD_FRAME)

    def on_crypto(self, token: int, request: BatchedRequest, result: LaneResult) -> None:
        """Take the answer to a crypto request."""
        if self._socket is None:  # ended meanwhile
            return
        if type(request) is WrapKey:
            self._leave()
        self._core.answer(token, result)
        self._pump()

    def on_pass(self) -> None:
        """Go on: the gate has let it pass."""
        held, self._held = self._held, None
        assert held is not None
        self._passed(held)
        self._pump()

    def on_deadline(self, now_ns: int) -> None:
        """The handshake took too long, or the session was silent for too long."""
        self.on_readable()  # what is in the socket already counts as in time
        if self._socket is None:
            return
        if not self.in_session:
            self._fail(Reason.TIMEOUT)
        elif self.deadline_ns <= now_ns:
            self._host.counts.idle_closed += 1
            self.end(None)

    def ask_describe(self) -> None:
        """Ask the device to describe itself."""
        if self._socket is not None:
            self._host.counts.describes_asked += 1
            self._core.send_message(coap.describe_request(_DESCRIBE_TOKEN))
            self._pump()

    def end(self, error: HandshakeError | None) -> None:
        """Close and tell the worker; harmless when repeated."""
        sock, self._socket = self._socket, None
        if sock is None:
            return
        self._held = None
        self._leave()
        if error is not None:
            discard(sock)
        self._host.ended(self, sock, error)

    # --- what the connection does

    def _receive(self, sock: socket.socket) -> bytes:
        return sock.recv(_READ_SIZE)

    def _pump(self) -> None:
        core = self._core
        try:
            while self._socket is not None:
                event = core.next_event()
                if isinstance(event, SendBytes):
                    if self._has_passed or len(event.data) != REPLY_SIZE:
                        self._write(event.data)
                    elif not self._ask_gate(event):
                        return
                elif isinstance(event, CryptoNeeded):
                    if not self._compute(event):
                        return
                elif isinstance(event, Sentinel):
                    return
                elif isinstance(event, HandshakeCompleted):
                    self._completed()
                elif isinstance(event, MessageReceived):
                    self._answer(event.message)
                elif isinstance(event, DeviceIdentified):
                    self._identify(event)
        except HandshakeError as error:
            self._failed(error)

    def _compute(self, event: CryptoNeeded) -> bool:
        """See to a crypto request. False: it is held at the gate, and the pump has to stop."""
        request, host = event.request, self._host
        if isinstance(request, Seal):
            self._core.answer(event.token, host.backend.seal(request))
        elif isinstance(request, Open):
            self._core.answer(event.token, host.backend.open(request))
        elif isinstance(request, DecryptNonce):
            return self._ask_gate(event)
        else:
            host.submit(self, event.token, request)
        return True

    def _ask_gate(self, event: CryptoNeeded | SendBytes) -> bool:
        """Do ``event``, the first that the limit counts, or hold it. False: the pump has to stop."""
        entry = self._host.enter_gate(self)
        if entry is Entry.PASS:
            self._passed(event)
            return True
        if entry is Entry.WAIT:
            self._held = event
        else:
            self._core.failure(Reason.OVERLOAD)
            self.end(HandshakeError(Stage.KEY, Reason.OVERLOAD, Side.CLOUD))
        return False

    def _passed(self, event: CryptoNeeded | SendBytes) -> None:
        self._has_passed = self._in_gate = True
        if isinstance(event, SendBytes):  # prepared: no RSA follows
            self._leave()
            self._write(event.data)
        else:
            request = event.request
            assert isinstance(request, DecryptNonce)
            self._host.submit(self, event.token, request)

    def _leave(self) -> None:
        if self._in_gate:
            self._in_gate = False
            self._host.leave_gate()

    def _identify(self, event: DeviceIdentified) -> None:
        key = self._host.key_for(event.device_id, event.presented_key)
        if isinstance(key, Reason):
            self._core.refuse(key)
        else:
            self._core.admit(key)

    def _completed(self) -> None:
        self.in_session = True
        self._expected_id = self._core.device_message_id
        self.deadline_ns = self._host.session_deadline_ns
        self._host.handshake_completed(self)

    def _answer(self, message: coap.Message) -> None:
        host, core = self._host, self._core
        host.counts.messages += 1
        if message.type is not coap.ACK:
            self._check_id(message)
        if (
            message.code == coap.Code.CONTENT
            and message.token == _DESCRIBE_TOKEN
            and _MODULES in (message.payload or b"")
        ):
            host.counts.describes_answered += 1
        replies = cloud_replies(message, host.now_s())
        if not replies and message.type is coap.CON:  # firmware from 2.0 sends what it was asked for as CON
            replies = [coap.empty_ack(message.message_id)]
        for reply in replies:
            core.send_message(reply)

    def _check_id(self, message: coap.Message) -> None:
        """Follow the device's counter, which begins with Hello.

        The real servers close over a wrong id, except that of a ping; here it is counted.
        """
        if self._expected_id is None:  # before Hello
            return
        self._expected_id = expected = self._expected_id + 1 & 0xFFFF
        if message.message_id != expected and message.code != coap.Code.EMPTY:
            self._host.counts.out_of_order += 1
            self._expected_id = message.message_id

    def _write(self, data: bytes) -> None:
        """Send in one call, so that a frame is never split; what the kernel does not take ends the connection."""
        sock = self._socket
        assert sock is not None
        try:
            sent = sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._lost()
            return
        if sent != len(data):
            self._host.counts.not_taken += 1
            self._fail(Reason.OVERLOAD)

    def _lost(self) -> None:
        """The device sent an RST: that is how many end their session, and a failure before."""
        if self.in_session:
            self._host.counts.reset_by_device += 1
            self.end(None)
        else:
            self._fail(Reason.RESET)

    def _failed(self, error: HandshakeError) -> None:
        """The core has given up; in a session the device's FIN is an end like any other."""
        if self.in_session and error.reason is Reason.CLOSED:
            self._host.counts.closed_by_device += 1
            self.end(None)
        else:
            self.end(error)

    def _fail(self, reason: Reason) -> None:
        self.end(self._core.failure(reason))


def discard(sock: socket.socket) -> None:
    """Read what is left, so that closing sends a FIN as the real servers do: unread bytes would make it an RST."""
    try:
        sock.recv(_DISCARD_SIZE)
    except OSError:
        return
