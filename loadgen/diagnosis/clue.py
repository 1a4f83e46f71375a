"""What a rule of diagnosis yields: a clue about one cause, and how much it weighs."""

from __future__ import annotations

from typing import Final, NamedTuple

CERTAIN: Final = 100
"""This is a cause."""
RULED_OUT: Final = -100
"""This is none."""
STRONG: Final = 3
FAIR: Final = 2
"""Enough to put a cause ahead of others that are level otherwise."""
WEAK: Final = 1


class Clue(NamedTuple):
    """What one piece of evidence says about one cause."""

    cause: str
    weight: int
    text: str
