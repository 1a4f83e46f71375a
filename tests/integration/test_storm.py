"""A fleet comes back through a cloud that can only take so many at a time."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import pytest

from loadgen import clock
from loadgen.cli.storm import StormWatch
from loadgen.engine.draws import Distribution
from loadgen.engine.plan import LoadPlan, Target
from loadgen.engine.pool import Pool
from loadgen.fleet.generate import generate
from loadgen.fleet.keystore import FleetStore
from loadgen.mockcloud.cloud import MockCloud
from loadgen.mockcloud.settings import CloudMode, CloudSettings
from loadgen.recording.record import Storm
from loadgen.recording.rows import rows_from_bytes
from tests.engine.fakes import firmware_plan


class Outcome:
    """A storm from the loss of all sessions until everybody is back, or until the time is over."""

    def __init__(self, load: LoadPlan, workers: int, limit_s: int) -> None:
        pool = Pool(load, workers)
        try:
            pool.start()
            watch = StormWatch(sum(worker.devices for worker in pool.workers), pool.begin())
            limit = clock.monotonic_ns() + limit_s * clock.NS_PER_S
            while not watch.complete and clock.monotonic_ns() < limit:
                for chunk in pool.poll(0.05).rows:
                    watch.add(rows_from_bytes(chunk))
            self.storm: Storm = watch.facts()
            self.sessions = pool.counts.sessions
            self.failed = pool.counts.failed
            self.session_failed = pool.counts.session_failed
        finally:
            pool.close()


def storm_plan(store: FleetStore, target: Target, **changes: object) -> LoadPlan:
    assert store.server_public_key is not None
    settings: dict[str, object] = {
        "mode": "open",
        "storm": Distribution("constant", 0.0),
        "target": target,
        "fleet_path": str(store.path),
        "server_public_key": store.server_public_key,
        "firmwares": (firmware_plan(),),
        "max_in_flight": store.devices,
        "duration_ns": 600 * clock.NS_PER_S,
        "hold_ns": 600 * clock.NS_PER_S,
        "single_key": True,
        "seed": 1,
    }
    return LoadPlan(**{**settings, **changes})  # type: ignore[arg-type]


def limited_cloud(store: FleetStore, limit: int, queue: int | None = None) -> MockCloud:
    assert store.server_key_der is not None
    return MockCloud(
        CloudSettings(
            server_key=store.server_key_der,
            port=0,
            workers=1,
            mode=CloudMode.REPLAY,
            replay_device_key=next(store.identities(0, 1, 1)).public_key,
            limit=Fraction(limit),
            limit_queue=queue,
        )
    )


def test_a_small_fleet_comes_back_as_fast_as_the_cloud_lets_it(fleet: FleetStore) -> None:
    with limited_cloud(fleet, 50) as cloud:
        outcome = Outcome(storm_plan(fleet, Target(*cloud.start())), 2, limit_s=20)
    storm = outcome.storm
    assert (storm.devices, storm.online) == (50, 50)
    assert storm.online_50_s == pytest.approx(0.5, abs=0.3)
    assert storm.online_100_s == pytest.approx(1.0, abs=0.6)
    assert outcome.failed == 0


def test_devices_that_the_cloud_turns_away_come_back_until_they_are_in(fleet: FleetStore) -> None:
    with limited_cloud(fleet, 20, queue=10) as cloud:
        outcome = Outcome(storm_plan(fleet, Target(*cloud.start()), devices=30), 1, limit_s=30)
    assert (outcome.storm.devices, outcome.storm.online) == (30, 30)
    assert outcome.failed >= 15, "the first round has room for eleven"


@pytest.fixture
def large_fleet(tmp_path: Path) -> Iterator[FleetStore]:
    """Ten thousand devices."""
    with generate(tmp_path / "fleet.sqlite", devices=10_000, keys=1) as store:
        yield store


@pytest.mark.long
def test_ten_thousand_devices_come_back_through_a_cloud_of_a_thousand_a_second(large_fleet: FleetStore) -> None:
    with limited_cloud(large_fleet, 1000) as cloud:
        outcome = Outcome(storm_plan(large_fleet, Target(*cloud.start())), 1, limit_s=120)
    storm = outcome.storm
    assert (storm.devices, storm.online) == (10_000, 10_000)
    assert storm.online_50_s is not None
    assert storm.online_100_s is not None
    assert 4.5 <= storm.online_50_s <= 20
    assert 9.5 <= storm.online_100_s <= 60
    assert outcome.session_failed == 0
    assert outcome.sessions == 10_000
    print(storm, "failed attempts:", outcome.failed)
