"""Quantities at the edges: what people write and read, against the integers used inside.

Durations become integer nanoseconds, rates exact fractions per second, counts integers. A bare number is a
rate per second or a count, never a duration. The ``parse_…`` functions raise :class:`ValueError` with one
sentence that names the text and shows what would have been right.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Final

NS_PER_UNIT: Final[dict[str, int]] = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, the sign on keyboards
    "μs": 1_000,  # U+03BC, the Greek letter that looks the same
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "min": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
}
"""Units of a duration."""

_FACTORS: Final[dict[str, int]] = {"": 1, "k": 1_000, "M": 1_000_000, "G": 1_000_000_000}
_SECONDS: Final[dict[str, int]] = {
    "s": 1,
    "sec": 1,
    "second": 1,
    "m": 60,
    "min": 60,
    "minute": 60,
    "h": 3600,
    "hour": 3600,
}

_NUMBER = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
_DURATION_PART = re.compile(rf"({_NUMBER})\s*([a-zµμ]+)\s*")
_COUNT = re.compile(rf"({_NUMBER})\s*([kKMG]?)")
_RATE = re.compile(rf"({_NUMBER})\s*([kKMG]?)\s*(?:/\s*([a-z]+))?")
_MAX_TEXT = 40  # longer text is no quantity; it also keeps int() away from its digit limit

_DURATION_EXAMPLE = "write for example 250ms, 10s or 1m30s"
_RATE_EXAMPLE = "write for example 2000/s, 2.5k/s or 120/m"
_COUNT_EXAMPLE = "write for example 500, 10k or 1M"


def parse_duration_ns(text: str) -> int:
    """Read a duration such as ``250ms``, ``1.5s`` or ``1m30s`` as nanoseconds.

    Raises:
        ValueError: no unit, an unknown unit, a part shorter than a nanosecond, or anything else.
    """
    stripped = text.strip()
    if re.fullmatch(_NUMBER, stripped):
        raise ValueError(f"{_quote(text)} is no duration without a unit: {_DURATION_EXAMPLE}")
    total = Fraction(0)
    position = 0
    if len(stripped) <= _MAX_TEXT:
        while part := _DURATION_PART.match(stripped, position):
            factor = NS_PER_UNIT.get(part[2])
            if factor is None:
                raise ValueError(f"{_quote(text)} has the unknown unit {part[2]!r}: {_DURATION_EXAMPLE}")
            total += Fraction(part[1]) * factor
            position = part.end()
    if position == 0 or position != len(stripped):
        raise ValueError(f"{_quote(text)} is no duration: {_DURATION_EXAMPLE}")
    if total.denominator != 1:
        raise ValueError(f"{_quote(text)} is no whole number of nanoseconds: {_DURATION_EXAMPLE}")
    return int(total)


def parse_rate(text: str) -> Fraction:
    """Read a rate such as ``2000/s``, ``2000``, ``2.5k/s`` or ``120/m`` as an exact number per second.

    Raises:
        ValueError: not a rate, or not greater than zero.
    """
    stripped = text.strip()
    match = _RATE.fullmatch(stripped) if len(stripped) <= _MAX_TEXT else None
    if match is None:
        raise ValueError(f"{_quote(text)} is no rate: {_RATE_EXAMPLE}")
    seconds = _SECONDS.get(match[3] or "s")
    if seconds is None:
        raise ValueError(f"{_quote(text)} has the unknown unit {match[3]!r}: {_RATE_EXAMPLE}")
    rate = Fraction(match[1]) * _factor(match[2]) / seconds
    if rate == 0:
        raise ValueError(f"a rate must be greater than 0, not {_quote(text)}: {_RATE_EXAMPLE}")
    return rate


def parse_count(text: str) -> int:
    """Read a count such as ``500``, ``10k`` or ``1.5M``.

    Raises:
        ValueError: not a count, or not a whole number.
    """
    stripped = text.strip()
    match = _COUNT.fullmatch(stripped) if len(stripped) <= _MAX_TEXT else None
    if match is None:
        raise ValueError(f"{_quote(text)} is no count: {_COUNT_EXAMPLE}")
    count = Fraction(match[1]) * _factor(match[2])
    if count.denominator != 1:
        raise ValueError(f"{_quote(text)} is no whole number: {_COUNT_EXAMPLE}")
    return int(count)


def format_ns(ns: float) -> str:
    """A measured time for a table, three significant digits: ``850 ns``, ``12.3 µs``, ``4.00 s``."""
    if ns < 0:
        return f"-{format_ns(-ns)}"
    for unit, factor in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        value = ns / factor
        if unit == "ns" and value < 999.5:
            return f"{value:.0f} ns"
        if value < 999.5:
            return f"{_three_digits(value)} {unit}"
    return f"{_three_digits(ns / 1_000_000_000)} s"


def format_duration(ns: int) -> str:
    """A chosen time as people write it; :func:`parse_duration_ns` reads it back: ``1m30s``, ``250ms``."""
    if ns < 0:
        return f"-{format_duration(-ns)}"
    parts = []
    rest = ns
    for unit in ("h", "m", "s", "ms", "us", "ns"):
        amount, rest = divmod(rest, NS_PER_UNIT[unit])
        if amount:
            parts.append(f"{amount}{unit}")
    return "".join(parts) or "0s"


def format_rate(per_s: Fraction | float) -> str:
    """A rate for a table, at least three significant digits: ``2,000/s``, ``12.3/s``, ``0.0500/s``."""
    value = float(per_s)
    if value == 0:
        return "0/s"
    if isinstance(per_s, (int, Fraction)) and per_s == int(per_s):
        return f"{int(per_s):,}/s"
    if abs(value) >= 99.95:
        return f"{value:,.0f}/s"
    if abs(value) >= 0.9995:
        return f"{_three_digits(value)}/s"
    return f"{value:#.3g}/s"


def format_percent(share: float, decimals: int = 0) -> str:
    """A share for a table or a sentence: ``12 %``."""
    return f"{share * 100:.{decimals}f} %"


def format_count(count: int) -> str:
    """A count for a table, every digit: ``12,345``."""
    return f"{count:,}"


def format_number_of(count: int, noun: str) -> str:
    """A count of things that take a plain plural: ``1 worker``, ``2,000 workers``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def _factor(letter: str) -> int:
    return _FACTORS["k" if letter == "K" else letter]


def _three_digits(value: float) -> str:
    """``value`` ≥ 0 with three significant digits, more before the point where it has them."""
    if value < 9.995:
        return f"{value:.2f}"
    if value < 99.95:
        return f"{value:.1f}"
    return f"{value:,.0f}"


def _quote(text: str) -> str:
    shown = text if len(text) <= _MAX_TEXT else f"{text[:_MAX_TEXT]}…"
    return repr(shown)
