"""What the live page says of a run that goes on, in words. Pure."""

from __future__ import annotations

from typing import Any, Final

from loadgen.clock import NS_PER_S
from loadgen.recording.record import RunRecord
from loadgen.report.dashboard.messages import Update
from loadgen.report.html import verdict_box
from loadgen.report.markup import Markup
from loadgen.report.terminal import plain_text
from loadgen.report.verdicts import GateSummary
from loadgen.units import format_count, format_duration, format_percent

ENDED: Final = ("complete", "interrupted")
"""Phases of a run that has ended."""

_DOING: Final = {"warm-up": "warming up", "running": "running", "draining": "finishing what is in flight"}
_WORDS: Final = {"warm-up": "WARMING UP", "running": "RUNNING", "draining": "FINISHING"}


def status(update: Update | None, *, over: bool) -> dict[str, Any]:
    """The line above the page: ``text``, ``share`` of the run that is over or null, and what ``state`` it is in:
    ``waiting``, ``running``, ``ended`` (another may follow) or ``over``."""
    if update is None:
        text = "Nothing was measured." if over else "The run has not begun yet."
        return {"text": text, "share": None, "state": "over" if over else "waiting"}
    which = f"Run {update.run} of {update.runs}{f' ({plain_text(update.name)})' if update.name else ''}"
    lead = f"{which}: " if update.runs > 1 else ""
    if update.phase not in ENDED:
        share = "" if update.share is None else f", {format_percent(update.share)} of it"
        step = f"; {plain_text(update.step)}" if update.step else ""
        text = f"{_DOING.get(update.phase, update.phase)}, {_elapsed(update.elapsed_s)}{share}{step}"
        text = lead + text if lead else text[:1].upper() + text[1:]
        state = "over" if over else "running"
        return {"text": f"{text}. It has not come to its end." if over else text, "share": update.share, "state": state}
    verb = "was interrupted" if update.phase == "interrupted" else "has ended"
    text = f"{which} {verb}." if update.runs > 1 else f"The run {verb}."
    if update.path:
        text += f" Its record: {plain_text(update.path)}"
    return {"text": text, "share": None, "state": "over" if over else "ended"}


def _elapsed(seconds: float) -> str:
    return format_duration(round(seconds) * NS_PER_S)


def running_verdict(update: Update, gates: GateSummary) -> Markup:
    """What can be said so far."""
    record, counts = update.record, update.record.counts
    completed = f"{format_count(counts.completed)} handshake{'' if counts.completed == 1 else 's'} completed"
    failed = f"{format_count(counts.failed)} failed" if counts.failed else "none failed"
    outcome = f"{completed}, {failed} so far, {format_count(update.in_flight)} in flight"
    colour, lead = _worth(update.phase, record)
    return verdict_box(_WORDS.get(update.phase, update.phase.upper()), outcome, lead, gates, colour)


def _worth(phase: str, record: RunRecord) -> tuple[str, str]:
    """Colour and sentence of what the numbers are worth."""
    levels = [finding.level for finding in record.validity.findings]
    if record.validity.verdict == "invalid":
        return "bad", "Do not use these numbers: something on this side is spoiling the measurement."
    if phase == "warm-up":
        return "live", "What is measured now does not count: the recorded window begins after the warm-up."
    if not record.counts.completed:
        return "live", "No handshake has been completed so far, so there are no times."
    if "warn" in levels:
        return "open", "Mind what is said below. The verdict comes when the run ends."
    return "live", "Nothing has been found so far that spoils these numbers. The verdict comes when the run ends."
