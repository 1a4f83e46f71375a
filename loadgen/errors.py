"""Errors that end a command, and the exit codes that scripts rely on.

An error says what happened, where, and what to do about it; the command line prints exactly that, never a
traceback. Faults of a single handshake are not errors of a command: they are
:class:`loadgen.protocol.reasons.HandshakeError` and are counted.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    THRESHOLD_FAILED = 3
    REGRESSION = 4
    INCONCLUSIVE = 5
    NO_BASELINE = 6
    UNREACHABLE = 7
    INTERRUPTED = 130


class LoadgenError(Exception):
    """Something that ends a command.

    Args:
        what: what happened, one sentence without a full stop at the end.
        where: the file, key path, address or option concerned.
        remedy: what the user can do about it, one sentence.
    """

    exit_code: ExitCode = ExitCode.INTERNAL

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        super().__init__(what, where, remedy)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n{self.remedy}" if self.remedy else head


class UsageError(LoadgenError):
    """Wrong options, configuration or files, a refused target, an unwritable folder, a port in use (exit 2)."""

    exit_code = ExitCode.USAGE


class LocalResourceError(LoadgenError):
    """This machine failed in the middle of a run: disk full, descriptors used up (exit 1)."""

    exit_code = ExitCode.INTERNAL


class UnreachableError(LoadgenError):
    """The target could not be reached, or no handshake was completed (exit 7)."""

    exit_code = ExitCode.UNREACHABLE


class NoBaselineError(LoadgenError):
    """There is no baseline of this scenario and machine (exit 6)."""

    exit_code = ExitCode.NO_BASELINE
