"""``loadgen run``: one measurement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, TextIO

import click
import msgspec

from loadgen.analysis.compare import Settings
from loadgen.cli import measurement, prepare
from loadgen.cli.against import read_against, side_name
from loadgen.cli.audience import Audience, audience
from loadgen.cli.calibration import CALIBRATION_SCENARIO
from loadgen.cli.comparison import fail_if_option, read_settings
from loadgen.cli.dct_run import with_dump
from loadgen.cli.formats import (
    FORMATS,
    HTML,
    ONE_RUN_FORMATS,
    RUN_FILE_FORMATS,
    SEMICOLON_TEXT,
    Rendering,
    check_files,
    chosen_format,
    emit,
    format_options,
    read_writes,
)
from loadgen.cli.measurement import Planned, show_end
from loadgen.cli.messages import show_error
from loadgen.cli.options import layers_of, quiet_option, scenario_options
from loadgen.cli.output import write_json, write_lines
from loadgen.cli.records import StoredRun
from loadgen.cli.renderings import runs_rendering, stored_gates
from loadgen.cli.series import Series, Side, compare_sides, comparison_report, set_rendering
from loadgen.cli.thresholds import check_abort, check_firmwares, warn_of_hopeless
from loadgen.cli.trace_log import TraceRequest, read_trace
from loadgen.config.bench import DEFAULT_SCENARIO, load_bench
from loadgen.config.resolve import Layer, file_layer, option_layer, resolve_scenario
from loadgen.config.scenario import Scenario, ScenarioTable, document
from loadgen.config.show import scenario_lines
from loadgen.config.target import HostPort
from loadgen.config.values import read_count, read_duration, read_listen_address, read_path
from loadgen.errors import ExitCode, UsageError
from loadgen.report.summary import summarise
from loadgen.report.terminal import write_summary
from loadgen.report.verdict_text import write_gates
from loadgen.store import encode_record, new_id

EXIT_CODES: Final = (
    "Exit codes: 0 fine and every threshold passed, 3 a threshold or the calibration failed, 4 a regression "
    "(--fail-if), 5 the run is invalid, one of these has no data or is inconclusive, 7 no handshake completed, 130 "
    "interrupted."
)


@click.command("run", epilog=EXIT_CODES)
@click.option("--scenario", metavar="NAME", help="Scenario of bench.toml. [quick]")
@click.option("--config", metavar="FILE", help="File of scenarios. [./bench.toml, else the package's]")
@scenario_options
@click.option("--dct", metavar="DUMP", help="Play the device of a flash dump instead of a fleet. [docs/flash-dumps.md]")
@click.option("--id", metavar="ID", help="The id of that device, where the dump has none.")
@click.option(
    "--abort-on-fail",
    metavar="[DELAY]",
    is_flag=False,
    flag_value="0s",
    help="End the run as soon as a threshold has failed, but not within DELAY of its begin, such as =10s.",
)
@click.option("--repeat", metavar="N", help="Make N runs, or N a side with --against; they get a label in common.")
@click.option(
    "--against",
    metavar="KEY=VALUE",
    multiple=True,
    type=SEMICOLON_TEXT,
    help="Compare with the same run with another target, firmware or crypto, such as crypto=openssl, in turns: base is "
    "what is said here, new the run as it is; repeatable for several keys of base. [docs/ci-gate.md]",
)
@fail_if_option
@click.option(
    "--allow-public-target",
    is_flag=True,
    help="Allow targets that are neither loopback nor private, and more than 10,000/s or 20,000 connections at "
    "one time outside this machine. Only with the consent of the target's owner.",
)
@click.option(
    "--calibrate",
    is_flag=True,
    help="Hold what is measured against what the mock cloud wrote down. Scenario: calibrate. [docs/calibration.md]",
)
@click.option(
    "--prometheus",
    metavar="[HOST]:PORT",
    help="Serve metrics for Prometheus while the run goes on, such as :9464; on loopback unless a host is given. "
    "[docs/prometheus.md]",
)
@click.option(
    "--dashboard",
    metavar="[HOST]:PORT",
    help="Serve a page with the plots of the run while it goes on, such as :8089; on loopback unless a host is given. "
    "[docs/live-page.md]",
)
@click.option(
    "--trace-log",
    metavar="FILE",
    help="Write the serial log of a virtual device in the words of its firmware; of several devices, a folder. "
    "[docs/device-logs.md]",
)
@click.option(
    "--trace-devices",
    metavar="N|ID[,ID]",
    help="Whose log: the first N devices of each firmware, or those with these ids, at most 100. [1]",
)
@click.option("--dry-run", is_flag=True, help="Print the resolved scenario and do nothing.")
@click.option("--report", metavar="FILE", help="Write an HTML page with plots, such as report.html. [docs/reports.md]")
@format_options(*FORMATS, *ONE_RUN_FORMATS)
@quiet_option
@click.pass_context
def command(context: click.Context, /, **values: Any) -> ExitCode:
    """Drive virtual devices through the handshake and record every stage.

    Without options: the scenario "quick" against a mock cloud that is started for it.
    """
    asked = _read(values)
    bench = load_bench(Path(values["config"]) if values["config"] else None, Path.cwd())
    calibrates = values["calibrate"]
    name = values["scenario"] or (CALIBRATION_SCENARIO if calibrates else DEFAULT_SCENARIO)
    layers = [*layers_of(context, values), file_layer(bench, name)]
    with ExitStack() as stack:
        layers = stack.enter_context(
            with_dump(values, layers, lambda given: resolve_scenario(name, bench.shown, given))
        )
        sides = []
        for own in _own_layers(asked, resolve_scenario(name, bench.shown, layers).label):
            scenario = msgspec.structs.replace(resolve_scenario(name, bench.shown, [*own, *layers]), dct=values["dct"])
            check_abort(scenario, asked.abort_after_ns)
            check_firmwares(scenario)
            if calibrates:
                prepare.check_calibration(scenario)
            load = stack.enter_context(prepare.loaded(prepare.with_storm_devices(scenario)))
            target = prepare.guard_target(load, allow_public=values["allow_public_target"])
            differs = "" if asked.against is None else side_name(load.scenario, asked.against)
            sides.append(Side(differs, load.scenario.label or "", Planned(load, target, calibrates, asked.trace)))
        if values["dry_run"]:
            _show_scenarios([side.planned.load.scenario for side in sides], as_json=asked.form == "json")
            return ExitCode.OK
        for side in sides:
            measurement.check(side.planned)
        check_files(asked.files)
        if not asked.quiet:
            warn_of_hopeless(side.planned.load for side in sides)
        told = stack.enter_context(audience(asked.prometheus, asked.dashboard, quiet=asked.quiet))
        if asked.turns is None:
            return _run_once(sides[0], asked, told)
        return _run_series(sides, asked.turns, asked, told)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the options ask for beside the scenario."""

    form: str
    files: list[tuple[str, Path]]
    quiet: bool
    abort_after_ns: int | None
    turns: int | None
    """Runs of each side; None: a single run."""
    against: Layer | None
    settings: Settings
    trace: TraceRequest | None
    """The logs of devices to be written."""
    prometheus: HostPort | None
    """Where metrics are served."""
    dashboard: HostPort | None
    """Where the live page is."""


def _read(values: Mapping[str, Any]) -> _Asked:
    """Read the options.

    Raises:
        UsageError: one that cannot be read, or that needs another.
    """
    turns, against = values["repeat"], values["against"]
    if against and turns is None:
        raise UsageError("is about several runs", where="--against", remedy="Say how many a side: --repeat 10.")
    if values["fail_if"] and not against:
        remedy = "Say against what with --against, or compare stored runs with `loadgen compare`."
        raise UsageError("judges a comparison", where="--fail-if", remedy=remedy)
    form, files = chosen_format(values), read_writes(values["write"], RUN_FILE_FORMATS)
    if values["report"] is not None:
        files.append((HTML, Path(read_path(values["report"], "--report"))))
    for one_run_form in ONE_RUN_FORMATS if turns is not None else ():
        if one_run_form in (form, *(file_form for file_form, _ in files)):
            remedy = f"Write it later for the run of your choice: loadgen report RECORD --format {one_run_form}"
            raise UsageError(f"{one_run_form} is the text of one run", where="--repeat", remedy=remedy)
    if turns is not None and values["trace_log"] is not None:
        remedy = "Leave one of them out: a second run would need other files."
        raise UsageError("writes the logs of one run", where="--trace-log with --repeat", remedy=remedy)
    abort = values["abort_on_fail"]
    return _Asked(
        form=form,
        files=files,
        quiet=values["quiet"],
        abort_after_ns=None if abort is None else read_duration(abort, "--abort-on-fail", zero=True),
        turns=None if turns is None else read_count(turns, "--repeat"),
        against=read_against(against) if against else None,
        settings=read_settings([], fail_if=values["fail_if"]),
        trace=read_trace(values["trace_log"], values["trace_devices"]),
        prometheus=_address(values, "prometheus", 9464),
        dashboard=_address(values, "dashboard", 8089),
    )


def _address(values: Mapping[str, Any], name: str, usual_port: int) -> HostPort | None:
    """Where something is to be served, if it is."""
    raw = values[name]
    return None if raw is None else read_listen_address(raw, f"--{name}", usual_port)


def _own_layers(asked: _Asked, label: str | None) -> list[list[Layer]]:
    """The layers above all others that make each side: what it has instead, and its label."""
    if asked.turns is None:
        return [[]]
    label = label or new_id()
    if asked.against is None:
        return [[_labelled(label)]]
    return [[_labelled(f"{label}-base"), asked.against], [_labelled(f"{label}-new")]]


def _labelled(label: str) -> Layer:
    return option_layer(ScenarioTable(label=label))


def _show_scenarios(scenarios: Sequence[Scenario], *, as_json: bool) -> None:
    """What would be done; of two sides base first."""
    if as_json:
        built = [document(scenario) for scenario in scenarios]
        both = dict(zip(("base", "new"), built, strict=True)) if len(built) == 2 else built[0]
        write_json(msgspec.json.encode(both))
    else:
        for index, scenario in enumerate(scenarios):
            write_lines([*([""] if index else []), *scenario_lines(scenario)])


def _run_once(side: Side, asked: _Asked, told: Audience) -> ExitCode:
    measured = measurement.measure(
        side.planned, abort_after_ns=asked.abort_after_ns, quiet=asked.quiet, publish=told.of_run()
    )
    return _report(_rendering(measured.run), measured.code, asked, lambda: show_end(measured))


def _run_series(sides: Sequence[Side], turns: int, asked: _Asked, told: Audience) -> ExitCode:
    """Make the runs in turns, and report those that there are."""
    series = Series(sides)
    series.make(turns, abort_after_ns=asked.abort_after_ns, quiet=asked.quiet, told=told)
    if len(sides) == 1:
        code = series.code(None)
        return _report(set_rendering(sides[0]), code, asked, series.show_end)
    comparison, pair = compare_sides(sides[0], sides[1], asked.settings)
    code = series.code(comparison)
    return _report(comparison_report(sides[0], sides[1], comparison, pair, code), code, asked, series.show_end)


def _report(rendering: Rendering, code: ExitCode, asked: _Asked, show_end: Callable[[], None]) -> ExitCode:
    try:
        emit(rendering, asked.form, asked.files)
    except UsageError as error:  # a file that cannot be made: what was measured has an exit code of its own
        return code or show_error(error)
    finally:
        show_end()
    return code


def _rendering(run: StoredRun) -> Rendering:
    """What a run says at its end: on a terminal the summary and the thresholds, as JSON the record."""
    built = msgspec.json.decode(encode_record(run.record))
    return replace(
        runs_rendering([run]),
        terminal=lambda stream: _terminal(run, stream),
        json=lambda: msgspec.json.encode({**built, "path": run.shown}),
    )


def _terminal(run: StoredRun, stream: TextIO) -> None:
    write_summary(summarise(run.record, run.shown), stream)
    gates = stored_gates(run)
    if gates.rows:
        stream.write("\n")
        write_gates([gates], stream)
