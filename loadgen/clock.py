"""The only module that reads a clock. Every value is an integer number of nanoseconds.

CLOCK_MONOTONIC counts from the boot of the machine and is one timeline for all its processes, so a parent
can tell its workers an instant to start at.
"""

from __future__ import annotations

import time

NS_PER_US = 1_000
NS_PER_MS = 1_000_000
NS_PER_S = 1_000_000_000

_LOOKS = 5
_UNDISTURBED_NS = 2_000
"""Three clock reads take so long at most unless something comes in between."""
_NEVER_NS = 1 << 62

monotonic_ns = time.monotonic_ns
"""Now on CLOCK_MONOTONIC, the timeline of every clock point."""

wall_ns = time.time_ns
"""Now on CLOCK_REALTIME, ns since 1970. For names and records, never for durations."""

thread_cpu_ns = time.thread_time_ns
"""User and system time of the calling thread."""

process_cpu_ns = time.process_time_ns
"""User and system time of this process, all its threads, without its children."""

sleep_s = time.sleep
"""Block the calling thread. For parents that poll and for tests of real processes; never on an event loop."""


def wall_to_monotonic_ns() -> int:
    """What to add to a :func:`wall_ns` instant to move it to the timeline of :func:`monotonic_ns`, as of now.

    Right to within half the time of three clock reads, about 100 ns. A process that loses its core between two of them
    would be wrong by half of the time that it was away, milliseconds: then they are read again, and the best counts.
    """
    best, shortest_ns = 0, _NEVER_NS
    for _ in range(_LOOKS):
        before = monotonic_ns()
        wall = wall_ns()
        after = monotonic_ns()
        if after - before < shortest_ns:
            best, shortest_ns = (before + after) // 2 - wall, after - before
            if shortest_ns <= _UNDISTURBED_NS:
                break
    return best


def utc(ns: int) -> time.struct_time:
    """Split a :func:`wall_ns` instant into UTC calendar fields."""
    return time.gmtime(ns // NS_PER_S)
