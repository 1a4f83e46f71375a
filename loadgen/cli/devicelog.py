"""``loadgen devicelog``: serial logs of real devices."""

from __future__ import annotations

from pathlib import Path

import click

from loadgen.cli.devicelog_tables import log_document, write_log
from loadgen.cli.groups import CommandGroup
from loadgen.cli.messages import show_warning
from loadgen.cli.options import json_option
from loadgen.cli.output import results as standard_output
from loadgen.cli.output import write_json
from loadgen.cli.records import results_option
from loadgen.config.values import read_path
from loadgen.diagnosis.devicelog import read_device_log
from loadgen.diagnosis.devicelog_record import import_logs
from loadgen.errors import ExitCode
from loadgen.report.summary import summarise
from loadgen.report.terminal import write_summary
from loadgen.store import encode_record


@click.group("devicelog", cls=CommandGroup)
def command() -> None:
    """Read serial logs of real devices: attempts to connect, their stages, and the firmware that wrote them.

    Logs of every version of Device OS on a P1 or Photon are understood; - is standard input. docs/device-logs.md says
    how to take one, and what of it comes out.
    """


@command.command("show")
@click.argument("file", metavar="FILE")
@json_option
def show_command(file: str, as_json: bool) -> ExitCode:
    """Show every attempt to connect in a log, and what the log says about the device.

    Exit code 5 if there is no attempt in it.
    """
    log = read_device_log(Path(read_path(file, "FILE")))
    if as_json:
        write_json(log_document(log))
    else:
        with standard_output() as stream:
            write_log(log, stream)
    return ExitCode.OK if log.attempts else ExitCode.INCONCLUSIVE


@command.command("import")
@click.argument("files", metavar="FILE...", nargs=-1, required=True)
@click.option("--label", metavar="NAME", help="Part of the record's name.")
@results_option
@json_option
def import_command(files: tuple[str, ...], label: str | None, results: str, as_json: bool) -> ExitCode:
    """Make one record of the logs, so that real devices can be reported on and compared like a run.

    Compare it with a run by `loadgen compare --anyway`: machine and load are others by nature. Exit code 5 if there is
    no attempt in the logs; then nothing is written. 7 if none was completed.
    """
    logs = [read_device_log(Path(read_path(file, "FILE"))) for file in files]
    made = import_logs(logs, Path(results), label)
    if made is None:
        show_warning(f"There is no attempt to connect in {', '.join(files)}; nothing was written.")
        return ExitCode.INCONCLUSIVE
    folder, record = made
    if as_json:
        write_json(encode_record(record))
    else:
        with standard_output() as stream:
            write_summary(summarise(record, str(folder)), stream)
    return ExitCode.OK if record.counts.completed else ExitCode.UNREACHABLE
