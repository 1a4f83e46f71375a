"""What a command says beside its result: errors, warnings and notes, all on stderr."""

from __future__ import annotations

import os
import sys
import traceback
from contextlib import suppress
from typing import Final, TextIO

from loadgen.errors import ExitCode, LoadgenError
from loadgen.report.terminal import fit, plain_text, supports_colour, wrapped

DEBUG_VARIABLE: Final = "LOADGEN_DEBUG"
"""Set to 1, unexpected exceptions are shown with their traceback."""

_RED, _YELLOW, _RESET = "\x1b[1;31m", "\x1b[33m", "\x1b[0m"


def show_error(error: LoadgenError, stream: TextIO | None = None) -> ExitCode:
    """Say what happened, where, and what to do; returns the command's exit code."""
    place = f"{error.where}: " if error.where else ""
    remedy = f"\n{error.remedy}" if error.remedy else ""
    _say("error", _RED, f"{place}{error.what}{remedy}", stream)
    return error.exit_code


def show_warning(text: str, stream: TextIO | None = None) -> None:
    """Say something that the user should know; the command goes on."""
    _say("warning", _YELLOW, text, stream)


def show_note(text: str, stream: TextIO | None = None) -> None:
    """Say what is being done."""
    _write(f"{plain_text(text)}\n", stream)


def show_internal_error(error: BaseException, stream: TextIO | None = None) -> ExitCode:
    """Report a fault of this program; the traceback only where it was asked for."""
    text = f"internal error: {type(error).__name__}: {error}"
    if os.environ.get(DEBUG_VARIABLE) == "1":
        text += "\n" + "".join(traceback.format_exception(error)).rstrip()
    else:
        text += (
            f"\nThis is a fault of loadgen. Please report it with the output of the same command and "
            f"{DEBUG_VARIABLE}=1."
        )
    _say("error", _RED, text, stream)
    return ExitCode.INTERNAL


def _say(word: str, colour: str, text: str, stream: TextIO | None) -> None:
    """``word: first line``, further lines indented below it."""
    stream = sys.stderr if stream is None else stream
    head = f"{colour}{word}:{_RESET}" if stream is not None and supports_colour(stream) else f"{word}:"
    body = plain_text(text).replace("\n", "\n  ")
    _write(f"{word}: {body}\n", stream, head)


def _write(text: str, stream: TextIO | None, head: str = "") -> None:
    """Write what the stream's encoding can carry; where nothing can be written, nothing is lost but the words.

    Args:
        text: lines.
        stream: None: standard error.
        head: stands instead of the first word.
    """
    stream = sys.stderr if stream is None else stream
    if stream is None:  # closed before the start
        return
    with suppress(OSError):
        first, space, rest = wrapped(fit(text, stream.encoding), stream).partition(" ")
        stream.write(f"{head or first}{space}{rest}")
        stream.flush()
