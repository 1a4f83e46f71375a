"""What a failure means, what a real device prints for it, what usually causes it, and what to do.

One entry for every (stage, reason) that a device's handshake can end with, and for every end of a session. The
texts are for people; programs use stage, reason and device code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from loadgen.protocol.firmware import P1_0_7_0, FirmwareProfile
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage


@dataclass(frozen=True, slots=True)
class Explanation:
    """One failure, for people."""

    meaning: str
    """What happened, one sentence without a full stop."""
    device_log: tuple[str, ...]
    """The lines that a real device of the firmware prints; empty where it would print none."""
    causes: tuple[str, ...]
    """Usual causes, the most likely first; sentences without a full stop."""
    remedy: str
    """What to do first, one sentence without a full stop."""

    @property
    def sentence(self) -> str:
        """Meaning and first cause in one line, for tables and records."""
        return f"{self.meaning}; {self.causes[0]}" if self.causes else self.meaning


class _Text(NamedTuple):
    meaning: str
    causes: tuple[str, ...]
    remedy: str


_NETWORK: Final = "a firewall or load balancer between here and the cloud cut the connection"
_OVERLOAD: Final = "the cloud is overloaded: its accept or RSA work is behind"
_CRASH: Final = "the cloud's process crashed or was restarted"
_SEE_LOG: Final = "look for this moment in the cloud's log: it names the reason that the wire does not carry"

_UNREACHABLE: Final = _Text(
    "the network reported the cloud as unreachable in mid-connection",
    ("a route or an interface went away", "the cloud's machine went away"),
    "check the path to the cloud (interface, route, VPN) at the time of the failure",
)
_LOCAL: Final = _Text(
    "this machine could not go on: descriptors, ports, memory or a local key",
    ("a limit of this machine was reached; the cloud has no part in it",),
    "raise the limit (ulimit -n, net.ipv4.ip_local_port_range) or lower the number in flight",
)

_TEXTS: Final[dict[tuple[Stage, Reason], _Text]] = {
    (Stage.CONNECT, Reason.REFUSED): _Text(
        "the target refused the connection",
        (
            "nothing listens on this address and port",
            "the listener's queue is full and its kernel answers with a reset",
        ),
        "check host and port, and that the cloud is running",
    ),
    (Stage.CONNECT, Reason.UNREACHABLE): _Text(
        "there is no route to the target",
        ("the address is wrong", "the network or a VPN is down", "a firewall rejects the port"),
        "check the address and that this machine can reach its network",
    ),
    (Stage.CONNECT, Reason.TIMEOUT): _Text(
        "the TCP connection did not come about in time",
        (
            "the listener's queue is full and connection requests are dropped",
            "a firewall drops the packets silently",
            "the address belongs to no machine",
        ),
        "look at the cloud's accept queue (ss -lnt, somaxconn) and lower the rate to see whether it recovers",
    ),
    (Stage.NONCE, Reason.CLOSED): _Text(
        "the cloud accepted and closed without a byte",
        (
            "a load balancer has no cloud behind it",
            "the cloud is at its limit of connections",
            _CRASH,
        ),
        "check that a cloud of this protocol stands behind the address and what limit it has",
    ),
    (Stage.NONCE, Reason.SHORT): _Text(
        "the cloud closed within the 40 bytes of the nonce",
        ("something else than this protocol listens there (a greeting of another service)", _CRASH),
        "check that the port belongs to the device service",
    ),
    (Stage.NONCE, Reason.TIMEOUT): _Text(
        "the cloud accepted but sent no complete nonce in time",
        (
            _OVERLOAD,
            "the peer waits for the client to speak first (TLS, HTTP): not this protocol",
            "the connection is in the listener's queue and nobody accepts it",
        ),
        "check that the port belongs to the device service, then look at the cloud's load",
    ),
    (Stage.NONCE, Reason.RESET): _Text(
        "the connection was reset before the nonce was complete",
        (_OVERLOAD, _NETWORK, _CRASH),
        "look at the cloud's log and at the firewalls and load balancers on the way",
    ),
    (Stage.KEY, Reason.CLOSED): _Text(
        "the cloud closed the connection instead of sending the key",
        (
            "within a round trip: it rejected the device (wrong server key here, unknown device, other key on record)",
            "after a fixed time such as 10 s: its own limit for a handshake ran out",
            "a load balancer's idle limit is shorter than the cloud's answer takes",
        ),
        "compare the server key given here with the cloud's, and export the fleet's public keys to the cloud",
    ),
    (Stage.KEY, Reason.SHORT): _Text(
        "the cloud closed within the 384 bytes of the key",
        (_CRASH, "its signature operation failed after the first part was written"),
        _SEE_LOG,
    ),
    (Stage.KEY, Reason.TIMEOUT): _Text(
        "the key did not come in time",
        (_OVERLOAD, "the cloud waits for its database of keys", "the connection died without a sign"),
        "lower the rate: if the timeouts vanish, the cloud is past its capacity",
    ),
    (Stage.KEY, Reason.RESET): _Text(
        "the connection was reset while the key was awaited",
        ("the cloud rejects with a reset instead of a close", _CRASH, _NETWORK),
        _SEE_LOG,
    ),
    (Stage.KEY, Reason.BAD_FRAME): _Text(
        "the cloud sent thousands of bytes before the device had answered the nonce",
        ("something else than this protocol listens there",),
        "check that the port belongs to the device service",
    ),
    (Stage.UNWRAP, Reason.BAD_KEY): _Text(
        "the device cannot decrypt the session key",
        (
            "the cloud encrypted it to another public key: an old or a foreign one is on record for this device",
            "the device's private key is damaged or of an encoding that its firmware misreads",
        ),
        "export this fleet's public keys again and give them to the cloud",
    ),
    (Stage.UNWRAP, Reason.BAD_SIGNATURE): _Text(
        "the cloud's signature over the session key is wrong",
        (
            "the cloud signs with DigestInfo, another hash or PSS instead of the bare 20-byte HMAC",
            "the cloud signs with another key than it decrypts with",
        ),
        "check the cloud's signing: RSA PKCS#1 v1.5 type 1 over the bare HMAC-SHA1, with the key that the devices have",
    ),
    (Stage.HELLO, Reason.CLOSED): _Text(
        "the cloud closed the connection instead of its Hello",
        (
            "it could not read the device's Hello (session key or IV differ)",
            "another connection with the same device id replaced this one",
            "its limit for the whole handshake ran out",
        ),
        _SEE_LOG,
    ),
    (Stage.HELLO, Reason.SHORT): _Text(
        "the cloud closed within a message before its Hello",
        (_CRASH,),
        _SEE_LOG,
    ),
    (Stage.HELLO, Reason.TIMEOUT): _Text(
        "the cloud's Hello did not come in time",
        (
            _OVERLOAD,
            "the cloud answers Hello only after a slow look-up",
            "the cloud could not read the device's Hello and says nothing",
        ),
        "lower the rate: if the timeouts vanish, the cloud is past its capacity for the time a device waits here",
    ),
    (Stage.HELLO, Reason.RESET): _Text(
        "the connection was reset while the cloud's Hello was awaited",
        (_CRASH, _NETWORK),
        _SEE_LOG,
    ),
    (Stage.HELLO, Reason.BAD_FRAME): _Text(
        "the cloud's first frame has a wrong length or padding",
        (
            "the cloud uses another session key or IV than it sent",
            "bytes of another message stand in front of the frame",
        ),
        "check the cloud's framing: two bytes of length, then AES-128-CBC with PKCS#7 padding",
    ),
    (Stage.HELLO, Reason.BAD_HELLO): _Text(
        "the cloud's first message decrypts, but is neither its Hello nor anything that may precede it",
        (
            "the cloud answered the device's Hello with a code (an acknowledgement must be empty)",
            "the first block is garbage: the cloud's IV differs",
        ),
        "check what the cloud sends first: CON or NON, POST, path h",
    ),
    **{(stage, Reason.UNREACHABLE): _UNREACHABLE for stage in (Stage.NONCE, Stage.KEY, Stage.HELLO)},
    **{
        (stage, Reason.LOCAL_RESOURCE): _LOCAL
        for stage in (Stage.CONNECT, Stage.NONCE, Stage.ENCRYPT, Stage.KEY, Stage.UNWRAP, Stage.HELLO)
    },
}

_SESSION_TEXTS: Final[dict[Reason, _Text]] = {
    Reason.CLOSED: _Text(
        "the cloud closed the session",
        (
            "another connection with the same device id replaced this one",
            "its idle limit ran out, or it missed a describe answer",
            "it noticed a message id out of order",
            "the cloud was restarted",
        ),
        _SEE_LOG,
    ),
    Reason.SHORT: _Text("the cloud closed the session within a message", (_CRASH,), _SEE_LOG),
    Reason.RESET: _Text("the session was reset", (_CRASH, _NETWORK), _SEE_LOG),
    Reason.TIMEOUT: _Text(
        "the network gave the session up",
        ("the cloud's machine or the path to it went away without a sign",),
        "check the path to the cloud at the time of the failure",
    ),
    Reason.UNREACHABLE: _UNREACHABLE,
    Reason.PING_TIMEOUT: _Text(
        "the device's keep-alive ping was not answered",
        (
            "the cloud has lost the session (wrong IV rule, a stalled stream) but keeps the socket open",
            _OVERLOAD,
            "the path went away without a sign",
        ),
        "check that the cloud answers an empty CON with 60 00 and the same id",
    ),
    Reason.BAD_FRAME: _Text(
        "a frame of the session has a wrong length or padding",
        ("the cloud's frames got out of step", "the cloud chains its IVs with another rule"),
        "check the IV rule: the first 16 bytes of the previous ciphertext of the same direction",
    ),
    Reason.BAD_HELLO: _Text(
        "the cloud sent a message that the firmware cannot classify and closes the session over",
        (
            "an acknowledgement with a code (2.04, 4.00) instead of an empty one",
            "the cloud chains its IVs with another rule, so the first block is garbage",
        ),
        "acknowledge with empty messages only, and check the IV rule",
    ),
    Reason.LOCAL_RESOURCE: _LOCAL,
}

ENDINGS: Final[tuple[tuple[Stage, Reason], ...]] = tuple(_TEXTS)
"""Every (stage, reason) that a handshake of a device can end with."""

SESSION_ENDINGS: Final[tuple[Reason, ...]] = tuple(_SESSION_TEXTS)
"""Every reason that a session of a device can end for."""

_RESULT_LINE: Final = "[system] WARN: Cloud handshake failed, code={code}"
_LOOP_LINE: Final = "[system] WARN: Communication loop error, closing cloud socket"
_SPARKPROTOCOL_LINES: Final[dict[Stage, tuple[str, ...]]] = {
    Stage.CONNECT: (
        "[system] ERROR: connection failed to ADDRESS:PORT, code={code}",
        "[system] WARN: Cloud socket connection failed: {code}",
    ),
    Stage.NONCE: (
        "[comm.sparkprotocol.handshake] ERROR: Could not receive nonce: {code}",
        _RESULT_LINE,
    ),
    Stage.KEY: ("[comm.sparkprotocol.handshake] ERROR: Unable to receive key {code}", _RESULT_LINE),
    # The number in this line is not the code: the source passes no argument for it.
    Stage.UNWRAP: ("[comm.sparkprotocol.handshake] ERROR: Could not set key, (any number)", _RESULT_LINE),
    Stage.HELLO: ("[comm.sparkprotocol.handshake] ERROR: Could not receive HELLO response", _RESULT_LINE),
}
_SPARKPROTOCOL_SESSION_LINES: Final[dict[Reason, tuple[str, ...]]] = {
    Reason.CLOSED: ("[comm.sparkprotocol] WARN: bytes recieved error {code}", _LOOP_LINE),
    Reason.RESET: ("[comm.sparkprotocol] WARN: bytes recieved error {code}", _LOOP_LINE),
    Reason.PING_TIMEOUT: ("[comm.sparkprotocol] WARN: ping ACK not received", _LOOP_LINE),
    Reason.BAD_HELLO: ("[comm.sparkprotocol] WARN: received ERROR CoAPMessage", _LOOP_LINE),
    Reason.SHORT: (_LOOP_LINE,),
    Reason.BAD_FRAME: (_LOOP_LINE,),
}


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
    text = _SESSION_TEXTS.get(reason) if in_session else _TEXTS.get((stage, reason))
    if text is None:
        where = "the session" if in_session else f"the handshake, at stage {stage},"
        text = _Text(f"{where} ended for the reason {reason}", (), _SEE_LOG)
    log = _device_log(stage, reason, device_code, firmware, in_session)
    return Explanation(text.meaning, log, text.causes, text.remedy)


def _device_log(
    stage: Stage, reason: Reason, code: int | None, firmware: FirmwareProfile, in_session: bool
) -> tuple[str, ...]:
    if firmware.generation != "sparkprotocol":
        return ()
    if in_session:
        lines = _SPARKPROTOCOL_SESSION_LINES.get(reason, ())
    else:
        lines = _SPARKPROTOCOL_LINES.get(stage, ()) if code is not None else ()
    return tuple(line.format(code=code) for line in lines)
