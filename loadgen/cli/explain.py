"""``loadgen explain``: what a number, an ending or a log line of a device means."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

import click

from loadgen.cli.options import json_option
from loadgen.cli.output import results, write_json
from loadgen.diagnosis.causes import DOCTOR_CAUSES
from loadgen.errors import UsageError
from loadgen.protocol.lookup import UnknownTopicError, look_up, version_of
from loadgen.protocol.system_errors import DEVICE_CODES
from loadgen.protocol.topics import SESSION, Topic, all_ends, cause_topic
from loadgen.report.explained import contents_document, explanation_document, write_contents, write_topics

_OPTIONS: Final = {"context_settings": {"ignore_unknown_options": True}}
"""So that a negative number is no option."""


class _NumbersAreArguments(click.Command):
    """A command whose arguments may begin with a minus, while its own misspelt options are still pointed out."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = [option for parameter in self.get_params(ctx) for option in parameter.opts]
        for word in args:
            if word == "--":
                break
            if word.startswith("--") and word.partition("=")[0] not in known:
                raise click.NoSuchOption(word.partition("=")[0], ctx=ctx)
        return super().parse_args(ctx, args)


@click.command("explain", cls=_NumbersAreArguments, **_OPTIONS)
@click.argument("what", nargs=-1)
@click.option("--firmware", metavar="NAME", help="Only what this firmware prints, such as p1@0.7.0. [every version]")
@json_option
def command(what: Sequence[str], firmware: str | None, as_json: bool) -> None:
    """Explain a number, a failure or a line of a device's log.

    WHAT is what you have: -19, '-19 at key', key/closed, DECRYPTION_ERROR, a whole line of a log, a colour of the LED,
    or the name of a cause. Without WHAT: what there is.
    """
    asked = " ".join(what).strip()
    if not asked:
        _contents(as_json=as_json)
        return
    try:
        version = None if firmware is None else version_of(firmware)
    except ValueError as error:
        raise UsageError(str(error), where="--firmware") from error
    try:
        topics = _of_cause(asked) or look_up(asked, version)
    except UnknownTopicError as error:
        raise UsageError(
            f"nothing is known of {error.text!r}", where="explain", remedy=_remedy(error, firmware)
        ) from error
    if as_json:
        write_json(explanation_document(asked, firmware, topics))
    else:
        with results() as stream:
            write_topics(topics, stream)


def _of_cause(asked: str) -> tuple[Topic, ...]:
    """The cause of this name, where only a diagnosis names it."""
    cause = DOCTOR_CAUSES.get(asked.lower())
    return () if cause is None else (cause_topic(cause),)


def _remedy(error: UnknownTopicError, firmware: str | None) -> str:
    if firmware is not None:
        try:
            look_up(error.text)
        except UnknownTopicError:
            pass
        else:
            return f"{firmware} prints no such thing, other versions do: leave --firmware out."
    if error.nearest:
        return f"Did you mean {' or '.join(map(repr, error.nearest))}? `loadgen explain` lists what there is."
    return "`loadgen explain` lists what there is."


def _contents(*, as_json: bool) -> None:
    ends = [f"{stage or SESSION}/{reason}" for stage, reason in all_ends()]
    tables = Counter(code.table.value for code in DEVICE_CODES)
    if as_json:
        numbers = [{"table": code.table.value, "value": code.value, "name": code.name or None} for code in DEVICE_CODES]
        write_json(contents_document(ends, list(DOCTOR_CAUSES), numbers))
        return
    with results() as stream:
        write_contents(ends, list(DOCTOR_CAUSES.values()), tables, stream)
