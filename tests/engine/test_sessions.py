"""The queue of sessions: ends, events, and nothing that stays behind."""

from __future__ import annotations

import itertools

from loadgen.clock import NS_PER_S
from loadgen.engine.draws import Distribution
from loadgen.engine.sessions import Sessions

S = NS_PER_S


def run(sessions: Sessions[str], until_s: float, step_ns: int = S // 20) -> list[tuple[float, str, str]]:
    found: list[tuple[float, str, str]] = []
    for now in range(0, int(until_s * S) + 1, step_ns):
        for act, device in sessions.due(now):
            found.append((now / S, act, device))
    return found


def test_sessions_end_after_their_hold_time_in_order() -> None:
    sessions: Sessions[str] = Sessions(Distribution("uniform", 1 * S, 9 * S), None, seed=1)
    begun = {name: sessions.begin(name, number, 0, 4) for number, name in enumerate("abc")}
    ends_s = {name: session.ends_ns / S for name, session in begun.items()}
    assert len(set(ends_s.values())) == 3
    acts = run(sessions, 10)
    assert all(0 <= at_s - ends_s[name] <= 0.05 for at_s, _, name in acts)
    assert sorted(name for _, _, name in acts) == ["a", "b", "c"]
    assert {act for _, act, _ in acts} == {"end"}


def test_a_device_gets_the_same_times_again_with_the_same_seed_and_others_in_its_next_session() -> None:
    def ends(seed: int) -> list[int]:
        sessions: Sessions[str] = Sessions(Distribution("exponential", 5 * S), None, seed)
        return [sessions.begin("a", 17, 0, 4).ends_ns for _ in range(3)]

    assert ends(1) == ends(1)
    assert len(set(ends(1) + ends(2))) == 6


def test_events_are_evenly_spaced_until_the_end() -> None:
    sessions: Sessions[str] = Sessions(Distribution("constant", 10 * S), Distribution("constant", 2.0), seed=3)
    sessions.begin("a", 0, 0, 4)
    acts = run(sessions, 12)
    events = [at_s for at_s, act, _ in acts if act == "event"]
    assert 19 <= len(events) <= 20
    assert events[0] < 0.55
    gaps = [round(b - a, 3) for a, b in itertools.pairwise(events)]
    assert all(0.45 <= gap <= 0.55 for gap in gaps)
    assert acts[-1] == (10.0, "end", "a")


def test_no_session_is_faster_than_the_firmware_however_late_the_loop() -> None:
    sessions: Sessions[str] = Sessions(Distribution("constant", 100 * S), Distribution("exponential", 50.0), seed=3)
    sessions.begin("a", 0, 0, 4)
    events = [at_s for at_s, _, _ in run(sessions, 20)]
    for first, fifth in zip(events, events[4:], strict=False):
        assert fifth - first >= 0.95
    assert len(list(sessions.due(60 * S))) == 1


def test_sessions_that_end_early_leave_nothing() -> None:
    sessions: Sessions[object] = Sessions(Distribution("constant", 3600 * S), None, seed=3)
    for number in range(10_000):
        session = sessions.begin(object(), number, number, 4)
        sessions.end(session)
        sessions.end(session)
    assert len(sessions) == 0
    assert len(sessions._queue) < 4096
    assert list(sessions.due(1 << 62)) == []
