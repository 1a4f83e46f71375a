"""What a failure means, what a real device prints and shows for it, what usually causes it, and what to do.

One explanation for every (stage, reason) that a device's handshake can end with, and for every end of a session; the
texts stand in :mod:`loadgen.protocol.endings`, the causes in :mod:`loadgen.protocol.causes`. The texts are for
people; programs use stage, reason and device code.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from loadgen.protocol.causes import Cause, causes
from loadgen.protocol.device_codes import (
    EARLY_CODES,
    LIGHTSSL_CODES,
    LIGHTSSL_SESSION_CODES,
    SPARK_CODES,
    SPARK_SESSION_CODES,
    TOKEN_CODES,
    TOKEN_SESSION_CODES,
    HandshakeCodes,
)
from loadgen.protocol.device_codes import SYSTEM_CODES as CODES_OF_2
from loadgen.protocol.endings import ENDING_TABLE, SESSION_ENDING_TABLE, Ending
from loadgen.protocol.error_numbers import LIGHTSSL, STRICT, SYSTEM_CODES, TOKENS, End
from loadgen.protocol.firmware import P1_0_7_0, FirmwareProfile
from loadgen.protocol.firmware_log import LogEvent, log_texts
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.protocol.versions import Version


class Led(StrEnum):
    """What the RGB LED shows."""

    RED = "red for 250 ms"
    ORANGE = "orange for 250 ms"
    MAGENTA = "magenta for 250 ms"
    BLINKS = "orange blinks: 2 without Internet, 3 with Internet but without the cloud"
    NONE = "no flash; blinking cyan until the device is connected again"


@dataclass(frozen=True, slots=True)
class Explanation:
    """One failure, for people."""

    meaning: str
    """What happened, one sentence without a full stop."""
    usual: str
    """The usual cause in few words."""
    wire: str
    """What a capture shows."""
    device_log: tuple[str, ...]
    """The lines that a real device of the firmware prints; empty where it would print none."""
    led: Led
    """What a real device shows."""
    causes: tuple[Cause, ...]
    """The most likely first; empty for what no device ends with."""
    remedy: str
    """What to do first, one sentence without a full stop."""

    @property
    def sentence(self) -> str:
        """Meaning and usual cause in one line, for tables and records."""
        return f"{self.meaning}; {self.usual}" if self.usual else self.meaning


ENDINGS: Final[tuple[tuple[Stage, Reason], ...]] = tuple(ENDING_TABLE)
"""Every (stage, reason) that a handshake of a device can end with."""

SESSION_ENDINGS: Final[tuple[Reason, ...]] = tuple(SESSION_ENDING_TABLE)
"""Every reason that a session of a device can end for."""

_SEE_LOG: Final = "look for this moment in the cloud's log"


def explain(
    stage: Stage,
    reason: Reason,
    device_code: int | None = None,
    firmware: FirmwareProfile = P1_0_7_0,
    *,
    in_session: bool = False,
) -> Explanation:
    """Explain a failure of a device.

    Args:
        stage: of the failure; ignored for a session.
        reason: of the failure.
        device_code: what goes into the log lines; the profile's code by default.
        firmware: whose log lines to quote.
        in_session: the failure came after the cloud's Hello.

    A pair that no device ends with gets a plain statement of it, so that a record can always be written.
    """
    if device_code is None:
        device_code = firmware.device_code(stage, reason, in_session)
    ending = SESSION_ENDING_TABLE.get(reason) if in_session else ENDING_TABLE.get((stage, reason))
    if ending is None:
        where = "the session" if in_session else f"the handshake, at stage {stage},"
        ending = Ending(f"{where} ended for the reason {reason}", "", "", (), _SEE_LOG)
    version = firmware.version
    if firmware.generation == "lightssl":
        version = max(version, LIGHTSSL)
    log = device_log(stage, reason, device_code, version, in_session=in_session)
    return Explanation(
        meaning=ending.meaning,
        usual=ending.usual,
        wire=ending.wire,
        device_log=log,
        led=led(stage, reason, version, in_session=in_session),
        causes=causes(ending.causes),
        remedy=ending.remedy,
    )


# --- what a device prints and shows

_MBEDTLS_INVALID_PADDING: Final = -0x4100
_MBEDTLS_VERIFY_FAILED: Final = -0x4380
_E = LogEvent

_HANDSHAKE_EVENTS: Final[dict[Stage, tuple[LogEvent, ...]]] = {
    Stage.CONNECT: (_E.CONNECT_FAILED, _E.SOCKET_FAILED),
    Stage.NONCE: (_E.NONCE_FAILED, _E.PROTOCOL_FAILED, _E.HANDSHAKE_FAILED),
    Stage.KEY: (_E.KEY_FAILED, _E.PROTOCOL_FAILED, _E.HANDSHAKE_FAILED),
    Stage.UNWRAP: (_E.SET_KEY_FAILED, _E.PROTOCOL_FAILED, _E.HANDSHAKE_FAILED),
    Stage.HELLO: (_E.HELLO_FAILED, _E.PROTOCOL_FAILED, _E.HANDSHAKE_FAILED),
}
_LIBRARY_EVENTS: Final = {Reason.BAD_KEY: _E.DECRYPT_FAILED, Reason.BAD_SIGNATURE: _E.SIGNATURE_FAILED}
_SESSION_EVENTS: Final[dict[Reason, tuple[LogEvent, ...]]] = {
    Reason.CLOSED: (_E.RECEIVE_ERROR,),
    Reason.RESET: (_E.RECEIVE_ERROR,),
    Reason.PING_TIMEOUT: (_E.NO_PONG,),
    Reason.BAD_HELLO: (_E.UNKNOWN_MESSAGE,),
    Reason.SHORT: (),
    Reason.BAD_FRAME: (),
}
_SOCKET_EVENTS: Final = frozenset(
    (_E.CONNECT_FAILED, _E.SOCKET_FAILED, _E.NONCE_FAILED, _E.KEY_FAILED, _E.RECEIVE_ERROR)
)


def handshake_code(stage: Stage, reason: Reason, version: Version) -> int | None:
    """The code that a P1 of ``version`` gives to a failed handshake; None where it gives none."""
    if version < STRICT:
        return EARLY_CODES.get((stage, reason))
    if version < LIGHTSSL:
        return SPARK_CODES.get((stage, reason))
    if version < SYSTEM_CODES:
        return _protocol_codes(version).get((stage, reason))
    return CODES_OF_2.get((stage, reason))


def _protocol_codes(version: Version) -> HandshakeCodes:
    """The protocol errors of ``version``, which is of the lightssl generation."""
    return LIGHTSSL_CODES if version < TOKENS else TOKEN_CODES


def session_code(reason: Reason, version: Version) -> int | None:
    """The code with which a P1 of ``version`` speaks of the end of a session; None where it gives none."""
    if version < LIGHTSSL:
        return SPARK_SESSION_CODES.get(reason) if version >= Version(0, 5, 0, 0) else None
    return (LIGHTSSL_SESSION_CODES if version < TOKENS else TOKEN_SESSION_CODES).get(reason)


def device_log(
    stage: Stage, reason: Reason, code: int | None, version: Version, *, in_session: bool = False
) -> tuple[str, ...]:
    """The lines that a P1 of ``version`` prints for a failure, without time stamps; empty where it prints none.

    Args:
        stage: of the failure; ignored for a session.
        reason: of the failure.
        code: of the failure; None where the device gives it none.
        version: of the firmware.
        in_session: the failure came after the cloud's Hello.
    """
    events = failure_events(stage, reason, code, version, in_session=in_session)
    lines = (_line(event, version, value) for event, value in events)
    return tuple(line for line in lines if line)


def failure_events(
    stage: Stage, reason: Reason, code: int | None, version: Version, *, in_session: bool = False
) -> tuple[tuple[LogEvent, int | None], ...]:
    """What a P1 of ``version`` logs of a failure, in order, each with the number in its line.

    Arguments are those of :func:`device_log`.
    """
    if not in_session and code is None:
        return ()
    events: tuple[LogEvent, ...]
    if in_session:
        events = _SESSION_EVENTS.get(reason, ())
        events = (*events, _E.LOOP_ERROR) if code is not None else events
        events = (*events, _E.SESSION_ENDED) if reason in _SESSION_EVENTS else ()
    else:
        events = _HANDSHAKE_EVENTS.get(stage, ())
        events = (_LIBRARY_EVENTS[reason], *events) if reason in _LIBRARY_EVENTS else events
    end = (None if in_session else stage, reason)
    return tuple((event, _value(event, end, code, version)) for event in events)


def _value(event: LogEvent, end: End, code: int | None, version: Version) -> int | None:
    """The number in the line of ``event``: the socket's, the library's, the protocol's, or the failure's code."""
    if event is _E.DECRYPT_FAILED:
        return _MBEDTLS_INVALID_PADDING
    if event is _E.SIGNATURE_FAILED:
        return _MBEDTLS_VERIFY_FAILED
    if event is _E.HANDSHAKE_FAILED or version < LIGHTSSL:
        return code
    stage, reason = end
    if event in _SOCKET_EVENTS:
        return SPARK_SESSION_CODES.get(reason) if stage is None else SPARK_CODES.get((stage, reason))
    return code if stage is None else _protocol_codes(version).get((stage, reason))


def _line(event: LogEvent, version: Version, value: int | None) -> str | None:
    text = log_texts(version).get(event)
    if text is None:
        return None
    message = text.text.replace("%d.%d.%d.%d:%d", "ADDRESS:PORT").replace("%s:%u", "ADDRESS:PORT")
    if event is _E.SET_KEY_FAILED and version < LIGHTSSL:
        message = message.replace("%d", "(any number)")  # the source passes no argument for it
    if "%d" in message and value is None:
        return None
    category = f"[{text.category}] " if version >= Version(0, 6, 0, 0) else ""
    return f"{category}{text.level}: {message.replace('%d', str(value))}"


def led(stage: Stage, reason: Reason, version: Version, *, in_session: bool = False) -> Led:
    """What the LED of a P1 of ``version`` shows for a failure.

    The colours go by the numbers 6 and 8, which the code of a failed handshake is from 0.4.8-rc.2 to 1.5.
    """
    if in_session:
        return Led.NONE
    if stage is Stage.CONNECT:
        return Led.BLINKS
    coloured = STRICT <= version < SYSTEM_CODES
    if coloured and reason is Reason.BAD_KEY:
        return Led.ORANGE
    if coloured and reason is Reason.BAD_SIGNATURE:
        return Led.MAGENTA
    return Led.RED
