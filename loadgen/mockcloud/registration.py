"""Where registered devices come from: a fleet store, or a folder of ``<device id>.pub.pem`` files."""

from __future__ import annotations

from pathlib import Path

from loadgen.errors import UsageError
from loadgen.fleet.keyfiles import load_public_key_directory
from loadgen.fleet.keystore import FleetStore

_SHOWN_PROBLEMS = 5


def registered_devices(path: Path) -> tuple[dict[bytes, bytes], list[str]]:
    """Device id (12 bytes) → public key (162 bytes) of a fleet store or a folder, and warnings about files left out.

    Raises:
        UsageError: nothing there, no usable key in the folder, or a store that cannot be read.
    """
    if path.is_dir():
        return _from_folder(path)
    with FleetStore.open(path) as store:
        return {identity.device_id: identity.public_key for identity in store.identities()} | dict(
            store.public_only()
        ), []


def _from_folder(folder: Path) -> tuple[dict[bytes, bytes], list[str]]:
    found = load_public_key_directory(folder)
    if not found.keys:
        raise UsageError(
            "no usable device key is in the folder",
            where=found.problems[0] if found.problems else str(folder),
            remedy="Put RSA-1024 public keys there as <24 hex digits>.pub.pem; 'loadgen fleet export' writes them.",
        )
    warnings = [f"Not registered: {problem}." for problem in found.problems[:_SHOWN_PROBLEMS]]
    more = len(found.problems) - len(warnings)
    if more:
        warnings.append(f"Not registered: {more} more key files that cannot be used.")
    return {bytes.fromhex(device_id): key for device_id, key in found.keys.items()}, warnings
