"""When devices come back."""

from __future__ import annotations

from loadgen.clock import NS_PER_S
from loadgen.engine.returns import Returns
from loadgen.protocol.firmware import P1_0_7_0

S = NS_PER_S


def test_the_firmwares_back_off() -> None:
    pauses = [P1_0_7_0.back_off_ns(failures) // S for failures in range(42)]
    assert pauses == [0] + [1] * 5 + [2] * 5 + [4] * 5 + [8] * 5 + [16] * 5 + [32] * 5 + [64] * 5 + [128] * 6
    assert P1_0_7_0.back_off_ns(10**6) == 128 * S
    assert P1_0_7_0.silence_ns == 25 * S


def test_a_lost_session_comes_back_at_once_and_after_each_failure_later() -> None:
    returns = Returns(lambda _: P1_0_7_0, 0)
    assert not returns.ended(3, 5 * S, failed=True, in_session=False), "it had never been online"
    assert not returns.ended(3, 5 * S, failed=False, in_session=True), "it left by itself"
    assert returns.next_ns is None
    assert returns.ended(3, 10 * S, failed=True, in_session=True)
    assert returns.next_ns == 10 * S
    assert returns.take() == 3
    for failures in range(1, 8):
        assert returns.ended(3, 20 * S, failed=True, in_session=False)
        assert returns.next_ns == (20 + (1 if failures < 6 else 2)) * S
        returns.take()
    assert returns.ended(3, 30 * S, failed=True, in_session=True), "it had been online in between"
    assert returns.next_ns == 30 * S
    returns.take()
    assert returns.started == 9
    assert not returns.ended(3, 40 * S, failed=False, in_session=True)
    assert not returns.ended(3, 40 * S, failed=True, in_session=False), "forgotten with its session"


def test_attempts_are_counted_from_the_recorded_part_on() -> None:
    returns = Returns(lambda _: P1_0_7_0, 5 * S, [(4 * S, 0), (6 * S, 1), (7 * S, 2)])
    assert (returns.next_ns, returns.intended_until(7 * S)) == (4 * S, 1)
    assert returns.intended_until(8 * S) == 2
    assert [returns.take() for _ in range(2)] == [0, 1]
    assert (returns.started, returns.intended_until(8 * S)) == (1, 2)
    returns.put_back(6 * S, 1)
    assert (returns.started, returns.intended_until(8 * S)) == (0, 2)
