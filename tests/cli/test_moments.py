"""What the live view is given of a second."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.cli.moments import MOST_KINDS, failures_moment, step_of
from loadgen.clock import NS_PER_S
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.recording.recorder import FailureKey, Recorder


def failing(counts: dict[tuple[Stage, Reason, str], int]) -> Recorder:
    """A recorder that has counted these."""
    recorder = Recorder(("p1@0.6.4", "p1@0.7.0"), 0)
    recorder.failures.update(
        {FailureKey(stage, reason, -1, name): count for (stage, reason, name), count in counts.items()}
    )
    return recorder


def test_failures_are_counted_by_stage_and_reason() -> None:
    recorder = failing(
        {
            (Stage.KEY, Reason.CLOSED, "p1@0.6.4"): 2,
            (Stage.KEY, Reason.CLOSED, "p1@0.7.0"): 3,
            (Stage.NONCE, Reason.RESET, "p1@0.7.0"): 4,
        }
    )
    recorder.session_failures.update({FailureKey(Stage.HELLO, Reason.CLOSED, -1, "p1@0.7.0"): 9})
    found = failures_moment(recorder)
    assert found.kinds == ((9, "session/closed"), (5, "key/closed"), (4, "nonce/reset"))
    assert (found.other_kinds, found.other_count) == (0, 0)
    assert failures_moment(failing({})).kinds == ()


def test_a_thousand_kinds_take_a_few_lines() -> None:
    keys = [(stage, reason, f"p1@{number}") for stage in Stage for reason in Reason for number in range(5)]
    found = failures_moment(failing(dict.fromkeys(keys, 1)))
    assert len(keys) > 1_000
    assert len(found.kinds) == MOST_KINDS
    assert sum(count for count, _ in found.kinds) + found.other_count == len(keys)


PHASES: dict[str, Any] = {
    "phases": [
        {"text": "warmup 1/s for 2s", "begin_ns": 0, "duration_ns": 2 * NS_PER_S, "warmup": True},
        {"text": "1/s for 2s", "begin_ns": 2 * NS_PER_S, "duration_ns": 2 * NS_PER_S, "warmup": False},
        {"text": "2/s for 1s", "begin_ns": 6 * NS_PER_S, "duration_ns": NS_PER_S, "warmup": False},
    ]
}


@pytest.mark.parametrize(
    ("elapsed_s", "step"),
    [(1, ""), (2, ""), (3, "phase 1 of 2: 1/s for 2s"), (5, ""), (7, "phase 2 of 2: 2/s for 1s"), (8, "")],
)
def test_the_phase_of_a_schedule(elapsed_s: int, step: str) -> None:
    assert step_of(PHASES, elapsed_s * NS_PER_S) == step


def test_a_schedule_without_phases_has_no_steps() -> None:
    assert step_of({"phases": []}, NS_PER_S) == ""
    assert step_of({}, NS_PER_S) == ""
