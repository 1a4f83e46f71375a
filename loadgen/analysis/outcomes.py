"""What a command found, and the one exit code that follows from all of it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from loadgen.errors import ExitCode


class Outcome(IntEnum):
    """What can be found, the one that decides first."""

    INTERRUPTED = 0
    UNREACHABLE = 1
    """The target could not be reached, or no handshake was completed."""
    INVALID = 2
    """The numbers may not be believed."""
    THRESHOLD_FAILED = 3
    REGRESSION = 4
    NO_DATA = 5
    """Too little was measured for a verdict."""
    NO_BASELINE = 6
    FINE = 7


_CODES: Final = {
    Outcome.INTERRUPTED: ExitCode.INTERRUPTED,
    Outcome.UNREACHABLE: ExitCode.UNREACHABLE,
    Outcome.INVALID: ExitCode.INCONCLUSIVE,
    Outcome.THRESHOLD_FAILED: ExitCode.THRESHOLD_FAILED,
    Outcome.REGRESSION: ExitCode.REGRESSION,
    Outcome.NO_DATA: ExitCode.INCONCLUSIVE,
    Outcome.NO_BASELINE: ExitCode.NO_BASELINE,
    Outcome.FINE: ExitCode.OK,
}


def exit_code(outcomes: Iterable[Outcome]) -> ExitCode:
    """The exit code of everything that was found; 0 if nothing was."""
    return _CODES[min(outcomes, default=Outcome.FINE)]
