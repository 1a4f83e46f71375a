"""``loadgen run``: one measurement."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TextIO

import click
import msgspec

from loadgen.cli import measurement, prepare
from loadgen.cli.calibration import CALIBRATION_SCENARIO
from loadgen.cli.formats import (
    FILE_FORMATS,
    FORMATS,
    HGRM,
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
from loadgen.cli.thresholds import check_abort
from loadgen.config.bench import DEFAULT_SCENARIO, load_bench
from loadgen.config.resolve import file_layer, resolve_scenario
from loadgen.config.scenario import document
from loadgen.config.show import scenario_lines
from loadgen.config.values import read_duration
from loadgen.errors import ExitCode, UsageError
from loadgen.report.summary import summarise
from loadgen.report.terminal import write_summary
from loadgen.report.verdict_text import write_gates
from loadgen.store import encode_record

EXIT_CODES: Final = (
    "Exit codes: 0 fine and every threshold passed, 3 a threshold or the calibration failed, 5 the run is invalid or "
    "one of these has no data, 7 no handshake completed, 130 interrupted."
)


@click.command("run", epilog=EXIT_CODES)
@click.option("--scenario", metavar="NAME", help="Scenario of bench.toml. [quick]")
@click.option("--config", metavar="FILE", help="File of scenarios. [./bench.toml, else the package's]")
@scenario_options
@click.option(
    "--abort-on-fail",
    metavar="[DELAY]",
    is_flag=False,
    flag_value="0s",
    help="End the run as soon as a threshold has failed, but not within DELAY of its begin, such as =10s.",
)
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
@click.option("--dry-run", is_flag=True, help="Print the resolved scenario and do nothing.")
@format_options(*FORMATS)
@quiet_option
@click.pass_context
def command(context: click.Context, /, **values: Any) -> ExitCode:
    """Drive virtual devices through the handshake and record every stage.

    Without options: the scenario "quick" against a mock cloud that is started for it.
    """
    files = read_writes(values["write"], (*FILE_FORMATS, HGRM))
    bench = load_bench(Path(values["config"]) if values["config"] else None, Path.cwd())
    calibrates = values["calibrate"]
    name = values["scenario"] or (CALIBRATION_SCENARIO if calibrates else DEFAULT_SCENARIO)
    scenario = resolve_scenario(name, bench.shown, [*layers_of(context, values), file_layer(bench, name)])
    abort_after_ns = _abort_after_ns(values["abort_on_fail"])
    check_abort(scenario, abort_after_ns)
    if calibrates:
        prepare.check_calibration(scenario)
    with prepare.loaded(prepare.with_storm_devices(scenario)) as load:
        planned = Planned(load, prepare.guard_target(load, allow_public=values["allow_public_target"]))
        if values["dry_run"]:
            if chosen_format(values) == "json":
                write_json(msgspec.json.encode(document(load.scenario)))
            else:
                write_lines(scenario_lines(load.scenario))
            return ExitCode.OK
        measurement.check(planned)
        check_files(files)
        measured = measurement.measure(
            planned, abort_after_ns=abort_after_ns, calibrate=calibrates, quiet=values["quiet"]
        )
    try:
        emit(_rendering(measured.run), chosen_format(values), files)
    except UsageError as error:  # a file that cannot be made: the run has an exit code of its own
        return measured.code or show_error(error)
    finally:
        show_end(measured)
    return measured.code


def _abort_after_ns(text: str | None) -> int | None:
    return None if text is None else read_duration(text, "--abort-on-fail", zero=True)


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
