"""A story for people and as JSON: the parts of its steps, each as its own command shows them, one after another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, TextIO

import msgspec
from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from loadgen.cli.doctor_text import diagnosis_document, diagnosis_parts, told_parts
from loadgen.demo.story import Command, Step, Write
from loadgen.errors import ExitCode
from loadgen.report.dct import difference_parts, mend_places
from loadgen.report.dct_documents import comparison_document
from loadgen.report.terminal import Unbroken, plain_text, write_parts

SCHEMA: Final = "loadgen/demo/1"


def write_step(number: int, step: Step, stream: TextIO, width: int | None = None) -> None:
    """Show a step.

    Args:
        number: from 1.
        step: what happened.
        stream: a terminal, a pipe or a file.
        width: columns; None asks the terminal, 80 where there is none.
    """
    write_parts(_parts(number, step), stream, width)


def _parts(number: int, step: Step) -> Iterable[RenderableType]:
    if number > 1:
        yield ""
    yield Text(f"{number}. {step.title}", style="bold")
    yield from _paragraphs(step.says)
    if step.told is not None:
        yield ""
        yield from told_parts(step.told.lines, step.told.stages_ns.items())
    if step.judged is not None:
        yield ""
        yield from diagnosis_parts(step.judged.diagnosis, brief=True)
    if step.comparison is not None:
        yield ""
        yield from difference_parts(*step.files, step.comparison)
    for write in step.writes:
        yield ""
        yield from _write_parts(write)
    if step.by_hand:
        yield ""
        yield Text("On the device, with an ST-Link:")
        yield from (_command(text) for text in step.by_hand)
    if step.closing:
        yield ""
        yield from _paragraphs(step.closing)
    if step.commands:
        yield ""
        yield Text("The same by itself:", style="dim")
        yield from (_command(command.text, _comment(command)) for command in step.commands)


def _paragraphs(texts: Iterable[str]) -> Iterable[RenderableType]:
    return (Text(plain_text(text)) for text in texts)


def _write_parts(write: Write) -> Iterable[RenderableType]:
    mend = write.mend
    yield Text(f"{mend.size} bytes at {mend_places(mend)}:")
    begin = "a private key" if write.begin is None else f"{write.begin.hex(' ')} …"
    yield Padding(Text(f"{begin}, SHA-256 {write.sha256}"), (0, 0, 0, 2))


def _command(text: str, comment: str = "") -> Unbroken:
    """A command on one line, so that it can be copied."""
    line = Unbroken(f"    {plain_text(text)}")
    line.append(comment, style="dim")
    return line


def _comment(command: Command) -> str:
    return "" if command.exit_code is ExitCode.OK else f"   # exit code {command.exit_code:d}"


# --- JSON


def story_document(story: str, cause: str, folder: str | None, steps: Sequence[Step]) -> bytes:
    """A whole story, schema ``loadgen/demo/1``; diagnoses and comparisons are documents of their own commands."""
    document = {
        "schema": SCHEMA,
        "story": story,
        "cause": cause,
        "folder": folder,
        "steps": [_built(number, step) for number, step in enumerate(steps, 1)],
    }
    return msgspec.json.encode(document)


def _built(number: int, step: Step) -> dict[str, Any]:
    told, judged, comparison = step.told, step.judged, step.comparison
    return {
        "number": number,
        "title": step.title,
        "says": step.says,
        "device": None if told is None else told.device,
        "firmware": None if told is None else told.firmware,
        "lines": () if told is None else told.lines,
        "stages_us": {} if told is None else {stage: took / 1_000 for stage, took in told.stages_ns.items()},
        "diagnosis": None
        if judged is None
        else msgspec.Raw(diagnosis_document(judged.evidence, judged.diagnosis, None)),
        "comparison": None if comparison is None else msgspec.Raw(comparison_document(*step.files, comparison)),
        "writes": [_write(write) for write in step.writes],
        "by_hand": step.by_hand,
        "closing": step.closing,
        "commands": [{"command": command.text, "exit_code": int(command.exit_code)} for command in step.commands],
    }


def _write(write: Write) -> dict[str, Any]:
    mend = write.mend
    return {
        "offset": mend.offset,
        "size": mend.size,
        "address": mend.address,
        "begin": None if write.begin is None else write.begin.hex(),
        "sha256": write.sha256,
    }
