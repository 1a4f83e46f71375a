"""What the protocol cores say to the shell around them.

A core performs no I/O and no crypto. The shell feeds bytes with ``receive_data`` and pulls with ``next_event``
until it gets :data:`NEED_DATA` (nothing more until bytes come) or :data:`PAUSED` (nothing more until a crypto
request is answered, or the shell has decided something). A fault is raised by ``next_event`` as
:class:`~loadgen.protocol.reasons.HandshakeError`; after it the core is dead.

Key handles in crypto requests are opaque: whatever the crypto backend's ``load_…`` gave for a key.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar, Final, TypeAlias

from loadgen.protocol.coap import Message
from loadgen.protocol.stages import Point

KeyHandle: TypeAlias = Any
"""A parsed key of a crypto backend; the cores only hand it through."""


class Sentinel(Enum):
    """Answers of ``next_event`` that are no events."""

    NEED_DATA = "need_data"
    PAUSED = "paused"


NEED_DATA: Final = Sentinel.NEED_DATA
PAUSED: Final = Sentinel.PAUSED


# --- crypto requests. ``batched`` ones are RSA and go through the batcher; the others are answered at once.


@dataclass(slots=True)
class EncryptNonce:
    """Device: RSAES-PKCS1-v1_5 of ``plaintext`` (214 or 52 bytes) under the server key → 256 bytes."""

    batched: ClassVar[bool] = True
    server_key: KeyHandle
    plaintext: bytes


@dataclass(slots=True)
class UnwrapKey:
    """Device: 384 bytes → the 40 bytes of session material, decrypted and verified.

    Faults: ``BAD_KEY``, ``BAD_SIGNATURE``, in that order, as the firmware checks.
    """

    batched: ClassVar[bool] = True
    device_key: KeyHandle
    server_key: KeyHandle
    reply: bytes


@dataclass(slots=True)
class DecryptNonce:
    """Cloud: 256 bytes → plaintext. Faults: ``BAD_CIPHERTEXT``, ``FAULTY_RESULT``.

    A backend may answer a wrong ciphertext with random bytes instead (implicit rejection): the nonce decides.
    """

    batched: ClassVar[bool] = True
    server_key: KeyHandle
    ciphertext: bytes


@dataclass(slots=True)
class WrapKey:
    """Cloud: 40 bytes of session material → 384 bytes (ciphertext for the device's key, signed HMAC)."""

    batched: ClassVar[bool] = True
    server_key: KeyHandle
    device_public_key: KeyHandle
    material: bytes


@dataclass(slots=True)
class Seal:
    """AES-128-CBC encryption of whole blocks; the core has padded them."""

    batched: ClassVar[bool] = False
    key: bytes
    iv: bytes
    padded: bytes


@dataclass(slots=True)
class Open:
    """AES-128-CBC decryption of whole blocks → padded plaintext; the core checks the padding."""

    batched: ClassVar[bool] = False
    key: bytes
    iv: bytes
    ciphertext: bytes


CryptoRequest: TypeAlias = EncryptNonce | UnwrapKey | DecryptNonce | WrapKey | Seal | Open
BatchedRequest: TypeAlias = EncryptNonce | UnwrapKey | DecryptNonce | WrapKey


# --- events


@dataclass(slots=True)
class CryptoNeeded:
    """The core needs ``request`` done; the shell gives the result to ``answer(token, result)``."""

    token: int
    request: CryptoRequest


@dataclass(slots=True)
class Received:
    """The last byte of a handshake message is in; ``point`` is the clock point the shell has to fill."""

    point: Point


@dataclass(slots=True)
class SendBytes:
    """``data`` goes out in one write. ``point``, where set, is read just before the system call."""

    data: bytes
    point: Point | None = None


@dataclass(slots=True)
class DeviceIdentified:
    """Cloud: the nonce matches. The shell answers with ``admit(key handle)`` or ``refuse(reason)``.

    ``presented_key`` is the 162-byte SubjectPublicKeyInfo, or empty for the 52-byte plaintext.
    """

    device_id: bytes
    presented_key: bytes


@dataclass(slots=True)
class HandshakeCompleted:
    """Device: the cloud's Hello is in. Cloud: the device's Hello was valid and the own one is on its way."""


@dataclass(slots=True)
class MessageReceived:
    """A CoAP message of the session, other than the Hello of the handshake.

    During the handshake too: a ping or a describe request may overtake the cloud's Hello.
    """

    message: Message


Event: TypeAlias = CryptoNeeded | Received | SendBytes | DeviceIdentified | HandshakeCompleted | MessageReceived
