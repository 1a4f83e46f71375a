"""From a scenario to what the workers and the mock cloud get."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadgen.cli import prepare
from loadgen.config.guard import ResolvedTarget
from loadgen.config.scenario import FirmwareShare, Scenario
from loadgen.config.target import HostPort
from loadgen.engine.plan import Pace
from loadgen.errors import UsageError
from loadgen.fleet.generate import generate
from loadgen.fleet.keystore import FleetStore
from tests.config.test_resolve import resolve

ADDRESS = HostPort("127.0.0.1", 5683)


def scenario(**changes: Any) -> Scenario:
    return msgspec.structs.replace(resolve(), **changes)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetStore]:
    """A fleet of three devices with two keys."""
    path = tmp_path_factory.mktemp("fleet") / "fleet.sqlite"
    with generate(path, devices=3, keys=2) as made:
        yield made


def test_the_plan_has_the_scenarios_numbers() -> None:
    plan = prepare.load_plan(
        scenario(warmup_ns=7, hold_ns=8, count=9), address=ADDRESS, server_key=b"key", max_in_flight=5
    )
    assert plan.rate == 400
    assert (plan.duration_ns, plan.count, plan.warmup_ns, plan.hold_ns) == (10**10, 9, 7, 8)
    assert (str(plan.target), plan.max_in_flight, plan.server_public_key) == ("127.0.0.1:5683", 5, b"key")
    assert [(part.name, part.parts) for part in plan.firmwares] == [("p1@0.7.0", 1)]
    assert Path(plan.fleet_path).is_absolute()
    assert not plan.single_key


def test_devices_share_one_key_with_a_replaying_cloud(store: FleetStore) -> None:
    replay = scenario(cloud_mode="replay")
    plan = prepare.load_plan(replay, address=ADDRESS, server_key=b"", max_in_flight=5)
    assert plan.single_key
    assert prepare.first_record(replay, plan, store, 1).fleet.distinct_keys == 1
    settings = prepare.mock_cloud_settings(replay, store, 2, 7)
    assert settings.replay_device_key == next(store.identities(0, 1, 1)).public_key
    assert list(prepare.registered(store, replay)) == []


def test_the_mock_cloud_is_taught_the_fleet(store: FleetStore) -> None:
    settings = prepare.mock_cloud_settings(scenario(registry="strict", fault=("key:close:1%",)), store, 2, 7)
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 0, 2)
    assert ([str(fault) for fault in settings.faults], settings.seed) == (["key:close:1%"], 7)
    assert settings.server_key == store.server_key_der
    assert len(dict(prepare.registered(store, scenario()))) == 3


def test_the_first_record_is_running(store: FleetStore) -> None:
    plan = prepare.load_plan(scenario(), address=ADDRESS, server_key=b"", max_in_flight=5)
    record = prepare.first_record(scenario(label="x"), plan, store, 77)
    assert (record.status, record.seed, record.label) == ("running", 77, "x")
    assert (record.target.address, record.target.kind) == ("127.0.0.1:5683", "mock")
    assert (record.fleet.devices, record.fleet.distinct_keys) == (3, 2)
    assert record.rate.offered_per_s == 400


def test_too_few_devices(store: FleetStore, tmp_path: Path) -> None:
    closed = scenario(mode="closed", concurrency=4, fleet=str(tmp_path / "missing"), devices=3)
    with pytest.raises(UsageError, match='the scenario "quick" would make 3'):
        prepare.check_devices(closed)
    with pytest.raises(UsageError, match="has 3: none is used twice at once"):
        prepare.check_fleet(store, closed)
    prepare.check_devices(scenario(mode="closed", concurrency=4, fleet=str(store.path), devices=3))


def test_every_firmware_of_a_mix_needs_a_device(store: FleetStore) -> None:
    thirds = tuple(FirmwareShare(name, Fraction(1, 3)) for name in ("p1@0.5.5", "p1@0.6.4", "p1@0.7.0"))
    assert prepare.check_fleet(store, scenario(firmware=thirds, keys=1)) is None
    uneven = (FirmwareShare("p1@0.6.4", Fraction(1, 10)), FirmwareShare("p1@0.7.0", Fraction(9, 10)))
    with pytest.raises(UsageError, match=r"10% of 3 devices is less than one, so none would run p1@0\.6\.4"):
        prepare.check_fleet(store, scenario(firmware=uneven))
    plan = prepare.load_plan(scenario(firmware=uneven), address=ADDRESS, server_key=b"", max_in_flight=5)
    assert [(part.name, part.parts) for part in plan.firmwares] == [("p1@0.6.4", 1), ("p1@0.7.0", 9)]


def test_what_devices_say_of_themselves_reaches_the_plan() -> None:
    pace = Pace(encrypt_ns=5)
    share = FirmwareShare("p1@0.7.0", Fraction(1), {"key": 7}, pace)
    paced = scenario(firmware=(share,), product_id=77, product_version=3)
    plan = prepare.load_plan(paced, address=ADDRESS, server_key=b"", max_in_flight=5)
    assert (plan.product_id, plan.product_version) == (77, 3)
    assert (plan.firmwares[0].timeouts_ns, plan.firmwares[0].pace) == ({"key": 7}, pace)


def test_fewer_keys_than_wanted_are_said(store: FleetStore) -> None:
    text = prepare.check_fleet(store, scenario(keys=64, devices=100))
    assert text is not None
    assert "has 2 distinct keys, the scenario asks for 64" in text
    assert "--devices 100 --keys 64" in text
    assert prepare.check_fleet(store, scenario(keys=2)) is None
    assert prepare.check_fleet(store, scenario(cloud_mode="replay")) is None


def test_the_server_key_of_a_file_wins(store: FleetStore, tmp_path: Path) -> None:
    assert prepare.server_public_key(scenario(), store) == store.server_public_key
    with pytest.raises(UsageError, match="cannot be read"):
        prepare.server_public_key(scenario(server_key=str(tmp_path / "missing.pem")), store)


def test_a_server_key_that_cannot_be_read_is_found_before_a_fleet_is_made(tmp_path: Path) -> None:
    prepare.check_server_key(scenario())
    with pytest.raises(UsageError, match="cannot be read"):
        prepare.check_server_key(scenario(server_key=str(tmp_path / "none.pem")))


def test_an_unfinished_fleet_is_finished(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "fleet.sqlite"
    FleetStore.create(path, devices=2, keys=1).close()
    with prepare.open_fleet(path, devices=100, keys=50, quiet=False) as store:
        assert store.complete
        assert (store.devices, store.distinct_keys) == (2, 1)
    assert capsys.readouterr().err == (
        "Making a fleet (devices: 2, keys: 1) …\nMaking a fleet (devices: 2, keys: 1): done\n"
    )


def test_the_first_address_that_answers_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Connection:
        def close(self) -> None:
            """Nothing."""

    def connect(address: tuple[str, int], timeout_s: float) -> Connection:
        asked.append(address[0])
        if address[0] == "::1":
            raise ConnectionRefusedError
        return Connection()

    monkeypatch.setattr(socket, "create_connection", connect)
    one = ResolvedTarget("a", (HostPort("10.0.0.1", 1),), loopback=False)
    assert prepare.choose_address(one) == HostPort("10.0.0.1", 1)
    assert asked == []
    both = ResolvedTarget("a", (HostPort("::1", 1), HostPort("127.0.0.1", 1)), loopback=True)
    assert prepare.choose_address(both) == HostPort("127.0.0.1", 1)
    none = ResolvedTarget("a", (HostPort("::1", 1), HostPort("::1", 1)), loopback=True)
    assert prepare.choose_address(none) == HostPort("::1", 1)
    assert asked == ["::1", "127.0.0.1", "::1", "::1"]


def test_a_results_folder_is_made(tmp_path: Path) -> None:
    prepare.check_results_folder(str(tmp_path / "a" / "b"))
    assert list((tmp_path / "a" / "b").iterdir()) == []
