"""The command line: one module a command, one renderer of errors, exit codes as documented."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from typing import Final

import click
from click.exceptions import NoArgsIsHelpError

from loadgen import __version__
from loadgen.cli.groups import CommandGroup
from loadgen.cli.messages import show_error, show_internal_error, show_note
from loadgen.cli.output import release_streams, results
from loadgen.cli.signals import terminate_like_interrupt
from loadgen.errors import ExitCode, LoadgenError, UsageError

COMMANDS: Final = {
    "init": "loadgen.cli.init",
    "run": "loadgen.cli.run",
    "preflight": "loadgen.cli.preflight",
    "cloud": "loadgen.cli.cloud",
    "fleet": "loadgen.cli.fleet",
    "dct": "loadgen.cli.dct",
    "devicelog": "loadgen.cli.devicelog",
    "crypto": "loadgen.cli.crypto",
    "gate": "loadgen.cli.gate",
    "compare": "loadgen.cli.compare",
    "baseline": "loadgen.cli.baseline",
    "report": "loadgen.cli.report",
    "history": "loadgen.cli.history",
    "explain": "loadgen.cli.explain",
    "doctor": "loadgen.cli.doctor",
    "demo": "loadgen.cli.demo",
}
"""Command → its module, which has it under the name ``command``. Loaded when needed."""


class _Commands(CommandGroup):
    """The top of the command line."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        module = COMMANDS.get(cmd_name)
        if module is None:
            return None
        found: click.Command = import_module(module).command
        return found


@click.group(
    cls=_Commands,
    context_settings={
        "auto_envvar_prefix": "LOADGEN",
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
    },
    epilog="Exit codes: 0 fine, 1 internal error, 2 usage or refused target, 3 a threshold failed, preflight found "
    "the run impossible or fleet verify a key that fails, "
    "4 a regression, 5 invalid run, inconclusive or no data, 6 no baseline, 7 target unreachable "
    "or no handshake completed, 130 interrupted.",
)
@click.version_option(__version__, prog_name="loadgen")
def cli() -> None:
    """Drive thousands of virtual Particle P1 devices through the device handshake.

    Every option can also be given in the environment, as LOADGEN_<COMMAND>_<OPTION>.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None takes those of the process.

    Returns:
        The exit code. A user's mistake never shows a traceback.
    """
    try:
        with terminate_like_interrupt():
            result = cli.main(
                args=None if arguments is None else list(arguments), prog_name="loadgen", standalone_mode=False
            )
        with results():  # what click has written, if it was click
            return int(result or ExitCode.OK)
    except LoadgenError as error:
        return show_error(error)
    except NoArgsIsHelpError as error:
        show_note(error.format_message())
        return ExitCode.USAGE
    except click.ClickException as error:
        return show_error(_usage_error(error))
    except (KeyboardInterrupt, click.Abort):
        return ExitCode.INTERRUPTED
    except Exception as error:  # the last resort
        return show_internal_error(error)
    finally:
        release_streams()


def _usage_error(error: click.ClickException) -> UsageError:
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "loadgen"
    return UsageError(error.format_message().rstrip("."), remedy=f"See `{command} --help`.")
