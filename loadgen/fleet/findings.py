"""What was found wrong with key files: values with a remedy, counted, and kept in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

MAX_KEPT: Final = 100_000
"""Findings that are kept; beyond it they are only counted."""


class Level(StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    """A device with this key cannot connect, or the file cannot be used."""
    WARNING = "warning"
    """Works here, and will not somewhere else."""
    NOTE = "note"


class Code(StrEnum):
    """What a finding is about; the words that scripts compare with."""

    MISREAD = "misread"
    PKCS8_IN_SLOT = "pkcs8_in_slot"
    PEM_IN_SLOT = "pem_in_slot"
    NOT_PEM = "not_pem"
    ENCODING = "encoding"
    PRIVATE_AS_PUBLIC = "private_as_public"
    PUBLIC_AS_PRIVATE = "public_as_private"
    CURVE_KEY = "curve_key"
    KEY_SIZE = "key_size"
    EXPONENT = "exponent"
    INCONSISTENT = "inconsistent"
    PAIR_MISMATCH = "pair_mismatch"
    NO_SUCH_KEY = "no_such_key"
    ENCRYPTED = "encrypted"
    NOT_A_KEY = "not_a_key"
    CUT_OFF = "cut_off"
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    UNREADABLE = "unreadable"
    LINK = "link"
    SKIPPED = "skipped"
    BYTE_ORDER_MARK = "byte_order_mark"
    LINE_ENDS = "line_ends"
    TRAILING = "trailing"
    DUPLICATE_ID = "duplicate_id"
    DUPLICATE_KEY = "duplicate_key"
    ID_SPELLING = "id_spelling"
    NO_ID = "no_id"
    BACKUP = "backup"
    CANDIDATE = "candidate"
    ATTRIBUTES = "attributes"
    DUMP = "dump"
    SERVER_KEY = "server_key"
    UNFINISHED = "unfinished"
    ADDRESS = "address"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong or worth knowing."""

    level: Level
    code: Code
    where: str
    """File, or device of a fleet."""
    what: str
    """One sentence without a full stop at the end."""
    remedy: str = ""
    """What to do about it, one sentence."""
    device_id: str | None = None
    """24 lower-case hexadecimal digits, where the finding is about one device."""


class Findings:
    """Collects findings: the first ones of each level are kept, all are counted.

    Args:
        keep: how many to keep of each level.
    """

    def __init__(self, keep: int = MAX_KEPT) -> None:
        self._keep = keep
        self._kept: dict[Level, list[Finding]] = {level: [] for level in Level}
        self.counts: Counter[Level] = Counter()
        """How many there were of each level."""
        self.codes: Counter[Code] = Counter()
        """How many there were of each kind."""

    def add(self, finding: Finding) -> None:
        """Count one, and keep it if it is among the first."""
        self.counts[finding.level] += 1
        self.codes[finding.code] += 1
        kept = self._kept[finding.level]
        if len(kept) < self._keep:
            kept.append(finding)

    def __iter__(self) -> Iterator[Finding]:
        """The kept ones: errors, warnings, notes, each in the order in which they came."""
        for level in Level:
            yield from self._kept[level]

    def first(self, level: Level, count: int) -> list[Finding]:
        """The first ones of a level, at most ``count`` of them."""
        return self._kept[level][:count]

    @property
    def left_out(self) -> int:
        """How many are counted and not kept."""
        return self.counts.total() - sum(map(len, self._kept.values()))
