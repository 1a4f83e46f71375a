"""What devices do in their sessions: how long each is held, and the events that it sends.

Every session has one entry in one queue. An entry outlives a session that ends early, as three numbers; the queue
is swept when most of it is that.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Generic, Literal, TypeAlias, TypeVar

from loadgen.clock import NS_PER_S
from loadgen.engine.draws import Distribution, draw, uniform

Device = TypeVar("Device")
Act: TypeAlias = Literal["end", "event"]

_SWEEP_FROM = 1024


class Session(Generic[Device]):
    """One session in the queue; ``device`` is None once it has ended."""

    __slots__ = ("device", "ends_ns", "event_ns", "gap_ns")

    def __init__(self, device: Device, ends_ns: int, event_ns: int, gap_ns: int) -> None:
        self.device: Device | None = device
        self.ends_ns = ends_ns
        self.event_ns = event_ns
        self.gap_ns = gap_ns

    @property
    def next_ns(self) -> int:
        """When it wants something next."""
        return min(self.ends_ns, self.event_ns)


class Sessions(Generic[Device]):
    """The sessions of one worker.

    Events of one session are evenly spaced, the first after a random part of a gap: over a fleet they come at
    random, and no device is faster than its firmware allows.

    Args:
        hold: how long a session lasts, ns.
        events: events per second of a session, or None.
        seed: of the draws.
    """

    def __init__(self, hold: Distribution, events: Distribution | None, seed: int) -> None:
        self._hold = hold
        self._events = events
        self._seed = seed
        self._turns: dict[int, int] = {}
        self._queue: list[tuple[int, int, Session[Device]]] = []
        self._entered = 0
        self._ended = 0

    def __len__(self) -> int:
        return len(self._queue) - self._ended

    def begin(self, device: Device, number: int, now_ns: int, most_per_s: float) -> Session[Device]:
        """A session has begun.

        Args:
            device: whose.
            number: of the device in the fleet.
            now_ns: when.
            most_per_s: events that its firmware allows.
        """
        turn = self._turns.get(number, 0)
        self._turns[number] = turn + 1
        ends_ns = now_ns + int(draw(self._hold, self._seed, number, "hold", turn))
        gap_ns, event_ns = 0, ends_ns
        if self._events is not None:
            rate = min(draw(self._events, self._seed, number, "event rate"), most_per_s)
            if rate > 0:
                gap_ns = int(NS_PER_S / rate)
                event_ns = now_ns + int(gap_ns * uniform(self._seed, number, "first event", turn))
        session = Session(device, ends_ns, event_ns, gap_ns)
        self._enter(session)
        return session

    def end(self, session: Session[Device]) -> None:
        """A session is over, for whatever reason."""
        if session.device is None:
            return
        session.device = None
        self._ended += 1
        if self._ended > _SWEEP_FROM and self._ended > len(self._queue) // 2:
            self._queue = [entry for entry in self._queue if entry[2].device is not None]
            heapq.heapify(self._queue)
            self._ended = 0

    def due(self, now_ns: int) -> Iterator[tuple[Act, Device]]:
        """What is to be done by now, in order. Sessions may begin and end in between."""
        while self._queue and self._queue[0][0] <= now_ns:
            session = heapq.heappop(self._queue)[2]
            device = session.device
            if device is None:
                self._ended -= 1
                continue
            act: Act = "event" if session.event_ns < session.ends_ns else "end"
            if act == "event":
                session.event_ns += session.gap_ns
                if session.event_ns <= now_ns:  # a late loop must not send faster than the firmware can
                    session.event_ns = now_ns + session.gap_ns
            else:
                session.ends_ns = session.event_ns = 1 << 62
            self._enter(session)
            yield act, device

    def _enter(self, session: Session[Device]) -> None:
        self._entered += 1
        heapq.heappush(self._queue, (session.next_ns, self._entered, session))
