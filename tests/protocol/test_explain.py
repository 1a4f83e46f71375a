"""Explanations: one for every end, complete and readable, with the lines and colours of each generation."""

from __future__ import annotations

import pytest

from loadgen.protocol.explain import ENDINGS, SESSION_ENDINGS, Explanation, Led, explain, handshake_code, session_code
from loadgen.protocol.firmware import P1_0_7_0, PROFILES, FirmwareProfile
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage


def assert_readable(explanation: Explanation) -> None:
    for text in (explanation.meaning, explanation.remedy, explanation.sentence):
        assert text
        assert not text.endswith(".")
        assert "\n" not in text
        assert "{" not in text
    assert explanation.sentence.startswith(explanation.meaning)
    assert len(explanation.sentence) <= 200
    for line in explanation.device_log:
        assert "{" not in line
        assert "%" not in line
        assert "None" not in line


@pytest.mark.parametrize("firmware", PROFILES.values(), ids=PROFILES)
def test_every_end_of_a_handshake(firmware: FirmwareProfile) -> None:
    for stage, reason in ENDINGS:
        explanation = explain(stage, reason, firmware=firmware)
        assert_readable(explanation)
        assert explanation.causes
        assert explanation.wire
        code = firmware.device_code(stage, reason)
        prints = code is not None and firmware.version >= P1_0_7_0.version
        assert bool(explanation.device_log) or not prints
        if prints:
            assert explanation.device_log[-1].endswith(str(code))


@pytest.mark.parametrize("reason", SESSION_ENDINGS)
def test_every_end_of_a_session(reason: Reason) -> None:
    for firmware in PROFILES.values():
        explanation = explain(Stage.HELLO, reason, in_session=True, firmware=firmware)
        assert_readable(explanation)
        assert explanation.causes
        assert explanation.led is Led.NONE


@pytest.mark.parametrize("firmware", PROFILES.values(), ids=PROFILES)
def test_every_device_code_is_explained(firmware: FirmwareProfile) -> None:
    assert set(firmware.device_codes) <= set(ENDINGS)
    assert set(firmware.session_codes) <= set(SESSION_ENDINGS)
    if firmware.name.startswith(("p1", "photon")):
        for stage, reason in ENDINGS:
            assert handshake_code(stage, reason, firmware.version) == firmware.device_code(stage, reason)
        for reason in SESSION_ENDINGS:
            assert session_code(reason, firmware.version) == firmware.device_code(Stage.HELLO, reason, in_session=True)


def test_the_line_that_users_search_for() -> None:
    log = explain(Stage.KEY, Reason.CLOSED).device_log
    assert log == (
        "[comm.sparkprotocol.handshake] ERROR: Unable to receive key -19",
        "[system] WARN: Cloud handshake failed, code=-19",
    )
    assert "-1" in explain(Stage.KEY, Reason.CLOSED, -1).device_log[0]


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("p1@0.4.0", ()),
        (
            "p1@0.5.5",
            ("ERROR: Handshake:  could not set key, (any number)", "WARN: Cloud handshake failed, code=6"),
        ),
        (
            "p1@1.0.1",
            (
                "[comm.lightssl] WARN: decryption failed with code -16640",
                "[comm.lightssl.handshake] ERROR: Could not set key, 6",
                "[comm.protocol.handshake] ERROR: handshake failed with code 6",
                "[system] WARN: Cloud handshake failed, code=6",
            ),
        ),
        (
            "p1@2.3.1",
            (
                "[comm.lightssl] WARN: decryption failed with code -16640",
                "[comm.lightssl.handshake] ERROR: Could not set key, 6",
                "[comm.protocol.handshake] ERROR: Handshake failed: 6",
                "[system] WARN: Cloud handshake failed, code=-240",
            ),
        ),
    ],
)
def test_other_generations_have_other_lines(name: str, lines: tuple[str, ...]) -> None:
    assert explain(Stage.UNWRAP, Reason.BAD_KEY, firmware=PROFILES[name]).device_log == lines


@pytest.mark.parametrize(
    ("name", "key", "signature"),
    [
        ("p1@0.4.0", Led.RED, Led.RED),
        ("p1@0.7.0", Led.ORANGE, Led.MAGENTA),
        ("p1@1.5.2", Led.ORANGE, Led.MAGENTA),
        ("p1@2.3.1", Led.RED, Led.RED),
    ],
)
def test_colours_go_by_the_number(name: str, key: Led, signature: Led) -> None:
    firmware = PROFILES[name]
    assert explain(Stage.UNWRAP, Reason.BAD_KEY, firmware=firmware).led is key
    assert explain(Stage.UNWRAP, Reason.BAD_SIGNATURE, firmware=firmware).led is signature
    assert explain(Stage.KEY, Reason.CLOSED, firmware=firmware).led is Led.RED
    assert explain(Stage.CONNECT, Reason.REFUSED, firmware=firmware).led is Led.BLINKS


def test_what_no_device_ends_with_is_still_said() -> None:
    for in_session in (False, True):
        explanation = explain(Stage.KEY, Reason.OVERLOAD, in_session=in_session)
        assert_readable(explanation)
        assert "overload" in explanation.sentence
