"""Whom ``loadgen doctor`` looks at: the device of a dump, of key files or of a fleet, and what its cloud knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadgen.cli.dct_sources import device_of_fleet, read_device_id
from loadgen.cli.messages import show_warning
from loadgen.config.values import read_path
from loadgen.diagnosis.evidence import CloudFacts, DeviceFacts, facts_of_dump
from loadgen.errors import UsageError
from loadgen.fleet.dct import Dct, identity_from_dct, read_dump
from loadgen.fleet.dct_troubles import device_key_troubles, server_key_troubles
from loadgen.fleet.identity import Identity
from loadgen.fleet.keydata import KeyDataError, is_pem, read_key
from loadgen.fleet.keyfiles import MAX_KEY_FILE, load_device_public_key_file, load_server_public_key_file
from loadgen.fleet.keyslot import fingerprint, read_key_slot
from loadgen.fleet.keystore import FleetStore
from loadgen.mockcloud.registration import registered_devices
from loadgen.protocol.wire import SERVER_SPKI_SIZE

_SQLITE = b"SQLite format 3\0"
_DEVICES = ("dct", "device_key", "fleet")


@dataclass(frozen=True, slots=True)
class Patient:
    """The device that is looked at."""

    identity: Identity | None
    """None where it cannot be played, or is not known."""
    device_id: bytes | None
    server_key: bytes | None
    """294 bytes; None where there is none that can be used."""
    facts: DeviceFacts
    why_not: str = ""
    """Why it cannot be played."""
    dct: Dct | None = None
    """Its table, where there is a dump."""


def patient_of(values: Mapping[str, Any]) -> Patient:
    """The device that the options name; an empty one where they name none.

    Raises:
        UsageError: several devices, an option that belongs to another, or a file that cannot be used.
    """
    given = [f"--{name.replace('_', '-')}" for name in _DEVICES if values[name] is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} name two devices", remedy="Leave one of them out.")
    if values["device"] is not None and values["fleet"] is None:
        raise UsageError("a device's number belongs to a fleet", where="--device", remedy="Name it with --fleet.")
    device_id = None if values["id"] is None else read_device_id(values["id"], "--id")
    server_key = None
    if values["server_key"] is not None:
        server_key = load_server_public_key_file(Path(read_path(values["server_key"], "--server-key")))
    if values["dct"] is not None:
        return _of_dump(read_path(values["dct"], "--dct"), device_id, server_key)
    if values["device_key"] is not None:
        return _of_key_file(Path(read_path(values["device_key"], "--device-key")), device_id, server_key)
    if values["fleet"] is not None:
        return _of_fleet(values["fleet"], values["device"], server_key)
    if device_id is not None:
        raise UsageError("an id alone has no key", where="--id", remedy="Name a key with --device-key.")
    return Patient(None, None, server_key, _facts(b"", None, server_key))


def _of_dump(dump: str, device_id: bytes | None, server_key: bytes | None) -> Patient:
    found = identity_from_dct(read_dump(Path(dump)), device_id=device_id, where=dump)
    dct = found.dct
    why_not = ""
    if found.identity is None:
        first = next((each for each in found.troubles if each.code == "no_device_id"), None) or found.troubles[0]
        why_not = f"{first.what}. {first.remedy}"
    facts = facts_of_dump(found)
    return Patient(found.identity, device_id or dct.device_id, server_key or dct.server_key, facts, why_not, dct)


def _of_key_file(path: Path, device_id: bytes | None, server_key: bytes | None) -> Patient:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_FILE)
    except OSError as error:
        raise UsageError(f"the key file cannot be read: {error.strerror}", where=str(path)) from None
    try:
        key = read_key(data)
    except KeyDataError as error:
        if data[:1] != b"\x30":  # what is DER may be in a device all the same, and is looked at as the device does
            raise UsageError(str(error), where=str(path), remedy="Give the device's RSA-1024 private key.") from None
        return Patient(None, device_id, server_key, _facts(data, data, server_key), str(error))
    if key.private_der is None:
        raise UsageError("this is a public key", where=str(path), remedy="Give the device's private key, PEM or DER.")
    slot = key.private_der if is_pem(data) else data
    facts = _facts(slot, slot, server_key)
    if device_id is None:
        return Patient(None, None, server_key, facts, "Give the device's id with --id, 24 hexadecimal digits")
    assert facts.slot is not None
    return Patient(Identity(device_id, key.private_der, facts.slot.presented), device_id, server_key, facts)


def _of_fleet(fleet: str, device: str | None, server_key: bytes | None) -> Patient:
    identity = device_of_fleet(fleet, device)
    with FleetStore.open(Path(fleet)) as store:
        server_key = server_key or store.server_public_key
    der = identity.private_key_der
    return Patient(identity, identity.device_id, server_key, _facts(der, der, server_key))


def _facts(slot: bytes, area: bytes | None, server_key: bytes | None) -> DeviceFacts:
    """What is known of keys that are in files."""
    read = None if area is None else read_key_slot(slot)
    troubles = () if area is None else tuple(device_key_troubles(read, area, None))
    if server_key is not None:
        padded = server_key.ljust(SERVER_SPKI_SIZE, b"\xff")
        troubles += tuple(server_key_troubles(padded, built_in=None))
    return DeviceFacts(
        troubles=troubles,
        slot=read,
        device_fingerprint=None if read is None else fingerprint(read.presented),
        server_fingerprint=None if server_key is None else fingerprint(server_key),
    )


def cloud_facts(values: Mapping[str, Any], device_id: bytes | None) -> CloudFacts:
    """What the options say about the cloud.

    Raises:
        UsageError: a file or folder that cannot be used, or a registry without an id to look for.
    """
    key = cloud_key(values)
    server = None if key is None else fingerprint(key)
    if values["registered"] is None:
        return CloudFacts(server_fingerprint=server)
    path = Path(read_path(values["registered"], "--registered"))
    registered = _key_on_record(path)
    if registered is None:
        if device_id is None:
            raise UsageError("nobody has said whose key to look for", where="--registered", remedy="Add --id.")
        keys, problems = registered_devices(path)
        registered = keys.get(device_id)
        for problem in problems if registered is None else ():
            show_warning(problem)
    return CloudFacts(
        server_fingerprint=server,
        knows_registry=True,
        registered_fingerprint=None if registered is None else fingerprint(registered),
    )


def cloud_key(values: Mapping[str, Any]) -> bytes | None:
    """The 294 bytes of ``--cloud-key``; None without it."""
    if values["cloud_key"] is None:
        return None
    return load_server_public_key_file(Path(read_path(values["cloud_key"], "--cloud-key")))


def _key_on_record(path: Path) -> bytes | None:
    """The device's public key in a file of its own, PEM or DER; None where the path is a folder or a fleet.

    Raises:
        UsageError: another file.
    """
    try:
        if not path.is_file():
            return None
        with path.open("rb") as file:
            is_fleet = file.read(len(_SQLITE)) == _SQLITE
    except OSError as error:
        raise UsageError(
            f"the keys on record cannot be read: {error.strerror}",
            where=str(path),
            remedy="Name a file of the cloud's keys, a folder of them, or a fleet.",
        ) from None
    return None if is_fleet else load_device_public_key_file(path)
