"""The pace of devices as people write it: ``p1``, ``encrypt=83ms,unwrap=400ms,rtt=60ms``, ``p1@0.7.0:rtt=0s``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from loadgen.clock import NS_PER_MS
from loadgen.config.bench import suggestion
from loadgen.config.values import read_duration
from loadgen.engine.plan import Pace
from loadgen.errors import UsageError
from loadgen.units import format_duration

P1_PACE: Final = Pace(encrypt_ns=83 * NS_PER_MS, unwrap_ns=400 * NS_PER_MS, rtt_ns=264 * NS_PER_MS)
"""A P1 (STM32F205 at 120 MHz).

``encrypt`` and ``rtt`` are those of a device's log that was reported in public (Device OS 0.6.x): 83 ms from
"Encrypting handshake nonce" to "Sending encrypted nonce", and 264 ms from "Receive key" until a cloud that rejected the
device at once had closed the connection. The round trip is that of this one device and its network.

``unwrap`` is an estimate: nobody has published a time. Counted in products of words, the RSA-1024 operation with the
Chinese remainder theorem (2 · 620 Montgomery products of 16 words, with the window that PolarSSL takes) is 3.9 times
the RSA-2048 operation with the exponent 65537 (20 products of 64 words) that takes 83 ms. Verifying is one more.
"""

PRESETS: Final = {"p1": P1_PACE}
OFF: Final = "off"
_FIELDS: Final = {"encrypt": "encrypt_ns", "unwrap": "unwrap_ns", "rtt": "rtt_ns"}
_NO_PACE: Final = Pace()
_EXAMPLE: Final = "Write p1, or times such as 'encrypt=83ms,unwrap=400ms,rtt=60ms'."


def read_paces(raw: Any, where: str, names: Sequence[str]) -> dict[str, Pace]:
    """Read the pace of the devices of each firmware; one without a pace is left out.

    Args:
        raw: a text, or several: what is said of one firmware goes on top of what is said of all.
        where: their place.
        names: the run's firmwares.

    Raises:
        UsageError: a text that is none, or of a firmware that does not run.
    """
    paces = dict.fromkeys(names, _NO_PACE)
    of_one = []
    for text in [raw] if isinstance(raw, str) else raw:
        name, colon, rest = text.rpartition(":")
        if colon:
            of_one.append((_known(name.strip(), names, where), rest))
        else:
            paces = {name: _read(text, where, pace) for name, pace in paces.items()}
    for name, text in of_one:
        paces[name] = _read(text, where, paces[name])
    return {name: pace for name, pace in paces.items() if pace != _NO_PACE}


def pace_texts(paces: Mapping[str, Pace], names: Sequence[str]) -> list[str]:
    """The reverse of :func:`read_paces`."""
    if paces and len({paces.get(name) for name in names}) == 1:
        return [pace_text(paces[names[0]])]
    return [f"{name}:{pace_text(pace)}" for name, pace in paces.items()]


def pace_text(pace: Pace) -> str:
    """Every time of a pace."""
    return ",".join(f"{name}={format_duration(getattr(pace, field))}" for name, field in _FIELDS.items())


def _known(name: str, names: Sequence[str], where: str) -> str:
    if name in names:
        return name
    raise UsageError(
        f"{name!r} does not run", where=where, remedy=f"{suggestion(name, names)}Running: {', '.join(names)}."
    )


def _read(text: str, where: str, pace: Pace) -> Pace:
    """``pace`` with what ``text`` says."""
    if text.strip() == OFF:
        return _NO_PACE
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    if not entries:
        raise UsageError("says nothing", where=where, remedy=_EXAMPLE)
    for entry in entries:
        if entry in PRESETS:
            pace = PRESETS[entry]
            continue
        key, equals, duration = entry.partition("=")
        field = _FIELDS.get(key.strip())
        if not equals or field is None:
            allowed = (*PRESETS, *_FIELDS, OFF)
            raise UsageError(
                f"unknown pace {entry!r}", where=where, remedy=f"{suggestion(key.strip(), allowed)}{_EXAMPLE}"
            )
        pace = msgspec.structs.replace(pace, **{field: read_duration(duration, f"{where}: {key.strip()}", zero=True)})
    return pace
