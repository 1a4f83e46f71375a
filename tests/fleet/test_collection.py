"""Folders of key files, good and bad: what is taken, and what is said about the rest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
)

from loadgen.errors import UsageError
from loadgen.fleet.address import ServerAddress, server_key_file
from loadgen.fleet.collection import Collection, SourceFormat
from loadgen.fleet.findings import Code, Findings, Level
from loadgen.fleet.identity import public_key_of
from loadgen.fleet.keydata import private_key_pem
from loadgen.fleet.keyfiles import public_key_pem
from loadgen.fleet.keyslot import read_key_slot
from loadgen.fleet.spark_server import database_line
from tests.fleet.keys import good_keys, odd_keys, server_pem, server_spki

ID, OTHER = "0123456789abcdef01234567", "ffeeddccbbaa998877665544"
A, B = good_keys()[:2]
PKCS8, TRADITIONAL = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL


def public(der: bytes) -> bytes:
    return public_key_pem(public_key_of(der))


def as_pkcs8(der: bytes, encoding: Encoding, password: bytes | None = None) -> bytes:
    key = load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(encoding, PKCS8, encryption)


def rsa_key(bits: int, exponent: int = 65537) -> bytes:
    return rsa.generate_private_key(exponent, bits).private_bytes(Encoding.PEM, TRADITIONAL, NoEncryption())


def curve() -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.DER, TRADITIONAL, NoEncryption())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "keys"
    made.mkdir()
    return made


def collected(*sources: Path, form: SourceFormat | None = None) -> Collection:
    collection = Collection(Findings(), form)
    collection.add(sources)
    return collection


def fill(folder: Path, **contents: bytes) -> None:
    """Files by their names, with __ for a dot."""
    for name, content in contents.items():
        (folder / name.replace("__", ".").removeprefix("f")).write_bytes(content)


def playable(collection: Collection) -> dict[str, bytes]:
    keys, ids, ders = collection.arranged()
    wanted = list(ders)
    assert len(wanted) == keys
    return {each.hex(): wanted[number % keys][1] for number, each in enumerate(ids)}


def codes(collection: Collection, level: Level = Level.ERROR) -> list[Code]:
    return [finding.code for finding in collection.findings if finding.level is level]


# --- what is right


def test_the_files_of_particle_cli_are_one_device(folder: Path) -> None:
    (folder / f"{ID}.pem").write_bytes(private_key_pem(A))
    (folder / f"{ID}.der").write_bytes(A)
    (folder / f"{ID}.pub.pem").write_bytes(public(A))
    collection = collected(folder)
    assert playable(collection) == {ID: A}
    assert list(collection.findings) == []
    assert (collection.format(), collection.counts()) == (SourceFormat.PARTICLE_CLI, (1, 0))


@pytest.mark.parametrize(
    ("layout", "server", "form"),
    [
        ("core_keys", "", SourceFormat.SPARK_SERVER),
        ("data/deviceKeys", "data", SourceFormat.BREWSKEY),
        ("", "", SourceFormat.SPARK_SERVER),
    ],
)
def test_the_folder_of_a_server(folder: Path, layout: str, server: str, form: SourceFormat) -> None:
    keys = folder / layout
    keys.mkdir(parents=True, exist_ok=True)
    (keys / f"{ID}.pub.pem").write_bytes(public(A))
    (keys / f"{ID}.json").write_bytes(b'{"coreID": "%s", "name": "lamp"}' % ID.encode())
    (folder / server / "default_key.pem").write_bytes(server_pem())
    (folder / server / "default_key.pub.pem").write_bytes(public_key_pem(server_spki()))
    (folder / "users").mkdir()
    (folder / "users" / "somebody.json").write_text("{")
    collection = collected(folder)
    assert list(collection.public_only()) == [(bytes.fromhex(ID), public_key_of(A))]
    assert [name for name, _ in collection.attributes()] == [bytes.fromhex(ID)]
    assert collection.server.public_key == server_spki()
    assert collection.server.private_der is not None
    assert (collection.format(), collection.counts()) == (form, (0, 1))
    assert [finding.code for finding in collection.findings] == [Code.SKIPPED]


def test_the_database_of_brewskeys_server(folder: Path) -> None:
    lines = [
        b'{"$$indexCreated":{"fieldName":"deviceID"}}\n',
        database_line(ID, public(B)),
        database_line(ID, public(A)),  # the last line counts
        database_line(OTHER, public(B)),
        json.dumps({"_id": OTHER, "$$deleted": True}).encode() + b"\n",
        b"damaged\n",
        database_line("00" * 12, b"no key"),
    ]
    (folder / "deviceKeys.db").write_bytes(b"".join(lines))
    collection = collected(folder)
    assert list(collection.public_only()) == [(bytes.fromhex(ID), public_key_of(A))]
    assert collection.format() is SourceFormat.BREWSKEY
    found = {finding.where: finding.code for finding in collection.findings}
    path = folder / "deviceKeys.db"
    assert found == {f"{path}:6": Code.NOT_A_KEY, f"{path}:7": Code.NOT_A_KEY}


def test_a_server_key_file_with_an_address(folder: Path) -> None:
    address = ServerAddress("192.168.1.10", 5684)
    (folder / "default_key.pub-192_168_1_10-rsa.der").write_bytes(server_key_file(server_spki(), address))
    collection = collected(folder)
    assert (collection.server.public_key, collection.server.address) == (server_spki(), address)
    assert list(collection.findings) == []


def test_only_der_files(folder: Path) -> None:
    (folder / f"{ID}.der").write_bytes(A)
    assert collected(folder).format() is SourceFormat.DER


def test_a_forced_format_takes_its_files_only(folder: Path) -> None:
    (folder / f"{ID}.der").write_bytes(A)
    (folder / f"{OTHER}.pub.pem").write_bytes(public(B))
    assert collected(folder, form=SourceFormat.DER).counts() == (1, 0)
    assert collected(folder, form=SourceFormat.SPARK_SERVER).counts() == (0, 1)
    assert collected(folder, form=SourceFormat.SPARK_SERVER).seen.ignored == 1


def test_files_and_folders_may_be_named_together(folder: Path, tmp_path: Path) -> None:
    (folder / f"{ID}.der").write_bytes(A)
    single, server = tmp_path / f"{OTHER}.pem", tmp_path / "cloud"
    single.write_bytes(private_key_pem(B))
    server.write_bytes(server_pem())
    collection = collected(folder, single, server)
    assert playable(collection) == {ID: A, OTHER: B}
    assert collection.server.public_key == server_spki()


def test_the_keys_that_doctor_made_are_the_devices(folder: Path) -> None:
    (folder / f"{ID}_rsa_new.der").write_bytes(A)
    (folder / f"backup_rsa_{ID}_rsa_new.der").write_bytes(B)
    collection = collected(folder)
    assert playable(collection) == {ID: A}
    assert codes(collection, Level.NOTE) == [Code.BACKUP]


def test_der_is_kept_as_it_is_in_the_device(folder: Path) -> None:
    """A recorded device wrote leading zero bytes that no library writes."""
    recorded = next(bytes.fromhex(key["private_key_der"]) for key in odd_keys() if key["firmware_reads_it"])
    shifted = recorded.replace(b"\x02\x81\x80", b"\x02\x81\x81\x00", 1)  # d with a leading zero byte
    assert shifted != recorded
    shifted = shifted[:2] + (len(shifted) - 4).to_bytes(2) + shifted[4:]
    for first, second in (("der", "pem"), ("pem", "der")):
        (folder / f"{ID}.{first}").write_bytes(shifted if first == "der" else private_key_pem(recorded))
        (folder / f"{ID}.{second}").write_bytes(shifted if second == "der" else private_key_pem(recorded))
        assert playable(collected(folder)) == {ID: shifted}


@pytest.mark.parametrize("devices", [1, 7, 30])
@pytest.mark.parametrize("keys", [1, 3])
def test_shared_keys_are_stored_once_where_they_are_spread_evenly(folder: Path, devices: int, keys: int) -> None:
    expected = {}
    for number in range(devices):
        name = f"{number * 7919 % 1000:024x}"
        expected[name] = good_keys()[number % keys]
        (folder / f"{name}.der").write_bytes(expected[name])
    collection = collected(folder)
    assert playable(collection) == expected
    assert collection.arranged()[0] == min(keys, devices)
    assert codes(collection, Level.WARNING) == ([Code.DUPLICATE_KEY] if devices > keys else [])


def test_unevenly_shared_keys_are_copied(folder: Path) -> None:
    for number in range(5):
        (folder / f"{number:024x}.der").write_bytes(A)
    (folder / f"{ID}.der").write_bytes(B)
    collection = collected(folder)
    assert collection.arranged()[0] == 6
    assert playable(collection)[ID] == B


# --- what a P1 would make of it


@pytest.mark.parametrize("number", range(len(odd_keys())))
def test_judges_every_recorded_key_as_the_firmware_does(folder: Path, number: int) -> None:
    key = odd_keys()[number]
    (folder / f"{ID}.der").write_bytes(bytes.fromhex(key["private_key_der"]))
    collection = collected(folder)
    assert codes(collection) == ([] if key["firmware_reads_it"] else [Code.MISREAD])
    for finding in collection.findings:
        assert all(f"{name} stands in bytes" in finding.what for name in key["misread"])
        assert 'log says "Could not set key", code 6' in finding.what
        assert "orange LED" in finding.what
        assert (finding.device_id, bool(finding.remedy)) == (ID, True)
    assert collection.counts() == (1, 0)  # a load test can use it


def test_pkcs8_is_an_error_where_it_would_be_loaded(folder: Path) -> None:
    der = as_pkcs8(A, Encoding.DER)
    (folder / f"{ID}.der").write_bytes(der)
    (folder / f"{OTHER}.pem").write_bytes(as_pkcs8(B, Encoding.PEM))
    collection = collected(folder)
    assert codes(collection) == [Code.PKCS8_IN_SLOT]
    assert playable(collection) == {ID: A, OTHER: B}


def test_what_such_a_device_presents_is_recognised(folder: Path) -> None:
    presented = read_key_slot(as_pkcs8(A, Encoding.DER)).presented
    (folder / f"{ID}.pub.pem").write_bytes(public_key_pem(presented))
    (finding,) = collected(folder).findings
    assert finding.code is Code.NO_SUCH_KEY
    assert "PKCS#8" in finding.what


# --- what is wrong


WRONG = [
    pytest.param("pem", lambda: as_pkcs8(A, Encoding.PEM, b"x"), Code.ENCRYPTED, id="encrypted"),
    pytest.param("der", curve, Code.CURVE_KEY, id="curve"),
    pytest.param("pem", lambda: rsa_key(2048), Code.KEY_SIZE, id="size"),
    pytest.param("pem", lambda: rsa_key(1024, 3), Code.EXPONENT, id="exponent"),
    pytest.param("pem", lambda: b"hello", Code.NOT_A_KEY, id="text"),
    pytest.param("der", lambda: b"\xff" * 612, Code.NOT_A_KEY, id="erased"),
    pytest.param("der", lambda: A[:400], Code.CUT_OFF, id="cut off"),
    pytest.param("pem", lambda: b"", Code.EMPTY, id="empty"),
    pytest.param("pem", lambda: b"x" * 70_000, Code.TOO_LARGE, id="too large"),
    pytest.param("pub.pem", lambda: b"{}", Code.NOT_A_KEY, id="public"),
]


@pytest.mark.parametrize(("ending", "content", "code"), WRONG)
def test_a_file_that_cannot_be_used_is_told_and_left_out(
    folder: Path, ending: str, content: Callable[[], bytes], code: Code
) -> None:
    (folder / f"{ID}.{ending}").write_bytes(content())
    (folder / f"{OTHER}.der").write_bytes(B)
    collection = collected(folder)
    (finding,) = collection.findings
    assert (finding.level, finding.code, finding.device_id) == (Level.ERROR, code, ID)
    assert finding.where == str(folder / f"{ID}.{ending}")
    assert finding.remedy
    assert playable(collection) == {OTHER: B}


@pytest.mark.parametrize(
    ("ending", "content", "level", "code"),
    [
        ("der", lambda: private_key_pem(A), Level.ERROR, Code.PEM_IN_SLOT),
        ("pem", lambda: private_key_pem(A).replace(b"\n", b"\r\n"), Level.NOTE, Code.LINE_ENDS),
        ("pem", lambda: b"\xef\xbb\xbf" + private_key_pem(A), Level.WARNING, Code.BYTE_ORDER_MARK),
        ("der", lambda: A.ljust(612, b"\xff"), Level.NOTE, Code.TRAILING),
        ("der", lambda: A + b"rest", Level.NOTE, Code.TRAILING),
        ("pub.pem", lambda: private_key_pem(A), Level.ERROR, Code.PRIVATE_AS_PUBLIC),
    ],
)
def test_a_key_that_is_written_oddly_is_used_and_told(
    folder: Path, ending: str, content: Callable[[], bytes], level: Level, code: Code
) -> None:
    (folder / f"{ID}.{ending}").write_bytes(content())
    collection = collected(folder)
    assert [(finding.level, finding.code) for finding in collection.findings] == [(level, code)]
    assert playable(collection) == {ID: A}


@pytest.mark.parametrize(
    ("ending", "content", "level", "code"),
    [
        ("pub.pem", lambda: public_key_of(A), Level.ERROR, Code.NOT_PEM),
        ("der", lambda: public_key_of(A), Level.WARNING, Code.PUBLIC_AS_PRIVATE),
        (
            "pub.pem",
            lambda: (
                load_der_private_key(A, None, unsafe_skip_rsa_key_validation=True)
                .public_key()
                .public_bytes(Encoding.PEM, PublicFormat.PKCS1)
            ),
            Level.WARNING,
            Code.ENCODING,
        ),
    ],
)
def test_a_public_key_that_is_written_oddly(
    folder: Path, ending: str, content: Callable[[], bytes], level: Level, code: Code
) -> None:
    (folder / f"{ID}.{ending}").write_bytes(content())
    collection = collected(folder)
    assert [(finding.level, finding.code) for finding in collection.findings] == [(level, code)]
    assert list(collection.public_only()) == [(bytes.fromhex(ID), public_key_of(A))]


def test_integers_that_do_not_belong_together(folder: Path) -> None:
    changed = A[:-1] + bytes([A[-1] ^ 1])
    (folder / f"{ID}.der").write_bytes(changed)
    assert codes(collected(folder)) == [Code.INCONSISTENT]


@pytest.mark.parametrize("first", ["a", "z"])
def test_a_pair_that_does_not_match(folder: Path, tmp_path: Path, first: str) -> None:
    """In either order of reading."""
    for name, suffix, content in (("a", "der", A), ("z", "pub.pem", public(B))):
        part = folder / (name if first == "a" else {"a": "z", "z": "a"}[name])
        part.mkdir()
        (part / f"{ID}.{suffix}").write_bytes(content)
    collection = collected(folder)
    assert codes(collection) == [Code.PAIR_MISMATCH]
    assert playable(collection) == {ID: A}


def test_two_keys_for_one_device_leave_it_out(folder: Path) -> None:
    (folder / f"{ID}.der").write_bytes(A)
    (folder / f"{ID}_rsa_new.der").write_bytes(B)
    (folder / f"{OTHER}.pub.pem").write_bytes(public(A))
    (folder / f"{OTHER.upper()}.pub.pem").write_bytes(public(B))
    collection = collected(folder)
    assert codes(collection) == [Code.DUPLICATE_ID] * 2
    assert codes(collection, Level.WARNING) == [Code.ID_SPELLING]
    assert collection.counts() == (0, 0)


@pytest.mark.parametrize("name", ["device.der", f"{ID[:-1]}.der", f"{ID[:-1]}o.pem"])
def test_a_key_without_an_id(folder: Path, name: str) -> None:
    (folder / name).write_bytes(A if name.endswith("der") else private_key_pem(A))
    (finding,) = collected(folder).findings
    assert (finding.level, finding.code) == (Level.ERROR, Code.NO_ID)
    assert "Rename" in finding.remedy


def test_a_candidate_is_not_admitted(folder: Path) -> None:
    (folder / f"{ID}_handshake.pub.pem").write_bytes(public(A))
    collection = collected(folder)
    assert codes(collection, Level.WARNING) == [Code.CANDIDATE]
    assert (collection.counts(), collection.format()) == ((0, 0), SourceFormat.SPARK_SERVER)


def test_two_servers_in_one_import(folder: Path) -> None:
    other = load_pem_private_key(rsa_key(2048), None).private_bytes(Encoding.PEM, TRADITIONAL, NoEncryption())
    (folder / "default_key.pem").write_bytes(server_pem())
    (folder / "other_key.pem").write_bytes(other)
    collection = collected(folder)
    assert codes(collection, Level.WARNING) == [Code.SERVER_KEY]
    assert collection.server.public_key == server_spki()


@pytest.mark.parametrize(
    ("data", "level", "code"),
    [
        (lambda: server_key_file(server_spki(), None), Level.WARNING, Code.ADDRESS),
        (lambda: server_key_file(server_spki(), None)[:384] + bytes(128), Level.ERROR, Code.ADDRESS),
        (
            lambda: (
                load_pem_private_key(server_pem(), None).public_key().public_bytes(Encoding.DER, PublicFormat.PKCS1)
            ),
            Level.ERROR,
            Code.SERVER_KEY,
        ),
        (lambda: server_spki()[:-1] + b"\x03", Level.ERROR, Code.EXPONENT),
    ],
)
def test_a_server_key_that_misleads_devices(folder: Path, data: Callable[[], bytes], level: Level, code: Code) -> None:
    (folder / "cloud.der").write_bytes(data())
    assert (level, code) in [(finding.level, finding.code) for finding in collected(folder).findings]


def test_attributes_of_another_device(folder: Path) -> None:
    (folder / f"{ID}.pub.pem").write_bytes(public(A))
    (folder / f"{ID}.json").write_bytes(b'{"coreID": "%s"}' % OTHER.encode())
    (folder / f"{OTHER}.json").write_bytes(b"{}")  # of a device without a key
    collection = collected(folder)
    assert codes(collection, Level.WARNING) == [Code.ATTRIBUTES]
    assert list(collection.attributes()) == []


# --- what lies about


def test_links_pipes_and_folders(folder: Path) -> None:
    (folder / f"{ID}.der").write_bytes(A)
    (folder / f"{OTHER}.der").symlink_to(f"{ID}.der")
    (folder / "again").symlink_to(".")
    (folder / f"{1:024x}.der").symlink_to(f"{1:024x}.der")
    (folder / f"{2:024x}.der").symlink_to("nowhere")
    (folder / f"{3:024x}.der").mkdir()
    (folder / "node_modules").mkdir()
    (folder / ".git").mkdir()
    (folder / ".git" / f"{5:024x}.der").write_bytes(B)
    (folder / "deep").mkdir()
    (folder / "deep" / f"{6:024x}.der").write_bytes(B)
    os.mkfifo(folder / f"{4:024x}.der")
    collection = collected(folder)
    assert sorted(playable(collection)) == sorted([ID, OTHER, f"{6:024x}"])
    assert codes(collection) == [Code.UNREADABLE] * 2
    assert codes(collection, Level.NOTE) == [Code.SKIPPED, Code.LINK, Code.SKIPPED]


def test_an_unreadable_folder_within_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "secret").mkdir()
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("secret"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr("loadgen.fleet.scan.os.scandir", refuse)
    (finding,) = collected(folder).findings
    assert (finding.code, finding.where) == (Code.UNREADABLE, str(folder / "secret"))
    with pytest.raises(UsageError, match="Permission denied"):
        collected(folder / "secret")


def test_a_file_that_cannot_be_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    (folder / f"{ID}.der").write_bytes(A)
    monkeypatch.setattr("loadgen.fleet.scan.os.open", refuse)
    (finding,) = collected(folder).findings
    assert (finding.level, finding.code) == (Level.ERROR, Code.UNREADABLE)
    assert "Permission denied" in finding.what


@pytest.mark.parametrize("make", [lambda path: None, os.mkfifo])
def test_a_source_that_is_none(tmp_path: Path, make: Callable[[Path], None]) -> None:
    make(tmp_path / "source")
    with pytest.raises(UsageError) as caught:
        collected(tmp_path / "source")
    assert caught.value.where == str(tmp_path / "source")


def test_names_that_are_no_text(folder: Path) -> None:
    (folder / os.fsdecode(b"\xff\xfe.pem")).write_bytes(b"hello")
    (finding,) = collected(folder).findings
    assert finding.code is Code.NOT_A_KEY


def test_progress_has_no_end_before_the_end(folder: Path) -> None:
    for number in range(250):
        (folder / f"{number}.txt").touch()
    seen: list[tuple[int, int | None]] = []
    with Collection(Findings()) as collection:
        collection.add([folder], lambda done, total: seen.append((done, total)))
        assert (collection.seen.files, collection.seen.ignored) == (250, 250)
    assert seen == [(100, None), (200, None), (250, None)]


def test_findings_beyond_the_limit_are_counted_only(folder: Path) -> None:
    for number in range(12):
        (folder / f"{number:024x}.pem").touch()
    findings = Findings(keep=5)
    with Collection(findings) as collection:
        collection.add([folder])
    assert (findings.counts[Level.ERROR], findings.codes[Code.EMPTY]) == (12, 12)
    assert (len(list(findings)), findings.left_out) == (5, 7)
    assert [finding.where for finding in findings.first(Level.ERROR, 2)] == [
        str(folder / f"{number:024x}.pem") for number in range(2)
    ]


def test_a_folder_is_read_a_part_at_a_time(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadgen.fleet.scan._PART", 7)
    for number in range(50):
        (folder / f"{number:024x}.pub.pem").write_bytes(public(A))
    collection = collected(folder)
    assert [int.from_bytes(device_id) for device_id, _ in collection.public_only()] == list(range(50))


@pytest.mark.long
def test_memory_does_not_grow_with_the_folder(folder: Path) -> None:
    """In processes of their own, as a peak is never forgotten; with findings for half of the files."""
    text, peaks = public(A), []
    program = (
        "import resource, sys; from pathlib import Path\n"
        "from loadgen.fleet.collection import Collection; from loadgen.fleet.findings import Findings\n"
        "with Collection(Findings(10)) as collection:\n"
        "    collection.add([Path(sys.argv[1])])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)\n"
    )
    for begin, end in ((0, 15_000), (15_000, 60_000)):
        for number in range(begin, end):
            (folder / f"{number:024x}.pub.pem").write_bytes(text if number % 2 else b"")
        result = subprocess.run(
            [sys.executable, "-c", program, str(folder)], check=True, capture_output=True, text=True
        )
        peaks.append(int(result.stdout))
    assert peaks[1] - peaks[0] < 8_000, peaks  # kB; a list of 45,000 paths alone would be as much


def test_the_work_of_arranging_grows_with_the_devices_only() -> None:
    """Counted in steps of the database's machine, not in time: twice the devices are not four times the work."""
    steps: dict[int, int] = {}
    for devices in (1_000, 2_000):
        with Collection(Findings()) as collection:
            rows = ((number.to_bytes(12), b"public", number.to_bytes(600, "little")) for number in range(devices))
            collection._connection.executemany("INSERT INTO key (id, public, private) VALUES (?, ?, ?)", rows)
            made: list[None] = []
            collection._connection.set_progress_handler(lambda made=made: made.append(None), 100)  # type: ignore[misc]
            assert len(playable(collection)) == devices
            steps[devices] = len(made)
    assert 0 < steps[2_000] < 3 * steps[1_000]
