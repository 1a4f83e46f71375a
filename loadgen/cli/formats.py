"""Options of the commands that report, and where each form of a report goes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO, TypeVar

import click

from loadgen.cli.output import results
from loadgen.errors import UsageError
from loadgen.report.github import MAX_SUMMARY_BYTES, Annotation, annotation_lines, step_summary
from loadgen.report.junit import Suite, junit_xml
from loadgen.report.terminal import fit

Command = TypeVar("Command", bound=Callable[..., Any])

FORMATS: Final = ("terminal", "markdown", "csv", "json", "junit", "github")
FILE_FORMATS: Final = ("markdown", "csv", "json", "junit")
HGRM: Final = "hgrm"
"""HdrHistogram's percentile text, of the commands that report one stage of one run."""
HTML: Final = "html"
"""A page for a browser, of the commands that report runs; it always goes into a file."""
PROMETHEUS: Final = "prometheus"
"""Prometheus' text format, of the same commands."""
ONE_RUN_FORMATS: Final = (HGRM, PROMETHEUS)
"""Forms that hold one run."""
RUN_FILE_FORMATS: Final = (*FILE_FORMATS, *ONE_RUN_FORMATS, HTML)
"""Formats of the files that the commands write that report runs."""
STEP_SUMMARY_VARIABLE: Final = "GITHUB_STEP_SUMMARY"
"""Names the file that GitHub shows as the step's summary."""


@dataclass(frozen=True, slots=True)
class Rendering:
    """One report in every form, each made when it is asked for."""

    terminal: Callable[[TextIO], None]
    markdown: Callable[[], str]
    csv: Callable[[], str]
    json: Callable[[], bytes]
    suites: Callable[[], Sequence[Suite]]
    annotations: Callable[[], Sequence[Annotation]]
    hgrm: Callable[[], str] | None = None
    html: Callable[[], str] | None = None
    prometheus: Callable[[], str] | None = None


class _SemicolonText(click.types.StringParamType):
    """Text; in the environment several are separated by semicolons, as blanks stand within them."""

    envvar_list_splitter = ";"


SEMICOLON_TEXT: Final = _SemicolonText()


def format_options(*formats: str) -> Callable[[Command], Command]:
    """``--format``, ``--json`` and ``--write``."""
    chosen = formats or FORMATS
    files = RUN_FILE_FORMATS if HGRM in chosen else FILE_FORMATS

    def decorate(command: Command) -> Command:
        command = click.option(
            "--write",
            metavar="FORMAT=FILE",
            multiple=True,
            type=SEMICOLON_TEXT,
            help=f"Write the report to a file as well; repeatable. FORMAT: {', '.join(files)}.",
        )(command)
        command = click.option("--json", is_flag=True, help="The same as --format json.")(command)
        return click.option(
            "--format",
            type=click.Choice(chosen),
            default="terminal",
            show_default=True,
            help="What is printed; github: annotations, and the step summary.",
        )(command)

    return decorate


def chosen_format(values: Mapping[str, Any]) -> str:
    """What ``--format`` and ``--json`` ask for."""
    return "json" if values["json"] else str(values["format"])


def read_writes(texts: Sequence[str], formats: Sequence[str] = FILE_FORMATS) -> list[tuple[str, Path]]:
    """``FORMAT=FILE`` of every ``--write``, with one of ``formats``.

    Raises:
        UsageError: one of them is none.
    """
    found = []
    for text in texts:
        form, equals, path = text.partition("=")
        if not equals or not path or form not in formats:
            raise UsageError(
                f"{text!r} is no FORMAT=FILE",
                where="--write",
                remedy=f"Write for example junit=gate.xml. Formats: {', '.join(formats)}.",
            )
        found.append((form, Path(path)))
    return found


def check_files(writes: Sequence[tuple[str, Path]]) -> None:
    """Find out before the work begins whether the files could be written.

    Raises:
        UsageError: one could not.
    """
    for _, path in writes:
        folder = path.parent
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        problem = "is a folder" if path.is_dir() else "" if folder.is_dir() else f"{folder} is no folder"
        if not problem and not os.access(path if path.exists() else folder, os.W_OK):
            problem = "cannot be written: Permission denied"
        if problem:
            raise UsageError(problem, where=str(path), remedy="Choose another file.")


def emit(rendering: Rendering, form: str, writes: Sequence[tuple[str, Path]]) -> None:
    """Print, then write the files.

    Raises:
        UsageError: a file cannot be written.
    """
    if form == "github":
        _append_step_summary(rendering)
    with results() as stream:
        if form == "terminal":
            rendering.terminal(stream)  # straight, for its width and colours
        else:
            stream.write(fit(as_text(rendering, form), stream.encoding))
    for file_form, path in writes:
        write_file(path, as_text(rendering, file_form))


def as_text(rendering: Rendering, form: str) -> str:
    """A report in one of :data:`FORMATS` or :data:`ONE_RUN_FORMATS`, or as :data:`HTML`."""
    makers: dict[str, Callable[[], str]] = {
        "terminal": lambda: _terminal_text(rendering),
        "markdown": rendering.markdown,
        "csv": rendering.csv,
        "json": lambda: rendering.json().decode() + "\n",
        "junit": lambda: junit_xml(rendering.suites()),
        "github": lambda: _terminal_text(rendering) + _annotation_text(rendering),
    }
    more = {HGRM: rendering.hgrm, PROMETHEUS: rendering.prometheus, HTML: rendering.html}
    makers |= {name: maker for name, maker in more.items() if maker is not None}
    return makers[form]()


def _terminal_text(rendering: Rendering) -> str:
    stream = io.StringIO()
    rendering.terminal(stream)
    return stream.getvalue()


def _annotation_text(rendering: Rendering) -> str:
    return "".join(f"{line}\n" for line in annotation_lines(rendering.annotations()))


def write_file(path: Path, text: str) -> None:
    """Write a report's file, with the folders that it is in. Whoever reads it meanwhile finds the old one or the new.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():  # a pipe or a device
            path.write_text(text, encoding="utf-8")
            return
        beside = path.with_name(f".{path.name}.{os.getpid()}.new")
        try:
            beside.write_text(text, encoding="utf-8")
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(
            f"cannot be written: {error.strerror}", where=str(path), remedy="Choose another file."
        ) from error


def _append_step_summary(rendering: Rendering) -> None:
    """Add to the step's summary what still fits into it; outside GitHub there is none."""
    name = os.environ.get(STEP_SUMMARY_VARIABLE)
    if not name:
        return
    path = Path(name)
    try:
        used = path.stat().st_size if path.exists() else 0
        with path.open("a", encoding="utf-8") as file:
            file.write(step_summary(rendering.markdown() + "\n", MAX_SUMMARY_BYTES - used))
    except OSError as error:
        raise UsageError(
            f"the step summary cannot be written: {error.strerror}", where=STEP_SUMMARY_VARIABLE
        ) from error
