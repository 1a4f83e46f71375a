"""What the devices of one firmware have in common within a worker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Generic

from loadgen.engine.deadlines import Deadlines, Waiter
from loadgen.engine.plan import Pace
from loadgen.protocol.events import BatchedRequest, EncryptNonce
from loadgen.protocol.firmware import FirmwareProfile
from loadgen.protocol.stages import Point


class Cohort(Generic[Waiter]):
    """The devices of one firmware.

    Args:
        index: position among the run's firmwares.
        profile: what they run.
        timeouts_ns: stage → how long they wait there.
        waits_ns: kind of wait → its time; every kind that there is.
        pace: how slow they are on purpose.

    Attributes:
        deadlines: of these devices: all of one firmware wait equally long for the same thing.
        started: recorded attempts begun.
    """

    __slots__ = ("deadlines", "index", "pace", "profile", "started", "timeouts_ns")

    def __init__(
        self,
        index: int,
        profile: FirmwareProfile,
        timeouts_ns: Mapping[str, int],
        waits_ns: Mapping[str, int],
        pace: Pace | None,
    ) -> None:
        self.index = index
        self.profile = profile
        self.timeouts_ns = timeouts_ns
        self.deadlines: Deadlines[Waiter] = Deadlines(waits_ns)
        self.pace = pace
        self.started = 0

    def answer_due_ns(self, request: BatchedRequest, points: Sequence[int]) -> int:
        """When such a device is done with ``request``, by its pace; ``points`` are the handshake's."""
        pace = self.pace
        if pace is None:
            return 0
        if isinstance(request, EncryptNonce):
            return points[Point.NONCE_IN] + pace.encrypt_ns + pace.rtt_ns
        return points[Point.KEY_IN] + pace.unwrap_ns + pace.rtt_ns
