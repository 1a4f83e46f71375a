"""``--against KEY=VALUE``: the same run with another cloud, firmware or backend."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from loadgen.config.bench import suggestion
from loadgen.config.mix import mix_text
from loadgen.config.resolve import Layer
from loadgen.config.scenario import KEYS, Scenario, ScenarioTable
from loadgen.errors import UsageError

_EXAMPLES: Final = "Write for example crypto=openssl, target=HOST:PORT or firmware=p1@0.7.0."
_LISTS: Final = ("fault", "delay")
_SHOWN: Final[Mapping[str, Callable[[Scenario], str]]] = {
    "target": lambda scenario: scenario.target,
    "server_key": lambda scenario: scenario.server_key or "the fleet's",
    "fleet": lambda scenario: scenario.fleet_name,
    "firmware": lambda scenario: mix_text(
        [share.name for share in scenario.firmware], [share.weight for share in scenario.firmware]
    ),
    "crypto": lambda scenario: scenario.crypto,
    "timestamps": lambda scenario: scenario.timestamps,
    "fault": lambda scenario: ", ".join(scenario.fault) or "none",
    "delay": lambda scenario: ", ".join(scenario.delay) or "none",
}
"""Keys in which two sides may differ and still answer the same question, and how a side's value is shown."""


def read_against(texts: Sequence[str]) -> Layer:
    """What the other side has instead.

    Args:
        texts: ``KEY=VALUE`` each; several make up one side.

    Raises:
        UsageError: one of them is none, or its key would make it another load.
    """
    found: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not value.strip():
            raise UsageError(f"{text!r} is no KEY=VALUE", where="--against", remedy=_EXAMPLES)
        _check_key(key)
        if key in _LISTS:
            found.setdefault(key, []).append(value.strip())
        elif key in found:
            remedy = "Two sides are compared: the run's own and one other."
            raise UsageError(f"{key} is given twice", where="--against", remedy=remedy)
        else:
            found[key] = value.strip()
    return Layer(ScenarioTable(**found), lambda key: f"--against {key}")


def _check_key(key: str) -> None:
    if key in _SHOWN:
        return
    allowed = ", ".join(name.replace("_", "-") for name in _SHOWN)
    if key in KEYS:
        what = f"{key} must be the same on both sides"
        raise UsageError(what, where="--against", remedy=f"With another one it is another question. Keys: {allowed}.")
    raise UsageError(
        f"unknown key {key!r}", where="--against", remedy=f"{suggestion(key, list(_SHOWN))}Keys: {allowed}."
    )


def side_name(scenario: Scenario, against: Layer) -> str:
    """A side by what the sides differ in: ``crypto=openssl``."""
    keys = [key for key in _SHOWN if getattr(against.table, key) is not None]
    return " ".join(f"{key.replace('_', '-')}={_SHOWN[key](scenario)}" for key in keys)
