"""What the cloud's 384 bytes show to somebody who has the device's private key and the cloud's public one.

A device only says that it could not decrypt (6) or verify (8). With both keys the blocks can be opened with plain
integers whatever is wrong with them: what stands within says whether the cloud signs in another way or with another
key, and whether it encrypts to another key or packs another content. Pure; a few milliseconds, for the fault path only.

RFC 8017: 7.1 and 7.2 (encryption), 8.2 and 9.2 (signatures, DigestInfo), 9.1 (PSS), B.2.1 (MGF1).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from loadgen.protocol.pkcs1 import private_key_integers
from loadgen.protocol.wire import KEY_BLOCK_SIZE, MATERIAL_SIZE, SERVER_SPKI_SIZE, SIGNATURE_SIZE

_EXPONENT: Final = 65537
_MODULUS_AT: Final = SERVER_SPKI_SIZE - 5 - SIGNATURE_SIZE
_HMAC_SIZE: Final = 20
_ENCRYPTION_HEAD: Final = b"\0\2"
_SIGNATURE_HEAD: Final = b"\0\1\xff\xff\xff\xff\xff\xff\xff\xff"
_LEAST_PADDING: Final = 8
_PSS_TRAILER: Final = 0xBC
_DIGEST_INFO: Final = {
    "MD5": bytes.fromhex("3020300c06082a864886f70d020505000410"),
    "SHA-1": bytes.fromhex("3021300906052b0e03021a05000414"),
    "SHA-256": bytes.fromhex("3031300d060960864801650304020105000420"),
    "SHA-384": bytes.fromhex("3041300d060960864801650304020205000430"),
    "SHA-512": bytes.fromhex("3051300d060960864801650304020305000440"),
}
"""RFC 8017, 9.2, note 1."""


class KeyBlock(StrEnum):
    """What the first 128 bytes are."""

    GOOD = "good"
    """PKCS#1 v1.5 to this device, 40 bytes within."""
    ODD = "odd"
    """Encrypted to this device, but packed in another way."""
    UNREADABLE = "unreadable"
    """Not encrypted to this device, or damaged."""


class Signature(StrEnum):
    """What the last 256 bytes are."""

    GOOD = "good"
    ODD = "odd"
    """Made with the private half of the device's server key, but in another way."""
    OTHER_CONTENT = "other content"
    """Made with that key in the right way, over 20 bytes that are not the HMAC of these 128 bytes."""
    CLOUD_KEY = "cloud key"
    """Made with the cloud's real key, which the device does not have."""
    BLANK = "blank"
    """One byte over and over."""
    UNREADABLE = "unreadable"
    """Made with another key, or damaged."""


@dataclass(frozen=True, slots=True)
class Reply:
    """How 384 bytes read."""

    key_block: KeyBlock
    key_words: str
    """What was found, in words; empty where there is nothing to say."""
    signature: Signature
    signature_words: str


def read_reply(reply: bytes, device_der: bytes, server_spki: bytes, cloud_spki: bytes | None = None) -> Reply:
    """Open both blocks.

    Args:
        reply: 384 bytes.
        device_der: the device's private key, PKCS#1.
        server_spki: the server key that the device has, 294 bytes.
        cloud_spki: the cloud's real one, where it is known.
    """
    block, signed = reply[:KEY_BLOCK_SIZE], reply[KEY_BLOCK_SIZE:]
    device = _Opener(device_der)
    kind, words, material = device.read(block)
    if kind is KeyBlock.UNREADABLE and device.read(reply[SIGNATURE_SIZE:])[0] is KeyBlock.GOOD:
        kind, words = KeyBlock.ODD, "the encrypted key stands behind the signature instead of before it"
        block, signed = reply[SIGNATURE_SIZE:], reply[:SIGNATURE_SIZE]
        material = device.read(block)[2]
    signature, signature_words = _read_signature(signed, server_spki, block, material)
    if signature is Signature.UNREADABLE and cloud_spki not in (None, server_spki):
        assert cloud_spki is not None
        if _opened(signed, cloud_spki).startswith(_SIGNATURE_HEAD):
            signature, signature_words = Signature.CLOUD_KEY, "the key of --cloud-key opens the signature"
    return Reply(kind, words, signature, signature_words)


class _Opener:
    """Decrypts with a device's key, whatever comes out."""

    def __init__(self, der: bytes) -> None:
        integers = private_key_integers(der)
        self._modulus, self._exponent = int.from_bytes(integers.n), int.from_bytes(integers.d)

    def read(self, block: bytes) -> tuple[KeyBlock, str, bytes]:
        """What a block of 128 bytes is, in words, and the bytes within."""
        value = int.from_bytes(block)
        if value >= self._modulus:
            return KeyBlock.UNREADABLE, "it is a larger number than the device's modulus", b""
        padded = pow(value, self._exponent, self._modulus).to_bytes(KEY_BLOCK_SIZE)
        separator = padded.find(0, 2)
        if padded.startswith(_ENCRYPTION_HEAD) and separator >= _LEAST_PADDING + 2:
            material = padded[separator + 1 :]
            if len(material) == MATERIAL_SIZE:
                return KeyBlock.GOOD, "", material
            return KeyBlock.ODD, f"{len(material)} bytes are encrypted in it instead of {MATERIAL_SIZE}", material
        for name in ("sha1", "sha256"):
            content = _without_oaep(padded, name)
            if content is not None:
                return KeyBlock.ODD, f"it is encrypted with OAEP ({name}) instead of PKCS#1 v1.5", content
        return KeyBlock.UNREADABLE, "", b""


def _read_signature(signed: bytes, spki: bytes, block: bytes, material: bytes) -> tuple[Signature, str]:
    """What 256 bytes are over the key block, as far as ``material`` is known."""
    if len(set(signed)) == 1:
        return Signature.BLANK, f"all of its bytes are {signed[0]:02x}"
    padded = _opened(signed, spki)
    if padded.startswith(_SIGNATURE_HEAD):
        content = padded[padded.find(0, 2) + 1 :]
        return _read_content(content, block, material)
    mac = hmac.digest(material, block, "sha1") if material else None
    if padded.startswith(_ENCRYPTION_HEAD) and mac is not None and padded.endswith(b"\0" + mac):
        return Signature.ODD, "the HMAC is padded as for encryption (type 2) instead of a signature (type 1)"
    if mac is not None and padded == mac.rjust(SIGNATURE_SIZE, b"\0"):
        return Signature.ODD, "the HMAC is not padded at all"
    for name in ("sha1", "sha256"):
        if _is_pss(padded, name):
            return Signature.ODD, f"it is a PSS signature ({name}) instead of PKCS#1 v1.5"
    if _opened(signed[::-1], spki).startswith(_SIGNATURE_HEAD):
        return Signature.ODD, "its bytes are in reverse order"
    return Signature.UNREADABLE, ""


def _read_content(content: bytes, block: bytes, material: bytes) -> tuple[Signature, str]:
    """What stands in a signature of the right padding."""
    for name, head in _DIGEST_INFO.items():
        if content.startswith(head):
            return Signature.ODD, f"the signed hash stands in a DigestInfo of {name} instead of bare"
    if len(content) != _HMAC_SIZE:
        return Signature.ODD, f"{len(content)} bytes are signed instead of the {_HMAC_SIZE} of an HMAC-SHA1"
    if not material:
        return Signature.OTHER_CONTENT, "20 bytes are signed, as is right"
    others = {
        "good": hmac.digest(material, block, "sha1"),
        "the HMAC is keyed with the first 16 of the 40 bytes": hmac.digest(material[:16], block, "sha1"),
        "the HMAC is keyed with the first 32 of the 40 bytes": hmac.digest(material[:32], block, "sha1"),
        "key and message of the HMAC are exchanged": hmac.digest(block, material, "sha1"),
        "the HMAC is over the 40 bytes instead of the 128": hmac.digest(material, material, "sha1"),
        "a plain SHA-1 of the 128 bytes is signed": hashlib.sha1(block).digest(),  # noqa: S324 - recognised, not used
    }
    for words, mac in others.items():
        if content == mac:
            return (Signature.GOOD, "") if words == "good" else (Signature.ODD, words)
    return Signature.OTHER_CONTENT, "the 20 bytes that are signed are not the HMAC of these 128 bytes"


def _opened(signed: bytes, spki: bytes) -> bytes:
    """A signature raised to the public exponent; 256 bytes."""
    modulus = int.from_bytes(spki[_MODULUS_AT : _MODULUS_AT + SIGNATURE_SIZE])
    return pow(int.from_bytes(signed), _EXPONENT, modulus).to_bytes(SIGNATURE_SIZE)


def _without_oaep(padded: bytes, name: str) -> bytes | None:
    """The message in an OAEP block without label; None where it is no such block."""
    empty = hashlib.new(name).digest()
    size = len(empty)
    if padded[0] or len(padded) < 2 * size + 2:
        return None
    masked_seed, masked = padded[1 : 1 + size], padded[1 + size :]
    seed = _xor(masked_seed, _mask(masked, size, name))
    data = _xor(masked, _mask(seed, len(masked), name))
    content = data[size:].lstrip(b"\0")
    return content[1:] if data.startswith(empty) and content.startswith(b"\1") else None


def _is_pss(padded: bytes, name: str) -> bool:
    """Whether a block has the form of a PSS signature, over whatever message, with a salt of a usual length."""
    size = hashlib.new(name).digest_size
    if padded[-1] != _PSS_TRAILER:
        return False
    masked, digest = padded[: -size - 1], padded[-size - 1 : -1]
    data = _xor(masked, _mask(digest, len(masked), name))
    content = (bytes([data[0] & 0x7F]) + data[1:]).lstrip(b"\0")
    return content.startswith(b"\1") and len(content) - 1 in (0, size, len(data) - 1)


def _mask(seed: bytes, size: int, name: str) -> bytes:
    """MGF1."""
    blocks = range(-(-size // hashlib.new(name).digest_size))
    return b"".join(hashlib.new(name, seed + number.to_bytes(4)).digest() for number in blocks)[:size]


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(left, right, strict=True))
