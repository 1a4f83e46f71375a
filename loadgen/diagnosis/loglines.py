"""From the lines of a log to what the device tells in them: steps with their moment, and who can have written it.

Pure. A line may begin with the time stamp of a terminal program, may lack the device's own stamp, may be broken off by
another one, or may not be the device's at all: everything is counted, nothing is fatal. What a device prints is in
:mod:`loadgen.protocol.firmware_log`; here are only the ways in which people spoil it, such as addresses taken out
before a log is published. The readings of a line are kept by its text, as a device prints the same few texts over and
over.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from loadgen.protocol.error_numbers import END, FIRST, LIGHTSSL, MBEDTLS, STRICT, SYSTEM_CODES
from loadgen.protocol.firmware_log import LOG_TEXTS, LogEvent, LogLine, LogText, Recognised, parse_line, recognise
from loadgen.protocol.versions import Version

Span = tuple[Version, Version]
"""First version, and the first that is not in it any more."""

_E = LogEvent
_CATEGORIES: Final = Version.parse("0.6.0")
_ANGLED_BEFORE: Final = Version.parse("0.4.7")
_NEW_ADDRESS_RULE: Final = Version.parse("1.1.0-rc.1")
_ERASED_TYPE: Final = 255
_STAMP: Final = 10
_MAX_READINGS: Final = 20_000
"""Texts whose readings are kept."""
MAX_LINE: Final = 1 << 20
"""Characters of a line that are read: ends of lines may be lost, but what has none at all is no log."""
_MAX_TEXT: Final = 4_096
"""Characters of one device line that are read; firmware prints a few hundred."""

_LEVELS: Final = "TRACE|DEBUG|LOG|INFO|WARN|ERROR|PANIC"
_HEAD: Final = re.compile(
    rf"(?<!\d)\d{{10}}(?= \[[^\s\]]+\] | (?:\S+:\d+(?:, \S+\(\))?: )?(?:{_LEVELS}): |:<?(?:{_LEVELS}) *[>:])"
)
_BARE_HEAD: Final = re.compile(r"(?:\[[A-Za-z][\w.]*\] )?(?:TRACE|INFO|WARN|ERROR|PANIC): ")
_HOST_STAMP: Final = re.compile(
    r"\s*[\[(]?\s*"
    r"(?:(?:(?:\d{4}[-/.]\d\d[-/.]\d\d|[A-Z][a-z]{2} +\d{1,2})[T ,_]\s*)?"  # the day
    r"\d{1,2}:\d\d:\d\d(?:[.,:]\d{1,9})?(?: ?[AaPp][Mm])?(?:Z|[+-]\d\d:?\d\d)?"
    r"|\d{1,10}\.\d{1,9}|\d{13})"  # seconds since 1970 or since the begin, or ms since 1970
    r"[\])]?\s*(?:->|>|:|\|)?\s*"
)
_MOST_LEAD: Final = 100
"""Characters from which on what stands in front of a line is no stamp; the pattern above is slow on many blanks."""
_PIECE: Final = re.compile(rf"(?:^|[^\d])\d{{4,10}} \[|\[(?:system|comm|hal|app)[\w.]*\] |\b(?:{_LEVELS}) *: ")

_PUBLISHED: Final = {
    "Resolved host %s to %s": r"Resolved host(?: (?!to$)(\S+))?(?: to\b\s*\S*)?",
    "Resolved %s to %s": r"Resolved(?: (?!to$)(\S+))? to\b\s*\S*",
    "connected to cloud %d.%d.%d.%d:%d": r"connected to cloud\b\s*\S*",
    "Connected to %s:%u": r"Connected to\b\s*\S*",
    "Connection attempt to %s:%u": r"Connection attempt to\b\s*\S*",
    "connection failed to %d.%d.%d.%d:%d, code=%d": r"connection failed to\b[^=]*(?:code=(-?\d+))?",
    "Failed to connect to %s:%u (%d)": r"Failed to connect to\b[^(]*(?:\((-?\d+)\))?",
    "Read Server Address = type:%d,domain:%s,ip: %d.%d.%d.%d, port: %d": r"Read Server Address = type:(\d+),domain:.*",
}
"""Texts with an address, as they look once somebody has taken the address out."""
_LOOSE: Final = [(text, re.compile(_PUBLISHED[text.text])) for text in LOG_TEXTS if text.text in _PUBLISHED]

_SPOKEN: Final = frozenset(("", *(text.category for text in LOG_TEXTS)))
"""Categories in which firmware speaks of its connection; most lines of a long log are of others."""

_LIGHT_CODES: Final = frozenset((4, 9, *range(11, 36)))
_SYSTEM_VALUES: Final = frozenset((-130, -160, -190, -200, -201, -210, -220, -230, -240, -250, -260))
_MOST_WICED: Final = 32


class Step(NamedTuple):
    """One line that tells something about the connection."""

    number: int
    """Of the line in the file, from 1."""
    stamp_ms: int | None
    """As printed, since boot; None where the line has none."""
    readings: tuple[Recognised, ...]
    """What it may be; several only for lines without category."""
    text: str
    """Without stamps."""


class Reading(NamedTuple):
    """What stands behind the stamp of a line."""

    recognised: tuple[Recognised, ...]
    versions: tuple[Span, ...]
    """Versions that can have printed it; empty where it does not tell."""
    text: str


class DeviceLine(NamedTuple):
    """A line of the device."""

    number: int
    stamp_ms: int | None
    reading: Reading


class LineReader:
    """Reads the lines of one log.

    Attributes:
        counts: ``lines`` that are not empty, of these ``device`` (in the device's format), ``unstamped`` (without the
            device's stamp), ``host_stamped`` (behind the stamp of a terminal program), ``interleaved`` (two device
            lines in one), ``broken`` (pieces of device lines), ``foreign`` (anything else), ``overlong`` (of which the
            end was not read).
        first_broken: number of the first broken line, 0 if there is none.
    """

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.first_broken = 0
        self._readings: dict[str, Reading | None] = {}

    def read(self, lines: Iterable[str]) -> Iterator[DeviceLine]:
        """The device's lines, in their order."""
        readings = self._readings
        total = device = 0
        for number, line in enumerate(lines, start=1):
            head = line[:_STAMP]
            if len(head) == _STAMP and head.isdecimal() and head.isascii():
                known = readings.get(line[_STAMP:])
                if known is not None:
                    total += 1
                    device += 1
                    yield DeviceLine(number, int(head), known)
                    continue
            if line and not line.isspace():
                total += 1
                for found in self._read_slowly(number, line):
                    device += 1
                    yield found
        self.counts["lines"] = total
        self.counts["device"] = device

    def _read_slowly(self, number: int, line: str) -> Iterator[DeviceLine]:
        """A line that has not been seen yet, or one that is not as the device printed it."""
        if len(line) > MAX_LINE:
            self.counts["overlong"] += 1
            line = line[:MAX_LINE]
        heads = [match.start() for match in _HEAD.finditer(line)]
        if not heads:
            yield from self._read_without_stamp(number, line)
            return
        if heads[0]:
            self._note_lead(line[: heads[0]], number)
        if len(heads) > 1:
            self.counts["interleaved"] += 1
        for begin, end in zip(heads, (*heads[1:], len(line)), strict=True):
            rest = line[begin + _STAMP : min(end, begin + _STAMP + _MAX_TEXT)].rstrip()
            reading = self._reading(rest)
            if reading is None:
                self._note_broken(number)
            else:
                yield DeviceLine(number, int(line[begin : begin + _STAMP]), reading)

    def _read_without_stamp(self, number: int, line: str) -> Iterator[DeviceLine]:
        text = line.strip()
        parsed = parse_line(text) if text.startswith("{") else None
        if parsed is not None:
            yield DeviceLine(number, parsed.elapsed_ms, _reading_of(parsed, angled=False))
            return
        lead = _HOST_STAMP.match(text[:_MOST_LEAD])
        bare = text[lead.end() :] if lead is not None else text
        if _BARE_HEAD.match(bare):
            reading = self._reading(f" {bare[:_MAX_TEXT]}")
            if reading is not None:
                self.counts["unstamped"] += 1
                self.counts["host_stamped"] += lead is not None
                yield DeviceLine(number, None, reading)
                return
        if _PIECE.search(text):
            self._note_broken(number)
        else:
            self.counts["foreign"] += 1

    def _note_lead(self, lead: str, number: int) -> None:
        """What stands in front of the device's stamp: another stamp, the rest of a line, or what the program likes."""
        if len(lead) <= _MOST_LEAD and _HOST_STAMP.fullmatch(lead):
            self.counts["host_stamped"] += 1
        elif _PIECE.search(lead):
            self._note_broken(number)

    def _note_broken(self, number: int) -> None:
        self.counts["broken"] += 1
        self.first_broken = self.first_broken or number

    def _reading(self, rest: str) -> Reading | None:
        """What ``rest``, everything behind the stamp, is; None for no line of a device."""
        if rest in self._readings:
            return self._readings[rest]
        parsed = parse_line(f"{0:010}{rest}")
        reading = None if parsed is None else _reading_of(parsed, angled=rest.startswith(":<"))
        if len(self._readings) < _MAX_READINGS:
            self._readings[rest] = reading
        return reading


def _reading_of(line: LogLine, *, angled: bool) -> Reading:
    found = (recognise(line) or _published(line)) if line.category in _SPOKEN else ()
    shape = (FIRST, _ANGLED_BEFORE if angled else _CATEGORIES) if line.old else (_CATEGORIES, END)
    if not found:
        return Reading((), (shape,), line.text)
    spans = [span for each in found for span in _spans_of(each)]
    return Reading(found, meet(spans, (shape,)), line.text)


def _published(line: LogLine) -> tuple[Recognised, ...]:
    """A text with an address whose address was taken out."""
    return tuple(
        Recognised(text.event, _numbers(match), text.since, text.before)
        for text, pattern in _LOOSE
        if _may_be(text, line) and (match := pattern.fullmatch(line.text.rstrip()))
    )


def _may_be(text: LogText, line: LogLine) -> bool:
    return text.level is line.level and line.category in ("", text.category)


def _numbers(match: re.Match[str]) -> tuple[int | str, ...]:
    return tuple(int(group) if group.lstrip("-").isdecimal() else group for group in match.groups() if group)


def _spans_of(found: Recognised) -> tuple[Span, ...]:
    """Versions that can print this text with these values."""
    span = (found.since, found.before)
    value = found.values[-1] if found.values else None
    if found.event is _E.ADDRESS_DEFAULT:  # newer firmware replaces such an address before it prints it
        return meet((span,), ((FIRST, MBEDTLS if value == _ERASED_TYPE else _NEW_ADDRESS_RULE),))
    if found.event is _E.HANDSHAKE_FAILED and isinstance(value, int):
        return meet((span,), (_span_of_code(value),))
    return (span,)


def _span_of_code(code: int) -> Span:
    """Versions in which a failed handshake can have this code."""
    if code in _SYSTEM_VALUES:
        return (SYSTEM_CODES, END)
    if -_MOST_WICED <= code < 0:
        return (FIRST, LIGHTSSL)
    if code in (6, 8):
        return (STRICT, SYSTEM_CODES)
    if code in _LIGHT_CODES:
        return (LIGHTSSL, SYSTEM_CODES)
    return (LIGHTSSL, END) if code == 10 else (FIRST, END)


def meet(spans: Iterable[Span], others: Iterable[Span]) -> tuple[Span, ...]:
    """What two unions of spans have in common, in order, neighbours joined."""
    others = tuple(others)
    pieces = sorted(
        {
            (since, before)
            for one in spans
            for other in others
            if (since := max(one[0], other[0])) < (before := min(one[1], other[1]))
        }
    )
    joined: list[Span] = []
    for since, before in pieces:
        if joined and since <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], before))
        else:
            joined.append((since, before))
    return tuple(joined)
