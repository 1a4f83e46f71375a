"""The device's end of a connection: from the nonce to the session, one event at a time.

What a virtual device does follows the firmware, with two differences. It accepts exactly 40 bytes of session
material (a real one takes fewer, and reads the rest from wherever they are), and it checks the padding of every
frame (a real one hardly does), so that a fault is reported where it happened.

While its own RSA runs a device does not look at the socket. Whatever becomes of the connection meanwhile it
notices at its next receive, so such faults are booked at the stage of that receive: after a FIN behind the nonce
the 256 bytes are still sent, and the failure is ``key/closed``.
"""

from __future__ import annotations

from typing import Final

from loadgen.protocol.answers import ends_session
from loadgen.protocol.coap import (
    CON,
    CoapError,
    Kind,
    Message,
    decode,
    device_hello,
    empty_ack,
    encode,
    is_hello,
    kind_at_device,
)
from loadgen.protocol.events import (
    NEED_DATA,
    PAUSED,
    CryptoNeeded,
    EncryptNonce,
    Event,
    HandshakeCompleted,
    KeyHandle,
    MessageReceived,
    Received,
    SendBytes,
    Sentinel,
    UnwrapKey,
)
from loadgen.protocol.firmware import FirmwareProfile
from loadgen.protocol.reasons import CryptoFault, Reason, Side
from loadgen.protocol.session import Connection, SessionChannel
from loadgen.protocol.stages import Point, Stage
from loadgen.protocol.states import (
    DEVICE_STAGES,
    DEVICE_TABLE,
    DeviceState,
    EventKind,
    step,
)
from loadgen.protocol.wire import (
    DEVICE_ID_SIZE,
    DEVICE_SPKI_SIZE,
    MATERIAL_SIZE,
    NONCE_SIZE,
    REPLY_SIZE,
)

LACKS_TOKEN: Final = "a request without a token"  # noqa: S105 - words, no secret
"""Detail of the failure of firmware that ends a session over such a request."""

_CONNECT: Final = DeviceState.CONNECT
_CONNECTED: Final = EventKind.CONNECTED
_BLOCK_IN: Final = EventKind.BLOCK_IN
_RESULT: Final = EventKind.RESULT
_HELLO_OPENED: Final = EventKind.HELLO_OPENED
_MESSAGE_OPENED: Final = EventKind.MESSAGE_OPENED
_CIPHERTEXT_OUT: Final = Point.CIPHERTEXT_OUT
_HELLO_OUT: Final = Point.HELLO_OUT

_PLATFORM_ID_SIZE: Final = 2

# Events without content of their own are the same objects for every connection.
_NONCE_RECEIVED: Final = Received(Point.NONCE_IN)
_KEY_RECEIVED: Final = Received(Point.KEY_IN)
_HELLO_RECEIVED: Final = Received(Point.HELLO_IN)
_COMPLETED: Final = HandshakeCompleted()

_UNWRAP_FAULTS: Final = {
    CryptoFault.BAD_KEY: Reason.BAD_KEY,
    CryptoFault.BAD_SIGNATURE: Reason.BAD_SIGNATURE,
}
_STREAM_REASONS: Final = frozenset(
    {Reason.CLOSED, Reason.SHORT, Reason.RESET, Reason.TIMEOUT, Reason.UNREACHABLE, Reason.BAD_FRAME}
)
_NEXT_RECEIVE: Final = {
    Stage.ENCRYPT: Stage.KEY,
    Stage.UNWRAP: Stage.HELLO,
}
_CONNECTION_STOOD: Final = frozenset({Reason.CLOSED, Reason.SHORT, Reason.RESET, Reason.BAD_FRAME})


class DeviceConnection(Connection):
    """One connection of one virtual device.

    Args:
        device_id: 12 bytes.
        public_key: the 162 bytes of :func:`loadgen.protocol.wire.device_spki`.
        device_key: handle of the device's private key.
        server_key: handle of the server's public key.
        firmware: the profile to follow.
        product_id: in Hello; the platform id by default, as in a stock build.
        product_version: in Hello; the profile's by default (65535).
    """

    __slots__ = (
        "device_id",
        "device_key",
        "firmware",
        "product_id",
        "product_version",
        "public_key",
        "server_key",
    )

    _TABLE = DEVICE_TABLE
    _STAGES = DEVICE_STAGES
    _EXPECT_HELLO = DeviceState.EXPECT_HELLO
    _OWN_SIDE = Side.DEVICE
    _OTHER_SIDE = Side.CLOUD

    state: DeviceState

    def __init__(
        self,
        *,
        device_id: bytes,
        public_key: bytes,
        device_key: KeyHandle,
        server_key: KeyHandle,
        firmware: FirmwareProfile,
        product_id: int | None = None,
        product_version: int | None = None,
    ) -> None:
        if len(device_id) != DEVICE_ID_SIZE or len(public_key) != DEVICE_SPKI_SIZE:
            raise ValueError(f"device id of {len(device_id)} and public key of {len(public_key)} bytes")
        super().__init__(_CONNECT, firmware.max_frame)
        self.device_id = device_id
        self.public_key = public_key
        self.device_key = device_key
        self.server_key = server_key
        self.firmware = firmware
        self.product_id = firmware.default_product_id if product_id is None else product_id
        self.product_version = firmware.default_product_version if product_version is None else product_version

    def connected(self) -> None:
        """The TCP connection stands: from now on the device waits for the nonce.

        May be left out where the nonce comes before the shell knows: the first bytes say the same.
        """
        if self.state is _CONNECT:
            self.state = step(DEVICE_TABLE, self.state, _CONNECTED)

    # --- one handler a state

    def _pull_connected(self) -> Event | Sentinel:
        if not len(self._buffer) and not self._ended:
            return NEED_DATA
        self.connected()
        return self._pull_nonce()

    def _pull_nonce(self) -> Event | Sentinel:
        nonce = self._buffer.take(NONCE_SIZE)
        if nonce is None:
            return self._starved()
        plaintext = nonce + self.device_id
        if self.firmware.plaintext_has_key:
            plaintext += self.public_key
        self.state = step(DEVICE_TABLE, self.state, _BLOCK_IN)
        self._held = self._request(EncryptNonce(self.server_key, plaintext))
        return _NONCE_RECEIVED

    def _push_ciphertext(self) -> Event | Sentinel:
        result = self._result
        if result is None:
            return self._paused()
        if isinstance(result, CryptoFault):
            raise self._no_result(result)
        self._result = None
        self.state = step(DEVICE_TABLE, self.state, _RESULT)
        return SendBytes(result, _CIPHERTEXT_OUT)

    def _pull_reply(self) -> Event | Sentinel:
        reply = self._buffer.take(REPLY_SIZE)
        if reply is None:
            return self._starved()
        self.state = step(DEVICE_TABLE, self.state, _BLOCK_IN)
        self._held = self._request(UnwrapKey(self.device_key, self.server_key, reply))
        return _KEY_RECEIVED

    def _take_material(self) -> Event | Sentinel:
        material = self._result
        if material is None:
            return self._paused()
        if isinstance(material, CryptoFault):
            reason = _UNWRAP_FAULTS.get(material)
            raise self._no_result(material) if reason is None else self.failure(reason)
        if len(material) != MATERIAL_SIZE:
            raise self.failure(Reason.BAD_KEY, detail=f"{len(material)} bytes of session material")
        self._result = None
        return self._seal_hello(material)

    def _seal_hello(self, material: bytes) -> CryptoNeeded:
        firmware = self.firmware
        salt = material[32:]
        self.session = session = SessionChannel(
            material[:16], material[16:32], firmware.message_id_base(salt), firmware.token_base(salt)
        )
        hello = device_hello(
            session.next_message_id(),
            product_id=self.product_id,
            product_version=self.product_version,
            flags=firmware.hello_flags,
            platform_id=firmware.platform_id,
            tail=firmware.hello_tail,
        )
        if not firmware.hello_platform:
            hello = hello[:-_PLATFORM_ID_SIZE]
        self.state = step(DEVICE_TABLE, self.state, _RESULT)
        return self._request(session.seal(hello))

    def _push_hello(self) -> Event | Sentinel:
        event = self._pull_sealed()
        if type(event) is SendBytes:
            event.point = _HELLO_OUT
        return event

    def _pull_hello(self) -> Event | Sentinel:
        result = self._result
        if result is None:
            return PAUSED
        data = self._unpadded(result)
        if is_hello(data):
            self.state = step(DEVICE_TABLE, self.state, _HELLO_OPENED)
            if self.firmware.acks_confirmable_hello:
                self._acknowledge(data)
            self._held = _COMPLETED
            return _HELLO_RECEIVED
        message = self._understood(data)
        self.state = step(DEVICE_TABLE, self.state, _MESSAGE_OPENED)
        return self.next_event() if message is None else MessageReceived(message)

    # --- rules of the device's side

    def _acknowledge(self, hello: bytes) -> None:
        message = decode(hello)
        if message.type is CON:
            self._outbox = [*(self._outbox or ()), encode(empty_ack(message.message_id))]

    def _understood(self, data: bytes) -> Message | None:
        try:
            message = decode(data)
            if kind_at_device(message) is not Kind.UNKNOWN:
                if ends_session(message, self.firmware):
                    raise self.failure(Reason.BAD_HELLO, detail=LACKS_TOKEN)
                return message
            detail = f"code {message.code:#04x}"
        except CoapError as error:
            detail = str(error)
        if self.firmware.closes_on_unknown_code:
            raise self.failure(Reason.BAD_HELLO, detail=detail)
        return None

    def _stage_of(self, reason: Reason) -> Stage:
        stage = self.stage
        if self.state is _CONNECT:
            return Stage.NONCE if reason in _CONNECTION_STOOD else stage
        return _NEXT_RECEIVE.get(stage, stage) if reason in _STREAM_REASONS else stage


DeviceConnection._HANDLERS = (
    DeviceConnection._pull_connected,
    DeviceConnection._pull_nonce,
    DeviceConnection._push_ciphertext,
    DeviceConnection._pull_reply,
    DeviceConnection._take_material,
    DeviceConnection._push_hello,
    DeviceConnection._pull_frame,
    DeviceConnection._pull_hello,
    DeviceConnection._pull_sealed,
    DeviceConnection._pull_frame,
    DeviceConnection._pull_message,
    DeviceConnection._pull_sealed,
    DeviceConnection._pull_nothing,
)
