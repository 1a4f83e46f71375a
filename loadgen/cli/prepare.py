"""Everything between a resolved scenario and a session: target, fleet, keys, mock cloud, plan, first record."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import IO, Final

import msgspec

from loadgen import clock
from loadgen.cli.progress import fleet_progress
from loadgen.config.guard import ResolvedTarget, check_load, resolve
from loadgen.config.mix import weight_text, whole_parts
from loadgen.config.phases import segments_of
from loadgen.config.scenario import FirmwareShare, Scenario, document
from loadgen.config.target import MOCK, HostPort, parse_host_port
from loadgen.crypto.openssl import library_version
from loadgen.engine.arrival import PhasedRate
from loadgen.engine.mix import sizes
from loadgen.engine.plan import FirmwarePlan, LoadPlan, Target
from loadgen.engine.trace import TraceFacts, pack_trace
from loadgen.errors import UsageError
from loadgen.fleet.generate import generate
from loadgen.fleet.keyfiles import load_server_public_key_file
from loadgen.fleet.keystore import FleetStore
from loadgen.kernel import has_kernel_stamps
from loadgen.mockcloud.delays import Stall, parse_delay, parse_stall
from loadgen.mockcloud.faults import parse_fault
from loadgen.mockcloud.settings import CloudMode, CloudSettings, RegistryPolicy
from loadgen.recording.record import FirmwareFacts, FleetFacts, Rate, RunRecord, utc_text
from loadgen.recording.record import Target as RecordTarget
from loadgen.store import environment, new_id

_PROBE_S: Final = 2.0


def check_results_folder(out: str) -> None:
    """Find out before the work begins whether the record can be written.

    Raises:
        UsageError: it cannot.
    """
    check_folder(out, "the results folder", "Choose another folder with --out, or change this one's permissions.")


def check_folder(folder: str, what: str, remedy: str) -> None:
    """Make a folder where there is none, and find out whether something can be written into it.

    Raises:
        UsageError: it cannot; ``what`` cannot be written, and this is the remedy.
    """
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{what} cannot be written: {error.strerror}", where=folder, remedy=remedy) from None


def choose_address(target: ResolvedTarget) -> HostPort:
    """The one address that devices connect to: the only one, or the first of several that accepts a connection."""
    if len(target.addresses) == 1:
        return target.addresses[0]
    for address in target.addresses:
        try:
            socket.create_connection((address.host, address.port), _PROBE_S).close()
        except OSError:
            continue
        return address
    return target.addresses[0]


def check_devices(scenario: Scenario) -> None:
    """Find out before a fleet is made whether it would be large enough.

    Raises:
        UsageError: the concurrency needs more devices.
    """
    if not Path(scenario.fleet).exists():
        _enough_devices(scenario, scenario.devices, f'the scenario "{scenario.name}" would make')


def check_server_key(scenario: Scenario) -> None:
    """Find out before a fleet is made whether the cloud's key that was named can be used.

    Raises:
        UsageError: it cannot.
    """
    if scenario.server_key is not None:
        load_server_public_key_file(Path(scenario.server_key))


def with_storm_devices(scenario: Scenario) -> Scenario:
    """A storm takes the whole fleet unless it says how many: the scenario with that number.

    Raises:
        UsageError: the fleet in the scenario's file cannot be read.
    """
    path = Path(scenario.fleet)
    devices = scenario.storm_devices
    if scenario.storm is None or not path.exists():
        return scenario
    if devices is None:
        with FleetStore.open(path, allow_unfinished=True) as store:
            devices = store.devices
    bound = devices if scenario.max_in_flight == scenario.devices else scenario.max_in_flight
    return msgspec.structs.replace(scenario, devices=devices, storm_devices=devices, max_in_flight=bound)


def _enough_devices(scenario: Scenario, devices: int, source: str) -> None:
    if scenario.storm is not None and scenario.devices > devices:
        raise UsageError(
            f"a storm of {scenario.devices:,} needs as many devices, and {source} {devices:,}",
            where=scenario.place("devices"),
            remedy=f"Lower it, or make a larger fleet: loadgen fleet generate --devices {scenario.devices} "
            "--fleet FILE.",
        )
    wanted = scenario.concurrency or 0
    if wanted > devices:
        raise UsageError(
            f"{wanted:,} handshakes at once need as many devices, and {source} {devices:,}: none is used twice at once",
            where=scenario.place("concurrency"),
            remedy=f"Lower it, or make a larger fleet: loadgen fleet generate --devices {wanted} --fleet FILE.",
        )


def _enough_for_mix(scenario: Scenario, devices: int) -> None:
    """Every firmware of a mix has a device.

    Raises:
        UsageError: one has none.
    """
    devices = min(devices, scenario.devices) if scenario.storm is not None else devices
    counts = sizes(whole_parts([share.weight for share in scenario.firmware]), devices)
    for share, count in zip(scenario.firmware, counts, strict=True):
        if not count:
            raise UsageError(
                f"{weight_text(share.weight)} of {devices:,} devices is less than one, so none would run {share.name}",
                where=scenario.place("firmware"),
                remedy="Give it a larger share, or use a larger fleet: loadgen fleet generate --devices N.",
            )


def open_fleet(path: Path, *, devices: int, keys: int, quiet: bool) -> FleetStore:
    """The fleet in ``path``: made first where there is none, finished where it was left unfinished.

    Raises:
        UsageError: no fleet, or one that cannot be made there.
    """
    if path.exists():
        store = FleetStore.open(path, allow_unfinished=True)
        if store.complete:
            return store
        devices, keys = store.devices, store.key_count
        store.close()
    with fleet_progress(f"Making a fleet (devices: {devices:,}, keys: {keys:,})", quiet=quiet) as progress:
        return generate(path, devices=devices, keys=keys, progress=progress)


def check_fleet(store: FleetStore, scenario: Scenario) -> str | None:
    """A sentence where the fleet has fewer keys than the scenario wants.

    Raises:
        UsageError: it has too few devices for the concurrency, a storm or a mix of firmwares, or none to be played.
    """
    if not store.devices:
        raise UsageError(
            "no device of the fleet has a private key, so none can be played",
            where=scenario.fleet_name,
            remedy="Take another fleet; this one can be registered with: loadgen cloud --registry-keys FILE.",
        )
    _enough_devices(scenario, store.devices, f"the fleet {scenario.fleet_name} has")
    _enough_for_mix(scenario, store.devices)
    if scenario.cloud_mode == "full" and store.distinct_keys < scenario.keys:
        return (
            f"The fleet {scenario.fleet_name} has {store.distinct_keys:,} distinct keys, the scenario asks for "
            f"{scenario.keys:,}. Make one with: loadgen fleet generate --devices {scenario.devices} "
            f"--keys {scenario.keys} --fleet FILE."
        )
    return None


def server_public_key(scenario: Scenario, store: FleetStore) -> bytes:
    """The key that devices encrypt to: of the file that was named, else the fleet's.

    Raises:
        UsageError: the file cannot be used, or the fleet has no key.
    """
    if scenario.server_key is not None:
        return load_server_public_key_file(Path(scenario.server_key))
    if store.server_public_key is None:
        raise UsageError(
            "the fleet knows no cloud's public key", where=scenario.fleet_name, remedy="Name the key with --server-key."
        )
    return store.server_public_key


def check_calibration(scenario: Scenario) -> None:
    """Refuse to calibrate against a cloud that does not write down what it does.

    Raises:
        UsageError: the target is no mock cloud of the run's own.
    """
    if scenario.target != MOCK:
        raise UsageError(
            f"only the run's own mock cloud writes down what it did, {scenario.target} does not",
            where="--calibrate",
            remedy="Leave the target out, or say --target mock.",
        )


def mock_cloud_settings(
    scenario: Scenario, store: FleetStore, workers: int, seed: int, *, record_timings: bool = False
) -> CloudSettings:
    """The run's own mock cloud, on a free port of this machine. With ``record_timings`` it writes down what it does.

    Raises:
        UsageError: the fleet has no private server key, as one that was taught another cloud's key.
    """
    if store.server_key_der is None:
        raise UsageError(
            "the fleet has no private server key, so no mock cloud can be made for it",
            where=scenario.fleet_name,
            remedy="Name another fleet with --fleet, or another cloud with --target.",
        )
    replay = scenario.cloud_mode == "replay"
    return CloudSettings(
        server_key=store.server_key_der,
        port=0,
        workers=workers,
        mode=CloudMode(scenario.cloud_mode),
        crypto=scenario.crypto,
        registry=RegistryPolicy(scenario.registry),
        faults=tuple(map(parse_fault, scenario.fault)),
        delays=tuple(map(parse_delay, scenario.delay)),
        seed=seed,
        record_timings=record_timings,
        replay_device_key=next(store.identities(0, 1, 1)).public_key if replay else None,
    )


def stalls(scenario: Scenario) -> tuple[Stall, ...]:
    """When the mock cloud stops answering, counted from the begin of the schedule."""
    return tuple(map(parse_stall, scenario.stall))


def registered(store: FleetStore, scenario: Scenario) -> Iterator[tuple[bytes, bytes]]:
    """The devices that the mock cloud is taught; a replaying one knows nobody."""
    if scenario.cloud_mode == "full":
        for identity in store.identities():
            yield identity.device_id, identity.public_key


@dataclass(frozen=True, slots=True)
class Load:
    """A scenario with everything read that its schedule needs. ``trace_path`` is the packed trace."""

    scenario: Scenario
    trace: TraceFacts | None
    trace_path: str | None

    @property
    def offered_per_s(self) -> float | None:
        """The mean rate of the recorded part of the schedule; None where there is none."""
        return offered_rate(self.scenario, self.trace)

    @property
    def peak_per_s(self) -> Fraction | None:
        """The highest rate that will be offered; None in the closed loop."""
        return peak_rate(self.scenario, self.trace)


@contextmanager
def loaded(scenario: Scenario) -> Iterator[Load]:
    """Read the scenario's trace, where it has one; its packed form lives as long as the context.

    Raises:
        UsageError: it cannot be replayed.
    """
    if scenario.trace is None:
        yield Load(scenario, None, None)
        return
    with tempfile.NamedTemporaryFile(prefix="loadgen-trace-") as packed:
        scenario, facts = packed_trace(scenario, packed)
        yield Load(scenario, facts, packed.name)


def guard_target(load: Load, *, allow_public: bool) -> ResolvedTarget | None:
    """The target, resolved and allowed; None for the mock cloud.

    Raises:
        LoadgenError: it is unknown, or must not be put under this load.
    """
    scenario = load.scenario
    if scenario.target == MOCK:
        return None
    target = resolve(parse_host_port(scenario.target), allow_public=allow_public, where=scenario.place("target"))
    check_load(
        target, rate_per_s=load.peak_per_s, in_flight=scenario.max_in_flight, allow_public=allow_public
    )  # fmt: skip
    return target


def packed_trace(scenario: Scenario, packed: IO[bytes]) -> tuple[Scenario, TraceFacts]:
    """Check the scenario's trace and pack it; gives the scenario with the trace's length.

    Raises:
        UsageError: it cannot be replayed.
    """
    assert scenario.trace is not None
    facts = pack_trace(Path(scenario.trace), packed, scenario.place("trace"))
    duration_ns = scenario.duration_ns
    if duration_ns is None:  # until the last start, in whole seconds
        duration_ns = (facts.last_ns // clock.NS_PER_S + 1) * clock.NS_PER_S - scenario.warmup_ns
    if duration_ns <= 0:
        raise UsageError(
            f"the warm-up is as long as the trace, {facts.last_ns / clock.NS_PER_S:,.3f} s",
            where=scenario.place("warmup"),
        )
    return msgspec.structs.replace(scenario, duration_ns=duration_ns), facts


def peak_rate(scenario: Scenario, trace: TraceFacts | None) -> Fraction | None:
    """The highest rate that will be offered, per second; None in the closed loop."""
    if trace is not None:
        return Fraction(trace.peak_per_s)
    if scenario.phases:
        return PhasedRate(segments_of(scenario.phases), 0).peak_rate
    if scenario.storm is not None:
        return Fraction(scenario.devices)
    return scenario.rate_per_s


def offered_rate(scenario: Scenario, trace: TraceFacts | None) -> float | None:
    """The mean rate of the recorded part of the schedule, per second; None in the closed loop."""
    if trace is not None:
        assert scenario.duration_ns is not None
        return trace.starts * clock.NS_PER_S / (scenario.warmup_ns + scenario.duration_ns)
    if scenario.phases:
        return float(PhasedRate(segments_of(scenario.phases), 0).mean_rate(scenario.warmup_ns))
    return None if scenario.rate_per_s is None else float(scenario.rate_per_s)


def load_plan(
    scenario: Scenario,
    *,
    address: HostPort,
    server_key: bytes,
    max_in_flight: int,
    seed: int = 0,
    trace_path: str | None = None,
    source_ips: tuple[str, ...] = (),
) -> LoadPlan:
    """What the workers get. ``trace_path`` is the packed trace."""
    rate = scenario.rate_per_s
    return LoadPlan(
        mode=scenario.mode,
        target=Target(address.host, address.port),
        fleet_path=str(Path(scenario.fleet).absolute()),
        server_public_key=server_key,
        firmwares=_firmware_plans(scenario.firmware),
        max_in_flight=max_in_flight,
        rate_numerator=0 if rate is None else rate.numerator,
        rate_denominator=1 if rate is None else rate.denominator,
        segments=segments_of(scenario.phases),
        trace_path=trace_path,
        source_ips=source_ips,
        seed=seed,
        concurrency=scenario.concurrency or 0,
        duration_ns=scenario.duration_ns,
        count=scenario.count,
        warmup_ns=scenario.warmup_ns,
        hold_ns=scenario.hold_ns,
        hold=scenario.hold,
        events=scenario.events,
        reconnect=scenario.reconnect,
        storm=scenario.storm,
        devices=0 if scenario.storm is None else scenario.devices,
        product_id=scenario.product_id,
        product_version=scenario.product_version,
        close=scenario.close,
        crypto=scenario.crypto,
        kernel_stamps=kernel_stamps(scenario),
        single_key=scenario.cloud_mode == "replay",
    )


def _firmware_plans(shares: Sequence[FirmwareShare]) -> tuple[FirmwarePlan, ...]:
    parts = whole_parts([share.weight for share in shares])
    return tuple(
        FirmwarePlan(name=share.name, timeouts_ns=dict(share.timeouts_ns), parts=part, pace=share.pace)
        for share, part in zip(shares, parts, strict=True)
    )


def kernel_stamps(scenario: Scenario) -> bool:
    """Whether arrivals are stamped by the kernel.

    Raises:
        UsageError: the scenario insists on it and this machine cannot.
    """
    if scenario.timestamps == "user":
        return False
    possible = has_kernel_stamps()
    if scenario.timestamps == "kernel" and not possible:
        raise UsageError(
            "this machine's kernel does not stamp what TCP sockets receive",
            where=scenario.place("timestamps"),
            remedy="Use --timestamps user; arrivals are then the moments after the reads.",
        )
    return possible


def first_record(
    scenario: Scenario, plan: LoadPlan, store: FleetStore, seed: int, *, offered_per_s: float | None = None
) -> RunRecord:
    """The record before anything was measured. ``offered_per_s`` as :func:`offered_rate` gives it."""
    return RunRecord(
        id=new_id(),
        label=scenario.label,
        status="running",
        started_at=utc_text(clock.wall_ns()),
        scenario=document(scenario),
        seed=seed,
        target=RecordTarget(address=str(plan.target), kind="mock" if scenario.target == "mock" else "remote"),
        fleet=FleetFacts(
            devices=plan.devices or store.devices,
            distinct_keys=1 if plan.single_key else min(store.distinct_keys, plan.devices or store.devices),
        ),
        firmware=[FirmwareFacts(name=share.name, weight=float(share.weight)) for share in scenario.firmware],
        environment=environment(
            openssl=library_version(),
            crypto_backend=scenario.crypto,
            timestamps="kernel" if plan.kernel_stamps else "user",
            engine="uvloop",
        ),
        rate=Rate(
            mode=scenario.mode,
            offered_per_s=float(scenario.rate_per_s) if scenario.rate_per_s else offered_per_s,
        ),
    )
