"""Writing a fleet in the formats that other programs read. What is there already is never overwritten.

Each device is a few small files, each made whole or not at all, so an interrupted export goes on where it stopped when
it is asked for again. The server's files come first: a folder that belongs to another server is refused before any
device's key is in it.
"""

from __future__ import annotations

import contextlib
import filecmp
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from loadgen.errors import UsageError
from loadgen.fleet.address import ServerAddress, server_key_file, server_key_file_name
from loadgen.fleet.identity import Identity
from loadgen.fleet.keydata import is_pem, private_key_pem
from loadgen.fleet.keyfiles import Progress, public_key_pem
from loadgen.fleet.keystore import FleetStore
from loadgen.fleet.spark_server import (
    BREWSKEY,
    BREWSKEY_DATABASE,
    SERVER_KEY_FILE,
    SERVER_PUBLIC_KEY_FILE,
    VENDOR,
    Layout,
    database_line,
    new_attributes,
)

_PROGRESS_EVERY: Final = 100
_PUBLIC_MODE, _PRIVATE_MODE = 0o644, 0o600


class ExportFormat(StrEnum):
    """What a fleet can be written as."""

    PUBLIC = "public"
    """``<id>.pub.pem``, to be put into the key folder of a server."""
    PARTICLE_CLI = "particle-cli"
    """``<id>.pem``, ``<id>.pub.pem``, ``<id>.der``, and the server's public key as it is written to devices."""
    DER = "der"
    """``<id>.der``, what is loaded to a device."""
    SPARK_SERVER = "spark-server"
    """The vendor's server: ``core_keys/`` and the server's own pair."""
    BREWSKEY = "brewskey"
    """Brewskey's server with files: ``data/deviceKeys/`` and the server's own pair in ``data/``."""
    BREWSKEY_DATABASE = "brewskey-db"
    """Brewskey's server with its database: ``data/db/deviceKeys.db`` and the server's own pair in ``data/``."""


_LAYOUTS: Final[dict[ExportFormat, Layout]] = {
    ExportFormat.PUBLIC: Layout(PurePosixPath(), PurePosixPath()),
    ExportFormat.SPARK_SERVER: VENDOR,
    ExportFormat.BREWSKEY: BREWSKEY,
    ExportFormat.BREWSKEY_DATABASE: BREWSKEY,
}


class NewFile(NamedTuple):
    """A file to be written."""

    path: PurePosixPath
    """From the folder of the export on."""
    content: bytes
    is_private: bool = False
    is_start: bool = False
    """The program that the file is for goes on writing it: one that is there already stays, whatever it holds."""


@dataclass(frozen=True)
class ExportReport:
    """What an export did."""

    devices: int
    """Devices that were exported, those with a public key only included."""
    written: int
    """Files made."""
    unchanged: int
    """Files that were there already, with the same content or continued by the server."""
    has_server_key: bool
    """Whether the server's private key is among the files."""


def export_fleet(
    store: FleetStore,
    directory: Path,
    form: ExportFormat = ExportFormat.PUBLIC,
    *,
    address: ServerAddress | None = None,
    progress: Progress | None = None,
) -> ExportReport:
    """Write a fleet.

    Args:
        store: the fleet.
        directory: made when missing.
        form: the format.
        address: of the server, for the server key file of particle-cli.
        progress: called now and then with (devices done, devices).

    Raises:
        UsageError: a file is there with other content, or cannot be written.
    """
    _make_folder(directory)
    first = [*server_files(store, form, address)]
    written = sum(_write(directory, file) for file in first)
    total, files, done = store.devices + store.public_only_devices, len(first), 0
    if form is ExportFormat.BREWSKEY_DATABASE:
        written += _write_database(store, directory / BREWSKEY_DATABASE)
        files, done = files + 1, total
    else:
        for file in attribute_files(store, form):  # before the start of such a file, which then is not written
            written += _write(directory, file)
            files += form is ExportFormat.SPARK_SERVER  # Brewskey's: one of each device's own files
        for device in device_files(store, form):
            written += sum(_write(directory, file) for file in device)
            files, done = files + len(device), done + 1
            if progress is not None and done % _PROGRESS_EVERY == 0:
                progress(done, total)
    if progress is not None:
        progress(done, done)
    has_server_key = any(file.path.name == SERVER_KEY_FILE for file in first)
    return ExportReport(done, written, files - written, has_server_key)


def device_files(store: FleetStore, form: ExportFormat) -> Iterator[list[NewFile]]:
    """The files of every device, a device at a time."""
    make = _MAKERS[form]
    for identity in store.identities():
        yield make(form, identity)
    if form is not ExportFormat.DER:
        for device_id, public_key in store.public_only():
            yield _known_files(form, device_id.hex(), public_key)


def attribute_files(store: FleetStore, form: ExportFormat) -> Iterator[NewFile]:
    """The attributes that a server kept for devices, where the format has them."""
    if form in (ExportFormat.SPARK_SERVER, ExportFormat.BREWSKEY):
        for device_id, content in store.attributes():
            yield NewFile(_LAYOUTS[form].device_keys / f"{device_id.hex()}.json", content)


def server_files(store: FleetStore, form: ExportFormat, address: ServerAddress | None) -> Iterator[NewFile]:
    """The files about the server's own key, as far as the fleet knows it."""
    public = store.server_public_key
    if public is None or form in (ExportFormat.PUBLIC, ExportFormat.DER):
        return
    if form is ExportFormat.PARTICLE_CLI:
        stem = SERVER_PUBLIC_KEY_FILE.removesuffix(".pem")
        yield NewFile(PurePosixPath(SERVER_PUBLIC_KEY_FILE), public_key_pem(public))
        yield NewFile(PurePosixPath(f"{stem}.der"), public)
        if address is not None:
            yield NewFile(PurePosixPath(server_key_file_name(stem, address)), server_key_file(public, address))
        return
    folder = _LAYOUTS[form].server_keys
    yield NewFile(folder / SERVER_PUBLIC_KEY_FILE, public_key_pem(public))
    if store.server_key_der is not None:
        yield NewFile(folder / SERVER_KEY_FILE, private_key_pem(store.server_key_der), is_private=True)


def write_new_file(path: Path, content: bytes, *, is_private: bool = False) -> bool:
    """Write a file; True if that made it, False if it was there already with this content (in PEM, of any line ends).

    Raises:
        UsageError: the file is there with other content, or cannot be written.
    """
    try:
        descriptor = _open_new(path, _PRIVATE_MODE if is_private else _PUBLIC_MODE)
    except FileExistsError:
        if _is_same(path, content):
            return False
        raise _differs(path) from None
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
    except BaseException as error:
        path.unlink(missing_ok=True)  # no half file stays behind
        if isinstance(error, OSError):
            raise _unwritable(path, error) from None
        raise
    return True


def _write(directory: Path, file: NewFile) -> bool:
    path = directory / file.path
    if file.is_start and path.is_file():
        return False
    return write_new_file(path, file.content, is_private=file.is_private)


def _private_files(form: ExportFormat, identity: Identity) -> list[NewFile]:
    name = identity.hex_id
    return [
        NewFile(PurePosixPath(f"{name}.pem"), private_key_pem(identity.private_key_der), is_private=True),
        _public_file(form, name, identity.public_key),
        *_der_file(form, identity),
    ]


def _der_file(_form: ExportFormat, identity: Identity) -> list[NewFile]:
    return [NewFile(PurePosixPath(f"{identity.hex_id}.der"), identity.private_key_der, is_private=True)]


def _public_files(form: ExportFormat, identity: Identity) -> list[NewFile]:
    return _known_files(form, identity.hex_id, identity.public_key)


def _known_files(form: ExportFormat, hex_id: str, public_key: bytes) -> list[NewFile]:
    """What a server has of a device."""
    files = [_public_file(form, hex_id, public_key)]
    if form is ExportFormat.BREWSKEY:
        path = _LAYOUTS[form].device_keys / f"{hex_id}.json"
        files.append(NewFile(path, new_attributes(hex_id), is_start=True))
    return files


def _public_file(form: ExportFormat, hex_id: str, public_key: bytes) -> NewFile:
    folder = _LAYOUTS[form].device_keys if form in _LAYOUTS else PurePosixPath()
    return NewFile(folder / f"{hex_id}.pub.pem", public_key_pem(public_key))


_MAKERS: Final[dict[ExportFormat, Callable[[ExportFormat, Identity], list[NewFile]]]] = {
    ExportFormat.PUBLIC: _public_files,
    ExportFormat.PARTICLE_CLI: _private_files,
    ExportFormat.DER: _der_file,
    ExportFormat.SPARK_SERVER: _public_files,
    ExportFormat.BREWSKEY: _public_files,
}


def _write_database(store: FleetStore, path: Path) -> bool:
    """Write ``deviceKeys.db`` beside its place and put it there whole."""
    _make_folder(path.parent)
    known: Iterable[tuple[bytes, bytes]] = store.public_only()
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}-") as file:
            for identity in store.identities():
                file.write(database_line(identity.hex_id, public_key_pem(identity.public_key)))
            for device_id, public_key in known:
                file.write(database_line(device_id.hex(), public_key_pem(public_key)))
            file.flush()
            os.fchmod(file.fileno(), _PUBLIC_MODE)
            try:
                os.link(file.name, path)
            except FileExistsError:
                if path.is_file() and filecmp.cmp(file.name, path, shallow=False):
                    return False
                raise _differs(path) from None
    except OSError as error:
        raise _unwritable(path, error) from None
    return True


def _open_new(path: Path, mode: int) -> int:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        return os.open(path, flags, mode)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, flags, mode)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from None


def _is_same(path: Path, content: bytes) -> bool:
    with contextlib.suppress(OSError):
        there = path.read_bytes()
        return there == content or (is_pem(content) and there.split() == content.split())
    return False


def _differs(path: Path) -> UsageError:
    return UsageError(
        "the file exists and holds something else; it is not overwritten",
        where=str(path),
        remedy="Export to an empty folder, or move this file away.",
    )


def _unwritable(path: Path, error: OSError) -> UsageError:
    return UsageError(
        f"this cannot be written: {error.strerror}",
        where=str(path),
        remedy="Choose a folder that can be written to, on a disk with space.",
    )
