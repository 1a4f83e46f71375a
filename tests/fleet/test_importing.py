"""Fleets made of files, and back again byte for byte."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadgen.errors import UsageError
from loadgen.fleet.collection import Collection
from loadgen.fleet.exporting import ExportFormat, export_fleet
from loadgen.fleet.findings import Code, Findings, Level
from loadgen.fleet.identity import public_key_of
from loadgen.fleet.importing import ImportReport, import_fleet
from loadgen.fleet.keyfiles import public_key_pem
from loadgen.fleet.keystore import FleetExistsError, FleetStore
from loadgen.fleet.verify import verify_store
from loadgen.mockcloud.registration import registered_devices
from tests.fleet.keys import good_keys, odd_keys, server_pem, server_spki

KEYS = good_keys()[:6]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two devices of particle-cli, one of which a server knows only, and the server's pair."""
    made = tmp_path / "keys"
    made.mkdir()
    for number in range(2):
        (made / f"{number:024x}.der").write_bytes(KEYS[number])
    (made / f"{7:024x}.pub.pem").write_bytes(public_key_pem(public_key_of(KEYS[5])))
    (made / f"{7:024x}.json").write_bytes(b'{ "name": "lamp" }\n')
    (made / "default_key.pem").write_bytes(server_pem())
    return made


def run(path: Path, *sources: Path) -> ImportReport:
    with Collection(Findings()) as collection:
        collection.add(sources)
        return import_fleet(collection, path)


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_makes_a_fleet_of_what_is_there(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "fleet.sqlite"
    report = run(path, folder)
    assert report == ImportReport(
        devices=2, distinct_keys=2, public_only=1, attributes=1, server_key="private", is_new=True
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["fleet.sqlite"]
    with FleetStore.open(path) as store:
        assert {identity.hex_id: identity.private_key_der for identity in store.identities()} == {
            f"{number:024x}": KEYS[number] for number in range(2)
        }
        assert list(store.public_only()) == [((7).to_bytes(12), public_key_of(KEYS[5]))]
        assert list(store.attributes()) == [((7).to_bytes(12), b'{ "name": "lamp" }\n')]
        assert store.server_public_key == server_spki()
    devices, warnings = registered_devices(path)
    assert devices[(7).to_bytes(12)] == public_key_of(KEYS[5])
    assert (len(devices), warnings) == (3, [])


def test_copies_of_a_key_are_no_distinct_keys(tmp_path: Path) -> None:
    """Three devices share a key and two have their own, so each is stored with its own copy."""
    source = tmp_path / "keys"
    source.mkdir()
    for number, key in enumerate([KEYS[0], KEYS[0], KEYS[0], KEYS[1], KEYS[2]]):
        (source / f"{number:024x}.der").write_bytes(key)
    assert run(tmp_path / "fleet", source).distinct_keys == 3
    with FleetStore.open(tmp_path / "fleet") as store:
        assert (store.devices, store.key_count, store.distinct_keys) == (5, 5, 3)


def test_without_a_server_key_the_fleet_gets_a_cloud_of_its_own(folder: Path, tmp_path: Path) -> None:
    (folder / "default_key.pem").unlink()
    assert run(tmp_path / "f", folder).server_key == "new"
    with FleetStore.open(tmp_path / "f") as store:
        assert store.server_key_der is not None


def test_of_a_public_server_key_no_private_one_is_made(folder: Path, tmp_path: Path) -> None:
    (folder / "default_key.pem").unlink()
    (folder / "default_key.pub.pem").write_bytes(public_key_pem(server_spki()))
    assert run(tmp_path / "f", folder).server_key == "public"
    with FleetStore.open(tmp_path / "f") as store:
        assert (store.server_key_der, store.server_public_key) == (None, server_spki())


def test_the_same_again_changes_nothing(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "fleet.sqlite"
    run(path, folder)
    before = path.read_bytes()
    assert not run(path, folder).is_new
    (folder / "default_key.pem").unlink()
    assert not run(path, folder).is_new, "without a server key the fleet's own is left alone"
    assert path.read_bytes() == before


@pytest.mark.parametrize("change", ["key", "device", "public", "attributes", "server"])
def test_another_fleet_is_not_overwritten(folder: Path, tmp_path: Path, change: str) -> None:
    path = tmp_path / "fleet.sqlite"
    run(path, folder)
    before = path.read_bytes()
    if change == "key":
        (folder / f"{0:024x}.der").write_bytes(KEYS[3])
    elif change == "device":
        (folder / f"{9:024x}.der").write_bytes(KEYS[3])
    elif change == "public":
        (folder / f"{7:024x}.pub.pem").write_bytes(public_key_pem(public_key_of(KEYS[4])))
    elif change == "attributes":
        (folder / f"{7:024x}.json").write_bytes(b"{}")
    else:
        (folder / "default_key.pem").unlink()
        other = FleetStore.create(tmp_path / "other", devices=1, keys=1)
        with other:
            assert other.server_public_key is not None
            (folder / "default_key.pub.pem").write_bytes(public_key_pem(other.server_public_key))
    with pytest.raises(FleetExistsError, match="another fleet"):
        run(path, folder)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir() if entry.name.startswith(".")] == []


def test_a_file_that_is_no_fleet_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(UsageError, match="no fleet of loadgen"):
        run(tmp_path / "notes", folder)
    assert (tmp_path / "notes").read_text() == "mine"


def test_nothing_is_made_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no device key that can be used"):
        run(tmp_path / "fleet", tmp_path / "empty")
    assert not (tmp_path / "fleet").exists()


def test_a_place_that_cannot_be_written_to(folder: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        run(folder / "default_key.pem" / "fleet", folder)


def test_an_interruption_leaves_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(FleetStore, "add_keys", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "fleet", folder)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["keys"]


@pytest.mark.parametrize("form", list(ExportFormat))
@pytest.mark.parametrize("devices", [6, 20])
def test_a_round_trip_is_byte_exact(tmp_path: Path, form: ExportFormat, devices: int) -> None:
    """With a key for each device, and with shared ones; also with such keys as a P1 misreads."""
    keys = [*KEYS[:3], *(bytes.fromhex(key["private_key_der"]) for key in odd_keys() if not key["firmware_reads_it"])][
        :6
    ]
    with FleetStore.create(tmp_path / "a", devices=devices, keys=6, seed=4) as store:
        store.add_keys(enumerate(keys))
        ids = [identity.device_id for identity in store.identities()]
        if form in (ExportFormat.SPARK_SERVER, ExportFormat.BREWSKEY):
            named = enumerate(ids[::2])  # of the others nothing is known
            store.add_known((device_id, None, b'{"name": "%d"}' % number) for number, device_id in named)
        export_fleet(store, tmp_path / "first", form)
    run(tmp_path / "b", tmp_path / "first")
    with FleetStore.open(tmp_path / "b") as store:
        export_fleet(store, tmp_path / "second", form)
        assert all(b"name" in attributes for _, attributes in store.attributes())
    first, second = content(tmp_path / "first"), content(tmp_path / "second")
    if form is ExportFormat.BREWSKEY_DATABASE:  # one file, in the order of the fleet
        first, second = (
            {name: b"".join(sorted(data.splitlines())) for name, data in files.items()} for files in (first, second)
        )
    assert first == second


# --- verify


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FleetStore]:
    with FleetStore.create(tmp_path / "judged", devices=4, keys=2, seed=1) as made:
        yield made


def test_a_fleet_is_judged_by_every_device(store: FleetStore) -> None:
    bad = next(key for key in odd_keys() if not key["firmware_reads_it"])
    store.add_keys([(0, KEYS[0]), (1, bytes.fromhex(bad["private_key_der"]))])
    store.add_known([(b"\1" * 12, public_key_of(KEYS[2]), None)])
    findings, seen = Findings(), list[tuple[int, int]]()
    verify_store(store, findings, lambda done, total: seen.append((done, total)))
    wrong = {identity.hex_id for number, identity in enumerate(store.identities()) if number % 2}
    assert {finding.device_id for finding in findings} == wrong
    assert {finding.code for finding in findings} == {Code.MISREAD}
    assert seen == [(5, 5)]


def test_an_unfinished_fleet_is_judged_as_far_as_it_goes(store: FleetStore) -> None:
    store.add_keys([(1, b"no key at all")])
    findings = Findings()
    verify_store(store, findings)
    assert {finding.code: finding.level for finding in findings} == {
        Code.UNFINISHED: Level.WARNING,
        Code.NOT_A_KEY: Level.ERROR,
    }


def test_a_server_pair_that_does_not_match(store: FleetStore) -> None:
    store.add_keys(enumerate(KEYS[:2]))
    store.server_public_key = server_spki()
    findings = Findings()
    verify_store(store, findings)
    assert findings.codes == {Code.PAIR_MISMATCH: 1}
