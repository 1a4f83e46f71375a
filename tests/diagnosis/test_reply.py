"""What the cloud's 384 bytes show: blocks made right and wrong with known keys."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa, utils
from cryptography.hazmat.primitives.serialization import load_der_private_key

from loadgen.diagnosis.reply import KeyBlock, Reply, Signature, read_reply
from loadgen.fleet.identity import public_key_of
from loadgen.fleet.keydata import read_key
from loadgen.fleet.keyfiles import public_half
from loadgen.protocol.wire import modulus_of_device_spki, server_spki
from tests.fleet.keys import good_keys, server_pem

DEVICE, OTHER_DEVICE = good_keys()[:2]
PRIVATE = read_key(server_pem()).private_der
assert PRIVATE is not None
SERVER = load_der_private_key(PRIVATE, None)
assert isinstance(SERVER, rsa.RSAPrivateKey)
SPKI = public_half(PRIVATE)
MATERIAL = bytes(range(40))
FILLING = b"\x5a"


def raised(value: bytes, exponent: int, modulus: int, size: int) -> bytes:
    return pow(int.from_bytes(value), exponent, modulus).to_bytes(size)


def encrypted(content: bytes, der: bytes = DEVICE) -> bytes:
    modulus = int.from_bytes(modulus_of_device_spki(public_key_of(der)))
    padded = b"\0\2" + FILLING * (125 - len(content)) + b"\0" + content
    return raised(padded, 65537, modulus, 128)


def raw_signed(padded: bytes) -> bytes:
    assert isinstance(SERVER, rsa.RSAPrivateKey)
    numbers = SERVER.private_numbers()
    return raised(padded, numbers.d, numbers.public_numbers.n, 256)


def signed(content: bytes) -> bytes:
    return raw_signed(b"\0\1" + b"\xff" * (253 - len(content)) + b"\0" + content)


def by_library(scheme: padding.AsymmetricPadding) -> bytes:
    assert isinstance(SERVER, rsa.RSAPrivateKey)
    return SERVER.sign(MAC, scheme, utils.Prehashed(hashes.SHA1()))


BLOCK = encrypted(MATERIAL)
MAC = hmac.digest(MATERIAL, BLOCK, "sha1")
GOOD = BLOCK + signed(MAC)


def read(reply: bytes) -> Reply:
    return read_reply(reply, DEVICE, SPKI)


def test_a_good_reply() -> None:
    assert read(GOOD) == Reply(KeyBlock.GOOD, "", Signature.GOOD, "")


@pytest.mark.parametrize(
    ("signature", "kind", "words"),
    [
        (by_library(padding.PKCS1v15()), Signature.ODD, "DigestInfo of SHA-1"),
        (by_library(padding.PSS(padding.MGF1(hashes.SHA1()), 20)), Signature.ODD, "PSS signature (sha1)"),
        (
            by_library(padding.PSS(padding.MGF1(hashes.SHA1()), padding.PSS.MAX_LENGTH)),
            Signature.ODD,
            "PSS signature (sha1)",
        ),
        (signed(hmac.digest(MATERIAL, BLOCK, "sha256")), Signature.ODD, "32 bytes are signed"),
        (signed(hmac.digest(MATERIAL[:16], BLOCK, "sha1")), Signature.ODD, "first 16 of the 40"),
        (signed(hmac.digest(BLOCK, MATERIAL, "sha1")), Signature.ODD, "exchanged"),
        (signed(hashlib.sha1(BLOCK).digest()), Signature.ODD, "plain SHA-1"),
        (raw_signed(b"\0\2" + FILLING * 233 + b"\0" + MAC), Signature.ODD, "type 2"),
        (raw_signed(MAC.rjust(256, b"\0")), Signature.ODD, "not padded"),
        (signed(MAC)[::-1], Signature.ODD, "reverse order"),
        (signed(bytes(20)), Signature.OTHER_CONTENT, "not the HMAC of these 128 bytes"),
        (bytes(256), Signature.BLANK, "all of its bytes are 00"),
        (bytes([signed(MAC)[0] ^ 1]) + signed(MAC)[1:], Signature.UNREADABLE, ""),
        (b"\xfe" * 255 + b"\x01", Signature.UNREADABLE, ""),
    ],
)
def test_how_it_is_signed(signature: bytes, kind: Signature, words: str) -> None:
    found = read(BLOCK + signature)
    assert (found.key_block, found.signature) == (KeyBlock.GOOD, kind)
    assert words in found.signature_words


@pytest.mark.parametrize(
    ("block", "kind", "words"),
    [
        (encrypted(MATERIAL[:39]), KeyBlock.ODD, "39 bytes are encrypted"),
        (encrypted(MATERIAL + b"!"), KeyBlock.ODD, "41 bytes are encrypted"),
        (encrypted(MATERIAL, OTHER_DEVICE), KeyBlock.UNREADABLE, ""),
        (b"\xff" * 128, KeyBlock.UNREADABLE, "larger number than the device's modulus"),
        (bytes([BLOCK[0] ^ 1]) + BLOCK[1:], KeyBlock.UNREADABLE, ""),
    ],
)
def test_what_is_encrypted(block: bytes, kind: KeyBlock, words: str) -> None:
    found = read(block + signed(MAC))
    assert (found.key_block, found.signature) == (kind, Signature.OTHER_CONTENT)
    assert words in found.key_words


@pytest.mark.parametrize("name", ["sha1", "sha256"])
def test_oaep(name: str) -> None:
    algorithm: hashes.HashAlgorithm = hashes.SHA1() if name == "sha1" else hashes.SHA256()
    key = load_der_private_key(DEVICE, None)
    assert isinstance(key, rsa.RSAPrivateKey)
    block = key.public_key().encrypt(MATERIAL, padding.OAEP(padding.MGF1(algorithm), algorithm, None))
    found = read(block + signed(hmac.digest(MATERIAL, block, "sha1")))
    assert (found.key_block, found.signature) == (KeyBlock.ODD, Signature.GOOD)
    assert found.key_words == f"it is encrypted with OAEP ({name}) instead of PKCS#1 v1.5"


def test_the_two_blocks_in_the_wrong_order() -> None:
    found = read(GOOD[128:] + GOOD[:128])
    assert (found.key_block, found.signature) == (KeyBlock.ODD, Signature.GOOD)
    assert "behind the signature" in found.key_words


def test_the_clouds_real_key_is_tried_too() -> None:
    stale = server_spki((read_key(server_pem()).modulus - 2).to_bytes(256))
    assert read_reply(GOOD, DEVICE, stale).signature is Signature.UNREADABLE
    assert read_reply(GOOD, DEVICE, stale, SPKI).signature is Signature.CLOUD_KEY
