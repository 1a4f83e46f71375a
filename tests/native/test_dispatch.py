"""Dispatch and the symmetric primitives: every subset of features gives the same bytes."""

from __future__ import annotations

import hashlib
import hmac
import os
import random
import subprocess
import sys
import threading
from itertools import chain, combinations
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from tests.native import keys

FEATURES = ("avx512f", "avx512ifma", "aesni", "shani")
SUBSETS = list(chain.from_iterable(combinations(FEATURES, size) for size in range(len(FEATURES) + 1)))


@pytest.fixture(params=SUBSETS, ids=lambda names: "+".join(names) or "none")
def subset(request: pytest.FixtureRequest, native: Any) -> Any:
    """The extension with a subset of the features; one the machine lacks stays off."""
    native.force_features(request.param)
    wanted = {"avx512f", "avx512ifma"} <= set(request.param) & native.features()
    assert native.isa() == ("avx512ifma" if wanted else "portable")
    return native


def test_hmac_is_hashlibs(subset: Any) -> None:
    rng = random.Random(1)
    for length in (0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 1000):
        key, message = rng.randbytes(40), rng.randbytes(length)
        assert subset.hmac_sha1(key, message) == hmac.new(key, message, hashlib.sha1).digest()
    for length in (0, 1, 63, 64):
        assert subset.hmac_sha1(key[:1] * length, b"m") == hmac.new(key[:1] * length, b"m", hashlib.sha1).digest()
    with pytest.raises(ValueError, match="block"):
        subset.hmac_sha1(bytes(65), b"")


def test_cbc_is_openssls(subset: Any) -> None:
    rng = random.Random(2)
    for blocks in (0, 1, 2, 3, 4, 5, 8, 9, 52, 300):
        key, iv, data = rng.randbytes(16), rng.randbytes(16), rng.randbytes(16 * blocks)
        encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
        expected = encryptor.update(data) + encryptor.finalize()
        assert subset.seal(key, iv, data) == expected
        assert subset.open(key, iv, expected) == data
        assert subset.open(bytearray(key), memoryview(iv), bytearray(expected)) == data


def test_aes_of_fips_197(subset: Any) -> None:
    key, plain = bytes(range(16)), bytes.fromhex("00112233445566778899aabbccddeeff")
    assert subset.seal(key, bytes(16), plain).hex() == "69c4e0d86a7b0430d8cdb78070b4c55a"


def test_first_frames_in_a_batch(subset: Any) -> None:
    rng = random.Random(3)
    for lanes in range(18):
        columns = [[rng.randbytes(16) for _ in range(lanes)] for _ in range(3)]
        expected = [subset.seal(*lane) for lane in zip(*columns, strict=True)]
        assert subset.seal_hello(*columns) == expected
    columns[0][1], columns[1][3], columns[2][5] = b"short", b"", bytes(32)
    result = subset.seal_hello(*columns)
    assert [lane for lane, item in enumerate(result) if item == subset.BAD_INPUT] == [1, 3, 5]


def test_rsa_of_every_subset(subset: Any) -> None:
    numbers = keys.key(1024, 0)
    handle = subset.DeviceKey(**numbers.integers())
    values = [numbers.n - 1 - lane for lane in range(9)]
    inputs = [value.to_bytes(128, "big") for value in values]
    expected = [numbers.private(value).to_bytes(128, "big") for value in values]
    assert subset.private_raw([handle] * 9, inputs) == expected


@pytest.mark.parametrize("call", ["seal", "open"])
def test_wrong_lengths_are_refused(native: Any, call: str) -> None:
    run = getattr(native, call)
    for key, iv, data in ((15, 16, 16), (17, 16, 16), (16, 0, 16), (16, 16, 15), (16, 16, 17), (32, 16, 16)):
        with pytest.raises(ValueError, match="bytes"):
            run(bytes(key), bytes(iv), bytes(data))
    with pytest.raises(TypeError):
        run(bytes(16), bytes(16))
    with pytest.raises(TypeError):
        run(bytes(16), bytes(16), "text")


def test_unknown_names_are_refused(native: Any) -> None:
    with pytest.raises(ValueError, match="unknown implementation 'avx2'"):
        native.force_isa("avx2")
    with pytest.raises(ValueError, match="unknown feature 'mmx'"):
        native.force_features(["aesni", "mmx"])
    with pytest.raises(TypeError):
        native.force_features([1])
    assert native.features() <= set(FEATURES)


def test_a_mask_never_adds_what_the_machine_lacks(native: Any) -> None:
    native.force_features(FEATURES)
    assert (native.isa() == "avx512ifma") == ({"avx512f", "avx512ifma"} <= native.features())


@pytest.mark.parametrize(("value", "outcome"), [("portable", "portable"), ("auto", None), ("sse", "ImportError")])
def test_the_environment_chooses(native: Any, value: str, outcome: str | None) -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from loadgen import _native; print(_native.isa())"],
        env={**os.environ, "LOADGEN_NATIVE_ISA": value},
        capture_output=True,
        text=True,
        check=False,
    )
    if outcome == "ImportError":
        assert done.returncode != 0
        assert "ImportError: LOADGEN_NATIVE_ISA: unknown implementation 'sse'" in done.stderr
    else:
        assert done.stdout.strip() == (outcome or native.isa())


def test_threads_share_keys(native: Any) -> None:
    numbers = keys.key(1024, 0)
    handle = native.DeviceKey(**numbers.integers())
    inputs = [bytes(127) + bytes((lane + 2,)) for lane in range(9)]
    expected = native.private_raw([handle] * 9, inputs)
    results: list[Any] = []
    threads = [
        threading.Thread(target=lambda: results.append(native.private_raw([handle] * 9, inputs))) for _ in "1234"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [expected] * 4
