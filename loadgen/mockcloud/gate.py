"""When a handshake may be answered: the limit over all workers, and the worker's own crypto window. Pure.

Handshakes pass in the order in which they ask. First each reserves its instant in the limit, where there is one. Then
it needs a place in the window: without it a storm of newcomers would have all their ciphertexts decrypted before the
first reply is signed, and everybody would wait for everybody; with it, those that came first are finished first, and
a device that has gone meanwhile costs no RSA at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Generic, Protocol, TypeVar


class Entry(Enum):
    """What a gate says to a handshake."""

    PASS = "pass"  # noqa: S105 - no password
    WAIT = "wait"
    REJECT = "reject"


class Waiting(Protocol):
    """What may wait at a gate."""

    @property
    def is_open(self) -> bool:
        """Whether the connection still stands."""


T = TypeVar("T", bound=Waiting)


class Gate(Generic[T]):
    """The gate of one worker.

    Args:
        reserve: given the time in ns, the instant at which the limit lets one more pass, or None for "queue full";
            None instead of a callable means that there is no limit.
        window: how many may be inside at a time; 0 means any number.
    """

    def __init__(self, reserve: Callable[[int], int | None] | None, window: int) -> None:
        self._reserve = reserve
        self._window = window
        self._inside = 0
        self._limited: deque[tuple[int, T]] = deque()
        self._line: deque[T] = deque()
        self.delayed = 0
        """How many had to wait for the limit."""
        self.rejected = 0
        """How many the limit turned away."""

    def __len__(self) -> int:
        return len(self._limited) + len(self._line)

    def enter(self, item: T, now_ns: int) -> Entry:
        """Ask to pass. What has to wait comes out of :meth:`take_due` later; what passed must ``leave``."""
        if self._reserve is not None:
            instant = self._reserve(now_ns)
            if instant is None:
                self.rejected += 1
                return Entry.REJECT
            if instant > now_ns:
                self.delayed += 1
                self._limited.append((instant, item))
                return Entry.WAIT
        if self._line or (self._window and self._inside >= self._window):
            self._line.append(item)
            return Entry.WAIT
        self._inside += 1
        return Entry.PASS

    def leave(self) -> None:
        """One that had passed is done."""
        self._inside -= 1

    def take_due(self, now_ns: int) -> T | None:
        """The next one that may pass now and still stands; None when there is none."""
        while self._limited and self._limited[0][0] <= now_ns:
            self._line.append(self._limited.popleft()[1])
        while self._line and (not self._window or self._inside < self._window):
            item = self._line.popleft()
            if item.is_open:
                self._inside += 1
                return item
        return None

    def next_due_ns(self) -> int | None:
        """When the limit lets the next one go on; None when nobody waits for it."""
        return self._limited[0][0] if self._limited else None
