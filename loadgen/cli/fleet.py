"""``loadgen fleet``: device ids and keys."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from loadgen.cli.fleet_files import export_command, fleet_path, import_command, interruption, verify_command
from loadgen.cli.groups import CommandGroup
from loadgen.cli.options import fleet_option, json_option, quiet_option
from loadgen.cli.output import write_json, write_lines
from loadgen.cli.progress import fleet_progress
from loadgen.config.resolve import DEFAULT_DEVICES, DEFAULT_KEYS
from loadgen.config.values import read_count
from loadgen.errors import UsageError
from loadgen.fleet.generate import generate
from loadgen.fleet.keystore import FleetStore
from loadgen.units import format_count


@click.group("fleet", cls=CommandGroup)
def command() -> None:
    """Make, import, verify and export fleets: device ids, their RSA keys, and the cloud's key."""


for _command in (import_command, export_command, verify_command):
    command.add_command(_command)


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
    path = fleet_path(fleet)
    device_count = DEFAULT_DEVICES if devices is None else read_count(devices, "--devices")
    key_count = min(DEFAULT_KEYS, device_count) if keys is None else read_count(keys, "--keys")
    if key_count > device_count:
        raise UsageError(
            f"{key_count:,} keys are more than the {device_count:,} devices that could have them", where="--keys"
        )
    with (
        interruption("Interrupted: what is made is kept, the same command goes on.", quiet=quiet),
        fleet_progress(f"Making a fleet (devices: {device_count:,}, keys: {key_count:,})", quiet=quiet) as progress,
    ):
        store = generate(path, devices=device_count, keys=key_count, progress=progress)
    with store:
        _show(store, path)


@command.command("show")
@fleet_option
@json_option
def show_command(fleet: str | None, as_json: bool) -> None:
    """Say what a fleet has."""
    path = fleet_path(fleet)
    with FleetStore.open(path) as store:
        if as_json:
            write_json(msgspec.json.encode(_facts(store, path)))
        else:
            _show(store, path)


def _facts(store: FleetStore, path: Path) -> dict[str, object]:
    return {
        "fleet": str(path),
        "devices": store.devices,
        "distinct_keys": store.distinct_keys,
        "public_only": store.public_only_devices,
        "has_server_private_key": store.server_key_der is not None,
    }


def _show(store: FleetStore, path: Path) -> None:
    private = "with" if store.server_key_der is not None else "without"
    size = f"devices: {format_count(store.devices)}, distinct keys: {format_count(store.distinct_keys)}"
    lines = [f"{path}: {size}, {private} the cloud's private key"]
    if public_only := store.public_only_devices:
        lines.append(f"  and {format_count(public_only)} devices with a public key only, which cannot be played")
    write_lines(lines)
