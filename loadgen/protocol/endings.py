"""How a device's connection can end, as tables: one row for every (stage, reason) and for every end of a session.

A row says what happened, what crossed the wire, and which causes (:mod:`loadgen.protocol.causes`) there are, the most
likely first. Texts are sentences without a full stop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage


@dataclass(frozen=True, slots=True)
class Ending:
    """One way to end."""

    meaning: str
    """What happened."""
    usual: str
    """The usual cause, in few words."""
    wire: str
    """What a capture shows."""
    causes: tuple[str, ...]
    """Identifiers, the most likely first."""
    remedy: str
    """What to do first."""


_SEE_LOG: Final = "look for this moment in the cloud's log: it names the reason that the wire does not carry"
_CRASH: Final = "the cloud's process crashed or was restarted"
_BEHIND: Final = "the cloud is overloaded: its accept or RSA work is behind"

_UNREACHABLE: Final = Ending(
    "the network reported the cloud as unreachable in mid-connection",
    "a route or an interface went away",
    "ICMP destination unreachable, or nothing; no FIN and no RST from the cloud",
    ("network-down", "cloud-crashed", "firewall"),
    "check the path to the cloud (interface, route, VPN) at the time of the failure",
)
_LOCAL: Final = Ending(
    "this machine could not go on: descriptors, ports, memory or a local key",
    "a limit of this machine was reached; the cloud has no part in it",
    "nothing, or a connection that this side ends",
    ("local-limit",),
    "raise the limit (ulimit -n, net.ipv4.ip_local_port_range) or lower the number in flight",
)

ENDING_TABLE: Final[dict[tuple[Stage, Reason], Ending]] = {
    (Stage.CONNECT, Reason.REFUSED): Ending(
        "the target refused the connection",
        "nothing listens on this address and port",
        "SYN out, RST back",
        ("nothing-listens", "accept-queue-full", "wrong-address", "firewall"),
        "check host and port, and that the cloud is running",
    ),
    (Stage.CONNECT, Reason.UNREACHABLE): Ending(
        "there is no route to the target",
        "the address is wrong, or the network is down",
        "no SYN leaves, or ICMP destination unreachable comes back",
        ("network-down", "wrong-address", "firewall"),
        "check the address and that this machine can reach its network",
    ),
    (Stage.CONNECT, Reason.TIMEOUT): Ending(
        "the TCP connection did not come about in time",
        "the listener's queue is full and connection requests are dropped",
        "SYN out, sent again after 1 s and 2 s more, and no answer",
        ("accept-queue-full", "firewall", "wrong-address", "network-down"),
        "look at the cloud's accept queue (ss -lnt, somaxconn) and lower the rate to see whether it recovers",
    ),
    (Stage.NONCE, Reason.CLOSED): Ending(
        "the cloud accepted and closed without a byte",
        "a load balancer has no cloud behind it, or the cloud is at its limit of connections",
        "FIN from the cloud before any byte",
        ("no-backend", "connection-limit", "cloud-crashed", "not-this-protocol"),
        "check that a cloud of this protocol stands behind the address and what limit it has",
    ),
    (Stage.NONCE, Reason.SHORT): Ending(
        "the cloud closed within the 40 bytes of the nonce",
        "something else than this protocol listens there (a greeting of another service)",
        "fewer than 40 bytes, then FIN from the cloud",
        ("not-this-protocol", "cloud-crashed"),
        "check that the port belongs to the device service",
    ),
    (Stage.NONCE, Reason.TIMEOUT): Ending(
        "the cloud accepted but sent no complete nonce in time",
        _BEHIND,
        "the connection stands; fewer than 40 bytes from the cloud",
        ("cloud-overloaded", "not-this-protocol", "connection-limit", "firewall"),
        "check that the port belongs to the device service, then look at the cloud's load",
    ),
    (Stage.NONCE, Reason.RESET): Ending(
        "the connection was reset before the nonce was complete",
        _BEHIND,
        "RST from the cloud, or from a box on the way",
        ("cloud-overloaded", "firewall", "cloud-crashed", "connection-limit"),
        "look at the cloud's log and at the firewalls and load balancers on the way",
    ),
    (Stage.KEY, Reason.CLOSED): Ending(
        "the cloud closed the connection instead of sending the key",
        "within a round trip: it rejected the device (wrong server key here, unknown device, other key on record)",
        "the 256 bytes out, then FIN from the cloud; no error byte ever says why",
        (
            "wrong-server-key",
            "unknown-device",
            "other-key-on-record",
            "cloud-cannot-decrypt",
            "split-ciphertext",
            "address-erased",
            "blank-server-key",
            "cloud-time-limit",
            "proxy-idle-limit",
            "cloud-crashed",
        ),
        "compare the server key given here with the cloud's, and export the fleet's public keys to the cloud",
    ),
    (Stage.KEY, Reason.SHORT): Ending(
        "the cloud closed within the 384 bytes of the key",
        _CRASH,
        "fewer than 384 bytes, then FIN from the cloud",
        ("cloud-crashed", "proxy-idle-limit"),
        _SEE_LOG,
    ),
    (Stage.KEY, Reason.TIMEOUT): Ending(
        "the key did not come in time",
        _BEHIND,
        "the 256 bytes out and acknowledged; nothing, or fewer than 384 bytes, back",
        ("cloud-overloaded", "not-this-protocol", "firewall", "network-down"),
        "lower the rate: if the timeouts vanish, the cloud is past its capacity",
    ),
    (Stage.KEY, Reason.RESET): Ending(
        "the connection was reset while the key was awaited",
        "the cloud rejects with a reset instead of a close",
        "the 256 bytes out, then RST",
        (
            "cloud-crashed",
            "firewall",
            "wrong-server-key",
            "unknown-device",
            "other-key-on-record",
        ),
        _SEE_LOG,
    ),
    (Stage.KEY, Reason.BAD_FRAME): Ending(
        "the cloud sent thousands of bytes before the device had answered the nonce",
        "something else than this protocol listens there",
        "a stream of bytes from the cloud from the start",
        ("not-this-protocol",),
        "check that the port belongs to the device service",
    ),
    (Stage.UNWRAP, Reason.BAD_KEY): Ending(
        "the device cannot decrypt the session key",
        "the cloud encrypted it to another public key: an old or a foreign one is on record for this device",
        "384 bytes from the cloud, then FIN from the device, which sends no Hello",
        ("old-key-used", "misread-private-key", "damaged-private-key"),
        "export this fleet's public keys again and give them to the cloud",
    ),
    (Stage.UNWRAP, Reason.BAD_SIGNATURE): Ending(
        "the cloud's signature over the session key is wrong",
        "the cloud signs with DigestInfo, another hash or PSS instead of the bare 20-byte HMAC",
        "384 bytes from the cloud, then FIN from the device, which sends no Hello",
        ("signs-wrongly", "two-server-keys"),
        "check the cloud's signing: RSA PKCS#1 v1.5 type 1 over the bare HMAC-SHA1, with the key that the devices have",
    ),
    (Stage.HELLO, Reason.CLOSED): Ending(
        "the cloud closed the connection instead of its Hello",
        "it could not read the device's Hello (session key or IV differ)",
        "the device's frame out, then FIN from the cloud",
        ("session-key-differs", "same-id-twice", "cloud-time-limit", "cloud-crashed"),
        _SEE_LOG,
    ),
    (Stage.HELLO, Reason.SHORT): Ending(
        "the cloud closed within a message before its Hello",
        _CRASH,
        "part of a frame, then FIN from the cloud",
        ("cloud-crashed",),
        _SEE_LOG,
    ),
    (Stage.HELLO, Reason.TIMEOUT): Ending(
        "the cloud's Hello did not come in time",
        _BEHIND,
        "the device's frame out and acknowledged; no frame back",
        ("cloud-overloaded", "slow-hello", "session-key-differs"),
        "lower the rate: if the timeouts vanish, the cloud is past its capacity for the time a device waits here",
    ),
    (Stage.HELLO, Reason.RESET): Ending(
        "the connection was reset while the cloud's Hello was awaited",
        _CRASH,
        "the device's frame out, then RST",
        ("cloud-crashed", "firewall"),
        _SEE_LOG,
    ),
    (Stage.HELLO, Reason.BAD_FRAME): Ending(
        "the cloud's first frame has a wrong length or padding",
        "the cloud uses another session key or IV than it sent",
        "a frame whose length is no multiple of 16 or too large, or whose padding is wrong after decryption",
        ("session-key-differs", "bad-framing"),
        "check the cloud's framing: two bytes of length, then AES-128-CBC with PKCS#7 padding",
    ),
    (Stage.HELLO, Reason.BAD_HELLO): Ending(
        "the cloud's first message decrypts, but is neither its Hello nor anything that may precede it",
        "the cloud answered the device's Hello with a code (an acknowledgement must be empty)",
        "a frame from the cloud that is no POST with path h",
        ("coded-acknowledgement", "not-a-hello", "session-key-differs", "missing-token"),
        "check what the cloud sends first: CON or NON, POST, path h",
    ),
    **{(stage, Reason.UNREACHABLE): _UNREACHABLE for stage in (Stage.NONCE, Stage.KEY, Stage.HELLO)},
    **{
        (stage, Reason.LOCAL_RESOURCE): _LOCAL
        for stage in (Stage.CONNECT, Stage.NONCE, Stage.ENCRYPT, Stage.KEY, Stage.UNWRAP, Stage.HELLO)
    },
}
"""Ends of a handshake."""

SESSION_ENDING_TABLE: Final[dict[Reason, Ending]] = {
    Reason.CLOSED: Ending(
        "the cloud closed the session",
        "another connection with the same device id replaced this one",
        "FIN from the cloud between two frames",
        (
            "same-id-twice",
            "describe-missing",
            "attributes-missing",
            "idle-limit",
            "message-id",
            "cloud-crashed",
            "proxy-idle-limit",
        ),
        _SEE_LOG,
    ),
    Reason.SHORT: Ending(
        "the cloud closed the session within a message",
        _CRASH,
        "part of a frame, then FIN from the cloud",
        ("cloud-crashed",),
        _SEE_LOG,
    ),
    Reason.RESET: Ending(
        "the session was reset",
        _CRASH,
        "RST from the cloud, or from a box on the way",
        ("cloud-crashed", "firewall", "proxy-idle-limit"),
        _SEE_LOG,
    ),
    Reason.TIMEOUT: Ending(
        "the network gave the session up",
        "the cloud's machine or the path to it went away without a sign",
        "the device's segments, sent again and again, and no acknowledgement",
        ("network-down", "firewall"),
        "check the path to the cloud at the time of the failure",
    ),
    Reason.UNREACHABLE: _UNREACHABLE,
    Reason.PING_TIMEOUT: Ending(
        "the device's keep-alive ping was not answered",
        "the cloud has lost the session (wrong IV rule, a stalled stream) but keeps the socket open",
        "a frame of 18 bytes out after 15 s of silence, nothing back for 10 s, then FIN from the device",
        ("stalled-session", "wrong-iv-rule", "cloud-overloaded", "network-down"),
        "check that the cloud answers an empty CON with 60 00 and the same id",
    ),
    Reason.BAD_FRAME: Ending(
        "a frame of the session has a wrong length or padding",
        "the cloud's frames got out of step, or it chains its IVs with another rule",
        "a frame whose length is wrong, or whose padding is wrong after decryption, then FIN from the device",
        ("bad-framing", "wrong-iv-rule", "message-too-large"),
        "check the IV rule: the first 16 bytes of the previous ciphertext of the same direction",
    ),
    Reason.BAD_HELLO: Ending(
        "the cloud sent a message that the firmware cannot classify and closes the session over",
        "an acknowledgement with a code (2.04, 4.00) instead of an empty one",
        "a frame from the cloud, then FIN from the device",
        ("coded-acknowledgement", "wrong-iv-rule", "missing-token"),
        "acknowledge with empty messages only, and check the IV rule",
    ),
    Reason.LOCAL_RESOURCE: _LOCAL,
}
"""Ends of a session."""
