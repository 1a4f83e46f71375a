"""Bytes on the wire: sizes, plaintext and key layouts, padding and frames.

The handshake is fixed-size blocks without any framing: 40 bytes of nonce, 256 bytes of RSA ciphertext, 384 bytes
of reply. After it every message is a frame: two bytes of length (big-endian), then AES-128-CBC ciphertext of that
length. Nothing here knows a key or performs crypto. The layouts are those of Device OS
(``communication/src/handshake.cpp``, ``spark_protocol.cpp`` of particle-iot/device-os).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

DEFAULT_PORT: Final = 5683
"""TCP port of the cloud (the number registered for CoAP over UDP)."""
NONCE_SIZE: Final = 40
"""What the cloud sends first, in clear."""
CIPHERTEXT_SIZE: Final = 256
"""The device's answer to the nonce: one RSA-2048 block."""
KEY_BLOCK_SIZE: Final = 128
"""The session material, encrypted with the device's RSA-1024 key; the head of the reply."""
SIGNATURE_SIZE: Final = 256
"""RSA-2048 signature over the HMAC of the key block; the tail of the reply."""
REPLY_SIZE: Final = KEY_BLOCK_SIZE + SIGNATURE_SIZE
"""The cloud's answer to the ciphertext: 384 bytes."""
DEVICE_ID_SIZE: Final = 12
"""Written as 24 lower-case hexadecimal digits everywhere else."""
MATERIAL_SIZE: Final = 40
"""Session material: key 16, IV 16, salt 8."""
BLOCK_SIZE: Final = 16
"""Of AES; every ciphertext of a frame is a multiple of it."""
LENGTH_SIZE: Final = 2
"""The length in front of a frame's ciphertext."""

DEVICE_SPKI_SIZE: Final = 162
"""SubjectPublicKeyInfo of an RSA-1024 key with e = 65537, as every device sends it."""
SERVER_SPKI_SIZE: Final = 294
"""SubjectPublicKeyInfo of an RSA-2048 key with e = 65537, as it stands in a device's flash."""
DEVICE_MODULUS_SIZE: Final = 128
SERVER_MODULUS_SIZE: Final = 256

PLAINTEXT_SIZE: Final = NONCE_SIZE + DEVICE_ID_SIZE + DEVICE_SPKI_SIZE
"""214: nonce, device id, public key; every P1 firmware."""
BARE_PLAINTEXT_SIZE: Final = NONCE_SIZE + DEVICE_ID_SIZE
"""52: nonce and device id; Core firmware before 0.4.0."""

_DEVICE_SPKI_HEAD = bytes.fromhex("30819f300d06092a864886f70d010101050003818d0030818902818100")
_SERVER_SPKI_HEAD = bytes.fromhex("30820122300d06092a864886f70d01010105000382010f003082010a0282010100")
_SPKI_TAIL = bytes.fromhex("0203010001")
_PADDING = tuple(bytes([size]) * size for size in range(BLOCK_SIZE + 1))


class FrameError(ValueError):
    """A frame's length or padding is wrong."""


@dataclass(slots=True, frozen=True)
class SessionMaterial:
    """The 40 secret bytes of a session, as the cloud chooses them."""

    key: bytes
    """AES-128 key, 16 bytes, for both directions."""
    iv: bytes
    """IV of the first message of each direction, 16 bytes."""
    salt: bytes
    """8 bytes; the device derives its message ids and tokens from them."""

    @classmethod
    def from_bytes(cls, material: bytes) -> Self:
        """Split 40 bytes. Raises :class:`ValueError` for any other length."""
        if len(material) != MATERIAL_SIZE:
            raise ValueError(f"session material has {len(material)} bytes instead of {MATERIAL_SIZE}")
        return cls(material[:16], material[16:32], material[32:])

    def to_bytes(self) -> bytes:
        """The 40 bytes again."""
        return self.key + self.iv + self.salt


# --- public keys: the device neither parses nor encodes DER, it works with fixed offsets


def device_spki(modulus: bytes) -> bytes:
    """The 162 bytes a device presents for its key, from the 128 bytes of its modulus."""
    if len(modulus) != DEVICE_MODULUS_SIZE:
        raise ValueError(f"the modulus has {len(modulus)} bytes instead of {DEVICE_MODULUS_SIZE}")
    return _DEVICE_SPKI_HEAD + modulus + _SPKI_TAIL


def is_device_spki(data: bytes) -> bool:
    """Whether ``data`` has the exact layout of a device's public key: RSA, 1024 bits, e = 65537.

    A device whose private key is stored in another encoding presents the right frame around a wrong modulus;
    only the top bit of the modulus can be checked here.
    """
    return (
        len(data) == DEVICE_SPKI_SIZE
        and data.startswith(_DEVICE_SPKI_HEAD)
        and data.endswith(_SPKI_TAIL)
        and data[len(_DEVICE_SPKI_HEAD)] >= 0x80
    )


def modulus_of_device_spki(spki: bytes) -> bytes:
    """The 128 bytes of the modulus. Raises :class:`ValueError` unless :func:`is_device_spki`."""
    if not is_device_spki(spki):
        raise ValueError("not the 162-byte SubjectPublicKeyInfo of an RSA-1024 key with e = 65537")
    head = len(_DEVICE_SPKI_HEAD)
    return spki[head : head + DEVICE_MODULUS_SIZE]


def server_spki(modulus: bytes) -> bytes:
    """The 294 bytes of a server's public key, from the 256 bytes of its modulus."""
    if len(modulus) != SERVER_MODULUS_SIZE:
        raise ValueError(f"the modulus has {len(modulus)} bytes instead of {SERVER_MODULUS_SIZE}")
    return _SERVER_SPKI_HEAD + modulus + _SPKI_TAIL


def is_server_spki(data: bytes) -> bool:
    """Whether ``data`` has the only layout of a server key that devices understand: RSA, 2048 bits, e = 65537."""
    return (
        len(data) == SERVER_SPKI_SIZE
        and data.startswith(_SERVER_SPKI_HEAD)
        and data.endswith(_SPKI_TAIL)
        and data[len(_SERVER_SPKI_HEAD)] >= 0x80
    )


def modulus_of_server_spki(spki: bytes) -> bytes:
    """The 256 bytes of the modulus. Raises :class:`ValueError` unless :func:`is_server_spki`."""
    if not is_server_spki(spki):
        raise ValueError("not the 294-byte SubjectPublicKeyInfo of an RSA-2048 key with e = 65537")
    head = len(_SERVER_SPKI_HEAD)
    return spki[head : head + SERVER_MODULUS_SIZE]


# --- frames


def pad(message: bytes) -> bytes:
    """PKCS#7: 1 to 16 bytes behind ``message``, to a multiple of 16 (RFC 5652, 6.3)."""
    return message + _PADDING[BLOCK_SIZE - len(message) % BLOCK_SIZE]


def unpad(padded: bytes) -> bytes:
    """Take the PKCS#7 padding off. Raises :class:`FrameError` where it is wrong."""
    if not padded:
        raise FrameError("no bytes, so no padding")
    size = padded[-1]
    if not 1 <= size <= BLOCK_SIZE or not padded.endswith(_PADDING[size]):
        raise FrameError("wrong padding")
    return padded[:-size]


def encode_frame(ciphertext: bytes) -> bytes:
    """Two bytes of length, then the ciphertext."""
    return len(ciphertext).to_bytes(LENGTH_SIZE, "big") + ciphertext


class FrameBuffer:
    """Received bytes that are not parsed yet.

    Handshake blocks are taken by size, frames by their length prefix. Bytes are joined only when a message
    comes in pieces, and a taken message costs one slice.

    Args:
        max_frame: largest ciphertext of a frame, bytes.
    """

    __slots__ = ("_data", "_start", "max_frame")

    def __init__(self, max_frame: int) -> None:
        self._data = b""
        self._start = 0
        self.max_frame = max_frame

    def __len__(self) -> int:
        return len(self._data) - self._start

    def feed(self, data: bytes | bytearray) -> None:
        """Add what was received."""
        if self._start == len(self._data):
            self._data = bytes(data)  # the same object, if it is bytes
        else:
            self._data = self._data[self._start :] + data
        self._start = 0

    def take(self, size: int) -> bytes | None:
        """The next ``size`` bytes, or None while there are fewer."""
        start = self._start
        end = start + size
        data = self._data
        have = len(data)
        if have < end:
            return None
        if have == end:
            self._data = b""
            self._start = 0
            return data[start:]
        self._start = end
        return data[start:end]

    def take_frame(self) -> bytes | None:
        """The ciphertext of the next frame, or None while it is incomplete.

        Raises :class:`FrameError` as soon as the length is in and is 0, not a multiple of 16 or above the limit.
        """
        start = self._start
        data = self._data
        have = len(data) - start
        if have < LENGTH_SIZE:
            return None
        size = data[start] << 8 | data[start + 1]
        if size == 0 or size % BLOCK_SIZE or size > self.max_frame:
            raise FrameError(f"a frame of {size} bytes")
        if have < LENGTH_SIZE + size:
            return None
        self._start = start + LENGTH_SIZE
        return self.take(size)

    def clear(self) -> None:
        """Forget everything."""
        self._data = b""
        self._start = 0
