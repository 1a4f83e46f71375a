from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import Any

import pytest

from loadgen.crypto.base import LaneResult
from loadgen.protocol.events import DecryptNonce, EncryptNonce, UnwrapKey, WrapKey
from loadgen.protocol.reasons import CryptoFault

pytest.importorskip("loadgen._native", reason="the native extension is not built")

from loadgen.crypto.native import LANES, NativeBackend
from loadgen.crypto.selftest import Trial, find_fault, measure_break_even

OPERATIONS = ("encrypt_nonce", "unwrap_key", "decrypt_nonce", "wrap_key")


def test_the_kernel_of_this_machine_agrees_with_openssl() -> None:
    for seed in range(5):
        assert find_fault(NativeBackend(), random.Random(seed)) is None
    assert find_fault(NativeBackend()) is None


def broken(operation: str, spoil: Callable[[list[LaneResult]], list[LaneResult]]) -> NativeBackend:
    """A native backend, one operation of which is spoilt."""
    backend = NativeBackend()
    genuine = getattr(backend, operation)
    setattr(backend, operation, lambda batch: spoil(genuine(batch)))
    return backend


def one_bit(results: list[LaneResult]) -> list[LaneResult]:
    """The last lane is wrong in one bit."""
    last = results[-1]
    return [*results[:-1], last[:-1] + bytes([last[-1] ^ 1])] if isinstance(last, bytes) else results


@pytest.mark.parametrize("operation", OPERATIONS)
def test_one_wrong_bit_in_one_lane_is_found(operation: str) -> None:
    fault = find_fault(broken(operation, one_bit), random.Random(1))
    assert fault is not None
    assert fault.startswith("wrong results of ")
    assert operation in fault


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda results: [CryptoFault.BAD_INPUT, *results[1:]], id="a fault"),
        pytest.param(lambda results: results[:-1], id="a lane lost"),
        pytest.param(lambda results: [results[-1], *results[:-1]], id="lanes exchanged"),
    ],
)
def test_other_wrong_answers_are_found(operation: str, spoil: Callable[[list[LaneResult]], list[LaneResult]]) -> None:
    assert find_fault(broken(operation, spoil), random.Random(1)) is not None


def test_a_kernel_that_accepts_damaged_replies_is_found() -> None:
    backend = NativeBackend()
    genuine = backend.unwrap_key

    def gullible(batch: Sequence[UnwrapKey]) -> list[LaneResult]:
        return [bytes(40) if isinstance(result, CryptoFault) else result for result in genuine(batch)]

    backend.unwrap_key = gullible  # type: ignore[method-assign]
    fault = find_fault(backend, random.Random(1))
    assert fault == "wrong results of unwrap_key of damaged replies"


@pytest.mark.parametrize("operation", ["seal", "open"])
def test_wrong_aes_is_found(operation: str) -> None:
    backend = NativeBackend()
    setattr(backend, operation, lambda request: b"")
    assert find_fault(backend, random.Random(1)) == f"wrong results of {operation}"


def test_a_kernel_that_raises_is_found() -> None:
    backend = NativeBackend()

    def fail(batch: object) -> Any:
        raise OSError("the system's random generator failed")

    backend.encrypt_nonce = fail  # type: ignore[method-assign]
    fault = find_fault(backend, random.Random(1))
    assert fault is not None
    assert "random generator" in fault


def test_each_lane_of_a_trial_has_its_own_keys() -> None:
    trial = Trial(9, random.Random(3))
    assert len({id(request.server_key) for request in trial.wrap}) == 9
    assert len({request.server_key.native.modulus for request in trial.wrap}) == 9
    assert len({request.device_public_key.native.modulus for request in trial.wrap}) == 9
    assert len(set(trial.materials)) == len(set(trial.plaintexts)) == 9


def clock_of(lanes_ns: int, single_ns: int) -> Callable[[], int]:
    """A clock by which each of three runs in lanes takes ``lanes_ns``, and each of three of two singles twice that."""
    steps = cycle([0, lanes_ns] * 3 + [0, 2 * single_ns] * 3)
    now = 0

    def read() -> int:
        nonlocal now
        now += next(steps)
        return now

    return read


@pytest.mark.parametrize(
    ("lanes_ns", "single_ns", "expected"),
    [(800, 200, 4), (801, 200, 5), (100, 200, 1), (1600, 200, 8), (1601, 200, LANES + 1), (10**6, 1, LANES + 1)],
)
def test_break_even_is_where_single_operations_take_as_long_as_all_lanes(
    lanes_ns: int, single_ns: int, expected: int
) -> None:
    sizes = measure_break_even(NativeBackend(), random.Random(1), clock_of(lanes_ns, single_ns))
    assert sizes == dict.fromkeys((EncryptNonce, UnwrapKey, DecryptNonce, WrapKey), expected)
