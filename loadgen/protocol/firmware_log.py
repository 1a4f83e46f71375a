"""What firmware logs about its connection to the cloud: the shape of a line and its exact text, version by version.

The same table writes lines (a virtual device tells its story in the words of its firmware) and reads them (a
captured log is taken apart into events). Texts stand as in the sources, C conversions and spelling mistakes
included: "Hanshake", "recieved", "presense" must be matched. Sources: particle-iot/device-os at the tags from v0.4.0
to v3.3.1, ``communication/src/spark_protocol.cpp``, ``handshake.cpp``, ``lightssl_message_channel.cpp``,
``protocol.cpp``, ``system/src/system_task.cpp``, ``system_cloud_internal.cpp``; line formats:
``services/src/debug.c``, ``wiring/src/spark_wiring_logging.cpp``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from loadgen.protocol.versions import Version


class Level(StrEnum):
    """Level words; firmware to 0.5.5 pads them to five characters."""

    TRACE = "TRACE"
    DEBUG = "DEBUG"
    LOG = "LOG"
    INFO = "INFO"
    WARN = "WARN"
    ERROR = "ERROR"
    PANIC = "PANIC"


class LogEvent(StrEnum):
    """What a line tells, the same for all versions."""

    CONNECTING = "connecting"
    ADDRESS_IP = "address_ip"
    """Values: type, domain, four numbers of the address, port."""
    ADDRESS_NAME = "address_name"
    """Values: type, domain."""
    ADDRESS_DEFAULT = "address_default"
    """The server address in flash is blank. Value: its type, 255 where it is erased."""
    KEY_RESTORED = "key_restored"
    ADDRESS_RESTORED = "address_restored"
    RESOLVING = "resolving"
    """Value: host."""
    RESOLVED = "resolved"
    """Values: host, address."""
    NOT_RESOLVED = "not_resolved"
    """Value: host; from 1.1.0 also a code."""
    NO_SERVER_ADDRESS = "no_server_address"
    CONNECTION_ATTEMPT = "connection_attempt"
    """Values: address, port."""
    CONNECTED = "connected"
    """Values: four numbers of the address and port; from 1.1.0 address and port."""
    CONNECT_FAILED = "connect_failed"
    """Values: as for ``connected``, then a code."""
    SOCKET_CONNECTED = "socket_connected"
    SOCKET_FAILED = "socket_failed"
    """Value: code."""
    HANDSHAKE_BEGUN = "handshake_begun"
    """Value: 1 where the device announces itself on the network (TCP), else 0."""
    SECURE_BEGUN = "secure_begun"
    NONCE = "nonce"
    NONCE_FAILED = "nonce_failed"
    """Value: code."""
    ENCRYPT = "encrypt"
    ENCRYPT_FAILED = "encrypt_failed"
    """Value: code."""
    SEND_NONCE = "send_nonce"
    KEY = "key"
    KEY_FAILED = "key_failed"
    """Value: code."""
    SET_KEY = "set_key"
    DECRYPT_FAILED = "decrypt_failed"
    """Value: code of the crypto library."""
    SIGNATURE_FAILED = "signature_failed"
    """Value: code of the crypto library."""
    SET_KEY_FAILED = "set_key_failed"
    """Value: code from 0.8.0; before it, whatever stood in the register: the source passes no argument."""
    KEY_DONE = "key_done"
    SEND_HELLO = "send_hello"
    SEND_HELLO_FAILED = "send_hello_failed"
    """Value: code."""
    HELLO = "hello"
    HELLO_FAILED = "hello_failed"
    """Value: code from 0.8.0, none before."""
    HANDSHAKE_DONE = "handshake_done"
    PROTOCOL_FAILED = "protocol_failed"
    """The protocol's own summary. Value: code."""
    CLAIM_CODE = "claim_code"
    """Value from 1.1.0: the claim code itself."""
    MAX_BINARY = "max_binary"
    OTA_CHUNK_SIZE = "ota_chunk_size"
    SAFE_MODE = "safe_mode"
    LAST_RESET = "last_reset"
    SUBSCRIPTIONS = "subscriptions"
    KEY_ERROR = "key_error"
    """Value: decimal bit mask as text."""
    HANDSHAKE_FAILED = "handshake_failed"
    """Value: the code that a failure is known by."""
    CLOUD_CONNECTED = "cloud_connected"
    SESSION_ENDED = "session_ended"
    DISCONNECTING = "disconnecting"
    DISCONNECTED = "disconnected"
    INACTIVE = "inactive"
    """Values: two times in ms."""
    NETWORK_RESET = "network_reset"
    """Value: failed attempts in a row; from 2.0 minutes of failures."""
    INTERNET_FAILED = "internet_failed"
    """Value from 2.0: what failed."""
    CLOUD_UNREACHABLE = "cloud_unreachable"
    CLOUD_ERROR = "cloud_error"
    """Value: number of orange blinks, 2 (no Internet) or 3 (no cloud)."""
    UNKNOWN_MESSAGE = "unknown_message"
    RECEIVE_ERROR = "receive_error"
    """Value: code of the socket."""
    RECEIVE_TIMEOUT = "receive_timeout"
    SEND_ERROR = "send_error"
    """Value: code of the socket."""
    SEND_TIMEOUT = "send_timeout"
    NO_PONG = "no_pong"
    WAITING = "waiting"
    """Values: seconds, message type."""
    RECEIVED = "received"
    """Value: message type."""
    MESSAGE_FAILED = "message_failed"
    """Values: message type, code."""
    LOOP_ERROR = "loop_error"
    """Value: code."""
    DESCRIBE = "describe"
    """Values: three texts, ``S``, ``A`` and ``M`` or empty; two before 0.8.0."""
    TIME_REQUEST = "time_request"
    TIME_RESPONSE = "time_response"
    """Value: seconds since 1970."""


class Place(NamedTuple):
    """Where a line comes from; firmware to 0.5.5 prints it in front of the text."""

    function: str
    """The compiler's pretty name."""
    file: str
    line: int
    """Moves with every release; 0 where it is not known."""


class LogText(NamedTuple):
    """One text in the source of some versions."""

    event: LogEvent
    level: Level
    category: str
    """Printed from 0.6.0."""
    text: str
    """With the conversions of C's printf."""
    since: Version
    before: Version
    """First version without it."""


_LAST: Final = Version(4, 0, 0, 0)
_CATEGORIES: Final = Version(0, 6, 0, 0)
_E, _L = LogEvent, Level
_SYSTEM: Final = "system"
_PROTOCOL: Final = "comm.protocol"
_PROTOCOL_HANDSHAKE: Final = "comm.protocol.handshake"
_SPARK: Final = "comm.sparkprotocol"
_SPARK_HANDSHAKE: Final = "comm.sparkprotocol.handshake"
_LIGHT: Final = "comm.lightssl"
_LIGHT_HANDSHAKE: Final = "comm.lightssl.handshake"


def _rows(category: str, since: str, before: str, *texts: tuple[LogEvent, Level, str]) -> list[LogText]:
    """Texts of one category and one range of versions: from ``since`` to the one before ``before``."""
    first = Version.parse(since)
    end = Version.parse(before) if before else _LAST
    return [LogText(event, level, category, text, first, end) for event, level, text in texts]


_CONNECTION: Final = [
    *_rows(
        _SYSTEM, "0.4.7", "",
        (_E.CONNECTING, _L.INFO, "Cloud: connecting"),
        (_E.SOCKET_CONNECTED, _L.INFO, "Cloud socket connected"),
        (_E.SOCKET_FAILED, _L.WARN, "Cloud socket connection failed: %d"),
        (_E.HANDSHAKE_FAILED, _L.WARN, "Cloud handshake failed, code=%d"),
        (_E.CLOUD_CONNECTED, _L.INFO, "Cloud connected"),
        (_E.DISCONNECTING, _L.INFO, "Cloud: disconnecting"),
        (_E.DISCONNECTED, _L.INFO, "Cloud: disconnected"),
    ),
    *_rows(
        _SYSTEM, "0.4.7", "1.1.0-rc.1",
        (_E.RESOLVED, _L.INFO, "Resolved host %s to %s"),
        (_E.NOT_RESOLVED, _L.ERROR, "Cloud: unable to resolve IP for %s"),
        (_E.CONNECTED, _L.INFO, "connected to cloud %d.%d.%d.%d:%d"),
        (_E.CONNECT_FAILED, _L.ERROR, "connection failed to %d.%d.%d.%d:%d, code=%d"),
    ),
    *_rows(
        _SYSTEM, "1.1.0-rc.1", "",
        (_E.RESOLVING, _L.TRACE, "Resolving %s"),
        (_E.RESOLVED, _L.INFO, "Resolved %s to %s"),
        (_E.NOT_RESOLVED, _L.ERROR, "Unable to resolve IP for %s (%d)"),
        (_E.NO_SERVER_ADDRESS, _L.ERROR, "Failed to determine server address"),
        (_E.CONNECTION_ATTEMPT, _L.TRACE, "Connection attempt to %s:%u"),
        (_E.CONNECTED, _L.ERROR, "Connected to %s:%u"),  # the firmware's level for this success
        (_E.CONNECT_FAILED, _L.ERROR, "Failed to connect to %s:%u (%d)"),
    ),
    *_rows(
        _SYSTEM, "0.6.2", "",
        (_E.ADDRESS_IP, _L.INFO, "Read Server Address = type:%d,domain:%s,ip: %d.%d.%d.%d, port: %d"),
        (_E.ADDRESS_NAME, _L.INFO, "Read Server Address = type:%d,domain:%s"),
        (_E.ADDRESS_DEFAULT, _L.WARN, "Read Server Address = type:%d,defaulting to device.spark.io"),
    ),
    *_rows(
        _SYSTEM, "0.7.0-rc.1", "",
        (_E.KEY_RESTORED, _L.WARN, "Public Server Key was blank, restoring."),
        (_E.ADDRESS_RESTORED, _L.WARN, "Public Server Address was blank, restoring."),
    ),
    *_rows(_SYSTEM, "0.4.8-rc.2", "", (_E.SESSION_ENDED, _L.WARN, "Communication loop error, closing cloud socket")),
    *_rows(_SYSTEM, "0.4.9", "", (_E.INACTIVE, _L.WARN, "Disconnecting cloud due to inactivity! %d, %d")),
    *_rows(_SYSTEM, "0.6.0", "", (_E.CLOUD_ERROR, _L.WARN, "Handling cloud error: %d")),
    *_rows(
        _SYSTEM, "0.4.7", "0.6.0", (_E.NETWORK_RESET, _L.ERROR, "Resetting CC3000 due to %d failed connect attempts")
    ),
    *_rows(
        _SYSTEM, "0.6.0", "2.0.0-rc.1",
        (_E.NETWORK_RESET, _L.WARN, "Resetting WLAN due to %d failed connect attempts"),
        (_E.INTERNET_FAILED, _L.WARN, "Internet Test Failed!"),
        (_E.CLOUD_UNREACHABLE, _L.WARN, "Internet available, Cloud not reachable!"),
    ),
    *_rows(
        _SYSTEM, "2.0.0-rc.1", "",
        (_E.NETWORK_RESET, _L.WARN, "Resetting network interfaces due to failed connection attempts for %u minutes"),
        (_E.INTERNET_FAILED, _L.WARN, "Internet test failed: %s"),
        (_E.CLOUD_UNREACHABLE, _L.WARN, "Internet available, cloud not reachable"),
    ),
]  # fmt: skip
"""Addresses, sockets, and what becomes of a connection."""

_SPARK_PROTOCOL: Final = [
    *_rows(
        "comm", "0.4.7", "0.6.1-rc.1",
        (_E.NONCE_FAILED, _L.ERROR, "Handshake: could not receive nonce: %d"),
        (_E.ENCRYPT_FAILED, _L.ERROR, "Handshake: rsa encrypt error %d"),
        (_E.KEY_FAILED, _L.ERROR, "Handshake: Unable to receive key %d"),
        (_E.SET_KEY_FAILED, _L.ERROR, "Handshake:  could not set key, %d"),
        (_E.SEND_HELLO_FAILED, _L.ERROR, "Hanshake: could not send hello message: %d"),
        (_E.HELLO_FAILED, _L.ERROR, "Handshake: could not receive hello response"),
        (_E.HANDSHAKE_DONE, _L.INFO, "Hanshake: completed"),
    ),
    *_rows(
        _SPARK_HANDSHAKE, "0.6.1-rc.1", "0.8.0-rc.1",
        (_E.NONCE, _L.INFO, "Started: Receive nonce"),
        (_E.NONCE_FAILED, _L.ERROR, "Could not receive nonce: %d"),
        (_E.ENCRYPT, _L.INFO, "Encrypting handshake nonce"),
        (_E.ENCRYPT_FAILED, _L.ERROR, "RSA encrypt error %d"),
        (_E.SEND_NONCE, _L.INFO, "Sending encrypted nonce"),
        (_E.KEY, _L.INFO, "Receive key"),
        (_E.KEY_FAILED, _L.ERROR, "Unable to receive key %d"),
        (_E.SET_KEY, _L.INFO, "Setting key"),
        (_E.SET_KEY_FAILED, _L.ERROR, "Could not set key, %d"),
        (_E.SEND_HELLO, _L.INFO, "Sending HELLO message"),
        (_E.SEND_HELLO_FAILED, _L.ERROR, "Could not send HELLO message: %d"),
        (_E.HELLO, _L.INFO, "Receiving HELLO response"),
        (_E.HELLO_FAILED, _L.ERROR, "Could not receive HELLO response"),
        (_E.HANDSHAKE_DONE, _L.INFO, "Completed"),
    ),
    *_rows(
        "comm", "0.5.0-rc.1", "0.6.1-rc.1",
        (_E.UNKNOWN_MESSAGE, _L.WARN, "received ERROR CoAPMessage"),
        (_E.RECEIVE_ERROR, _L.WARN, "bytes recieved error %d"),
        (_E.NO_PONG, _L.WARN, "ping ACK not received"),
    ),
    *_rows(
        _SPARK, "0.6.1-rc.1", "0.8.0-rc.1",
        (_E.UNKNOWN_MESSAGE, _L.WARN, "received ERROR CoAPMessage"),
        (_E.RECEIVE_ERROR, _L.WARN, "bytes recieved error %d"),
        (_E.NO_PONG, _L.WARN, "ping ACK not received"),
        (_E.DESCRIBE, _L.INFO, "Sending %s%s describe message"),
        (_E.TIME_REQUEST, _L.INFO, "Sending TIME request"),
        (_E.TIME_RESPONSE, _L.INFO, "Received TIME response: %lu"),
    ),
]  # fmt: skip
"""``SparkProtocol``."""

_LIGHTSSL: Final = [
    *_rows(_PROTOCOL_HANDSHAKE, "0.8.0-rc.1", "", (_E.SECURE_BEGUN, _L.INFO, "Establish secure connection")),
    *_rows(
        _LIGHT_HANDSHAKE, "0.8.0-rc.1", "",
        (_E.NONCE, _L.INFO, "Started, receive nonce"),
        (_E.NONCE_FAILED, _L.ERROR, "Could not receive nonce: %d"),
        (_E.ENCRYPT, _L.INFO, "Encrypting nonce"),
        (_E.ENCRYPT_FAILED, _L.ERROR, "RSA encrypt error %d"),
        (_E.SEND_NONCE, _L.INFO, "Sending encrypted nonce"),
        (_E.KEY, _L.INFO, "Receive key"),
        (_E.KEY_FAILED, _L.ERROR, "Unable to receive key %d"),
        (_E.SET_KEY, _L.INFO, "Setting key"),
        (_E.SET_KEY_FAILED, _L.ERROR, "Could not set key, %d"),
        (_E.KEY_DONE, _L.INFO, "Completed"),
    ),
    *_rows(
        _LIGHT, "0.8.0-rc.1", "",
        (_E.DECRYPT_FAILED, _L.WARN, "decryption failed with code %d"),
        (_E.SIGNATURE_FAILED, _L.WARN, "signature validation failed with code %d"),
        (_E.RECEIVE_ERROR, _L.WARN, "receive error %d"),
        (_E.RECEIVE_TIMEOUT, _L.WARN, "receive timeout"),
        (_E.SEND_ERROR, _L.WARN, "blocking send error %d"),
        (_E.SEND_TIMEOUT, _L.WARN, "blocking send timeout"),
    ),
    *_rows(
        _PROTOCOL_HANDSHAKE, "0.8.0-rc.1", "",
        (_E.SEND_HELLO, _L.INFO, "Sending HELLO message"),
        (_E.SEND_HELLO_FAILED, _L.ERROR, "Could not send HELLO message: %d"),
        (_E.HELLO, _L.INFO, "Receiving HELLO response"),
        (_E.HANDSHAKE_DONE, _L.INFO, "Handshake completed"),
    ),
    *_rows(
        _PROTOCOL, "0.8.0-rc.1", "",
        (_E.HELLO_FAILED, _L.ERROR, "Handshake: could not receive HELLO response %d"),
        (_E.MESSAGE_FAILED, _L.ERROR, "message type=%d, error=%d"),
        (_E.LOOP_ERROR, _L.ERROR, "Event loop error %d"),
        (_E.TIME_REQUEST, _L.INFO, "Sending TIME request"),
        (_E.TIME_RESPONSE, _L.INFO, "Received TIME response: %lu"),
    ),
    *_rows(
        _PROTOCOL_HANDSHAKE, "0.8.0-rc.1", "2.0.0-rc.1",
        (_E.PROTOCOL_FAILED, _L.ERROR, "handshake failed with code %d"),
    ),
    *_rows(_PROTOCOL_HANDSHAKE, "2.0.0-rc.1", "", (_E.PROTOCOL_FAILED, _L.ERROR, "Handshake failed: %d")),
    *_rows(
        _PROTOCOL, "0.8.0-rc.1", "2.0.0-rc.1",
        (_E.WAITING, _L.INFO, "waiting %d seconds for message type=%d"),
        (_E.RECEIVED, _L.INFO, "rcv'd message type=%d"),
        (_E.DESCRIBE, _L.INFO, "Sending '%s%s%s' describe message"),
    ),
    *_rows(
        _PROTOCOL, "2.0.0-rc.1", "",
        (_E.WAITING, _L.TRACE, "waiting %d seconds for message type=%d"),
        (_E.RECEIVED, _L.TRACE, "rcv'd message type=%d"),
        (_E.DESCRIBE, _L.INFO, "Posting '%s%s%s' describe message"),
    ),
]  # fmt: skip
"""``LightSSLProtocol``."""

_BOOT: Final = [
    *_rows(
        _SYSTEM, "0.6.1-rc.1", "",
        (_E.HANDSHAKE_BEGUN, _L.INFO, "Starting handshake: presense_announce=%d"),
        (_E.MAX_BINARY, _L.INFO, "Send spark/hardware/max_binary event"),
        (_E.OTA_CHUNK_SIZE, _L.INFO, "spark/hardware/ota_chunk_size event"),
        (_E.LAST_RESET, _L.INFO, "Send spark/device/last_reset event"),
        (_E.KEY_ERROR, _L.INFO, "Send event spark/device/key/error=%s"),
    ),
    *_rows(_SYSTEM, "0.6.1-rc.1", "1.1.0-rc.1", (_E.CLAIM_CODE, _L.INFO, "Send spark/device/claim/code event")),
    *_rows(_SYSTEM, "1.1.0-rc.1", "", (_E.CLAIM_CODE, _L.INFO, "Send spark/device/claim/code event for code %s")),
    # The newer pair came with the describe documents that devices post by themselves.
    *_rows(
        _SYSTEM, "0.6.1-rc.1", "2.0.0-rc.1",
        (_E.SAFE_MODE, _L.INFO, "Send spark/device/safemode event"),
        (_E.SUBSCRIPTIONS, _L.INFO, "Send subscriptions"),
    ),
    *_rows(
        _SYSTEM, "2.0.0-rc.1", "",
        (_E.SAFE_MODE, _L.INFO, "Sending safe mode event"),
        (_E.SUBSCRIPTIONS, _L.INFO, "Sending subscriptions"),
    ),
]  # fmt: skip
"""What follows the Hello."""

LOG_TEXTS: Final[tuple[LogText, ...]] = (*_CONNECTION, *_SPARK_PROTOCOL, *_LIGHTSSL, *_BOOT)
"""Every text of every version; no version has two for one event."""

_HANDSHAKE_PLACES: Final[dict[LogEvent, int]] = {
    LogEvent.NONCE_FAILED: 94,
    LogEvent.ENCRYPT_FAILED: 104,
    LogEvent.KEY_FAILED: 108,
    LogEvent.SET_KEY_FAILED: 111,
    LogEvent.SEND_HELLO_FAILED: 116,
    LogEvent.HELLO_FAILED: 120,
    LogEvent.HANDSHAKE_DONE: 123,
}
"""Lines of ``spark_protocol.cpp`` in 0.5.x; those of 0.4.x are near them."""

_CLOUD_FILE: Final = "system_cloud_internal.cpp"
_TASK_FILE: Final = "system_task.cpp"
_ADDRESS_FUNCTION: Final = "int determine_connection_address(IPAddress&, uint16_t&, ServerAddress&, bool)"
_ESTABLISH_FUNCTION: Final = "void establish_cloud_connection()"
_HANDLE_FUNCTION: Final = "void handle_cloud_connection(bool)"
_SOCKET_FUNCTION: Final = "int spark_cloud_socket_connect()"
_LOOP_FUNCTION: Final = "bool SparkProtocol::event_loop(CoAPMessageType::Enum&)"
_PLACES: Final[dict[LogEvent, Place]] = {
    **{
        event: Place("virtual int SparkProtocol::handshake()", "spark_protocol.cpp", line)
        for event, line in _HANDSHAKE_PLACES.items()
    },
    **{
        event: Place(_LOOP_FUNCTION, "spark_protocol.cpp", 0)
        for event in (LogEvent.UNKNOWN_MESSAGE, LogEvent.RECEIVE_ERROR, LogEvent.NO_PONG)
    },
    **{event: Place(_ADDRESS_FUNCTION, _CLOUD_FILE, 0) for event in (LogEvent.RESOLVED, LogEvent.NOT_RESOLVED)},
    **{event: Place(_SOCKET_FUNCTION, _CLOUD_FILE, 0) for event in (LogEvent.CONNECTED, LogEvent.CONNECT_FAILED)},
    LogEvent.SESSION_ENDED: Place("void Spark_Process_Events()", _CLOUD_FILE, 0),
    **{
        event: Place(_ESTABLISH_FUNCTION, _TASK_FILE, 0)
        for event in (LogEvent.CONNECTING, LogEvent.SOCKET_CONNECTED, LogEvent.SOCKET_FAILED)
    },
    **{
        event: Place(_HANDLE_FUNCTION, _TASK_FILE, 0) for event in (LogEvent.HANDSHAKE_FAILED, LogEvent.CLOUD_CONNECTED)
    },
    **{
        event: Place("void cloud_disconnect(bool)", _TASK_FILE, 0)
        for event in (LogEvent.DISCONNECTING, LogEvent.DISCONNECTED)
    },
    LogEvent.INACTIVE: Place("int Internal_System_Cloud_Active()", _CLOUD_FILE, 0),
    LogEvent.NETWORK_RESET: Place("void handle_cfod()", _TASK_FILE, 0),
}
"""For the lines of firmware to 0.5.5."""

LINE_END: Final = "\r\n"
"""Behind every line on the serial port, from 0.6.0."""
_MOST_CHARACTERS: Final = 159  # of a text from 0.6.0: LOG_MAX_STRING_LENGTH less its terminator
_CLOCK_MODULUS: Final = 1 << 32


# --- writing


@lru_cache(maxsize=64)
def log_texts(version: Version) -> Mapping[LogEvent, LogText]:
    """What this version can print about its connection; empty before 0.4.7, which prints nothing of it."""
    return {text.event: text for text in LOG_TEXTS if text.since <= version < text.before}


def log_line(
    version: Version, event: LogEvent, elapsed_ms: int, *values: int | str, release: bool = False
) -> str | None:
    """The line of a device for ``event``, without its line end; None where this version prints none.

    Args:
        version: of the firmware.
        event: what there is to tell; the values belong to it.
        elapsed_ms: since the device booted; wraps at 2^32.
        values: as :class:`LogEvent` says; those that the version does not print are dropped from the end.
        release: an ordinary build; to 0.5.5 such a build prints errors only.

    Raises:
        TypeError: values are missing, or of the wrong type.
    """
    text = log_texts(version).get(event)
    if text is None or (release and version < _CATEGORIES and text.level is not Level.ERROR):
        return None
    message = text.text % values[: text.text.count("%")]
    stamp = f"{elapsed_ms % _CLOCK_MODULUS:010}"
    if version >= _CATEGORIES:
        if len(message) > _MOST_CHARACTERS:
            message = message[: _MOST_CHARACTERS - 1] + "~"
        return f"{stamp} [{text.category}] {text.level}: {message}"
    place = _PLACES[event]
    return f"{stamp}:{text.level:<5}: {place.function} {place.file}({place.line}):{message}"


# --- reading


class LogLine(NamedTuple):
    """One line of a device's log, taken apart."""

    elapsed_ms: int
    """Since the device booted."""
    level: Level
    category: str
    """Empty where the line has none: to 0.5.5, or printed without."""
    text: str
    code: int | None = None
    """Of an attribute behind the text."""
    old: bool = False
    """A line of 0.5.5 or older: function, file and line in front of the text instead of a category."""


_LINE: Final = re.compile(
    r"(\d{10}) (?:\[([^\]]+)\] )?(?:\S+:\d+(?:, \S+\(\))?: )?(TRACE|INFO|WARN|ERROR|PANIC): "
    r"(.*?)(?: \[(?:code = (-?\d+))?(?:, )?(?:details = .*)?\])?"
)
_OLD_LINE: Final = re.compile(r"(\d{10}):<?(DEBUG|INFO|WARN|ERROR|PANIC|LOG) *[>:].*?[^\s()]\.(?:cpp|c|h)\(\d+\):(.*)")


def parse_line(line: str) -> LogLine | None:
    """Take a line of any version apart, with its line end or without; None for what is no log line.

    Understood are the two printed formats (to 0.5.5, from 0.6.0) and the objects of the JSON log handler.
    """
    line = line.rstrip("\r\n")
    if line.startswith("{"):
        return _parse_object(line)
    match = _LINE.fullmatch(line)
    if match is not None:
        stamp, category, level, text, code = match.groups()
        return LogLine(int(stamp), Level(level), category or "", text, int(code) if code else None)
    match = _OLD_LINE.fullmatch(line)
    if match is None:
        return None
    stamp, level, text = match.groups()
    return LogLine(int(stamp), Level(level), "", text, old=True)


def _parse_object(line: str) -> LogLine | None:
    """One object of the JSON log handler: ``t`` time, ``l`` level, ``c`` category, ``m`` message, ``code``."""
    try:
        fields = json.loads(line)
        code = fields.get("code")
        return LogLine(
            int(fields["t"]),
            Level(str(fields["l"]).upper()),
            str(fields.get("c", "")),
            str(fields["m"]),
            None if code is None else int(code),
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


class Recognised(NamedTuple):
    """What a line tells."""

    event: LogEvent
    values: tuple[int | str, ...]
    """As :class:`LogEvent` says."""
    since: Version
    """First version that prints this line."""
    before: Version
    """First version that does not any more."""


_CONVERSION: Final = re.compile(r"%(?:d|u|lu|s)")
_DESCRIBE_PARTS: Final = ("(S?)", "(A?)", "(M?)")


def _pattern(text: LogText) -> re.Pattern[str]:
    parts = []
    end = 0
    for number, conversion in enumerate(_CONVERSION.finditer(text.text)):
        parts.append(re.escape(text.text[end : conversion.start()]))
        if text.event is LogEvent.DESCRIBE:
            parts.append(_DESCRIBE_PARTS[number])
        else:
            parts.append("(.*?)" if conversion.group() == "%s" else r"(-?\d+)")
        end = conversion.end()
    return re.compile("".join(parts) + re.escape(text.text[end:]))


_BY_LEVEL: Final[dict[Level, list[tuple[LogText, str, re.Pattern[str]]]]] = {
    level: [
        # Texts with an open %s come last: a fixed one may fit them too.
        (text, text.text.partition("%")[0], _pattern(text))
        for text in sorted(LOG_TEXTS, key=lambda text: "%s" in text.text)
        if text.level is level
    ]
    for level in Level
}
"""Texts of each level with what they begin with, which is faster to compare than a pattern."""


def recognise(line: LogLine) -> tuple[Recognised, ...]:
    """Every text of the table that ``line`` may be, each with the versions that print it; empty for none.

    Several answers are the same text in two generations, or, for a line without category, two events with one text.
    """
    found = []
    for text, head, pattern in _BY_LEVEL[line.level]:
        if not line.text.startswith(head) or (line.category and line.category != text.category):
            continue
        if text.since >= _CATEGORIES if line.old else text.before <= _CATEGORIES:
            continue
        match = pattern.fullmatch(line.text)
        if match is not None:
            found.append(Recognised(text.event, _values(text.text, match.groups()), text.since, text.before))
    return tuple(found)


def _values(text: str, groups: tuple[str, ...]) -> tuple[int | str, ...]:
    return tuple(
        group if conversion.group() == "%s" else int(group)
        for conversion, group in zip(_CONVERSION.finditer(text), groups, strict=True)
    )
