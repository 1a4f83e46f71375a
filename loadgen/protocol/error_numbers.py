"""Every number that a P1's firmware prints about its connection to the cloud: whose it is, and what it stands for.

One number means different things in different tables and versions: 19 is a send error of the protocol, -19 a
connection that the other side has closed, and `code=` in "Cloud handshake failed" is of another table in each of
four generations. Sources: Device OS v0.4.0 … v3.3.1 ``communication/inc/protocol_defs.h`` and
``communication/src/protocol_defs.cpp`` (the values are the compiler's: the comments in the header are one off from
21 on), ``hal/src/photon/include/wiced_result.h``, ``hal/src/photon/socket_hal.cpp``, ``system/src/system_task.cpp``;
``rsa.h`` of tropicssl and mbedTLS. System errors stand in :mod:`loadgen.protocol.system_errors`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple

from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.protocol.versions import Version


class Table(StrEnum):
    """Whose number it is."""

    RESULT = "SparkProtocol result"
    PROTOCOL = "ProtocolError"
    WICED = "wiced_result_t"
    SYSTEM = "system_error_t"
    LIBRARY = "RSA library"
    BLINKS = "orange blinks"
    KEY_ERROR = "key error mask"


FIRST: Final = Version.parse("0.4.0")
STRICT: Final = Version.parse("0.4.8-rc.2")
"""From here on: 6 and 8 instead of 1 and 2, and a Hello that must come."""
MBEDTLS: Final = Version.parse("0.7.0-rc.1")
LIGHTSSL: Final = Version.parse("0.8.0-rc.1")
TOKENS: Final = Version.parse("1.5.0-rc.1")
"""From here on: a request must have a token, and a variable is answered by a message of its own."""
SYSTEM_CODES: Final = Version.parse("2.0.0-rc.1")
"""From here on the code of a failed handshake is a system error."""
END: Final = Version(4, 0, 0, 0)
"""P1 and Photon end with 3.3.1."""

End = tuple[Stage | None, Reason]
"""Stage and reason; without a stage, of the session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceCode:
    """One number of one table."""

    table: Table
    value: int
    """As it is printed: WICED results negated."""
    name: str
    """The constant; empty where the source has a bare number."""
    meaning: str
    """On the device, a sentence without a full stop."""
    since: Version | None = FIRST
    """First version that has it; None where that is not known."""
    before: Version = END
    ends: tuple[End, ...] = ()
    """What a device's connection ends with when it prints this."""
    causes: tuple[str, ...] = ()
    """Causes beside those of the ends."""


class Print(NamedTuple):
    """Which numbers a log line carries."""

    event: str
    """A :class:`loadgen.protocol.firmware_log.LogEvent`."""
    table: Table
    stages: tuple[Stage | None, ...]
    """Where the line can come up; None is the session."""
    since: Version
    before: Version
    only: frozenset[int] = frozenset()
    """The only values possible; empty for the whole table."""
    never: frozenset[int] = frozenset()
    """Values of the table that cannot come up here."""


_HANDSHAKE: Final = (Stage.NONCE, Stage.ENCRYPT, Stage.KEY, Stage.UNWRAP, Stage.HELLO)
_T = Table
_KEYS_ONLY: Final = frozenset({6, 7, 8, 25, 26})
"""Protocol errors of the exchange of keys, which is over when a message is sent or received
(``LightSSLMessageChannel::handshake`` and ``set_key``)."""

PRINTS: Final[tuple[Print, ...]] = (
    Print("connect_failed", _T.WICED, (Stage.CONNECT,), FIRST, END),
    Print("socket_failed", _T.WICED, (Stage.CONNECT,), FIRST, END),
    Print("cloud_error", _T.BLINKS, (Stage.CONNECT,), FIRST, END),
    Print("nonce_failed", _T.RESULT, (Stage.NONCE,), FIRST, END, frozenset({-1})),
    Print("nonce_failed", _T.WICED, (Stage.NONCE,), FIRST, END),
    Print("encrypt_failed", _T.LIBRARY, (Stage.ENCRYPT,), FIRST, END),
    Print("key_failed", _T.RESULT, (Stage.KEY,), FIRST, END, frozenset({-1})),
    Print("key_failed", _T.WICED, (Stage.KEY,), FIRST, END),
    Print("decrypt_failed", _T.LIBRARY, (Stage.UNWRAP,), LIGHTSSL, END),
    Print("signature_failed", _T.LIBRARY, (Stage.UNWRAP,), LIGHTSSL, END),
    Print("set_key_failed", _T.PROTOCOL, (Stage.UNWRAP,), LIGHTSSL, END, frozenset({6, 8})),
    Print("send_hello_failed", _T.RESULT, (Stage.HELLO,), FIRST, LIGHTSSL, frozenset({-1})),
    Print("send_hello_failed", _T.WICED, (Stage.HELLO,), FIRST, LIGHTSSL),
    Print("send_hello_failed", _T.PROTOCOL, (Stage.HELLO,), LIGHTSSL, END, frozenset({22})),
    Print("hello_failed", _T.PROTOCOL, (Stage.HELLO,), LIGHTSSL, END, never=_KEYS_ONLY),
    Print("receive_error", _T.RESULT, (Stage.HELLO, None), FIRST, END, frozenset({-1})),
    Print("receive_error", _T.WICED, (Stage.HELLO, None), FIRST, END),
    Print("send_error", _T.RESULT, (Stage.HELLO, None), LIGHTSSL, END, frozenset({-1})),
    Print("send_error", _T.WICED, (Stage.HELLO, None), LIGHTSSL, END),
    Print("message_failed", _T.PROTOCOL, (Stage.HELLO, None), LIGHTSSL, END, never=_KEYS_ONLY),
    Print("loop_error", _T.PROTOCOL, (None,), LIGHTSSL, END, never=_KEYS_ONLY),
    Print("protocol_failed", _T.PROTOCOL, _HANDSHAKE, LIGHTSSL, END),
    Print("handshake_failed", _T.RESULT, _HANDSHAKE, FIRST, STRICT),
    Print("handshake_failed", _T.RESULT, _HANDSHAKE, STRICT, LIGHTSSL, frozenset({-1})),
    Print("handshake_failed", _T.WICED, _HANDSHAKE, FIRST, LIGHTSSL),
    Print("handshake_failed", _T.LIBRARY, (Stage.ENCRYPT,), FIRST, LIGHTSSL),
    Print("handshake_failed", _T.PROTOCOL, (Stage.UNWRAP,), STRICT, LIGHTSSL, frozenset({6, 8})),
    Print("handshake_failed", _T.PROTOCOL, _HANDSHAKE, LIGHTSSL, SYSTEM_CODES),
    Print("handshake_failed", _T.SYSTEM, _HANDSHAKE, SYSTEM_CODES, END),
    # The one exception: the connection dies in the loop right after the handshake.
    Print("handshake_failed", _T.PROTOCOL, (None,), SYSTEM_CODES, END, frozenset({10})),
    Print("key_error", _T.KEY_ERROR, (None,), MBEDTLS, END),
)
"""What a P1 prints, oldest first where a line has changed its table."""

_RECEIVES: Final = (Stage.NONCE, Stage.KEY)
_WITHOUT: Final = (Reason.CLOSED, Reason.SHORT, Reason.TIMEOUT, Reason.RESET, Reason.UNREACHABLE)


def _ends(stages: Iterable[Stage | None], *reasons: Reason) -> tuple[End, ...]:
    return tuple((stage, reason) for stage in stages for reason in reasons)


# --- SparkProtocol's own results, and two counters

_RESULTS: Final = (
    DeviceCode(
        table=Table.RESULT,
        value=-1,
        name="",
        meaning="the time was over, or the socket was already dead: a bare -1 in the source, told apart by its moment "
        "(20 s, for Hello 2 s: time over; at once: reset, or the socket was closed before)",
        ends=(
            *_ends(_RECEIVES, Reason.TIMEOUT, Reason.RESET, Reason.UNREACHABLE),
            *_ends((Stage.HELLO,), *_WITHOUT, Reason.BAD_FRAME, Reason.BAD_HELLO),
            (None, Reason.RESET),
        ),
    ),
    DeviceCode(
        table=Table.RESULT,
        value=1,
        name="",
        meaning="the session key could not be decrypted; later versions say 6",
        before=STRICT,
        ends=((Stage.UNWRAP, Reason.BAD_KEY),),
    ),
    DeviceCode(
        table=Table.RESULT,
        value=2,
        name="",
        meaning="the signature over the session key is wrong; later versions say 8",
        before=STRICT,
        ends=((Stage.UNWRAP, Reason.BAD_SIGNATURE),),
    ),
    DeviceCode(
        table=Table.BLINKS,
        value=2,
        name="",
        meaning="no Internet: the cloud was not reached, and a test address was not either (8.8.8.8 port 53; from 2.0 "
        "a time server); so many orange blinks",
        since=Version.parse("0.6.0"),
        ends=_ends((Stage.CONNECT,), Reason.UNREACHABLE, Reason.TIMEOUT),
        causes=("network-down", "firewall"),
    ),
    DeviceCode(
        table=Table.BLINKS,
        value=3,
        name="",
        meaning="Internet, but no cloud: a test address was reached and the cloud was not; so many orange blinks",
        since=Version.parse("0.6.0"),
        ends=_ends((Stage.CONNECT,), Reason.REFUSED, Reason.TIMEOUT),
        causes=("wrong-address", "name-not-resolved"),
    ),
    DeviceCode(
        table=Table.KEY_ERROR,
        value=1,
        name="",
        meaning="the server key in flash is erased and the built-in one is used, at every start",
        since=MBEDTLS,
        causes=("blank-server-key",),
    ),
    DeviceCode(
        table=Table.KEY_ERROR,
        value=4,
        name="",
        meaning="the server address in flash is erased and the built-in one is used, at every connection",
        since=MBEDTLS,
        causes=("address-erased",),
    ),
    DeviceCode(
        table=Table.KEY_ERROR,
        value=5,
        name="",
        meaning="server key and server address in flash are both erased; the built-in ones are used",
        since=MBEDTLS,
        causes=("blank-server-key", "address-erased"),
    ),
)

# --- ProtocolError

_V06: Final = Version.parse("0.6.0")
_DTLS: Final = ("other-transport",)
_OFF_BY_ONE: Final = "; tables copied from the header's comments call it {less}"


def _protocol(  # noqa: PLR0917 - the rows of a table
    value: int, name: str, since: Version, meaning: str, ends: tuple[End, ...] = (), causes: tuple[str, ...] = ()
) -> DeviceCode:
    if 22 <= value <= 26:
        meaning += _OFF_BY_ONE.format(less=value - 1)
    return DeviceCode(
        table=Table.PROTOCOL, value=value, name=name, meaning=meaning, since=since, ends=ends, causes=causes
    )


_HELLO_RECEIVE: Final = _ends((Stage.HELLO,), Reason.CLOSED, Reason.SHORT, Reason.RESET, Reason.UNREACHABLE)
_SESSION_RECEIVE: Final = _ends((None,), *_WITHOUT)

_PROTOCOL: Final = (
    _protocol(0, "NO_ERROR", STRICT, "nothing is wrong", (), ("wrong-use",)),
    _protocol(1, "PING_TIMEOUT", STRICT, "a ping was not answered within 10 s", ((None, Reason.PING_TIMEOUT),)),
    _protocol(2, "IO_ERROR", STRICT, "sending or receiving failed, without more detail (later IO_ERROR_GENERIC)",
              _SESSION_RECEIVE),
    _protocol(3, "INVALID_STATE", STRICT, "something was asked for that does not go at this moment",
              (), ("wrong-use", "firmware-fault")),
    _protocol(4, "INSUFFICIENT_STORAGE", STRICT, "a message is larger than the buffer; the session is closed",
              ((Stage.HELLO, Reason.BAD_FRAME), (None, Reason.BAD_FRAME)), ("message-too-large",)),
    _protocol(5, "MALFORMED_MESSAGE", STRICT, "a message cannot be taken apart",
              (*_ends((Stage.HELLO,), Reason.BAD_FRAME, Reason.BAD_HELLO), (None, Reason.BAD_FRAME))),
    _protocol(6, "DECRYPTION_ERROR", STRICT, "the 128 bytes of the session key could not be decrypted",
              ((Stage.UNWRAP, Reason.BAD_KEY),)),
    _protocol(7, "ENCRYPTION_ERROR", STRICT, "encrypting the nonce with the server key failed",
              (), ("firmware-fault", "device-memory")),
    _protocol(8, "AUTHENTICATION_ERROR", STRICT, "the signature over the session key is wrong; a wrong server key "
              "shows "
              "as a close (-19) instead, since the cloud cannot read what it is sent",
              ((Stage.UNWRAP, Reason.BAD_SIGNATURE),)),
    _protocol(9, "BANDWIDTH_EXCEEDED", STRICT, "an event was refused: more than the firmware allows in a second",
              (), ("event-rate",)),
    _protocol(10, "MESSAGE_TIMEOUT", STRICT, "an awaited message did not come: the cloud's Hello within 4 s; from "
              "2.0, as "
              "a positive code, the connection died right after the handshake", ((Stage.HELLO, Reason.TIMEOUT),)),
    _protocol(11, "MISSING_MESSAGE_ID", STRICT, "a message that must have an id has none", (), ("firmware-fault",)),
    _protocol(12, "MESSAGE_RESET", STRICT, "the other side refused a message (CoAP RST)", (), ("message-id",)),
    _protocol(13, "SESSION_RESUMED", STRICT, "a DTLS session was taken up again; no error", (), _DTLS),
    _protocol(14, "IO_ERROR_FORWARD_MESSAGE_CHANNEL", _V06, "a channel handed on the error of the one below it",
              _SESSION_RECEIVE),
    _protocol(15, "IO_ERROR_SET_DATA_MAX_EXCEEDED", _V06, "a message is larger than the channel allows",
              (), ("message-too-large",)),
    _protocol(16, "IO_ERROR_PARSING_SERVER_PUBLIC_KEY", _V06, "the server key for DTLS cannot be read", (), _DTLS),
    _protocol(17, "IO_ERROR_GENERIC_ESTABLISH", _V06, "the session could not be established, without more detail",
              _ends(_RECEIVES, Reason.CLOSED, Reason.TIMEOUT)),
    _protocol(18, "IO_ERROR_GENERIC_RECEIVE", _V06, "receiving failed, without more detail", _SESSION_RECEIVE),
    _protocol(19, "IO_ERROR_GENERIC_SEND", _V06, "sending failed, without more detail", ((None, Reason.RESET),)),
    _protocol(20, "IO_ERROR_GENERIC_MBEDTLS_SSL_WRITE", _V06, "writing to the DTLS session failed", (), _DTLS),
    _protocol(21, "IO_ERROR_DISCARD_SESSION", _V06, "the DTLS session was thrown away", (), _DTLS),
    _protocol(22, "IO_ERROR_LIGHTSSL_BLOCKING_SEND", LIGHTSSL, "a frame could not be sent within 20 s",
              (*_ends((Stage.HELLO,), Reason.RESET, Reason.UNREACHABLE), (None, Reason.RESET))),
    _protocol(23, "IO_ERROR_LIGHTSSL_BLOCKING_RECEIVE", LIGHTSSL, "the body of a frame did not come after its length",
              ((Stage.HELLO, Reason.SHORT), (None, Reason.SHORT))),
    _protocol(24, "IO_ERROR_LIGHTSSL_RECEIVE", LIGHTSSL, "the length of a frame could not be read: the cloud has "
              "closed",
              (*_HELLO_RECEIVE, *_SESSION_RECEIVE)),
    _protocol(25, "IO_ERROR_LIGHTSSL_HANDSHAKE_NONCE", LIGHTSSL, "the 40 bytes of the nonce did not come; the line "
              "before "
              "has the socket's code", _ends((Stage.NONCE,), *_WITHOUT)),
    _protocol(26, "IO_ERROR_LIGHTSSL_HANDSHAKE_RECV_KEY", LIGHTSSL, "the 384 bytes of the key did not come; the line "
              "before has the socket's code", _ends((Stage.KEY,), *_WITHOUT)),
    _protocol(27, "NOT_IMPLEMENTED", TOKENS, "this build has no such function", (), ("wrong-use",)),
    _protocol(28, "MISSING_REQUEST_TOKEN", TOKENS, "a function call or variable request came without a token; the "
              "session "
              "is closed", _ends((Stage.HELLO, None), Reason.BAD_HELLO), ("missing-token",)),
    _protocol(29, "NOT_FOUND", TOKENS, "there is no such function or variable", (), ("wrong-use",)),
    _protocol(30, "NO_MEMORY", TOKENS, "memory ran out", (), ("device-memory",)),
    _protocol(31, "INTERNAL", SYSTEM_CODES, "the firmware met something that it did not expect", (),
              ("firmware-fault",)),
    _protocol(32, "OTA_UPDATE_ERROR", SYSTEM_CODES, "an update over the air failed", (), ("firmware-fault",)),
    _protocol(33, "IO_ERROR_SOCKET_SEND_FAILED", SYSTEM_CODES, "the socket refused to send", ((None, Reason.RESET),)),
    _protocol(34, "IO_ERROR_SOCKET_RECV_FAILED", SYSTEM_CODES, "the socket refused to receive", ((None,
              Reason.RESET),)),
    _protocol(35, "IO_ERROR_REMOTE_END_CLOSED", SYSTEM_CODES, "the cloud has closed the connection",
              ((None, Reason.CLOSED),), ("cloud-crashed", "cloud-time-limit")),
    _protocol(0x7FFFF, "UNKNOWN", STRICT, "no code was set", (), ("firmware-fault",)),
)  # fmt: skip

TO_SYSTEM: Final[dict[int, int]] = {
    **dict.fromkeys((2, *range(14, 27), 33, 34), -220),
    **dict.fromkeys((5, 6, 7, 11, 12, 13, 28, 0x7FFFF), -240),
    0: 0, 1: -160, 3: -210, 4: -190, 8: -130, 9: -200, 10: -160, 27: -120, 29: -170, 30: -260, 31: -250, 32: -1390,
    35: -201,
}  # fmt: skip
"""``toSystemError`` of 2.0 and later: protocol error → system error."""

# --- WICED

_CONNECTS: Final = ((Stage.CONNECT, Reason.TIMEOUT), (Stage.CONNECT, Reason.UNREACHABLE))
_RADIO: Final = ("device-radio", "network-down")


def _wiced(value: int, name: str, meaning: str, ends: tuple[End, ...] = (), causes: tuple[str, ...] = ()) -> DeviceCode:
    return DeviceCode(table=Table.WICED, value=-value, name=f"WICED_{name}", meaning=meaning, ends=ends, causes=causes)


_WICED: Final = (
    _wiced(0, "SUCCESS", "nothing is wrong; a receive gives the number of bytes instead", (), ("wrong-use",)),
    _wiced(1, "PENDING", "the operation goes on (lwIP: in progress)", (), _RADIO),
    _wiced(2, "TIMEOUT", "the time is over; a receive never shows it, it goes on instead: seen at connecting only",
           _CONNECTS),
    _wiced(3, "PARTIAL_RESULTS", "only a part was done", (), ("firmware-fault",)),
    _wiced(4, "ERROR", "failed, without more detail", (), _RADIO),
    _wiced(5, "BADARG", "a wrong argument", (), ("firmware-fault", "wrong-use")),
    _wiced(6, "BADOPTION", "a mode that is not supported", (), ("firmware-fault",)),
    _wiced(7, "UNSUPPORTED", "a function that is not supported", (), ("firmware-fault",)),
    _wiced(8, "OUT_OF_HEAP_SPACE", "memory ran out (lwIP: no memory)", (), ("device-memory",)),
    _wiced(9, "NOTUP", "the network interface is not up", (), _RADIO),
    _wiced(10, "UNFINISHED", "the operation is not finished", (), ("firmware-fault",)),
    _wiced(11, "CONNECTION_LOST", "the connection was lost", (), _RADIO),
    _wiced(12, "NOT_FOUND", "not found, such as a name or an address", (), ("name-not-resolved", "wrong-address")),
    _wiced(13, "PACKET_BUFFER_CORRUPT", "a packet buffer is damaged (lwIP: no buffer)", (), ("device-memory",
           "firmware-fault")),
    _wiced(14, "ROUTING_ERROR", "there is no route", ((Stage.CONNECT, Reason.UNREACHABLE),), ("network-down",)),
    _wiced(15, "BADVALUE", "a wrong value", (), ("firmware-fault",)),
    _wiced(16, "WOULD_BLOCK", "nothing to do at this moment", (), ("firmware-fault",)),
    _wiced(17, "ABORTED", "the connection was given up: no answer to what was sent, or the application closed it",
           (), ("device-radio", "network-down", "wrong-use")),
    _wiced(18, "CONNECTION_RESET", "the connection was reset (RST); at connecting, refused. During a receive it mostly "
           "shows as -1, since the socket is marked dead first",
           ((Stage.CONNECT, Reason.REFUSED), *_ends((*_RECEIVES, None), Reason.RESET))),
    _wiced(19, "CONNECTION_CLOSED", "the other side closed the connection (FIN). No timeout, which is -1 after 20 s, "
           "and "
           "no crypto error of the device. It is reported once; a second receive gives -1",
           (*_ends(_RECEIVES, Reason.CLOSED, Reason.SHORT), (None, Reason.CLOSED), (None, Reason.SHORT))),
    _wiced(20, "NOT_CONNECTED", "the socket has no connection", (), (*_RADIO, "wrong-use")),
    _wiced(21, "ADDRESS_IN_USE", "the local address is in use", (), ("wrong-use",)),
    _wiced(22, "NETWORK_INTERFACE_ERROR", "the network interface reported an error", (), _RADIO),
    _wiced(23, "ALREADY_CONNECTED", "the socket has a connection already", (), ("firmware-fault",)),
    _wiced(24, "INVALID_INTERFACE", "there is no such interface", (), ("firmware-fault",)),
    _wiced(25, "SOCKET_CREATE_FAIL", "no socket could be made", (), ("device-memory",)),
    _wiced(26, "INVALID_SOCKET", "the socket is not valid (any more)", (), ("wrong-use", "device-radio")),
    _wiced(27, "CORRUPT_PACKET_BUFFER", "a packet buffer is damaged", (), ("device-memory", "firmware-fault")),
    _wiced(28, "UNKNOWN_NETWORK_STACK_ERROR", "the network stack gave an error that WICED has no name for", (), _RADIO),
    _wiced(29, "NO_STORED_AP_IN_DCT", "the device has no Wi-Fi credentials", (), ("network-down",)),
    _wiced(30, "STA_JOIN_FAILED", "the access point could not be joined", (), _RADIO),
    _wiced(31, "PACKET_BUFFER_OVERFLOW", "a packet is larger than its buffer", (), ("device-memory",)),
    _wiced(32, "ALREADY_INITIALIZED", "a module was started twice", (), ("firmware-fault",)),
    _wiced(7008, "TCPIP_INVALID_PACKET", "a packet is not valid", (), ("firmware-fault",)),
    _wiced(7009, "TCPIP_INVALID_SOCKET", "the socket is not valid (any more)", (), ("wrong-use", "device-radio")),
    _wiced(7010, "TCPIP_WAIT_ABORTED", "a wait was given up", (), ("device-radio", "wrong-use")),
    _wiced(7011, "TCPIP_PORT_UNAVAILABLE", "no local port was free", (), ("wrong-use", "device-memory")),
    _wiced(7012, "TCPIP_IN_PROGRESS", "the operation goes on", (), ("firmware-fault",)),
    _wiced(7013, "TCPIP_IP_ADDRESS_IS_NOT_READY", "the device has no IP address yet", (), ("network-down",)),
    _wiced(7014, "TCPIP_SOCKET_CLOSED", "the socket is closed", (), ("device-radio", "wrong-use")),
)  # fmt: skip

# --- RSA libraries

_BAD_PRIVATE: Final = ("old-key-used", "misread-private-key", "damaged-private-key")
_RSA: Final = (
    ("BAD_INPUT_DATA", 0x0400, 0x4080, "an input is longer than the modulus, or not a number below it", _BAD_PRIVATE),
    ("INVALID_PADDING", 0x0410, 0x4100, "the padding is wrong after the RSA operation: another key than the data's",
     _BAD_PRIVATE),
    ("KEY_GEN_FAILED", 0x0420, 0x4180, "making a key failed", ("firmware-fault",)),
    ("KEY_CHECK_FAILED", 0x0430, 0x4200, "the key contradicts itself", ("damaged-private-key", "misread-private-key")),
    ("PUBLIC_FAILED", 0x0440, 0x4280, "the operation with the public key failed", ("firmware-fault", "device-memory")),
    ("PRIVATE_FAILED", 0x0450, 0x4300, "the operation with the private key failed",
     ("damaged-private-key", "misread-private-key", "device-memory")),
    ("VERIFY_FAILED", 0x0460, 0x4380, "the signature does not fit", ("signs-wrongly", "two-server-keys")),
    ("OUTPUT_TOO_LARGE", 0x0470, 0x4400, "the decrypted key is longer than 40 bytes", _BAD_PRIVATE),
    ("RNG_FAILED", None, 0x4480, "no random numbers could be had", ("firmware-fault",)),
)  # fmt: skip
_UNWRAP_ENDS: Final = {
    "BAD_INPUT_DATA": ((Stage.UNWRAP, Reason.BAD_KEY),),
    "INVALID_PADDING": ((Stage.UNWRAP, Reason.BAD_KEY), (Stage.UNWRAP, Reason.BAD_SIGNATURE)),
    "OUTPUT_TOO_LARGE": ((Stage.UNWRAP, Reason.BAD_KEY),),
    "VERIFY_FAILED": ((Stage.UNWRAP, Reason.BAD_SIGNATURE),),
}

_LIBRARY: Final = tuple(
    DeviceCode(
        table=Table.LIBRARY,
        value=-value,
        name=f"{prefix}_ERR_RSA_{name}",
        meaning=meaning,
        since=since,
        before=before,
        ends=_UNWRAP_ENDS.get(name, ()),
        causes=causes,
    )
    for name, tropic, mbed, meaning, causes in _RSA
    for prefix, value, since, before in (
        ("TROPICSSL", tropic, FIRST, MBEDTLS),
        ("MBEDTLS", mbed, MBEDTLS, END),
    )
    if value is not None
)

CONNECTION_CODES: Final[tuple[DeviceCode, ...]] = (*_RESULTS, *_PROTOCOL, *_WICED, *_LIBRARY)
"""Every number but the system errors."""
