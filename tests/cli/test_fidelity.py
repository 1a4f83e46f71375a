"""Findings about devices that were not as asked for."""

from __future__ import annotations

import numpy as np
import pytest

from loadgen.cli.fidelity import pace_findings, share_findings
from loadgen.clock import NS_PER_MS
from loadgen.engine.plan import Pace
from loadgen.protocol.firmware import P1_0_7_0
from loadgen.protocol.stages import Point
from loadgen.recording.recorder import Recorder
from loadgen.recording.rows import ROW_FIELDS
from tests.engine.fakes import firmware_plan, renamed

MIX = (firmware_plan(parts=3), firmware_plan(renamed(P1_0_7_0, "p1@other"), parts=7))


@pytest.mark.parametrize("started", [[], [30, 70], [100, 0], [300, 700], [319, 681]])
def test_shares_that_are_as_wanted_or_say_nothing(started: list[int]) -> None:
    assert share_findings(MIX, started) == []


def test_a_firmware_that_started_too_often_is_named() -> None:
    (finding,) = share_findings(MIX, [100, 900])
    assert (finding.code, finding.level, finding.observed, finding.limit) == ("firmware_shares", "warn", 0.9, 0.7)
    assert finding.text == "p1@other made 90.0 % of the starts with 70.0 % of the devices."


def recorded(encrypt_ns: int) -> Recorder:
    """A hundred handshakes in which only ``encrypt`` took time."""
    rows = np.zeros((100, len(ROW_FIELDS)), dtype=np.int64)
    rows[:, Point.CIPHERTEXT_OUT : Point.HELLO_IN + 1] = encrypt_ns
    recorder = Recorder([P1_0_7_0.name], 0)
    recorder.add_rows(rows)
    return recorder


def test_a_pace_that_was_kept_is_not_mentioned() -> None:
    paced = firmware_plan(pace=Pace(encrypt_ns=10 * NS_PER_MS, rtt_ns=10 * NS_PER_MS))
    assert pace_findings([paced], recorded(21 * NS_PER_MS)) == []
    assert pace_findings([firmware_plan()], recorded(21 * NS_PER_MS)) == []
    assert pace_findings([paced], Recorder([P1_0_7_0.name], 0)) == []


def test_a_pace_that_was_not_kept_is_named_with_its_stage() -> None:
    paced = firmware_plan(pace=Pace(encrypt_ns=10 * NS_PER_MS, rtt_ns=10 * NS_PER_MS))
    (finding,) = pace_findings([paced], recorded(30 * NS_PER_MS))
    assert (finding.code, finding.level) == ("device_pace", "warn")
    assert finding.observed == pytest.approx(1.5, rel=1e-3)
    assert "p1@0.7.0 was slower than its pace: encrypt took 30" in finding.text
