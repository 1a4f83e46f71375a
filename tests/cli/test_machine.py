"""What a machine allows."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loadgen.cli.machine import (
    Network,
    allowed_cores,
    check_backend,
    connections_at_most,
    local_ports,
    look,
    network,
    share_cores,
    wanted,
    workers_with_work,
)
from loadgen.cli.prepare import Load
from loadgen.config.guard import ResolvedTarget
from loadgen.config.scenario import Scenario
from loadgen.config.target import HostPort
from loadgen.crypto import backends
from loadgen.diagnosis.preflight import judge
from loadgen.errors import UsageError
from tests.config.test_resolve import resolve


def scenario(**changes: Any) -> Scenario:
    return msgspec.structs.replace(resolve(), **changes)


@pytest.mark.parametrize(
    ("cores", "changes", "expected"),
    [
        (1, {}, (1, 1)),
        (2, {}, (1, 1)),
        (4, {}, (1, 3)),
        (8, {}, (2, 6)),
        (16, {}, (4, 12)),
        (2, {"cloud_mode": "replay"}, (1, 1)),
        (8, {"cloud_mode": "replay"}, (4, 4)),
        (8, {"workers": 3}, (3, 5)),
        (8, {"cloud_workers": 7}, (1, 7)),
        (2, {"cloud_workers": 5}, (1, 5)),
        (2, {"workers": 5}, (5, 1)),
        (2, {"workers": 5, "cloud_workers": 4}, (5, 4)),
        (8, {"target": "10.0.0.1:5683"}, (8, 0)),
        (8, {"target": "10.0.0.1:5683", "workers": 2}, (2, 0)),
    ],
)
def test_cores_are_shared(cores: int, changes: dict[str, Any], expected: tuple[int, int]) -> None:
    assert share_cores(scenario(**changes), cores) == expected


def test_the_default_shrinks_to_what_is_possible() -> None:
    at_most = connections_at_most(scenario(), workers=2, descriptors=1_064, ports=28_000)
    assert at_most == (2_000, "open files")
    assert connections_at_most(scenario(), workers=9, descriptors=20_000, ports=5_000) == (5_000, "local ports")
    assert connections_at_most(scenario(), workers=9, descriptors=20_000, ports=28_000) == (20_000, "")


def test_what_was_asked_for_does_not_shrink() -> None:
    with pytest.raises(UsageError, match="more than the 1,000 that the open files") as caught:
        connections_at_most(scenario(max_in_flight=1_001), workers=1, descriptors=1_064, ports=28_000)
    assert caught.value.where == "--max-in-flight"
    closed = scenario(mode="closed", concurrency=30_000, max_in_flight=30_000)
    with pytest.raises(UsageError, match="local ports") as caught:
        connections_at_most(closed, workers=4, descriptors=20_000, ports=28_000)
    assert caught.value.where == "--concurrency"


@pytest.mark.parametrize(
    ("devices", "max_in_flight", "changes", "expected"),
    [
        (10_000, 20_000, {}, 4),
        (3, 20_000, {}, 3),
        (10_000, 1, {}, 1),
        (10_000, 64, {"mode": "closed", "concurrency": 2}, 2),
    ],
)
def test_no_worker_is_left_without_work(
    devices: int, max_in_flight: int, changes: dict[str, Any], expected: int
) -> None:
    busy = workers_with_work(4, scenario=scenario(**changes), devices=devices, max_in_flight=max_in_flight)
    assert busy == expected


def test_this_machine_has_something() -> None:
    assert allowed_cores() >= 1
    assert local_ports() > 1


def target(host: str, *, loopback: bool) -> ResolvedTarget:
    return ResolvedTarget(host, (HostPort(host, 5683),), loopback)


def test_loopback_spreads_over_addresses_where_ports_are_few() -> None:
    assert network(scenario(), None, 28_000).sources == ()
    spread = network(scenario(max_in_flight=100_000), None, 28_000)
    assert spread.sources == ("127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5")
    assert spread.all_ports == 140_000
    assert len(set(network(scenario(max_in_flight=100_000), None, 100).sources)) == 250
    assert network(scenario(max_in_flight=100_000), target("127.0.0.1", loopback=True), 28_000) == spread
    assert network(scenario(max_in_flight=100_000), target("::1", loopback=True), 28_000).sources == ()
    far = network(scenario(max_in_flight=100_000), target("10.0.0.1", loopback=False), 28_000)
    assert far == Network(False, (), 28_000)


def test_named_sources_must_be_of_this_machine() -> None:
    own = network(scenario(source_ip=("127.1.2.3", "127.1.2.4")), None, 1_000)
    assert (own.sources, own.all_ports) == (("127.1.2.3", "127.1.2.4"), 2_000)
    for source, what in (("192.0.2.1", "no address of this machine"), ("::1", "the target has an IPv4 address")):
        with pytest.raises(UsageError, match=what) as caught:
            network(scenario(source_ip=(source,)), None, 1_000)
        assert caught.value.where == "--source-ip"


BASE = {"rate": "400/s", "duration": "10s"}


@pytest.mark.parametrize(
    ("layers", "place"),
    [
        (({"source_ip": ["192.0.2.1"]},), "--source-ip"),
        (({}, {"source_ip": ["192.0.2.1"]}), "LOADGEN_RUN_SOURCE_IP"),
        (({}, {}, {**BASE, "source_ip": ["192.0.2.1"]}), "bench.toml: scenario.quick.source_ip"),
    ],
)
def test_a_source_that_is_not_local_is_refused_by_its_place(layers: tuple[dict[str, Any], ...], place: str) -> None:
    with pytest.raises(UsageError, match="no address of this machine") as caught:
        network(resolve(*layers), None, 1_000)
    assert caught.value.where == place


def test_too_many_connections_are_refused_by_the_place_that_asks_for_them() -> None:
    tables: dict[str, dict[str, Any]] = {
        "max_in_flight": {"rate": 1, "duration": "10s", "max_in_flight": "5k"},
        "concurrency": {"duration": "10s", "concurrency": "5k"},
        "devices": {"storm": "fin", "devices": "5k"},
    }
    for key, table in tables.items():
        with pytest.raises(UsageError, match="more than the 936 that the open files") as caught:
            connections_at_most(resolve({}, {}, table), workers=1, descriptors=1_000, ports=28_000)
        assert caught.value.where == f"bench.toml: scenario.quick.{key}"


def test_a_backend_that_cannot_run_is_refused_by_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "kernel", lambda: backends.Kernel("no"))
    check_backend(resolve({"crypto": "openssl"}))
    with pytest.raises(UsageError, match="cannot be used: no") as caught:
        check_backend(resolve({}, {"crypto": "native"}))
    assert caught.value.where == "LOADGEN_RUN_CRYPTO"


def test_a_run_and_this_machine_can_be_judged() -> None:
    load = Load(scenario(close="fin"), None, None)
    asked = wanted(load, network(load.scenario, None))
    assert (asked.connections, asked.negotiable, asked.peak_per_s, asked.closes_with_fin) == (20_000, True, 400.0, True)
    assert all(finding.remedy for finding in judge(look(load.scenario), asked))
