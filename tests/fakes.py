"""A crypto backend without RSA, and small drivers for protocol cores. No sockets, no clock, no randomness.

The fake's RSA operations keep sizes, directions and faults of the real ones, so that a device and a cloud can
shake hands in microseconds; AES is real. Handles are the public keys themselves: what a private operation
needs is to name the same public key.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC

from loadgen.crypto.base import LaneResult
from loadgen.protocol.cloud import CloudConnection
from loadgen.protocol.device import DeviceConnection
from loadgen.protocol.events import (
    CryptoNeeded,
    CryptoRequest,
    DecryptNonce,
    DeviceIdentified,
    EncryptNonce,
    Event,
    KeyHandle,
    Open,
    Seal,
    SendBytes,
    Sentinel,
    UnwrapKey,
    WrapKey,
)
from loadgen.protocol.firmware import P1_0_7_0, FirmwareProfile
from loadgen.protocol.reasons import CryptoFault
from loadgen.protocol.wire import (
    CIPHERTEXT_SIZE,
    KEY_BLOCK_SIZE,
    MATERIAL_SIZE,
    REPLY_SIZE,
    SIGNATURE_SIZE,
    device_spki,
    is_device_spki,
    is_server_spki,
    server_spki,
)

_TAG_SIZE = 16

DEVICE_ID = bytes(range(12))
DEVICE_PUBLIC_KEY = device_spki(bytes(range(128, 256)))
OTHER_DEVICE_PUBLIC_KEY = device_spki(bytes(range(255, 127, -1)))
SERVER_PUBLIC_KEY = server_spki(bytes(range(255, -1, -1)))
NONCE = bytes(range(40))
MATERIAL = bytes(range(100, 140))


def _tag(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()[:_TAG_SIZE]


def seal_blocks(key: bytes, iv: bytes, padded: bytes) -> bytes:
    """AES-128-CBC encryption."""
    encryptor = Cipher(AES128(key), CBC(iv)).encryptor()
    return encryptor.update(padded) + encryptor.finalize()


def open_blocks(key: bytes, iv: bytes, ciphertext: bytes) -> bytes:
    """AES-128-CBC decryption."""
    decryptor = Cipher(AES128(key), CBC(iv)).decryptor()
    return decryptor.update(ciphertext) + decryptor.finalize()


class FakeCrypto:
    """A :class:`loadgen.crypto.base.CryptoBackend` whose RSA is a checksum."""

    name = "fake"
    lanes = 1

    def load_device_key(self, der: bytes) -> KeyHandle:
        """The public key that belongs to a PKCS#1 key: its modulus starts at offset 11."""
        return device_spki(der[11:139])

    def load_device_public_key(self, spki: bytes) -> KeyHandle:
        """The key itself."""
        if not is_device_spki(spki):
            raise ValueError("not a device's public key")
        return spki

    def load_server_public_key(self, spki: bytes) -> KeyHandle:
        """The key itself."""
        if not is_server_spki(spki):
            raise ValueError("not a server's public key")
        return spki

    def load_server_key(self, der: bytes) -> KeyHandle:
        """The public key that belongs to a PKCS#1 key: its modulus starts at offset 12."""
        return server_spki(der[12:268])

    def encrypt_nonce(self, batch: Sequence[EncryptNonce]) -> list[LaneResult]:
        """Tag, length, plaintext, zeros."""
        return [self._encrypt(lane.server_key, lane.plaintext, CIPHERTEXT_SIZE) for lane in batch]

    def decrypt_nonce(self, batch: Sequence[DecryptNonce]) -> list[LaneResult]:
        """What was encrypted to this key, or ``BAD_CIPHERTEXT``."""
        return [self._decrypt(lane.server_key, lane.ciphertext) or CryptoFault.BAD_CIPHERTEXT for lane in batch]

    def wrap_key(self, batch: Sequence[WrapKey]) -> list[LaneResult]:
        """Encrypted material and a checksum for its signature."""
        replies: list[LaneResult] = []
        for lane in batch:
            block = self._encrypt(lane.device_public_key, lane.material, KEY_BLOCK_SIZE)
            replies.append(block + self._sign(lane.server_key, block, lane.material))
        return replies

    def unwrap_key(self, batch: Sequence[UnwrapKey]) -> list[LaneResult]:
        """The material, ``BAD_KEY`` or ``BAD_SIGNATURE``, in that order."""
        return [self._unwrap(lane) for lane in batch]

    def seal(self, request: Seal) -> bytes:
        """AES-128-CBC."""
        return seal_blocks(request.key, request.iv, request.padded)

    def open(self, request: Open) -> bytes:
        """AES-128-CBC."""
        return open_blocks(request.key, request.iv, request.ciphertext)

    def perform(self, request: CryptoRequest) -> LaneResult:
        """One request of any kind, at once."""
        match request:
            case EncryptNonce():
                return self.encrypt_nonce([request])[0]
            case UnwrapKey():
                return self.unwrap_key([request])[0]
            case DecryptNonce():
                return self.decrypt_nonce([request])[0]
            case WrapKey():
                return self.wrap_key([request])[0]
            case Seal():
                return self.seal(request)
            case Open():
                return self.open(request)

    def _encrypt(self, key: bytes, plaintext: bytes, size: int) -> bytes:
        body = bytes((len(plaintext),)) + plaintext
        return (_tag(key, body) + body).ljust(size, b"\0")

    def _decrypt(self, key: bytes, ciphertext: bytes) -> bytes | None:
        end = _TAG_SIZE + 1 + ciphertext[_TAG_SIZE]
        body = ciphertext[_TAG_SIZE:end]
        return body[1:] if _tag(key, body) == ciphertext[:_TAG_SIZE] and not any(ciphertext[end:]) else None

    def _sign(self, key: bytes, block: bytes, material: bytes) -> bytes:
        return _tag(key, block, material) * (SIGNATURE_SIZE // _TAG_SIZE)

    def _unwrap(self, lane: UnwrapKey) -> LaneResult:
        if len(lane.reply) != REPLY_SIZE:
            return CryptoFault.BAD_INPUT
        block = lane.reply[:KEY_BLOCK_SIZE]
        material = self._decrypt(lane.device_key, block)
        if material is None or len(material) != MATERIAL_SIZE:
            return CryptoFault.BAD_KEY
        if self._sign(lane.server_key, block, material) != lane.reply[KEY_BLOCK_SIZE:]:
            return CryptoFault.BAD_SIGNATURE
        return material


def make_device(firmware: FirmwareProfile = P1_0_7_0) -> DeviceConnection:
    """A device of the fake's keys, its connection standing."""
    device = DeviceConnection(
        device_id=DEVICE_ID,
        public_key=DEVICE_PUBLIC_KEY,
        device_key=DEVICE_PUBLIC_KEY,
        server_key=SERVER_PUBLIC_KEY,
        firmware=firmware,
    )
    device.connected()
    return device


def make_cloud(prepared: bytes | None = None) -> CloudConnection:
    """A cloud's end of the fake's keys; its Hello has message id 0x2001."""
    return CloudConnection(
        server_key=SERVER_PUBLIC_KEY, nonce=NONCE, material=MATERIAL, message_id=0x2001, prepared=prepared
    )


def pull(connection: DeviceConnection | CloudConnection, crypto: FakeCrypto | None = None) -> list[Event]:
    """Every event until the core wants bytes. Crypto is answered, and every device let in."""
    crypto = crypto or FakeCrypto()
    events: list[Event] = []
    while True:
        event = connection.next_event()
        if isinstance(event, Sentinel):
            return events
        events.append(event)
        if isinstance(event, CryptoNeeded):
            connection.answer(event.token, crypto.perform(event.request))
        elif isinstance(event, DeviceIdentified):
            assert isinstance(connection, CloudConnection)
            connection.admit(event.presented_key or DEVICE_PUBLIC_KEY)


def sent(events: Sequence[Event]) -> bytes:
    """The bytes that ``events`` send, joined."""
    return b"".join(event.data for event in events if isinstance(event, SendBytes))


def shake_hands(device: DeviceConnection, cloud: CloudConnection) -> tuple[list[Event], list[Event]]:
    """Let both talk until neither has anything to say; the events of either side."""
    device_events: list[Event] = []
    cloud_events: list[Event] = []
    to_device = to_cloud = b""
    while True:
        new = pull(cloud)
        cloud_events += new
        to_device = sent(new)
        if to_device:
            device.receive_data(to_device)
        new = pull(device)
        device_events += new
        to_cloud = sent(new)
        if not to_cloud:
            return device_events, cloud_events
        cloud.receive_data(to_cloud)
