"""Versions of Device OS, in their order."""

from __future__ import annotations

import re
from typing import Final, NamedTuple, Self

_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:-rc\.(\d+))?")
_RELEASE: Final = 1 << 16  # a release comes after all of its candidates


class Version(NamedTuple):
    """A release or a release candidate; compares in the order of publication."""

    major: int
    minor: int
    patch: int
    candidate: int = _RELEASE

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``0.7.0`` or ``0.8.0-rc.3``. Raises :class:`ValueError` for anything else."""
        match = _VERSION.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is no version such as 0.7.0 or 0.8.0-rc.3")
        major, minor, patch, candidate = match.groups()
        return cls(int(major), int(minor), int(patch), _RELEASE if candidate is None else int(candidate))

    def __str__(self) -> str:
        release = f"{self.major}.{self.minor}.{self.patch}"
        return release if self.candidate == _RELEASE else f"{release}-rc.{self.candidate}"
