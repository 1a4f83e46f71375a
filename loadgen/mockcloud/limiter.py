"""One rate limit for all workers: a token bucket of depth one in shared memory.

The bucket is kept as the instant at which its next token is due (the generic cell rate algorithm, ITU-T I.371).
A handshake reserves the next free instant and is answered then, so waiting needs no queue that the workers would
have to share: how far the reserved instants lie in the future is the length of the queue.

The lock is a POSIX record lock: the kernel releases it if a worker is killed while it holds it.
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import struct
from fractions import Fraction

from loadgen.clock import NS_PER_S

_INSTANT = struct.Struct("=q")


def interval_ns(limit: Fraction) -> int:
    """Nanoseconds between two answers at ``limit`` per second; rounded up, so that it is never exceeded."""
    return math.ceil(NS_PER_S / limit)


def next_free(due_ns: int, now_ns: int, interval: int, queue: int) -> int | None:
    """The instant at which a handshake that asks at ``now_ns`` may be answered.

    ``due_ns`` is the next token's instant; at most ``queue`` handshakes may be waiting. None: the queue is full.
    The token after this one is due ``interval`` later.
    """
    instant = max(due_ns, now_ns)
    return instant if instant - now_ns <= queue * interval else None


class SharedLimiter:
    """The limit as one worker sees it.

    Args:
        descriptor: of the shared memory (:func:`create_memory`); stays the caller's.
        interval: nanoseconds between two answers.
        queue: how many handshakes may wait, over all workers.
    """

    def __init__(self, descriptor: int, interval: int, queue: int) -> None:
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _INSTANT.size)
        self._interval = interval
        self._queue = queue

    @staticmethod
    def create_memory() -> int:
        """Descriptor of fresh shared memory for one limit."""
        descriptor = os.memfd_create("loadgen-limit")
        os.ftruncate(descriptor, _INSTANT.size)
        return descriptor

    def reserve(self, now_ns: int) -> int | None:
        """Reserve the next answer: its instant (``now_ns`` if at once), or None if the queue is full."""
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            (due_ns,) = _INSTANT.unpack_from(self._memory)
            instant = next_free(due_ns, now_ns, self._interval, self._queue)
            if instant is not None:
                _INSTANT.pack_into(self._memory, 0, instant + self._interval)
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)
        return instant

    def close(self) -> None:
        """Unmap the memory."""
        self._memory.close()
