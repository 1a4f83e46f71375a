"""What a run shall do, resolved: the value that the parent gives to every worker."""

from __future__ import annotations

from fractions import Fraction
from typing import Literal

import msgspec

from loadgen.clock import NS_PER_S
from loadgen.engine.arrival import Segment
from loadgen.engine.draws import Distribution
from loadgen.engine.mix import assign
from loadgen.protocol.stages import Stage

TIMED_STAGES = (Stage.CONNECT, Stage.NONCE, Stage.KEY, Stage.HELLO)
"""Stages that the other side can leave hanging; each has a timeout of its own."""


class Target(msgspec.Struct, frozen=True):
    """The one address that devices connect to.

    ``host`` is a numeric IPv4 or IPv6 address: names are resolved once, before the run.
    """

    host: str
    port: int

    @property
    def is_ipv6(self) -> bool:
        """Whether ``host`` is an IPv6 address."""
        return ":" in self.host

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if self.is_ipv6 else f"{self.host}:{self.port}"


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How long devices take where a generator would take less, ns; waited for, not worked.

    An answer goes out so long after the message that it answers. The round trip is waited for before each of the
    device's answers: there the other side sees it, and nowhere else can a generator wait.
    """

    encrypt_ns: int = 0
    """A device's RSA between nonce and ciphertext."""
    unwrap_ns: int = 0
    """A device's RSA between key and Hello."""
    rtt_ns: int = 0
    """Round trip of a device's network."""

    @property
    def longest_ns(self) -> int:
        """What all of it adds to a handshake at most."""
        return self.encrypt_ns + self.unwrap_ns + 2 * self.rtt_ns


class FirmwarePlan(msgspec.Struct, frozen=True, kw_only=True):
    """What is particular to the devices of one firmware. Durations in ns."""

    name: str
    timeouts_ns: dict[str, int]
    """Stage → how long these devices wait there."""
    parts: int = 1
    """Share of the devices, relative to the parts of the run's other firmwares; all in the smallest whole numbers."""
    pace: Pace | None = None
    """How slow they are on purpose; None: as fast as they can."""


class LoadPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One run of the engine. Durations in ns.

    The open loop starts by ``storm``, by ``segments``, by ``trace_path``, or at the constant rate of
    ``rate_numerator / rate_denominator`` per second; ``concurrency`` is the number of slots in the closed loop.
    ``duration_ns`` bounds the starts after the warm-up, ``count`` their number; at least one of them is set.
    ``max_in_flight`` bounds the connections of all workers together.
    """

    mode: Literal["open", "closed"]
    target: Target
    fleet_path: str
    server_public_key: bytes
    firmwares: tuple[FirmwarePlan, ...]
    max_in_flight: int
    source_ips: tuple[str, ...] = ()
    """Numeric addresses of this machine that connections come from in turn; none: the system chooses."""
    rate_numerator: int = 0
    rate_denominator: int = 1
    segments: tuple[Segment, ...] = ()
    """The schedule of an open loop whose rate changes, warm-up first; ``rate`` is 0 then."""
    trace_path: str | None = None
    """The schedule of an open loop that replays a trace, as :mod:`loadgen.engine.trace` packs it."""
    seed: int = 0
    """Of everything random but keys."""
    concurrency: int = 0
    duration_ns: int | None = None
    count: int | None = None
    warmup_ns: int = 0
    hold_ns: int = 0
    """How long sessions are held; 0 ends them with the handshake."""
    hold: Distribution | None = None
    """The same where sessions are not equally long, ns; ``hold_ns`` is then the mean."""
    events: Distribution | None = None
    """Events per second of a session."""
    reconnect: bool = False
    """A device that loses its session comes back."""
    storm: Distribution | None = None
    """The whole fleet loses its sessions at the begin; how long a device takes to notice, ns. Replaces the schedule."""
    close: Literal["rst", "fin"] = "rst"
    kernel_stamps: bool = False
    """Arrivals are stamped by the kernel instead of after the read."""
    crypto: str = "auto"
    devices: int = 0
    """How many devices of the fleet take part, from its first; 0 means all."""
    single_key: bool = False
    """All devices use the fleet's first key, as a replay cloud requires."""
    product_id: int | None = None
    product_version: int | None = None
    logged: tuple[int, ...] = ()
    """Numbers in the fleet of the devices that keep a log."""

    @property
    def rate(self) -> Fraction:
        """Offered starts per second over all workers; 0 in the closed loop and where the rate changes."""
        return Fraction(self.rate_numerator, self.rate_denominator)

    def firmware_of_devices(self, stored: int) -> list[int]:
        """The position of the firmware of each device that takes part, by its number; the fleet has ``stored``."""
        return assign([part.parts for part in self.firmwares], min(self.devices or stored, stored), self.seed)

    @property
    def end_ns(self) -> int | None:
        """No start is intended at or after this many ns from the begin; None without a bound in time."""
        return None if self.duration_ns is None else self.warmup_ns + self.duration_ns

    @property
    def patience_ns(self) -> int:
        """The longest that a handshake can take while nothing is wrong with its worker."""
        return _OWN_WORK_NS + max(
            sum(part.timeouts_ns.values()) + (part.pace.longest_ns if part.pace is not None else 0)
            for part in self.firmwares
        )


_OWN_WORK_NS = 10 * NS_PER_S
"""For the device's own part of a handshake, on a generator that is far behind."""

DRAIN_ON_STOP_NS = 5 * NS_PER_S
"""How long handshakes in flight may still take after the first Ctrl-C or SIGTERM."""
