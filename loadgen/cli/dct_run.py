"""``loadgen run --dct``: the one device of a flash dump, as a fleet for the time of a run."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from loadgen.cli.dct_sources import read_device_id
from loadgen.cli.messages import show_warning
from loadgen.config.resolve import Layer
from loadgen.config.scenario import Scenario, ScenarioTable
from loadgen.config.target import MOCK
from loadgen.config.values import read_path
from loadgen.errors import UsageError
from loadgen.fleet.dct import DumpIdentity, identity_from_dct, read_dump
from loadgen.fleet.findings import Level
from loadgen.fleet.identity import Identity
from loadgen.fleet.keystore import FleetStore

HANDSHAKES: Final = 10
"""Made one after the other, unless the options ask for another load."""


@contextmanager
def with_dump(
    values: Mapping[str, Any], layers: Sequence[Layer], resolve: Callable[[Sequence[Layer]], Scenario]
) -> Iterator[list[Layer]]:
    """The layers of a run, with the device of ``--dct`` as its fleet; without ``--dct`` they stay as they are.

    Args:
        values: options of ``run``.
        layers: options, environment, scenario.
        resolve: makes a scenario of layers.

    Raises:
        UsageError: no dump, none whose device can be played, or another fleet beside it.
    """
    if values["dct"] is None:
        if values["id"] is not None:
            raise UsageError("an id belongs to a dump", where="--id", remedy="Name the dump with --dct.")
        yield list(layers)
        return
    *given, scenario_file = layers
    if any(layer.table.fleet is not None for layer in given):
        raise UsageError("--dct and --fleet name two fleets", where="--dct", remedy="Leave one of them out.")
    dump = read_path(values["dct"], "--dct")
    device_id = None if values["id"] is None else read_device_id(values["id"], "--id")
    found = identity_from_dct(read_dump(Path(dump)), device_id=device_id, where=dump)
    identity = _playable(found, dump)
    if not values["quiet"]:
        for trouble in found.troubles:
            if trouble.level is Level.ERROR:
                show_warning(f"{dump}: {trouble.what}; loadgen plays the device all the same. {trouble.why}")
    load = Layer(ScenarioTable(concurrency=1, count=HANDSHAKES), lambda _: "--dct")
    scenario = resolve([*given, load, scenario_file])
    with tempfile.TemporaryDirectory(prefix="loadgen-dct-") as folder:
        path = Path(folder) / "fleet.sqlite"
        _make_fleet(path, identity, _server_key(found, scenario, dump))
        fleet = Layer(ScenarioTable(fleet=str(path), devices=1, keys=1), lambda _: "--dct")
        yield [fleet, *given, load, scenario_file]


def _playable(found: DumpIdentity, dump: str) -> Identity:
    if found.identity is not None:
        return found.identity
    causes = [trouble for trouble in found.troubles if trouble.code == "no_device_id" or trouble.level is Level.ERROR]
    first = causes[0] if causes else found.troubles[-1]
    raise UsageError(f"its device cannot be played: {first.what}", where=dump, remedy=first.remedy)


def _server_key(found: DumpIdentity, scenario: Scenario, dump: str) -> bytes | None:
    """The cloud's public key for the fleet; None makes a pair for the run's own cloud."""
    if scenario.target == MOCK:
        return None
    if found.dct.server_key is None and scenario.server_key is None:
        raise UsageError(
            "it has no server key that a device could use", where=dump, remedy="Name the cloud's key with --server-key."
        )
    return found.dct.server_key


def _make_fleet(path: Path, identity: Identity, server_key: bytes | None) -> None:
    with FleetStore.create(path, devices=1, keys=1, ids=[identity.device_id], server_public_key=server_key) as store:
        store.add_keys([(0, identity.private_key_der)])
