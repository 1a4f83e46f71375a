from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.crypto.batcher import Batcher
from loadgen.protocol.events import BatchedRequest, DecryptNonce, EncryptNonce, UnwrapKey, WrapKey

OPERATIONS: list[BatchedRequest] = [
    EncryptNonce(None, b""),
    UnwrapKey(None, None, b""),
    DecryptNonce(None, b""),
    WrapKey(None, None, b""),
]
ENCRYPT, UNWRAP, *_ = OPERATIONS


@dataclass
class Item:
    request: BatchedRequest
    requested_ns: int
    number: int = 0


def filled(batcher: Batcher[Item], count: int, request: BatchedRequest = ENCRYPT, at_ns: int = 0) -> list[Item]:
    items = [Item(request, at_ns, number) for number in range(count)]
    for item in items:
        batcher.add(item)
    return items


def test_an_empty_batcher_has_nothing_due() -> None:
    batcher: Batcher[Item] = Batcher(8, 100, 32)
    assert batcher.take(10**18) == []
    assert batcher.next_due_ns() is None
    assert len(batcher) == 0


def test_with_one_lane_a_request_is_due_at_once() -> None:
    batcher: Batcher[Item] = Batcher(1, 1000, 8)
    (item,) = filled(batcher, 1, at_ns=7)
    assert batcher.next_due_ns() == 7
    assert batcher.take(7) == [item]
    assert batcher.take(7) == []


def test_a_lone_request_waits_for_the_deadline_and_no_longer() -> None:
    batcher: Batcher[Item] = Batcher(8, 100, 32)
    (item,) = filled(batcher, 1, at_ns=50)
    assert batcher.next_due_ns() == 150
    assert batcher.take(149) == []
    assert batcher.take(150) == [item]


def test_a_full_set_of_lanes_is_due_at_once() -> None:
    batcher: Batcher[Item] = Batcher(8, 100, 32)
    items = filled(batcher, 7, at_ns=50)
    assert batcher.take(50) == []
    items += filled(batcher, 1, at_ns=60)
    assert batcher.next_due_ns() == 50
    assert batcher.take(60) == items


def test_what_does_not_fill_lanes_waits_for_more() -> None:
    batcher: Batcher[Item] = Batcher(8, 100, 32)
    items = filled(batcher, 19, at_ns=50)
    assert batcher.take(50) == items[:16]
    assert batcher.take(50) == []
    assert batcher.next_due_ns() == 150
    assert batcher.take(150) == items[16:]


def test_a_batch_is_no_larger_than_a_chunk_and_leaves_no_lane_empty() -> None:
    batcher: Batcher[Item] = Batcher(8, 100, 30)
    items = filled(batcher, 40)
    assert batcher.take(0) == items[:24]
    assert batcher.take(0) == items[24:]


def test_operations_do_not_mix_and_the_oldest_goes_first() -> None:
    batcher: Batcher[Item] = Batcher(1, 0, 8)
    first = filled(batcher, 2, ENCRYPT, at_ns=1)
    second = filled(batcher, 2, UNWRAP, at_ns=2)
    third = filled(batcher, 1, ENCRYPT, at_ns=3)
    assert batcher.take(5) == first + third
    assert batcher.take(5) == second


def test_an_operation_that_is_due_does_not_wait_for_an_older_one_that_is_not() -> None:
    batcher: Batcher[Item] = Batcher(4, 100, 8)
    lone = filled(batcher, 1, ENCRYPT, at_ns=0)
    full = filled(batcher, 4, UNWRAP, at_ns=10)
    assert batcher.take(10) == full
    assert batcher.take(10) == []
    assert batcher.take(100) == lone


@pytest.mark.parametrize(("lanes", "deadline_ns", "chunk"), [(0, 0, 8), (8, 0, 7), (8, -1, 8)])
def test_refuses_impossible_settings(lanes: int, deadline_ns: int, chunk: int) -> None:
    with pytest.raises(ValueError, match="lanes"):
        Batcher(lanes, deadline_ns, chunk)


@given(
    lanes=st.integers(1, 9),
    chunks=st.integers(1, 4),
    arrivals=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 60)), max_size=60),
)
def test_every_request_leaves_once_in_order_and_in_time(
    lanes: int, chunks: int, arrivals: list[tuple[int, int]]
) -> None:
    deadline_ns = 100
    batcher: Batcher[Item] = Batcher(lanes, deadline_ns, lanes * chunks)
    now_ns = 0
    left: list[Item] = []

    def work_until(end_ns: int) -> None:
        """A free worker comes as soon as something is due."""
        nonlocal now_ns
        while (due_ns := batcher.next_due_ns()) is not None and due_ns <= end_ns:
            now_ns = max(now_ns, due_ns)
            batch = batcher.take(now_ns)
            assert 0 < len(batch) <= lanes * chunks
            assert len({type(item.request) for item in batch}) == 1
            assert all(now_ns - item.requested_ns <= deadline_ns for item in batch)
            left.extend(batch)
        now_ns = end_ns

    for number, (operation, gap_ns) in enumerate(arrivals):
        work_until(now_ns + gap_ns)
        batcher.add(Item(OPERATIONS[operation], now_ns, number))
        work_until(now_ns)
    work_until(now_ns + deadline_ns)
    assert len(batcher) == 0
    assert sorted(item.number for item in left) == list(range(len(arrivals)))
    for request in OPERATIONS:
        numbers = [item.number for item in left if item.request is request]
        assert numbers == sorted(numbers)
