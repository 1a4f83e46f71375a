"""What the native backend adds to the conformance kit: who does which lane."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import pytest

from loadgen.crypto.openssl import OpenSSLBackend
from loadgen.protocol.events import BatchedRequest, DecryptNonce, EncryptNonce, UnwrapKey, WrapKey
from loadgen.protocol.reasons import CryptoFault
from loadgen.protocol.wire import device_spki, server_spki
from tests.crypto.conformance import Loaded, check_wrapped, flipped, loaded_by
from tests.crypto.recordings import transcripts
from tests.native.keys import E, Numbers, from_primes, integer, key, prime, tlv

native = pytest.importorskip("loadgen.crypto.native", reason="the native extension is not built")


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return loaded_by(native.NativeBackend())


def backend_with(operation: type[BatchedRequest], break_even: int) -> Any:
    return native.NativeBackend({operation: break_even}, "mixed")


def wrong_padding(loaded: Loaded) -> DecryptNonce:
    """A ciphertext that OpenSSL answers with random bytes and the kernel with a fault: it shows who answered."""
    t = transcripts()[0]
    return loaded.decrypt(t, b"\0" + t.ciphertext[1:])


@pytest.mark.parametrize(
    ("break_even", "size", "in_lanes"),
    [
        (1, 1, 1),
        (5, 0, 0),
        (5, 4, 0),
        (5, 5, 5),
        (5, 8, 8),
        (5, 12, 8),
        (5, 13, 13),
        (5, 16, 16),
        (9, 8, 0),
        (9, 40, 0),
    ],
)
def test_a_rest_below_the_break_even_size_runs_on_openssl(
    loaded: Loaded, break_even: int, size: int, in_lanes: int
) -> None:
    results = backend_with(DecryptNonce, break_even).decrypt_nonce([wrong_padding(loaded)] * size)
    by_kernel = [result == CryptoFault.BAD_CIPHERTEXT for result in results]
    assert by_kernel == [True] * in_lanes + [False] * (size - in_lanes)


def test_each_operation_has_its_own_break_even_size(loaded: Loaded) -> None:
    t = transcripts()[0]
    backend = backend_with(UnwrapKey, 9)
    assert backend.name == "mixed"
    assert backend.decrypt_nonce([wrong_padding(loaded)]) == [CryptoFault.BAD_CIPHERTEXT]
    assert backend.unwrap_key([loaded.unwrap(t)] * 3) == [t.material] * 3
    assert backend.wrap_key([loaded.wrap(t, b"")]) == [CryptoFault.BAD_INPUT]


def pkcs1(numbers: Numbers, dp_error: int = 0) -> bytes:
    """PKCS#1 DER with a wrong ``dp`` where ``dp_error`` is not 0."""
    dp, dq, qinv = numbers.crt
    values = (0, numbers.n, E, numbers.d, numbers.p, numbers.q, dp ^ dp_error, dq, qinv)
    return tlv(0x30, b"".join(tlv(0x02, b"\0") if value == 0 else integer(value) for value in values))


def replies_for(server: Numbers, devices: list[Numbers], material: bytes) -> list[bytes]:
    """What a cloud answers to each of the devices."""
    openssl = OpenSSLBackend()
    server_key = openssl.load_server_key(server.pkcs1())
    keys = [openssl.load_device_public_key(device_spki(device.n.to_bytes(128))) for device in devices]
    replies = openssl.wrap_key([WrapKey(server_key, each, material) for each in keys])
    assert all(isinstance(reply, bytes) for reply in replies)
    return replies  # type: ignore[return-value]


def very_uneven_key() -> Numbers:
    """1,024 bits of primes whose lengths differ by more than the kernel takes."""
    rng = random.Random("very uneven")
    return from_primes(prime(rng, 519), prime(rng, 505))


@pytest.mark.parametrize("by_the_kernel", [True, False])
def test_a_key_that_only_openssl_can_use_gets_its_result_from_there(by_the_kernel: bool) -> None:
    """Refused when it is loaded, or by the check of each result."""
    odd = very_uneven_key() if by_the_kernel else key(1024, 5)
    odd_der = odd.pkcs1() if by_the_kernel else pkcs1(odd, dp_error=2)
    good, server = key(1024, 0), key(2048, 0)
    backend = native.NativeBackend()
    server_public = backend.load_server_public_key(server_spki(server.n.to_bytes(256)))
    odd_key, good_key = backend.load_device_key(odd_der), backend.load_device_key(good.pkcs1())
    assert (odd_key.native is None) == by_the_kernel
    material = bytes(range(40))
    for lane in (0, 4, 8):
        devices = [odd if index == lane else good for index in range(9)]
        replies = replies_for(server, devices, material)
        replies[(lane + 1) % 9] = flipped(replies[(lane + 1) % 9], 300)
        batch = [
            UnwrapKey(odd_key if index == lane else good_key, server_public, reply)
            for index, reply in enumerate(replies)
        ]
        expected: list[Any] = [material] * 9
        expected[(lane + 1) % 9] = CryptoFault.BAD_SIGNATURE
        assert backend.unwrap_key(batch) == expected


def test_requests_for_openssl_keep_their_input(loaded: Loaded) -> None:
    t = transcripts()[0]
    openssl = OpenSSLBackend()
    batch = native.for_openssl([loaded.wrap(t)])
    for reply in openssl.wrap_key(batch):
        check_wrapped(t, reply)
    assert openssl.decrypt_nonce(native.for_openssl([loaded.decrypt(t)])) == [t.plaintext]
    assert openssl.wrap_key(native.for_openssl([WrapKey(None, 5, t.material)])) == [CryptoFault.BAD_INPUT]


def test_break_even_is_a_copy() -> None:
    sizes: dict[type[BatchedRequest], int] = {EncryptNonce: 3}
    backend = native.NativeBackend(sizes)
    sizes.clear()
    known: Mapping[type[BatchedRequest], int] = backend.break_even
    assert known == {EncryptNonce: 3}


def test_made_up_keys_are_those_of_their_primes() -> None:
    numbers = key(1024, 2)
    assert from_primes(numbers.p, numbers.q) == numbers
    assert pkcs1(numbers) == numbers.pkcs1()
