"""What this machine allows: cores for either side, and connections at one time."""

from __future__ import annotations

import os
import resource
from pathlib import Path
from typing import Final, Literal

from loadgen.config.guard import MAX_IN_FLIGHT
from loadgen.config.scenario import Scenario
from loadgen.errors import UsageError
from loadgen.units import format_count

_OWN_DESCRIPTORS: Final = 64
"""What a worker keeps for itself: its files, pipes, event loop, libraries."""
_PORT_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_DEFAULT_PORTS: Final = 28_232
"""Size of Linux' default range of local ports, 32768 to 60999."""
_CLOUD_SHARE: Final = 0.75
"""A full handshake costs the cloud about three times what it costs the device."""


def allowed_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def share_cores(scenario: Scenario, cores: int) -> tuple[int, int]:
    """Processes of the generator and of the mock cloud; 0 of the latter where there is none.

    What is said stands; what is ``auto`` gets the cores that are left, at least one.
    """
    if scenario.target != "mock":
        return (cores if scenario.workers == "auto" else scenario.workers), 0
    share = 0.5 if scenario.cloud_mode == "replay" else _CLOUD_SHARE
    for_cloud = min(max(round(cores * share), 1), max(cores - 1, 1))
    match scenario.workers, scenario.cloud_workers:
        case "auto", "auto":
            return max(cores - for_cloud, 1), for_cloud
        case "auto", int(cloud_workers):
            return max(cores - cloud_workers, 1), cloud_workers
        case int(workers), "auto":
            return workers, max(cores - workers, 1)
        case int(workers), int(cloud_workers):
            return workers, cloud_workers
    raise AssertionError("a number of workers is a number or auto")


def workers_with_work(workers: int, *, scenario: Scenario, devices: int, max_in_flight: int) -> int:
    """How many of ``workers`` get something to do.

    A worker without a device, a connection or (closed loop) a slot of its own would wait for one for ever, and a run
    that ends by its count would wait with it.

    Args:
        workers: as chosen.
        scenario: the run.
        devices: of the fleet.
        max_in_flight: connections of all workers together.
    """
    return min(workers, devices, max_in_flight, scenario.concurrency or workers)


def descriptor_limit() -> int:
    """Open files that a process can have once it has raised its soft limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return hard if hard != resource.RLIM_INFINITY else 1 << 30


def local_ports() -> int:
    """Local ports that connections to one target can have from one source address."""
    try:
        low, high = _PORT_RANGE.read_text(encoding="ascii").split()
        return int(high) - int(low) + 1
    except (OSError, ValueError):
        return _DEFAULT_PORTS


def connections_at_most(
    scenario: Scenario, *, workers: int, descriptors: int, ports: int
) -> tuple[int, Literal["", "open files", "local ports"]]:
    """How many connections the run may have at one time on this machine, and what bounds it.

    The default of an open loop shrinks to what is possible; what somebody has asked for does not.

    Args:
        scenario: the run.
        workers: its processes.
        descriptors: of each process.
        ports: local ports towards the target.

    Raises:
        UsageError: more is asked for than descriptors or ports allow.
    """
    room = workers * max(descriptors - _OWN_DESCRIPTORS, 1)
    possible, bound = min((room, "open files"), (ports, "local ports"))
    wanted = scenario.max_in_flight
    if wanted <= possible:
        return wanted, ""
    if scenario.mode == "open" and wanted == MAX_IN_FLIGHT:
        return possible, "open files" if bound == "open files" else "local ports"
    remedy = (
        "Raise the limit (ulimit -Hn) or use more --workers."
        if bound == "open files"
        else "Widen net.ipv4.ip_local_port_range."
    )
    raise UsageError(
        f"{format_count(wanted)} connections at one time are more than the {format_count(possible)} "
        f"that the {bound} of this machine allow",
        where="--concurrency" if scenario.mode == "closed" else "--max-in-flight",
        remedy=remedy,
    )
