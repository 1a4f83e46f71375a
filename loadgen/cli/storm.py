"""How a fleet comes back: which share of it was online when."""

from __future__ import annotations

from array import array
from typing import Final

from loadgen.clock import NS_PER_S
from loadgen.protocol.stages import Point
from loadgen.recording.record import Storm
from loadgen.recording.rows import FLAG_ONLINE, FLAGS_COLUMN, Rows

_SHARES: Final = (0.5, 0.95, 0.99, 1.0)


class StormWatch:
    """Gathers when each device was online for the first time.

    Args:
        devices: of the fleet.
        lost_ns: when all of them lost their sessions.
    """

    def __init__(self, devices: int, lost_ns: int) -> None:
        self.devices = devices
        self._lost_ns = lost_ns
        self._times = array("q")

    def add(self, rows: Rows) -> None:
        """Take completed handshakes, shape (n, 13)."""
        first = rows[rows[:, FLAGS_COLUMN] & FLAG_ONLINE != 0]
        self._times.extend((first[:, Point.HELLO_IN] - self._lost_ns).tolist())

    @property
    def online(self) -> int:
        """Devices that have been online."""
        return len(self._times)

    @property
    def complete(self) -> bool:
        """Nobody is missing."""
        return self.online >= self.devices

    def facts(self) -> Storm:
        """For the record; a share that was never online has no time."""
        times = sorted(self._times)
        found: list[float | None] = []
        for share in _SHARES:
            needed = -(-self.devices * round(share * 100) // 100)
            found.append(times[needed - 1] / NS_PER_S if 0 < needed <= len(times) else None)
        return Storm(
            devices=self.devices,
            online=self.online,
            online_50_s=found[0],
            online_95_s=found[1],
            online_99_s=found[2],
            online_100_s=found[3],
        )
