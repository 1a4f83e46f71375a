"""``loadgen devicelog``: serial logs of real devices."""

from __future__ import annotations

from pathlib import Path

import click

from loadgen.cli.devicelog_tables import log_document, write_log
from loadgen.cli.options import json_option
from loadgen.cli.output import results, write_json
from loadgen.config.values import read_path
from loadgen.diagnosis.devicelog import read_device_log
from loadgen.errors import ExitCode


@click.group("devicelog")
def command() -> None:
    """Read serial logs of real devices: attempts to connect, their stages, and the firmware that wrote them.

    Logs of every version of Device OS on a P1 or Photon are understood. docs/device-logs.md says how to take one, and
    what of it comes out.
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
        with results() as stream:
            write_log(log, stream)
    return ExitCode.OK if log.attempts else ExitCode.INCONCLUSIVE
