"""The numbers that firmware prints for a failure, generation by generation.

Two tables a generation: the value of ``code=`` in "Cloud handshake failed, code=" (or of the connect error), and the
value with which the firmware's log speaks of the end of a session. Sources: particle-iot/device-os
``communication/src/protocol_defs.h``, ``protocol_defs.cpp``, ``hal/src/photon/include/wiced_result.h``,
``services/inc/system_error.h`` at the tags from v0.4.9 to v3.3.1.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage

HandshakeCodes: TypeAlias = dict[tuple[Stage, Reason], int]
SessionCodes: TypeAlias = dict[Reason, int]

_ENDS: Final = (Reason.CLOSED, Reason.SHORT, Reason.TIMEOUT, Reason.RESET, Reason.UNREACHABLE)
"""Ways in which a receive ends without what was awaited."""

_CONNECT: Final[HandshakeCodes] = {
    # The negated wiced_result_t of the attempt. Inferred from the tables of the network library, not observed: a
    # refusal arrives as 18 (connection reset); lwIP ignores ICMP errors, so an unreachable host is a timeout, 2, like
    # a silent one.
    (Stage.CONNECT, Reason.REFUSED): -18,
    (Stage.CONNECT, Reason.UNREACHABLE): -2,
    (Stage.CONNECT, Reason.TIMEOUT): -2,
}

# --- SparkProtocol, to 0.7.0: negated results of the socket, else ProtocolError

_SPARK_RECEIVES: Final[HandshakeCodes] = {
    # 19 is "connection closed"; after a reset the socket is found inactive, -1; so is a timeout.
    **{(stage, reason): -19 for stage in (Stage.NONCE, Stage.KEY) for reason in (Reason.CLOSED, Reason.SHORT)},
    **{
        (stage, reason): -1
        for stage in (Stage.NONCE, Stage.KEY)
        for reason in (Reason.TIMEOUT, Reason.RESET, Reason.UNREACHABLE)
    },
    # Whatever goes wrong between the two Hellos is one error.
    **{(Stage.HELLO, reason): -1 for reason in (*_ENDS, Reason.BAD_FRAME, Reason.BAD_HELLO)},
}
EARLY_CODES: Final[HandshakeCodes] = {
    **_CONNECT,
    **_SPARK_RECEIVES,
    (Stage.UNWRAP, Reason.BAD_KEY): 1,
    (Stage.UNWRAP, Reason.BAD_SIGNATURE): 2,
}
"""To 0.4.8-rc.1."""
SPARK_CODES: Final[HandshakeCodes] = {
    **_CONNECT,
    **_SPARK_RECEIVES,
    (Stage.UNWRAP, Reason.BAD_KEY): 6,
    (Stage.UNWRAP, Reason.BAD_SIGNATURE): 8,
}
"""From 0.4.8-rc.2 to 0.7.0."""
SPARK_SESSION_CODES: Final[SessionCodes] = {Reason.CLOSED: -19, Reason.RESET: -1}
"""From 0.5.0 to 0.7.0: "bytes recieved error"; older versions print no number."""

# --- LightSSLProtocol, from 0.8.0: ProtocolError

_LIGHTSSL_HELLO: Final[SessionCodes] = {
    Reason.CLOSED: 24,  # IO_ERROR_LIGHTSSL_RECEIVE: the length of a frame
    Reason.RESET: 24,
    Reason.UNREACHABLE: 24,
    Reason.SHORT: 23,  # IO_ERROR_LIGHTSSL_BLOCKING_RECEIVE: the body of a frame
    Reason.BAD_FRAME: 4,  # INSUFFICIENT_STORAGE: the only length that it refuses
}
LIGHTSSL_CODES: Final[HandshakeCodes] = {
    **_CONNECT,
    **{(Stage.NONCE, reason): 25 for reason in _ENDS},
    **{(Stage.KEY, reason): 26 for reason in _ENDS},
    (Stage.UNWRAP, Reason.BAD_KEY): 6,
    (Stage.UNWRAP, Reason.BAD_SIGNATURE): 8,
    **{(Stage.HELLO, reason): code for reason, code in _LIGHTSSL_HELLO.items()},
    (Stage.HELLO, Reason.TIMEOUT): 10,  # MESSAGE_TIMEOUT
}
"""From 0.8.0 to 1.4.x."""
TOKEN_CODES: Final[HandshakeCodes] = {**LIGHTSSL_CODES, (Stage.HELLO, Reason.BAD_HELLO): 28}  # MISSING_REQUEST_TOKEN
"""1.5.x."""
LIGHTSSL_SESSION_CODES: Final[SessionCodes] = {
    **_LIGHTSSL_HELLO,
    Reason.TIMEOUT: 24,
    Reason.PING_TIMEOUT: 1,
}
"""From 0.8.0 to 1.4.x: "Event loop error"."""
TOKEN_SESSION_CODES: Final[SessionCodes] = {**LIGHTSSL_SESSION_CODES, Reason.BAD_HELLO: 28}
"""From 1.5, 2.x and 3.x too."""

_SYSTEM_ERRORS: Final = {
    1: -160,  # TIMEOUT
    4: -190,  # TOO_LARGE
    6: -240,  # PROTOCOL
    8: -130,  # NOT_ALLOWED
    10: -160,  # TIMEOUT
    23: -220,  # IO
    24: -220,
    25: -220,
    26: -220,
    28: -240,
}
"""What ``code=`` is from 2.0 for a ProtocolError."""
SYSTEM_CODES: Final[HandshakeCodes] = {
    **_CONNECT,
    **{end: _SYSTEM_ERRORS[code] for end, code in TOKEN_CODES.items() if end[0] is not Stage.CONNECT},
}
"""2.x and 3.x: system errors, which are negative."""
