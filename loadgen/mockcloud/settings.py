"""What a mock cloud shall do: chosen by the user, checked once, given to every worker."""

from __future__ import annotations

import math
import os
from enum import StrEnum
from fractions import Fraction

import msgspec

from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.errors import UsageError
from loadgen.mockcloud.delays import Delay, Stall, check_delays, check_stalls
from loadgen.mockcloud.faults import Fault, check_faults
from loadgen.protocol.wire import DEFAULT_PORT, DEVICE_SPKI_SIZE


class CloudMode(StrEnum):
    """How much of the handshake is computed."""

    FULL = "full"
    """Every handshake costs its two RSA-2048 private operations, as in a real cloud."""
    REPLAY = "replay"
    """No RSA: prepared answers for one device key, in turn, so that the generator itself can be measured."""


class RegistryPolicy(StrEnum):
    """Which devices are let in, and with which key."""

    OPEN = "open"
    """Everybody, with the key that the device presents."""
    STRICT = "strict"
    """Only registered devices that present the registered key; others are closed."""
    STORED = "stored"
    """Only registered devices; always encrypts to the registered key, whatever was presented."""
    FIRST_SEEN = "first-seen"
    """An unknown device is registered with the key it presents; from then on as ``strict``."""


class CloudSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything a mock cloud can be told. Durations in ns.

    Only ``server_key`` has no default.
    """

    server_key: bytes
    """RSA-2048 private key of the cloud, DER (PKCS#1 or PKCS#8)."""
    host: str = "127.0.0.1"
    """Address or name to listen on; ``::1`` without brackets for IPv6."""
    port: int = DEFAULT_PORT
    """TCP port; 0 lets the system choose."""
    workers: int = 0
    """Worker processes; 0 means one per core that this process may use."""
    mode: CloudMode = CloudMode.FULL
    crypto: str = "auto"
    """Crypto backend, as for the devices."""

    registry: RegistryPolicy = RegistryPolicy.OPEN
    registry_keys: str | None = None
    """A fleet store, or a folder of ``<24 hex digits>.pub.pem`` files, whose devices are registered."""
    registry_capacity: int = 1 << 20
    """Most devices the registry can hold; ``first-seen`` closes newcomers beyond it."""

    replay_device_key: bytes | None = None
    """162-byte public key of the one device key of replay mode; None takes the only key of the registry."""
    replay_answers: int = 1024
    """How many answers with different session keys are prepared for replay mode."""

    limit: Fraction | None = None
    """At most this many handshakes a second are answered, over all workers; None means no limit."""
    limit_queue: int | None = None
    """How many handshakes may wait for the limit, over all workers; None means what 10 s can answer, at least 1."""

    handshake_timeout_ns: int = 30 * NS_PER_S
    """A handshake that is not complete this long after the accept is closed."""
    idle_timeout_ns: int = 120 * NS_PER_S
    """A session this long without a message is closed. Devices ping after 15 s and give up 10 s later."""
    describe_after_ns: int | None = 50 * NS_PER_MS
    """When after Hello the device is asked to describe itself; None means never."""
    max_connections: int = 0
    """Most connections of one worker at a time; more are closed at once. 0 means what its descriptors allow."""
    rsa_window: int = 64
    """Handshakes of one worker that may stand in the RSA stage at a time; the others wait in order of arrival."""

    faults: tuple[Fault, ...] = ()
    """What goes wrong on purpose, and how often."""
    delays: tuple[Delay, ...] = ()
    """How long answers are held back, at most one distribution for a stage."""
    stalls: tuple[Stall, ...] = ()
    """When all workers do nothing for a while, counted from the moment when they are ready."""
    seed: int = 0
    """Which handshakes the faults hit and which delays they get; 0 … 2^64 - 1."""
    record_timings: bool = False
    """Write down when each message came and was answered; see :attr:`loadgen.mockcloud.cloud.MockCloud.timings`."""

    @property
    def disturbs(self) -> bool:
        """Whether connections are disturbed or watched, which costs a little."""
        return bool(self.faults or self.delays or self.record_timings)

    @property
    def worker_count(self) -> int:
        """``workers``, with 0 resolved."""
        return self.workers or len(os.sched_getaffinity(0))

    @property
    def queue_bound(self) -> int:
        """``limit_queue``, with None resolved; 0 where there is no limit."""
        if self.limit is None:
            return 0
        if self.limit_queue is not None:
            return self.limit_queue
        return max(1, math.floor(self.limit * 10))

    def check(self) -> None:
        """Raise :class:`UsageError` for what cannot work, whatever the machine."""
        if not 0 <= self.port <= 65535:
            raise UsageError(f"port {self.port} does not exist", remedy="Use 1 to 65535, or 0 for any free port.")
        if not 0 <= self.workers <= 1024:
            raise UsageError(f"{self.workers} workers are not possible", remedy="Use 1 or more, at most 1024.")
        if self.limit is not None and self.limit <= 0:
            raise UsageError("a limit of 0 handshakes/s answers nobody", remedy="Use a rate above 0, such as 100/s.")
        if self.limit_queue is not None and self.limit_queue < 0:
            raise UsageError("a queue cannot be shorter than 0", remedy="Use 0 to close whatever is over the limit.")
        if not 0 <= self.seed < 1 << 64:
            raise UsageError(f"the seed {self.seed} has more than 64 bits", remedy="Use 0 to 2^64 - 1.")
        if self.mode is CloudMode.REPLAY:
            self._check_replay()
        self._check_disturbances()

    def _check_disturbances(self) -> None:
        try:
            check_faults(self.faults, replay=self.mode is CloudMode.REPLAY)
        except ValueError as error:
            raise UsageError(str(error), where="fault", remedy="docs/faults.md lists what there is.") from None
        try:
            check_delays(self.delays)
        except ValueError as error:
            raise UsageError(str(error), where="delay", remedy="Give each stage one distribution.") from None
        try:
            check_stalls(self.stalls)
        except ValueError as error:
            raise UsageError(str(error), where="stall", remedy="Let one end before the next begins.") from None

    def _check_replay(self) -> None:
        if self.registry is not RegistryPolicy.OPEN:
            raise UsageError(
                f"a replaying cloud cannot apply the registry policy '{self.registry}'",
                remedy="It does no RSA and never learns who speaks; use the policy 'open' or the mode 'full'.",
            )
        if self.replay_answers < 1:
            raise UsageError("replay needs prepared answers", remedy="Use at least 1; the default is 1024.")
        if self.replay_device_key is not None and len(self.replay_device_key) != DEVICE_SPKI_SIZE:
            raise UsageError(
                f"the device key for replay has {len(self.replay_device_key)} bytes instead of {DEVICE_SPKI_SIZE}",
                remedy="Give the SubjectPublicKeyInfo (DER) of an RSA-1024 key.",
            )
