"""``loadgen run``: one measurement."""

from __future__ import annotations

import secrets
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import msgspec

from loadgen.cli import machine, prepare
from loadgen.cli.messages import show_error, show_note, show_warning
from loadgen.cli.options import json_option, layers_of, quiet_option, scenario_options
from loadgen.cli.output import results, write_json, write_lines
from loadgen.cli.result import exit_code
from loadgen.cli.session import RunSession
from loadgen.cli.signals import on_interrupt
from loadgen.config.bench import DEFAULT_SCENARIO, load_bench
from loadgen.config.guard import ResolvedTarget
from loadgen.config.resolve import file_layer, resolve_scenario
from loadgen.config.scenario import Scenario, document
from loadgen.config.show import scenario_lines
from loadgen.config.target import HostPort, parse_host_port
from loadgen.diagnosis.preflight import judge
from loadgen.engine.pool import Pool
from loadgen.errors import ExitCode, UnreachableError
from loadgen.mockcloud.cloud import MockCloud
from loadgen.recording.record import RunRecord
from loadgen.report.live import live_view
from loadgen.report.summary import summarise
from loadgen.report.terminal import write_summary
from loadgen.store import RunWriter, encode_record


@click.command("run")
@click.option("--scenario", metavar="NAME", help="Scenario of bench.toml. [quick]")
@click.option("--config", metavar="FILE", help="File of scenarios. [./bench.toml, else the package's]")
@scenario_options
@click.option(
    "--allow-public-target",
    is_flag=True,
    help="Allow targets that are neither loopback nor private, and more than 10,000/s or 20,000 connections at "
    "one time outside this machine. Only with the consent of the target's owner.",
)
@click.option("--dry-run", is_flag=True, help="Print the resolved scenario and do nothing.")
@json_option
@quiet_option
@click.pass_context
def command(context: click.Context, /, **values: Any) -> ExitCode:
    """Drive virtual devices through the handshake and record every stage.

    Without options: the scenario "quick" against a mock cloud that is started for it.
    """
    bench = load_bench(Path(values["config"]) if values["config"] else None, Path.cwd())
    name = values["scenario"] or DEFAULT_SCENARIO
    scenario = resolve_scenario(name, bench.shown, [*layers_of(context, values), file_layer(bench, name)])
    with prepare.loaded(prepare.with_storm_devices(scenario)) as load:
        target = prepare.guard_target(load, allow_public=values["allow_public_target"])
        if values["dry_run"]:
            if values["as_json"]:
                write_json(msgspec.json.encode(document(load.scenario)))
            else:
                write_lines(scenario_lines(load.scenario))
            return ExitCode.OK
        return _run(load, target, as_json=values["as_json"], quiet=values["quiet"])


def _run(load: prepare.Load, target: ResolvedTarget | None, *, as_json: bool, quiet: bool) -> ExitCode:
    scenario = load.scenario
    prepare.check_devices(scenario)
    prepare.check_results_folder(scenario.out)
    workers, cloud_workers = machine.share_cores(scenario, machine.allowed_cores())
    network = machine.network(scenario, target)
    max_in_flight, bound = machine.connections_at_most(
        scenario, workers=workers, descriptors=machine.descriptor_limit(), ports=network.all_ports
    )
    if not quiet:
        for finding in judge(machine.look(scenario), machine.wanted(load, network)):
            if finding.level != "note":
                show_note(f"{finding.text} {finding.remedy}")
    with ExitStack() as stack:
        store = stack.enter_context(
            prepare.open_fleet(Path(scenario.fleet), devices=scenario.devices, keys=scenario.keys, quiet=quiet)
        )
        warning = prepare.check_fleet(store, scenario)
        if warning and not quiet:
            show_warning(warning)
        if max_in_flight < store.devices and bound and not quiet:
            show_note(f"At most {max_in_flight:,} connections at one time: the {bound} of this machine allow no more.")
        workers = _with_work(scenario, workers, devices=store.devices, max_in_flight=max_in_flight, quiet=quiet)
        server_key = prepare.server_public_key(scenario, store)
        stalls = prepare.stalls(scenario)
        seed = secrets.randbits(32) if scenario.seed is None else scenario.seed
        cloud = None
        if target is None:
            settings = prepare.mock_cloud_settings(scenario, store, cloud_workers, seed)
            cloud = stack.enter_context(MockCloud(settings, prepare.registered(store, scenario)))
            address = parse_host_port(cloud.address)
        else:
            address = prepare.choose_address(target)
        plan = prepare.load_plan(
            scenario,
            address=address,
            server_key=server_key,
            max_in_flight=max_in_flight,
            seed=seed,
            trace_path=load.trace_path,
            source_ips=network.sources,
        )
        folder = _Folder(scenario)
        session = RunSession(
            plan,
            prepare.first_record(scenario, plan, store, seed, offered_per_s=load.offered_per_s),
            Pool(plan, workers),
            folder.open,
            live_view(sys.stderr, quiet=quiet),
            cloud=cloud,
            stalls=stalls,
        )
        with on_interrupt(session.interrupt):
            record = session.run()
    _show(record, str(folder.path), as_json=as_json)
    return _end(record, session, address)


def _with_work(scenario: Scenario, workers: int, *, devices: int, max_in_flight: int, quiet: bool) -> int:
    """No more workers than have something to do; says so where somebody has asked for more."""
    busy = machine.workers_with_work(workers, scenario=scenario, devices=devices, max_in_flight=max_in_flight)
    if busy < workers and scenario.workers != "auto" and not quiet:
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


def _show(record: RunRecord, path: str, *, as_json: bool) -> None:
    if as_json:
        built = msgspec.json.decode(encode_record(record))
        write_json(msgspec.json.encode({**built, "path": path}))
    else:
        with results() as stream:
            write_summary(summarise(record, path), stream)


def _end(record: RunRecord, session: RunSession, address: HostPort) -> ExitCode:
    """Say what went wrong, and give the exit code."""
    if session.failure is not None:
        show_error(session.failure)
    code = exit_code(record, interrupted=session.interrupted, failed=session.failure is not None)
    if code is ExitCode.UNREACHABLE:
        show_error(UnreachableError("no handshake was completed", where=str(address), remedy=_advice(record)))
    return code


def _advice(record: RunRecord) -> str:
    """What to do about a run in which nothing worked, from its most frequent failure."""
    if not record.failures:
        return "Nothing was started within the time given: run longer, or start more."
    first = record.failures[0]
    sentence = first.explanation[:1].upper() + first.explanation[1:]
    return f"Most frequent failure: {first.stage}/{first.reason}. {sentence}."
