from __future__ import annotations

import os
from collections.abc import Iterator
from fractions import Fraction

import pytest

from loadgen.clock import NS_PER_S
from loadgen.mockcloud.limiter import SharedLimiter, interval_ns, next_free


@pytest.mark.parametrize(
    ("limit", "interval"),
    [
        (Fraction(1000), 1_000_000),
        (Fraction(3), 333_333_334),  # rounded up: never more than the limit
        (Fraction(1, 2), 2_000_000_000),
    ],
)
def test_interval(limit: Fraction, interval: int) -> None:
    assert interval_ns(limit) == interval


@pytest.mark.parametrize(
    ("due", "now", "instant"),
    [
        (0, 50, 50),  # unused time is not saved up
        (70, 50, 70),
        (80, 50, 80),  # three intervals ahead: the last place in the queue
        (81, 50, None),
    ],
)
def test_next_free(due: int, now: int, instant: int | None) -> None:
    assert next_free(due, now, interval=10, queue=3) == instant


@pytest.fixture
def memory() -> Iterator[int]:
    descriptor = SharedLimiter.create_memory()
    yield descriptor
    os.close(descriptor)


def test_two_workers_share_one_bucket(memory: int) -> None:
    first, second = (SharedLimiter(memory, 100, 10) for _ in range(2))
    instants = [first.reserve(1000), second.reserve(1001), first.reserve(1002), second.reserve(5000)]
    assert instants == [1000, 1100, 1200, 5000]
    first.close()
    second.close()


def test_the_queue_is_bounded_and_recovers(memory: int) -> None:
    limiter = SharedLimiter(memory, 100, 2)
    assert [limiter.reserve(0) for _ in range(5)] == [0, 100, 200, None, None]
    assert limiter.reserve(100) == 300
    limiter.close()


def test_without_a_queue_everything_over_the_limit_is_rejected(memory: int) -> None:
    limiter = SharedLimiter(memory, 100, 0)
    assert [limiter.reserve(now) for now in (0, 99, 100)] == [0, None, 100]
    limiter.close()


def test_never_more_than_the_limit_in_any_second(memory: int) -> None:
    limiter = SharedLimiter(memory, interval_ns(Fraction(700)), 7000)
    instants = [limiter.reserve(now * 250_000) for now in range(8000)]  # asked for at 4,000/s
    answered = [instant for instant in instants if instant is not None]
    assert len(answered) == 8000
    for begin in range(0, 11 * NS_PER_S, NS_PER_S // 3):
        assert sum(begin <= instant < begin + NS_PER_S for instant in answered) <= 700
    limiter.close()
