"""Options over environment over scenario over defaults."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from loadgen.config.bench import parse_bench
from loadgen.config.resolve import Layer, environment_layer, file_layer, option_layer, resolve_scenario
from loadgen.config.scenario import Scenario, ScenarioTable, document
from loadgen.config.show import scenario_lines
from loadgen.errors import UsageError
from loadgen.protocol import firmware
from loadgen.protocol.firmware import P1_0_7_0
from loadgen.protocol.stages import Stage

S = 1_000_000_000
BASE: dict[str, Any] = {"rate": "400/s", "duration": "10s"}


def resolve(
    options: dict[str, Any] | None = None,
    environment: dict[str, Any] | None = None,
    file: dict[str, Any] | None = None,
) -> Scenario:
    return resolve_scenario(
        "quick",
        "bench.toml",
        [
            option_layer(ScenarioTable(**(options or {}))),
            environment_layer(ScenarioTable(**(environment or {})), "LOADGEN_RUN"),
            Layer(
                ScenarioTable(**(BASE if file is None else file)),
                lambda key: f"bench.toml: scenario.quick.{key}",
            ),
        ],
    )


def refusal(*layers: dict[str, Any]) -> UsageError:
    with pytest.raises(UsageError) as caught:
        resolve(*layers)
    return caught.value


def test_defaults() -> None:
    scenario = resolve()
    assert scenario.mode == "open"
    assert scenario.rate_per_s == 400
    assert scenario.concurrency is None
    assert scenario.duration_ns == 10_000_000_000
    assert scenario.count is None
    assert scenario.target == "mock"
    assert scenario.fleet == ".loadgen/fleet.sqlite"
    assert (scenario.devices, scenario.keys) == (10_000, 64)
    assert [(share.name, float(share.weight)) for share in scenario.firmware] == [("p1@0.7.0", 1.0)]
    assert scenario.max_in_flight == 20_000
    assert scenario.workers == "auto"
    assert scenario.timeouts_ns == {}, "nobody has set one"
    assert scenario.firmware[0].timeouts_ns == {
        "connect": 5_000_000_000,
        "nonce": 20_000_000_000,
        "key": 20_000_000_000,
        "hello": 2_000_000_000,
    }
    assert (scenario.close, scenario.hold_ns, scenario.warmup_ns) == ("rst", 0, 0)
    assert (scenario.cloud_mode, scenario.cloud_workers, scenario.registry) == ("full", "auto", "open")
    assert (scenario.out, scenario.label, scenario.seed) == ("results", None, None)


def test_order_of_the_layers() -> None:
    assert resolve({"hold": "1s"}, {"hold": "2s"}, BASE | {"hold": "3s"}).hold_ns == 1_000_000_000
    assert resolve({}, {"hold": "2s"}, BASE | {"hold": "3s"}).hold_ns == 2_000_000_000
    assert resolve({}, {}, BASE | {"hold": "3s"}).hold_ns == 3_000_000_000


def test_a_concurrency_replaces_the_rate_of_a_lower_layer() -> None:
    scenario = resolve({"concurrency": "1k"})
    assert (scenario.mode, scenario.rate_per_s, scenario.concurrency) == ("closed", None, 1000)
    assert scenario.max_in_flight == 1000
    assert resolve({"rate": "1/s"}, {"concurrency": 5}).rate_per_s == 1


def test_a_count_replaces_the_duration_of_a_lower_layer() -> None:
    assert resolve({"count": "20k"}).duration_ns is None
    both = resolve({"count": 5, "duration": "1s"})
    assert (both.count, both.duration_ns) == (5, 1_000_000_000)


def test_rate_and_concurrency_exclude_each_other_within_a_layer() -> None:
    error = refusal({"rate": "1", "concurrency": "1"})
    assert error.where == "--rate and --concurrency"
    error = refusal({}, {"rate": "1", "concurrency": "1"})
    assert error.where == "LOADGEN_RUN_RATE and LOADGEN_RUN_CONCURRENCY"


def test_timeouts_merge_stage_by_stage() -> None:
    scenario = resolve({"timeout": {"key": "1s"}}, {"timeout": {"key": "2s", "hello": "20s"}})
    assert scenario.timeouts_ns == {"key": 1_000_000_000, "hello": 20_000_000_000}
    timeouts = scenario.firmware[0].timeouts_ns
    assert timeouts["key"] == 1_000_000_000
    assert timeouts["hello"] == 20_000_000_000
    assert timeouts["connect"] == 5_000_000_000


@pytest.mark.parametrize(
    ("options", "where", "what"),
    [
        ({"rate": "0"}, "--rate", "greater than 0"),
        ({"rate": "-5/s"}, "--rate", "negative"),
        ({"rate": "fast"}, "--rate", "is no rate"),
        ({"concurrency": "0"}, "--concurrency", "at least 1"),
        ({"concurrency": "-3"}, "--concurrency", "negative"),
        ({"count": "0"}, "--count", "at least 1"),
        ({"count": "-1"}, "--count", "negative"),
        ({"count": "1.5"}, "--count", "no whole number"),
        ({"duration": "0s"}, "--duration", "longer than nothing"),
        ({"duration": "10"}, "--duration", "without a unit"),
        ({"duration": ""}, "--duration", "is no duration"),
        ({"warmup": "-1s"}, "--warmup", "negative"),
        ({"hold": "forever"}, "--hold", "is no duration"),
        ({"max_in_flight": "0"}, "--max-in-flight", "at least 1"),
        ({"workers": "0"}, "--workers", "at least 1"),
        ({"workers": "many"}, "--workers", "is no count"),
        ({"workers": "1025"}, "--workers", "1024"),
        ({"cloud_workers": "0"}, "--cloud-workers", "at least 1"),
        ({"crypto": "opensll"}, "--crypto", 'unknown value "opensll"'),
        ({"close": "abort"}, "--close", 'unknown value "abort"'),
        ({"cloud_mode": "fully"}, "--cloud-mode", 'unknown value "fully"'),
        ({"registry": "closed"}, "--registry", 'unknown value "closed"'),
        ({"timeout": {"unwrap": "1s"}}, "--timeout", '"unwrap" is no stage with a timeout'),
        ({"timeout": {"key": "0s"}}, "--timeout: key", "longer than nothing"),
        ({"firmware": "p1@0.7.9"}, "--firmware", "p1@0.7.9"),
        ({"firmware": ["p1@0.7.0=90%"]}, "--firmware", "add up to 90 %"),
        ({"product_id": "-1"}, "--product-id", "no whole number from 0 to 65535"),
        ({"product_id": "65536"}, "--product-id", "no whole number from 0 to 65535"),
        ({"product_version": "0x10000"}, "--product-version", "no whole number from 0 to 65535"),
        ({"product_version": "1.5"}, "--product-version", "no whole number from 0 to 65535"),
        ({"target": "host:0"}, "--target", "port"),
        ({"target": "Device.Spark.io"}, "--target", "production name"),
        ({"label": "a/b"}, "--label", "is no label"),
        ({"label": ".."}, "--label", "is no label"),
        ({"seed": "x"}, "--seed", "whole number"),
        ({"seed": str(2**64)}, "--seed", "whole number"),
        ({"out": ""}, "--out", "is no path"),
        ({"fleet": "a\0b"}, "--fleet", "is no path"),
        ({"devices": 10, "keys": 11}, "--keys", "more than the 10 devices"),
        ({"concurrency": 11, "max_in_flight": 10}, "--max-in-flight", "fewer than the concurrency"),
        ({"cloud_mode": "replay", "registry": "strict"}, "--registry", "replay cloud cannot"),
        ({"fault": ["key:clsoe:1%"]}, "--fault", "close"),
        ({"fault": ["key:close:101%"]}, "--fault", "101%"),
        ({"fault": ["key:close:60%", "key:reset:60%"]}, "--fault", "add up to 120%"),
        ({"fault": ["key:forget:1%"], "cloud_mode": "replay"}, "--fault", "a replaying cloud cannot commit"),
        ({"delay": ["key:constant=1ms", "key:constant=2ms"]}, "--delay", "more than one delay"),
        ({"stall": ["1s:2s", "2s:1s"]}, "--stall", "overlap"),
        ({"delay": ["key:sometimes=1ms"]}, "--delay", "sometimes"),
        ({"stall": ["10s"]}, "--stall", "10s"),
        ({"fault": ["key:close:1%"], "target": "127.0.0.1"}, "--fault", "own mock cloud"),
    ],
)
def test_wrong_values(options: dict[str, Any], where: str, what: str) -> None:
    error = refusal(options)
    assert error.where == where
    assert what in error.what


def test_the_place_of_a_wrong_value_is_the_layer_that_said_it() -> None:
    assert refusal({}, {"rate": "0"}).where == "LOADGEN_RUN_RATE"
    assert refusal({}, {}, {"rate": "0", "duration": "1s"}).where == "bench.toml: scenario.quick.rate"


def test_a_scenario_knows_who_has_said_what() -> None:
    scenario = resolve({"rate": "5/s"}, {"crypto": "openssl"}, BASE | {"source_ip": ["127.0.0.1"], "rate": 1})
    assert scenario.place("rate") == "--rate"
    assert scenario.place("crypto") == "LOADGEN_RUN_CRYPTO"
    assert scenario.place("source_ip") == "bench.toml: scenario.quick.source_ip"
    assert scenario.place("phases") == "--phase", "of what nobody has said, the option that could"


def test_vendor_names_are_refused_from_every_layer() -> None:
    for layers in ([{"target": "spark.io"}], [{}, {"target": "spark.io"}], [{}, {}, BASE | {"target": "spark.io"}]):
        assert "production name" in refusal(*layers).what


def test_a_scenario_needs_load_and_end() -> None:
    assert "neither how fast nor how many" in refusal({}, {}, {"duration": "1s"}).what
    assert "has no end" in refusal({}, {}, {"rate": 1}).what


def test_a_target_is_written_with_its_port() -> None:
    assert resolve({"target": "::1"}).target == "[::1]:5683"


def test_many_slots_get_a_fleet_that_is_large_enough() -> None:
    assert resolve({"concurrency": "20k"}).devices == 20_000


def test_the_document_is_plain_json() -> None:
    built = document(resolve({"rate": "1/m"}))
    assert built["rate_per_s"] == pytest.approx(1 / 60)
    assert document(resolve({"rate": "2k"}))["rate_per_s"] == 2000
    timeouts_ns = {"connect": 5 * S, "nonce": 20 * S, "key": 20 * S, "hello": 2 * S}
    assert built["firmware"] == [{"name": "p1@0.7.0", "weight": 1, "timeouts_ns": timeouts_ns, "pace": None}]
    assert list(built) == [name for name in Scenario.__struct_fields__ if name not in {"dct", "places"}]


OTHER = "p1@0.0.1"


@pytest.fixture
def _other(monkeypatch: pytest.MonkeyPatch) -> None:
    """A firmware that waits longer for Hello."""
    profile = replace(P1_0_7_0, name=OTHER, timeouts_ns={**P1_0_7_0.timeouts_ns, Stage.HELLO: 4 * S})
    monkeypatch.setitem(firmware.PROFILES, OTHER, profile)


@pytest.mark.usefixtures("_other")
def test_in_a_mix_each_firmware_keeps_its_timeouts_but_those_that_are_set() -> None:
    scenario = resolve({"firmware": f"{OTHER}=30%,p1@0.7.0=70%", "timeout": {"key": "1s"}})
    assert [(share.name, share.weight) for share in scenario.firmware] == [
        (OTHER, Fraction(3, 10)),
        ("p1@0.7.0", Fraction(7, 10)),
    ]
    assert [share.timeouts_ns["hello"] for share in scenario.firmware] == [4 * S, 2 * S]
    assert [share.timeouts_ns["key"] for share in scenario.firmware] == [S, S]
    lines = scenario_lines(scenario)
    assert f'firmware = "{OTHER}=30%,p1@0.7.0=70%"' in lines
    assert 'timeout = { key = "1s" }' in lines


@pytest.mark.usefixtures("_other")
def test_a_mix_in_a_file_is_text_or_a_table() -> None:
    text = f'[scenario.a]\nrate = 1\ncount = 1\nfirmware = {{ "{OTHER}" = "25%", "p1@0.7.0" = 0.75 }}\n'
    bench = parse_bench(text, "bench.toml")
    scenario = resolve_scenario("a", "bench.toml", [file_layer(bench, "a")])
    assert [share.weight for share in scenario.firmware] == [Fraction(1, 4), Fraction(3, 4)]


def test_the_product_in_hello() -> None:
    scenario = resolve()
    assert (scenario.product_id, scenario.product_version) == (None, None)
    scenario = resolve({"product_id": "0x1F", "product_version": 3})
    assert (scenario.product_id, scenario.product_version) == (31, 3)
    assert {"product_id = 31", "product_version = 3"} <= set(scenario_lines(scenario))


def test_rates_stay_exact() -> None:
    assert resolve({"rate": "1/m"}).rate_per_s == Fraction(1, 60)


def test_source_addresses() -> None:
    assert resolve({"source_ip": ["10.0.0.5", " 10.0.0.6"]}).source_ip == ("10.0.0.5", "10.0.0.6")
    for addresses, what in (
        (["host"], "no numeric address"),
        (["0.0.0.0"], "can come from"),
        (["224.0.0.1"], "can come from"),
        (["10.0.0.5", "10.0.0.5"], "given twice"),
        (["10.0.0.5", "::1"], "IPv4 and IPv6"),
    ):
        error = refusal({"source_ip": addresses})
        assert error.where == "--source-ip"
        assert what in error.what
