"""Baseline files: where they are, reading and writing them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from loadgen.analysis.baseline import SCHEMA, Baseline, decode_baseline, encode_baseline, file_name
from loadgen.analysis.runvalues import RunValues, fingerprint
from loadgen.cryptostore import CRYPTO_FILE
from loadgen.errors import NoBaselineError, UsageError
from loadgen.store import RUN_FILE

FOLDER: Final = "baselines"
"""Folder of baselines within the folder of results; Git does not ignore it."""


def is_baseline(path: Path) -> bool:
    """Whether a path names a file that says it is a baseline."""
    if not path.is_file() or path.name in (RUN_FILE, CRYPTO_FILE):
        return False
    try:
        document = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return path.suffix == ".json"  # let the reader say what is wrong with it
    schema = document.get("schema") if isinstance(document, dict) else None
    return isinstance(schema, str) and schema.rpartition("/")[0] == SCHEMA.rpartition("/")[0]


def read_baseline(path: Path) -> Baseline:
    """Read a baseline.

    Raises:
        UsageError: it cannot be read, is damaged, or of another loadgen.
    """
    try:
        return decode_baseline(path.read_bytes())
    except OSError as error:
        raise UsageError(f"the baseline cannot be read: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise UsageError(str(error), where=str(path), remedy="Set it anew with `loadgen baseline set`.") from None


def list_baselines(results: Path) -> list[tuple[Path, Baseline]]:
    """Every baseline, in the order of the files' names.

    Raises:
        UsageError: one of them cannot be read.
    """
    return [(path, read_baseline(path)) for path in sorted((results / FOLDER).glob("*.json"))]


def write_baseline(baseline: Baseline, results: Path) -> tuple[Path, bool]:
    """Write a baseline, in place of an older one of the same scenario and machine.

    Returns:
        its file, and whether it replaced one.

    Raises:
        UsageError: it cannot be written.
    """
    path = results / FOLDER / file_name(baseline.scenario, baseline.machine)
    replaced = path.exists()
    beside = path.with_suffix(".new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(encode_baseline(baseline))
        beside.replace(path)
    except OSError as error:
        raise UsageError(
            f"the baseline cannot be written: {error.strerror}", where=str(path), remedy="Choose another --results."
        ) from error
    return path, replaced


def baseline_for(run: RunValues, results: Path) -> tuple[Path, Baseline]:
    """The baseline of a run's scenario and machine.

    Raises:
        NoBaselineError: there is none; if another machine has one, it is named.
    """
    scenario, machine = run.facts.get("scenario name", "unnamed"), fingerprint(run.facts)
    path = results / FOLDER / file_name(scenario, machine)
    if path.exists():
        return path, read_baseline(path)
    others = [(other, found) for other, found in list_baselines(results) if found.scenario == scenario]
    processor = run.facts.get("machine: processor", "not known")
    what = f'no baseline of the scenario "{scenario}" for this machine ({processor}, {machine})'
    remedy = "Set one with `loadgen baseline set RECORD...` from runs of the base version on this machine."
    if others:
        there = "; ".join(f"{other} is of {found.facts.get('machine: processor', '?')}" for other, found in others)
        remedy = f"There is one of another machine: {there}. {remedy}"
    raise NoBaselineError(what, where=str(results / FOLDER), remedy=remedy)
