"""The index of a results folder: what a history shows of each record, in one SQLite file beside the records.

The records are the truth. The index holds what was read from them, with the size and time of the file it was read
from, and is brought up to date each time it is opened: only files that are new or have changed are read. It can be
deleted at any time, and one of another version, a damaged one, or one that cannot be written is replaced or done
without. A record that is still being written is looked at, and never kept.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

import msgspec

from loadgen.analysis.cryptovalues import values_of_crypto
from loadgen.analysis.runvalues import values_of_record
from loadgen.analysis.trend import HistoryRow, row_of
from loadgen.cryptostore import CRYPTO_FILE, load_crypto_record
from loadgen.errors import UsageError
from loadgen.store import RUN_FILE, load_record

INDEX_FILE: Final = ".history.sqlite"
LOCK_WAIT_S: Final = 5.0
"""How long another process may hold the file before it is done without."""
_VERSION: Final = 1
"""Of the table and of :class:`HistoryRow`; another one is made anew."""

_TABLE: Final = """
CREATE TABLE records (
    folder TEXT PRIMARY KEY, size INTEGER, mtime_ns INTEGER, inode INTEGER,
    scenario TEXT, machine TEXT, label TEXT, started_at TEXT, problem TEXT, row BLOB
) WITHOUT ROWID
"""
_ORDER: Final = "CREATE INDEX groups ON records (scenario, machine, started_at, folder)"

_Stamp: TypeAlias = tuple[int, int, int]
"""Size, time of the last change in ns, and inode of a record's file."""


class _Head(msgspec.Struct):
    """As much of a record as says whether it is finished."""

    status: str = ""


class Group(msgspec.Struct, frozen=True):
    """The runs of one scenario on one machine.

    Attributes:
        scenario: its name.
        machine: 8 hexadecimal digits.
        total: number of runs.
    """

    scenario: str
    machine: str
    total: int


@dataclass(slots=True)
class Refreshed:
    """What bringing the index up to date has found."""

    read: int = 0
    """Records that were new or had changed."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """Folders whose record cannot be read, and why."""
    running: list[str] = field(default_factory=list)
    """Folders of records that are not finished: the run goes on, or it was killed."""
    in_memory: bool = False
    """The folder cannot be written: everything was read anew, and will be the next time."""


class HistoryIndex:
    """The index of one results folder.

    Args:
        results: the folder.
        rebuild: forget what the index holds.

    Raises:
        UsageError: the folder does not exist or cannot be read.
    """

    def __init__(self, results: Path, *, rebuild: bool = False) -> None:
        self._results = results
        self._in_memory = False
        if not results.is_dir():
            raise UsageError(
                "there is no such folder", where=str(results), remedy="`loadgen run` makes it; or name it by --results."
            )
        self._database = self._open(rebuild)

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def refresh(self, progress: Callable[[int, int], None] | None = None) -> Refreshed:
        """Bring the index up to date with the folder.

        Args:
            progress: is called with how many records of how many have been read.

        Raises:
            UsageError: the folder cannot be read.
        """
        try:
            return self._refresh(progress)
        except sqlite3.OperationalError:  # the disk is full, or another process holds the file
            self._do_without()
            return self._refresh(progress)

    def _refresh(self, progress: Callable[[int, int], None] | None) -> Refreshed:
        found = Refreshed(in_memory=self._in_memory)
        there = self._files()
        known = {row[0]: tuple(row[1:4]) for row in self._database.execute(_KNOWN)}
        self._database.execute("BEGIN IMMEDIATE")
        with self._database:
            gone = [(folder,) for folder in known if folder not in there]
            self._database.executemany("DELETE FROM records WHERE folder = ?", gone)
            changed = [folder for folder, (_, stamp) in there.items() if known.get(folder) != stamp]
            for number, folder in enumerate(changed, start=1):
                self._read(folder, *there[folder], found)
                if progress is not None:
                    progress(number, len(changed))
        for folder, problem in self._database.execute("SELECT folder, problem FROM records WHERE row IS NULL"):
            found.unreadable[folder] = problem
        return found

    def groups(self, scenario: str | None = None, labels: Sequence[str] = ()) -> list[Group]:
        """Which histories there are, by name of the scenario; the machine of the newest run first.

        Args:
            scenario: only this one.
            labels: only runs with one of these labels.
        """
        where, values = _condition(scenario, None, labels)
        query = (
            f"SELECT scenario, machine, count(*) FROM records WHERE {where} "  # noqa: S608 - made of constants
            "GROUP BY scenario, machine ORDER BY scenario, max(started_at) DESC"
        )
        return [Group(*row) for row in self._database.execute(query, values)]

    def rows(self, group: Group, labels: Sequence[str] = (), limit: int | None = None) -> list[HistoryRow]:
        """Runs of a group, the oldest first.

        Args:
            group: one of :meth:`groups`.
            labels: only runs with one of these labels.
            limit: the newest so many; None gives all.
        """
        where, values = _condition(group.scenario, group.machine, labels)
        query = (
            f"SELECT row FROM records WHERE {where} "  # noqa: S608 - made of constants
            "ORDER BY started_at DESC, folder DESC LIMIT ?"
        )
        found = self._database.execute(query, [*values, -1 if limit is None else limit])
        decode = msgspec.msgpack.Decoder(HistoryRow).decode
        return [decode(row) for (row,) in found][::-1]

    def labels(self) -> list[str]:
        """Every label that a run has."""
        query = "SELECT DISTINCT label FROM records WHERE label IS NOT NULL ORDER BY label"
        return [label for (label,) in self._database.execute(query)]

    # --- reading

    def _files(self) -> dict[str, tuple[str, _Stamp]]:
        """Name of the record's file and its stamp, by folder."""
        found = {}
        try:
            with os.scandir(self._results) as entries:
                for entry in entries:
                    stamped = next(_stamps(entry.path), None)
                    if stamped is not None:
                        found[entry.name] = stamped
        except OSError as error:
            raise UsageError(f"the folder cannot be read: {error.strerror}", where=str(self._results)) from error
        return found

    def _read(self, folder: str, name: str, stamp: _Stamp, found: Refreshed) -> None:
        """Put what a record holds into the index, or why it holds nothing."""
        found.read += 1
        try:
            row = self._row(folder, name)
        except UsageError as error:
            self._put(folder, stamp, None, error.what)
            return
        if row is None:
            self._database.execute("DELETE FROM records WHERE folder = ?", (folder,))
            found.running.append(folder)
        else:
            self._put(folder, stamp, row, row.values.problem)

    def _row(self, folder: str, name: str) -> HistoryRow | None:
        """What a history needs of a record; None while it is running.

        Raises:
            UsageError: it cannot be read.
        """
        path = self._results / folder
        if name == CRYPTO_FILE:
            benchmark = load_crypto_record(path)
            return row_of(folder, benchmark.status, values_of_crypto(benchmark, folder))
        with suppress(OSError, msgspec.MsgspecError):  # load_record says what is wrong
            if msgspec.json.decode((path / name).read_bytes(), type=_Head).status == "running":
                return None
        record = load_record(path)
        return row_of(folder, record.status, values_of_record(record, folder))

    def _put(self, folder: str, stamp: _Stamp, row: HistoryRow | None, problem: str) -> None:
        columns: list[object] = [None, None, None, None, problem, None]
        if row is not None:
            values = row.values
            encoded = msgspec.msgpack.encode(row)
            columns = [row.scenario, row.machine, values.label, values.started_at, problem, encoded]
        self._database.execute("REPLACE INTO records VALUES (?,?,?,?,?,?,?,?,?,?)", (folder, *stamp, *columns))

    # --- the file

    def _open(self, rebuild: bool) -> sqlite3.Connection:
        path = self._results / INDEX_FILE
        for _ in range(2):
            try:
                return _opened(path, rebuild=rebuild)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    break  # it cannot be made, written, or another process holds it
                rebuild = True
                with suppress(OSError):
                    path.unlink()
        self._in_memory = True
        return _opened(None, rebuild=True)

    def _do_without(self) -> None:
        self._database.close()
        self._in_memory = True
        self._database = _opened(None, rebuild=True)


_KNOWN: Final = "SELECT folder, size, mtime_ns, inode FROM records"


def _opened(path: Path | None, *, rebuild: bool) -> sqlite3.Connection:
    """A connection whose table is of this version."""
    database = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=LOCK_WAIT_S)
    try:
        database.execute("PRAGMA synchronous = OFF")  # what is lost is read again
        database.execute("BEGIN IMMEDIATE")
        with database:
            (version,) = database.execute("PRAGMA user_version").fetchone()
            if rebuild or version != _VERSION:
                database.execute("DROP TABLE IF EXISTS records")
                database.execute(_TABLE)
                database.execute(_ORDER)
                database.execute(f"PRAGMA user_version = {_VERSION}")
            database.execute(_KNOWN + " LIMIT 1").fetchone()
    except sqlite3.Error:
        database.close()
        raise
    return database


def _stamps(folder: str) -> Iterator[tuple[str, _Stamp]]:
    """Files of records in a folder, the first of which counts."""
    for name in (RUN_FILE, CRYPTO_FILE):
        with suppress(OSError):
            facts = os.stat(f"{folder}/{name}")  # noqa: PTH116 - ten thousand of them
            yield name, (facts.st_size, facts.st_mtime_ns, facts.st_ino)


def _condition(scenario: str | None, machine: str | None, labels: Sequence[str]) -> tuple[str, list[str]]:
    """A condition of SQL and its values."""
    parts, values = ["row IS NOT NULL"], list(labels)
    if labels:
        parts.append(f"label IN ({','.join('?' * len(labels))})")
    for column, value in (("scenario", scenario), ("machine", machine)):
        if value is not None:
            parts.append(f"{column} = ?")
            values.append(value)
    return " AND ".join(parts), values
