"""A diagnosis for people and as JSON. What is said stands in the diagnosis; here it is only laid out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, TextIO

import msgspec
from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from loadgen.diagnosis.causes import DECIDES, ST_LINK
from loadgen.diagnosis.doctor import Diagnosis, Standing, Suspect, Verdict
from loadgen.diagnosis.evidence import Attempt, Evidence, Later
from loadgen.protocol.stages import Stage
from loadgen.report.terminal import Unbroken, plain_text, write_parts
from loadgen.units import format_ns

SCHEMA: Final = "loadgen/diagnosis/1"

_STYLE: Final = {
    Verdict.HEALTHY: "bold green",
    Verdict.FAULT: "bold red",
    Verdict.UNDECIDED: "bold yellow",
    Verdict.NO_CONNECTION: "bold red",
}
_SHOWN: Final = 4
"""Causes beyond the indistinguishable ones are only named after so many."""


@dataclass(frozen=True, slots=True)
class Told:
    """A handshake as it is told."""

    title: str
    lines: tuple[str, ...] = ()
    """In the firmware's own words."""
    stages: tuple[tuple[Stage, int], ...] = ()
    """Stage and how long it took, ns."""


def diagnosis_document(evidence: Evidence, diagnosis: Diagnosis, told: Told | None) -> bytes:
    """One JSON document: what was seen, and what it means."""
    return msgspec.json.encode(
        {
            "schema": SCHEMA,
            "verdict": diagnosis.verdict,
            "headline": diagnosis.headline,
            "target": evidence.target,
            "attempt": _attempt(evidence.attempt),
            "control": _attempt(evidence.control),
            "stages_us": {} if told is None else {stage: took_ns / 1_000 for stage, took_ns in told.stages},
            "lines": () if told is None else told.lines,
            "findings": diagnosis.findings,
            "causes": [_suspect(suspect) for suspect in diagnosis.suspects],
            "indistinguishable": diagnosis.indistinct,
            "decides": dict(diagnosis.decides),
            "beside": diagnosis.beside,
        }
    )


def _attempt(attempt: Attempt | None) -> dict[str, Any] | None:
    if attempt is None:
        return None
    return {
        "stage": attempt.stage,
        "reason": attempt.reason,
        "device_code": attempt.device_code,
        "in_session": attempt.in_session,
        "elapsed_us": None if attempt.elapsed_ns is None else attempt.elapsed_ns / 1_000,
        "round_trip_us": None if attempt.round_trip_ns is None else attempt.round_trip_ns / 1_000,
        "first_bytes": attempt.heard.hex(),
        "answer": None if attempt.seen.reply is None else asdict(attempt.seen.reply),
        "held_us": None if attempt.held_ns is None else attempt.held_ns / 1_000,
        "later": _later(attempt.later),
    }


def _later(later: Later | None) -> dict[str, Any] | None:
    if later is None:
        return None
    return {"after_us": later.held_ns / 1_000, "reason": later.reason, "bytes": later.size}


def _suspect(suspect: Suspect) -> dict[str, Any]:
    cause = suspect.cause
    return {
        "id": cause.id,
        "what": cause.what,
        "standing": suspect.standing,
        "for": suspect.speaks_for,
        "against": suspect.speaks_against,
        "decides": DECIDES.get(cause.id),
        "remedy": cause.remedy,
        "with_dfu": cause.with_dfu or None,
        "with_st_link": ST_LINK.get(cause.id),
        "without": cause.without_dfu or None,
    }


def write_diagnosis(diagnosis: Diagnosis, told: Told | None, stream: TextIO, width: int | None = None) -> None:
    """Show a diagnosis.

    Args:
        diagnosis: what to show.
        told: the handshake before it; None where there was none.
        stream: a terminal, a pipe or a file.
        width: columns; None asks the terminal, 80 where there is none.
    """
    parts = diagnosis_parts(diagnosis)
    if told is not None:
        parts = [Text(plain_text(told.title), style="bold"), *told_parts(told.lines, told.stages), "", *parts]
    write_parts(parts, stream, width)


def told_parts(lines: Iterable[str], stages_ns: Iterable[tuple[Stage, int]]) -> Iterable[RenderableType]:
    """A handshake as the device tells it, and how long its stages took."""
    for line in lines:  # never broken, so that they can be compared with a device's
        yield Unbroken(f"  {plain_text(line)}")
    times = ", ".join(f"{stage} {format_ns(took_ns)}" for stage, took_ns in stages_ns)
    if times:
        yield Padding(Text(times), (0, 0, 0, 2))


def diagnosis_parts(diagnosis: Diagnosis, *, brief: bool = False) -> Iterable[RenderableType]:
    """A diagnosis; a brief one without remedies, less likely causes and those that are ruled out."""
    verdict = Text(diagnosis.verdict.upper(), style=_STYLE[diagnosis.verdict])
    yield Text.assemble(verdict, "  ", plain_text(diagnosis.headline))
    yield from _titled("What was found", diagnosis.findings)
    standing = [suspect for suspect in diagnosis.suspects if suspect.standing is not Standing.RULED_OUT]
    if standing:
        yield ""
        yield Text("Causes, the most likely first", style="bold")
    shown = max(_SHOWN, len(diagnosis.indistinct))
    if standing and standing[0].standing is Standing.CERTAIN:
        shown = sum(suspect.standing is Standing.CERTAIN for suspect in standing) + len(diagnosis.beside)
    elif brief and diagnosis.indistinct:
        shown = len(diagnosis.indistinct)
    told: dict[str, str] = {}
    for suspect in standing[:shown]:
        yield from _suspect_lines(suspect, told, brief=brief)
    if diagnosis.beside:
        yield Padding(Text.assemble(("may be there as well: ", "dim"), ", ".join(diagnosis.beside)), (0, 0, 0, 2))
    if standing[shown:] and not brief:
        names = ", ".join(suspect.cause.id for suspect in standing[shown:])
        yield Padding(Text.assemble(("less likely: ", "dim"), names), (0, 0, 0, 2))
    if diagnosis.indistinct:
        yield ""
        yield Text.assemble(("Cannot be told apart: ", "bold"), ", ".join(diagnosis.indistinct))
    yield from _titled("What decides", [f"{name}: {text}" for name, text in diagnosis.decides])
    ruled_out = [suspect for suspect in diagnosis.suspects if suspect.standing is Standing.RULED_OUT]
    if not brief:
        yield from _titled("Ruled out", [f"{suspect.cause.id}: {suspect.speaks_against[0]}" for suspect in ruled_out])


def _titled(title: str, rows: Sequence[str]) -> Iterable[RenderableType]:
    if rows:
        yield ""
        yield Text(title, style="bold")
        for row in rows:
            yield Padding(Text(plain_text(row)), (0, 0, 0, 2))


def _suspect_lines(suspect: Suspect, told: dict[str, str], *, brief: bool) -> Iterable[RenderableType]:
    cause = suspect.cause
    yield Padding(Text.assemble((cause.id, "cyan"), f" ({suspect.standing}): {cause.what}"), (0, 0, 0, 2))
    rows = [
        *(("for", text) for text in suspect.speaks_for),
        *(("against", text) for text in suspect.speaks_against),
    ]
    if not brief:
        rows += [
            ("do", cause.remedy),
            ("with DFU", cause.with_dfu),
            ("by ST-Link", ST_LINK.get(cause.id, "")),
            ("without", cause.without_dfu),
        ]
    for label, text in rows:
        if not text:
            continue
        first = told.setdefault(text, cause.id) if label not in ("for", "against") else cause.id
        said = text if first == cause.id else f"as for {first}"
        yield Padding(Text.assemble((f"{label}: ", "dim"), plain_text(said)), (0, 0, 0, 4))
