"""Where ``loadgen dct make`` takes a device, a cloud and a table from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loadgen.config.resolve import DEFAULT_FLEET
from loadgen.config.values import read_server_address
from loadgen.errors import UsageError
from loadgen.fleet.address import address_record
from loadgen.fleet.dct import Dct, read_dct, read_dump
from loadgen.fleet.dct_make import Base, base_of, blank_base
from loadgen.fleet.flash import examine
from loadgen.fleet.identity import Identity, public_key_of
from loadgen.fleet.keydata import KeyDataError, belongs_together, read_key
from loadgen.fleet.keyfiles import MAX_KEY_FILE, load_server_public_key_file
from loadgen.fleet.keystore import FleetStore
from loadgen.fleet.names import parse_device_id

_NONE: Final = "none"


@dataclass(frozen=True, slots=True)
class DeviceParts:
    """A device to be written into a table."""

    private_der: bytes | None
    """PKCS#1; None where the whole area is taken as it is."""
    area: bytes
    """The key area of a dump; empty where there is a key."""
    public_key: bytes | None
    device_id: bytes | None


@dataclass(frozen=True, slots=True)
class ServerParts:
    """A cloud to be written into a table."""

    key: bytes
    """294 bytes, or the area of a dump."""
    address_record: bytes | None
    """None leaves the address as it is."""


def chosen_base(name: str | None) -> Base:
    """The table to begin with."""
    return blank_base() if name is None else base_of(_dump(name).image)


def chosen_device(values: Mapping[str, Any]) -> DeviceParts | None:
    """The device that the options name; None leaves the base's.

    Raises:
        UsageError: more than one source, or one that cannot be used.
    """
    given = [option for option in ("device_key", "device_from", "fleet") if values[option] is not None]
    wanted = values["device_id"]
    id_bytes = None if wanted is None else read_device_id(wanted, "--id")
    if len(given) > 1:
        names = " and ".join(f"--{option.replace('_', '-')}" for option in given)
        raise UsageError(f"{names} name two devices", remedy="Leave one of them out.")
    if values["device_key"] is not None:
        der = _device_key(Path(values["device_key"]))
        return DeviceParts(der, b"", public_key_of(der), id_bytes)
    if values["device_from"] is not None:
        dct = _dump(values["device_from"])
        return DeviceParts(None, dct.private_area, dct.stored_public_key, id_bytes or dct.device_id)
    if values["fleet"] is not None or values["device"] is not None:
        identity = device_of_fleet(values["fleet"], values["device"])
        return DeviceParts(identity.private_key_der, b"", identity.public_key, id_bytes or identity.device_id)
    if id_bytes is not None:
        base = _dump(values["base"]) if values["base"] is not None else None
        area, public = (b"", None) if base is None else (base.private_area, base.stored_public_key)
        return DeviceParts(None, area, public, id_bytes)
    return None


def chosen_server(values: Mapping[str, Any]) -> ServerParts | None:
    """The cloud that the options name; None leaves the base's."""
    if values["server_key"] is not None and values["server_from"] is not None:
        raise UsageError("--server-key and --server-from name two clouds", remedy="Leave one of them out.")
    if values["server_key"] is not None:
        return ServerParts(load_server_public_key_file(Path(values["server_key"])), None)
    if values["server_from"] is not None:
        dct = _dump(values["server_from"])
        return ServerParts(dct.server_area, dct.address_record)
    if values["fleet"] is not None:
        with FleetStore.open(Path(values["fleet"])) as store:
            if store.server_public_key is not None:
                return ServerParts(store.server_public_key, None)
    return None


def chosen_address(values: Mapping[str, Any]) -> bytes | None:
    """The address record that the options ask for; None leaves the base's."""
    text, source = values["address"], values["address_from"]
    if text is not None and source is not None:
        raise UsageError("--address and --address-from name two addresses", remedy="Leave one of them out.")
    if source is not None:
        return _dump(source).address_record
    if text is None:
        return None
    if text == _NONE:
        return address_record(None)
    return address_record(read_server_address(text, "--address"))


def _dump(name: str) -> Dct:
    return read_dct(examine(read_dump(Path(name)), name))


def read_device_id(text: str, where: str) -> bytes:
    """The 12 bytes of an id.

    Raises:
        UsageError: not 24 hexadecimal digits.
    """
    found = parse_device_id(text)
    if found is None:
        raise UsageError(f"{text!r} is no device id", where=where, remedy="An id has 24 hexadecimal digits.")
    return found


def _device_key(path: Path) -> bytes:
    """An RSA-1024 private key as PKCS#1 DER, however it is written; none that is damaged."""
    try:
        with path.open("rb") as file:
            key = read_key(file.read(MAX_KEY_FILE))
    except OSError as error:
        raise UsageError(f"the key file cannot be read: {error.strerror}", where=str(path)) from None
    except KeyDataError as error:
        raise UsageError(str(error), where=str(path), remedy="Give the device's RSA-1024 private key.") from None
    if key.private_der is None or (key.bits, key.exponent) != (1024, 65537):
        raise UsageError(
            "this is no RSA-1024 private key with the exponent 65537", where=str(path),
            remedy="Give the device's private key, as `particle keys save` or `loadgen dct extract` writes it.",
        )  # fmt: skip
    if not belongs_together(key.private_der):
        raise UsageError(
            "this key is damaged: its integers do not belong together, so no device can decrypt with it",
            where=str(path),
            remedy="Take it from its source again, or make a new one. --device-from takes a dump's key as it stands.",
        )
    return key.private_der


def device_of_fleet(fleet: str | None, device: str | None) -> Identity:
    """A device of a fleet, by its number or its id."""
    path = Path(DEFAULT_FLEET if fleet is None else fleet)
    with FleetStore.open(path) as store:
        if device is None or (device.isdigit() and len(device) < 24):
            number = int(device or 0)
            if number >= store.devices:
                raise UsageError(
                    f"the fleet has the devices 0 to {store.devices - 1}", where="--device", remedy="Lower the number."
                )
            return next(store.identities(number, 1, 1))
        wanted = read_device_id(device, "--device")
        for identity in store.identities():
            if identity.device_id == wanted:
                return identity
    raise UsageError(f"the fleet has no device {device}", where="--device", remedy=f"Look at {path}.")
