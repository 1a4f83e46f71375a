"""Finding the files of a key folder, however many there are and whatever lies among them.

Folders are read a part at a time and never kept whole, links to folders are not followed, and only regular files are
opened: a folder of a million files takes time, not memory, and a pipe in it does not hang anybody.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from loadgen.errors import UsageError
from loadgen.fleet.findings import Code, Finding, Level
from loadgen.fleet.keyfiles import MAX_KEY_FILE

_PART: Final = 10_000  # names that are sorted at once, so that findings of ordinary folders come in a settled order
_NOT_SEARCHED: Final = frozenset({"node_modules", "users", "webhooks", "knownApps", "build"})

Report = Callable[[Finding], None]


class FileProblem(Exception):  # noqa: N818 - becomes a finding about one file
    """A file cannot be read."""

    def __init__(self, code: Code, what: str) -> None:
        super().__init__(what)
        self.code = code


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file to look at."""

    path: str
    name: str
    is_named_by_user: bool = False
    """It was given itself, not the folder that it is in."""


def find_files(sources: list[Path], report: Report) -> Iterator[FoundFile]:
    """Every regular file of some folders and files, with what lies in the folders' folders.

    Folders that hold no keys in any server (``node_modules``, ``users``, hidden ones, …) are not searched.

    Raises:
        UsageError: a source is missing or cannot be read at all. What is unreadable within it is reported.
    """
    for source in sources:
        try:
            mode = source.stat().st_mode
        except OSError as error:
            raise UsageError(
                f"this cannot be read: {error.strerror}", where=str(source), remedy="Check the name and permissions."
            ) from None
        if stat.S_ISDIR(mode):
            yield from _walk(source, report)
        elif stat.S_ISREG(mode):
            yield FoundFile(str(source), source.name, is_named_by_user=True)
        else:
            raise UsageError(
                "this is neither a file nor a folder", where=str(source), remedy="Name key files or folders."
            )


def _walk(top: Path, report: Report) -> Iterator[FoundFile]:
    folders = [str(top)]
    while folders:
        folder = folders.pop()
        try:
            entries = os.scandir(folder)
        except OSError as error:
            if folder == str(top):
                raise UsageError(
                    f"the folder cannot be read: {error.strerror}", where=folder, remedy="Check its permissions."
                ) from None
            report(_unreadable(folder, error))
            continue
        within: list[str] = []
        with entries:
            while part := sorted(islice(entries, _PART), key=lambda entry: entry.name):
                for entry in part:
                    if _is_folder(entry, report):
                        within.append(entry.path)
                    elif _is_file(entry, report):
                        yield FoundFile(entry.path, entry.name)
        folders.extend(reversed(within))


def _is_folder(entry: os.DirEntry[str], report: Report) -> bool:
    """Whether to search it. A link to a folder may lead back to where it lies."""
    if not entry.is_dir(follow_symlinks=False):
        return False
    if entry.name in _NOT_SEARCHED or entry.name.startswith("."):
        report(
            Finding(Level.NOTE, Code.SKIPPED, entry.path, "this folder is not searched", "Name it to have it searched.")
        )
        return False
    return True


def _is_file(entry: os.DirEntry[str], report: Report) -> bool:
    try:
        mode = entry.stat().st_mode
    except OSError as error:
        report(_unreadable(entry.path, error))
        return False
    if stat.S_ISREG(mode):
        return True
    if entry.is_symlink() and stat.S_ISDIR(mode):
        what = "a link to a folder is not followed"
        report(Finding(Level.NOTE, Code.LINK, entry.path, what, "Name the folder itself to have it searched."))
    return False


def read_small_file(path: str) -> bytes:
    """The content of a key file.

    Raises:
        FileProblem: it cannot be read, or is larger than any key file.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            data = os.read(descriptor, MAX_KEY_FILE + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise FileProblem(Code.UNREADABLE, f"the file cannot be read: {error.strerror}") from None
    if len(data) > MAX_KEY_FILE:
        raise FileProblem(Code.TOO_LARGE, "the file is too large for a key")
    return data


def _unreadable(path: str, error: OSError) -> Finding:
    return Finding(
        Level.ERROR, Code.UNREADABLE, path, f"this cannot be read: {error.strerror}", "Check it and its permissions."
    )
