"""The key stores of spark-server and its relatives. Pure.

The vendor's server (particle-iot/spark-server) keeps ``core_keys/<id>.pub.pem``, attributes in ``<id>.json`` beside
them, and its own pair as ``default_key.pem`` and ``default_key.pub.pem``. Brewskey's keeps the same files in
``data/deviceKeys`` and ``data``; later versions put the keys into ``data/db/deviceKeys.db``, a NeDB file: a JSON
document a line, of which the last one with an ``_id`` counts, and ``$$deleted`` ends one.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, Final

from loadgen.fleet.names import DEVICE_KEYS_FILE, parse_device_id

SERVER_KEY_FILE: Final = "default_key.pem"
SERVER_PUBLIC_KEY_FILE: Final = "default_key.pub.pem"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where a server keeps things, from its own folder on."""

    device_keys: PurePosixPath
    server_keys: PurePosixPath


VENDOR: Final = Layout(PurePosixPath("core_keys"), PurePosixPath())
BREWSKEY: Final = Layout(PurePosixPath("data/deviceKeys"), PurePosixPath("data"))
BREWSKEY_DATABASE: Final = PurePosixPath("data/db") / DEVICE_KEYS_FILE


@dataclass(frozen=True, slots=True)
class DatabaseLine:
    """One line of ``deviceKeys.db``: a device's key, its end, or what is wrong with the line."""

    number: int
    """From 1."""
    document_id: str | None = None
    """The document's ``_id``: of several lines with the same one the last counts."""
    device_id: bytes | None = None
    pem: bytes | None = None
    is_deleted: bool = False
    problem: str | None = None


def read_database(lines: Iterator[bytes]) -> Iterator[DatabaseLine]:
    """Read ``deviceKeys.db`` line by line; lines about indexes are left out."""
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            yield DatabaseLine(number, problem="this line is no JSON document")
            continue
        if not isinstance(document, dict):
            yield DatabaseLine(number, problem="this line is no JSON object")
        elif "$$indexCreated" not in document and "$$indexRemoved" not in document:
            yield _database_line(number, document)


def _database_line(number: int, document: dict[str, Any]) -> DatabaseLine:
    name = document.get("deviceID") or document.get("_id")
    document_id = str(document.get("_id") or name)
    if document.get("$$deleted") is True:
        return DatabaseLine(number, document_id, is_deleted=True)
    device_id = parse_device_id(name) if isinstance(name, str) else None
    if device_id is None:
        return DatabaseLine(number, problem=f"{str(name)[:40]!r} is no device id")
    key, algorithm = document.get("key"), document.get("algorithm", "rsa")
    if algorithm != "rsa":
        what = f"a key of the algorithm {str(algorithm)[:20]!r}; a P1 has RSA"
        return DatabaseLine(number, document_id, device_id, problem=what)
    if not isinstance(key, str):
        return DatabaseLine(number, document_id, device_id, problem="there is no key in this line")
    return DatabaseLine(number, document_id, device_id, key.encode(errors="replace"))


def database_line(hex_id: str, public_key_pem: bytes) -> bytes:
    """A line of ``deviceKeys.db`` for a device, as its server writes it."""
    document = {"_id": hex_id, "deviceID": hex_id, "algorithm": "rsa", "key": public_key_pem.decode()}
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def new_attributes(hex_id: str) -> bytes:
    """The attribute file of a device of which nothing is known, as Brewskey's server writes such files.

    That server (@brewskey/spark-protocol 1.0.21) ends at the first description of a device without one.
    """
    return json.dumps({"deviceID": hex_id}, indent=2).encode()


def attributes_problem(data: bytes, hex_id: str) -> str | None:
    """What is wrong with a device's attribute file; None if it is a JSON object about this device or about none."""
    try:
        attributes = json.loads(data)
    except (ValueError, RecursionError):
        return "the attributes are no JSON document"
    if not isinstance(attributes, dict):
        return "the attributes are no JSON object"
    for name in ("coreID", "deviceID"):
        value = attributes.get(name)
        if value is not None and str(value).lower() != hex_id:
            return f"the attributes are those of another device: {name} is {str(value)[:40]!r}"
    return None
