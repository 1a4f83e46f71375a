"""Finding and reading ``bench.toml``: strict, with messages that name file, key and what is allowed."""

from __future__ import annotations

import datetime
import difflib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Final

import msgspec

from loadgen.config.scenario import EXPECTED, KEYS, NAME_RULE, NAME_RULE_IN_WORDS, ScenarioTable
from loadgen.errors import UsageError

BENCH_FILE: Final = "bench.toml"
DEFAULT_SCENARIO: Final = "quick"

_TOML_POSITION = re.compile(r" \((at line \d+, column \d+|at end of document)\)$")


@dataclass(frozen=True, slots=True)
class BenchFile:
    """The scenarios of one file.

    ``shown`` is the file's name in messages and records.
    """

    shown: str
    scenarios: dict[str, ScenarioTable]

    def scenario(self, name: str) -> ScenarioTable:
        """The table of ``name``.

        Raises:
            UsageError: there is none; the nearest name is suggested.
        """
        table = self.scenarios.get(name)
        if table is not None:
            return table
        known = ", ".join(self.scenarios) or "none at all"
        raise UsageError(
            f'no scenario "{name}"',
            where=self.shown,
            remedy=f"{suggestion(name, self.scenarios)}There are: {known}.",
        )


def suggestion(wrong: str, known: Iterable[str]) -> str:
    """``Did you mean "x"? `` with the nearest of ``known``, or nothing where none is near."""
    nearest = difflib.get_close_matches(wrong, list(known), n=1)
    return f'Did you mean "{nearest[0]}"? ' if nearest else ""


def packaged_bench_text() -> str:
    """The ``bench.toml`` that comes with the package, the one that ``loadgen init`` writes."""
    return resources.files("loadgen").joinpath(BENCH_FILE).read_text(encoding="utf-8")


def load_bench(config: Path | None, directory: Path) -> BenchFile:
    """Read the scenarios: from ``config``, else ``bench.toml`` in ``directory``, else the package's copy.

    Raises:
        UsageError: unreadable, no TOML, or something in it that is not allowed.
    """
    if config is not None:
        return parse_bench(_read(config), str(config))
    local = directory / BENCH_FILE
    if local.exists():
        return parse_bench(_read(local), BENCH_FILE)
    return parse_bench(packaged_bench_text(), f"{BENCH_FILE} of the package")


def parse_bench(text: str, shown: str) -> BenchFile:
    """Decode the text of a ``bench.toml``. Every scenario of it is checked, used or not.

    Raises:
        UsageError: a syntax error with line and column, an unknown key with the nearest known one, a wrong
        type.
    """
    try:
        top = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _syntax_error(error, shown) from None
    for key in top:
        if key != "scenario":
            raise UsageError(
                f'unknown key "{key}"',
                where=shown,
                remedy=f"{suggestion(key, ['scenario'])}Allowed at the top: [scenario.NAME] tables.",
            )
    tables = top.get("scenario", {})
    if not isinstance(tables, dict):
        raise UsageError(f"must be tables [scenario.NAME], not {_type_in_words(tables)}", where=f"{shown}: scenario")
    return BenchFile(shown, {name: _scenario(name, table, shown) for name, table in tables.items()})


def _read(path: Path) -> str:
    remedy = "Name a readable file, or write one with `loadgen init`."
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UsageError(f"cannot be read: {error.strerror}", where=str(path), remedy=remedy) from None
    except UnicodeDecodeError as error:
        raise UsageError(f"is not UTF-8 text (byte {error.start})", where=str(path), remedy=remedy) from None


def _syntax_error(error: Exception, shown: str) -> UsageError:
    message = "is nested too deeply" if isinstance(error, RecursionError) else str(error)
    position = _TOML_POSITION.search(message)
    where = f"{shown}: {position[1].removeprefix('at ')}" if position else shown
    what = _TOML_POSITION.sub("", message)
    return UsageError(f"is no valid TOML: {what}", where=where, remedy="Correct the file at this place.")


def _scenario(name: str, table: Any, shown: str) -> ScenarioTable:
    where = f"{shown}: scenario.{name}"
    if not NAME_RULE.fullmatch(name):
        raise UsageError(f'"{name}" is no name for a scenario', where=shown, remedy=f"Use {NAME_RULE_IN_WORDS}.")
    if not isinstance(table, dict):
        what = f"must be a table [scenario.{name}], not {_type_in_words(table)}"
        remedy = None
        if name in KEYS:
            remedy = f'Write "{name}" into a scenario, below its [scenario.NAME].'
        raise UsageError(what, where=where, remedy=remedy)
    for key in table:
        if key not in KEYS:
            raise UsageError(
                f'unknown key "{key}"',
                where=where,
                remedy=f"{suggestion(key, KEYS)}Allowed: {', '.join(KEYS)}.",
            )
    try:
        return msgspec.convert(table, ScenarioTable)
    except msgspec.ValidationError as error:
        raise _type_error(error, table, where) from None


def _type_error(error: msgspec.ValidationError, table: dict[str, Any], where: str) -> UsageError:
    """Say it in the words of the file; msgspec names the place as ``… - at `$.rate```."""
    path = str(error).rpartition("`$.")[2].rstrip("`")
    key = re.split(r"[.\[]", path)[0]
    if key == "timeout" and isinstance(table[key], dict):  # msgspec does not name the key of a dict
        stage, value = next((stage, value) for stage, value in table[key].items() if not isinstance(value, str))
        what = f'must be text with a unit such as "20s", not {_type_in_words(value)}'
        return UsageError(what, where=f"{where}.{key}.{stage}")
    return UsageError(f"must be {EXPECTED[key]}, not {_type_in_words(table[key])}", where=f"{where}.{key}")


def _type_in_words(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return f"the text {value!r}"
        case int() | float():
            return f"the number {value}"
        case list():
            return "a list"
        case dict():
            return "a table"
        case datetime.datetime() | datetime.date() | datetime.time():
            return "a date or time"
    return type(value).__name__
