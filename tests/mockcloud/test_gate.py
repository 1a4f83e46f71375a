from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from loadgen.mockcloud.gate import Entry, Gate


@dataclass
class Item:
    name: str
    is_open: bool = True


def scripted(*instants: int | None) -> Callable[[int], int | None]:
    """A limit that gives these instants, one after the other."""
    left = list(instants)
    return lambda _now: left.pop(0)


def drain(gate: Gate[Item], now_ns: int) -> str:
    names = ""
    while (item := gate.take_due(now_ns)) is not None:
        names += item.name
    return names


def test_without_limit_and_window_everybody_passes() -> None:
    gate: Gate[Item] = Gate(None, 0)
    assert [gate.enter(Item(name), 0) for name in "abc"] == [Entry.PASS] * 3
    assert len(gate) == 0
    assert gate.next_due_ns() is None


def test_the_window_lets_the_next_in_order_of_arrival() -> None:
    gate: Gate[Item] = Gate(None, 2)
    entries = [gate.enter(Item(name), 0) for name in "abcd"]
    assert entries == [Entry.PASS, Entry.PASS, Entry.WAIT, Entry.WAIT]
    assert drain(gate, 0) == ""
    gate.leave()
    assert drain(gate, 0) == "c"
    gate.leave()
    gate.leave()
    assert drain(gate, 0) == "d"
    assert gate.delayed == 0  # waiting for the window is load, not the limit


def test_newcomers_do_not_overtake_the_line() -> None:
    gate: Gate[Item] = Gate(None, 1)
    gate.enter(Item("a"), 0)
    gate.enter(Item("b"), 0)
    gate.leave()
    assert gate.enter(Item("c"), 0) is Entry.WAIT
    assert drain(gate, 0) == "b"


def test_the_limit_delays_until_the_reserved_instant() -> None:
    gate: Gate[Item] = Gate(scripted(0, 100, 200), 0)
    assert [gate.enter(Item(name), 0) for name in "abc"] == [Entry.PASS, Entry.WAIT, Entry.WAIT]
    assert (gate.delayed, len(gate), gate.next_due_ns()) == (2, 2, 100)
    assert drain(gate, 99) == ""
    assert drain(gate, 100) == "b"
    assert gate.next_due_ns() == 200
    assert drain(gate, 1000) == "c"
    assert gate.next_due_ns() is None


def test_the_limit_rejects() -> None:
    gate: Gate[Item] = Gate(scripted(None), 0)
    assert gate.enter(Item("a"), 0) is Entry.REJECT
    assert (gate.rejected, gate.delayed, len(gate)) == (1, 0, 0)


def test_what_the_limit_lets_through_still_needs_the_window() -> None:
    gate: Gate[Item] = Gate(scripted(0, 100), 1)
    gate.enter(Item("a"), 0)
    gate.enter(Item("b"), 0)
    assert drain(gate, 100) == ""
    gate.leave()
    assert drain(gate, 100) == "b"


def test_who_has_gone_is_skipped_and_takes_no_place() -> None:
    gate: Gate[Item] = Gate(None, 1)
    gone = Item("b")
    gate.enter(Item("a"), 0)
    gate.enter(gone, 0)
    gate.enter(Item("c"), 0)
    gone.is_open = False
    gate.leave()
    assert drain(gate, 0) == "c"
