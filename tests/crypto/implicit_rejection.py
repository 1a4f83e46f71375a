"""Makes ``tests/vectors/implicit-rejection.json``: wrong keys that look like bad signatures.

A cloud that encrypts the session material to another device's key makes a reply whose first 128 bytes the
device cannot decrypt. OpenSSL ≥ 3.2 then gives random bytes (implicit rejection), a function of the private
key and the ciphertext alone. This program counts seeds up until the random answer has 40 bytes, as good
session material has.

Run from the root of the repository: ``python -m tests.crypto.implicit_rejection >
tests/vectors/implicit-rejection.json``
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from itertools import count
from typing import Any

from cryptography.hazmat.backends.openssl import backend
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo
from cryptography.hazmat.primitives.serialization import load_der_private_key

from tests.crypto.recordings import transcripts

CASES = 4
NOTE = (
    "Replies made for another device's key, whose decryption by OpenSSL (implicit rejection) has 40 bytes. "
    "The right verdict is bad_key. Made by tests/crypto/implicit_rejection.py: material and padding are "
    "SHA-256 of the seed, keys are those of the first two recordings in sparkprotocol-0.7.0.json. "
    "Throw-away keys; hex."
)


def stream(seed: int, label: str, size: int) -> bytes:
    """``size`` bytes that are a function of seed and label only."""
    blocks = (hashlib.sha256(f"{label} {seed} {n}".encode()).digest() for n in range(size // 32 + 1))
    return b"".join(blocks)[:size]


def wrapped(seed: int, modulus: int) -> tuple[bytes, bytes]:
    """Session material, and its RSAES-PKCS1-v1_5 encryption for ``modulus`` with padding made from the seed."""
    material = stream(seed, "material", 40)
    padding = stream(seed, "padding", 85).replace(b"\0", b"\1")
    block = int.from_bytes(b"\0\2" + padding + b"\0" + material)
    return material, pow(block, 65537, modulus).to_bytes(128)


def rsa_key(der: bytes) -> RSAPrivateKey:
    key = load_der_private_key(der, None)
    assert isinstance(key, RSAPrivateKey)
    return key


def vectors() -> dict[str, Any]:
    device, other = transcripts()[:2]
    key, server_key = rsa_key(device.device_key), rsa_key(device.server_key)
    modulus = key.public_key().public_numbers().n
    other_modulus = int.from_bytes(other.device_public_key[29:157])
    cases: list[dict[str, Any]] = []
    for seed in count():
        material, ciphertext = wrapped(seed, other_modulus)
        if int.from_bytes(ciphertext) >= modulus or len(answer := key.decrypt(ciphertext, PKCS1v15())) != 40:
            continue
        mac = hmac.digest(material, ciphertext, "sha1")
        signature = server_key.sign(mac, PKCS1v15(), NoDigestInfo())
        reply = (ciphertext + signature).hex()
        cases.append({"seed": seed, "reply": reply, "openssl_answer": answer.hex(), "fault": "bad_key"})
        if len(cases) == CASES:
            break
    return {
        "note": NOTE,
        "openssl": backend.openssl_version_text(),
        "device_private_key_der": device.device_key.hex(),
        "server_public_key_der": device.server_public_key.hex(),
        "cases": cases,
    }


if __name__ == "__main__":
    json.dump(vectors(), sys.stdout, indent=1)
    sys.stdout.write("\n")
