"""``loadgen demo``: stories of devices that do not connect, played on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import click

from loadgen.cli.demo_text import story_document, write_step
from loadgen.cli.options import json_option
from loadgen.cli.output import results, write_json, write_lines
from loadgen.config.values import read_path
from loadgen.demo.minus19 import Mishap, play
from loadgen.errors import UsageError

_STORY: Final = "minus-19"
_CAUSES: Final = tuple(mishap.value for mishap in Mishap)


@click.group("demo")
def command() -> None:
    """Play what happens to a device that does not connect, from the fault to the mend, with real parts.

    Everything is on 127.0.0.1 and takes a second or two. Each step names the commands that do the same by itself.
    """


@command.command(_STORY, short_help="A P1 that stops at -19 after a change of firmware.")
@click.option(
    "--cause",
    type=click.Choice(_CAUSES),
    default=_CAUSES[0],
    show_default=True,
    help="What the device loses beside its cloud's address: the cloud's key, or its own.",
)
@click.option("--keep", metavar="DIR", help="Keep dumps, log and fleet in a folder that is new or empty.")
@json_option
def minus_19_command(cause: str, keep: str | None, as_json: bool) -> None:
    """A P1 that stops at "Unable to receive key -19" after a change of firmware.

    It fails against a mock cloud; its log is judged, which leaves two causes; its flash dump decides between them; what
    has changed is named and mended; it connects again. Exit code 1 if a step does not end as the story says.
    docs/minus-19.md tells it with a real device in mind.
    """
    shown = _STORY if keep is None else read_path(keep, "--keep")
    with _folder(keep) as folder, closing(play(folder, Mishap(cause), shown)) as steps:
        if as_json:
            write_json(story_document(_STORY, cause, keep, list(steps)))
            return
        for number, step in enumerate(steps, 1):
            with results() as stream:
                write_step(number, step, stream)
    if keep is None:
        write_lines(["", f"To have the files of these commands: loadgen demo {_STORY} --cause {cause} --keep {shown}"])
    else:
        write_lines(["", f"The files of these commands are in {keep}."])


@contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    """An empty folder for a story. One that is to be kept gets its name when the story is over, and not before.

    Raises:
        UsageError: there is something under that name already, or nothing can be made there.
    """
    path = None if keep is None else Path(keep)
    with _writing(keep):
        if path is not None:
            _check_free(path)
            path.parent.mkdir(parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(
            prefix="loadgen-demo-" if path is None else f".{path.name}-",
            dir=None if path is None else path.parent,
            ignore_cleanup_errors=True,
        )
    with made as name:
        yield Path(name)
        if path is not None:
            with _writing(keep):
                Path(name).rename(path)


def _check_free(path: Path) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(
            "there is something there already, and nothing is overwritten",
            where=str(path),
            remedy="Choose a folder that is new or empty.",
        )


@contextmanager
def _writing(keep: str | None) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"a folder cannot be made: {error.strerror}",
            where=keep or tempfile.gettempdir(),
            remedy="Choose one in a folder that is yours, with --keep.",
        ) from None
