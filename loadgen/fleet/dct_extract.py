"""Taking keys and areas out of a dump, by name, into files of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadgen.errors import UsageError
from loadgen.fleet.address import ADDRESS_RECORD_SIZE, server_key_file
from loadgen.fleet.dct import Dct
from loadgen.fleet.dct_layout import ADDRESS_AT, PRIVATE_KEY_AREA, SERVER_KEY_AT
from loadgen.fleet.identity import public_key_of
from loadgen.fleet.keydata import KeyDataError, belongs_together, pem, private_key_pem, read_key, repaired_key
from loadgen.fleet.keyslot import SlotKind
from loadgen.protocol.wire import DEVICE_MODULUS_SIZE

_PRIVATE_MODE: Final = 0o600
_PUBLIC_MODE: Final = 0o644
_SERVER_AREA: Final = ADDRESS_AT - SERVER_KEY_AT + ADDRESS_RECORD_SIZE

ITEMS: Final = {
    "device-key": "the device's private key: device.der and device.pem, PKCS#1, even if the slot has it as PKCS#8",
    "repaired-key": "the device's key, damaged as it is, computed again from what of it is whole: device-repaired.der",
    "device-public-key": "its public half, for the cloud: device.pub.pem and device.pub.der",
    "server-key": "the server's key: server.pub.pem and server.pub.der",
    "server-key-file": "key and address in 512 bytes, as particle-cli writes them to 2082: server.der",
    "device-slot": "the whole private-key area, 1216 bytes: device-slot.bin, for DFU address 34",
    "server-slot": "server key and address as they stand, 512 bytes: server-slot.bin, for DFU address 2082",
    "address-record": "the address record, 128 bytes: address-record.bin, for DFU address 2466",
}
"""What can be taken out of a dump, and the files that it becomes."""
USUAL_ITEMS: Final = ("device-key", "device-public-key", "server-key", "server-key-file")
"""What is taken out unless somebody asks for something else."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A file to write."""

    name: str
    data: bytes
    is_private: bool


@dataclass(frozen=True, slots=True)
class Extraction:
    """What an extraction did."""

    written: tuple[Path, ...]
    unchanged: tuple[Path, ...]
    """Files that were there already, with the same content."""
    absent: tuple[str, ...]
    """Items that the dump does not have, with the reason."""


def extract(dct: Dct, directory: Path, items: Sequence[str] = USUAL_ITEMS) -> Extraction:
    """Write items of a dump into a folder; private keys with mode 0600.

    Args:
        dct: the dump.
        directory: made when missing.
        items: of :data:`ITEMS`.

    Raises:
        UsageError: a file is there with other content (nothing is written then), or cannot be written.
    """
    pieces, absent = [], []
    for item in items:
        found = list(_pieces(dct, item))
        pieces += found
        if not found:
            absent.append(f"{item}: {_reason(dct, item)}")
    paths = [(directory / piece.name, piece) for piece in pieces]
    unchanged = [path for path, piece in paths if _is_there(path, piece)]
    for path, piece in paths:
        if path not in unchanged:
            _write(path, piece)
    written = tuple(path for path, _ in paths if path not in unchanged)
    return Extraction(written, tuple(unchanged), tuple(absent))


def write_new_file(path: Path, data: bytes, *, is_private: bool) -> bool:
    """Write a file that is not there; True if that made one, False if it was there with the same content.

    Raises:
        UsageError: it is there with other content, or cannot be written.
    """
    piece = Piece(path.name, data, is_private)
    if _is_there(path, piece):
        return False
    _write(path, piece)
    return True


def _pieces(dct: Dct, item: str) -> Iterator[Piece]:
    der, server = _private_key(dct), dct.server_key
    if item == "device-key" and der is not None:
        yield Piece("device.der", der, is_private=True)
        yield Piece("device.pem", private_key_pem(der), is_private=True)
    elif item == "repaired-key" and der is not None:
        repaired = None if belongs_together(der) else repaired_key(der)
        if repaired is not None:
            yield Piece("device-repaired.der", repaired, is_private=True)
    elif item == "device-public-key" and der is not None:
        public = dct.slot.presented if dct.slot is not None and dct.slot.kind is SlotKind.PKCS1 else public_key_of(der)
        yield Piece("device.pub.der", public, is_private=False)
        yield Piece("device.pub.pem", pem("PUBLIC KEY", public), is_private=False)
    elif item == "server-key" and server is not None:
        yield Piece("server.pub.der", server, is_private=False)
        yield Piece("server.pub.pem", pem("PUBLIC KEY", server), is_private=False)
    elif item == "server-key-file" and server is not None:
        yield Piece("server.der", server_key_file(server, dct.address), is_private=False)
    elif item == "device-slot" and len(dct.private_area) == PRIVATE_KEY_AREA:
        yield Piece("device-slot.bin", dct.private_area, is_private=True)
    elif item == "server-slot" and len(dct.server_area + dct.address_record) == _SERVER_AREA:
        yield Piece("server-slot.bin", dct.server_area + dct.address_record, is_private=False)
    elif item == "address-record" and len(dct.address_record) == ADDRESS_RECORD_SIZE:
        yield Piece("address-record.bin", dct.address_record, is_private=False)


def _private_key(dct: Dct) -> bytes | None:
    """The device's key as PKCS#1; None where the slot holds none that could be written so."""
    if dct.private_key_der is None and dct.slot is not None and dct.slot.kind is SlotKind.PKCS8:
        with suppress(KeyDataError):
            key = read_key(dct.private_area)
            return key.private_der if key.bits == DEVICE_MODULUS_SIZE * 8 else None
    return dct.private_key_der


def _reason(dct: Dct, item: str) -> str:
    """Why an item is not there."""
    der = _private_key(dct)
    if item == "repaired-key" and der is not None:
        return "the key is not damaged" if belongs_together(der) else "too much of the key is damaged"
    if item.startswith(("device", "repaired")) and dct.slot is not None:
        return f"the key slot holds no RSA key that can be read ({dct.slot.kind}); device-slot has its bytes"
    if item.startswith("server") and len(dct.server_area + dct.address_record) == _SERVER_AREA:
        return "the server's key is erased or no RSA-2048 key; server-slot has its bytes"
    return "the dump is cut off before it"


def _is_there(path: Path, piece: Piece) -> bool:
    """Whether the file holds exactly that already."""
    try:
        with path.open("rb") as file:
            data = file.read(len(piece.data) + 1)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _unwritable(path, error) from None
    if data != piece.data:
        raise UsageError(
            "the file exists and holds something else; it is not overwritten",
            where=str(path),
            remedy="Choose another folder or name, or move this file away.",
        )
    return True


def _write(path: Path, piece: Piece) -> None:
    mode = _PRIVATE_MODE if piece.is_private else _PUBLIC_MODE
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(piece.data)
    except OSError as error:
        path.unlink(missing_ok=True)  # no half key stays behind
        raise _unwritable(path, error) from None


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"cannot be written: {error.strerror}",
        where=str(path),
        remedy="Choose a folder that can be written to, on a disk with space.",
    )
