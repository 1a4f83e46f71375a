"""What keeps a run from its end is noticed, and a suspended parent blames nobody."""

from __future__ import annotations

from loadgen.cli.watchdog import SILENCE_AT_END_NS, SILENCE_NS, Watchdog
from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.engine.messages import Counts
from loadgen.engine.pool import WorkerStatus

STEP_NS = 100 * NS_PER_MS


class Turns:
    """Turns of a tenth of a second with two workers that report in each, unless a test stops them."""

    def __init__(self, patience_ns: int = 10 * NS_PER_S) -> None:
        self.now_ns = 7 * NS_PER_S
        self.workers = [WorkerStatus(0), WorkerStatus(1)]
        self.watchdog = Watchdog(patience_ns)

    def turn(self, *reporting: int, over: bool = False) -> list[int]:
        self.now_ns += STEP_NS
        for index in reporting:
            self.workers[index].at_ns = self.now_ns
        self.watchdog.look(self.now_ns, self.workers)
        return self.watchdog.silent(self.workers, over=over)


def test_only_the_worker_that_says_nothing_is_silent() -> None:
    turns = Turns()
    turns.turn(0, 1)
    for _ in range(SILENCE_NS // STEP_NS):
        assert turns.turn(0) == []
    assert turns.turn(0) == [1]
    turns.workers[1].lost = "gone"
    assert turns.turn(0) == []


def test_at_the_end_of_the_run_less_is_waited_for() -> None:
    turns = Turns()
    turns.turn(0, 1)
    for _ in range(SILENCE_AT_END_NS // STEP_NS):
        assert turns.turn(0, over=True) == []
    assert turns.turn(0, over=True) == [1]


def test_a_suspended_parent_blames_nobody() -> None:
    turns = Turns()
    turns.workers[0].counts = Counts(in_flight=1)
    turns.turn(0, 1)
    turns.now_ns += 3_600 * NS_PER_S
    assert turns.turn() == []
    assert not turns.watchdog.stuck
    assert turns.turn(0, 1) == []


def test_handshakes_of_which_none_ends_are_stuck() -> None:
    turns = Turns(patience_ns=NS_PER_S)
    turns.workers[0].counts = Counts(in_flight=3)
    for _ in range(11):
        assert not turns.watchdog.stuck
        turns.turn(0, 1)
    turns.turn(0, 1)
    assert turns.watchdog.stuck
    turns.workers[0].counts.failed = 1
    turns.turn(0, 1)
    assert not turns.watchdog.stuck


def test_a_pause_between_handshakes_and_what_a_lost_worker_had_in_flight_are_nothing_to_wait_for() -> None:
    turns = Turns(patience_ns=NS_PER_S)
    turns.workers[1].counts = Counts(in_flight=3)
    turns.workers[1].lost = "killed"
    for _ in range(50):
        turns.turn(0)
        assert not turns.watchdog.stuck
