"""``loadgen cloud``: a mock cloud to measure, or to connect devices to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import click
import msgspec

from loadgen import clock
from loadgen.cli.messages import show_note, show_warning
from loadgen.cli.options import json_option, quiet_option
from loadgen.cli.output import write_json, write_lines
from loadgen.cli.prepare import open_fleet
from loadgen.cli.signals import on_interrupt
from loadgen.config.resolve import (
    CLOUD_MODES,
    CRYPTO_CHOICES,
    DEFAULT_DEVICES,
    DEFAULT_FLEET,
    DEFAULT_KEYS,
    REGISTRY_POLICIES,
)
from loadgen.config.target import parse_host_port
from loadgen.config.values import read_choice, read_duration, read_path, read_processes, read_rate, read_seed
from loadgen.errors import ExitCode, LocalResourceError, UsageError
from loadgen.fleet.keyfiles import load_server_private_key_file
from loadgen.fleet.keystore import FleetStore
from loadgen.mockcloud.cloud import MockCloud
from loadgen.mockcloud.delays import parse_delay, parse_stall
from loadgen.mockcloud.faults import parse_fault
from loadgen.mockcloud.report import CloudReport, CloudStatus
from loadgen.mockcloud.settings import CloudMode, CloudSettings, RegistryPolicy
from loadgen.units import format_count, format_ns, format_number_of, format_rate

Parsed = TypeVar("Parsed")

_POLL_S: Final = 0.1
_STATUS_EVERY_NS: Final = 5 * clock.NS_PER_S


@click.command("cloud")
@click.option("--listen", metavar="HOST:PORT", help="Address to listen on; port 0 takes a free one. [127.0.0.1:5683]")
@click.option("--workers", metavar="N|auto", help="Processes on the one port. [auto: one per core]")
@click.option("--mode", metavar="full|replay", help="Real crypto, or prepared answers without RSA. [full]")
@click.option("--crypto", metavar="auto|openssl|native", help="Crypto backend. [auto]")
@click.option("--server-key", metavar="FILE", help="Private key of the cloud, PEM or DER. [the fleet's]")
@click.option("--registry", metavar="POLICY", help="open, strict, stored or first-seen. [open]")
@click.option("--registry-keys", metavar="STORE|DIR", help="Devices to register: a fleet file, or a folder of keys.")
@click.option("--limit", metavar="R", help="Answer at most so many handshakes per second, over all workers.")
@click.option("--fault", metavar="FAULT", multiple=True, help="What goes wrong, such as key:close:0.5%; repeatable.")
@click.option(
    "--delay", metavar="DELAY", multiple=True, help="Hold answers back, such as key:exponential=5ms; repeatable."
)
@click.option(
    "--stall", metavar="AFTER:FOR", multiple=True, help="Stop answering after so long for so long; repeatable."
)
@click.option("--seed", metavar="N", help="Which handshakes are hit, and by which delays. [0]")
@click.option("--duration", metavar="D", help="End after so long; without it, with Ctrl-C or SIGTERM.")
@json_option
@quiet_option
def command(**values: Any) -> ExitCode:
    """Serve the cloud's side of the handshake until it is told to end.

    Without --server-key and --registry-keys it has the key of the fleet in .loadgen/fleet.sqlite, which is made when
    missing, so that `loadgen run --target 127.0.0.1` in the same folder gets along with it.
    """
    duration_ns = None
    if values["duration"] is not None:
        duration_ns = read_duration(values["duration"], "--duration", zero=False)
    settings = _settings(values)
    cloud = MockCloud(settings)
    stops: list[None] = []
    with on_interrupt(lambda: stops.append(None)), cloud:
        for warning in cloud.warnings:
            show_warning(warning)
        if not values["quiet"]:
            show_note(f"Listening on {cloud.address}.")
        _serve(cloud, duration_ns, stops, quiet=values["quiet"])
        report = cloud.stop()
    if values["as_json"]:
        write_json(msgspec.json.encode(report))
    else:
        write_lines(report_lines(report))
    return ExitCode.INTERRUPTED if stops and duration_ns is not None else ExitCode.OK


def _serve(cloud: MockCloud, duration_ns: int | None, stops: list[None], *, quiet: bool) -> None:
    """Wait for the end; say now and then how things stand."""
    begin_ns = clock.monotonic_ns()
    next_ns, before = begin_ns + _STATUS_EVERY_NS, 0
    while not stops:
        clock.sleep_s(_POLL_S)
        now_ns, status = clock.monotonic_ns(), cloud.poll()
        if len(status.lost) == len(status.workers):
            raise LocalResourceError(
                "every worker of the mock cloud has ended",
                where=cloud.address,
                remedy="Look at the system's log, for an out-of-memory kill for instance.",
            )
        if now_ns >= next_ns and not quiet:
            show_note(_status_line(status, (status.handshakes - before) * clock.NS_PER_S / _STATUS_EVERY_NS))
            next_ns, before = next_ns + _STATUS_EVERY_NS, status.handshakes
        if duration_ns is not None and now_ns - begin_ns >= duration_ns:
            return


def _status_line(status: CloudStatus, per_s: float) -> str:
    failed = sum(status.failures.values())
    return (
        f"{format_rate(per_s)}, {format_number_of(status.handshakes, 'handshake')}, {format_count(failed)} failed, "
        f"{format_number_of(status.connections, 'connection')}, {format_count(status.waiting)} waiting"
    )


def _settings(values: dict[str, Any]) -> CloudSettings:
    address = _listen(values["listen"])
    mode = CloudMode(read_choice(values["mode"] or "full", "--mode", CLOUD_MODES))
    registry = RegistryPolicy(read_choice(values["registry"] or "open", "--registry", REGISTRY_POLICIES))
    keys = values["registry_keys"]
    if keys is not None:
        read_path(keys, "--registry-keys")
    workers = read_processes(values["workers"] or "auto", "--workers")
    crypto = read_choice(values["crypto"] or "auto", "--crypto", CRYPTO_CHOICES)
    limit = None if values["limit"] is None else read_rate(values["limit"], "--limit")
    faults = _parsed(values["fault"], "--fault", parse_fault)
    delays = _parsed(values["delay"], "--delay", parse_delay)
    stalls = _parsed(values["stall"], "--stall", parse_stall)
    seed = 0 if values["seed"] is None else read_seed(values["seed"], "--seed")
    # Last, as it may make a fleet: a wrong word in another option should not cost that time.
    server_key, replay_key = _keys(values["server_key"], keys, mode, quiet=values["quiet"])
    return CloudSettings(
        server_key=server_key,
        host=address[0],
        port=address[1],
        workers=0 if workers == "auto" else workers,
        mode=mode,
        crypto=crypto,
        registry=registry,
        registry_keys=keys,
        replay_device_key=replay_key,
        limit=limit,
        faults=faults,
        delays=delays,
        stalls=stalls,
        seed=seed,
    )


def _parsed(texts: Sequence[str], where: str, parse: Callable[[str], Parsed]) -> tuple[Parsed, ...]:
    try:
        return tuple(map(parse, texts))
    except ValueError as error:
        raise UsageError(str(error), where=where) from None


def _listen(text: str | None) -> tuple[str, int]:
    try:
        address = parse_host_port(text or "127.0.0.1", any_port=True)
    except ValueError as error:
        raise UsageError(str(error), where="--listen") from None
    return address.host, address.port


def _keys(
    server_key: str | None, registry_keys: str | None, mode: CloudMode, *, quiet: bool
) -> tuple[bytes, bytes | None]:
    """The cloud's private key, and in replay mode the one device key it answers: from the options, else a fleet."""
    given = None if server_key is None else load_server_private_key_file(Path(server_key))
    folder = registry_keys is not None and Path(registry_keys).is_dir()
    if given is not None and (mode is CloudMode.FULL or folder):
        return given, None
    with _fleet(registry_keys, quiet=quiet) as store:
        own = given or store.server_key_der
        if own is None:
            raise UsageError(
                "the fleet has no private server key",
                where=registry_keys or DEFAULT_FLEET,
                remedy="Name one with --server-key.",
            )
        replay_key = next(store.identities(0, 1, 1)).public_key if mode is CloudMode.REPLAY else None
        return own, replay_key


def _fleet(registry_keys: str | None, *, quiet: bool) -> FleetStore:
    if registry_keys is not None and Path(registry_keys).is_dir():
        raise UsageError(
            "a folder of public keys has no private key for the cloud",
            where="--registry-keys",
            remedy="Name the cloud's private key with --server-key.",
        )
    if registry_keys is not None:
        return FleetStore.open(Path(registry_keys))
    return open_fleet(Path(DEFAULT_FLEET), devices=DEFAULT_DEVICES, keys=DEFAULT_KEYS, quiet=quiet)


def report_lines(report: CloudReport) -> list[str]:
    """A mock cloud's account of itself, for people."""
    cpu = ""
    if report.cpu_us_per_handshake is not None:
        cpu = f", {report.cpu_us_per_handshake:.0f} µs a handshake"
    speed = f"{format_rate(report.handshakes_per_s)}, {format_count(report.failed)} failed"
    workers = format_number_of(len(report.workers), "worker")
    lines = [
        f"{format_number_of(report.handshakes, 'handshake')} in {report.duration_s:.1f} s, {speed}",
        f"CPU {report.cpu_s:.2f} s{cpu}, {workers}, {report.crypto_backend}, mode {report.mode}",
    ]
    if report.limit is not None:
        lines.append(
            f"Limit {format_rate(report.limit.per_s)}: {format_count(report.limit.delayed)} delayed, "
            f"{format_count(report.limit.rejected)} closed (at most {format_count(report.limit.queue)} may wait)"
        )
    lines += [
        f"{format_number_of(injected.count, 'handshake')} hit by {injected.stage}:{injected.fault}"
        for injected in report.injected
    ]
    lines += [f"Stalled for {format_ns(stall.ended_ns - stall.begun_ns)}" for stall in report.stalls]
    for title, failures in (("failed", report.failures), ("ended after Hello", report.session_failures)):
        lines += [f"{format_count(failure.count)} {title}: {failure.stage}/{failure.reason}" for failure in failures]
    return lines + list(report.warnings)
