"""A device's serial log as evidence. Pure; the log is read by :mod:`loadgen.diagnosis.devicelog`."""

from __future__ import annotations

from typing import Final, NamedTuple

from loadgen.clock import NS_PER_MS
from loadgen.diagnosis import evidence, logattempts
from loadgen.diagnosis.devicelog import DeviceLog
from loadgen.diagnosis.logattempts import Outcome, device_limit_ms
from loadgen.protocol.firmware_log import LogEvent
from loadgen.protocol.stages import Point, Stage

_OWN_RSA_MS: Final = 100
"""What the encryption of the nonce takes a P1, with the printing of its lines."""


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
        internet=None if last is None else _internet(last),
    )
    if last is None:
        return LogStory(facts, None, None)
    if last.address.not_resolved:
        return LogStory(facts, None, last.address.host or "of the cloud")
    return LogStory(facts, _attempt(last, log), None)


def _attempt(last: logattempts.Attempt, log: DeviceLog) -> evidence.Attempt | None:
    if last.outcome is Outcome.COMPLETED:
        in_session = last.session_reason is not None
        connected_ms = last.points_ms.get(Point.CONNECTED)
        ended_ms = None if last.ended_ms is None or last.session_ms is None else last.ended_ms + last.session_ms
        return evidence.Attempt(
            stage=Stage.HELLO if in_session else None,
            reason=last.session_reason,
            device_code=last.session_code,
            in_session=in_session,
            elapsed_ns=None if last.session_ms is None else last.session_ms * NS_PER_MS,
            round_trip_ns=None if last.round_trip_ms is None else last.round_trip_ms * NS_PER_MS,
            connected_ns=None if ended_ms is None or connected_ms is None else (ended_ms - connected_ms) * NS_PER_MS,
        )
    if last.stage is None or last.reason is None:
        return None
    limit_ms = device_limit_ms(last.stage, log.versions.spans)
    return evidence.Attempt(
        stage=last.stage,
        reason=last.reason,
        device_code=last.device_code,
        library_code=last.library_code,
        elapsed_ns=None if last.waited_ms is None else last.waited_ms * NS_PER_MS,
        round_trip_ns=None if last.round_trip_ms is None else last.round_trip_ms * NS_PER_MS,
        device_limit_ns=None if limit_ms is None else limit_ms * NS_PER_MS,
        uncertain_ns=_uncertain_ms(last) * NS_PER_MS,
    )


def _uncertain_ms(last: logattempts.Attempt) -> int:
    """By how much the wait for the key was shorter than the log shows that has no line of its begin (to 0.6.0)."""
    if last.stage is not Stage.KEY or Point.CIPHERTEXT_OUT in last.points_ms or last.round_trip_ms is None:
        return 0
    return last.round_trip_ms + _OWN_RSA_MS


def _internet(attempt: logattempts.Attempt) -> bool | None:
    """What the device's own test after a failed connect said: it connects to 8.8.8.8, from 2.0 it asks for the time."""
    events = {step.readings[0].event for step in attempt.steps}
    if LogEvent.INTERNET_FAILED in events:
        return False
    return True if LogEvent.CLOUD_UNREACHABLE in events else None
