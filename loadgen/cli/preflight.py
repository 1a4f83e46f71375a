"""``loadgen preflight``: what limits a planned run on this machine."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import msgspec

from loadgen.cli import machine, prepare
from loadgen.cli.dct_run import with_dump
from loadgen.cli.options import json_option, layers_of, scenario_options
from loadgen.cli.output import write_json, write_lines
from loadgen.config.bench import DEFAULT_SCENARIO, load_bench
from loadgen.config.resolve import file_layer, resolve_scenario
from loadgen.diagnosis.preflight import facts, judge
from loadgen.errors import ExitCode

SCHEMA = "loadgen/preflight/1"


@click.command("preflight")
@click.option("--scenario", metavar="NAME", help="Scenario of bench.toml. [quick]")
@click.option("--config", metavar="FILE", help="File of scenarios. [./bench.toml, else the package's]")
@scenario_options
@click.option("--dct", metavar="DUMP", help="The device of a flash dump instead of a fleet, as for `loadgen run`.")
@click.option("--id", metavar="ID", help="The id of that device, where the dump has none.")
@click.option("--allow-public-target", is_flag=True, help="As for `loadgen run`.")
@json_option
@click.pass_context
def command(context: click.Context, /, **values: Any) -> ExitCode:
    """Say what on this machine limits a planned run; takes the options of `loadgen run` and starts nothing.

    Exits 3 if the run could not do what it is asked.
    """
    bench = load_bench(Path(values["config"]) if values["config"] else None, Path.cwd())
    name = values["scenario"] or DEFAULT_SCENARIO
    layers = [*layers_of(context, values), file_layer(bench, name)]
    with ExitStack() as stack:
        layers = stack.enter_context(
            with_dump({"quiet": False, **values}, layers, lambda given: resolve_scenario(name, bench.shown, given))
        )
        scenario = resolve_scenario(name, bench.shown, layers)
        load = stack.enter_context(prepare.loaded(prepare.with_storm_devices(scenario)))
        target = prepare.guard_target(load, allow_public=values["allow_public_target"])
        network = machine.network(load.scenario, target)
        found, wanted = machine.look(load.scenario), machine.wanted(load, network)
    findings = judge(found, wanted)
    invalid = any(finding.level == "invalid" for finding in findings)
    if values["as_json"]:
        write_json(
            msgspec.json.encode(
                {
                    "schema": SCHEMA,
                    "scenario": name,
                    "verdict": "invalid" if invalid else "valid",
                    "findings": findings,
                    "wanted": wanted,
                    "machine": found,
                }
            )
        )
    else:
        write_lines([*(f"{name:<20} {value}" for name, value in facts(found)), ""])
        for finding in findings:
            write_lines([f"{finding.level}: {finding.text}", f"  {finding.remedy}"])
        write_lines(
            [
                f'The scenario "{name}" cannot be carried out on this machine.'
                if invalid
                else f'Nothing on this machine keeps the scenario "{name}" from being carried out.'
            ]
        )
    return ExitCode.THRESHOLD_FAILED if invalid else ExitCode.OK
