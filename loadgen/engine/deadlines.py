"""One timer for all devices: deadlines in the order in which they fall due.

All devices that wait for the same stage have the same timeout, so the order of arming is the order of falling
due, and an insertion-ordered dict is a queue with removal from the middle in constant time. Nothing outlives its
device: a cancelled deadline leaves no entry behind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Generic, TypeVar

Waiter = TypeVar("Waiter")


class Deadlines(Generic[Waiter]):
    """Deadlines of many waiters, one queue per kind of wait.

    Args:
        timeouts_ns: kind of wait → its timeout.
    """

    def __init__(self, timeouts_ns: Mapping[str, int]) -> None:
        self._timeouts_ns = dict(timeouts_ns)
        self._queues: dict[str, dict[Waiter, int]] = {kind: {} for kind in timeouts_ns}

    def arm(self, kind: str, waiter: Waiter, now_ns: int) -> None:
        """Start ``waiter``'s timeout of ``kind``; it must not be armed for that kind already."""
        self._queues[kind][waiter] = now_ns + self._timeouts_ns[kind]

    def disarm(self, kind: str, waiter: Waiter) -> None:
        """Forget a deadline; nothing happens where there is none."""
        self._queues[kind].pop(waiter, None)

    def pop_expired(self, now_ns: int) -> Iterator[tuple[str, Waiter]]:
        """Take out the waiters whose time is over, with the kind of wait."""
        for kind, queue in self._queues.items():
            while queue:
                waiter = next(iter(queue))
                if queue[waiter] > now_ns:
                    break
                del queue[waiter]
                yield kind, waiter

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))
