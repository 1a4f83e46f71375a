"""Fleets written for other programs, byte for byte."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from loadgen.errors import UsageError
from loadgen.fleet.address import ServerAddress, parse_address_record
from loadgen.fleet.exporting import ExportFormat, export_fleet, write_new_file
from loadgen.fleet.identity import public_key_of
from loadgen.fleet.keyfiles import load_public_key_directory, public_key_pem
from loadgen.fleet.keystore import FleetStore
from loadgen.fleet.names import read_name
from tests.fleet.keys import good_keys, server_pem, server_spki

OTHER = bytes.fromhex("00112233445566778899aabb")


def server_der() -> bytes:
    key = load_pem_private_key(server_pem(), None)
    return key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FleetStore]:
    """Three devices with keys, one with a public key only, attributes of the latter."""
    made = FleetStore.create(tmp_path / "fleet.sqlite", devices=3, keys=3, server_key_der=server_der(), seed=1)
    with made:
        made.add_keys(enumerate(good_keys()[:3]))
        made.add_known([(OTHER, public_key_of(good_keys()[4]), b'{"name":"other"}')])
        yield made


def files(folder: Path) -> set[str]:
    """Every file below, with ids in place of those of the fleet."""
    found = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}
    return {
        str(path.with_name(path.name.replace(read_name(path.name).device_id or "?", "ID"))).replace("\\", "/")
        for path in found
    }


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (ExportFormat.PUBLIC, {"ID.pub.pem"}),
        (
            ExportFormat.PARTICLE_CLI,
            {"ID.pem", "ID.der", "ID.pub.pem", "default_key.pub.pem", "default_key.pub.der"},
        ),
        (ExportFormat.DER, {"ID.der"}),
        (
            ExportFormat.SPARK_SERVER,
            {"core_keys/ID.pub.pem", "core_keys/ID.json", "default_key.pem", "default_key.pub.pem"},
        ),
        (
            ExportFormat.BREWSKEY,
            {
                "data/deviceKeys/ID.pub.pem",
                "data/deviceKeys/ID.json",
                "data/default_key.pem",
                "data/default_key.pub.pem",
            },
        ),
        (
            ExportFormat.BREWSKEY_DATABASE,
            {"data/db/deviceKeys.db", "data/default_key.pem", "data/default_key.pub.pem"},
        ),
    ],
)
def test_writes_the_files_of_every_format(
    store: FleetStore, tmp_path: Path, form: ExportFormat, expected: set[str]
) -> None:
    folder = tmp_path / "out"
    report = export_fleet(store, folder, form)
    count = sum(1 for path in folder.rglob("*") if path.is_file())
    assert files(folder) == expected
    assert (report.written, report.unchanged, report.devices) == (count, 0, 3 if form is ExportFormat.DER else 4)
    again = export_fleet(store, folder, form)
    assert (again.written, again.unchanged) == (0, count)
    assert [path.name for path in folder.rglob(".*")] == []


def test_the_contents_are_what_openssl_writes(store: FleetStore, tmp_path: Path) -> None:
    export_fleet(store, tmp_path, ExportFormat.PARTICLE_CLI)
    for identity in store.identities():
        der = (tmp_path / f"{identity.hex_id}.der").read_bytes()
        assert der == identity.private_key_der
        pem = (tmp_path / f"{identity.hex_id}.pem").read_bytes()
        key = load_pem_private_key(pem, None, unsafe_skip_rsa_key_validation=True)
        assert key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()) == pem
        assert (tmp_path / f"{identity.hex_id}.pub.pem").read_bytes() == public_key_pem(identity.public_key)


def test_private_keys_are_private(store: FleetStore, tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        export_fleet(store, tmp_path / "cli", ExportFormat.PARTICLE_CLI)
        export_fleet(store, tmp_path / "server", ExportFormat.SPARK_SERVER)
    finally:
        os.umask(mask)
    for path in [*(tmp_path / "cli").iterdir(), *(tmp_path / "server").glob("*.pem")]:
        is_private = b"PUBLIC" not in path.read_bytes() and path.name != "default_key.pub.der"
        assert stat.S_IMODE(path.stat().st_mode) == (0o600 if is_private else 0o644), path


def test_the_servers_own_pair_comes_with_its_folder(store: FleetStore, tmp_path: Path) -> None:
    report = export_fleet(store, tmp_path, ExportFormat.SPARK_SERVER)
    assert report.has_server_key
    assert (tmp_path / "default_key.pem").read_bytes() == server_pem()
    assert (tmp_path / "default_key.pub.pem").read_bytes() == public_key_pem(server_spki())


def test_a_folder_of_another_server_gets_no_device(store: FleetStore, tmp_path: Path) -> None:
    (tmp_path / "default_key.pem").write_text("the key of another server")
    with pytest.raises(UsageError, match="holds something else") as caught:
        export_fleet(store, tmp_path, ExportFormat.SPARK_SERVER)
    assert caught.value.where == str(tmp_path / "default_key.pem")
    assert not (tmp_path / "core_keys").exists()


def test_the_database_has_a_document_for_each_device(store: FleetStore, tmp_path: Path) -> None:
    export_fleet(store, tmp_path, ExportFormat.BREWSKEY_DATABASE)
    path = tmp_path / "data" / "db" / "deviceKeys.db"
    documents = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    wanted = [(identity.hex_id, identity.public_key) for identity in store.identities()] + [
        (OTHER.hex(), public_key_of(good_keys()[4]))
    ]
    assert [(each["deviceID"], each["key"]) for each in documents] == [
        (name, public_key_pem(key).decode()) for name, key in wanted
    ]
    assert {(each["_id"] == each["deviceID"], each["algorithm"]) for each in documents} == {(True, "rsa")}
    path.write_text("{}\n")
    with pytest.raises(UsageError, match="holds something else"):
        export_fleet(store, tmp_path, ExportFormat.BREWSKEY_DATABASE)
    assert path.read_text() == "{}\n"


def test_brewskeys_server_gets_attributes_of_every_device_and_goes_on_writing_them(
    store: FleetStore, tmp_path: Path
) -> None:
    export_fleet(store, tmp_path, ExportFormat.BREWSKEY)
    folder = tmp_path / "data" / "deviceKeys"
    ids = [identity.hex_id for identity in store.identities()]
    assert [json.loads((folder / f"{name}.json").read_bytes()) for name in ids] == [{"deviceID": name} for name in ids]
    assert (folder / f"{OTHER.hex()}.json").read_bytes() == b'{"name":"other"}'
    written_by_server = folder / f"{ids[0]}.json"
    written_by_server.write_text('{"deviceID": "...", "timestamp": "2024-01-01"}')
    (folder / f"{ids[1]}.json").unlink()
    again = export_fleet(store, tmp_path, ExportFormat.BREWSKEY)
    assert (again.written, again.unchanged) == (1, 9)
    assert "timestamp" in written_by_server.read_text()


def test_a_key_file_with_an_address_for_devices(store: FleetStore, tmp_path: Path) -> None:
    address = ServerAddress("192.168.1.10", 5684)
    export_fleet(store, tmp_path, ExportFormat.PARTICLE_CLI, address=address)
    data = (tmp_path / "default_key.pub-192_168_1_10-rsa.der").read_bytes()
    assert data[:294] == server_spki()
    assert parse_address_record(data[384:]) == address
    assert len(data) == 512


def test_an_export_tells_its_progress(store: FleetStore, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    export_fleet(store, tmp_path / "keys", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(4, 4)]
    expected = {identity.hex_id: identity.public_key for identity in store.identities()}
    assert load_public_key_directory(tmp_path / "keys").keys == expected | {OTHER.hex(): public_key_of(good_keys()[4])}


def test_an_export_overwrites_nothing(store: FleetStore, tmp_path: Path) -> None:
    victim = tmp_path / f"{next(store.identities()).hex_id}.pub.pem"
    victim.write_text("another key")
    with pytest.raises(UsageError, match="not overwritten") as caught:
        export_fleet(store, tmp_path)
    assert caught.value.where == str(victim)
    assert victim.read_text() == "another key"


def test_an_export_to_a_file_is_a_usage_error(store: FleetStore) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        export_fleet(store, store.path)


def test_a_file_is_made_once(tmp_path: Path) -> None:
    path, text = tmp_path / "deep" / "a.pub.pem", public_key_pem(server_spki())
    assert write_new_file(path, text) is True
    assert write_new_file(path, text) is False
    path.write_bytes(text.replace(b"\n", b"\r\n"))
    assert write_new_file(path, text) is False
    with pytest.raises(UsageError, match="holds something else"):
        write_new_file(path, public_key_pem(public_key_of(good_keys()[0])))
    assert path.read_bytes() == text.replace(b"\n", b"\r\n")


def test_line_ends_count_in_der(tmp_path: Path) -> None:
    path = tmp_path / "a.der"
    path.write_bytes(b"\x30\x0a\x01")
    with pytest.raises(UsageError, match="holds something else"):
        write_new_file(path, b"\x30\x0b\x01")


def test_says_where_it_cannot_write(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="Not a directory"):
        write_new_file(tmp_path / "file" / "a.pub.pem", b"key")


def test_an_interruption_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    path = tmp_path / "a.der"
    monkeypatch.setattr("loadgen.fleet.exporting.os.fdopen", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_new_file(path, b"key")
    assert not path.exists()
