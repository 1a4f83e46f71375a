"""Gathers crypto requests of many devices into batches of one operation. Pure: time is an argument.

Strategy. One queue per operation; a request joins the end of its queue and leaves in a batch from the head,
each in O(1). A batch is due as soon as a queue holds enough requests to fill the hardware's lanes, or its
oldest request has waited as long as it may. With one lane everything is due at once. Between due operations
the one whose oldest request came first wins, so none is starved. A worker asks for batches whenever it is
free, so a lone device waits for the deadline and no longer.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

from loadgen.protocol.events import BatchedRequest


class Waiting(Protocol):
    """What a batcher holds: a request and when it was made."""

    @property
    def request(self) -> BatchedRequest:
        """The operation to do; its class decides the queue."""

    @property
    def requested_ns(self) -> int:
        """When the operation was asked for, on the clock whose values are given to :meth:`Batcher.take`."""


T = TypeVar("T", bound=Waiting)


class Batcher(Generic[T]):
    """Requests that wait for a batch.

    Args:
        lanes: requests that fill the hardware; a batch is due when one operation has as many.
        deadline_ns: the longest that a request waits for others to fill the lanes.
        chunk: most requests in one batch, so that results flow; at least ``lanes``.

    Raises:
        ValueError: ``lanes`` below 1, ``chunk`` below ``lanes``, or a negative deadline.
    """

    __slots__ = ("_chunk", "_deadline_ns", "_lanes", "_queues", "_waiting")

    def __init__(self, lanes: int, deadline_ns: int, chunk: int) -> None:
        if lanes < 1 or chunk < lanes or deadline_ns < 0:
            raise ValueError("a batcher needs lanes ≥ 1, chunk ≥ lanes and a deadline ≥ 0")
        self._lanes = lanes
        self._deadline_ns = 0 if lanes == 1 else deadline_ns
        self._chunk = chunk - chunk % lanes  # a full batch never leaves lanes empty
        self._queues: dict[type[BatchedRequest], deque[T]] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def add(self, item: T) -> None:
        """Let ``item`` wait for a batch of its operation."""
        operation = type(item.request)
        queue = self._queues.get(operation)
        if queue is None:
            queue = self._queues[operation] = deque()
        queue.append(item)
        self._waiting += 1

    def take(self, now_ns: int) -> list[T]:
        """The next batch that is due: items of one operation, oldest first; empty if none is due."""
        due: deque[T] | None = None
        for queue in self._queues.values():
            if queue and self._is_due(queue, now_ns) and (due is None or _is_older(queue, due)):
                due = queue
        if due is None:
            return []
        size = min(len(due), self._chunk)
        if size > self._lanes:  # whole groups of lanes; what is left over waits for more
            size -= size % self._lanes
        self._waiting -= size
        return [due.popleft() for _ in range(size)]

    def next_due_ns(self) -> int | None:
        """When a batch is due even if no request joins; past if one is due already; None: nothing waits."""
        earliest: int | None = None
        for queue in self._queues.values():
            if queue:
                due_ns = queue[0].requested_ns
                if len(queue) < self._lanes:
                    due_ns += self._deadline_ns
                if earliest is None or due_ns < earliest:
                    earliest = due_ns
        return earliest

    def _is_due(self, queue: deque[T], now_ns: int) -> bool:
        return len(queue) >= self._lanes or now_ns - queue[0].requested_ns >= self._deadline_ns


def _is_older(queue: deque[T], other: deque[T]) -> bool:
    return queue[0].requested_ns < other[0].requested_ns
