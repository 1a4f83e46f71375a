"""What the disturbed connections of one worker share: the plans, an agenda of answers held back, and the notes.

Without faults, delays or notes there is no such object, and connections are plain ones.
"""

from __future__ import annotations

import os
import socket
from collections import Counter
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final, Protocol

from loadgen.clock import NS_PER_S, wall_to_monotonic_ns
from loadgen.kernel import SO_TIMESTAMPNS, STAMP_SPACE, TIMESPEC
from loadgen.mockcloud.delays import DelayPlan
from loadgen.mockcloud.faults import Fault, FaultPlan
from loadgen.mockcloud.timings import TimingLog

_READ_SIZE: Final = 4096


class SharedNumbers:
    """Numbers the handshakes of all workers in the order of acceptance.

    The counter is the position in an inherited open file: a relative seek adds to it, atomically and without a lock
    that a worker could die with.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    @staticmethod
    def create() -> int:
        """Descriptor of a fresh counter."""
        return os.memfd_create("loadgen-numbers")

    def take(self) -> int:
        """The next number, from 0."""
        return os.lseek(self._descriptor, 1, os.SEEK_CUR) - 1


class Expectant(Protocol):
    """What may stand in the agenda."""

    def on_due(self) -> None:
        """Its time has come; it may have ended meanwhile."""


class Disturbance:
    """The disturbances of one worker.

    Args:
        faults: which faults hit whom.
        delays: which delay each answer gets.
        take_number: gives the next handshake's number.
        log: where answers are noted, or None.
        now: CLOCK_MONOTONIC in ns.
        kernel_stamps: the sockets ask for receive stamps.
    """

    def __init__(
        self,
        faults: FaultPlan,
        delays: DelayPlan,
        *,
        take_number: Callable[[], int],
        log: TimingLog | None,
        now: Callable[[], int],
        kernel_stamps: bool,
    ) -> None:
        self.faults = faults
        self.delays = delays
        self.take_number = take_number
        self.log = log
        self.now = now
        self.injected: Counter[str] = Counter()
        """Faults committed, by ``stage:kind``."""
        self._kernel_stamps = kernel_stamps
        self._agenda: list[tuple[int, int, Expectant]] = []
        self._entries = 0

    def commit(self, fault: Fault) -> None:
        """Count ``fault``: it happens now."""
        self.injected[fault.key] += 1

    # --- the agenda

    def wake(self, at_ns: int, expectant: Expectant) -> None:
        """Call ``expectant.on_due`` at ``at_ns``."""
        self._entries += 1
        heappush(self._agenda, (at_ns, self._entries, expectant))

    def next_due_ns(self) -> int | None:
        """When the next one is due."""
        return self._agenda[0][0] if self._agenda else None

    def run_due(self) -> None:
        """Call all that are due, in order of time."""
        agenda, now = self._agenda, self.now
        while agenda and agenda[0][0] <= now():
            heappop(agenda)[2].on_due()

    # --- arrivals

    def receive(self, sock: socket.socket, size: int = _READ_SIZE) -> tuple[bytes, int]:
        """Read what has come, and the arrival of its last byte on CLOCK_MONOTONIC in ns; raises what ``recv`` raises.

        Without a stamp of the kernel the arrival is the moment after the read.
        """
        if not self._kernel_stamps:
            return sock.recv(size), self.now()
        data, control, _, _ = sock.recvmsg(size, STAMP_SPACE)
        now_ns = self.now()
        for _, kind, payload in control:
            if kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = TIMESPEC.unpack(payload)
                return data, min(now_ns, seconds * NS_PER_S + nanoseconds + wall_to_monotonic_ns())
        return data, now_ns
