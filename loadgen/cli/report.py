"""``loadgen report``: stored records in every form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from loadgen.cli.formats import (
    FILE_FORMATS,
    FORMATS,
    HGRM,
    as_text,
    chosen_format,
    emit,
    format_options,
    read_writes,
    write_file,
)
from loadgen.cli.records import load_run, results_option, select
from loadgen.cli.renderings import runs_rendering
from loadgen.config.values import read_choice
from loadgen.errors import ExitCode
from loadgen.protocol.stages import Stage


@click.command("report")
@click.argument("records", nargs=-1, metavar="RECORD...")
@click.option("--label", metavar="NAME", multiple=True, help="Every record with this label; repeatable.")
@click.option("--stage", metavar="STAGE", default="handshake", show_default=True, help="Stage of the hgrm format.")
@click.option("--firmware", metavar="NAME", help="Firmware of the hgrm format. [all]")
@click.option("--out", metavar="FILE", help="Write to a file instead of stdout.")
@results_option
@format_options(*FORMATS, HGRM)
def command(**values: Any) -> ExitCode:
    """Show stored records again, in any form.

    hgrm is HdrHistogram's percentile text in ms, for its plotters: one stage of one record.
    """
    files = read_writes(values["write"], (*FILE_FORMATS, HGRM))
    stage = Stage(read_choice(values["stage"], "--stage", [stage.value for stage in Stage]))
    runs = [load_run(folder) for folder in select(values["records"], values["label"], values["results"])]
    form = chosen_format(values)
    rendering = runs_rendering(runs, stage, values["firmware"])
    if not values["out"]:
        emit(rendering, form, files)
        return ExitCode.OK
    for file_form, path in [(form, Path(values["out"])), *files]:
        write_file(path, as_text(rendering, file_form))
    return ExitCode.OK
