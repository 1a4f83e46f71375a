"""Everything that some key files say about devices, put together and compared.

Strategy. Files come in any order and number, so what they say is staged in an SQLite file without a name, which lies
on disk when it grows: a row a device, with the private and the public key and where each came from. A file is compared
with its device's row when it is read. Of what contradicts itself nothing is chosen: a device with two keys has none.
"""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from loadgen.errors import UsageError
from loadgen.fleet.address import ServerAddress
from loadgen.fleet.dct import identity_from_dct, read_dump
from loadgen.fleet.findings import Code, Finding, Findings, Level
from loadgen.fleet.judge import (
    DEVICE_BITS,
    Judge,
    device_public_key,
    is_playable,
    server_address,
    server_public_key,
)
from loadgen.fleet.keydata import KeyDataError, RsaKey, read_key
from loadgen.fleet.names import FileName, Role, read_name
from loadgen.fleet.scan import FileProblem, FoundFile, find_files, read_small_file
from loadgen.fleet.spark_server import attributes_problem, new_attributes, read_database

_PROGRESS_EVERY: Final = 100
_SERVER_FOLDERS: Final = frozenset({"core_keys", "deviceKeys"})
_NUMBER_KEYS: Final = """
DELETE FROM numbered;
INSERT INTO numbered SELECT private, n, row_number() OVER (ORDER BY n DESC, first) - 1
    FROM (SELECT private, count(*) AS n, min(id) AS first FROM playable GROUP BY private);
"""
_SCHEMA: Final = """
CREATE TABLE key (id BLOB PRIMARY KEY, public BLOB NOT NULL, private BLOB, private_path TEXT, public_path TEXT,
    is_contradictory INTEGER NOT NULL DEFAULT 0);
CREATE TABLE attributes (id BLOB PRIMARY KEY, content BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE document (id TEXT PRIMARY KEY, device_id BLOB NOT NULL, pem BLOB NOT NULL, line INTEGER NOT NULL);
CREATE VIEW playable AS SELECT id, public, private FROM key WHERE private IS NOT NULL AND NOT is_contradictory;
CREATE VIEW public_only AS SELECT id, public FROM key WHERE private IS NULL AND NOT is_contradictory;
CREATE TABLE numbered (private BLOB PRIMARY KEY, n INTEGER NOT NULL, number INTEGER NOT NULL);
CREATE VIEW arranged AS SELECT id, row_number() OVER (PARTITION BY number ORDER BY id) AS turn, number
    FROM playable CROSS JOIN numbered USING (private);
"""

ScanProgress = Callable[[int, int | None], None]
"""Called with (files seen, None): how many there are is known at the end only."""


class SourceFormat(StrEnum):
    """What a folder of keys can be."""

    PARTICLE_CLI = "particle-cli"
    DER = "der"
    SPARK_SERVER = "spark-server"
    BREWSKEY = "brewskey"
    DUMP = "dump"


_PUBLIC = {Role.PUBLIC_PEM, Role.ATTRIBUTES, Role.CANDIDATE, Role.NAMED_KEY}
_ROLES_OF: Final[dict[SourceFormat, set[Role]]] = {
    SourceFormat.PARTICLE_CLI: {
        Role.PRIVATE_PEM,
        Role.DER,
        Role.PUBLIC_PEM,
        Role.PUBLIC_DER,
        Role.BACKUP,
        Role.NAMED_KEY,
    },
    SourceFormat.DER: {Role.DER},
    SourceFormat.SPARK_SERVER: _PUBLIC,
    SourceFormat.BREWSKEY: _PUBLIC | {Role.DATABASE},
    SourceFormat.DUMP: {Role.DUMP},
}


@dataclass(slots=True)
class ServerFacts:
    """The server's key, as far as the files tell."""

    private_der: bytes | None = None
    public_key: bytes | None = None
    path: str | None = None
    address: ServerAddress | None = None


@dataclass(slots=True)
class Seen:
    """What was met on the way."""

    files: int = 0
    """Regular files of any kind."""
    roles: Counter[Role] = field(default_factory=Counter)
    ignored: int = 0
    """Files of names that have nothing to do with keys, or not with the format that was asked for."""
    folders: set[str] = field(default_factory=set)
    """Names of the folders that decide between servers."""


class Collection:
    """Reads key files and holds what they say. A context manager; :meth:`close` gives the disk space back.

    Args:
        findings: gets everything that is wrong or worth knowing.
        form: take only the files of this format; None for all.
    """

    def __init__(self, findings: Findings, form: SourceFormat | None = None) -> None:
        self.findings = findings
        self.seen = Seen()
        self.server = ServerFacts()
        self._roles = None if form is None else _ROLES_OF[form]
        self._connection = sqlite3.connect("", isolation_level=None)  # on disk once it is large, gone at the end
        self._connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;" + _SCHEMA)

    def close(self) -> None:
        """Forget everything."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- reading

    def add(self, sources: Iterable[Path], progress: ScanProgress | None = None) -> None:
        """Read the files of some folders, and some files.

        Raises:
            UsageError: a source is missing or cannot be read at all.
        """
        for found in find_files(list(sources), self.findings.add):
            self.seen.files += 1
            self._add_file(found)
            if progress is not None and self.seen.files % _PROGRESS_EVERY == 0:
                progress(self.seen.files, None)
        if progress is not None:
            progress(self.seen.files, None)
        self._report_shared_keys()

    def _add_file(self, found: FoundFile) -> None:
        name = read_name(found.name)
        if name.role is Role.OTHER and found.is_named_by_user:
            name = FileName(Role.NAMED_KEY)
        if name.role is Role.OTHER or (self._roles is not None and name.role not in self._roles):
            self.seen.ignored += 1
            return
        self.seen.roles[name.role] += 1
        self.seen.folders.update(_SERVER_FOLDERS.intersection(Path(found.path).parts[-2:-1]))
        judge = Judge(found.path, name.role, name.device_id)
        if name.role is Role.BACKUP:
            self.findings.add(judge.finding(Level.NOTE, Code.BACKUP, "this is a copy of the key before, and left out"))
            return
        if name.role is Role.DATABASE:
            self._add_database(found.path)
            return
        if name.role is Role.DUMP:
            self._add_dump(judge, name, found)
            return
        if name.spelling is not None and name.device_id is not None:
            remedy = f"Rename it to {name.device_id}{found.name[len(name.device_id) :]}."
            self.findings.add(judge.finding(Level.WARNING, Code.ID_SPELLING, name.spelling, remedy))
        try:
            data = read_small_file(found.path)
            if name.role is Role.ATTRIBUTES:
                self._add_attributes(judge, name, data)
            else:
                self._add_key(judge, name, found.path, data)
        except FileProblem as error:
            what = judge.finding(Level.ERROR, error.code, str(error), "Check the file and its permissions.")
            self.findings.add(what)
        except KeyDataError as error:
            self.findings.add(judge.refused(error))

    def _add_key(self, judge: Judge, name: FileName, path: str, data: bytes) -> None:
        key = read_key(data)
        if name.role is Role.CANDIDATE:
            what = "this key was presented by a device that the server did not know, and is left out"
            remedy = f"Rename it to {name.device_id}.pub.pem to admit the device."
            self.findings.add(judge.finding(Level.WARNING, Code.CANDIDATE, what, remedy))
        elif name.device_id is not None:
            for finding in judge.device_key(key, data):
                self.findings.add(finding)
            self._add_device(judge, name, path, key)
        elif key.bits == DEVICE_BITS or name.spelling is not None:
            what = name.spelling or "this looks like a device's key, and the file's name has no device id"
            remedy = "Rename it to the device's id, 24 hexadecimal digits, with the ending that it has."
            self.findings.add(judge.finding(Level.ERROR, Code.NO_ID, what, remedy))
        else:
            for finding in judge.server_key(key, data):
                self.findings.add(finding)
            self._add_server(judge, path, key, data)

    def _add_dump(self, judge: Judge, name: FileName, found: FoundFile) -> None:
        """The device of a flash dump, and the server's key and address that it has."""
        wanted = None if name.device_id is None else bytes.fromhex(name.device_id)
        try:
            dump = identity_from_dct(read_dump(Path(found.path)), device_id=wanted)
        except UsageError as error:  # in a folder of firmware such files are no fault
            level = Level.ERROR if wanted or found.is_named_by_user else Level.NOTE
            self.findings.add(judge.finding(level, Code.DUMP, error.what, error.remedy or ""))
            return
        for trouble in dump.troubles:
            what = f"{trouble.what}, at {trouble.offset}" if trouble.offset is not None else trouble.what
            self.findings.add(judge.finding(trouble.level, Code.DUMP, what, trouble.remedy))
        dct, identity = dump.dct, dump.identity
        if wanted and dct.device_id not in (None, wanted):
            what = f"the dump has the id {dct.device_id.hex()}, not the one of its name, which is taken"
            self.findings.add(judge.finding(Level.WARNING, Code.DUMP, what, "Rename the file to the device's id."))
        if identity is not None:
            named = FileName(Role.DER, identity.hex_id)
            self._add_device(
                Judge(found.path, Role.DER, identity.hex_id), named, found.path, read_key(identity.private_key_der)
            )
        if dct.server_key is not None:
            self._add_server(judge, found.path, read_key(dct.server_key), dct.server_area + dct.address_record)

    def _add_device(self, judge: Judge, name: FileName, path: str, key: RsaKey) -> None:
        """Put a device's key into its row, and compare it with what is there."""
        assert name.device_id is not None
        device_id, public = bytes.fromhex(name.device_id), device_public_key(key)
        if public is None:
            return
        row = self._connection.execute(
            "SELECT public, private, private_path, public_path FROM key WHERE id = ?", (device_id,)
        ).fetchone()
        private = key.private_der if is_playable(key) else None
        if row is None:
            values = (device_id, public, private, *((None, path) if private is None else (path, None)))
            self._connection.execute(
                "INSERT INTO key (id, public, private, private_path, public_path) VALUES (?, ?, ?, ?, ?)", values
            )
            return
        known, known_private, *paths = row
        other = paths[0] or paths[1]
        if known != public:
            self._report_contradiction(judge, device_id, private, known_private, other)
        if private is None and paths[1] is None:
            self._connection.execute("UPDATE key SET public_path = ? WHERE id = ?", (path, device_id))
        elif private is not None and (known_private is None or (known == public and name.role is Role.DER)):
            statement = "UPDATE key SET public = ?, private = ?, private_path = ? WHERE id = ?"  # DER is what it holds
            self._connection.execute(statement, (public, private, path, device_id))

    def _report_contradiction(
        self, judge: Judge, device_id: bytes, private: bytes | None, known_private: bytes | None, other: str
    ) -> None:
        if (private is None) is not (known_private is None):
            what = f"the public and the private key of this device do not belong together; the other is in {other}"
            remedy = (
                "Make the public key again: openssl rsa -in PRIVATE -pubout -out PUBLIC, and teach it to the server."
            )
            self.findings.add(judge.finding(Level.ERROR, Code.PAIR_MISMATCH, what, remedy))
            return
        what = f"there is another key for the same device in {other}; the device is left out"
        remedy = "Keep the key that is in the device, and move the other away."
        self.findings.add(judge.finding(Level.ERROR, Code.DUPLICATE_ID, what, remedy))
        self._connection.execute("UPDATE key SET is_contradictory = 1 WHERE id = ?", (device_id,))

    def _add_server(self, judge: Judge, path: str, key: RsaKey, data: bytes) -> None:
        public, server = server_public_key(key), self.server
        if public is None:
            return
        if server.public_key not in (None, public):
            what = f"this is another server key than the one in {server.path}, which is taken"
            remedy = "Name the files of one server only, or rename this one."
            self.findings.add(judge.finding(Level.WARNING, Code.SERVER_KEY, what, remedy))
            return
        server.public_key, server.path = public, server.path or path
        server.private_der = server.private_der or key.private_der
        server.address = server.address or server_address(data)

    def _add_attributes(self, judge: Judge, name: FileName, data: bytes) -> None:
        assert name.device_id is not None
        problem = attributes_problem(data, name.device_id)
        if problem is not None:
            what = judge.finding(
                Level.WARNING, Code.ATTRIBUTES, problem, "The key is not concerned; mend or remove the file."
            )
            self.findings.add(what)
            return
        if data == new_attributes(name.device_id):  # says nothing, and comes with every export for Brewskey's server
            return
        row = (bytes.fromhex(name.device_id), data)
        self._connection.execute("INSERT OR IGNORE INTO attributes VALUES (?, ?)", row)

    def _add_database(self, path: str) -> None:
        """The key documents of one NeDB file; the lines are read one at a time."""
        self._connection.execute("DELETE FROM document")
        try:
            with Path(path).open("rb") as file:
                for line in read_database(file):
                    if line.problem is not None:
                        hex_id = None if line.device_id is None else line.device_id.hex()
                        judge = Judge(f"{path}:{line.number}", Role.DATABASE, hex_id)
                        self.findings.add(judge.finding(Level.ERROR, Code.NOT_A_KEY, line.problem))
                    elif line.is_deleted:
                        self._connection.execute("DELETE FROM document WHERE id = ?", (line.document_id,))
                    else:
                        row = (line.document_id, line.device_id, line.pem, line.number)
                        self._connection.execute("INSERT OR REPLACE INTO document VALUES (?, ?, ?, ?)", row)
        except OSError as error:
            what = f"the file cannot be read: {error.strerror}"
            self.findings.add(Finding(Level.ERROR, Code.UNREADABLE, path, what, "Check its permissions."))
        rows = self._connection.execute("SELECT device_id, pem, line FROM document ORDER BY line")
        for device_id, text, number in rows:
            place, name = f"{path}:{number}", FileName(Role.PUBLIC_PEM, device_id.hex())
            judge = Judge(place, name.role, name.device_id)
            try:
                self._add_key(judge, name, place, text)
            except KeyDataError as error:
                self.findings.add(judge.refused(error))

    def _report_shared_keys(self) -> None:
        keys, devices = self._connection.execute(
            "SELECT count(*), sum(n) FROM (SELECT count(*) AS n FROM key GROUP BY public HAVING n > 1)"
        ).fetchone()
        if keys:
            first = self._connection.execute(
                "SELECT min(id), max(id) FROM key GROUP BY public HAVING count(*) > 1 ORDER BY min(id) LIMIT 1"
            ).fetchone()
            what = f"{devices:,} devices share {keys:,} keys, {first[0].hex()} and {first[1].hex()} for instance"
            remedy = "For a load test this is fine; each real device has a key of its own."
            self.findings.add(Finding(Level.WARNING, Code.DUPLICATE_KEY, "devices", what, remedy))

    # --- what came together

    def counts(self) -> tuple[int, int]:
        """Devices with a private key, and with a public key only; those with contradictory keys are left out."""
        row = self._connection.execute("SELECT (SELECT count(*) FROM playable), (SELECT count(*) FROM public_only)")
        playable, public = row.fetchone()
        return playable, public

    def arranged(self) -> tuple[int, Iterator[bytes], Iterator[tuple[int, bytes]]]:
        """Devices with private keys for a store, where device i has key i modulo the number of keys.

        Returns:
            The number of keys, the ids in the order of the store, and (number, key). Where devices share keys evenly,
            each key is there once; else each device has its own copy.
        """
        query = self._connection.execute
        self._connection.executescript(_NUMBER_KEYS)  # a table, whose index spares a search for each device
        keys, fewest, most = query("SELECT count(*), min(n), max(n) FROM numbered").fetchone()
        if keys and most - fewest <= 1:
            ids = query("SELECT id FROM arranged ORDER BY turn, number")
            ders = query("SELECT number, private FROM numbered ORDER BY number")
        else:
            keys, _ = self.counts()
            ids = query("SELECT id FROM playable ORDER BY id")
            ders = query("SELECT row_number() OVER (ORDER BY id) - 1, private FROM playable ORDER BY id")
        return keys, (row[0] for row in ids), ((number, der) for number, der in ders)

    def public_only(self) -> Iterator[tuple[bytes, bytes]]:
        """(device id, public key of 162 bytes) of the devices without a private key, in the order of their ids."""
        yield from self._connection.execute("SELECT id, public FROM public_only ORDER BY id")

    def attributes(self) -> Iterator[tuple[bytes, bytes]]:
        """(device id, content) of the attribute files of devices that are there, in the order of their ids."""
        yield from self._connection.execute(
            "SELECT id, content FROM attributes WHERE id IN (SELECT id FROM key WHERE NOT is_contradictory) ORDER BY id"
        )

    def format(self) -> SourceFormat | None:
        """What the files seem to be; None if there is no key among them."""
        roles = self.seen.roles
        if roles[Role.DATABASE] or "deviceKeys" in self.seen.folders:
            return SourceFormat.BREWSKEY
        if "core_keys" in self.seen.folders:
            return SourceFormat.SPARK_SERVER
        if roles[Role.PRIVATE_PEM] or roles[Role.PUBLIC_DER] or roles[Role.BACKUP]:
            return SourceFormat.PARTICLE_CLI
        if roles[Role.DER]:
            return SourceFormat.PARTICLE_CLI if roles[Role.PUBLIC_PEM] else SourceFormat.DER
        if roles[Role.PUBLIC_PEM] or roles[Role.CANDIDATE]:
            return SourceFormat.SPARK_SERVER
        if roles[Role.NAMED_KEY]:
            return SourceFormat.PARTICLE_CLI
        return SourceFormat.DUMP if roles[Role.DUMP] else None
