"""A resolved scenario in the words of ``bench.toml``."""

from __future__ import annotations

import json
from collections.abc import Sequence

from loadgen.config.distributions import durations_text, event_rates_text
from loadgen.config.mix import mix_text
from loadgen.config.scenario import Scenario
from loadgen.units import format_duration


def scenario_lines(scenario: Scenario) -> list[str]:
    """The scenario as a table that ``bench.toml`` could hold: every key that has a value, defaults included.

    Timeouts only where somebody has set them: the others are each firmware's own.
    """
    mix = scenario.firmware
    timeouts = ", ".join(f'{stage} = "{format_duration(ns)}"' for stage, ns in scenario.timeouts_ns.items())
    values: list[tuple[str, str | int | None]] = [
        ("target", _text(scenario.target)),
        ("server_key", _text(scenario.server_key)),
        ("fleet", _text(scenario.fleet_name)),
        ("devices", scenario.devices),
        ("keys", scenario.keys),
        ("firmware", _text(mix_text([share.name for share in mix], [share.weight for share in mix]))),
        ("product_id", scenario.product_id),
        ("product_version", scenario.product_version),
        ("device_pace", _list(scenario.device_pace)),
        ("rate", None if scenario.rate_per_s is None else _rate(scenario)),
        ("phases", _list([phase.text for phase in scenario.phases])),
        ("trace", _text(scenario.trace)),
        ("storm", None if scenario.storm is None else _text(durations_text(scenario.storm))),
        ("concurrency", scenario.concurrency),
        ("max_in_flight", scenario.max_in_flight),
        ("source_ip", _list(list(scenario.source_ip))),
        ("duration", None if scenario.phases else _duration(scenario.duration_ns)),
        ("count", scenario.count),
        ("warmup", None if scenario.phases else _duration(scenario.warmup_ns)),
        ("workers", _processes(scenario.workers)),
        ("crypto", _text(scenario.crypto)),
        ("timestamps", _text(scenario.timestamps)),
        ("timeout", f"{{ {timeouts} }}" if timeouts else None),
        ("close", _text(scenario.close)),
        ("hold", _duration(scenario.hold_ns) if scenario.hold is None else _text(durations_text(scenario.hold))),
        ("events", None if scenario.events is None else _text(event_rates_text(scenario.events))),
        ("reconnect", "true" if scenario.reconnect else None),
        ("cloud_mode", _text(scenario.cloud_mode)),
        ("cloud_workers", _processes(scenario.cloud_workers)),
        ("registry", _text(scenario.registry)),
        ("fault", _list(scenario.fault)),
        ("delay", _list(scenario.delay)),
        ("stall", _list(scenario.stall)),
        ("thresholds", _list(scenario.thresholds)),
        ("out", _text(scenario.out)),
        ("label", _text(scenario.label)),
        ("seed", scenario.seed),
    ]
    lines = [f"# from {scenario.source}", f"[scenario.{_name(scenario.name)}]"]
    return lines + [f"{key} = {value}" for key, value in values if value is not None]


def _name(name: str) -> str:
    return f'"{name}"' if "." in name else name


def _text(value: str | None) -> str | None:
    """A TOML string; JSON's escapes are valid there."""
    return None if value is None else json.dumps(value, ensure_ascii=False)


def _list(values: Sequence[str]) -> str | None:
    return json.dumps(list(values), ensure_ascii=False) if values else None


def _rate(scenario: Scenario) -> str:
    """The exact rate: per second, or per the time in which whole starts fit."""
    rate = scenario.rate_per_s
    assert rate is not None
    for seconds, unit in ((1, "s"), (60, "m"), (3600, "h")):
        if (rate * seconds).denominator == 1:
            return f'"{rate * seconds}/{unit}"'
    return f'"{float(rate)}/s"'


def _duration(ns: int | None) -> str | None:
    return None if ns is None else f'"{format_duration(ns)}"'


def _processes(count: int | str) -> str:
    return f'"{count}"' if isinstance(count, str) else str(count)
