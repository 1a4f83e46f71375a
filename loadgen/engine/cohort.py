"""What the devices of one firmware have in common within a worker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic

from loadgen.engine.deadlines import Deadlines, Waiter
from loadgen.protocol.firmware import FirmwareProfile


class Cohort(Generic[Waiter]):
    """The devices of one firmware.

    Args:
        index: position among the run's firmwares.
        profile: what they run.
        timeouts_ns: stage → how long they wait there.
        waits_ns: kind of wait → its time; every kind that there is.

    Attributes:
        deadlines: of these devices: all of one firmware wait equally long for the same thing.
        started: recorded attempts begun.
    """

    __slots__ = ("deadlines", "index", "profile", "started", "timeouts_ns")

    def __init__(
        self, index: int, profile: FirmwareProfile, timeouts_ns: Mapping[str, int], waits_ns: Mapping[str, int]
    ) -> None:
        self.index = index
        self.profile = profile
        self.timeouts_ns = timeouts_ns
        self.deadlines: Deadlines[Waiter] = Deadlines(waits_ns)
        self.started = 0
