from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle
from pathlib import Path
from threading import Lock

import pytest

from loadgen.errors import UsageError
from loadgen.fleet import generate as module
from loadgen.fleet.generate import available_cores, generate
from loadgen.fleet.identity import firmware_misreads
from loadgen.fleet.keystore import FleetStore
from tests.fleet.keys import good_keys, server_spki


class KeyMaker:
    """Gives recorded keys instead of new ones, and breaks on demand."""

    def __init__(self) -> None:
        self.made = 0
        self.break_after: int | None = None
        self._keys: Iterator[bytes] = cycle(good_keys())
        self._lock = Lock()

    def __call__(self) -> bytes:
        with self._lock:
            if self.made == self.break_after:
                raise MemoryError("no more keys")
            self.made += 1
            return next(self._keys)


@pytest.fixture
def maker(monkeypatch: pytest.MonkeyPatch) -> KeyMaker:
    made = KeyMaker()
    monkeypatch.setattr(module, "new_device_key", made)
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "fleet.sqlite"


def test_makes_a_fleet_of_new_keys(path: Path) -> None:
    with generate(path, devices=9, keys=4, workers=2) as store:
        assert store.complete
        assert store.server_key_der is not None
        keys = list(store.keys())
        assert len(set(keys)) == 4
        assert [firmware_misreads(der) for der in keys] == [()] * 4
        assert len(list(store.identities())) == 9


def test_tells_its_progress(path: Path, maker: KeyMaker) -> None:
    seen: list[tuple[int, int]] = []
    generate(
        path,
        devices=20,
        keys=20,
        workers=3,
        server_public_key=server_spki(),
        progress=lambda done, total: seen.append((done, total)),
    ).close()
    assert seen == [(done, 20) for done in range(1, 21)]


def test_goes_on_after_an_interruption(path: Path, maker: KeyMaker) -> None:
    def interrupt(done: int, _: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        generate(path, devices=30, keys=20, server_public_key=server_spki(), progress=interrupt)
    with FleetStore.open(path, allow_unfinished=True) as store:
        assert store.keys_present >= 5  # what was made is written
        ids = store._connection.execute("SELECT id FROM device ORDER BY number").fetchall()
        kept = dict(store._connection.execute("SELECT number, private_der FROM device_key").fetchall())
    made_before, seen = maker.made, []
    with generate(path, devices=30, keys=20, progress=lambda done, _: seen.append(done)) as store:
        assert [(identity.device_id,) for identity in store.identities()] == ids
        assert store.server_public_key == server_spki()
        keys = list(store.keys())
        assert {number: keys[number] for number in kept} == kept
    assert maker.made - made_before == 20 - len(kept)
    assert seen == list(range(len(kept) + 1, 21))


def test_a_finished_fleet_is_opened_as_it_is(path: Path, maker: KeyMaker) -> None:
    generate(path, devices=3, keys=2, server_public_key=server_spki()).close()
    before, seen = path.read_bytes(), []
    with generate(path, devices=3, keys=2, progress=lambda done, total: seen.append((done, total))) as store:
        assert store.complete
    assert path.read_bytes() == before
    assert maker.made == 2
    assert seen == [(2, 2)]


@pytest.mark.parametrize("finished", [True, False])
def test_a_fleet_of_other_numbers_is_not_overwritten(path: Path, maker: KeyMaker, finished: bool) -> None:
    if finished:
        generate(path, devices=3, keys=2, server_public_key=server_spki()).close()
    else:
        FleetStore.create(path, devices=3, keys=2, server_public_key=server_spki()).close()
    before = path.read_bytes()
    state = "a" if finished else "an unfinished"
    with pytest.raises(UsageError, match=f"there is {state} fleet of 3 devices and 2 keys already"):
        generate(path, devices=4, keys=2)
    assert path.read_bytes() == before


def test_a_foreign_file_is_not_overwritten(path: Path) -> None:
    path.write_text("mine " * 1000)
    with pytest.raises(UsageError, match="no fleet of loadgen"):
        generate(path, devices=1, keys=1)
    assert path.read_text() == "mine " * 1000


def test_a_worker_that_fails_ends_the_call(path: Path, maker: KeyMaker) -> None:
    maker.break_after = 3
    with pytest.raises(MemoryError, match="no more keys"):
        generate(path, devices=10, keys=10, workers=2, server_public_key=server_spki())
    maker.break_after = None
    with generate(path, devices=10, keys=10, workers=2) as store:
        assert store.complete


def test_the_public_key_of_a_real_cloud_may_be_given_when_going_on(path: Path, maker: KeyMaker) -> None:
    FleetStore.create(path, devices=2, keys=2, server_public_key=server_spki()).close()
    with generate(path, devices=2, keys=2, server_public_key=server_spki()) as store:
        assert store.server_public_key == server_spki()


def test_ids_are_repeatable_with_a_seed(tmp_path: Path, maker: KeyMaker) -> None:
    ids = []
    for name in ("a", "b"):
        with generate(tmp_path / name, devices=5, keys=1, server_public_key=server_spki(), seed=3) as store:
            ids.append([identity.device_id for identity in store.identities()])
    assert ids[0] == ids[1]


def test_knows_the_cores_it_may_use() -> None:
    assert available_cores() >= 1
