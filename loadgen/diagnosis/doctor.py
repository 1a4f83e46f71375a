"""From evidence to ranked causes. Pure: no clock, no socket, no file.

The ending of the attempt names the candidates; every rule of :mod:`loadgen.diagnosis.clues` then speaks for or against
some of them. A clue that decides makes a cause certain or rules it out; the others add up. Causes that the evidence
treats alike are said to be indistinguishable, never put into an order that nobody can know.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from loadgen.diagnosis.causes import DECIDES, DOCTOR_CAUSES
from loadgen.diagnosis.clue import CERTAIN, RULED_OUT, STRONG, Clue
from loadgen.diagnosis.clues import candidates, gather
from loadgen.diagnosis.evidence import Evidence
from loadgen.diagnosis.findings import findings
from loadgen.protocol.causes import Cause
from loadgen.protocol.endings import ENDING_TABLE, SESSION_ENDING_TABLE
from loadgen.protocol.stages import Stage

_LEAD: Final = 2
"""Points by which a cause has to be ahead of all others to be called found."""


class Verdict(StrEnum):
    """What comes out."""

    HEALTHY = "healthy"
    FAULT = "fault"
    """One cause fits, or several that are all there."""
    UNDECIDED = "undecided"
    """Several causes fit, and this evidence does not tell them apart."""
    NO_CONNECTION = "no connection"
    """No connection came about, so that nothing is known of the cloud itself."""


class Standing(StrEnum):
    """How a cause stands."""

    CERTAIN = "certain"
    LIKELY = "likely"
    """Ahead of all others."""
    POSSIBLE = "possible"
    RULED_OUT = "ruled out"


_BEGIN: Final = {
    Standing.CERTAIN: CERTAIN,
    Standing.LIKELY: 0,
    Standing.POSSIBLE: 0,
    Standing.RULED_OUT: RULED_OUT,
}
"""Points of a standing before the clues that decide nothing are added: they put what is certain into an order."""


@dataclass(frozen=True, slots=True)
class Suspect:
    """One cause and how it stands."""

    cause: Cause
    standing: Standing
    points: int
    speaks_for: tuple[str, ...]
    speaks_against: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What the evidence says."""

    verdict: Verdict
    headline: str
    """One sentence with a full stop."""
    findings: tuple[str, ...]
    """Facts, sentences with a full stop, in the order of the handshake."""
    suspects: tuple[Suspect, ...]
    """The most likely first; ruled-out ones at the end."""
    indistinct: tuple[str, ...]
    """Identifiers of the causes at the top that this evidence cannot tell apart; none or at least two."""
    decides: tuple[tuple[str, str], ...]
    """(cause, what would tell it from the others), for the indistinct ones; where a fault was found, for
    ``beside``."""
    beside: tuple[str, ...] = ()
    """Identifiers of causes that may be there as well as the one that was found."""

    def standing(self, cause: str) -> Standing | None:
        """How a cause stands, by its identifier; None where it was never a candidate."""
        return next((suspect.standing for suspect in self.suspects if suspect.cause.id == cause), None)


def diagnose(evidence: Evidence) -> Diagnosis:
    """Weigh the evidence."""
    tells = evidence.attempt is not None or not evidence.device.is_stale
    suspects = _ranked(candidates(evidence), gather(evidence), tells=tells)
    standing = [suspect for suspect in suspects if suspect.standing is not Standing.RULED_OUT]
    certain = [suspect for suspect in standing if suspect.standing is Standing.CERTAIN]
    found = certain or [suspect for suspect in standing if suspect.standing is Standing.LIKELY]
    indistinct = () if found else _indistinct(standing)
    verdict = _verdict(evidence, standing, found)
    left = [suspect for suspect in standing if suspect not in found and (not found or suspect.points >= STRONG)]
    open_ids = indistinct or tuple(suspect.cause.id for suspect in left)
    return Diagnosis(
        verdict,
        _headline(evidence, verdict, found, standing),
        tuple(findings(evidence)),
        tuple(suspects),
        indistinct,
        tuple((name, DECIDES[name]) for name in open_ids if name in DECIDES),
        tuple(suspect.cause.id for suspect in left) if found else (),
    )


def _indistinct(standing: Sequence[Suspect]) -> tuple[str, ...]:
    """The causes at the top: those that are level, or, where one is a little ahead, those that are not far behind."""
    level = [suspect for suspect in standing if suspect.points == standing[0].points]
    if len(level) == 1:
        level = [suspect for suspect in standing if standing[0].points - suspect.points < _LEAD]
    return tuple(suspect.cause.id for suspect in level) if len(level) > 1 else ()


def _ranked(names: Sequence[str], clues: Sequence[Clue], *, tells: bool) -> list[Suspect]:
    """Every candidate, and every cause that a clue speaks for, with its standing.

    ``tells``: one that is ahead of all others is likely; not where all that there is may be out of date.
    """
    order = list(dict.fromkeys([*names, *(clue.cause for clue in clues if clue.weight > 0)]))
    suspects = [_suspect(name, [clue for clue in clues if clue.cause == name]) for name in order]
    suspects.sort(key=lambda suspect: (suspect.standing is Standing.RULED_OUT, -suspect.points))
    standing = [suspect for suspect in suspects if suspect.standing is not Standing.RULED_OUT]
    first = standing[0] if standing else None
    if first is None or first.standing is Standing.CERTAIN or not tells:
        return suspects
    if len(standing) == 1 or first.points - standing[1].points >= _LEAD:
        suspects[0] = Suspect(first.cause, Standing.LIKELY, first.points, first.speaks_for, first.speaks_against)
    return suspects


def _suspect(name: str, clues: Sequence[Clue]) -> Suspect:
    weights = [clue.weight for clue in clues]
    standing = Standing.POSSIBLE
    if CERTAIN in weights:
        standing = Standing.CERTAIN
    elif RULED_OUT in weights:
        standing = Standing.RULED_OUT
    return Suspect(
        DOCTOR_CAUSES[name],
        standing,
        sum(weight for weight in weights if weight not in (CERTAIN, RULED_OUT)) + _BEGIN[standing],
        tuple(dict.fromkeys(clue.text for clue in clues if clue.weight > 0)),
        tuple(dict.fromkeys(clue.text for clue in clues if clue.weight < 0)),
    )


def _verdict(evidence: Evidence, standing: Sequence[Suspect], found: Sequence[Suspect]) -> Verdict:
    attempt = evidence.attempt
    if evidence.unresolved is not None or (attempt is not None and attempt.stage is Stage.CONNECT):
        return Verdict.NO_CONNECTION
    if found:
        return Verdict.FAULT
    if attempt is None:
        is_whole = evidence.device.slot is not None and evidence.device.lacks is None
        return Verdict.HEALTHY if is_whole and not standing else Verdict.UNDECIDED
    return Verdict.HEALTHY if attempt.is_complete and not standing else Verdict.UNDECIDED


def _headline(evidence: Evidence, verdict: Verdict, found: Sequence[Suspect], standing: Sequence[Suspect]) -> str:
    attempt = evidence.attempt
    if verdict is Verdict.HEALTHY:
        if attempt is None:
            return "Nothing in these files keeps the device from connecting."
        held = " and its session held" if attempt.held_ns is not None else ""
        return f"The handshake was completed{held}; nothing is wrong with it."
    if found:
        return f"{_capital('; and '.join(suspect.cause.what for suspect in found))}."
    if attempt is None and evidence.unresolved is None and evidence.device.lacks is not None:
        return f"This dump does not tell: {evidence.device.lacks.what}."
    if attempt is None and evidence.unresolved is None and evidence.log is not None and evidence.log.attempts:
        return "The log tells of an attempt to connect, but not where it ended: the lines around its error are missing."
    if attempt is None and evidence.unresolved is None:
        return "There is no attempt to connect and no key to look at, so there is nothing to judge."
    ending = None if attempt is None or attempt.reason is None else _ending(evidence)
    what = f"The name {evidence.unresolved} does not resolve" if ending is None else _capital(ending)
    return f"{what}; {len(standing)} causes fit."


def _ending(evidence: Evidence) -> str:
    attempt = evidence.attempt
    assert attempt is not None
    assert attempt.reason is not None
    if attempt.in_session:
        return SESSION_ENDING_TABLE[attempt.reason].meaning
    assert attempt.stage is not None
    return ENDING_TABLE[attempt.stage, attempt.reason].meaning


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
