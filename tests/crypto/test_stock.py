from __future__ import annotations

import random

import pytest

from loadgen.crypto.openssl import OpenSSLBackend
from loadgen.crypto.stock import KEYS, stock_keys, stock_prime
from loadgen.protocol.events import DecryptNonce, EncryptNonce
from loadgen.protocol.wire import server_spki
from tests.native.keys import E, is_prime


@pytest.mark.parametrize("bits", [512, 1024])
def test_the_stock_holds_different_primes_of_full_length(bits: int) -> None:
    primes = [stock_prime(bits, number) for number in range(8)]
    assert len(set(primes)) == 8
    for prime in primes:
        assert is_prime(prime)
        assert prime >> (bits - 2) == 3
        assert (prime - 1) % E != 0


@pytest.mark.parametrize("bits", [1024, 2048])
def test_keys_are_different_and_of_full_length(bits: int) -> None:
    keys = stock_keys(bits, KEYS, random.Random(1))
    assert len({key.n for key in keys}) == KEYS
    for key in keys:
        assert len(key.modulus) * 8 == key.n.bit_length() == bits
        assert pow(pow(12345, key.d, key.n), E, key.n) == 12345


def test_chance_decides_which() -> None:
    first, again, other = (stock_keys(1024, 3, random.Random(seed)) for seed in (1, 1, 2))
    assert first == again != other


def test_a_key_is_encoded_as_libraries_check_it() -> None:
    """A server's key is loaded with all its numbers checked."""
    openssl = OpenSSLBackend()
    (key,) = stock_keys(2048, 1, random.Random(5))
    private, public = openssl.load_server_key(key.pkcs1()), openssl.load_server_public_key(server_spki(key.modulus))
    plaintext = bytes(range(214))
    (ciphertext,) = openssl.encrypt_nonce([EncryptNonce(public, plaintext)])
    assert isinstance(ciphertext, bytes)
    assert openssl.decrypt_nonce([DecryptNonce(private, ciphertext)]) == [plaintext]
    (device,) = stock_keys(1024, 1, random.Random(5))
    assert openssl.load_device_key(device.pkcs1()) is not None
