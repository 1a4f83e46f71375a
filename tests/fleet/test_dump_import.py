"""Flash dumps among the files that a fleet is made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.fleet.collection import Collection, SourceFormat
from loadgen.fleet.findings import Code, Findings, Level
from loadgen.fleet.importing import import_fleet
from loadgen.fleet.keystore import FleetStore
from tests.fleet.dumps import DEVICE_ID, copy, public_of, section
from tests.fleet.keys import good_keys, server_spki

OTHER_ID = bytes.fromhex("00112233445566778899aabb")


def collected(*sources: Path, fleet: Path) -> tuple[Findings, dict[bytes, bytes]]:
    """The findings, and id → private key of the fleet that comes of them."""
    found = Findings()
    with Collection(found) as collection:
        collection.add(sources)
        import_fleet(collection, fleet)
    with FleetStore.open(fleet) as store:
        return found, {identity.device_id: identity.private_key_der for identity in store.identities()}


def test_dumps_become_devices_with_their_cloud(tmp_path: Path) -> None:
    folder = tmp_path / "dumps"
    folder.mkdir()
    (folder / "first.bin").write_bytes(copy())
    nameless = section(good_keys()[1], device_id=b"\xff" * 12)
    (folder / f"{OTHER_ID.hex()}.bin").write_bytes(nameless)
    found, devices = collected(folder, fleet=tmp_path / "f.sqlite")
    assert devices == {DEVICE_ID: good_keys()[0], OTHER_ID: good_keys()[1]}
    assert not list(found)
    with FleetStore.open(tmp_path / "f.sqlite") as store:
        assert store.server_public_key == server_spki()
    with Collection(Findings()) as collection:
        collection.add([folder])
        assert collection.format() is SourceFormat.DUMP
        assert str(collection.server.address) == "192.168.1.10:5683"


def test_a_dump_and_the_keys_of_the_cloud_are_compared(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/one.bin").write_bytes(copy())
    (tmp_path / f"d/{DEVICE_ID.hex()}.pub.der").write_bytes(public_of(good_keys()[1]))
    found, _ = collected(tmp_path / "d", fleet=tmp_path / "f.sqlite")
    assert Code.PAIR_MISMATCH in found.codes


@pytest.mark.parametrize(
    ("name", "data", "level"),
    [
        ("firmware.bin", b"\x7fELF" + bytes(3000), Level.NOTE),
        (f"{OTHER_ID.hex()}.bin", b"\xff" * 16384, Level.ERROR),
        ("nameless.bin", section(device_id=b"\xff" * 12), Level.WARNING),
        (f"{OTHER_ID.hex()}.bin", copy(), Level.WARNING),
        ("erased.bin", copy(section(b"\xff")), Level.ERROR),
    ],
)
def test_what_is_odd_about_a_dump_is_said(name: str, data: bytes, level: Level, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/good.der").write_bytes(b"")
    (tmp_path / "d" / name).write_bytes(data)
    found = Findings()
    with Collection(found) as collection:
        collection.add([tmp_path / "d"])
    assert [finding.level for finding in found if finding.code is Code.DUMP] == [level]
