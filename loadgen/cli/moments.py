"""What the live view shows of a second: its stages, what has failed so far, and the phase of the schedule."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from loadgen.protocol.stages import Stage
from loadgen.protocol.topics import SESSION
from loadgen.recording.recorder import Interval, Recorder
from loadgen.report.live import FailuresMoment, StageMoment

_STAGES: Final = (
    Stage.CONNECT, Stage.NONCE, Stage.ENCRYPT, Stage.KEY, Stage.UNWRAP, Stage.HELLO, Stage.HANDSHAKE, Stage.RESPONSE,
)  # fmt: skip
MOST_KINDS: Final = 5
"""Kinds of failures that have a line of their own."""


def stage_moments(interval: Interval) -> tuple[StageMoment, ...]:
    """The stages that were passed in the second, and the sums that people ask for first."""
    moments = []
    for stage in _STAGES:
        histogram = interval.histogram(stage)
        p50_ns, p99_ns = histogram.quantile_ns(0.5), histogram.quantile_ns(0.99)
        if p50_ns is not None and p99_ns is not None:
            moments.append(StageMoment(stage.value, p50_ns, p99_ns))
    return tuple(moments)


def failures_moment(recorder: Recorder) -> FailuresMoment:
    """Failures so far by stage and reason, of handshakes and of sessions."""
    found: Counter[str] = Counter()
    for key, count in recorder.failures.items():
        found[f"{key.stage.value}/{key.reason.value}"] += count
    for key, count in recorder.session_failures.items():
        found[f"{SESSION}/{key.reason.value}"] += count
    kinds = found.most_common()
    shown, rest = kinds[:MOST_KINDS], kinds[MOST_KINDS:]
    return FailuresMoment(
        kinds=tuple((count, name) for name, count in shown),
        other_kinds=len(rest),
        other_count=sum(count for _, count in rest),
    )


def step_of(scenario: dict[str, Any], elapsed_ns: int) -> str:
    """Which of a schedule's phases is on; empty where there are none, in the warm-up, and when they are over.

    Args:
        scenario: as it stands in the record.
        elapsed_ns: since the begin of the schedule, its warm-up included.
    """
    phases = [phase for phase in scenario.get("phases") or () if not phase["warmup"]]
    for number, phase in enumerate(phases, start=1):
        if phase["begin_ns"] < elapsed_ns <= phase["begin_ns"] + phase["duration_ns"]:
            return f"phase {number} of {len(phases)}: {phase['text']}"
    return ""
