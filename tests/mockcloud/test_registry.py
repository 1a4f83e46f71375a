from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from loadgen.mockcloud.registry import RegistryFull, SharedRegistry, key_to_use
from loadgen.mockcloud.settings import RegistryPolicy
from loadgen.protocol.reasons import Reason

A, B = bytes(12), bytes(range(12))
KEY, OTHER, BROKEN = b"k" * 162, b"o" * 162, b"b" * 162


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = SharedRegistry.create_memory(100)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def registry(memory: int) -> Iterator[SharedRegistry]:
    opened = SharedRegistry(memory)
    yield opened
    opened.close()


def test_an_empty_registry_knows_nobody(registry: SharedRegistry) -> None:
    assert registry.get(A) is None
    assert len(registry) == 0


def test_what_one_process_registers_another_one_knows(memory: int, registry: SharedRegistry) -> None:
    other = SharedRegistry(memory)
    assert registry.claim(A, KEY) == KEY
    assert other.get(A) == KEY
    assert other.claim(A, OTHER) == KEY
    assert len(other) == len(registry) == 1
    other.close()


def test_full_to_the_brim_everybody_is_found(registry: SharedRegistry) -> None:
    devices = [(number.to_bytes(12), number.to_bytes(162)) for number in range(1, 101)]
    registry.add_all(devices)
    assert [registry.get(device) for device, _ in devices] == [key for _, key in devices]
    assert registry.get(B) is None
    with pytest.raises(RegistryFull):
        registry.claim(B, KEY)
    assert registry.claim(devices[0][0], KEY) == devices[0][1]


def test_of_two_entries_for_one_device_the_first_counts(registry: SharedRegistry) -> None:
    registry.add_all([(A, KEY), (A, OTHER)])
    assert registry.get(A) == KEY
    assert len(registry) == 1


def test_a_key_of_another_size_is_an_error(registry: SharedRegistry) -> None:
    with pytest.raises(ValueError, match="161"):
        registry.claim(A, bytes(161))
    assert len(registry) == 0


def test_a_registry_for_nobody() -> None:
    descriptor = SharedRegistry.create_memory(0)
    registry = SharedRegistry(descriptor)
    assert registry.get(A) is None
    with pytest.raises(RegistryFull):
        registry.claim(A, KEY)
    registry.close()
    os.close(descriptor)


P = RegistryPolicy
U, M, N = Reason.UNKNOWN_DEVICE, Reason.KEY_MISMATCH, b""


@pytest.mark.parametrize(
    ("policy", "device", "presented", "outcome"),
    [
        (P.OPEN, B, OTHER, OTHER),
        (P.OPEN, A, OTHER, OTHER),
        (P.OPEN, A, N, KEY),
        (P.OPEN, B, N, U),
        (P.OPEN, B, BROKEN, Reason.BAD_KEY),
        (P.STRICT, A, KEY, KEY),
        (P.STRICT, A, OTHER, M),
        (P.STRICT, A, BROKEN, M),
        (P.STRICT, A, N, M),
        (P.STRICT, B, KEY, U),
        (P.STORED, A, OTHER, KEY),
        (P.STORED, A, BROKEN, KEY),
        (P.STORED, A, N, KEY),
        (P.STORED, B, KEY, U),
        (P.FIRST_SEEN, B, OTHER, OTHER),
        (P.FIRST_SEEN, A, KEY, KEY),
        (P.FIRST_SEEN, A, OTHER, M),
        (P.FIRST_SEEN, A, N, M),
        (P.FIRST_SEEN, B, N, U),
        (P.FIRST_SEEN, B, BROKEN, Reason.BAD_KEY),
    ],
)
def test_policies(
    registry: SharedRegistry, policy: RegistryPolicy, device: bytes, presented: bytes, outcome: bytes | Reason
) -> None:
    """A is registered with KEY, B is not; BROKEN cannot be encrypted to."""
    registry.claim(A, KEY)
    assert key_to_use(policy, registry, device, presented, lambda key: key != BROKEN) == outcome
    stored = policy is P.FIRST_SEEN and device == B and outcome == OTHER
    assert registry.get(B) == (OTHER if stored else None)


def test_first_seen_without_room_turns_newcomers_away() -> None:
    descriptor = SharedRegistry.create_memory(1)
    registry = SharedRegistry(descriptor)
    assert key_to_use(P.FIRST_SEEN, registry, A, KEY, lambda _: True) == KEY
    assert key_to_use(P.FIRST_SEEN, registry, B, KEY, lambda _: True) is Reason.OVERLOAD
    assert key_to_use(P.FIRST_SEEN, registry, A, KEY, lambda _: True) == KEY
    registry.close()
    os.close(descriptor)
