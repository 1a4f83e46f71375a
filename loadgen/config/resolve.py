"""From layers of settings to one resolved scenario: options over environment over scenario over defaults.

Rate and concurrency exclude each other and duration and count belong together, so each of these pairs is
taken whole from the highest layer that says anything about it: ``--count 500`` replaces the duration of a
scenario, and ``--concurrency 64`` its rate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from loadgen.config.bench import BenchFile, suggestion
from loadgen.config.guard import MAX_IN_FLIGHT, refuse_vendor_name
from loadgen.config.scenario import FirmwareShare, Scenario, ScenarioTable
from loadgen.config.target import MOCK, parse_host_port
from loadgen.config.values import (
    read_choice,
    read_count,
    read_duration,
    read_firmware,
    read_label,
    read_path,
    read_processes,
    read_rate,
    read_seed,
)
from loadgen.crypto.backends import CHOICES
from loadgen.engine.plan import TIMED_STAGES
from loadgen.errors import UsageError
from loadgen.mockcloud.settings import CloudMode, RegistryPolicy
from loadgen.protocol.firmware import FirmwareProfile

DEFAULT_FLEET: Final = ".loadgen/fleet.sqlite"
"""Where the fleet is unless somebody names another file."""
DEFAULT_OUT: Final = "results"
DEFAULT_DEVICES: Final = 10_000
DEFAULT_KEYS: Final = 64
DEFAULT_FIRMWARE: Final = "p1@0.7.0"

CRYPTO_CHOICES: Final = CHOICES
CLOSE_CHOICES: Final = ("rst", "fin")
TIMESTAMP_CHOICES: Final = ("auto", "kernel", "user")
CLOUD_MODES: Final = tuple(mode.value for mode in CloudMode)
REGISTRY_POLICIES: Final = tuple(policy.value for policy in RegistryPolicy)


@dataclass(frozen=True, slots=True)
class Layer:
    """Settings of one origin.

    ``where`` gives the name by which the user knows a setting of this layer: ``--rate``,
    ``LOADGEN_RUN_RATE`` or ``bench.toml: scenario.quick.rate``.
    """

    table: ScenarioTable
    where: Callable[[str], str]


def option_layer(table: ScenarioTable) -> Layer:
    """The layer of the command line."""
    return Layer(table, lambda key: f"--{key.replace('_', '-')}")


def environment_layer(table: ScenarioTable, prefix: str) -> Layer:
    """The layer of the environment; ``prefix`` is for example ``LOADGEN_RUN``."""
    return Layer(table, lambda key: f"{prefix}_{key.upper()}")


def file_layer(bench: BenchFile, name: str) -> Layer:
    """The layer of the scenario ``name``.

    Raises:
        UsageError: there is no such scenario.
    """
    return Layer(bench.scenario(name), lambda key: f"{bench.shown}: scenario.{name}.{key}")


def resolve_scenario(name: str, source: str, layers: Sequence[Layer]) -> Scenario:
    """Merge ``layers``, the highest first, and fill in the defaults.

    Args:
        name: the scenario's name.
        source: the file that it comes from, for the record.
        layers: options, environment, scenario.

    Raises:
        UsageError: a value that is wrong, or values that contradict each other.
    """
    picks = _Picks(layers)
    profile = picks.read("firmware", read_firmware) or read_firmware(DEFAULT_FIRMWARE, "firmware")
    rate, concurrency = _load(picks)
    duration_ns, count = _bounds(picks, name)
    devices, keys = _fleet_size(picks, concurrency)
    mode = picks.choice("cloud_mode", CLOUD_MODES)
    return Scenario(
        name=name,
        source=source,
        target=_target(picks),
        server_key=picks.read("server_key", read_path),
        fleet=picks.read("fleet", read_path) or DEFAULT_FLEET,
        devices=devices,
        keys=keys,
        firmware=(FirmwareShare(profile.name),),
        mode="open" if concurrency is None else "closed",
        rate_per_s=rate,
        concurrency=concurrency,
        max_in_flight=_max_in_flight(picks, concurrency),
        duration_ns=duration_ns,
        count=count,
        warmup_ns=picks.read("warmup", read_duration, zero=True) or 0,
        workers=picks.read("workers", read_processes) or "auto",
        crypto=picks.choice("crypto", CRYPTO_CHOICES),
        timestamps=picks.choice("timestamps", TIMESTAMP_CHOICES),
        timeouts_ns=_timeouts(picks, profile),
        close=picks.choice("close", CLOSE_CHOICES),
        hold_ns=picks.read("hold", read_duration, zero=True) or 0,
        cloud_mode=mode,
        cloud_workers=picks.read("cloud_workers", read_processes) or "auto",
        registry=_registry(picks, mode),
        out=picks.read("out", read_path) or DEFAULT_OUT,
        label=picks.read("label", read_label),
        seed=picks.read("seed", read_seed),
    )


class _Picks:
    """For each key the value of the highest layer that has one, read with its place for messages."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers

    def raw(self, key: str) -> tuple[Any, str] | None:
        """The value as written, and its place."""
        for layer in self.layers:
            value = getattr(layer.table, key)
            if value is not None:
                return value, layer.where(key)
        return None

    def where(self, key: str) -> str:
        """The place of ``key``, or its name where only the default speaks."""
        found = self.raw(key)
        return found[1] if found else key

    def read(self, key: str, reader: Callable[..., Any], **options: Any) -> Any:
        """``reader(value, where, **options)``, or None where no layer has the key."""
        found = self.raw(key)
        return None if found is None else reader(*found, **options)

    def choice(self, key: str, allowed: Sequence[str]) -> Any:
        """One of ``allowed``, by default the first."""
        found = self.raw(key)
        return allowed[0] if found is None else read_choice(*found, allowed)

    def pair(self, first: str, second: str) -> Layer | None:
        """The highest layer that says anything about either of two keys."""
        for layer in self.layers:
            if getattr(layer.table, first) is not None or getattr(layer.table, second) is not None:
                return layer
        return None


def _load(picks: _Picks) -> tuple[Fraction | None, int | None]:
    """Rate or concurrency, exactly one of them."""
    layer = picks.pair("rate", "concurrency")
    if layer is None:
        raise UsageError(
            "the scenario says neither how fast nor how many at once",
            where=picks.layers[-1].where("rate"),
            remedy="Give a rate (open loop) or a concurrency (closed loop).",
        )
    rate, concurrency = layer.table.rate, layer.table.concurrency
    if rate is not None and concurrency is not None:
        raise UsageError(
            "exclude each other: a rate is an open loop, a concurrency a closed one",
            where=f"{layer.where('rate')} and {layer.where('concurrency')}",
            remedy="Give one of them.",
        )
    if rate is not None:
        return read_rate(rate, layer.where("rate")), None
    return None, read_count(concurrency, layer.where("concurrency"))


def _bounds(picks: _Picks, name: str) -> tuple[int | None, int | None]:
    """Duration in ns, count; at least one of them."""
    layer = picks.pair("duration", "count")
    if layer is None:
        raise UsageError(
            f'the scenario "{name}" has no end',
            where=picks.layers[-1].where("duration"),
            remedy="Give a duration, a count, or both.",
        )
    duration, count = layer.table.duration, layer.table.count
    return (
        None if duration is None else read_duration(duration, layer.where("duration"), zero=False),
        None if count is None else read_count(count, layer.where("count")),
    )


def _target(picks: _Picks) -> str:
    found = picks.raw("target")
    if found is None or found[0] == MOCK:
        return MOCK
    text, where = found
    try:
        target = parse_host_port(text)
    except ValueError as error:
        raise UsageError(str(error), where=where) from None
    refuse_vendor_name(target.host, where=where)
    return str(target)


def _fleet_size(picks: _Picks, concurrency: int | None) -> tuple[int, int]:
    devices = picks.read("devices", read_count) or max(DEFAULT_DEVICES, concurrency or 0)
    keys = picks.read("keys", read_count) or min(DEFAULT_KEYS, devices)
    if keys > devices:
        raise UsageError(
            f"{keys} keys are more than the {devices} devices that could have them", where=picks.where("keys")
        )
    return devices, keys


def _max_in_flight(picks: _Picks, concurrency: int | None) -> int:
    given: int | None = picks.read("max_in_flight", read_count)
    if concurrency is None:
        return given or MAX_IN_FLIGHT
    if given is not None and given < concurrency:
        raise UsageError(
            f"{given} connections at most are fewer than the concurrency of {concurrency}",
            where=picks.where("max_in_flight"),
            remedy="Raise one or lower the other.",
        )
    return given or concurrency


def _timeouts(picks: _Picks, profile: FirmwareProfile) -> dict[str, int]:
    """The firmware's timeouts, overridden stage by stage, the highest layer last."""
    timeouts: dict[str, int] = {stage.value: profile.timeouts_ns[stage] for stage in TIMED_STAGES}
    for layer in reversed(picks.layers):
        for stage, text in (layer.table.timeout or {}).items():
            where = f"{layer.where('timeout')}: {stage}"
            if stage not in timeouts:
                raise UsageError(
                    f'"{stage}" is no stage with a timeout',
                    where=layer.where("timeout"),
                    remedy=f"{suggestion(stage, timeouts)}Allowed: {', '.join(timeouts)}.",
                )
            timeouts[stage] = read_duration(text, where, zero=False)
    return timeouts


def _registry(picks: _Picks, mode: str) -> Any:
    registry = picks.choice("registry", REGISTRY_POLICIES)
    if mode == "replay" and registry != "open":
        raise UsageError(
            f'"{registry}" needs to know who speaks, which a replay cloud cannot',
            where=picks.where("registry"),
            remedy="Leave the registry open, or use the cloud mode full.",
        )
    return registry
