"""From layers of settings to one resolved scenario: options over environment over scenario over defaults.

The load models exclude each other and duration and count belong together, so each of these groups is taken whole
from the highest layer that says anything about it: ``--count 500`` replaces the duration of a scenario, and
``--concurrency 64`` its rate. Phases and traces have a length of their own: what lower layers say about duration
and warm-up was meant for another load.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Final

from loadgen.clock import NS_PER_S
from loadgen.config.bench import BenchFile, suggestion
from loadgen.config.distributions import read_detection, read_durations, read_event_rates
from loadgen.config.guard import MAX_IN_FLIGHT, refuse_vendor_name
from loadgen.config.mix import Part, read_mix
from loadgen.config.pace import pace_texts, read_paces
from loadgen.config.phases import read_phases, warmup_ns_of
from loadgen.config.scenario import KEYS, FirmwareShare, Phase, Scenario, ScenarioTable, flag
from loadgen.config.target import MOCK, parse_host_port
from loadgen.config.values import (
    read_addresses,
    read_choice,
    read_count,
    read_duration,
    read_label,
    read_path,
    read_processes,
    read_rate,
    read_seed,
    read_thresholds,
    read_uint16,
)
from loadgen.crypto.backends import CHOICES
from loadgen.engine.draws import Distribution
from loadgen.engine.plan import TIMED_STAGES, Pace
from loadgen.errors import UsageError
from loadgen.mockcloud.delays import check_delays, check_stalls, parse_delay, parse_stall
from loadgen.mockcloud.faults import check_faults, parse_fault
from loadgen.mockcloud.settings import CloudMode, RegistryPolicy

DEFAULT_FLEET: Final = ".loadgen/fleet.sqlite"
"""Where the fleet is unless somebody names another file."""
DEFAULT_OUT: Final = "results"
DEFAULT_DEVICES: Final = 10_000
DEFAULT_KEYS: Final = 64
DEFAULT_STORM_NS: Final = 600 * NS_PER_S
"""How long a storm may last."""
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


def parameter(key: str) -> str:
    """The name of that option's parameter, and in capitals of its environment variable."""
    return flag(key).removeprefix("--").replace("-", "_")


def option_layer(table: ScenarioTable) -> Layer:
    """The layer of the command line."""
    return Layer(table, flag)


def environment_layer(table: ScenarioTable, prefix: str) -> Layer:
    """The layer of the environment; ``prefix`` is for example ``LOADGEN_RUN``."""
    return Layer(table, lambda key: f"{prefix}_{parameter(key).upper()}")


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
    mix = picks.read("firmware", read_mix) or read_mix(DEFAULT_FIRMWARE, "firmware")
    load = _load(picks, mix)
    rate, concurrency = load.rate, load.concurrency
    duration_ns, count, warmup_ns = _bounds(load, picks, name)
    devices, keys = _fleet_size(picks, concurrency)
    sessions = _sessions(picks, load, duration_ns, mix)
    timeouts_ns = _timeouts(picks)
    names = [part.profile.name for part in mix]
    paces = picks.read("device_pace", read_paces, names=names) or {}
    mode = picks.choice("cloud_mode", CLOUD_MODES)
    return Scenario(
        name=name,
        source=source,
        target=_target(picks),
        server_key=picks.read("server_key", read_path),
        fleet=picks.read("fleet", read_path) or DEFAULT_FLEET,
        devices=devices,
        keys=keys,
        firmware=tuple(_share(part, timeouts_ns, paces) for part in mix),
        product_id=picks.read("product_id", read_uint16),
        product_version=picks.read("product_version", read_uint16),
        device_pace=tuple(pace_texts(paces, names)),
        mode="open" if concurrency is None else "closed",
        rate_per_s=rate,
        phases=load.phases,
        trace=load.trace,
        storm=load.storm,
        storm_devices=load.picks.read("devices", read_count) if load.storm is not None else None,
        concurrency=concurrency,
        max_in_flight=_max_in_flight(picks, concurrency if load.storm is None else devices),
        source_ip=picks.read("source_ip", read_addresses) or (),
        duration_ns=duration_ns,
        count=count,
        warmup_ns=warmup_ns,
        workers=picks.read("workers", read_processes) or "auto",
        crypto=picks.choice("crypto", CRYPTO_CHOICES),
        timestamps=picks.choice("timestamps", TIMESTAMP_CHOICES),
        timeouts_ns=timeouts_ns,
        close=picks.choice("close", CLOSE_CHOICES),
        hold_ns=sessions.hold_ns,
        hold=sessions.hold,
        events=sessions.events,
        reconnect=sessions.reconnect,
        cloud_mode=mode,
        cloud_workers=picks.read("cloud_workers", read_processes) or "auto",
        registry=_registry(picks, mode),
        fault=_disturbances(picks, "fault", parse_fault, partial(check_faults, replay=mode == "replay")),
        delay=_disturbances(picks, "delay", parse_delay, check_delays),
        stall=_disturbances(picks, "stall", parse_stall, check_stalls),
        thresholds=tuple(threshold.text for threshold in picks.read("thresholds", read_thresholds) or ()),
        out=picks.read("out", read_path) or DEFAULT_OUT,
        label=picks.read("label", read_label),
        seed=picks.read("seed", read_seed),
        places=picks.places(),
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

    def places(self) -> dict[str, str]:
        """Every key that a layer has, with its place."""
        found = ((key, self.raw(key)) for key in KEYS)
        return {key: value_and_place[1] for key, value_and_place in found if value_and_place is not None}

    def read(self, key: str, reader: Callable[..., Any], **options: Any) -> Any:
        """``reader(value, where, **options)``, or None where no layer has the key."""
        found = self.raw(key)
        return None if found is None else reader(*found, **options)

    def choice(self, key: str, allowed: Sequence[str]) -> Any:
        """One of ``allowed``, by default the first."""
        found = self.raw(key)
        return allowed[0] if found is None else read_choice(*found, allowed)

    def group(self, *keys: str) -> Layer | None:
        """The highest layer that says anything about one of ``keys``."""
        for layer in self.layers:
            if any(getattr(layer.table, key) is not None for key in keys):
                return layer
        return None

    def down_to(self, lowest: Layer) -> _Picks:
        """Without the layers below ``lowest``."""
        return _Picks(self.layers[: self.layers.index(lowest) + 1])


_MODELS: Final = ("rate", "phases", "trace", "storm", "concurrency")
"""Load models; one of them makes a run."""


@dataclass(frozen=True, slots=True)
class _Load:
    """The load model and what may be said about its length."""

    picks: _Picks
    rate: Fraction | None = None
    concurrency: int | None = None
    phases: tuple[Phase, ...] = ()
    trace: str | None = None
    storm: Distribution | None = None


def _load(picks: _Picks, mix: Sequence[Part]) -> _Load:
    """Exactly one load model."""
    layer = picks.group(*_MODELS)
    if layer is None:
        raise UsageError(
            "the scenario says neither how fast nor how many at once",
            where=picks.layers[-1].where("rate"),
            remedy="Give a rate, phases, a trace or a storm (open loop) or a concurrency (closed loop).",
        )
    chosen = [key for key in _MODELS if getattr(layer.table, key) is not None]
    if len(chosen) > 1:
        raise UsageError(
            "exclude each other: a rate, phases, a trace and a storm are open loops, a concurrency a closed one",
            where=" and ".join(layer.where(key) for key in chosen),
            remedy="Give one of them.",
        )
    key, value, where = chosen[0], getattr(layer.table, chosen[0]), layer.where(chosen[0])
    own = picks.down_to(layer)
    match key:
        case "rate":
            return _Load(picks, rate=read_rate(value, where))
        case "concurrency":
            return _Load(picks, concurrency=read_count(value, where))
        case "phases":
            return _Load(own, phases=read_phases(value, where))
        case "storm":
            return _Load(own, storm=read_detection(value, where, [part.profile for part in mix]))
    return _Load(own, trace=read_path(value, where))


def _bounds(load: _Load, picks: _Picks, name: str) -> tuple[int | None, int | None, int]:
    """Duration in ns, count (at least one of the two, but for a trace), and the warm-up in ns."""
    layer = load.picks.group("duration", "count")
    if load.storm is not None:
        return _storm_bounds(load.picks), None, 0
    if layer is None and not load.phases and load.trace is None:
        raise UsageError(
            f'the scenario "{name}" has no end',
            where=picks.layers[-1].where("duration"),
            remedy="Give a duration, a count, or both.",
        )
    duration = count = None
    if layer is not None:
        duration, count = layer.table.duration, layer.table.count
    duration_ns = None if duration is None or layer is None else read_duration(
        duration, layer.where("duration"), zero=False
    )  # fmt: skip
    count = None if count is None or layer is None else read_count(count, layer.where("count"))
    if not load.phases:
        return duration_ns, count, load.picks.read("warmup", read_duration, zero=True) or 0
    for key in ("duration", "warmup"):
        if load.picks.raw(key) is not None:
            raise UsageError(
                "the phases say themselves how long they are",
                where=load.picks.where(key),
                remedy="Leave it out; write a warm-up as the first phase, such as 'warmup 100/s for 5s'.",
            )
    warmup_ns = warmup_ns_of(load.phases)
    return load.phases[-1].end_ns - warmup_ns, count, warmup_ns


def _storm_bounds(picks: _Picks) -> int:
    """The longest that a storm may last, ns; it ends when everybody is back."""
    for key in ("count", "warmup"):
        if picks.raw(key) is not None:
            raise UsageError(
                "a storm begins at once and is over when every device is back",
                where=picks.where(key),
                remedy="Leave it out; --duration bounds how long the storm may last.",
            )
    return picks.read("duration", read_duration, zero=False) or DEFAULT_STORM_NS


@dataclass(frozen=True, slots=True)
class _Sessions:
    hold_ns: int
    hold: Distribution | None
    events: Distribution | None
    reconnect: bool


def _sessions(picks: _Picks, load: _Load, duration_ns: int | None, mix: Sequence[Part]) -> _Sessions:
    """What devices do after the handshake. Devices of a storm stay until it is over unless somebody says otherwise."""
    hold = picks.read("hold", read_durations)
    if hold is None:
        hold = Distribution("constant", 0.0 if load.storm is None or duration_ns is None else float(duration_ns))
    events = picks.read("events", read_event_rates, profiles=[part.profile for part in mix])
    found = picks.raw("reconnect")
    reconnect = found is not None and bool(found[0])
    for key, wanted in (("events", events is not None), ("reconnect", reconnect)):
        if wanted and not hold.mean:
            raise UsageError("needs sessions that last", where=picks.where(key), remedy="Give a --hold, such as 1m.")
    if reconnect and load.concurrency is not None:
        raise UsageError(
            "in a closed loop the place of a lost session is taken again at once anyway",
            where=picks.where("reconnect"),
            remedy="Leave it out, or give a rate.",
        )
    varies = None if hold.kind == "constant" else hold
    return _Sessions(round(hold.mean), varies, events, reconnect)


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


def _share(part: Part, timeouts_ns: Mapping[str, int], paces: Mapping[str, Pace]) -> FirmwareShare:
    own_ns = {stage.value: part.profile.timeouts_ns[stage] for stage in TIMED_STAGES}
    return FirmwareShare(part.profile.name, part.weight, {**own_ns, **timeouts_ns}, paces.get(part.profile.name))


def _timeouts(picks: _Picks) -> dict[str, int]:
    """Timeouts that somebody has set, stage by stage, those of the highest layer."""
    timed = [stage.value for stage in TIMED_STAGES]
    timeouts: dict[str, int] = {}
    for layer in reversed(picks.layers):
        for stage, text in (layer.table.timeout or {}).items():
            where = f"{layer.where('timeout')}: {stage}"
            if stage not in timed:
                raise UsageError(
                    f'"{stage}" is no stage with a timeout',
                    where=layer.where("timeout"),
                    remedy=f"{suggestion(stage, timed)}Allowed: {', '.join(timed)}.",
                )
            timeouts[stage] = read_duration(text, where, zero=False)
    return timeouts


def _disturbances(
    picks: _Picks, key: str, parse: Callable[[str], Any], check: Callable[[list[Any]], None]
) -> tuple[str, ...]:
    """Faults, delays or stalls of the mock cloud, checked each by itself and all together."""
    found = picks.raw(key)
    if found is None:
        return ()
    texts, where = found
    if texts and _target(picks) != MOCK:
        raise UsageError(
            "only the run's own mock cloud can be disturbed",
            where=where,
            remedy="Leave the target out, or give the option to `loadgen cloud`.",
        )
    try:
        check([parse(text) for text in texts])
    except ValueError as error:
        raise UsageError(str(error), where=where) from None
    return tuple(texts)


def _registry(picks: _Picks, mode: str) -> Any:
    registry = picks.choice("registry", REGISTRY_POLICIES)
    if mode == "replay" and registry != "open":
        raise UsageError(
            f'"{registry}" needs to know who speaks, which a replay cloud cannot',
            where=picks.where("registry"),
            remedy="Leave the registry open, or use the cloud mode full.",
        )
    return registry
