"""Explanations: one for every end, complete and readable."""

from __future__ import annotations

import pytest

from loadgen.protocol.explain import ENDINGS, SESSION_ENDINGS, Explanation, explain
from loadgen.protocol.firmware import P1_0_7_0
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from tests.protocol.recordings import LIGHTSSL_0_7_0


def assert_readable(explanation: Explanation) -> None:
    for text in (explanation.meaning, explanation.remedy, explanation.sentence, *explanation.causes):
        assert text
        assert not text.endswith(".")
        assert "\n" not in text
        assert "{" not in text
    assert explanation.sentence.startswith(explanation.meaning)
    assert len(explanation.sentence) <= 200
    for line in explanation.device_log:
        assert "{" not in line
        assert "None" not in line


@pytest.mark.parametrize(("stage", "reason"), ENDINGS)
def test_every_end_of_a_handshake(stage: Stage, reason: Reason) -> None:
    explanation = explain(stage, reason)
    assert_readable(explanation)
    assert explanation.causes
    code = P1_0_7_0.device_code(stage, reason)
    assert bool(explanation.device_log) == (code is not None)
    if code is not None:
        assert explanation.device_log[-1].endswith(str(code))


@pytest.mark.parametrize("reason", SESSION_ENDINGS)
def test_every_end_of_a_session(reason: Reason) -> None:
    explanation = explain(Stage.HELLO, reason, in_session=True)
    assert_readable(explanation)
    assert explanation.causes


def test_every_device_code_is_explained() -> None:
    assert set(P1_0_7_0.device_codes) <= set(ENDINGS)
    assert set(P1_0_7_0.session_codes) <= set(SESSION_ENDINGS)


def test_the_line_that_users_search_for() -> None:
    log = explain(Stage.KEY, Reason.CLOSED).device_log
    assert log == (
        "[comm.sparkprotocol.handshake] ERROR: Unable to receive key -19",
        "[system] WARN: Cloud handshake failed, code=-19",
    )
    assert "-1" in explain(Stage.KEY, Reason.CLOSED, -1).device_log[0]


def test_what_no_device_ends_with_is_still_said() -> None:
    for in_session in (False, True):
        explanation = explain(Stage.KEY, Reason.OVERLOAD, in_session=in_session)
        assert_readable(explanation)
        assert "overload" in explanation.sentence


def test_other_generations_have_other_lines() -> None:
    assert explain(Stage.KEY, Reason.CLOSED, firmware=LIGHTSSL_0_7_0).device_log == ()
