"""What on this machine limits a planned run: judged before anything starts.

:func:`read_machine` looks, :func:`judge` thinks. The findings have the levels of a run's validity: ``invalid`` where
the run could not do what it was asked, ``warn`` where its numbers would suffer, ``note`` for what only costs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadgen.kernel import OWN_DESCRIPTORS
from loadgen.recording.record import Finding, Level

TIME_WAIT_S: Final = 60
"""How long Linux keeps a port after the side that closed first has closed with FIN (TCP_TIMEWAIT_LEN)."""
REUSED_AFTER_S: Final = 1
"""The same where tcp_tw_reuse lets a new connection to the same target take the port."""
GOOD_CLOCKS: Final = ("tsc", "kvm-clock", "hyperv_clocksource_tsc_page", "arch_sys_counter")
"""Clock sources that are read without a system call."""
BUSY_SHARE: Final = 0.25
"""Load average ÷ cores from which other work is in the way."""

_RANK: Final[dict[str, int]] = {"invalid": 0, "warn": 1, "note": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What was found. None: this system does not say.

    Attributes:
        cores: that this program may use.
        load: runnable processes, mean of the last minute.
        descriptors: open files that one process can have.
        ports: local ports to one target from one address.
        time_wait_reuse: net.ipv4.tcp_tw_reuse: 0 never, 1 always, 2 on loopback.
        time_wait: sockets in TIME_WAIT now.
        somaxconn: longest queue of connections that a listener has not accepted.
        conntrack_free: connections that the firewall can still keep track of.
        governor: of the CPU's frequency.
        clock_source: of the kernel.
        kernel_stamps: the kernel stamps what TCP sockets receive.
        ifma: the CPU has AVX-512 IFMA.
        openssl: version text.
        backend: crypto backend that a run would use.
        backend_warnings: what that backend has to say about it.
    """

    cores: int
    load: float
    descriptors: int
    ports: int
    time_wait_reuse: int | None = None
    time_wait: int | None = None
    somaxconn: int | None = None
    conntrack_free: int | None = None
    governor: str | None = None
    clock_source: str | None = None
    kernel_stamps: bool = True
    ifma: bool = False
    openssl: str = ""
    backend: str = "openssl"
    backend_warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a run needs of a machine.

    Attributes:
        connections: at one time.
        negotiable: the number is only a default, which shrinks to what is possible.
        at_once: connections that begin at one instant.
        peak_per_s: highest rate of starts; None where the other side decides.
        closes_with_fin: this side closes with FIN.
        workers: processes of the generator.
        cloud_workers: of the mock cloud; 0 without one.
        loopback: the target is on this machine.
        sources: source addresses.
        wants_kernel_stamps: arrivals are not meant to be stamped by the program.
    """

    connections: int
    negotiable: bool = False
    at_once: int = 0
    peak_per_s: float | None = None
    closes_with_fin: bool = False
    workers: int = 1
    cloud_workers: int = 0
    loopback: bool = True
    sources: int = 1
    wants_kernel_stamps: bool = True


def judge(machine: Machine, wanted: Wanted) -> list[Finding]:
    """Findings, the worst first."""
    checks = (
        _descriptors, _cloud_descriptors, _ports, _time_wait, _backlog, _conntrack, _cores, _busy, _stamps, _governor,
        _clock_source, _isa,
    )  # fmt: skip
    found = [finding for check in checks for finding in check(machine, wanted)]
    found += [
        Finding(code="crypto_backend", level="note", observed=0, limit=0, text=text, remedy="Choose one with --crypto.")
        for text in machine.backend_warnings
    ]
    return sorted(found, key=lambda finding: _RANK[finding.level])


def time_wait_s(reuse: int | None, *, loopback: bool) -> int:
    """How long a port is in use after this side has closed with FIN."""
    return REUSED_AFTER_S if reuse == 1 or (reuse == 2 and loopback) else TIME_WAIT_S


def _finding(  # noqa: PLR0917 - a finding in the order in which it reads
    code: str, level: Level, observed: float, limit: float, text: str, remedy: str
) -> Finding:
    return Finding(code=code, level=level, observed=observed, limit=limit, text=text, remedy=remedy)


def _descriptors(machine: Machine, wanted: Wanted) -> Iterator[Finding]:
    possible = wanted.workers * max(machine.descriptors - OWN_DESCRIPTORS, 1)
    if wanted.connections > possible:
        yield _finding(
            "descriptors",
            "note" if wanted.negotiable else "invalid",
            wanted.connections,
            possible,
            f"{wanted.connections:,} connections at one time are more than the {possible:,} that the open files of "
            f"{_workers(wanted.workers)} allow.",
            "Raise the hard limit (ulimit -Hn) or use more --workers.",
        )


def _cloud_descriptors(machine: Machine, wanted: Wanted) -> Iterator[Finding]:
    possible = wanted.cloud_workers * max(machine.descriptors - OWN_DESCRIPTORS, 1)
    if wanted.cloud_workers and wanted.connections > possible:
        yield _finding(
            "cloud_descriptors",
            "note" if wanted.negotiable else "warn",
            wanted.connections,
            possible,
            f"{wanted.connections:,} connections at one time are more than the {possible:,} that the open files of the "
            "mock cloud's processes allow; it closes those beyond.",
            "Raise the hard limit (ulimit -Hn) or use more --cloud-workers.",
        )


def _ports(machine: Machine, wanted: Wanted) -> Iterator[Finding]:
    possible = machine.ports * max(wanted.sources, 1)
    if wanted.connections > possible:
        yield _finding(
            "ports",
            "note" if wanted.negotiable else "invalid",
            wanted.connections,
            possible,
            f"{wanted.connections:,} connections at one time are more than the {possible:,} local ports of "
            f"{_addresses(wanted.sources)}.",
            "Use more source addresses (--source-ip), or widen net.ipv4.ip_local_port_range.",
        )


def _time_wait(machine: Machine, wanted: Wanted) -> Iterator[Finding]:
    if not wanted.closes_with_fin or wanted.peak_per_s is None:
        return
    kept_s = time_wait_s(machine.time_wait_reuse, loopback=wanted.loopback)
    kept = round(wanted.peak_per_s * kept_s)
    possible = machine.ports * max(wanted.sources, 1)
    if kept > possible:
        yield _finding(
            "time_wait",
            "invalid",
            kept,
            possible,
            f"At {wanted.peak_per_s:,.0f}/s closes with FIN leave {kept:,} ports in TIME_WAIT, more than the "
            f"{possible:,} of {_addresses(wanted.sources)}.",
            "Use --close rst, more source addresses (--source-ip), or set net.ipv4.tcp_tw_reuse to 1.",
        )


def _backlog(machine: Machine, wanted: Wanted) -> Iterator[Finding]:
    if machine.somaxconn is None or not wanted.loopback:
        return
    possible = machine.somaxconn * max(wanted.cloud_workers, 1)
    if wanted.at_once > possible:
        yield _finding(
            "somaxconn",
            "warn",
            wanted.at_once,
            possible,
            f"{wanted.at_once:,} connections begin at once, and listeners here queue {possible:,}: the kernel drops "
            "the others, whose connect then takes a second or more.",
            "Raise net.core.somaxconn and net.ipv4.tcp_max_syn_backlog.",
        )


def _conntrack(machine: Machine, wanted: Wanted) -> Iterator[Finding]:
    if machine.conntrack_free is not None and wanted.connections > machine.conntrack_free and not wanted.loopback:
        yield _finding(
            "conntrack",
            "note" if wanted.negotiable else "warn",
            wanted.connections,
            machine.conntrack_free,
            f"The firewall can keep track of {machine.conntrack_free:,} more connections only.",
            "Raise net.netfilter.nf_conntrack_max, or exempt the target from tracking.",
        )


def _cores(machine: Machine, wanted: Wanted) -> Iterator[Finding]:
    processes = wanted.workers + wanted.cloud_workers
    if processes > machine.cores:
        yield _finding(
            "cores",
            "warn",
            processes,
            machine.cores,
            f"{processes} processes share {machine.cores} core{'' if machine.cores == 1 else 's'}, so they wait for "
            "each other.",
            "Use fewer --workers or --cloud-workers, or more cores.",
        )


def _busy(machine: Machine, wanted: Wanted) -> Iterator[Finding]:  # noqa: ARG001
    limit = BUSY_SHARE * machine.cores
    if machine.load > limit:
        yield _finding(
            "busy",
            "warn",
            round(machine.load, 2),
            limit,
            f"Other work keeps {machine.load:.1f} of {machine.cores} cores busy (load average of the last minute).",
            "Keep other work off this machine while it measures.",
        )


def _stamps(machine: Machine, wanted: Wanted) -> Iterator[Finding]:
    if wanted.wants_kernel_stamps and not machine.kernel_stamps:
        yield _finding(
            "kernel_stamps",
            "warn",
            0,
            1,
            "This kernel does not stamp what TCP sockets receive: a busy generator reports its queue as the cloud's.",
            "Measure on Linux, and stay well below the generator's ceiling.",
        )  # fmt: skip


def _governor(machine: Machine, wanted: Wanted) -> Iterator[Finding]:  # noqa: ARG001
    if machine.governor not in {None, "performance"}:
        yield _finding(
            "governor",
            "note",
            0,
            0,
            f'The CPU frequency governor is "{machine.governor}": what a handshake costs depends on what ran before.',
            "cpupower frequency-set -g performance",
        )


def _clock_source(machine: Machine, wanted: Wanted) -> Iterator[Finding]:  # noqa: ARG001
    if machine.clock_source is not None and machine.clock_source not in GOOD_CLOCKS:
        yield _finding(
            "clock_source",
            "warn",
            0,
            0,
            f'The kernel\'s clock source is "{machine.clock_source}": every look at the clock is a system call.',
            "Choose tsc in /sys/devices/system/clocksource/clocksource0/current_clocksource, if the machine has it.",
        )


def _isa(machine: Machine, wanted: Wanted) -> Iterator[Finding]:  # noqa: ARG001
    if not machine.ifma:
        yield _finding(
            "isa",
            "note",
            0,
            1,
            f"This CPU has no AVX-512 IFMA: RSA runs on {machine.openssl or 'OpenSSL'}, one key at a time.",
            "Nothing is wrong; a CPU with it does more handshakes a core.",
        )


def facts(machine: Machine) -> list[tuple[str, str]]:
    """What was looked at, as (name, value) for people."""
    reuse = {0: "never reused", 1: "reused after 1 s", 2: "reused after 1 s on loopback"}
    found = {
        "Cores": f"{machine.cores}, load average {machine.load:.1f}",
        "Open files": f"{machine.descriptors:,} a process",
        "Local ports": f"{machine.ports:,} from one address to one target",
        "TIME_WAIT": _joined(
            None if machine.time_wait is None else f"{machine.time_wait:,} now", reuse.get(machine.time_wait_reuse or 0)
        ),
        "Listen queue": None if machine.somaxconn is None else f"{machine.somaxconn:,} (somaxconn)",
        "Connection tracking": None if machine.conntrack_free is None else f"{machine.conntrack_free:,} free",
        "CPU governor": machine.governor,
        "Clock source": machine.clock_source,
        "Kernel stamps": "yes" if machine.kernel_stamps else "no",
        "Crypto": _joined(machine.backend, machine.openssl, "AVX-512 IFMA" if machine.ifma else "no AVX-512 IFMA"),
    }
    return [(name, value or "unknown") for name, value in found.items()]


def _joined(*parts: str | None) -> str:
    return ", ".join(part for part in parts if part)


def _workers(count: int) -> str:
    return "one worker" if count == 1 else f"{count} workers"


def _addresses(count: int) -> str:
    return "one source address" if count <= 1 else f"{count} source addresses"


# --- looking


def read_machine(
    *,
    cores: int,
    descriptors: int,
    ports: int,
    kernel_stamps: bool,
    isa: list[str],
    openssl: str,
    backend: str,
    backend_warnings: tuple[str, ...] = (),
    root: Path = Path("/"),
) -> Machine:
    """What can be read from ``/proc`` and ``/sys``, together with what the caller knows."""
    conntrack = _number(root / "proc/sys/net/netfilter/nf_conntrack_max")
    tracked = _number(root / "proc/sys/net/netfilter/nf_conntrack_count")
    return Machine(
        cores=cores,
        load=os.getloadavg()[0],
        descriptors=descriptors,
        ports=ports,
        time_wait_reuse=_number(root / "proc/sys/net/ipv4/tcp_tw_reuse"),
        time_wait=_sockets_in_time_wait(_text(root / "proc/net/sockstat")),
        somaxconn=_number(root / "proc/sys/net/core/somaxconn"),
        conntrack_free=None if conntrack is None or tracked is None else conntrack - tracked,
        governor=_text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        clock_source=_text(root / "sys/devices/system/clocksource/clocksource0/current_clocksource"),
        kernel_stamps=kernel_stamps,
        ifma="avx512ifma" in isa,
        openssl=openssl,
        backend=backend,
        backend_warnings=backend_warnings,
    )


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return None


def _number(path: Path) -> int | None:
    text = _text(path)
    return int(text) if text is not None and text.isdecimal() else None


def _sockets_in_time_wait(sockstat: str | None) -> int | None:
    """From the line ``TCP: inuse 5 orphan 0 tw 3 …``."""
    for line in (sockstat or "").splitlines():
        words = line.split()
        if words[:1] == ["TCP:"] and "tw" in words[:-1]:
            return int(words[words.index("tw") + 1])
    return None
