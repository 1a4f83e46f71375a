"""Results, on stdout. A reader that has gone changes nothing about the command's exit code."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from loadgen.errors import LocalResourceError
from loadgen.report.terminal import fit, wrapped


def write_json(document: bytes) -> None:
    """One JSON document in UTF-8 and a line end."""
    with results() as stream:
        stream.write(fit(document.decode() + "\n", stream.encoding))


def write_lines(lines: Iterable[str]) -> None:
    """Plain lines; on a terminal they are broken between words."""
    with results() as stream:
        stream.write(wrapped(fit("".join(f"{line}\n" for line in lines), stream.encoding), stream))


@contextmanager
def results() -> Iterator[TextIO]:
    """Where results go while the block runs; afterwards they are out.

    Raises:
        LocalResourceError: they could not be written, to a full disk for instance. A reader that has gone is nobody's
        fault.
    """
    stream: TextIO = io.StringIO() if sys.stdout is None else sys.stdout  # None: it was closed before the start
    try:
        yield stream
        stream.flush()
    except BrokenPipeError:
        discard(stream)
    except OSError as error:
        discard(stream)
        raise LocalResourceError(
            f"the results cannot be written: {error.strerror}",
            where="standard output",
            remedy="Send them elsewhere; the record of a run is complete all the same.",
        ) from error


def discard(stream: TextIO) -> None:
    """Send what ``stream`` still holds and will get to nowhere."""
    with suppress(OSError):  # one without a descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def release_streams() -> None:
    """Flush stdout and stderr, so that the interpreter has nothing left to complain about at its end."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            try:
                stream.flush()
            except OSError:
                discard(stream)
