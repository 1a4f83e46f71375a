"""Distributions as people write them: ``10s``, ``uniform 10s..60s``, ``exponential 30s``; the same with rates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from loadgen.config.bench import suggestion
from loadgen.config.values import read_duration, read_rate
from loadgen.engine.draws import Distribution
from loadgen.errors import UsageError
from loadgen.protocol.firmware import FirmwareProfile
from loadgen.units import format_duration, format_rate

_KINDS: Final = ("uniform", "exponential")
LOSSES: Final = ("fin", "silent")
"""Ways in which a cloud is lost: it says so, or it does not."""


def read_durations(raw: Any, where: str) -> Distribution:
    """Read a distribution of times, ns.

    Raises:
        UsageError: none, or one that cannot be.
    """
    return _read(str(raw), where, lambda text: read_duration(text, where, zero=True), "such as 'uniform 10s..60s'")


def read_event_rates(raw: Any, where: str, profiles: Sequence[FirmwareProfile]) -> Distribution:
    """Read a distribution of events per second of a session.

    Raises:
        UsageError: none, or more events than one of the firmwares sends.
    """
    found = _read(str(raw), where, lambda text: float(read_rate(text, where)), "such as 'uniform 1/m..10/m'")
    highest = max(found.low, found.high)
    profile = min(profiles, key=lambda profile: profile.events_per_s)
    if highest > profile.events_per_s:
        raise UsageError(
            f"{format_rate(highest)} is more than the {profile.events_per_s} events a second of {profile.name}",
            where=where,
            remedy="Use a lower rate: it is that of one session.",
        )
    return found


def read_detection(raw: Any, where: str, profiles: Sequence[FirmwareProfile]) -> Distribution:
    """Read how long devices take to notice that their cloud is gone, ns.

    ``fin``: at once. ``silent``: evenly spread over the time after which the firmware's keep-alive must have noticed.

    Raises:
        UsageError: neither, and no distribution of times; or ``silent`` for firmwares that take different times, or
            for one that never notices.
    """
    text = str(raw).strip()
    if text == "fin":
        return Distribution("constant", 0.0)
    if text == "silent":
        first, *others = profiles
        for profile in profiles:
            if not profile.notices_silence:
                raise UsageError(
                    f"{profile.name} never notices a silent cloud",
                    where=where,
                    remedy="Use fin, or give a time such as 'uniform 0s..25s'.",
                )
        for other in others:
            if other.silence_ns != first.silence_ns:
                raise UsageError(
                    f"{first.name} notices a silent cloud within {format_duration(first.silence_ns)}, "
                    f"{other.name} within {format_duration(other.silence_ns)}",
                    where=where,
                    remedy="Give a time for both, such as 'uniform 0s..25s', or a storm for each firmware.",
                )
        return Distribution("uniform", 0.0, float(first.silence_ns))
    if text[:1] in "0123456789.-" or text.split(" ")[0] in _KINDS:
        return read_durations(text, where)
    allowed = (*LOSSES, *_KINDS)
    raise UsageError(
        f'unknown value "{text}"',
        where=where,
        remedy=f"{suggestion(text, allowed)}Write fin, silent, or a time such as 2s or 'uniform 0s..10s'.",
    )


def durations_text(distribution: Distribution) -> str:
    """The reverse of :func:`read_durations`."""
    return _text(distribution, lambda value: format_duration(round(value)))


def event_rates_text(distribution: Distribution) -> str:
    """The reverse of :func:`read_event_rates`."""
    return _text(distribution, lambda value: f"{value * 3600:g}/h")


def _text(distribution: Distribution, one: Callable[[float], str]) -> str:
    if distribution.kind == "uniform":
        return f"uniform {one(distribution.low)}..{one(distribution.high)}"
    return one(distribution.low) if distribution.kind == "constant" else f"exponential {one(distribution.low)}"


def _read(text: str, where: str, one: Callable[[str], float], example: str) -> Distribution:
    words = text.split(maxsplit=1)
    kind, rest = ("constant", text) if len(words) < 2 or words[0] not in _KINDS else (words[0], words[1])
    if len(words) > 1 and kind == "constant" and words[0].isalpha():
        raise UsageError(
            f'unknown distribution "{words[0]}"',
            where=where,
            remedy=f"{suggestion(words[0], _KINDS)}Write one value, or a distribution {example}.",
        )
    low, dots, high = rest.partition("..")
    if bool(dots) != (kind == "uniform"):
        raise UsageError(
            "a uniform distribution has two bounds" if kind == "uniform" else "only a uniform distribution has bounds",
            where=where,
            remedy=f"Write one value, or a distribution {example}.",
        )
    if kind != "uniform":
        return Distribution("exponential" if kind == "exponential" else "constant", one(low))
    first, last = one(low), one(high)
    if first > last:
        raise UsageError(f"the bounds {rest!r} are the wrong way round", where=where)
    return Distribution("uniform", first, last)
