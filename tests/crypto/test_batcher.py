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


def test_a_lone_request_does_not_wait_for_company_that_is_not_in_sight() -> None:
    batcher: Batcher[Item] = Batcher(8, 100, 32)
    for at_ns in (50, 1050, 2050):
        (item,) = filled(batcher, 1, at_ns=at_ns)
        assert batcher.next_due_ns() == at_ns
        assert batcher.take(at_ns) == [item]


def busy(lanes: int, deadline_ns: int, chunk: int, worth: int = 2) -> Batcher[Item]:
    """A batcher that has seen many requests at one time, long before 0, and holds none of them any more."""
    sizes = {type(request): worth for request in OPERATIONS}
    batcher: Batcher[Item] = Batcher(lanes, deadline_ns, chunk, sizes)
    for request in OPERATIONS:
        for _ in range(50):
            filled(batcher, lanes, request, at_ns=0)
            batcher.take(0)
    assert len(batcher) == 0
    return batcher


def test_a_request_among_many_waits_for_the_deadline_and_no_longer() -> None:
    batcher = busy(8, 1000, 32)
    (item,) = filled(batcher, 1, at_ns=0)
    due_ns = batcher.next_due_ns()
    assert due_ns is not None
    assert 990 <= due_ns <= 1000
    assert batcher.take(due_ns - 1) == []
    assert batcher.take(due_ns) == [item]


def test_the_wait_ends_when_what_is_missing_would_come_too_late() -> None:
    """At a gap of 100 ns and a worth of 5, four more take 400 of the 1,000 ns: they have to begin to come by 600."""
    batcher: Batcher[Item] = Batcher(8, 1000, 8, {EncryptNonce: 5})
    for at_ns in range(0, 40_000, 100):
        filled(batcher, 1, at_ns=at_ns)
        batcher.take(at_ns)
    while batcher.take(10**6):
        pass
    filled(batcher, 1, at_ns=40_000)
    assert batcher.next_due_ns() == pytest.approx(40_600, abs=40)
    filled(batcher, 3, at_ns=40_100)
    assert batcher.next_due_ns() == pytest.approx(40_900, abs=40)
    filled(batcher, 1, at_ns=40_100)  # it is worth it already; one more would be welcome
    assert batcher.next_due_ns() == pytest.approx(40_900, abs=60)
    filled(batcher, 3, at_ns=40_100)
    assert batcher.next_due_ns() == 40_000


def test_an_operation_that_lanes_never_speed_up_never_waits() -> None:
    batcher = busy(8, 1000, 32, worth=9)
    (item,) = filled(batcher, 1, at_ns=7)
    assert batcher.next_due_ns() == 7
    assert batcher.take(7) == [item]


def test_a_burst_is_soon_believed_and_soon_forgotten() -> None:
    batcher: Batcher[Item] = Batcher(8, 1000, 8)
    filled(batcher, 12, at_ns=0)
    assert len(batcher.take(0)) == 8
    assert batcher.take(0) == []  # the other four expect company by now
    assert len(batcher.take(1000)) == 4
    waits = []
    for at_ns in range(10**6, 10**7, 10**6):
        filled(batcher, 1, at_ns=at_ns)
        due_ns = batcher.next_due_ns()
        assert due_ns is not None
        waits.append(due_ns - at_ns)
        batcher.take(due_ns)
    assert waits == sorted(waits, reverse=True)
    assert waits[5:] == [0] * len(waits[5:])


def test_a_full_set_of_lanes_is_due_at_once() -> None:
    batcher = busy(8, 100, 32)
    items = filled(batcher, 7, at_ns=50)
    assert batcher.take(50) == []
    items += filled(batcher, 1, at_ns=60)
    assert batcher.next_due_ns() == 50
    assert batcher.take(60) == items


def test_what_does_not_fill_lanes_waits_for_more() -> None:
    batcher = busy(8, 100, 32)
    items = filled(batcher, 19, at_ns=50)
    assert batcher.take(50) == items[:16]
    assert batcher.take(50) == []
    due_ns = batcher.next_due_ns()
    assert due_ns is not None
    assert 50 < due_ns <= 150
    assert batcher.take(due_ns) == items[16:]


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
    batcher = busy(4, 100, 8)
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
