"""When a failure comes, which is the only thing that the wire tells about a cloud that closes."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from loadgen.units import NS_PER_UNIT

_NS_PER_MS: Final = NS_PER_UNIT["ms"]


class Moment(StrEnum):
    """When a failure comes, counted from the last thing that the failing side was given."""

    AT_ONCE = "at_once"
    """Within milliseconds, before an answer could have travelled."""
    ROUND_TRIP = "round_trip"
    """After one network round trip: the other side answered without having had to think."""
    CLOUD_LIMIT = "cloud_limit"
    """After a round number of seconds that is the cloud's own limit: 10 s (Brewskey), 30 s (vendor's server)."""
    FIXED = "fixed"
    """After another time that is always the same: something on the way counts."""
    DEVICE_LIMIT = "device_limit"
    """When the device's own patience ends: 5 s to connect, 20 s for nonce and key, 2 s (4 s from 0.8.0) for Hello,
    25 s of silence in a session."""
    ANY = "any"
    """At no particular time."""


MOMENT_TEXT: Final[dict[Moment, str]] = {
    Moment.AT_ONCE: "at once",
    Moment.ROUND_TRIP: "after one round trip",
    Moment.CLOUD_LIMIT: "after the cloud's own limit (10 s Brewskey, 30 s vendor's server)",
    Moment.FIXED: "after another time that is always the same",
    Moment.DEVICE_LIMIT: "when the device's own time is over",
    Moment.ANY: "at any time",
}
"""How people say it."""

CLOUD_LIMITS_NS: Final = (10_000 * _NS_PER_MS, 30_000 * _NS_PER_MS)
"""Limits of the public servers for a handshake: ``GLOBAL_TIMEOUT`` of Brewskey/spark-protocol, and the vendor's."""
_AT_ONCE_NS: Final = 2 * _NS_PER_MS
_LIMIT_TOLERANCE_NS: Final = 500 * _NS_PER_MS
_THINKING_NS: Final = 250 * _NS_PER_MS
"""What a cloud that rejects may spend beside the round trip: its queue and one decryption."""


def moments_of(elapsed_ns: int, round_trip_ns: int, device_limit_ns: int) -> frozenset[Moment]:
    """Which moments a failure may be of; :attr:`Moment.ANY` always.

    Args:
        elapsed_ns: from the last thing sent (or from the connection) to the failure.
        round_trip_ns: of the network, for instance the time to connect.
        device_limit_ns: how long the device waits at this stage.
    """
    found = {Moment.ANY}
    if elapsed_ns <= _AT_ONCE_NS and elapsed_ns < round_trip_ns:
        found.add(Moment.AT_ONCE)
    elif elapsed_ns <= round_trip_ns + _THINKING_NS:
        found.add(Moment.ROUND_TRIP)
    elif elapsed_ns >= device_limit_ns:
        found.add(Moment.DEVICE_LIMIT)
    elif any(abs(elapsed_ns - limit_ns) <= _LIMIT_TOLERANCE_NS + round_trip_ns for limit_ns in CLOUD_LIMITS_NS):
        found.add(Moment.CLOUD_LIMIT)
    else:
        found.add(Moment.FIXED)
    return frozenset(found)
