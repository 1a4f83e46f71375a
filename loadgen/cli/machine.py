"""What this machine allows: cores for either side, and connections at one time."""

from __future__ import annotations

import math
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from loadgen.cli.prepare import Load
from loadgen.config.guard import MAX_IN_FLIGHT, ResolvedTarget
from loadgen.config.scenario import Scenario
from loadgen.crypto.backends import select_backend
from loadgen.crypto.openssl import library_version
from loadgen.diagnosis.preflight import Machine, Wanted, read_machine
from loadgen.errors import UsageError
from loadgen.kernel import OWN_DESCRIPTORS, descriptor_limit, has_kernel_stamps
from loadgen.store import cpu_features
from loadgen.units import format_count

_PORT_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_DEFAULT_PORTS: Final = 28_232
"""Size of Linux' default range of local ports, 32768 to 60999."""
_PORTS_IN_USE: Final = 0.8
"""Share of an address' ports that may be in use before looking for a free one takes the kernel long."""
_MOST_SOURCES: Final = 250
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


def local_ports() -> int:
    """Local ports that connections to one target can have from one source address."""
    try:
        low, high = _PORT_RANGE.read_text(encoding="ascii").split()
        return int(high) - int(low) + 1
    except (OSError, ValueError):
        return _DEFAULT_PORTS


@dataclass(frozen=True, slots=True)
class Network:
    """Where connections come from. ``ports`` is the number of local ports of one address."""

    loopback: bool
    sources: tuple[str, ...]
    ports: int

    @property
    def all_ports(self) -> int:
        """Local ports of all source addresses."""
        return self.ports * max(len(self.sources), 1)


def network(scenario: Scenario, target: ResolvedTarget | None, ports: int | None = None) -> Network:
    """The source addresses of a run: those that were named, or on loopback as many as its connections need.

    Args:
        scenario: the run.
        target: where it goes; None for the mock cloud.
        ports: local ports of one address; None asks the system.

    Raises:
        UsageError: a named address is not one of this machine, or of another family than the target.
    """
    ports = local_ports() if ports is None else ports
    loopback = target is None or target.loopback
    ipv6 = target is not None and ":" in target.addresses[0].host
    sources = scenario.source_ip
    if sources:
        check_sources(sources, scenario.place("source_ip"), ipv6=ipv6)
    elif loopback and not ipv6:
        sources = _spread(scenario, ports)
    return Network(loopback, sources, ports)


def check_sources(sources: Sequence[str], where: str, *, ipv6: bool) -> None:
    """Find out whether connections can come from these addresses, which were named at ``where``.

    Raises:
        UsageError: not from one of them.
    """
    for source in sources:
        if (":" in source) != ipv6:
            family = "IPv6" if ipv6 else "IPv4"
            raise UsageError(f"the target has an {family} address, {source} has none", where=where)
        with socket.socket(socket.AF_INET6 if ipv6 else socket.AF_INET) as probe:
            try:
                probe.bind((source, 0))
            except OSError as error:
                raise UsageError(
                    f"{source} is no address of this machine: {error.strerror}",
                    where=where,
                    remedy="Name one that `ip address` shows, or add it to an interface.",
                ) from None


def _spread(scenario: Scenario, ports: int) -> tuple[str, ...]:
    """Addresses of 127.0.0.0/8, all of which are this machine's; none where one has ports enough.

    Ports that TIME_WAIT keeps on loopback are taken again after a second, so they are not counted.
    """
    needed = scenario.max_in_flight
    if needed <= ports:
        return ()
    count = min(math.ceil(needed / (ports * _PORTS_IN_USE)), _MOST_SOURCES)
    return tuple(f"127.0.{number // 250}.{number % 250 + 1}" for number in range(count))


def check_backend(scenario: Scenario) -> None:
    """Find out whether the crypto backend that was asked for by name works here.

    Raises:
        UsageError: it does not.
    """
    if scenario.crypto != "auto":
        select_backend(scenario.crypto, scenario.place("crypto"))


def look(scenario: Scenario) -> Machine:
    """This machine as far as it matters to the run."""
    backend, warnings = select_backend(scenario.crypto, scenario.place("crypto"))
    return read_machine(
        cores=allowed_cores(),
        descriptors=descriptor_limit(),
        ports=local_ports(),
        kernel_stamps=has_kernel_stamps(),
        isa=cpu_features(),
        openssl=library_version(),
        backend=backend.name,
        backend_warnings=tuple(warnings),
    )


def wanted(load: Load, network: Network) -> Wanted:
    """What the run needs of this machine."""
    scenario, peak = load.scenario, load.peak_per_s
    workers, cloud_workers = share_cores(scenario, allowed_cores())
    at_once = scenario.concurrency or 0
    if scenario.storm is not None:
        at_once = scenario.devices if scenario.storm.kind == "constant" else 0
    return Wanted(
        connections=scenario.max_in_flight,
        negotiable=scenario.mode == "open" and scenario.storm is None and scenario.max_in_flight == MAX_IN_FLIGHT,
        at_once=at_once,
        peak_per_s=None if peak is None or scenario.storm is not None else float(peak),
        closes_with_fin=scenario.close == "fin",
        workers=workers,
        cloud_workers=cloud_workers,
        loopback=network.loopback,
        sources=max(len(network.sources), 1),
        wants_kernel_stamps=scenario.timestamps != "user",
    )


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
    room = workers * max(descriptors - OWN_DESCRIPTORS, 1)
    possible, bound = min((room, "open files"), (ports, "local ports"))
    wanted = scenario.max_in_flight
    if wanted <= possible:
        return wanted, ""
    if scenario.mode == "open" and wanted == MAX_IN_FLIGHT:
        return possible, "open files" if bound == "open files" else "local ports"
    remedy = (
        "Raise the limit (ulimit -Hn) or use more --workers."
        if bound == "open files"
        else "Use more source addresses (--source-ip), or widen net.ipv4.ip_local_port_range."
    )
    raise UsageError(
        f"{format_count(wanted)} connections at one time are more than the {format_count(possible)} "
        f"that the {bound} of this machine allow",
        where=_asked_by(scenario),
        remedy=remedy,
    )


def _asked_by(scenario: Scenario) -> str:
    """The setting that asks for so many connections."""
    if scenario.mode == "closed":
        return scenario.place("concurrency")
    by_storm = scenario.storm is not None and scenario.max_in_flight == scenario.devices
    return scenario.place("devices" if by_storm else "max_in_flight")
