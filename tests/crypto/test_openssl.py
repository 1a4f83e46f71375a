from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from loadgen.crypto.openssl import OpenSSLBackend
from tests.crypto.implicit_rejection import rsa_key
from tests.crypto.recordings import load_vector, transcripts

PKCS8 = PrivateFormat.PKCS8
TRADITIONAL = PrivateFormat.TraditionalOpenSSL


def test_the_library_answers_a_wrong_key_with_forty_random_bytes() -> None:
    """The premise of the vector, and of repeating a decryption: with it gone, that path could go too."""
    vector = load_vector("implicit-rejection")
    key = rsa_key(bytes.fromhex(vector["device_private_key_der"]))
    for case in vector["cases"]:
        assert key.decrypt(bytes.fromhex(case["reply"])[:128], PKCS1v15()).hex() == case["openssl_answer"]


def test_loads_a_server_key_in_either_encoding() -> None:
    backend = OpenSSLBackend()
    der = transcripts()[0].server_key
    key = load_der_private_key(der, None)
    assert backend.load_server_key(der) is not None
    assert backend.load_server_key(key.private_bytes(Encoding.DER, PKCS8, NoEncryption())) is not None


def test_says_what_is_wrong_with_a_key() -> None:
    backend = OpenSSLBackend()
    odd_exponent = rsa.generate_private_key(3, 2048)
    curve = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(ValueError, match=r"^the key has the public exponent 3, not 65537$"):
        backend.load_server_key(odd_exponent.private_bytes(Encoding.DER, TRADITIONAL, NoEncryption()))
    with pytest.raises(ValueError, match=r"^the private key is no RSA key$"):
        backend.load_server_key(curve.private_bytes(Encoding.DER, PKCS8, NoEncryption()))
    with pytest.raises(ValueError, match=r"^the key has 1024 bits, not 2048$"):
        backend.load_server_key(transcripts()[0].device_key)
    with pytest.raises(ValueError, match=r"^the key has 2048 bits, not 1024$"):
        backend.load_device_key(transcripts()[0].server_key)


def test_refuses_a_server_key_whose_numbers_do_not_fit() -> None:
    der = bytearray(transcripts()[0].server_key)
    der[40] ^= 1  # within the modulus
    with pytest.raises(ValueError, match="no usable RSA key"):
        OpenSSLBackend().load_server_key(bytes(der))


def test_a_public_key_of_another_algorithm_is_refused() -> None:
    curve = ec.generate_private_key(ec.SECP256R1()).public_key()
    spki = curve.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with pytest.raises(ValueError, match="294 bytes"):
        OpenSSLBackend().load_server_public_key(spki)
