"""Mixes of firmwares as people write them: ``p1@0.6.4=30%,p1@0.7.0=70%``."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Final

from loadgen.config.values import read_firmware
from loadgen.errors import UsageError
from loadgen.protocol.firmware import FirmwareProfile

EXAMPLE: Final = "Write for example 'p1@0.6.4=30%,p1@0.7.0=70%', or the names alone for equal shares."
FINEST: Final = 10_000
"""Devices in which every share has to be a whole number of them."""

_WEIGHT: Final = re.compile(r"\d{1,12}(?:\.\d{0,12})?|\.\d{1,12}|\d{1,12}/\d{1,12}")


@dataclass(frozen=True, slots=True)
class Part:
    """One firmware of a mix. The weights of a mix add up to 1."""

    profile: FirmwareProfile
    weight: Fraction


def read_mix(raw: Any, where: str) -> tuple[Part, ...]:
    """Read a firmware, or several with their shares of the devices.

    Args:
        raw: text, a list of such texts, or a table of weights by name.
        where: its place.

    Raises:
        UsageError: an unknown firmware, one that is named twice, or weights that are none or do not add up.
    """
    entries = [(read_firmware(name, where), weight) for name, weight in _entries(raw)]
    if not entries:
        raise UsageError("names no firmware", where=where, remedy=EXAMPLE)
    names = [profile.name for profile, _ in entries]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"{name} is named twice", where=where, remedy="Add its shares up and name it once.")
    weights = _weights([weight for _, weight in entries], names, where)
    if math.lcm(*(weight.denominator for weight in weights)) > FINEST:
        raise UsageError(
            f"the shares are whole numbers of devices only in more than {FINEST:,}",
            where=where,
            remedy="Give shares with two decimals at most, or leave the weights out for equal shares.",
        )
    return tuple(Part(profile, weight) for (profile, _), weight in zip(entries, weights, strict=True))


def whole_parts(weights: Sequence[Fraction]) -> list[int]:
    """Weights that add up to 1 as the smallest whole numbers in the same proportion."""
    size = math.lcm(*(weight.denominator for weight in weights))
    return [int(weight * size) for weight in weights]


def mix_text(names: Sequence[str], weights: Sequence[Fraction]) -> str:
    """The reverse of :func:`read_mix`; one firmware has no weight."""
    if len(names) == 1:
        return names[0]
    return ",".join(f"{name}={weight_text(weight)}" for name, weight in zip(names, weights, strict=True))


def weight_text(weight: Fraction) -> str:
    """In percent, or as a fraction where percent would not be exact."""
    percent = weight * 100
    return f"{float(percent):.10g}%" if (percent * 100).denominator == 1 else str(weight)


def _entries(raw: Any) -> Iterator[tuple[str, str]]:
    """(name, weight) of each firmware; the weight is empty where none is given."""
    if isinstance(raw, Mapping):
        yield from ((str(name), str(weight).strip()) for name, weight in raw.items())
        return
    for text in [raw] if isinstance(raw, str) else raw:
        for entry in re.split(r"[,;]", text):
            name, _, weight = entry.partition("=")
            if entry.strip():
                yield name, weight.strip()


def _weights(texts: Sequence[str], names: Sequence[str], where: str) -> list[Fraction]:
    """Weights that add up to 1. Firmwares without one share evenly what the others leave."""
    bare_percents = any(_is_above_one(text) for text in texts)
    given = [_weight(text, name, bare_percents, where) for text, name in zip(texts, names, strict=True)]
    total = sum((weight for weight in given if weight is not None), Fraction(0))
    missing = given.count(None)
    if (total != 1 and not missing) or total > 1:
        remedy = "Let them add up to 100 %, or leave the weights out for equal shares."
        raise UsageError(f"the weights add up to {_percent(total)}, not 100 %", where=where, remedy=remedy)
    if missing and total == 1:
        left_out = ", ".join(name for name, weight in zip(names, given, strict=True) if weight is None)
        raise UsageError(f"the weights leave nothing for {left_out}", where=where, remedy="Give it a weight too.")
    return [(1 - total) / missing if weight is None else weight for weight in given]


def _weight(text: str, name: str, bare_percents: bool, where: str) -> Fraction | None:
    if not text:
        return None
    number = text.removesuffix("%").rstrip()
    if not _WEIGHT.fullmatch(number) or number.endswith("/0"):
        raise UsageError(f"{text!r} is no share of the devices", where=where, remedy=EXAMPLE)
    value = Fraction(number)
    if not value:
        raise UsageError(f"{name} gets no device", where=where, remedy="Leave it out, or give it a share above 0.")
    return value / 100 if text.endswith("%") or bare_percents else value


def _is_above_one(text: str) -> bool:
    """A number without sign of its own that can only be meant as percent, such as 30."""
    return bool(_WEIGHT.fullmatch(text)) and "/" not in text and Fraction(text) > 1


def _percent(share: Fraction) -> str:
    return f"{float(share * 100):.6g} %"
