"""Making a fleet from the key files that people have.

The store is built beside its place and linked there when it is whole, so an interruption leaves nothing behind and the
same command begins again. A store that is there already is compared: the same devices and keys are fine.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import zip_longest
from pathlib import Path

from loadgen.errors import UsageError
from loadgen.fleet.collection import Collection, ServerFacts
from loadgen.fleet.keystore import FleetExistsError, FleetStore


@dataclass(frozen=True)
class ImportReport:
    """What an import did."""

    devices: int
    """Devices with a private key, which can be played."""
    distinct_keys: int
    public_only: int
    """Devices with a public key only: a cloud can be taught them, nobody can play them."""
    attributes: int
    """Devices with a server's attributes."""
    server_key: str
    """``private``, ``public``, or ``new`` for a pair that was made since the sources have none."""
    is_new: bool
    """False if the same fleet was there already."""


def import_fleet(collection: Collection, path: Path) -> ImportReport:
    """Make the fleet ``path`` of what the files said.

    Raises:
        UsageError: no key among the files, or another fleet there; nothing is overwritten.
        LocalResourceError: the disk is full or fails.
    """
    playable, public_only = collection.counts()
    if not playable + public_only:
        raise UsageError(
            "no device key that can be used is among the files",
            where=path.name,
            remedy="Name folders or files with <24 hexadecimal digits>.der, .pem or .pub.pem.",
        )
    server = collection.server
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as folder:
            new = Path(folder) / path.name
            with _build(collection, new, playable) as store:
                report = _report(store, public_only, server)
            try:
                os.link(new, path)
            except FileExistsError:
                _check_same(path, new, server)
                return replace(report, is_new=False)
    except OSError as error:
        raise UsageError(
            f"the fleet cannot be written: {error.strerror}",
            where=str(path),
            remedy="Choose a folder that can be written to, on a disk with space.",
        ) from None
    return report


def _build(collection: Collection, path: Path, devices: int) -> FleetStore:
    keys, ids, ders = collection.arranged()
    server = collection.server
    store = FleetStore.create(
        path,
        devices=devices,
        keys=keys,
        ids=ids,
        server_public_key=server.public_key,
        server_key_der=server.private_der,
    )
    try:
        store.add_keys(ders)
        store.add_known((device_id, public, None) for device_id, public in collection.public_only())
        store.add_known((device_id, None, content) for device_id, content in collection.attributes())
    except BaseException:
        store.close()
        raise
    return store


def _report(store: FleetStore, public_only: int, server: ServerFacts) -> ImportReport:
    kind = "new" if server.public_key is None else "public" if server.private_der is None else "private"
    attributes = sum(1 for _ in store.attributes())
    return ImportReport(store.devices, store.distinct_keys, public_only, attributes, kind, is_new=True)


def _check_same(path: Path, new: Path, server: ServerFacts) -> None:
    """Raise FleetExistsError unless both stores have the same devices and keys, and the server key that was read."""
    with FleetStore.open(path, allow_unfinished=True) as there, FleetStore.open(new) as wanted:
        same = all(mine == theirs for mine, theirs in zip_longest(_content(there), _content(wanted)))
        if server.public_key is not None:
            same = same and there.server_public_key == wanted.server_public_key
            same = same and (server.private_der is None or there.server_key_der == wanted.server_key_der)
    if not same:
        raise FleetExistsError(
            "there is another fleet already; it is not overwritten",
            where=str(path),
            remedy="Choose another file with --fleet, or move this one away.",
        )


def _content(store: FleetStore) -> Iterator[tuple[bytes, bytes]]:
    yield from store.device_keys()
    yield from store.public_only()
    yield from store.attributes()
