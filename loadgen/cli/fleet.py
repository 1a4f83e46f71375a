"""``loadgen fleet``: device ids and keys."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from loadgen.cli.options import json_option, quiet_option
from loadgen.cli.output import write_json, write_lines
from loadgen.cli.progress import fleet_progress
from loadgen.config.resolve import DEFAULT_DEVICES, DEFAULT_FLEET, DEFAULT_KEYS
from loadgen.config.values import read_count, read_path
from loadgen.errors import UsageError
from loadgen.fleet.generate import generate
from loadgen.fleet.keystore import FleetStore, export_public_keys
from loadgen.units import format_count

fleet_option = click.option("--fleet", metavar="FILE", help=f"The fleet's file. [{DEFAULT_FLEET}]")


@click.group("fleet")
def command() -> None:
    """Make, look at and export fleets: device ids, their RSA keys, and the cloud's key."""


@command.command("generate")
@click.option("--devices", metavar="N", help=f"Device ids. [{DEFAULT_DEVICES:,}]")
@click.option("--keys", metavar="N", help=f"Distinct RSA keys that they share. [{DEFAULT_KEYS}, or as many as devices]")
@fleet_option
@quiet_option
def generate_command(devices: str | None, keys: str | None, fleet: str | None, quiet: bool) -> None:
    """Make a fleet on all cores.

    Only keys that a real P1 reads correctly are made. After an interruption the same command goes on where it
    stopped; nothing that exists is ever overwritten.
    """
    path = _path(fleet)
    device_count = DEFAULT_DEVICES if devices is None else read_count(devices, "--devices")
    key_count = min(DEFAULT_KEYS, device_count) if keys is None else read_count(keys, "--keys")
    if key_count > device_count:
        raise UsageError(
            f"{key_count:,} keys are more than the {device_count:,} devices that could have them", where="--keys"
        )
    with fleet_progress(f"Making a fleet (devices: {device_count:,}, keys: {key_count:,})", quiet=quiet) as progress:
        store = generate(path, devices=device_count, keys=key_count, progress=progress)
    with store:
        _show(store, path)


@command.command("show")
@fleet_option
@json_option
def show_command(fleet: str | None, as_json: bool) -> None:
    """Say what a fleet has."""
    path = _path(fleet)
    with FleetStore.open(path) as store:
        if as_json:
            write_json(msgspec.json.encode(_facts(store, path)))
        else:
            _show(store, path)


@command.command("export")
@click.argument("directory", metavar="DIR")
@fleet_option
@quiet_option
def export_command(directory: str, fleet: str | None, quiet: bool) -> None:
    """Write the public key of every device to DIR as <device id>.pub.pem, to teach a real cloud the fleet.

    A file that is there already with another content is never overwritten.
    """
    read_path(directory, "DIR")
    with FleetStore.open(_path(fleet)) as store, fleet_progress("Exporting public keys", quiet=quiet) as progress:
        report = export_public_keys(store, Path(directory), progress=progress)
    there = f", {format_count(report.unchanged)} were there already" if report.unchanged else ""
    write_lines([f"{directory}: {format_count(report.written)} public keys written{there}"])


def _path(fleet: str | None) -> Path:
    return Path(DEFAULT_FLEET if fleet is None else read_path(fleet, "--fleet"))


def _facts(store: FleetStore, path: Path) -> dict[str, object]:
    return {
        "fleet": str(path),
        "devices": store.devices,
        "distinct_keys": store.distinct_keys,
        "has_server_private_key": store.server_key_der is not None,
    }


def _show(store: FleetStore, path: Path) -> None:
    private = "with" if store.server_key_der is not None else "without"
    size = f"devices: {format_count(store.devices)}, distinct keys: {format_count(store.distinct_keys)}"
    write_lines([f"{path}: {size}, {private} the cloud's private key"])
