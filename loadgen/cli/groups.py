"""Groups of commands, whose help cuts off no sentence."""

from __future__ import annotations

from typing import Final

import click

_WHOLE: Final = 1_000
"""Characters that no first sentence of a command's help has."""


class CommandGroup(click.Group):
    """A group that lists its commands with the whole first sentence of their help, and knows whose mistake one is."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command. A mistake that click has found before there was a context gets that of its command."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            name = ctx.invoked_subcommand
            command = self.get_command(ctx, name) if error.ctx is None and name is not None else None
            if command is not None:
                error.ctx = click.Context(command, parent=ctx, info_name=name)
            raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list; long sentences take several lines."""
        found = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, command.get_short_help_str(_WHOLE)) for name, command in found if command is not None]
        with formatter.section("Commands"):
            formatter.write_dl(rows)
