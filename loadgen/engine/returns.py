"""Devices that come back by themselves: after the loss of their session, and after each failure in coming back."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence

from loadgen.protocol.firmware import FirmwareProfile


class Returns:
    """The devices of one worker that are on their way back.

    A device that has lost its session tries again at once. An attempt that fails is followed by one after the
    firmware's back-off, counted from the failure; that is the intended start of the later attempt.

    Args:
        firmware_of: what a device runs.
        record_from: attempts intended before it are not counted.
        first: devices that have lost their sessions before the run: (when they try first, device), ns.
    """

    def __init__(
        self,
        firmware_of: Callable[[int], FirmwareProfile],
        record_from: int,
        first: Sequence[tuple[int, int]] = (),
    ) -> None:
        self._firmware_of = firmware_of
        self._record_from = record_from
        self._waiting = list(first)
        heapq.heapify(self._waiting)
        self._failures = {device: 0 for _, device in first}
        self.started = 0
        """Recorded attempts begun."""

    @property
    def next_ns(self) -> int | None:
        """When the next attempt is intended; None while nobody is on the way."""
        return self._waiting[0][0] if self._waiting else None

    def take(self) -> int:
        """The device of the next attempt, which begins now."""
        intended, device = heapq.heappop(self._waiting)
        self.started += intended >= self._record_from
        return device

    def put_back(self, intended: int, device: int) -> None:
        """The attempt could not begin and waits."""
        self.started -= intended >= self._record_from
        heapq.heappush(self._waiting, (intended, device))

    def ended(self, device: int, now_ns: int, *, failed: bool, in_session: bool) -> bool:
        """An attempt or a session of ``device`` has ended; whether the device comes back."""
        if failed and in_session:
            self._failures[device] = 0
        elif failed and device in self._failures:
            self._failures[device] += 1
        else:
            self._failures.pop(device, None)
            return False
        pause_ns = self._firmware_of(device).back_off_ns(self._failures[device])
        heapq.heappush(self._waiting, (now_ns + pause_ns, device))
        return True

    def intended_until(self, now_ns: int) -> int:
        """How many recorded attempts were intended before ``now_ns``."""
        return self.started + sum(self._record_from <= at_ns < now_ns for at_ns, _ in self._waiting)
