"""The cloud's end of a connection: what a mock cloud says to one device.

It is tolerant where genuine clouds and devices differ (a plaintext without a key, a ping before Hello, frames cut
anywhere) and strict where a wrong byte would hide a fault: the nonce must match, and the first message must be a
Hello. Whether a device is let in, and to which key the session material is encrypted, is the shell's decision.
"""

from __future__ import annotations

from hmac import compare_digest
from typing import Final

from loadgen.protocol.coap import Code, cloud_hello, is_hello
from loadgen.protocol.events import (
    PAUSED,
    DecryptNonce,
    DeviceIdentified,
    Event,
    HandshakeCompleted,
    KeyHandle,
    MessageReceived,
    SendBytes,
    Sentinel,
    WrapKey,
)
from loadgen.protocol.reasons import CryptoFault, HandshakeError, Reason, Side
from loadgen.protocol.session import Connection, SessionChannel
from loadgen.protocol.states import (
    CLOUD_STAGES,
    CLOUD_TABLE,
    CloudState,
    EventKind,
    IllegalTransition,
    step,
)
from loadgen.protocol.wire import (
    BARE_PLAINTEXT_SIZE,
    CIPHERTEXT_SIZE,
    MATERIAL_SIZE,
    NONCE_SIZE,
    PLAINTEXT_SIZE,
    REPLY_SIZE,
)

MAX_FRAME: Final = 1024
"""Largest ciphertext accepted from a device, bytes; no firmware sends more than 944."""

_NONCE_OUT: Final = EventKind.NONCE_OUT
_BLOCK_IN: Final = EventKind.BLOCK_IN
_PREPARED_REPLY: Final = EventKind.PREPARED_REPLY
_IDENTIFIED: Final = EventKind.IDENTIFIED
_ADMITTED: Final = EventKind.ADMITTED
_RESULT: Final = EventKind.RESULT
_HELLO_OPENED: Final = EventKind.HELLO_OPENED
_MESSAGE_OPENED: Final = EventKind.MESSAGE_OPENED
_COMPLETED: Final = HandshakeCompleted()


class CloudConnection(Connection):
    """The cloud's end of one connection.

    Args:
        server_key: handle of the server's private key.
        nonce: 40 random bytes, sent first.
        material: the 40 bytes of session material.
        message_id: id of the cloud's Hello; later messages count on from it.
        prepared: the 384 bytes that wrap ``material``. With them the ciphertext is answered without a look at
            it: no crypto, no :class:`DeviceIdentified`.
    """

    __slots__ = ("_material", "_nonce", "_prepared", "_refusal", "device_message_id", "server_key")

    _TABLE = CLOUD_TABLE
    _STAGES = CLOUD_STAGES
    _EXPECT_HELLO = CloudState.EXPECT_HELLO
    _OWN_SIDE = Side.CLOUD
    _OTHER_SIDE = Side.DEVICE

    state: CloudState

    def __init__(
        self,
        *,
        server_key: KeyHandle,
        nonce: bytes,
        material: bytes,
        message_id: int,
        prepared: bytes | None = None,
    ) -> None:
        if len(nonce) != NONCE_SIZE or len(material) != MATERIAL_SIZE:
            raise ValueError(f"nonce of {len(nonce)} and session material of {len(material)} bytes")
        if prepared is not None and len(prepared) != REPLY_SIZE:
            raise ValueError(f"a prepared reply of {len(prepared)} bytes")
        super().__init__(CloudState.SEND_NONCE, MAX_FRAME)
        self.server_key = server_key
        self.device_message_id: int | None = None
        """Message id of the device's Hello, once it is in."""
        self._nonce = nonce
        self._material = material
        self._prepared = prepared
        self._refusal: Reason | None = None
        self.session = SessionChannel(material[:16], material[16:32], message_id - 1)

    def admit(self, device_public_key: KeyHandle) -> None:
        """Let the identified device in; the session material is encrypted to this key."""
        self.state = step(CLOUD_TABLE, self.state, _ADMITTED)
        self._held = self._request(WrapKey(self.server_key, device_public_key, self._material))

    def refuse(self, reason: Reason) -> None:
        """Turn the identified device away: ``next_event`` raises the error."""
        if self.state is not CloudState.IDENTIFY_DEVICE:
            raise IllegalTransition(f"a refusal in state {self.state.name}")
        self._refusal = reason

    # --- one handler a state

    def _push_nonce(self) -> Event | Sentinel:
        self.state = step(CLOUD_TABLE, self.state, _NONCE_OUT)
        return SendBytes(self._nonce)

    def _pull_ciphertext(self) -> Event | Sentinel:
        ciphertext = self._buffer.take(CIPHERTEXT_SIZE)
        if ciphertext is None:
            return self._starved()
        if self._prepared is not None:
            self.state = step(CLOUD_TABLE, self.state, _PREPARED_REPLY)
            return SendBytes(self._prepared)
        self.state = step(CLOUD_TABLE, self.state, _BLOCK_IN)
        return self._request(DecryptNonce(self.server_key, ciphertext))

    def _identify(self) -> Event | Sentinel:
        plaintext = self._result
        if plaintext is None:
            return self._paused()
        if isinstance(plaintext, CryptoFault):
            raise self._undecryptable(plaintext)
        if len(plaintext) not in {BARE_PLAINTEXT_SIZE, PLAINTEXT_SIZE}:
            raise self.failure(Reason.BAD_CIPHERTEXT, detail=f"{len(plaintext)} bytes of plaintext")
        if not compare_digest(plaintext[:NONCE_SIZE], self._nonce):
            raise self.failure(Reason.BAD_NONCE)
        self._result = None
        self.state = step(CLOUD_TABLE, self.state, _IDENTIFIED)
        return DeviceIdentified(plaintext[NONCE_SIZE:BARE_PLAINTEXT_SIZE], plaintext[BARE_PLAINTEXT_SIZE:])

    def _undecryptable(self, fault: CryptoFault) -> HandshakeError:
        if fault is CryptoFault.BAD_CIPHERTEXT:
            return self.failure(Reason.BAD_CIPHERTEXT)
        return self._no_result(fault)

    def _await_decision(self) -> Event | Sentinel:
        if self._refusal is not None:
            raise self.failure(self._refusal)
        return self._paused()

    def _push_reply(self) -> Event | Sentinel:
        reply = self._result
        if reply is None:
            return self._paused()
        if isinstance(reply, CryptoFault):
            raise self._no_result(reply)
        self._result = None
        self.state = step(CLOUD_TABLE, self.state, _RESULT)
        return SendBytes(reply)

    def _pull_hello(self) -> Event | Sentinel:
        result = self._result
        if result is None:
            return PAUSED
        data = self._unpadded(result)
        session = self.session
        assert session is not None
        if is_hello(data):
            self.device_message_id = data[2] << 8 | data[3]
            self.state = step(CLOUD_TABLE, self.state, _HELLO_OPENED)
            return self._request(session.seal(cloud_hello(session.next_message_id())))
        message = self._understood(data)
        if message is None or message.code != Code.EMPTY:
            raise self.failure(Reason.BAD_HELLO, detail=data[:16].hex())
        self.state = step(CLOUD_TABLE, self.state, _MESSAGE_OPENED)
        return MessageReceived(message)

    def _push_hello(self) -> Event | Sentinel:
        event = self._pull_sealed()
        if event is not PAUSED:
            self._held = _COMPLETED
        return event


CloudConnection._HANDLERS = (
    CloudConnection._push_nonce,
    CloudConnection._pull_ciphertext,
    CloudConnection._identify,
    CloudConnection._await_decision,
    CloudConnection._push_reply,
    CloudConnection._pull_frame,
    CloudConnection._pull_hello,
    CloudConnection._pull_sealed,
    CloudConnection._push_hello,
    CloudConnection._pull_frame,
    CloudConnection._pull_message,
    CloudConnection._pull_sealed,
    CloudConnection._pull_nothing,
)
