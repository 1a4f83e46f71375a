"""``loadgen report``: stored records in every form."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click
from click.core import ParameterSource

from loadgen.cli.formats import (
    FORMATS,
    HTML,
    ONE_RUN_FORMATS,
    RUN_FILE_FORMATS,
    as_text,
    check_files,
    chosen_format,
    emit,
    format_options,
    read_writes,
    write_file,
)
from loadgen.cli.records import COMPARABLE_FILES, load_run, results_option, select
from loadgen.cli.renderings import runs_rendering
from loadgen.config.values import read_choice
from loadgen.cryptostore import CRYPTO_FILE
from loadgen.errors import ExitCode, UsageError
from loadgen.protocol.stages import Stage
from loadgen.store import RUN_FILE

_PAGE_SUFFIXES: Final = (".html", ".htm")


@click.command("report")
@click.argument("records", nargs=-1, metavar="RECORD...")
@click.option("--label", metavar="NAME", multiple=True, help="Every record with this label; repeatable.")
@click.option("--stage", metavar="STAGE", default="handshake", show_default=True, help="Stage of the hgrm format.")
@click.option("--firmware", metavar="NAME", help="Firmware of the hgrm format. [all]")
@click.option("-o", "--out", metavar="FILE", help="Write to a file instead of stdout; FILE.html is a page with plots.")
@results_option
@format_options(*FORMATS, *ONE_RUN_FORMATS, HTML)
@click.pass_context
def command(context: click.Context, /, **values: Any) -> ExitCode:
    """Show stored records again, in any form.

    hgrm is HdrHistogram's percentile text in ms, for its plotters: one stage of one record. prometheus is the text
    that a Pushgateway and the node exporter take: one record. html is a page with plots that opens without a network,
    of runs and crypto benchmarks; several runs are laid over each other.
    """
    files = read_writes(values["write"], RUN_FILE_FORMATS)
    form = _form(context, values)
    if values["out"]:
        files.insert(0, (form, Path(values["out"])))
    forms = {file_form for file_form, _ in files} | (set() if values["out"] else {form})
    stage = Stage(read_choice(values["stage"], "--stage", [stage.value for stage in Stage]))
    folders = select(
        values["records"], values["label"], values["results"], COMPARABLE_FILES if HTML in forms else (RUN_FILE,)
    )
    benchmarks = [folder for folder in folders if _is_benchmark(folder)]
    if benchmarks and forms != {HTML}:
        remedy = f"Leave it out, or write only the page: loadgen report {benchmarks[0]} -o report.html"
        raise UsageError("a crypto benchmark goes into a page only", where=str(benchmarks[0]), remedy=remedy)
    runs = [load_run(folder) for folder in folders if folder not in benchmarks]
    check_files(files)
    rendering = runs_rendering(runs, stage, values["firmware"], benchmarks)
    if not values["out"]:
        emit(rendering, form, files)
        return ExitCode.OK
    for file_form, path in files:
        write_file(path, as_text(rendering, file_form))
    return ExitCode.OK


def _form(context: click.Context, values: Mapping[str, Any]) -> str:
    """What is printed, or written to ``--out``, whose name tells where nothing else does.

    Raises:
        UsageError: a page, and no file for it.
    """
    form = chosen_format(values)
    told = values["json"] or context.get_parameter_source("format") is not ParameterSource.DEFAULT
    if not told and values["out"] and Path(values["out"]).suffix.lower() in _PAGE_SUFFIXES:
        return HTML
    if form == HTML and not values["out"]:
        raise UsageError("a page goes into a file", where="--format html", remedy="Name one: --out report.html")
    return form


def _is_benchmark(folder: Path) -> bool:
    return (folder / CRYPTO_FILE).is_file() and not (folder / RUN_FILE).is_file()
