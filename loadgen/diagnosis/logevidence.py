"""A device's serial log as evidence. Pure; the log is read by :mod:`loadgen.diagnosis.devicelog`."""

from __future__ import annotations

from typing import NamedTuple

from loadgen.clock import NS_PER_MS
from loadgen.diagnosis import evidence, logattempts
from loadgen.diagnosis.devicelog import DeviceLog
from loadgen.diagnosis.logattempts import Outcome, device_limit_ms
from loadgen.protocol.stages import Stage


class LogStory(NamedTuple):
    """What a log tells."""

    facts: evidence.LogFacts
    attempt: evidence.Attempt | None
    """The last one that came to an end; None where there is none."""
    unresolved: str | None
    """The name that could not be resolved in that attempt."""


def log_story(log: DeviceLog) -> LogStory:
    """What a log says about its last attempt whose end it tells."""
    ended = [attempt for attempt in log.attempts if attempt.outcome is not Outcome.UNFINISHED]
    last = ended[-1] if ended else None
    address = None if last is None else last.address
    spans = log.versions.spans
    facts = evidence.LogFacts(
        since=spans[0][0],
        before=spans[-1][1],
        because=log.versions.testimony[0].text if log.versions.testimony else "",
        address_type=None if address is None else address.type,
        address=None if address is None else address.text or None,
        key_restored=any(attempt.address.key_restored for attempt in log.attempts),
        address_restored=address is not None and address.address_restored,
        lines=log.counts["device"],
        understood=log.counts["understood"],
        attempts=len(log.attempts),
    )
    if last is None:
        return LogStory(facts, None, None)
    if last.address.not_resolved:
        return LogStory(facts, None, last.address.host or "of the cloud")
    return LogStory(facts, _attempt(last, log), None)


def _attempt(last: logattempts.Attempt, log: DeviceLog) -> evidence.Attempt | None:
    if last.outcome is Outcome.COMPLETED:
        in_session = last.session_reason is not None
        return evidence.Attempt(
            stage=Stage.HELLO if in_session else None,
            reason=last.session_reason,
            device_code=last.session_code,
            in_session=in_session,
        )
    if last.stage is None or last.reason is None:
        return None
    limit_ms = device_limit_ms(last.stage, log.versions.spans)
    return evidence.Attempt(
        stage=last.stage,
        reason=last.reason,
        device_code=last.device_code,
        elapsed_ns=None if last.waited_ms is None else last.waited_ms * NS_PER_MS,
        round_trip_ns=None if last.round_trip_ms is None else last.round_trip_ms * NS_PER_MS,
        device_limit_ns=None if limit_ms is None else limit_ms * NS_PER_MS,
    )
