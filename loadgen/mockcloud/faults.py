"""Faults that a mock cloud commits on purpose: what there is, how it is written, and which handshakes it hits. Pure.

A fault is written ``stage:kind[=argument]:probability``, such as ``key:close:0.5%``. For each stage one number is
drawn a handshake, and the faults of that stage divide its range between them: every fault has exactly the share that it
names, two faults of one stage never meet, and the draws of different stages are independent. The share is that of the
handshakes that come as far as the stage's answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import StrEnum
from fractions import Fraction
from typing import Final, Literal

import msgspec

from loadgen.mockcloud.draws import Draws
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.protocol.wire import BLOCK_SIZE, LENGTH_SIZE, NONCE_SIZE, REPLY_SIZE
from loadgen.units import format_duration, parse_duration_ns


class FaultStage(StrEnum):
    """The answers of a cloud that can be disturbed."""

    NONCE = "nonce"
    """The 40 bytes that the cloud begins with."""
    KEY = "key"
    """The 384 bytes of session key and signature."""
    HELLO = "hello"
    """The cloud's Hello."""
    SESSION = "session"
    """The first message after it: usually the describe request, else an acknowledgement."""


class FaultKind(StrEnum):
    """What can be done to an answer."""

    DELAY = "delay"
    DRIBBLE = "dribble"
    COALESCE = "coalesce"
    STALL = "stall"
    CLOSE = "close"
    RESET = "reset"
    TRUNCATE = "truncate"
    CORRUPT_CIPHERTEXT = "corrupt-ciphertext"
    CORRUPT_SIGNATURE = "corrupt-signature"
    WRONG_NONCE = "wrong-nonce"
    FORGET = "forget"
    BAD_FRAME = "bad-frame"
    BAD_PADDING = "bad-padding"
    WRONG_HELLO = "wrong-hello"


@dataclass(frozen=True, slots=True)
class Ending:
    """How a device notices a fault: the one way in which its attempt, or its session, ends."""

    stage: Stage
    reason: Reason
    in_session: bool = False


@dataclass(frozen=True, slots=True)
class FaultType:
    """One kind of fault."""

    does: str
    """What the cloud does, one sentence without a full stop."""
    endings: Mapping[FaultStage, Ending | None]
    """At which stages there is such a fault, and how it ends there; None where the handshake goes on."""
    argument: Literal["time", "bytes"] | None = None
    default: int | None = None
    """The argument where none is given: ns or bytes; None where there is no default, or it is "all but one byte"."""
    needs_crypto: bool = False
    """It happens in a part of the handshake that a replaying cloud leaves out."""
    stages: tuple[FaultStage, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "stages", tuple(self.endings))


_N, _K, _H, _S = FaultStage.NONCE, FaultStage.KEY, FaultStage.HELLO, FaultStage.SESSION
_HANDSHAKE_STAGES: Final = {_N: Stage.NONCE, _K: Stage.KEY, _H: Stage.HELLO}


def _each(reason: Reason, in_session: Reason) -> dict[FaultStage, Ending | None]:
    """The same reason at every stage of the handshake, and another in the session."""
    endings: dict[FaultStage, Ending | None] = {at: Ending(stage, reason) for at, stage in _HANDSHAKE_STAGES.items()}
    return {**endings, _S: Ending(Stage.HELLO, in_session, in_session=True)}


_MS: Final = 1_000_000

CATALOGUE: Final[Mapping[FaultKind, FaultType]] = {
    FaultKind.DELAY: FaultType(
        "holds the answer back for the time given, then sends it", dict.fromkeys(FaultStage), "time"
    ),
    FaultKind.DRIBBLE: FaultType(
        "sends the answer byte by byte, with the pause given between two of them",
        dict.fromkeys(FaultStage),
        "time",
        _MS,
    ),
    FaultKind.COALESCE: FaultType(
        "sends the answer and a ping right behind it in one segment", {_K: None, _H: None, _S: None}
    ),
    FaultKind.STALL: FaultType(
        "sends so many bytes of the answer and then nothing more, on an open connection",
        _each(Reason.TIMEOUT, Reason.PING_TIMEOUT),
        "bytes",
        0,
    ),
    FaultKind.CLOSE: FaultType("closes (FIN) instead of answering", _each(Reason.CLOSED, Reason.CLOSED)),
    FaultKind.RESET: FaultType("resets (RST) instead of answering", _each(Reason.RESET, Reason.RESET)),
    FaultKind.TRUNCATE: FaultType(
        "sends so many bytes of the answer and closes", _each(Reason.SHORT, Reason.SHORT), "bytes"
    ),
    FaultKind.CORRUPT_CIPHERTEXT: FaultType(
        "changes one bit of the encrypted session key", {_K: Ending(Stage.UNWRAP, Reason.BAD_KEY)}
    ),
    FaultKind.CORRUPT_SIGNATURE: FaultType(
        "changes one bit of the signature", {_K: Ending(Stage.UNWRAP, Reason.BAD_SIGNATURE)}
    ),
    FaultKind.WRONG_NONCE: FaultType(
        "checks the device's answer against another nonce than it has sent, and so closes",
        {_K: Ending(Stage.KEY, Reason.CLOSED)},
        needs_crypto=True,
    ),
    FaultKind.FORGET: FaultType(
        "does not know the device and its key any more, and so closes",
        {_K: Ending(Stage.KEY, Reason.CLOSED)},
        needs_crypto=True,
    ),
    FaultKind.BAD_FRAME: FaultType(
        "sends a frame whose length says 0",
        {_H: Ending(Stage.HELLO, Reason.BAD_FRAME), _S: Ending(Stage.HELLO, Reason.BAD_FRAME, in_session=True)},
    ),
    FaultKind.BAD_PADDING: FaultType(
        "encrypts its Hello with wrong padding", {_H: Ending(Stage.HELLO, Reason.BAD_FRAME)}
    ),
    FaultKind.WRONG_HELLO: FaultType(
        "sends an acknowledgement with the code 2.04 where its Hello is due",
        {_H: Ending(Stage.HELLO, Reason.BAD_HELLO)},
    ),
}
"""Every fault. The endings are those of firmware that ends a connection over an unknown message, as p1@0.7.0 does."""

ANSWER_SIZES: Final[Mapping[FaultStage, int]] = {
    _N: NONCE_SIZE,
    _K: REPLY_SIZE,
    _H: LENGTH_SIZE + BLOCK_SIZE,
    _S: LENGTH_SIZE + BLOCK_SIZE,
}
"""Bytes of each answer; of the session's the shortest that there is."""

MAX_FAULTS: Final = 100
_FORM: Final = "stage:kind[=argument]:probability, such as key:close:0.5% or hello:delay=50ms:1%"
_SHARE_TOLERANCE: Final = 1e-9
_MAX_SHOWN: Final = 60


class Fault(msgspec.Struct, frozen=True):
    """One fault of a plan."""

    stage: FaultStage
    kind: FaultKind
    argument: int | None
    """ns or bytes, as the kind's :attr:`FaultType.argument` says."""
    probability: float
    """0 … 1."""

    @property
    def key(self) -> str:
        """``stage:kind``: under this name it is counted."""
        return f"{self.stage}:{self.kind}"

    @property
    def ending(self) -> Ending | None:
        """How the device notices it; None where the handshake goes on."""
        return CATALOGUE[self.kind].endings[self.stage]

    def __str__(self) -> str:
        argument = ""
        if self.argument is not None:
            is_time = CATALOGUE[self.kind].argument == "time"
            argument = f"={format_duration(self.argument) if is_time else self.argument}"
        return f"{self.key}{argument}:{self.probability * 100:.12g}%"


def parse_fault(text: str) -> Fault:
    """Read ``stage:kind[=argument]:probability``.

    Raises:
        ValueError: one sentence with the text, the position, the nearest word and what is allowed there.
    """
    parts = text.split(":")
    if len(parts) != 3:
        raise ValueError(f"{_shown(text)} is no fault: write {_FORM}")
    stage_text, kind_text, share_text = parts
    stage = FaultStage(_word(text, 0, stage_text, "stage", tuple(FaultStage)))
    kind_at, share_at = len(stage_text) + 1, len(stage_text) + len(kind_text) + 2
    name, equals, argument_text = kind_text.partition("=")
    here = tuple(kind for kind, type_ in CATALOGUE.items() if stage in type_.endings)
    if name.strip() in set(FaultKind) - set(here):
        stages = ", ".join(CATALOGUE[FaultKind(name.strip())].endings)
        raise _error(text, kind_at, f"there is no {name.strip()!r} at '{stage}', only at: {stages}")
    kind = FaultKind(_word(text, kind_at, name, f"fault at '{stage}'", here))
    try:
        argument = _argument(stage, kind, argument_text if equals else None)
    except ValueError as error:
        raise _error(text, kind_at + len(name) + len(equals), str(error)) from None
    try:
        share = parse_probability(share_text)
    except ValueError as error:
        raise _error(text, share_at, str(error)) from None
    return Fault(stage, kind, argument, share)


def parse_probability(text: str) -> float:
    """Read a probability such as ``0.5%``, ``0.005`` or ``1``.

    Raises:
        ValueError: not a number, not above 0, or above 1 (100 %).
    """
    number = text.strip()
    is_percent = number.endswith("%")
    number = number.removesuffix("%").strip()
    if not (number.replace(".", "", 1).isascii() and number.replace(".", "", 1).isdigit() and len(number) <= 40):
        raise ValueError(f"{text!r} is no probability: write for example 0.5% or 0.005")
    share = Fraction(number) / (100 if is_percent else 1)
    if share > 1:
        raise ValueError(f"the probability {text!r} is over 1: write at most 1 or 100%")
    if not share:
        raise ValueError(f"the probability {text!r} is nothing: leave the fault out, or write for example 0.5%")
    return float(share)


def check_faults(faults: Sequence[Fault], *, replay: bool) -> None:
    """Refuse a plan that cannot be carried out.

    Args:
        faults: the plan.
        replay: the cloud answers from prepared replies, without crypto.

    Raises:
        ValueError: the probabilities of one stage add up to more than 1, too many faults, or a fault that a replaying
            cloud cannot commit.
    """
    if len(faults) > MAX_FAULTS:
        raise ValueError(f"{len(faults)} faults are more than the {MAX_FAULTS} possible")
    for stage in FaultStage:
        share = sum(fault.probability for fault in faults if fault.stage is stage)
        if share > 1 + _SHARE_TOLERANCE:
            raise ValueError(f"the probabilities at '{stage}' add up to {share * 100:.6g}%, which is over 100%")
    for fault in faults:
        if replay and CATALOGUE[fault.kind].needs_crypto:
            raise ValueError(
                f"a replaying cloud cannot commit '{fault.key}': it never looks at what a device sends; use the "
                "mode 'full'"
            )


class FaultPlan:
    """Which faults hit which handshake.

    Args:
        faults: the plan, as :func:`check_faults` accepts it.
        seed: 0 … 2^64 - 1.
    """

    __slots__ = ("_stages",)

    def __init__(self, faults: Iterable[Fault], seed: int) -> None:
        shares: dict[FaultStage, list[tuple[float, Fault]]] = {}
        for fault in faults:
            stage = shares.setdefault(fault.stage, [])
            below = (stage[-1][0] if stage else 0.0) + fault.probability
            stage.append((below, fault))
        self._stages = [(stage, Draws(seed, f"fault {stage}"), bounds) for stage, bounds in shares.items()]

    def at(self, number: int) -> dict[FaultStage, Fault]:
        """The faults of handshake ``number``: at most one for each stage. Always the same for the same arguments."""
        hits = {}
        for stage, draws, bounds in self._stages:
            drawn = draws.at(number)
            for below, fault in bounds:
                if drawn < below:
                    hits[stage] = fault
                    break
        return hits


# --- reading


def _argument(stage: FaultStage, kind: FaultKind, text: str | None) -> int | None:
    type_ = CATALOGUE[kind]
    if type_.argument is None:
        if text is not None:
            raise ValueError(f"'{kind}' takes no argument")
        return None
    if type_.argument == "time":
        return _time(kind, type_, text)
    largest = ANSWER_SIZES[stage] - 1
    if text is None:
        return largest if type_.default is None else type_.default
    least = 1 if type_.default is None else 0
    number = text.strip()
    if not (number.isascii() and number.isdigit() and len(number) <= 9 and least <= int(number) <= largest):
        raise ValueError(f"{text!r} is no number of bytes from {least} to {largest}, such as {kind}={largest}")
    return int(number)


def _time(kind: FaultKind, type_: FaultType, text: str | None) -> int:
    if text is None:
        if type_.default is None:
            raise ValueError(f"'{kind}' needs a time: write for example {kind}=50ms")
        return type_.default
    time_ns = parse_duration_ns(text)
    if time_ns <= 0:
        raise ValueError(f"the time {text!r} is nothing: write for example {kind}=50ms")
    return time_ns


def _word(text: str, at: int, word: str, what: str, allowed: Sequence[str]) -> str:
    found = word.strip()
    if found in allowed:
        return found
    nearest = get_close_matches(found, allowed, n=1)
    hint = f"; did you mean '{nearest[0]}'?" if nearest else "."
    raise _error(text, at, f"unknown {what}: {_shown(found)}{hint} Allowed: {', '.join(allowed)}")


def _error(text: str, at: int, what: str) -> ValueError:
    return ValueError(f"{_shown(text)}, character {at + 1}: {what}")


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…")
