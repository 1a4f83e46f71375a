"""Errors of a handshake."""

from __future__ import annotations

from loadgen.protocol.reasons import CryptoFault, HandshakeError, Reason, Side
from loadgen.protocol.stages import Stage


def test_an_error_names_stage_and_reason() -> None:
    assert str(HandshakeError(Stage.KEY, Reason.CLOSED, Side.CLOUD)) == "key/closed"
    error = HandshakeError(Stage.HELLO, Reason.BAD_FRAME, Side.CLOUD, detail="a frame of 17 bytes")
    assert str(error) == "hello/bad_frame (a frame of 17 bytes)"


def test_faults_that_a_peer_can_cause_are_reasons_too() -> None:
    reasons = {reason.value for reason in Reason}
    assert {fault.value for fault in CryptoFault} - reasons == {"bad_input", "faulty_result"}
