"""A fleet in one SQLite file: device ids, private keys, the server's key.

Strategy. The wanted numbers, all device ids and the server's key are written in the one transaction that
makes the store; the keys follow in batches. So a store is at any moment either whole or an unfinished one
that knows what it wants to become, and finishing it needs nothing but the keys that are missing. Device i
uses key i mod the number of keys. The file is made with mode 0600 before anything is in it; SQLite gives
its journal the same mode.
"""

from __future__ import annotations

import os
import random
import secrets
import sqlite3
import stat
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Final, Self

from loadgen.errors import LocalResourceError, UsageError
from loadgen.fleet.identity import Identity, public_key_of
from loadgen.fleet.keyfiles import new_server_key, public_half
from loadgen.protocol.wire import DEVICE_ID_SIZE, is_server_spki

APPLICATION_ID: Final = 0x4C474654  # "LGFT"
"""Marks the file as a fleet (SQLite's ``application_id``)."""
SCHEMA_VERSION: Final = 1
"""SQLite's ``user_version``."""
FILE_MODE: Final = 0o600

_BUSY_S: Final = 30.0
_SCHEMA: Final = f"""
CREATE TABLE fleet (
    devices INTEGER NOT NULL,
    keys INTEGER NOT NULL,
    server_key BLOB,
    server_public_key BLOB
); CREATE TABLE device (number INTEGER PRIMARY KEY, id BLOB NOT NULL UNIQUE CHECK (length(id) = {DEVICE_ID_SIZE}));
CREATE TABLE device_key (number INTEGER PRIMARY KEY, private_der BLOB NOT NULL);
CREATE TABLE known (id BLOB PRIMARY KEY, public_key BLOB, attributes BLOB) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""


class FleetExistsError(UsageError):
    """The file is there already; it is never overwritten (exit 2)."""


class FleetStore:
    """An open fleet. Use as a context manager, or :meth:`close` it; for one thread."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Made by :meth:`create` and :meth:`open` only."""
        self.path = path
        self._connection = connection
        row = connection.execute("SELECT devices, keys, server_key, server_public_key FROM fleet").fetchone()
        if row is None:
            raise sqlite3.DatabaseError("the fleet has no description")
        self.devices: int = row[0]
        """Devices of the fleet."""
        self.key_count: int = row[1]
        """Keys that are stored: device i has key i mod their number. Unevenly shared ones are stored as copies."""
        self.server_key_der: bytes | None = row[2]
        """PKCS#1 private key of an own cloud; None if the fleet belongs to a real cloud or to none."""
        self.server_public_key: bytes | None = row[3]
        """294-byte SubjectPublicKeyInfo that the devices trust; None if none is set."""

    # --- opening and making

    @classmethod
    def create(
        cls,
        path: Path,
        *,
        devices: int,
        keys: int,
        server_public_key: bytes | None = None,
        server_key_der: bytes | None = None,
        ids: Iterable[bytes] | None = None,
        seed: int | None = None,
    ) -> Self:
        """Make an unfinished fleet: everything but the devices' keys.

        Args:
            path: must not exist, or be empty.
            devices: how many; their ids are random and distinct.
            keys: distinct keys, from 1 to ``devices``.
            server_public_key: of a real cloud (294 bytes); by default a key pair for an own cloud is made.
            server_key_der: private key of an own cloud (PKCS#1), instead of a new one.
            ids: the devices' ids, ``devices`` of them and distinct; by default new ones. With ids, there may be none.
            seed: makes the ids repeatable, for tests. Keys never are.

        Raises:
            UsageError: impossible numbers, or the file cannot be made.
            FleetExistsError: something is there.
        """
        if not (1 if ids is None else 0) <= keys <= devices:
            raise UsageError(
                f"{devices} devices with {keys} keys are impossible",
                where=str(path),
                remedy="Ask for at least one key, and for no more keys than devices.",
            )
        _check_free(path)
        server_key = server_key_der
        if server_key is None and server_public_key is None:
            server_key = new_server_key()
        public = server_public_key if server_key is None else public_half(server_key)
        _make_private_file(path)
        connection = _connect(path)
        try:
            connection.execute("BEGIN IMMEDIATE")  # of two programs at once, one makes the fleet
            if connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                raise _exists(path)
            for statement in _SCHEMA.split(";"):
                connection.execute(statement)
            connection.execute("INSERT INTO fleet VALUES (?, ?, ?, ?)", (devices, keys, server_key, public))
            wanted = _new_ids(devices, seed) if ids is None else ids
            connection.executemany("INSERT INTO device VALUES (?, ?)", enumerate(wanted))
            connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            connection.close()
            raise _write_error(path, error) from None
        except BaseException:
            connection.close()  # rolls back: what stays is an empty file, which a new attempt takes
            raise
        return cls(path, connection)

    @classmethod
    def open(cls, path: Path, *, allow_unfinished: bool = False) -> Self:
        """Open a fleet.

        Raises:
            UsageError: missing, unreadable, no fleet, damaged, of a newer loadgen, or unfinished and not
            allowed to be.
        """
        _check_file(path)
        connection = _connect(path)
        try:
            _check_is_fleet(path, connection)
            store = cls(path, connection)
            store._check_whole()
        except sqlite3.DatabaseError as error:
            connection.close()
            raise _damaged(path, error) from None
        except BaseException:
            connection.close()
            raise
        if not allow_unfinished and not store.complete:
            present = store.keys_present
            store.close()
            raise UsageError(
                f"the fleet is unfinished: {present} of {store.key_count} keys are made",
                where=str(path),
                remedy=f"Finish it with: {store.command}",
            )
        return store

    def close(self) -> None:
        """Close the file. May be called again."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- reading

    @property
    def command(self) -> str:
        """The command line that makes or finishes this fleet."""
        return f"loadgen fleet generate --fleet {self.path} --devices {self.devices} --keys {self.key_count}"

    @property
    def keys_present(self) -> int:
        """Keys that are made by now."""
        return int(self._connection.execute("SELECT count(*) FROM device_key").fetchone()[0])

    @property
    def distinct_keys(self) -> int:
        """Different keys of the fleet, those included that are still to be made; several devices may share one."""
        (copies,) = self._connection.execute("SELECT count(*) - count(DISTINCT private_der) FROM device_key").fetchone()
        return self.key_count - int(copies)

    @property
    def complete(self) -> bool:
        """Whether every key is made."""
        return self.keys_present == self.key_count

    def missing_keys(self) -> list[int]:
        """Numbers of the keys that are still to be made, ascending."""
        present = {number for (number,) in self._connection.execute("SELECT number FROM device_key")}
        return [number for number in range(self.key_count) if number not in present]

    def keys(self) -> Iterator[bytes]:
        """Every private key that is made, PKCS#1 DER, in the order of their numbers."""
        for _, der in self._key_rows():
            yield der

    def identities(self, offset: int = 0, step: int = 1, limit: int | None = None) -> Iterator[Identity]:
        """The devices number ``offset``, ``offset + step``, … in that order, at most ``limit`` of them.

        So worker w of W takes ``identities(w, W)``, and the workers together have every device once.

        Raises:
            UsageError: the store is damaged or unfinished.
        """
        if offset < 0 or step < 1:
            raise ValueError("identities start at 0 or above and go forward")
        numbers = range(offset, self.devices, step)[:limit]
        try:
            keys = self._keys_of(numbers)
            rows = self._connection.execute(
                "SELECT number, id FROM device WHERE number >= ? AND number < ? AND (number - ?) % ? = 0"
                " ORDER BY number",
                (numbers.start, numbers.stop, offset, step),
            )
            for number, device_id in rows:
                der, public_key = keys[number % self.key_count]
                yield Identity(device_id, der, public_key)
        except (sqlite3.DatabaseError, KeyError, ValueError) as error:
            raise _damaged(self.path, error) from None

    def device_ids(self, numbers: Iterable[int]) -> list[bytes]:
        """The ids of the devices with these numbers, in their order.

        Raises:
            UsageError: the store is damaged.
        """
        query = "SELECT id FROM device WHERE number = ?"
        try:
            return [self._connection.execute(query, (number,)).fetchone()[0] for number in numbers]
        except (sqlite3.DatabaseError, TypeError) as error:
            raise _damaged(self.path, error) from None

    def number_of(self, device_id: bytes) -> int | None:
        """The number of the device with this id; None where there is none.

        Raises:
            UsageError: the store is damaged.
        """
        try:
            found = self._connection.execute("SELECT number FROM device WHERE id = ?", (device_id,)).fetchone()
        except sqlite3.DatabaseError as error:
            raise _damaged(self.path, error) from None
        return None if found is None else int(found[0])

    def _keys_of(self, numbers: range) -> dict[int, tuple[bytes, bytes]]:
        """Key number → (private, public) for the devices ``numbers``."""
        if len(numbers) >= self.key_count:
            return {number: (der, public_key_of(der)) for number, der in self._key_rows()}
        wanted = {number % self.key_count for number in numbers}
        return {number: (der, public_key_of(der)) for number, der in self._key_rows() if number in wanted}

    def _key_rows(self) -> Iterator[tuple[int, bytes]]:
        yield from self._connection.execute("SELECT number, private_der FROM device_key ORDER BY number")

    @property
    def has_known(self) -> bool:
        """Whether the store can hold what is known beside the devices; stores of before cannot."""
        found = self._connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'known'").fetchone()
        return bool(found[0])

    def public_only(self) -> Iterator[tuple[bytes, bytes]]:
        """(device id, public key of 162 bytes) of devices that can be registered with a cloud and not be played."""
        if self.has_known:
            yield from self._connection.execute(
                "SELECT id, public_key FROM known WHERE public_key IS NOT NULL ORDER BY id"
            )

    def attributes(self) -> Iterator[tuple[bytes, bytes]]:
        """(device id, content) of the attribute files that servers kept for devices."""
        if self.has_known:
            yield from self._connection.execute(
                "SELECT id, attributes FROM known WHERE attributes IS NOT NULL ORDER BY id"
            )

    @property
    def public_only_devices(self) -> int:
        """How many :meth:`public_only` has."""
        return sum(1 for _ in self.public_only())

    def device_keys(self) -> Iterator[tuple[bytes, bytes]]:
        """(device id, PKCS#1 DER) of every device, in the order of their ids."""
        yield from self._connection.execute(
            "SELECT id, private_der FROM device JOIN device_key ON device_key.number = device.number % ? ORDER BY id",
            (max(self.key_count, 1),),
        )

    # --- writing

    def add_known(self, rows: Iterable[tuple[bytes, bytes | None, bytes | None]]) -> None:
        """Add (device id, public key or None, attributes or None); a later one completes an earlier one.

        Raises:
            LocalResourceError: the disk is full or fails.
        """
        self._in_transaction(
            "INSERT INTO known VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET"
            " public_key = coalesce(excluded.public_key, public_key),"
            " attributes = coalesce(excluded.attributes, attributes)",
            rows,
        )

    def add_keys(self, keys: Iterable[tuple[int, bytes]]) -> None:
        """Add (number, PKCS#1 DER) pairs in one transaction. A number that is there keeps its key.

        Raises:
            LocalResourceError: the disk is full or fails.
        """
        self._in_transaction("INSERT OR IGNORE INTO device_key VALUES (?, ?)", keys)

    def _in_transaction(self, statement: str, rows: Iterable[tuple[object, ...]]) -> None:
        try:
            with closing(self._connection.cursor()) as cursor:
                cursor.execute("BEGIN IMMEDIATE")
                try:
                    cursor.executemany(statement, rows)
                    cursor.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        cursor.execute("ROLLBACK")
                    raise
        except sqlite3.DatabaseError as error:
            raise _write_error(self.path, error) from None

    def set_server_public_key(self, spki: bytes) -> None:
        """Make the devices trust the real cloud with this public key (294 bytes).

        Raises:
            UsageError: the store has the key pair of an own cloud, which is never thrown away.
            ValueError: not the SubjectPublicKeyInfo of an RSA-2048 key with e = 65537.
        """
        if not is_server_spki(spki):
            raise ValueError("not the SubjectPublicKeyInfo of an RSA-2048 key with e = 65537")
        if spki == self.server_public_key:
            return
        if self.server_key_der is not None:
            raise UsageError(
                "the fleet has the key pair of its own cloud, which is not overwritten",
                where=str(self.path),
                remedy="Give the other cloud's key with --server-key at each run, or make another fleet.",
            )
        try:
            self._connection.execute("UPDATE fleet SET server_public_key = ?", (spki,))
        except sqlite3.DatabaseError as error:
            raise _write_error(self.path, error) from None
        self.server_public_key = spki

    def _check_whole(self) -> None:
        """Raise sqlite3.DatabaseError where pages are damaged or rows are missing."""
        (verdict,) = self._connection.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        (devices,) = self._connection.execute("SELECT count(*) FROM device").fetchone()
        if devices != self.devices or self.keys_present > self.key_count:
            raise sqlite3.DatabaseError("devices or keys are missing")


_OTHER_FILE: Final = "Choose another file with --fleet, or move this one away."


def _new_ids(count: int, seed: int | None) -> list[bytes]:
    """``count`` distinct random device ids."""
    random_bytes = secrets.token_bytes if seed is None else random.Random(seed).randbytes  # noqa: S311  # ids
    ids: dict[bytes, None] = {}
    while len(ids) < count:
        ids[random_bytes(DEVICE_ID_SIZE)] = None
    return list(ids)


def _check_free(path: Path) -> None:
    """Raise FleetExistsError unless nothing is there, or the empty file that an interrupted attempt left."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from None
    if not stat.S_ISREG(status.st_mode) or status.st_size:
        raise _exists(path)


def _make_private_file(path: Path) -> None:
    """Make the empty file with mode 0600, or take the empty one that is there."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, FILE_MODE))
    except FileExistsError:
        if path.is_dir() or not path.is_file():  # the parent is a file, or something came in between
            raise _exists(path) from None
        path.chmod(FILE_MODE)
    except OSError as error:
        raise _unwritable(path, error.strerror or str(error)) from None


def _connect(path: Path) -> sqlite3.Connection:
    """Open without ever making a file; transactions are begun and ended by hand."""
    try:
        return sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=_BUSY_S, isolation_level=None)
    except sqlite3.OperationalError as error:
        raise _unwritable(path, str(error)) from None


def _check_file(path: Path) -> None:
    """Raise UsageError unless ``path`` is a file that can be read."""
    try:
        status = path.stat()
        if stat.S_ISREG(status.st_mode):
            with path.open("rb"):
                pass
    except FileNotFoundError:
        raise UsageError(
            "there is no such fleet", where=str(path), remedy="Make one with: loadgen fleet generate"
        ) from None
    except OSError as error:
        raise UsageError(
            f"the fleet cannot be read: {error.strerror}",
            where=str(path),
            remedy="Give the file of a fleet that you may read.",
        ) from None
    if not stat.S_ISREG(status.st_mode):
        raise UsageError("this is no file", where=str(path), remedy="Give the file of a fleet.")
    if status.st_size == 0:
        raise UsageError(
            "the fleet is empty: its making was interrupted",
            where=str(path),
            remedy="Make it again with: loadgen fleet generate",
        )


def _check_is_fleet(path: Path, connection: sqlite3.Connection) -> None:
    try:
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            application = version = None
        else:
            raise
    if application != APPLICATION_ID:
        raise UsageError("this is no fleet of loadgen", where=str(path), remedy=_OTHER_FILE)
    if version != SCHEMA_VERSION:
        raise UsageError(
            f"this fleet has the format {version}; this loadgen reads {SCHEMA_VERSION}",
            where=str(path),
            remedy="Use the loadgen that made it, or make a new fleet.",
        )


def _exists(path: Path) -> FleetExistsError:
    return FleetExistsError("the file exists already and is not overwritten", where=str(path), remedy=_OTHER_FILE)


def _damaged(path: Path, error: Exception) -> UsageError:
    return UsageError(
        f"the fleet is damaged: {error}",
        where=str(path),
        remedy="Move the file away and make the fleet again, or take it from a backup.",
    )


def _unwritable(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"this cannot be written: {reason}",
        where=str(path),
        remedy="Choose a folder that can be written to, on a disk with space.",
    )


def _write_error(path: Path, error: sqlite3.DatabaseError) -> LocalResourceError:
    return LocalResourceError(
        f"writing the fleet failed: {error}",
        where=str(path),
        remedy="What is written stays usable; make space and run the same command again to go on.",
    )
