"""Serial logs of real devices: attempts to connect with their stages, how each ended, and which firmware wrote them.

A log is read in three steps: bytes to lines (:mod:`.logtext`), lines to steps (:mod:`.loglines`), and here steps to
boots and attempts (:mod:`.logattempts`). Everything but :func:`read_device_log` is pure.

The stages of an attempt come from the millisecond stamps of its lines. A stamp is taken when its line begins to be
printed, and printing takes a real device about 10 ms. So the moment of a message that has come in is the stamp of the
line behind it, and that of a message sent is the stamp of the line *behind* the sending ("Receive key", "Receiving
HELLO response"), not of the one that announces it. What the lines of a firmware do not tell stays unknown.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from loadgen.diagnosis.logattempts import Attempt, AttemptReader, Outcome
from loadgen.diagnosis.loglines import DeviceLine, LineReader, Span, Step, meet
from loadgen.diagnosis.logtext import MAX_LOG, Repair, read_text
from loadgen.errors import UsageError
from loadgen.protocol.error_numbers import END, FIRST
from loadgen.protocol.firmware import PROFILES
from loadgen.protocol.topics import span as span_text

__all__ = ["Attempt", "Boot", "DeviceLog", "Outcome", "Testimony", "Versions", "parse_device_log", "read_device_log"]

STANDARD_INPUT: Final = "-"
"""Stands for it where a file is named."""
WRAP_MS: Final = 1 << 32
"""The device's clock begins again at 0 after so many ms, 49.7 days."""
DISORDER_MS: Final = 200
"""Lines of different threads may be printed in another order than stamped; a larger step back is a reboot."""
GARBLED_WITHIN_MS: Final = 1_000
"""Only where the lines before and after it are so near each other is one stamp between them taken for a garbled one."""
_NEAR_WRAP_MS: Final = 6 * 3_600_000
"""A clock that stood nearer to its end than this and begins again has wrapped, if the pause fits."""
_PLACES: Final = tuple(10**place for place in range(10))
"""Of the digits of a stamp."""


class Testimony(NamedTuple):
    """A line that narrows down the firmware."""

    number: int
    """Of the line."""
    text: str
    spans: tuple[Span, ...]
    """Versions that can have printed it."""

    @property
    def versions(self) -> str:
        """The same for people: ``0.6.2 to 0.6.4``."""
        return _spans_text(self.spans)


def profiles_in(spans: Iterable[Span]) -> tuple[str, ...]:
    """Names of the P1 firmwares that loadgen can play and that lie in these spans."""
    spans = tuple(spans)
    return tuple(
        name
        for name, profile in PROFILES.items()
        if profile.platform == "p1" and any(since <= profile.version < before for since, before in spans)
    )


def _spans_text(spans: Iterable[Span]) -> str:
    return " or ".join(span_text(since, before) for since, before in spans)


@dataclass(frozen=True, slots=True)
class Versions:
    """Which versions of Device OS can have written something."""

    spans: tuple[Span, ...] = ((FIRST, END),)
    """First version, and the first that is not meant any more; several where there is a gap. None: they contradict."""
    testimony: tuple[Testimony, ...] = ()
    """The lines that say so: the first of each wording that not all versions have, the most telling first."""
    contradiction: Testimony | None = None
    """A line that none of those versions can have printed: two devices in one log, or lines put together."""

    @property
    def is_known(self) -> bool:
        """Whether anything is excluded."""
        return self.spans != ((FIRST, END),)

    @property
    def text(self) -> str:
        """For people: ``0.6.2 to 0.6.4``."""
        return _spans_text(self.spans)

    @property
    def profiles(self) -> tuple[str, ...]:
        """Names of the P1 firmwares that loadgen can play, of those that are possible."""
        return profiles_in(self.spans)

    @property
    def name(self) -> str:
        """Short and without blanks, as a firmware is named in records: ``p1@0.6.2..0.6.4``."""
        if not self.is_known:
            return "p1@unknown"
        since, before = self.spans[0][0], self.spans[-1][1]
        return "p1@" + span_text(since, before).replace(" to ", "..").replace(" ", "_")


@dataclass(frozen=True, slots=True)
class Boot:
    """What a device logged from one start to the next."""

    number: int
    """From 1."""
    first_line: int
    last_line: int
    first_ms: int | None
    """Stamp of its first line; None without stamps."""
    last_ms: int | None
    """Stamp of its last line, counted on where the clock has wrapped."""
    wraps: int
    """How often the clock has begun again at 0 within it."""
    versions: Versions


@dataclass(frozen=True, slots=True)
class DeviceLog:
    """Everything that a log tells."""

    name: str
    attempts: tuple[Attempt, ...]
    boots: tuple[Boot, ...]
    versions: Versions
    """Of all boots together; where they contradict each other (an update), of the last one."""
    changed_firmware: bool
    """No version can have written all boots."""
    counts: Counter[str]
    """Lines by kind, as :class:`~loadgen.diagnosis.loglines.LineReader` counts them; ``disordered`` and ``garbled``
    stamps."""
    first_broken: int
    """Number of the first line that is a piece of a device's line; 0 if there is none."""
    repairs: tuple[Repair, ...]
    cut_at_end: bool
    """The log ends within a line."""

    def of(self, outcome: Outcome) -> tuple[Attempt, ...]:
        """The attempts that ended so."""
        return tuple(attempt for attempt in self.attempts if attempt.outcome is outcome)


def read_device_log(path: Path) -> DeviceLog:
    """Read a log; ``-`` is standard input.

    Raises:
        UsageError: it cannot be read, is no text, or has no line of a device in it.
    """
    name = "standard input" if str(path) == STANDARD_INPUT else str(path)
    try:
        data = _read(path)
    except OSError as error:
        remedy = "Give the file of a serial log."
        if isinstance(error, IsADirectoryError):
            remedy = f"Give the logs in it, such as {path / '*.log'}."
        raise UsageError(f"the log cannot be read: {error.strerror}", where=name, remedy=remedy) from error
    if len(data) > MAX_LOG:
        raise UsageError(
            f"the log has more than {MAX_LOG >> 20} MiB",
            where=name,
            remedy="Cut it into pieces, such as with `split -C 200M`; each piece is read by itself.",
        )
    return parse_device_log(data, name)


def _read(path: Path) -> bytes:
    """What is in a file, or comes in, up to one byte more than may be."""
    if str(path) == STANDARD_INPUT:
        return b"" if sys.stdin is None else sys.stdin.buffer.read(MAX_LOG + 1)
    with path.open("rb") as file:
        return file.read(MAX_LOG + 1)


def parse_device_log(data: bytes, name: str) -> DeviceLog:
    """Take the bytes of a log apart.

    Args:
        data: the file.
        name: what to call it.

    Raises:
        UsageError: it is no text, or has no line of a device in it.
    """
    text = read_text(data, name)
    reader = LineReader()
    chapters = _Chapters()
    for line in reader.read(text.lines):
        chapters.add(line)
    boots, attempts = chapters.close()
    counts = reader.counts
    if not counts["device"]:
        raise UsageError(
            f"no line of {counts['lines']:,} is one of a device's log",
            where=name,
            remedy="A line looks like '0000005346 [system] INFO: Cloud: connecting'; see docs/device-logs.md.",
        )
    counts["understood"] = chapters.understood
    counts["disordered"] = chapters.disordered
    counts["garbled"] = chapters.garbled
    versions, changed = _of_all(boots)
    return DeviceLog(
        name=name,
        attempts=attempts,
        boots=boots,
        versions=versions,
        changed_firmware=changed,
        counts=counts,
        first_broken=reader.first_broken,
        repairs=text.repairs,
        cut_at_end=text.ends_in_line and _is_cut(text.lines[-1]),
    )


def _is_cut(last: str) -> bool:
    """Whether the last line, which has no end, tells nothing known: then it is most likely not the whole line."""
    return not any(line.reading.recognised for line in LineReader().read([last]))


class _Chapters:
    """Splits a log at the device's restarts, and hands the steps of each boot to an :class:`AttemptReader`.

    A line whose stamp jumps is held until the next stamp tells whether it was a jump in time or a garbled stamp.
    """

    def __init__(self) -> None:
        self.disordered = 0
        self.garbled = 0
        self.understood = 0
        self._held: list[DeviceLine] = []
        self._boots: list[Boot] = []
        self._attempts: list[Attempt] = []
        self._begin(1)

    def _begin(self, first_line: int) -> None:
        self._first_line = self._last_line = first_line
        self._first_ms: int | None = None
        self._last_ms = -1
        self._wraps = 0
        self._firmware = _Firmware()
        self._steps: list[tuple[Step, int | None]] = []
        self._is_empty = True

    def add(self, line: DeviceLine) -> None:
        """Take the next line of the device."""
        if self._held and line.stamp_ms is not None:
            self._release(line.stamp_ms)
        if self._held or self._jumps(line.stamp_ms):
            self._held.append(line)
        else:
            self._take(line)

    def _jumps(self, stamp_ms: int | None) -> bool:
        return stamp_ms is not None and abs(stamp_ms - self._last_stamp_ms) > DISORDER_MS and self._last_ms >= 0

    @property
    def _last_stamp_ms(self) -> int:
        """The latest stamp of this boot, as printed."""
        return self._last_ms - self._wraps * WRAP_MS

    def _release(self, next_ms: int | None) -> None:
        """Take what was held; ``next_ms`` is the stamp behind it."""
        held, self._held = self._held, []
        for line in held:
            garbled = line is held[0] and next_ms is not None and self._is_garbled(line.stamp_ms or 0, next_ms)
            self.garbled += garbled
            self._take(line._replace(stamp_ms=None) if garbled else line)

    def _is_garbled(self, stamp_ms: int, next_ms: int) -> bool:
        """Whether the lines around a stamp go on as if it were not there, and one wrong digit explains it."""
        last_ms = self._last_stamp_ms
        if last_ms <= stamp_ms <= next_ms or not last_ms <= next_ms <= last_ms + GARBLED_WITHIN_MS:
            return False
        return any(
            last_ms <= stamp_ms + (digit - stamp_ms // place % 10) * place <= next_ms
            for place in _PLACES
            for digit in range(10)
        )

    def _take(self, line: DeviceLine) -> None:
        elapsed_ms = None
        if line.stamp_ms is not None:
            elapsed_ms = line.stamp_ms + self._wraps * WRAP_MS
            if elapsed_ms < self._last_ms:
                elapsed_ms = self._step_back(line, elapsed_ms)
            if self._first_ms is None:
                self._first_ms = elapsed_ms
            self._last_ms = max(self._last_ms, elapsed_ms)
        if self._is_empty:
            self._first_line, self._is_empty = line.number, False
        self._last_line = line.number
        reading = line.reading
        self._firmware.hear(line)
        if reading.recognised:
            self.understood += 1
            self._steps.append((Step(line.number, line.stamp_ms, reading.recognised, reading.text), elapsed_ms))

    def _step_back(self, line: DeviceLine, elapsed_ms: int) -> int:
        """A stamp before the last one: disorder, a clock that has wrapped, or a reboot."""
        if self._last_ms - elapsed_ms <= DISORDER_MS:
            self.disordered += 1
            return elapsed_ms
        if self._last_ms % WRAP_MS >= WRAP_MS - _NEAR_WRAP_MS and elapsed_ms % WRAP_MS <= _NEAR_WRAP_MS:
            self._wraps += 1
            return elapsed_ms + WRAP_MS
        self._close_boot()
        self._begin(line.number)
        return line.stamp_ms or 0

    def close(self) -> tuple[tuple[Boot, ...], tuple[Attempt, ...]]:
        """End the log."""
        self._release(None)
        self._close_boot()
        return tuple(self._boots), tuple(self._attempts)

    def _close_boot(self) -> None:
        number = len(self._boots) + 1
        versions = self._firmware.versions()
        reader = AttemptReader(boot=number, first_number=len(self._attempts) + 1)
        for step, elapsed_ms in self._steps:
            reader.add(step, elapsed_ms, versions.spans)
        self._attempts += reader.close()
        self._boots.append(
            Boot(
                number=number,
                first_line=self._first_line,
                last_line=self._last_line,
                first_ms=self._first_ms,
                last_ms=self._last_ms if self._first_ms is not None else None,
                wraps=self._wraps,
                versions=versions,
            )
        )


class _Firmware:
    """Narrows down the versions that can have written some lines."""

    def __init__(self) -> None:
        self._spans: tuple[Span, ...] = ((FIRST, END),)
        self._heard: set[tuple[Span, ...]] = set()
        self._testimony: list[Testimony] = []
        self._contradiction: Testimony | None = None

    def hear(self, line: DeviceLine) -> None:
        spans = line.reading.versions
        if spans in self._heard:
            return
        self._heard.add(spans)
        said = Testimony(line.number, line.reading.text, spans)
        left = meet(self._spans, spans)
        if not left:
            self._contradiction = self._contradiction or said
            return
        self._spans = left
        self._testimony.append(said)

    def versions(self) -> Versions:
        return Versions(self._spans, _most_telling(self._testimony), self._contradiction)


def _most_telling(testimony: Iterable[Testimony]) -> tuple[Testimony, ...]:
    """By how few of the known firmwares remain; of lines that say the same, the first."""
    distinct = {said.spans: said for said in reversed(list(testimony))}
    return tuple(sorted(distinct.values(), key=lambda said: (len(profiles_in(said.spans)), said.number)))


def _of_all(boots: Sequence[Boot]) -> tuple[Versions, bool]:
    """The versions that can have written all boots; without any, those of the last boot, and that they changed."""
    spans: tuple[Span, ...] = ((FIRST, END),)
    testimony: list[Testimony] = []
    for boot in boots:
        left = meet(spans, boot.versions.spans)
        if not left:
            return boots[-1].versions, True
        testimony += boot.versions.testimony
        spans = left
    contradiction = next((boot.versions.contradiction for boot in boots if boot.versions.contradiction), None)
    return Versions(spans, _most_telling(testimony), contradiction), False
