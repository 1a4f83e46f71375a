"""Options of several commands, and how ``run``'s become layers of settings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar

import click
from click.core import ParameterSource

from loadgen.cli.formats import SEMICOLON_TEXT
from loadgen.config.resolve import DEFAULT_FLEET, Layer, environment_layer, option_layer, parameter
from loadgen.config.scenario import KEYS, ScenarioTable, flag
from loadgen.errors import UsageError
from loadgen.protocol.stages import Stage

Command = TypeVar("Command", bound=Callable[..., Any])

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document and nothing else.")
fleet_option = click.option("--fleet", metavar="FILE", help=f"The fleet's file. [{DEFAULT_FLEET}]")
quiet_option = click.option("-q", "--quiet", is_flag=True, help="No progress and no notes; errors remain.")

_EXAMPLE: Final = f"Write for example {Stage.HELLO}=20s."


def scenario_options(command: Command) -> Command:
    """Every option of ``run`` and ``preflight`` that a scenario can say too, under the scenario's keys."""
    for key, metavar, text in reversed(_SCENARIO_OPTIONS):
        command = click.option(
            flag(key),
            parameter(key),
            metavar=metavar,
            multiple=key in _REPEATABLE,
            type=SEMICOLON_TEXT if key in _LISTS else None,
            is_flag=True if key == "reconnect" else None,
            help=text,
        )(command)
    return command


_LISTS: Final = ("firmware", "device_pace", "phases", "source_ip", "fault", "delay", "stall", "thresholds")
_REPEATABLE: Final = ("timeout", *_LISTS)

_SCENARIO_OPTIONS: Final = (
    ("target", "mock|HOST[:PORT]", "Cloud to measure; mock starts one for the run. Port 5683 if left out."),
    ("server_key", "FILE", "The cloud's public key, PEM or DER, instead of the one in the fleet."),
    ("fleet", "FILE", "Device ids and keys; made when missing. [.loadgen/fleet.sqlite]"),
    ("devices", "N", "Devices of a storm, and of a fleet that is made. [10k]"),
    ("firmware", "NAME[=N%]", "Firmware to play, or a mix: 'p1@0.6.4=30%,p1@0.7.0'. [p1@0.7.0; docs/firmware.md]"),
    ("product_id", "N", "Product id that devices send in Hello. [the platform's]"),
    ("product_version", "N", "Product version that devices send in Hello. [the firmware's, 65535]"),
    (
        "device_pace",
        "[NAME:]PACE",
        "Be as slow as real devices: p1, or 'encrypt=83ms,unwrap=400ms,rtt=60ms'; repeatable. [off]",
    ),
    ("rate", "R", "Open loop: starts per second, such as 2000/s."),
    ("phases", "PHASE", "Open loop in phases, such as 'poisson 200/s for 10s'; repeatable. [docs/load-models.md]"),
    ("trace", "FILE", "Open loop: replay a CSV file of arrival times in seconds."),
    ("storm", "fin|silent|D", "Open loop: the whole fleet loses its sessions at once and comes back."),
    ("concurrency", "N", "Closed loop: handshakes kept in flight."),
    ("max_in_flight", "N", "Most connections at one time; a start beyond it waits. [20k]"),
    ("source_ip", "IP", "Address of this machine that connections come from; repeatable. [the system's choice]"),
    ("duration", "D", "Start handshakes for so long, such as 10s; what is in flight then may finish."),
    ("count", "N", "Start so many handshakes. Alone, it replaces the scenario's duration."),
    ("warmup", "D", "Make handshakes for so long before any is recorded. [0s]"),
    ("workers", "N|auto", "Generator processes; auto leaves a mock cloud its cores."),
    ("crypto", "auto|openssl|native", "Crypto backend. [auto]"),
    ("timestamps", "auto|kernel|user", "Who stamps what arrives: the kernel, or the program after its read. [auto]"),
    ("timeout", "STAGE=D", "Time a device waits at connect, nonce, key or hello; repeatable. [the firmware's]"),
    ("close", "rst|fin", "How a device leaves after the handshake. [rst]"),
    (
        "hold",
        "D",
        "Hold each session so long, such as 1m or 'exponential 5m', until --duration ends at the latest. [0s]",
    ),
    ("events", "R", "Events that each held session sends, such as 2/m or 'uniform 1/m..10/m'. [none]"),
    ("reconnect", None, "A device that loses its session comes back, with the firmware's back-off."),
    ("cloud_mode", "full|replay", "Mock cloud: real crypto, or prepared answers without RSA. [full]"),
    ("cloud_workers", "N|auto", "Processes of the mock cloud."),
    ("registry", "POLICY", "Mock cloud: open, strict, stored or first-seen. [open]"),
    ("fault", "FAULT", "Mock cloud: what goes wrong, such as key:close:0.5%; repeatable. [docs/faults.md]"),
    ("delay", "DELAY", "Mock cloud: hold answers back, such as key:exponential=5ms; repeatable."),
    ("stall", "AFTER:FOR", "Mock cloud: stop answering after so long for so long, such as 10s:1s; repeatable."),
    ("thresholds", "TEXT", "Such as 'p(99) of handshake < 250ms'; repeatable. [docs/ci-gate.md]"),
    ("out", "DIR", "Parent folder of the record. [results]"),
    ("label", "NAME", "Part of the record's name."),
    ("seed", "N", "Seed of everything random but keys. [a new one, kept in the record]"),
)


def layers_of(context: click.Context, values: Mapping[str, Any]) -> list[Layer]:
    """The layers of the command line and of the environment, the higher one first.

    Raises:
        UsageError: a ``--timeout`` that is no ``STAGE=D``.
    """
    options: dict[str, Any] = {}
    environment: dict[str, Any] = {}
    for key in KEYS:
        name = parameter(key)
        source = context.get_parameter_source(name) if name in values else None
        if source is ParameterSource.COMMANDLINE:
            options[key] = values[name]
        elif source is ParameterSource.ENVIRONMENT:
            environment[key] = values[name]
    layers = []
    for found, make in (
        (options, option_layer),
        (environment, lambda table: environment_layer(table, context.auto_envvar_prefix or "LOADGEN_RUN")),
    ):
        if "timeout" in found:
            where = make(ScenarioTable()).where("timeout")
            found["timeout"] = _timeouts(found["timeout"], where)
        for key in found.keys() & set(_LISTS):
            found[key] = list(found[key])
        layers.append(make(ScenarioTable(**found)))
    return layers


def _timeouts(texts: tuple[str, ...], where: str) -> dict[str, str]:
    timeouts = {}
    for text in texts:
        stage, equals, duration = text.partition("=")
        if not equals:
            raise UsageError(f"{text!r} is no STAGE=DURATION", where=where, remedy=_EXAMPLE)
        timeouts[stage.strip()] = duration.strip()
    return timeouts
