"""Results, on stdout. A reader that has gone changes nothing about the command's exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable

from loadgen.report.terminal import fit


def write_json(document: bytes) -> None:
    """One JSON document in UTF-8 and a line end."""
    _write(document.decode() + "\n")


def write_lines(lines: Iterable[str]) -> None:
    """Plain lines."""
    _write("".join(f"{line}\n" for line in lines))


def _write(text: str) -> None:
    try:
        sys.stdout.write(fit(text, sys.stdout.encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        discard_stdout()


def discard_stdout() -> None:
    """Keep the interpreter from complaining about a closed pipe when it flushes at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
