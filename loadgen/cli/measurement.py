"""One run of a resolved scenario: from the checks before it to the finished record."""

from __future__ import annotations

import secrets
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec

from loadgen.cli import machine, prepare
from loadgen.cli.audience import Publish
from loadgen.cli.messages import show_error, show_note, show_warning
from loadgen.cli.records import StoredRun
from loadgen.cli.result import exit_code
from loadgen.cli.session import RunSession
from loadgen.cli.signals import on_interrupt
from loadgen.cli.thresholds import make_gate
from loadgen.cli.trace_log import TraceLog, TraceRequest, check_trace, choose
from loadgen.config.guard import ResolvedTarget
from loadgen.config.scenario import Scenario
from loadgen.config.target import HostPort, parse_host_port
from loadgen.diagnosis.preflight import judge
from loadgen.engine.plan import LoadPlan
from loadgen.engine.pool import Pool
from loadgen.errors import ExitCode, LocalResourceError, UnreachableError
from loadgen.fleet.keystore import FleetStore
from loadgen.kernel import descriptor_limit
from loadgen.mockcloud.cloud import MockCloud
from loadgen.recording.record import RunRecord
from loadgen.report.live import live_view
from loadgen.store import RunWriter


@dataclass(frozen=True, slots=True)
class Planned:
    """A run that may be made.

    Attributes:
        load: its scenario and what the schedule needs.
        target: where it goes; None: to a mock cloud of its own.
        calibrate: hold what was measured against that cloud's notes.
        trace: the logs of devices that were asked for.
    """

    load: prepare.Load
    target: ResolvedTarget | None
    calibrate: bool = False
    trace: TraceRequest | None = None


@dataclass(frozen=True, slots=True)
class Measurement:
    """A run that was made.

    Attributes:
        run: its record and folder.
        address: what was connected to.
        interrupted: the user has ended it.
        failure: why its record, or the logs of its devices, could not be written any more.
    """

    run: StoredRun
    address: HostPort
    interrupted: bool
    failure: LocalResourceError | None

    @property
    def code(self) -> ExitCode:
        """The exit code of this run alone."""
        return exit_code(self.run.record, interrupted=self.interrupted, failed=self.failure is not None)


def check(planned: Planned) -> None:
    """Find out before anything is made whether the run could be.

    Raises:
        UsageError: it could not.
    """
    prepare.check_devices(planned.load.scenario)
    prepare.check_server_key(planned.load.scenario)
    prepare.check_results_folder(planned.load.scenario.out)
    machine.check_backend(planned.load.scenario)
    if planned.trace is not None:
        check_trace(planned.trace, planned.load.scenario)


def measure(
    planned: Planned,
    *,
    abort_after_ns: int | None = None,
    quiet: bool,
    notes: bool = True,
    publish: Publish | None = None,
) -> Measurement:
    """Make a run.

    Args:
        planned: the run, checked.
        abort_after_ns: end it at a broken threshold, but not in so many first ns; None: never.
        quiet: no progress and no notes.
        notes: say what on this machine limits it.
        publish: takes how it stands, once a second and at its end.

    Raises:
        LoadgenError: it could not begin.
    """
    load, target, scenario = planned.load, planned.target, planned.load.scenario
    notes = notes and not quiet
    workers, cloud_workers = machine.share_cores(scenario, machine.allowed_cores())
    network = machine.network(scenario, target)
    max_in_flight, bound = machine.connections_at_most(
        scenario, workers=workers, descriptors=descriptor_limit(), ports=network.all_ports
    )
    if notes:
        _show_limits(load, network)
    with ExitStack() as stack:
        store = _fleet(stack, scenario, quiet=quiet, notes=notes)
        if max_in_flight < store.devices and bound and notes:
            show_note(f"At most {max_in_flight:,} connections at one time: the {bound} of this machine allow no more.")
        workers = _with_work(scenario, workers, devices=store.devices, max_in_flight=max_in_flight, notes=notes)
        server_key = prepare.server_public_key(scenario, store)
        stalls = prepare.stalls(scenario)
        seed = secrets.randbits(32) if scenario.seed is None else scenario.seed
        cloud, address = _other_side(stack, planned, store, cloud_workers, seed)
        plan = prepare.load_plan(
            scenario,
            address=address,
            server_key=server_key,
            max_in_flight=max_in_flight,
            seed=seed,
            trace_path=load.trace_path,
            source_ips=network.sources,
        )
        plan, trace = _traced(stack, planned, plan, store)
        folder = _Folder(scenario)
        session = RunSession(
            plan,
            prepare.first_record(scenario, plan, store, seed, offered_per_s=load.offered_per_s),
            Pool(plan, workers),
            folder.open,
            live_view(sys.stderr, quiet=quiet),
            cloud=cloud,
            stalls=stalls,
            calibrate=planned.calibrate,
            gate=make_gate(scenario, load.offered_per_s, abort_after_ns, lambda: folder.path),
            trace=trace,
            publish=None if publish is None else lambda standing: publish(standing, str(folder.path)),
        )
        with on_interrupt(session.interrupt):
            record = session.run()
    if trace is not None and notes:
        (show_warning if trace.is_cut else show_note)(trace.summary)
    failure = session.failure or session.trace_failure
    return Measurement(StoredRun(folder.path, record), address, session.interrupted, failure)


def _fleet(stack: ExitStack, scenario: Scenario, *, quiet: bool, notes: bool) -> FleetStore:
    """The run's fleet, made if it is missing, open until the stack ends."""
    store = stack.enter_context(
        prepare.open_fleet(Path(scenario.fleet), devices=scenario.devices, keys=scenario.keys, quiet=quiet)
    )
    warning = prepare.check_fleet(store, scenario)
    if warning and notes:
        show_warning(warning)
    return store


def _other_side(
    stack: ExitStack, planned: Planned, store: FleetStore, cloud_workers: int, seed: int
) -> tuple[MockCloud | None, HostPort]:
    """Where the run goes: the target, or a mock cloud of its own, which runs until the stack ends."""
    if planned.target is not None:
        return None, prepare.choose_address(planned.target)
    scenario = planned.load.scenario
    settings = prepare.mock_cloud_settings(scenario, store, cloud_workers, seed, record_timings=planned.calibrate)
    cloud = stack.enter_context(MockCloud(settings, prepare.registered(store, scenario)))
    return cloud, parse_host_port(cloud.address)


def _traced(stack: ExitStack, planned: Planned, plan: LoadPlan, store: FleetStore) -> tuple[LoadPlan, TraceLog | None]:
    """The plan with the devices that keep a log, and where those go until the stack ends."""
    if planned.trace is None:
        return plan, None
    devices = choose(planned.trace, plan, store)
    trace = stack.enter_context(TraceLog(planned.trace, plan, devices))
    return msgspec.structs.replace(plan, logged=tuple(device.number for device in devices)), trace


def show_end(measured: Measurement) -> None:
    """Say what went wrong in a run, if anything did."""
    if measured.failure is not None:
        show_error(measured.failure)
    if measured.code is ExitCode.UNREACHABLE:
        remedy = _advice(measured.run.record)
        show_error(UnreachableError("no handshake was completed", where=str(measured.address), remedy=remedy))


def _show_limits(load: prepare.Load, network: machine.Network) -> None:
    """What on this machine limits the run."""
    for finding in judge(machine.look(load.scenario), machine.wanted(load, network)):
        if finding.level != "note":
            show_note(f"{finding.text} {finding.remedy}")


def _with_work(scenario: Scenario, workers: int, *, devices: int, max_in_flight: int, notes: bool) -> int:
    """No more workers than have something to do; says so where somebody has asked for more."""
    busy = machine.workers_with_work(workers, scenario=scenario, devices=devices, max_in_flight=max_in_flight)
    if busy < workers and scenario.workers != "auto" and notes:
        show_note(f"Using {busy} of {workers} workers: there are no more handshakes at one time to share.")
    return busy


class _Folder:
    """Opens the record's folder and remembers it."""

    def __init__(self, scenario: Scenario) -> None:
        self._scenario = scenario
        self.path = Path(scenario.out)

    def open(self, record: RunRecord) -> RunWriter:
        writer = RunWriter(Path(self._scenario.out), record, self._scenario.name)
        self.path = writer.path
        return writer


def _advice(record: RunRecord) -> str:
    """What to do about a run in which nothing worked, from its most frequent failure."""
    if not record.failures:
        return "Nothing was started within the time given: run longer, or start more."
    first = record.failures[0]
    sentence = first.explanation[:1].upper() + first.explanation[1:]
    name = f"{first.stage}/{first.reason}"
    return f"Most frequent failure: {name}. {sentence}. `loadgen explain {name}` says more."
