"""What there is to say about one number, one ending or one cause, for the versions asked for: the tables put together.

A topic has everything as values, so that it can be shown, written as JSON, or weighed by a diagnosis.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import Final

from loadgen.protocol.causes import Cause, causes
from loadgen.protocol.endings import ENDING_TABLE, SESSION_ENDING_TABLE, Ending
from loadgen.protocol.error_numbers import END, FIRST, LIGHTSSL, PRINTS, STRICT, SYSTEM_CODES, DeviceCode, Print
from loadgen.protocol.error_numbers import End as Where
from loadgen.protocol.explain import Led, device_log, handshake_code, led, session_code
from loadgen.protocol.firmware import PROFILES
from loadgen.protocol.firmware_log import LOG_TEXTS
from loadgen.protocol.moments import Moment
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.protocol.system_errors import DEVICE_CODES
from loadgen.protocol.versions import Version

SESSION: Final = "session"
"""How the place after the cloud's Hello is written where a stage stands otherwise."""

VERSIONS: Final[tuple[Version, ...]] = tuple(
    sorted({profile.version for profile in PROFILES.values() if FIRST <= profile.version < END})
)
"""The versions that endings are shown for."""
_CATEGORIES: Final = Version.parse("0.6.0-rc.1")
"""From here on lines have a category."""
_DEAF: Final = (LIGHTSSL, Version.parse("0.8.0-rc.3"))
"""From the first to before the second: such a device never notices that the cloud is silent."""
_GENERATIONS: Final = (FIRST, STRICT, LIGHTSSL, SYSTEM_CODES, END)


@dataclass(frozen=True, slots=True)
class Printed:
    """Something that some versions print or show."""

    versions: str
    """Such as ``0.6.1-rc.1 to 0.7.0``."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One thing explained. Texts are sentences without a full stop."""

    title: str
    meaning: str
    table: str = ""
    """Of a number: whose it is."""
    name: str = ""
    """Of a number: its constant, where it has one."""
    value: int | None = None
    codes: tuple[Printed, ...] = ()
    """Of an ending: the code that devices give it."""
    printed: tuple[Printed, ...] = ()
    """Log lines."""
    leds: tuple[Printed, ...] = ()
    wire: tuple[str, ...] = ()
    causes: tuple[Cause, ...] = ()
    remedy: str = ""

    @property
    def timing(self) -> tuple[tuple[Moment, tuple[Cause, ...]], ...]:
        """Which causes show when, for the moments that any has."""
        return tuple(
            (moment, found)
            for moment in Moment
            if (found := tuple(cause for cause in self.causes if moment in cause.moments))
        )


# --- versions

_LAST_BEFORE: Final = {
    Version.parse(before): last
    for before, last in (
        ("0.4.7", "0.4.6"), ("0.4.8-rc.2", "0.4.8-rc.1"), ("0.6.0", "0.5.5"), ("0.6.1-rc.1", "0.6.0"),
        ("0.7.0-rc.1", "0.6.4"), ("0.8.0-rc.1", "0.7.0"), ("1.1.0-rc.1", "1.0.1"), ("2.0.0-rc.1", "1.5.x"),
    )
}  # fmt: skip


def span(since: Version, before: Version) -> str:
    """A range of versions for people: ``0.4.8-rc.2 to 0.7.0``."""
    if since <= FIRST and before >= END:
        return "all versions"
    last = "3.3.1" if before >= END else _LAST_BEFORE.get(before, f"before {before}")
    return f"{since} to {last}" if str(since) != last else last


def _overlap(code: DeviceCode, row: Print, version: Version | None) -> tuple[Version, Version] | None:
    since, before = max(row.since, code.since or FIRST), min(row.before, code.before)
    if since >= before or (version is not None and not since <= version < before):
        return None
    return since, before


# --- numbers


def number_topics(
    value: int,
    *,
    version: Version | None = None,
    places: frozenset[Stage | None] | None = None,
    events: frozenset[str] | None = None,
) -> tuple[Topic, ...]:
    """What ``value`` can be: one topic a table, what a connection ends with first.

    Args:
        value: as it is printed, so a WICED result is negative.
        version: of the firmware that printed it; None for any.
        places: the stages that it can come from, None among them for the session; None for anywhere.
        events: the log lines that it can stand in; None for any.
    """
    found = []
    for code in DEVICE_CODES:
        if code.value != value:
            continue
        rows = [row for row in PRINTS if row.table is code.table and _fits(row, value, places, events)]
        spans = [(row, part) for row in rows if (part := _overlap(code, row, version)) is not None]
        if spans or not (version or places or events):
            found.append(_number_topic(code, spans, places, version))
    return tuple(sorted(found, key=lambda topic: (not topic.wire, -len(topic.printed))))


def _fits(row: Print, value: int, places: frozenset[Stage | None] | None, events: frozenset[str] | None) -> bool:
    return (
        (not row.only or value in row.only)
        and value not in row.never
        and (places is None or not places.isdisjoint(row.stages))
        and (events is None or row.event in events)
    )


def _number_topic(
    code: DeviceCode,
    spans: Sequence[tuple[Print, tuple[Version, Version]]],
    places: frozenset[Stage | None] | None,
    version: Version | None,
) -> Topic:
    possible = {stage for row, _ in spans for stage in row.stages}
    ends = [end for end in code.ends if (places is None or end[0] in places) and (not spans or end[0] in possible)]
    table = code.table.value
    versions = "" if code.since is None else f", {span(code.since, code.before)}"
    name = f"{code.name}, {table}" if code.name else table
    return Topic(
        title=f"{code.value}: {name}{versions}",
        meaning=code.meaning,
        table=table,
        name=code.name,
        value=code.value,
        printed=tuple(dict.fromkeys(line for row, part in spans for line in _lines(row, part, code.value, version))),
        leds=_leds(ends, [part for _, part in spans] if version is None else [(version, _next(version))]),
        wire=tuple(dict.fromkeys(f"{_where(end)}: {_ending(end).wire}" for end in ends)),
        causes=_causes(ends, code.causes),
        remedy=_ending(ends[0]).remedy if len(ends) == 1 else "",
    )


def _lines(row: Print, part: tuple[Version, Version], value: int, version: Version | None) -> Iterable[Printed]:
    for text in LOG_TEXTS:
        if version is not None and not text.since <= version < text.before:
            continue
        since, before = max(text.since, part[0]), min(text.before, part[1])
        if text.event == row.event and "%" in text.text and since < before:
            message = text.text.replace("%d.%d.%d.%d:%d", "ADDRESS:PORT").replace("%s:%u", "ADDRESS:PORT")
            message = message.replace("type=%d", "type=TYPE").replace("%d", str(value)).replace("%s", str(value))
            category = f"[{text.category}] " if (version or before) > _CATEGORIES else ""
            yield Printed(span(since, before), f"{category}{text.level}: {message}")


def _next(version: Version) -> Version:
    """The end of the generation that ``version`` is of."""
    return min(before for before in _GENERATIONS if before > version)


def _leds(ends: Sequence[Where], parts: Sequence[tuple[Version, Version]]) -> tuple[Printed, ...]:
    """What the LED shows in each generation, told once where it is the same for all."""
    found: list[tuple[Version, Version, str]] = []
    for since, before in pairwise(_GENERATIONS):
        if not any(part[0] < before and since < part[1] for part in parts):
            continue
        shown = dict.fromkeys(_led(end, since) for end in ends)
        if not shown:
            continue
        text = "; ".join(shown)
        if found and found[-1][2] == text and found[-1][1] == since:
            found[-1] = (found[-1][0], before, text)
        else:
            found.append((since, before, text))
    return tuple(Printed(span(since, before), text) for since, before, text in found)


def _led(end: Where, version: Version) -> Led:
    stage, reason = end
    return led(stage or Stage.HELLO, reason, version, in_session=stage is None)


# --- endings and causes


def ending_topic(end: Where, *, version: Version | None = None) -> Topic:
    """What there is to say about one ending. Raises :class:`KeyError` for one that no device has."""
    ending = _ending(end)
    versions = tuple(each for each in VERSIONS if happens(end, each)) if version is None else (version,)
    logs: dict[str, list[Version]] = {}
    for each in versions:
        for line in _log(end, each):
            logs.setdefault(line, []).append(each)
    codes = [
        Printed(_named(list(group)), str(code))
        for code, group in groupby(versions, key=lambda version: _code(end, version))
        if code is not None
    ]
    leds = [
        Printed(_named(list(group)), shown)
        for shown, group in groupby(versions, key=lambda version: _led(end, version))
    ]
    return Topic(
        title=_where(end),
        meaning=ending.meaning,
        codes=tuple(codes),
        printed=tuple(Printed(_named(named), line) for line, named in logs.items()),
        leds=tuple(leds) if end[0] is not None else (),
        wire=(ending.wire,),
        causes=causes(ending.causes),
        remedy=ending.remedy,
    )


def cause_topic(cause: Cause) -> Topic:
    """What there is to say about one cause: the endings that it leads to, and everything that the cause has."""
    ends = [end for end in all_ends() if cause.id in _ending(end).causes]
    return Topic(
        title=cause.id,
        meaning=cause.what,
        wire=tuple(f"{_where(end)}: {_ending(end).wire}" for end in ends),
        causes=(cause,),
        remedy=cause.remedy,
    )


def happens(end: Where, version: Version | None) -> bool:
    """Whether a device of this version can end so; None: of any."""
    return version is None or end != (None, Reason.PING_TIMEOUT) or not _DEAF[0] <= version < _DEAF[1]


def all_ends() -> tuple[Where, ...]:
    """Every ending, those of the handshake before those of a session."""
    return (*ENDING_TABLE, *((None, reason) for reason in SESSION_ENDING_TABLE))


def _ending(end: Where) -> Ending:
    stage, reason = end
    return SESSION_ENDING_TABLE[reason] if stage is None else ENDING_TABLE[stage, reason]


def _where(end: Where) -> str:
    return f"{end[0] or SESSION}/{end[1]}"


def _code(end: Where, version: Version) -> int | None:
    stage, reason = end
    return session_code(reason, version) if stage is None else handshake_code(stage, reason, version)


def _log(end: Where, version: Version) -> tuple[str, ...]:
    stage, reason = end
    return device_log(stage or Stage.HELLO, reason, _code(end, version), version, in_session=stage is None)


def _named(versions: Sequence[Version]) -> str:
    if len(versions) == 1:
        return str(versions[0])
    return "all versions" if len(versions) == len(VERSIONS) else f"{versions[0]} to {versions[-1]}"


def _causes(ends: Iterable[Where], more: Iterable[str]) -> tuple[Cause, ...]:
    return causes([*(name for end in ends for name in _ending(end).causes), *more])
