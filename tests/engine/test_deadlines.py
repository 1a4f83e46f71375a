"""Deadlines fall due in order and leave nothing behind."""

from __future__ import annotations

from loadgen.engine.deadlines import Deadlines


def test_waiters_expire_in_order_and_once() -> None:
    deadlines: Deadlines[str] = Deadlines({"key": 20, "hello": 2})
    deadlines.arm("key", "a", 0)
    deadlines.arm("key", "b", 5)
    deadlines.arm("hello", "c", 19)
    assert list(deadlines.pop_expired(19)) == []
    assert list(deadlines.pop_expired(21)) == [("key", "a"), ("hello", "c")]
    assert list(deadlines.pop_expired(24)) == []
    assert list(deadlines.pop_expired(25)) == [("key", "b")]
    assert len(deadlines) == 0


def test_a_cancelled_deadline_is_gone() -> None:
    deadlines: Deadlines[str] = Deadlines({"key": 20})
    for turn in range(1_000):
        deadlines.arm("key", f"device {turn}", turn)
        deadlines.disarm("key", f"device {turn}")
    assert len(deadlines) == 0
    deadlines.disarm("key", "device 1")
    assert list(deadlines.pop_expired(10**9)) == []


def test_rearming_moves_a_waiter_to_the_end() -> None:
    deadlines: Deadlines[str] = Deadlines({"ping": 15})
    deadlines.arm("ping", "a", 0)
    deadlines.arm("ping", "b", 1)
    deadlines.disarm("ping", "a")
    deadlines.arm("ping", "a", 2)
    assert list(deadlines.pop_expired(16)) == [("ping", "b")]
    assert list(deadlines.pop_expired(17)) == [("ping", "a")]
