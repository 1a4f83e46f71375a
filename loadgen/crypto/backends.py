"""Which crypto backend a command uses."""

from __future__ import annotations

import difflib
from typing import Final

from loadgen.crypto.base import CryptoBackend
from loadgen.crypto.openssl import OpenSSLBackend
from loadgen.errors import UsageError

CHOICES: Final = ("auto", "openssl")
"""What ``--crypto`` takes."""


def select_backend(choice: str) -> tuple[CryptoBackend, list[str]]:
    """The backend for ``choice`` and warnings about it, each a sentence for the user and the record.

    Raises:
        UsageError: no backend has that name.
    """
    if choice not in CHOICES:
        nearest = difflib.get_close_matches(choice, CHOICES, n=1)
        hint = f"Did you mean {nearest[0]}? " if nearest else ""
        raise UsageError(
            f"there is no crypto backend {choice!r}",
            where="--crypto",
            remedy=f"{hint}Use one of: {', '.join(CHOICES)}.",
        )
    return OpenSSLBackend(), []
