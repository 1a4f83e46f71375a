from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from loadgen.errors import ExitCode, LocalResourceError, UsageError
from loadgen.fleet.identity import public_key_of
from loadgen.fleet.keyfiles import new_server_key, public_half
from loadgen.fleet.keystore import FleetExistsError, FleetStore
from tests.fleet.keys import good_keys, server_spki


def make(path: Path, devices: int = 10, keys: int = 3, seed: int | None = 1) -> None:
    """A complete fleet of recorded keys that belongs to a real cloud."""
    with FleetStore.create(path, devices=devices, keys=keys, server_public_key=server_spki(), seed=seed) as store:
        store.add_keys(enumerate(good_keys()[:keys]))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "fleet.sqlite"
    make(made)
    return made


@pytest.fixture
def store(path: Path) -> Iterator[FleetStore]:
    with FleetStore.open(path) as opened:
        yield opened


# --- reading


def test_knows_its_numbers(store: FleetStore) -> None:
    assert (store.devices, store.distinct_keys, store.keys_present) == (10, 3, 3)
    assert store.complete
    assert store.missing_keys() == []
    assert list(store.keys()) == good_keys()[:3]
    assert store.server_key_der is None
    assert store.server_public_key == server_spki()


def test_device_i_uses_key_i_mod_keys(store: FleetStore) -> None:
    identities = list(store.identities())
    assert len({identity.device_id for identity in identities}) == 10
    assert all(len(identity.device_id) == 12 for identity in identities)
    for number, identity in enumerate(identities):
        assert identity.private_key_der == good_keys()[number % 3]
        assert identity.public_key == public_key_of(good_keys()[number % 3])
    assert identities[0].private_key_der is identities[3].private_key_der


@pytest.mark.parametrize("workers", [1, 2, 3, 4, 11])
def test_the_shares_of_all_workers_are_the_fleet(store: FleetStore, workers: int) -> None:
    everyone = list(store.identities())
    shares = [list(store.identities(worker, workers)) for worker in range(workers)]
    assert [shares[number % workers][number // workers] for number in range(10)] == everyone
    assert sum(map(len, shares)) == 10


def test_takes_at_most_the_limit(store: FleetStore) -> None:
    everyone = list(store.identities())
    assert list(store.identities(limit=4)) == everyone[:4]
    assert list(store.identities(1, 3, 2)) == [everyone[1], everyone[4]]
    assert list(store.identities(limit=0)) == []
    assert list(store.identities(limit=100)) == everyone
    assert list(store.identities(20)) == []


@pytest.mark.parametrize(("offset", "step"), [(-1, 1), (0, 0)])
def test_refuses_impossible_shares(store: FleetStore, offset: int, step: int) -> None:
    with pytest.raises(ValueError, match="identities"):
        next(store.identities(offset, step))


def test_ids_are_repeatable_with_a_seed_only(tmp_path: Path) -> None:
    ids: dict[str, list[bytes]] = {}
    for name, seed in (("a", 7), ("b", 7), ("c", 8), ("d", None), ("e", None)):
        make(tmp_path / name, seed=seed)
        with FleetStore.open(tmp_path / name) as opened:
            ids[name] = [identity.device_id for identity in opened.identities()]
    assert ids["a"] == ids["b"]
    assert len({tuple(value) for value in ids.values()}) == 4


# --- making


def test_the_file_is_private_from_the_start(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "fleet.sqlite"
    modes: dict[str, int] = {}

    def keys() -> Iterator[tuple[int, bytes]]:
        for number, der in enumerate(good_keys()[:3]):
            modes.update({entry.name: stat.S_IMODE(entry.stat().st_mode) for entry in path.parent.iterdir()})
            yield number, der

    mask = os.umask(0)
    try:
        with FleetStore.create(path, devices=3, keys=3, server_public_key=server_spki()) as store:
            store.add_keys(keys())
    finally:
        os.umask(mask)
    assert modes == {"fleet.sqlite": 0o600, "fleet.sqlite-journal": 0o600}
    assert [entry.name for entry in path.parent.iterdir()] == ["fleet.sqlite"]


def test_makes_a_key_pair_for_an_own_cloud(tmp_path: Path) -> None:
    with FleetStore.create(tmp_path / "own", devices=1, keys=1) as store:
        assert store.server_key_der is not None
        assert store.server_public_key == public_half(store.server_key_der)


def test_an_existing_file_is_never_overwritten(path: Path, tmp_path: Path) -> None:
    before = path.read_bytes()
    foreign = tmp_path / "notes.txt"
    foreign.write_text("mine")
    for taken in (path, foreign, tmp_path):
        with pytest.raises(FleetExistsError, match="not overwritten"):
            FleetStore.create(taken, devices=1, keys=1)
    assert path.read_bytes() == before
    assert foreign.read_text() == "mine"


def test_an_empty_file_of_an_interrupted_attempt_is_taken_and_made_private(tmp_path: Path) -> None:
    path = tmp_path / "fleet.sqlite"
    path.touch(0o644)
    make(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    FleetStore.open(path).close()


@pytest.mark.parametrize(("devices", "keys"), [(0, 0), (1, 0), (0, 1), (2, 3), (-1, -1)])
def test_impossible_numbers_are_a_usage_error(tmp_path: Path, devices: int, keys: int) -> None:
    with pytest.raises(UsageError, match="impossible"):
        FleetStore.create(tmp_path / "f", devices=devices, keys=keys)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_usage_error(path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written") as caught:
        FleetStore.create(path / "below a file", devices=1, keys=1)
    assert caught.value.exit_code == ExitCode.USAGE


def test_a_key_is_never_replaced(path: Path) -> None:
    with FleetStore.open(path) as store:
        store.add_keys([(0, good_keys()[5])])
        assert next(store.keys()) == good_keys()[0]


def test_an_interrupted_batch_leaves_nothing(tmp_path: Path) -> None:
    def keys() -> Iterator[tuple[int, bytes]]:
        yield 0, good_keys()[0]
        raise KeyboardInterrupt

    with FleetStore.create(tmp_path / "f", devices=2, keys=2, server_public_key=server_spki()) as store:
        with pytest.raises(KeyboardInterrupt):
            store.add_keys(keys())
        assert store.missing_keys() == [0, 1]
        store.add_keys([(1, good_keys()[1])])
        assert store.missing_keys() == [0]


def test_a_full_disk_is_a_local_resource_error(tmp_path: Path) -> None:
    with FleetStore.create(tmp_path / "f", devices=20, keys=20, server_public_key=server_spki()) as store:
        store._connection.execute("PRAGMA max_page_count = 1")  # no page more than there are
        with pytest.raises(LocalResourceError, match="full") as caught:
            store.add_keys((number, good_keys()[0] * 20) for number in range(20))
        assert caught.value.remedy is not None
        assert store.missing_keys() == list(range(20))


# --- the server's key


def test_sets_the_public_key_of_a_real_cloud(path: Path) -> None:
    other = public_half(new_server_key())
    with FleetStore.open(path) as store:
        store.set_server_public_key(other)
        assert store.server_public_key == other
    with FleetStore.open(path) as store:
        assert store.server_public_key == other
        with pytest.raises(ValueError, match="RSA-2048"):
            store.set_server_public_key(other[:-1])


def test_the_key_pair_of_the_own_cloud_is_never_thrown_away(tmp_path: Path) -> None:
    with FleetStore.create(tmp_path / "own", devices=1, keys=1) as store:
        assert store.server_public_key is not None
        store.set_server_public_key(store.server_public_key)
        with pytest.raises(UsageError, match="not overwritten"):
            store.set_server_public_key(server_spki())


# --- files that are no whole fleet


def test_an_unfinished_fleet_names_the_command_that_finishes_it(tmp_path: Path) -> None:
    path = tmp_path / "f"
    with FleetStore.create(path, devices=5, keys=3, server_public_key=server_spki()) as store:
        store.add_keys([(1, good_keys()[0])])
    with pytest.raises(UsageError, match="unfinished: 1 of 3 keys") as caught:
        FleetStore.open(path)
    assert caught.value.remedy == f"Finish it with: loadgen fleet generate --fleet {path} --devices 5 --keys 3"
    with FleetStore.open(path, allow_unfinished=True) as store:
        assert not store.complete
        assert store.missing_keys() == [0, 2]
        with pytest.raises(UsageError, match="damaged"):
            list(store.identities())


def cut(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def scribble(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 : 4096 + 64] = b"\xaa" * 64
    path.write_bytes(bytes(data))


def lose_devices(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM device WHERE number > 4")
    connection.close()


def lose_description(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM fleet")
    connection.close()


@pytest.mark.parametrize("damage", [cut, scribble, lose_devices, lose_description])
def test_a_damaged_fleet_is_a_usage_error(path: Path, damage: Callable[[Path], None]) -> None:
    damage(path)
    with pytest.raises(UsageError, match="the fleet is damaged") as caught:
        FleetStore.open(path)
    assert caught.value.where == str(path)
    assert caught.value.remedy is not None


def test_a_damaged_key_is_a_usage_error(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE device_key SET private_der = x'3082' WHERE number = 1")
    connection.close()
    with FleetStore.open(path) as store, pytest.raises(UsageError, match="damaged"):
        list(store.identities())


def test_what_is_no_fleet_is_a_usage_error(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("no database " * 100)
    foreign = tmp_path / "foreign"
    with sqlite3.connect(foreign) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    for path in (text, foreign):
        before = path.read_bytes()
        with pytest.raises(UsageError, match="no fleet of loadgen"):
            FleetStore.open(path)
        assert path.read_bytes() == before


def test_a_fleet_of_another_format_is_a_usage_error(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 2")
    connection.close()
    with pytest.raises(UsageError, match="format 2"):
        FleetStore.open(path)


def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such fleet"):
        FleetStore.open(tmp_path / "missing")
    with pytest.raises(UsageError, match="no file"):
        FleetStore.open(tmp_path)
    (tmp_path / "empty").touch()
    with pytest.raises(UsageError, match="interrupted"):
        FleetStore.open(tmp_path / "empty")
    assert not (tmp_path / "missing").exists()


def test_odd_names_are_only_names(tmp_path: Path) -> None:
    path = tmp_path / "a?mode=memory#b%20c.sqlite"
    make(path)
    with FleetStore.open(path) as store:
        assert len(list(store.identities())) == 10
