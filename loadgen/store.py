"""Run records on disk: a folder with ``run.json``, ``histograms.hlog`` and ``intervals.jsonl``.

``run.json`` is written when the run starts and replaced by rename when it ends. The two logs are appended to each
second, the histograms first, with one unbuffered write each: what has been written survives the death of this
process, and a second counts as recorded once it has its line in ``intervals.jsonl``. A record that was left
``running`` is rebuilt from the two logs when it is read.
"""

from __future__ import annotations

import errno
import io
import json
import os
import platform
import re
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from loadgen import __version__, clock
from loadgen.errors import LoadgenError, LocalResourceError, UsageError
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram
from loadgen.recording.hlog import LogFormatter, LogReader
from loadgen.recording.record import (
    SCHEMA,
    Counts,
    Environment,
    FailureTally,
    Finding,
    FirmwareSecond,
    IntervalLine,
    Rate,
    RunRecord,
    SecondFacts,
    StageStats,
    Validity,
    failure_counts,
    failure_tallies,
    firmware_counts,
    stages_of,
    utc_text,
)
from loadgen.recording.recorder import FailureKey, Interval, split_tag

RUN_FILE: Final = "run.json"
HISTOGRAMS_FILE: Final = "histograms.hlog"
INTERVALS_FILE: Final = "intervals.jsonl"

_SCHEMA_FAMILY, _SCHEMA_VERSION = SCHEMA.rsplit("/", 1)
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_NAME = 64
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
_ISA: Final = ("aes", "vaes", "adx", "bmi2", "avx2", "avx512f", "avx512ifma", "avx512_vbmi", "neon", "asimd")
"""Features of a CPU that RSA and AES code choose by, as ``/proc/cpuinfo`` names them."""


def new_id() -> str:
    """A short random name for a run: 8 hexadecimal digits."""
    return secrets.token_hex(4)


def folder_name(record: RunRecord, scenario: str) -> str:
    """``<UTC time>-<scenario>[-<label>]-<id>``, safe as a file name."""
    time = re.sub(r"[-:]|\.\d+", "", record.started_at)
    parts = [time, _safe(scenario), _safe(record.label or ""), record.id]
    return "-".join(part for part in parts if part)


def _safe(name: str) -> str:
    return _UNSAFE.sub("_", name).strip(".-_")[:_MAX_NAME]


def encode_record(record: RunRecord) -> bytes:
    """``run.json`` as it stands in the folder: indented, without what the run did not have."""
    document: dict[str, Any] = msgspec.to_builtins(record)
    for key in ("mock_cloud", "storm", "calibration", "source"):
        if document[key] is None:
            del document[key]
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


class RunWriter:
    """Writes one record.

    Use: construct, :meth:`begin` when the recorded window begins, :meth:`append` each second, :meth:`finish`.
    When the disk fails in between, the first method that notices raises
    :class:`~loadgen.errors.LocalResourceError`, once; from then on nothing more is appended, so that a line cut
    off stays the last one. :meth:`finish` still tries to write ``run.json``.

    Args:
        parent: folder that gets the record's folder; made when missing.
        record: the record at the start, status ``running``.
        scenario: name of the scenario, for the folder's name.

    Raises:
        UsageError: the folder cannot be made or written.
        LocalResourceError: the disk is full already.
    """

    def __init__(self, parent: Path, record: RunRecord, scenario: str) -> None:
        self.path = parent / folder_name(record, scenario)
        """The record's folder."""
        self._record = record
        self._formatter = LogFormatter()
        self._base_wall_ns = 0
        self._logs: dict[str, io.FileIO] = {}
        self._failed = False
        try:
            self.path.mkdir(parents=True)
            self._replace(record)
            for name in (HISTOGRAMS_FILE, INTERVALS_FILE):
                self._logs[name] = (self.path / name).open("ab", buffering=0)
        except OSError as error:
            self.close()
            raise _cannot_start(parent, error) from error

    def begin(self, base_wall_ns: int) -> None:
        """The recorded window begins at this instant, ns since 1970; it becomes the record's ``started_at``.

        Raises:
            LocalResourceError: the disk failed, for the first time.
        """
        self._base_wall_ns = base_wall_ns
        self._record.started_at = utc_text(base_wall_ns)
        self._append(HISTOGRAMS_FILE, self._formatter.header(base_wall_ns).encode())
        if not self._failed:
            try:
                self._replace(self._record)
            except OSError as error:
                self._fail(error)

    def append(self, interval: Interval, facts: SecondFacts) -> None:
        """Write one second: its histograms, then its line.

        Raises:
            LocalResourceError: the disk failed, for the first time.
        """
        self._append(HISTOGRAMS_FILE, self._formatter.interval(interval).encode())
        line = interval_line(interval, facts, self._base_wall_ns)
        self._append(INTERVALS_FILE, msgspec.json.encode(line) + b"\n")

    def finish(self, record: RunRecord) -> bool:
        """Replace ``run.json`` by the finished record and make everything durable.

        Returns:
            Whether ``run.json`` is on disk. False only after an earlier failure has been raised.

        Raises:
            LocalResourceError: the disk failed, for the first time.
        """
        failure = None
        for log in self._logs.values():
            try:
                os.fsync(log.fileno())
            except OSError as error:
                failure = error
        self.close()
        written = True
        try:
            self._replace(record)
        except OSError as error:
            failure, written = error, False
        if failure is not None:
            self._fail(failure)
        return written

    def close(self) -> None:
        """Release the files. A record that was not finished stays ``running``."""
        for log in self._logs.values():
            log.close()
        self._logs = {}

    def _append(self, name: str, data: bytes) -> None:
        if self._failed:
            return
        try:
            write_all(self._logs[name], data)
        except OSError as error:
            self._fail(error)

    def _replace(self, record: RunRecord) -> None:
        """Write ``run.json`` beside its place, and move it there once it is durable."""
        beside = self.path / f"{RUN_FILE}.new"
        try:
            with beside.open("wb", buffering=0) as file:
                write_all(file, encode_record(record))
                os.fsync(file.fileno())
            beside.replace(self.path / RUN_FILE)
        except OSError:
            beside.unlink(missing_ok=True)
            raise
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _fail(self, error: OSError) -> None:
        if self._failed:
            return
        self._failed = True
        raise LocalResourceError(
            f"the record cannot be written any more: {error.strerror}",
            where=str(self.path),
            remedy="Free some space or choose another folder with --out; what was recorded until now is kept.",
        ) from error


def write_all(file: io.FileIO, data: bytes) -> None:
    """Write all of ``data``, unbuffered. :class:`OSError` where the disk does not take it."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]


def _cannot_start(parent: Path, error: OSError) -> LoadgenError:
    if error.errno in _FULL:
        return LocalResourceError(
            f"the record cannot be written: {error.strerror}",
            where=str(parent),
            remedy="Free some space or choose another folder with --out.",
        )
    return UsageError(
        f"the results folder cannot be written: {error.strerror}",
        where=str(parent),
        remedy="Choose another folder with --out, or change this one's permissions.",
    )


def interval_line(interval: Interval, facts: SecondFacts, base_wall_ns: int) -> IntervalLine:
    """The line of ``intervals.jsonl`` for one second that began ``interval.second`` s after ``base_wall_ns``."""
    failed: Counter[str] = Counter()
    for key, count in interval.failures.items():
        failed[key.firmware] += count
    started = dict(zip(interval.firmwares, facts.started_of or [facts.started], strict=False))
    return IntervalLine(
        second=interval.second,
        time=utc_text(base_wall_ns + interval.second * clock.NS_PER_S),
        intended=facts.intended,
        started=facts.started,
        completed=sum(interval.completed.values()),
        failed=failed.total(),
        aborted=facts.aborted,
        session_failed=sum(interval.session_failures.values()),
        in_flight=facts.in_flight,
        waiting=facts.waiting,
        firmware={
            name: FirmwareSecond(
                started=started.get(name, 0), completed=interval.completed.get(name, 0), failed=failed[name]
            )
            for name in interval.firmwares
        },
        failures=failure_tallies(interval.failures),
        session_failures=failure_tallies(interval.session_failures),
        worker_cpu_s=facts.worker_cpu_s,
        mock_cloud_cpu_s=facts.mock_cloud_cpu_s,
    )


def load_record(path: Path) -> RunRecord:
    """Read a record; one that was left ``running`` is rebuilt from its two logs.

    Args:
        path: the record's folder, or its ``run.json``.

    Raises:
        UsageError: there is none, it is damaged, of something else, or of a newer loadgen.
    """
    file = path if path.name == RUN_FILE and not path.is_dir() else path / RUN_FILE
    try:
        data = file.read_bytes()
    except OSError as error:
        raise UsageError(
            f"there is no record that can be read: {error.strerror}",
            where=str(file),
            remedy="Give the folder that a run has left under its results folder.",
        ) from error
    record = _decode(data, file)
    return rebuild(record, file.parent) if record.status == "running" else record


def read_intervals(folder: Path) -> Iterator[IntervalLine]:
    """Lines of a record's ``intervals.jsonl``, without a last one that was cut off. None if there is no file.

    Raises:
        UsageError: the file cannot be read, or a line in it is damaged.
    """
    file = folder / INTERVALS_FILE
    try:
        data = file.read_bytes() if file.exists() else b""
    except OSError as error:
        raise UsageError(f"the record cannot be read: {error.strerror}", where=str(file)) from error
    lines = data.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):  # what follows the last line end was cut off
        try:
            yield msgspec.json.decode(line, type=IntervalLine)
        except msgspec.DecodeError as error:
            raise UsageError(
                f"line {number} is damaged: {error}",
                where=str(file),
                remedy="The file was changed after it was written; take the run again.",
            ) from error


def read_histograms(folder: Path, seconds: int | None = None) -> dict[tuple[Stage, str | None], Histogram]:
    """Histograms of a record's log over the whole run, by stage and, where several ran, firmware.

    Args:
        folder: the record's folder.
        seconds: leave out what lies after so many seconds; None reads everything.

    Raises:
        UsageError: the log cannot be read or is damaged.
    """
    file = folder / HISTOGRAMS_FILE
    merged: dict[tuple[Stage, str | None], Histogram] = {}
    pending: dict[tuple[Stage, str | None], list[Histogram]] = {}
    for entry in LogReader(file) if file.exists() else ():
        if seconds is not None and entry.start_s >= seconds:
            continue
        try:
            key = split_tag(entry.tag or "")
        except ValueError:
            continue  # a stage of a later loadgen, or another program's line
        parts = pending.setdefault(key, [])
        try:
            parts.append(entry.histogram())
        except ValueError as error:
            raise UsageError(
                f"the line of {entry.start_s:g} s with the tag {entry.tag!r} is damaged: {error}",
                where=str(file),
                remedy="The file was changed after it was written; take the run again.",
            ) from error
        if len(parts) == _MERGE_EVERY:  # bounds the memory of a long log
            merged[key] = Histogram.merge([merged.get(key, Histogram.empty()), *parts])
            parts.clear()
    for key, parts in pending.items():
        merged[key] = Histogram.merge([merged.get(key, Histogram.empty()), *parts])
    return merged


_MERGE_EVERY: Final = 256


def rebuild(record: RunRecord, folder: Path) -> RunRecord:
    """Fill in a record that was never finished, from its two logs.

    Stages come from the histogram log, with the minimum and mean of its buckets; counts and failures from the
    intervals. What had started and not ended is ``aborted``. The verdict is ``invalid``, as nobody has judged
    the run.

    Raises:
        UsageError: one of the logs is damaged.
    """
    totals = _Totals()
    for line in read_intervals(folder):
        try:
            totals.add(line)
        except ValueError as error:
            raise UsageError(
                f"the line of second {line.second} names something unknown: {error}",
                where=str(folder / INTERVALS_FILE),
                remedy="Read the record with the loadgen that wrote it, or a newer one.",
            ) from error
    histograms = read_histograms(folder, totals.seconds)
    record.duration_s = float(totals.seconds)
    record.counts = totals.counts()
    record.rate = Rate(
        mode=record.rate.mode,
        offered_per_s=record.rate.offered_per_s,
        achieved_per_s=record.counts.started / totals.seconds if totals.seconds else 0.0,
        completed_per_s=record.counts.completed / totals.seconds if totals.seconds else 0.0,
    )
    record.stages = _stages(histograms, None)
    several = len(record.firmware) > 1
    for facts in record.firmware:
        name = facts.name
        facts.counts = firmware_counts(totals.started_of[name], totals.completed[name], totals.failed[name])
        facts.stages = _stages(histograms, facts.name if several else None)
    record.failures = failure_counts(totals.failures)
    record.session_failures = failure_counts(totals.session_failures, in_session=True)
    record.generator.cpu_s = totals.cpu_s
    record.validity = Validity(verdict="invalid", findings=[_UNFINISHED])
    return record


def _stages(histograms: Mapping[tuple[Stage, str | None], Histogram], firmware: str | None) -> dict[str, StageStats]:
    return stages_of(lambda stage: histograms.get((stage, firmware)) or Histogram.empty())


_UNFINISHED: Final = Finding(
    code="unfinished",
    level="invalid",
    observed=1,
    limit=0,
    text="The run has not been finished: it goes on, or it was killed.",
    remedy="Take the run again; what its logs hold up to the last full second is shown.",
)


class _Totals:
    """Sums over the lines of ``intervals.jsonl``."""

    def __init__(self) -> None:
        self.seconds = 0
        self.intended = self.started = self.aborted = 0
        self.started_of: Counter[str] = Counter()
        self.completed: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self.failures: Counter[FailureKey] = Counter()
        self.session_failures: Counter[FailureKey] = Counter()
        self.cpu_s = 0.0

    def add(self, line: IntervalLine) -> None:
        self.seconds = max(self.seconds, line.second + 1)
        self.intended += line.intended
        self.started += line.started
        for name, counts in line.firmware.items():
            self.started_of[name] += counts.started
            self.completed[name] += counts.completed
            self.failed[name] += counts.failed
        for into, found in (
            (self.failures, line.failures),
            (self.session_failures, line.session_failures),
        ):
            for failure in found:
                into[_failure_key(failure)] += failure.count
        self.cpu_s += sum(line.worker_cpu_s)

    def counts(self) -> Counts:
        """Counts that add up, whatever was in flight."""
        ended = self.completed.total() + self.failed.total()
        started = max(self.started, ended)
        intended = max(self.intended, started)
        return Counts(
            intended=intended,
            started=started,
            completed=self.completed.total(),
            failed=self.failed.total(),
            aborted=started - ended,
            not_started=intended - started,
        )


def _failure_key(failure: FailureTally) -> FailureKey:
    return FailureKey(Stage(failure.stage), Reason(failure.reason), failure.device_code, failure.firmware)


def _decode(data: bytes, file: Path) -> RunRecord:
    """``run.json`` as a record, whatever its age."""
    remedy = "Give the folder of a run; a file that was cut off or edited cannot be used."
    try:
        document = json.loads(data)
    except ValueError as error:
        raise UsageError(f"the file is no JSON: {error}", where=str(file), remedy=remedy) from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if not isinstance(schema, str):
        raise UsageError("the file is no record of loadgen", where=str(file), remedy=remedy)
    family, _, version = schema.rpartition("/")
    if family != _SCHEMA_FAMILY:
        raise UsageError(f"the file holds {schema!r}, not the record of a run", where=str(file), remedy=remedy)
    if version != _SCHEMA_VERSION:
        raise UsageError(
            f"the record has the schema {schema!r}; this loadgen {__version__} reads {SCHEMA!r}",
            where=str(file),
            remedy="Read it with the loadgen that wrote it, or a newer one.",
        )
    try:
        return msgspec.convert(document, RunRecord)
    except msgspec.ValidationError as error:
        raise UsageError(f"the record is damaged: {error}", where=str(file), remedy=remedy) from error


def environment(*, openssl: str, crypto_backend: str, timestamps: str, engine: str) -> Environment:
    """Describe this machine and program; what cannot be found out is ``unknown`` or null.

    Args:
        openssl: version text of the library in use.
        crypto_backend: name of the chosen backend.
        timestamps: ``kernel`` or ``user``.
        engine: name of the event loop.
    """
    cpu = _cpuinfo()
    return Environment(
        loadgen=__version__,
        git=_git_commit(Path.cwd()),
        python=f"{platform.python_implementation()} {platform.python_version()}",
        openssl=openssl,
        cpu_model=cpu.get("model name") or platform.processor() or "unknown",
        cores=len(os.sched_getaffinity(0)),
        kernel=f"{platform.system()} {platform.release()}",
        isa=cpu_features(),
        crypto_backend=crypto_backend,
        timestamps=timestamps,
        engine=engine,
    )


def cpu_features() -> list[str]:
    """Those of this CPU's features that RSA and AES code choose by."""
    cpu = _cpuinfo()
    flags = set((cpu.get("flags") or cpu.get("Features") or "").split())
    return [feature for feature in _ISA if feature in flags]


def _cpuinfo() -> dict[str, str]:
    """The first processor of ``/proc/cpuinfo``."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _git_commit(start: Path) -> str | None:
    """Commit that is checked out around a folder; read from the files, as ``git`` may be missing."""
    try:
        for folder in (start, *start.parents):
            marker = folder / ".git"
            if marker.is_file():  # a worktree names its real folder
                marker = folder / marker.read_text().removeprefix("gitdir:").strip()
            if marker.is_dir():
                return _head(marker)
    except (OSError, UnicodeError):
        pass
    return None


def _head(git: Path) -> str | None:
    head = (git / "HEAD").read_text().strip()
    if not head.startswith("ref:"):
        return head or None
    name = head.removeprefix("ref:").strip()
    shared = git / "commondir"
    roots = [git, git / shared.read_text().strip()] if shared.exists() else [git]
    for root in roots:
        if (root / name).exists():
            return (root / name).read_text().strip()
    for root in roots:
        if (root / "packed-refs").exists():
            for line in (root / "packed-refs").read_text().splitlines():
                commit, _, ref = line.partition(" ")
                if ref == name:
                    return commit
    return None
