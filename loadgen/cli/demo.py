"""``loadgen demo``: stories of devices that do not connect, played on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import click

from loadgen.cli.demo_text import story_document, write_step
from loadgen.cli.groups import CommandGroup
from loadgen.cli.options import json_option
from loadgen.cli.output import results, write_json, write_lines
from loadgen.config.values import read_path
from loadgen.demo.minus19 import Mishap, play
from loadgen.errors import UsageError

_STORY: Final = "minus-19"
_PRIVATE_FOLDER: Final = 0o700
_CAUSES: Final = tuple(mishap.value for mishap in Mishap)


@click.group("demo", cls=CommandGroup)
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
    shown = _STORY if keep is None else str(Path(read_path(keep, "--keep")))
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
        write_lines(["", f"The files of these commands are in {shown}/"])


@contextmanager
def _folder(keep: str | None) -> Iterator[Path]:
    """An empty folder for a story. What is to be kept is where it belongs when the story is over, and not before.

    Raises:
        UsageError: there is something already, or nothing can be made there.
    """
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="loadgen-demo-", ignore_cleanup_errors=True) as name:
            yield Path(name)
        return
    path = Path(keep)
    with _writing(keep):
        is_new = not path.exists()
        _check_free(path)
        path.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        made = tempfile.TemporaryDirectory(prefix=".", dir=path, ignore_cleanup_errors=True)
    try:
        with made as name:
            yield Path(name)
            with _writing(keep):
                for file in Path(name).iterdir():
                    file.rename(path / file.name)
    except BaseException:
        if is_new:
            with suppress(OSError):
                path.rmdir()
        raise


def _check_free(path: Path) -> None:
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise UsageError(
            "there is something there already, and nothing is overwritten",
            where=str(path),
            remedy="Choose a folder that is new or empty.",
        )


@contextmanager
def _writing(keep: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"a folder cannot be made: {error.strerror}", where=keep, remedy="Choose one where you may write."
        ) from None
