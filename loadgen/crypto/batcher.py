"""Gathers crypto requests of many devices into batches of one operation. Pure: time is an argument.

Strategy. One queue per operation; a request joins the end of its queue and leaves in a batch from the head,
each in O(1). A batch is due as soon as a queue holds enough requests to fill the hardware's lanes, or its
oldest request has waited as long as it may. Waiting has to be worth it: each queue knows the mean gap between
its last requests, and where company that would make lanes faster than single operations cannot be expected
before the deadline, nobody waits. So lanes fill under load, and a lone device has its answer as soon as
without lanes. With one lane everything is due at once. Between due operations the one whose oldest request
came first wins, so none is starved.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Final, Generic, Protocol, TypeVar

from loadgen.protocol.events import BatchedRequest

_GAPS: Final = 8
"""Over about so many requests the gap between two is averaged."""


class Waiting(Protocol):
    """What a batcher holds: a request and when it was made."""

    @property
    def request(self) -> BatchedRequest:
        """The operation to do; its class decides the queue."""

    @property
    def requested_ns(self) -> int:
        """When the operation was asked for, on the clock whose values are given to :meth:`Batcher.take`."""


T = TypeVar("T", bound=Waiting)


class _Queue(Generic[T]):
    """The requests of one operation, and how densely they come."""

    __slots__ = ("gap_ns", "items", "last_ns", "worth")

    def __init__(self, worth: int, gap_ns: int) -> None:
        self.items: deque[T] = deque()
        self.worth = worth
        self.gap_ns = gap_ns
        self.last_ns: int | None = None


class Batcher(Generic[T]):
    """Requests that wait for a batch.

    Args:
        lanes: requests that fill the hardware; a batch is due when one operation has as many.
        deadline_ns: the longest that a request waits for others to fill the lanes.
        chunk: most requests in one batch, so that results flow; at least ``lanes``.
        worth: batch size of an operation below which lanes bring nothing, 2 where it is missing; an operation
            with more than ``lanes`` never waits.

    Raises:
        ValueError: ``lanes`` below 1, ``chunk`` below ``lanes``, or a negative deadline.
    """

    __slots__ = ("_chunk", "_deadline_ns", "_lanes", "_queues", "_waiting", "_worth")

    def __init__(
        self, lanes: int, deadline_ns: int, chunk: int, worth: Mapping[type[BatchedRequest], int] | None = None
    ) -> None:
        if lanes < 1 or chunk < lanes or deadline_ns < 0:
            raise ValueError("a batcher needs lanes ≥ 1, chunk ≥ lanes and a deadline ≥ 0")
        self._lanes = lanes
        self._deadline_ns = 0 if lanes == 1 else deadline_ns
        self._chunk = chunk - chunk % lanes  # a full batch never leaves lanes empty
        self._worth = worth or {}
        self._queues: dict[type[BatchedRequest], _Queue[T]] = {}
        self._waiting = 0

    def __len__(self) -> int:
        return self._waiting

    def add(self, item: T) -> None:
        """Let ``item`` wait for a batch of its operation."""
        operation = type(item.request)
        queue = self._queues.get(operation)
        if queue is None:
            # Two requests the deadline apart expect no company; longer gaps say no more than that.
            queue = self._queues[operation] = _Queue(self._worth.get(operation, 2), self._deadline_ns)
        if queue.last_ns is not None:
            gap_ns = min(item.requested_ns - queue.last_ns, 2 * self._deadline_ns)
            queue.gap_ns += (gap_ns - queue.gap_ns) // _GAPS
        queue.last_ns = item.requested_ns
        queue.items.append(item)
        self._waiting += 1

    def take(self, now_ns: int) -> list[T]:
        """The next batch that is due: items of one operation, oldest first; empty if none is due."""
        due: deque[T] | None = None
        for queue in self._queues.values():
            items = queue.items
            if items and self._due_ns(queue) <= now_ns and (due is None or _is_older(items, due)):
                due = items
        if due is None:
            return []
        size = min(len(due), self._chunk)
        if size > self._lanes:  # whole groups of lanes; what is left over waits for more
            size -= size % self._lanes
        self._waiting -= size
        return [due.popleft() for _ in range(size)]

    def next_due_ns(self) -> int | None:
        """When a batch is due even if no request joins; past if one is due already; None: nothing waits."""
        return min((self._due_ns(queue) for queue in self._queues.values() if queue.items), default=None)

    def _due_ns(self, queue: _Queue[T]) -> int:
        """When the batch at the head of a queue that is not empty is due, if no request joins.

        After this moment the requests that are missing, at the present gap, would come too late: those up to
        the size that makes waiting worth it, or one more where there are enough for that already.
        """
        oldest_ns = queue.items[0].requested_ns
        size = len(queue.items)
        if size >= self._lanes or queue.worth > self._lanes:
            return oldest_ns
        return oldest_ns + max(0, self._deadline_ns - queue.gap_ns * max(1, queue.worth - size))


def _is_older(queue: deque[T], other: deque[T]) -> bool:
    return queue[0].requested_ns < other[0].requested_ns
