"""Finding and reading records that the user named: by path, by pattern or by label."""

from __future__ import annotations

import difflib
import glob
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click

from loadgen.analysis.cryptovalues import values_of_crypto
from loadgen.analysis.gates import RunView, view_of_record
from loadgen.analysis.runvalues import RunValues, values_of_record
from loadgen.analysis.thresholds import Threshold
from loadgen.cli.formats import SEMICOLON_TEXT
from loadgen.config.values import read_thresholds
from loadgen.cryptostore import CRYPTO_FILE, load_crypto_record
from loadgen.errors import UsageError
from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram
from loadgen.recording.record import RunRecord
from loadgen.recording.recorder import histogram_tag
from loadgen.recording.seconds import read_seconds
from loadgen.store import HISTOGRAMS_FILE, RUN_FILE, load_record, read_intervals

DEFAULT_RESULTS: Final = "results"

results_option = click.option(
    "--results", metavar="DIR", default=DEFAULT_RESULTS, show_default=True, help="Folder of records, for --label."
)
threshold_option = click.option(
    "--threshold",
    metavar="TEXT",
    multiple=True,
    type=SEMICOLON_TEXT,
    help="Such as 'p(99) of handshake < 250ms'; repeatable.",
)


@dataclass(slots=True)
class StoredRun:
    """A record that was read, and its logs, which are read when something needs them."""

    folder: Path
    record: RunRecord
    _seconds: dict[str, dict[int, Histogram]] | None = field(default=None, repr=False)

    @property
    def shown(self) -> str:
        """Its folder as the user knows it."""
        return str(self.folder)

    def seconds(self, stage: Stage, firmware: str | None = None) -> Mapping[int, Histogram] | None:
        """Histograms of a stage by second; None where the record has no log.

        Raises:
            UsageError: the log is damaged.
        """
        return self.read_seconds([(stage, firmware)]).get((stage, firmware))

    def read_seconds(
        self, wanted: Iterable[tuple[Stage, str | None]]
    ) -> dict[tuple[Stage, str | None], Mapping[int, Histogram]]:
        """The same of several stages and firmwares, in one pass over the log; empty where the record has no log.

        Raises:
            UsageError: the log is damaged.
        """
        log = self.folder / HISTOGRAMS_FILE
        if not log.exists():
            return {}
        several = len(self.record.firmware) > 1
        tags = {(stage, firmware): histogram_tag(stage, firmware if several else None) for stage, firmware in wanted}
        if self._seconds is None:
            self._seconds = {}
        missing = [tag for tag in tags.values() if tag not in self._seconds]
        if missing:
            self._seconds |= read_seconds(log, missing)
        return {key: self._seconds[tag] for key, tag in tags.items()}

    @property
    def has_histograms(self) -> bool:
        """Whether the record has its log of histograms."""
        return (self.folder / HISTOGRAMS_FILE).exists()

    def histogram(self, stage: Stage, firmware: str | None = None) -> Histogram | None:
        """All durations of a stage; None where the record has no log.

        Raises:
            UsageError: the log is damaged.
        """
        if self._seconds is None and self.has_histograms:  # one reading for every stage
            names = [facts.name for facts in self.record.firmware] if len(self.record.firmware) > 1 else [None]
            tags = [histogram_tag(each, name) for each in Stage for name in names]
            self._seconds = read_seconds(self.folder / HISTOGRAMS_FILE, tags)
        seconds = self.seconds(stage, firmware)
        return None if seconds is None else Histogram.merge(seconds.values())

    def view(self) -> RunView:
        """The run as thresholds look at it."""
        return view_of_record(self.record, self.seconds, lambda: list(read_intervals(self.folder)))


def find_folders(text: str, files: Sequence[str] = (RUN_FILE,)) -> list[Path]:
    """Folders of the records that a path or a pattern names, in the order of their names.

    A folder without a record of its own stands for those of the records in it.

    Args:
        text: what the user wrote.
        files: names that the file of a record may have.

    Raises:
        UsageError: there is none.
    """
    path = Path(text)
    if path.is_file():
        return [path.parent if path.name in files else path]
    if _is_record(path, files):
        return [path]
    if path.is_dir():
        found = sorted(folder for folder in path.iterdir() if _is_record(folder, files))
    else:
        matching = glob.glob(text)  # noqa: PTH207 - Path.glob takes no absolute pattern
        found = sorted(Path(name) for name in matching if _is_record(Path(name), files))
    if found:
        return found
    if path.is_dir():
        what = f"the folder has no record: no {' and no '.join(files)} in it"
        raise UsageError(what, where=text, remedy="Name a folder that a run left.")
    raise UsageError("no record is named so", where=text, remedy=_near_folders(text, files))


def _is_record(folder: Path, files: Sequence[str]) -> bool:
    return any((folder / name).is_file() for name in files)


def _near_folders(text: str, files: Sequence[str]) -> str:
    parent = Path(text).parent
    there = [entry.name for entry in parent.iterdir() if _is_record(entry, files)] if parent.is_dir() else []
    if not there:
        return f"There are no records in {parent}; `loadgen run` makes one."
    near = difflib.get_close_matches(Path(text).name.replace("*", ""), there, n=1, cutoff=0.4)
    return f'Did you mean "{parent / near[0]}"?' if near else f"{parent} has {len(there)} records; none of them fits."


def folders_with_label(results: str, label: str, files: Sequence[str] = (RUN_FILE,)) -> list[Path]:
    """Folders of the records with this label, in the order of their names.

    Raises:
        UsageError: there is none; the labels that there are are named.
    """
    labels: dict[str, list[Path]] = {}
    for file in sorted(file for name in files for file in Path(results).glob(f"*/{name}")):
        found = _label(file)
        if found is not None:
            labels.setdefault(found, []).append(file.parent)
    if label in labels:
        return labels[label]
    known = ", ".join(f'"{name}"' for name in sorted(labels))
    raise UsageError(
        f'no record has the label "{label}"',
        where=results,
        remedy=f"There are the labels {known}."
        if known
        else "No record there has a label; `loadgen run --label` gives one.",
    )


def _label(file: Path) -> str | None:
    """The label of a record, without reading all of it; None for what is no record."""
    try:
        document = json.loads(file.read_bytes())
    except (OSError, ValueError):
        return None
    label = document.get("label") if isinstance(document, dict) else None
    return label if isinstance(label, str) else None


def load_run(folder: Path) -> StoredRun:
    """Read the record of a run.

    Raises:
        UsageError: it cannot be read, or is of something else.
    """
    return StoredRun(folder, load_record(folder))


def select(texts: Sequence[str], labels: Sequence[str], results: str, files: Sequence[str] = (RUN_FILE,)) -> list[Path]:
    """Folders of everything named, each once.

    Raises:
        UsageError: nothing was named, or something does not exist.
    """
    if not texts and not labels:
        raise UsageError("no record is named", where="RECORD", remedy="Name the folder of a run, or use --label.")
    found = [folder for text in texts for folder in find_folders(text, files)]
    found += [folder for label in labels for folder in folders_with_label(results, label, files)]
    return list(dict.fromkeys(found))


# --- what a comparison takes


def _run_values(folder: Path, firmware: str | None) -> RunValues:
    record = load_record(folder)
    if firmware is not None and firmware not in [facts.name for facts in record.firmware]:
        names = ", ".join(facts.name for facts in record.firmware)
        raise UsageError(f"{firmware} did not run", where=str(folder), remedy=f"The run has {names}.")
    return values_of_record(record, str(folder), firmware)


COMPARABLE_FILES: Final = (RUN_FILE, CRYPTO_FILE)
"""Files of the records that a comparison takes."""


def load_values(folder: Path, firmware: str | None = None) -> RunValues:
    """The numbers of a record that can be compared: of a run, or of a crypto benchmark.

    Raises:
        UsageError: it cannot be read, or has no such firmware.
    """
    if (folder / CRYPTO_FILE).is_file() or folder.name == CRYPTO_FILE:
        if firmware is not None:
            raise UsageError("a crypto benchmark has no firmware", where=str(folder), remedy="Leave out --firmware.")
        return values_of_crypto(load_crypto_record(folder), str(folder))
    return _run_values(folder, firmware)


# --- thresholds


def own_thresholds(run: StoredRun) -> list[Threshold]:
    """The thresholds that a run was made with.

    Raises:
        UsageError: one of them cannot be read.
    """
    of_scenario = run.record.scenario.get("thresholds") or []
    texts = [found.text for found in run.record.thresholds] or [str(text) for text in of_scenario]
    return read_thresholds(texts, f"{run.shown}: thresholds")
