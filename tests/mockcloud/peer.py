"""Keys of the test vectors, and a device without a network: bytes in, bytes out, crypto done at once."""

from __future__ import annotations

from functools import cache
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
)

from loadgen.crypto.openssl import OpenSSLBackend
from loadgen.protocol.coap import Message
from loadgen.protocol.device import DeviceConnection
from loadgen.protocol.events import (
    CryptoNeeded,
    EncryptNonce,
    HandshakeCompleted,
    MessageReceived,
    Open,
    Seal,
    SendBytes,
    Sentinel,
    UnwrapKey,
)
from loadgen.protocol.firmware import firmware
from tests.crypto.recordings import load_vector, transcripts

BACKEND = OpenSSLBackend()
DEVICE_ID = bytes.fromhex("3a0042000647343232363230")


def server_key() -> bytes:
    """The cloud's private key, DER."""
    return transcripts()[0].server_key


def server_spki() -> bytes:
    return transcripts()[0].server_public_key


@cache
def device_keys() -> tuple[bytes, bytes]:
    """Two different device private keys, DER."""
    keys = load_vector("handshake")["misread_key"]["der"]
    return transcripts()[0].device_key, bytes.fromhex(keys)


@cache
def device_spki(which: int = 0) -> bytes:
    key = load_der_private_key(device_keys()[which], None)
    return key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


class Peer:
    """A device: what it is fed goes through the genuine core, what it wants to send comes back.

    Attributes:
        completed: the cloud's Hello is in.
        messages: what came after it, or before it.
    """

    def __init__(self, device_id: bytes = DEVICE_ID, *, key: int = 0, presents: int | None = None) -> None:
        self.core = DeviceConnection(
            device_id=device_id,
            public_key=device_spki(key if presents is None else presents),
            device_key=BACKEND.load_device_key(device_keys()[key]),
            server_key=BACKEND.load_server_public_key(server_spki()),
            firmware=firmware("p1@0.7.0"),
        )
        self.core.connected()
        self.completed = False
        self.messages: list[Message] = []

    def feed(self, data: bytes) -> list[bytes]:
        """Receive ``data`` (``b""`` = FIN); what to send. Raises HandshakeError."""
        self.core.receive_data(data)
        return self._pull()

    def say(self, message: Message) -> list[bytes]:
        """The frames that carry ``message``."""
        self.core.send_message(message)
        return self._pull()

    def _pull(self) -> list[bytes]:
        sends = []
        while not isinstance(event := self.core.next_event(), Sentinel):
            if isinstance(event, SendBytes):
                sends.append(event.data)
            elif isinstance(event, CryptoNeeded):
                self.core.answer(event.token, _compute(event))
            elif isinstance(event, HandshakeCompleted):
                self.completed = True
            elif isinstance(event, MessageReceived):
                self.messages.append(event.message)
        return sends


def _compute(event: CryptoNeeded) -> Any:
    request = event.request
    if isinstance(request, Seal):
        return BACKEND.seal(request)
    if isinstance(request, Open):
        return BACKEND.open(request)
    if isinstance(request, EncryptNonce):
        return BACKEND.encrypt_nonce([request])[0]
    assert isinstance(request, UnwrapKey)
    return BACKEND.unwrap_key([request])[0]
