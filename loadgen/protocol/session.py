"""What both ends share: the encrypted channel, the pull core around it, and the answers to a session's messages.

Strategy: a connection is a state of :mod:`loadgen.protocol.states`, a buffer, and at most one event held back.
``next_event`` looks the state's handler up in a tuple and runs it; a handler takes what it needs from the buffer
or from the last crypto answer, steps the state by the table, and returns one event. So nothing happens before the
shell pulls, however the bytes were cut, and a connection that waits costs no work.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final

from loadgen.protocol.coap import (
    CIPHERTEXT_ID,
    NON,
    OWN_ID,
    CoapError,
    Kind,
    Message,
    decode,
    empty_ack,
    encode,
    kind_at_cloud,
    time_response,
)
from loadgen.protocol.events import (
    NEED_DATA,
    PAUSED,
    CryptoNeeded,
    CryptoRequest,
    Event,
    MessageReceived,
    Open,
    Seal,
    SendBytes,
    Sentinel,
)
from loadgen.protocol.reasons import CryptoFault, HandshakeError, Reason, Side
from loadgen.protocol.stages import Stage
from loadgen.protocol.states import (
    CloudState,
    DeviceState,
    EventKind,
    IllegalTransition,
    step,
)
from loadgen.protocol.wire import FrameBuffer, FrameError, encode_frame, pad, unpad

MAX_EARLY_BYTES: Final = 4096
"""How much may come before it is due, while an RSA operation runs. An honest peer has nothing to send then."""

# Members of an enum bound once: reaching them through their class costs more than the steps below.
_RESULT: Final = EventKind.RESULT
_FRAME_IN: Final = EventKind.FRAME_IN
_MESSAGE_OPENED: Final = EventKind.MESSAGE_OPENED
_MESSAGE_OUT: Final = EventKind.MESSAGE_OUT

# The session states have the same numbers on both sides.
_SESSION: Final = int(DeviceState.SESSION)
_FAILED: Final = int(DeviceState.FAILED)


class SessionChannel:
    """AES-128-CBC state of a session: the key, one IV a direction, and the counters of ids and tokens.

    The IV of a direction's first message is that of the session material; every later one is the *first* 16
    bytes of the previous ciphertext of that direction, not the last ones.

    Args:
        key: 16 bytes.
        iv: 16 bytes, for the first message of each direction.
        message_id: the counter before the first own message, 16 bits.
        token: the counter before the first own token, 8 bits.
    """

    __slots__ = ("_iv_in", "_iv_out", "_token", "key", "message_id")

    def __init__(self, key: bytes, iv: bytes, message_id: int, token: int = 0) -> None:
        self.key = key
        self._iv_in = iv
        self._iv_out = iv
        self.message_id = message_id
        self._token = token

    def next_message_id(self) -> int:
        """Count on; one counter for every message that is no acknowledgement, 65535 is followed by 0."""
        self.message_id = message_id = self.message_id + 1 & 0xFFFF
        return message_id

    def next_token(self) -> bytes:
        """The next one-byte token."""
        self._token = token = self._token + 1 & 0xFF
        return bytes((token,))

    @property
    def ciphertext_id(self) -> int:
        """The first two bytes of the last own ciphertext, as a message id (see ``CIPHERTEXT_ID``)."""
        return int.from_bytes(self._iv_out[:2], "big")

    def seal(self, message: bytes) -> Seal:
        """The request to encrypt ``message``; its answer goes to :meth:`frame` before the next one is sealed."""
        return Seal(self.key, self._iv_out, pad(message))

    def frame(self, ciphertext: bytes) -> bytes:
        """The bytes to send for a sealed message."""
        self._iv_out = ciphertext[:16]
        return encode_frame(ciphertext)

    def open(self, ciphertext: bytes) -> Open:
        """The request to decrypt a received frame."""
        request = Open(self.key, self._iv_in, ciphertext)
        self._iv_in = ciphertext[:16]
        return request


class Connection:
    """The common part of both cores: buffer, crypto requests, faults, and the session.

    Calls that do not fit the state raise :class:`~loadgen.protocol.states.IllegalTransition` (an error of the
    shell), except on a dead core: what arrives late for it is ignored.
    """

    __slots__ = ("_buffer", "_ended", "_held", "_outbox", "_result", "_token", "session", "state")

    _TABLE: ClassVar[Any]
    _STAGES: ClassVar[Any]
    _HANDLERS: ClassVar[tuple[Callable[[Any], Event | Sentinel], ...]]
    _EXPECT_HELLO: ClassVar[int]
    _OWN_SIDE: ClassVar[Side]
    _OTHER_SIDE: ClassVar[Side]

    state: Any
    session: SessionChannel | None

    def __init__(self, state: DeviceState | CloudState, max_frame: int) -> None:
        self.state = state
        self.session = None
        self._buffer = FrameBuffer(max_frame)
        self._ended = False
        self._held: Event | None = None
        self._outbox: list[bytes | Message] | None = None
        self._result: bytes | CryptoFault | None = None
        self._token = 0  # of the request in flight; not positive when there is none

    # --- what the shell calls

    @property
    def stage(self) -> Stage:
        """The stage that the time goes to now; ``failed`` for a dead core."""
        stage: Stage = self._STAGES[self.state]
        return stage

    @property
    def in_session(self) -> bool:
        """Whether the handshake is complete and the core alive."""
        state: int = self.state
        return _SESSION <= state < _FAILED

    @property
    def buffered(self) -> int:
        """Bytes that have come and are not parsed yet."""
        return len(self._buffer)

    def receive_data(self, data: bytes) -> None:
        """Take what was read from the socket; ``b""`` is the end of the stream (FIN)."""
        if self.state == _FAILED:
            return
        if data:
            self._buffer.feed(data)
        else:
            self._ended = True

    def next_event(self) -> Event | Sentinel:
        """The next event, or :data:`NEED_DATA` or :data:`PAUSED`.

        Raises :class:`HandshakeError` when the connection has failed; the core is dead then.
        """
        held = self._held
        if held is not None:
            self._held = None
            return held
        handler: Callable[[Any], Event | Sentinel] = self._HANDLERS[self.state]
        return handler(self)

    def answer(self, token: int, result: bytes | CryptoFault) -> None:
        """Give the result of the crypto request ``token``."""
        if self.state == _FAILED:
            return
        if token != self._token or token <= 0:
            raise IllegalTransition(f"an answer to request {token}, which is not in flight")
        self._token = -token
        self._result = result

    def failure(self, reason: Reason, fault: Side | None = None, detail: str = "") -> HandshakeError:
        """Kill the core for something that the shell saw, and give the error to report: timeout, reset, refused …

        ``fault`` is the other side's unless stated, and this side's for ``local_resource``.
        """
        if fault is None:
            fault = self._OWN_SIDE if reason is Reason.LOCAL_RESOURCE else self._OTHER_SIDE
        stage = self._stage_of(reason)
        in_session = self.in_session
        self.state = step(self._TABLE, self.state, EventKind.FAULT)
        self._buffer.clear()
        self._held = self._outbox = self._result = self.session = None
        return HandshakeError(stage, reason, fault, in_session=in_session, detail=detail)

    def send_message(self, message: Message) -> int:
        """Queue ``message``; it comes back as bytes from ``next_event``. Allowed once the session is keyed.

        CON and NON messages get their message id here (it is written into ``message``), and an ACK with
        :data:`~loadgen.protocol.coap.OWN_ID`; other ACKs and RSTs keep theirs. Returns the id. Raises
        :class:`CoapError` where the message cannot be written or is too long.
        """
        if not self._EXPECT_HELLO <= self.state < _FAILED:
            raise IllegalTransition(f"a message in state {self.state.name}")
        session = self.session
        assert session is not None
        if message.type <= NON or message.message_id == OWN_ID:
            message.message_id = session.next_message_id()
        elif message.message_id == CIPHERTEXT_ID:  # known once everything before it is sealed
            self._queue(message)
            return CIPHERTEXT_ID
        data = encode(message)
        if len(data) >= self._buffer.max_frame:
            raise CoapError(f"a message of {len(data)} bytes")
        self._queue(data)
        return message.message_id

    def _queue(self, message: bytes | Message) -> None:
        if self._outbox is None:
            self._outbox = [message]
        else:
            self._outbox.append(message)

    # --- for the two sides

    def _stage_of(self, reason: Reason) -> Stage:  # noqa: ARG002  (the device's side looks at it)
        return self.stage

    def _request(self, request: CryptoRequest) -> CryptoNeeded:
        self._token = token = 1 - self._token
        return CryptoNeeded(token, request)

    def _starved(self) -> Sentinel:
        """More bytes are needed: wait for them, or fail if there will be none."""
        if self._ended:
            raise self.failure(Reason.SHORT if len(self._buffer) else Reason.CLOSED)
        return NEED_DATA

    def _paused(self) -> Sentinel:
        """The shell is to answer; meanwhile nothing is parsed, so what comes is bounded."""
        if len(self._buffer) > MAX_EARLY_BYTES:
            raise self.failure(Reason.BAD_FRAME, detail=f"{len(self._buffer)} bytes before any were due")
        return PAUSED

    def _no_result(self, fault: CryptoFault) -> HandshakeError:
        """A crypto fault that no peer can cause."""
        return self.failure(Reason.LOCAL_RESOURCE, detail=f"crypto: {fault}")

    def _pull_frame(self) -> Event | Sentinel:
        """Send what is queued, else open the next frame."""
        session = self.session
        assert session is not None
        if self._outbox:
            self.state = step(self._TABLE, self.state, _MESSAGE_OUT)
            message = self._outbox.pop(0)
            if isinstance(message, Message):
                message.message_id = session.ciphertext_id
                message = encode(message)
            return self._request(session.seal(message))
        try:
            ciphertext = self._buffer.take_frame()
        except FrameError as error:
            raise self.failure(Reason.BAD_FRAME, detail=str(error)) from None
        if ciphertext is None:
            return self._starved()
        self.state = step(self._TABLE, self.state, _FRAME_IN)
        return self._request(session.open(ciphertext))

    def _pull_sealed(self) -> Event | Sentinel:
        """Hand out the message that was sealed."""
        result = self._result
        if result is None:
            return PAUSED
        if isinstance(result, CryptoFault):
            raise self._no_result(result)
        self._result = None
        session = self.session
        assert session is not None
        self.state = step(self._TABLE, self.state, _RESULT)
        return SendBytes(session.frame(result))

    def _pull_message(self) -> Event | Sentinel:
        """Parse the message that was opened."""
        result = self._result
        if result is None:
            return PAUSED
        message = self._understood(self._unpadded(result))
        self.state = step(self._TABLE, self.state, _MESSAGE_OPENED)
        return self.next_event() if message is None else MessageReceived(message)

    def _unpadded(self, result: bytes | CryptoFault) -> bytes:
        if isinstance(result, CryptoFault):
            raise self._no_result(result)
        self._result = None
        try:
            return unpad(result)
        except FrameError as error:
            raise self.failure(Reason.BAD_FRAME, detail=str(error)) from None

    def _understood(self, data: bytes) -> Message | None:
        """The message, None to drop it. Fails where this side ends the connection over it."""
        try:
            return decode(data)
        except CoapError as error:
            raise self.failure(Reason.BAD_HELLO, detail=str(error)) from None

    def _pull_nothing(self) -> Event | Sentinel:
        raise IllegalTransition("the connection has failed")


# --- what a cloud answers in a session


def cloud_replies(message: Message, now_s: int) -> list[Message]:
    """What a cloud sends for a received message, in order. ``now_s`` is the time to tell, seconds since 1970.

    Events (confirmable or not), subscriptions, posted describe documents and pings get an empty acknowledgement,
    because firmware up to 0.7.0 ends a session over one with a code; a time request gets the time.
    """
    kind = kind_at_cloud(message)
    if kind is Kind.TIME_REQUEST:
        return [time_response(message, now_s)]
    if kind in _ACKNOWLEDGED:
        return [empty_ack(message.message_id)]
    return []


_ACKNOWLEDGED = frozenset({Kind.PING, Kind.EVENT, Kind.SUBSCRIBE, Kind.DESCRIBE, Kind.UPDATE_DONE})
