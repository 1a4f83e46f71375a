"""Moving an instant from one clock to the other."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from loadgen import clock

OFFSET_NS = 1_700_000_000 * clock.NS_PER_S


def read_with_pauses(monkeypatch: pytest.MonkeyPatch, pauses_ns: Sequence[int]) -> int:
    """The offset where the process loses its core for so long after each of its reads, 50 ns a read otherwise."""
    now_ns = 0
    left = iter(pauses_ns)

    def pass_time() -> int:
        nonlocal now_ns
        at_ns = now_ns
        now_ns += 50 + next(left, 0)
        return at_ns

    monkeypatch.setattr(clock, "monotonic_ns", pass_time)
    monkeypatch.setattr(clock, "wall_ns", lambda: pass_time() + OFFSET_NS)
    return clock.wall_to_monotonic_ns()


def test_the_clocks_themselves() -> None:
    assert abs(clock.wall_ns() + clock.wall_to_monotonic_ns() - clock.monotonic_ns()) < clock.NS_PER_S


@pytest.mark.parametrize(
    ("pauses_ns", "error_ns"),
    [
        ((), 0),
        ((3_000_000,), 0),
        ((0, 3_000_000), 0),
        ((0, 1_000), 500),
        ((3_000_000, 0, 0, 2_000_000, 0, 0, 0, 3_000_000, 0, 0, 900_000), 0),
        ((3_000_000, 0, 0) * 4 + (10_000,), -5_000),
    ],
    ids=["undisturbed", "before the wall", "after the wall", "little", "three times", "always: the best"],
)
def test_a_process_that_loses_its_core_between_two_reads(
    pauses_ns: Sequence[int], error_ns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_with_pauses(monkeypatch, pauses_ns) == error_ns - OFFSET_NS
