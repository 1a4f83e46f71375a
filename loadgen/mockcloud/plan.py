"""What the parent tells a worker process: a plan in the first message, and the descriptors it inherits."""

from __future__ import annotations

import msgspec

from loadgen.mockcloud.delays import Delay
from loadgen.mockcloud.faults import Fault
from loadgen.mockcloud.settings import CloudMode, RegistryPolicy

STATUS_INTERVAL_S = 0.25
"""How often a worker reports; also how often it looks whether its parent still lives."""

STOP = b"stop"
"""The message by which the parent ends a worker."""


class StallOrder(msgspec.Struct, frozen=True):
    """The message by which the parent has a worker do nothing for a while. Instants on CLOCK_MONOTONIC in ns."""

    at_ns: int
    end_ns: int


class WorkerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """One worker of a mock cloud. Durations in ns, descriptors are inherited ones."""

    index: int
    workers: int
    parent_pid: int
    server_key: bytes
    mode: CloudMode
    crypto: str
    registry: RegistryPolicy
    registry_descriptor: int
    limit_descriptor: int | None
    limit_interval_ns: int
    limit_queue: int
    answers_descriptor: int | None
    """Prepared answers of replay mode: (reply 384, material 40) after one another."""
    handshake_timeout_ns: int
    idle_timeout_ns: int
    describe_after_ns: int | None
    max_connections: int
    rsa_window: int
    faults: tuple[Fault, ...] = ()
    delays: tuple[Delay, ...] = ()
    seed: int = 0
    numbers_descriptor: int | None = None
    """The counter of handshakes over all workers; None where no connection is disturbed."""
    timings_descriptor: int | None = None
    """Where this worker writes down when it answered; None where it does not."""
