"""What a story consists of: steps that have really happened, each with the commands that do it alone. Values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from loadgen.diagnosis.doctor import Diagnosis
from loadgen.diagnosis.evidence import Evidence
from loadgen.errors import ExitCode, LoadgenError
from loadgen.fleet.dct_diff import Comparison, Mend
from loadgen.protocol.stages import Stage


class StoryError(LoadgenError):
    """A step did not end as the story says (exit 1)."""


class Command(NamedTuple):
    """A command that does alone what a step does."""

    text: str
    exit_code: ExitCode = ExitCode.OK


@dataclass(frozen=True, slots=True)
class Told:
    """A handshake that was made, as the device tells it."""

    device: str
    """Id, 24 hexadecimal digits."""
    firmware: str
    """Such as ``p1@0.6.4``."""
    lines: tuple[str, ...]
    """What the device prints."""
    stages_ns: Mapping[Stage, int]
    """The stages that it passed."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Evidence and what it means."""

    evidence: Evidence
    diagnosis: Diagnosis


class Write(NamedTuple):
    """Bytes that were written to mend a table."""

    mend: Mend
    """Where, and by which commands."""
    begin: bytes | None
    """The first of them; None where they are secret."""
    sha256: str
    """Of all of them, 64 hexadecimal digits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One step, as it happened. Whoever shows it takes its parts in this order."""

    title: str
    says: tuple[str, ...]
    """Paragraphs."""
    told: Told | None = None
    judged: Judged | None = None
    comparison: Comparison | None = None
    """Of the good and the bad dump."""
    files: tuple[str, str] = ("", "")
    """Names of the two dumps."""
    writes: tuple[Write, ...] = ()
    by_hand: tuple[str, ...] = ()
    """Commands for a device on the table, which nothing here can run."""
    closing: tuple[str, ...] = ()
    """Paragraphs behind all that."""
    commands: tuple[Command, ...] = field(default_factory=tuple)
