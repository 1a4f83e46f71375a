"""System errors of Device OS. From 2.0 the code of a failed handshake is one of them.

Names, numbers and texts: particle-iot/device-os ``services/inc/system_error.h``; which of them stands for which
protocol error: ``communication/src/protocol_defs.cpp``. Only those of :data:`TO_SYSTEM` can be the code of a failed
handshake; the others come from other parts of the system and are here so that no number stays without a name.
"""

from __future__ import annotations

from typing import Final

from loadgen.protocol.error_numbers import CONNECTION_CODES, SYSTEM_CODES, TO_SYSTEM, DeviceCode, End, Table
from loadgen.protocol.versions import Version

_SINCE: Final = Version.parse("0.6.0")
_OTA: Final = ("firmware-fault",)
_USE: Final = ("wrong-use",)
_FOREIGN: Final = ("other-transport",)

_HANDSHAKE_TEXTS: Final[dict[int, str]] = {
    -130: "signature of the session key wrong (AUTHENTICATION_ERROR)",
    -160: "no Hello from the cloud in time, or a ping without an answer",
    -201: "the cloud has closed the connection",
    -220: "nonce or key not received; the line before has the socket's code",
    -240: "session key not decrypted (DECRYPTION_ERROR), or a message that makes no sense",
}
"""What the weightiest of them say about a handshake."""

_ROWS: Final[tuple[tuple[int, str, str, tuple[str, ...]], ...]] = (
    (0, "NONE", "nothing is wrong", _USE),
    (-100, "UNKNOWN", "unknown error", ("firmware-fault",)),
    (-110, "BUSY", "resource busy", _USE),
    (-120, "NOT_SUPPORTED", "not supported", _USE),
    (-130, "NOT_ALLOWED", "not allowed", _USE),
    (-140, "CANCELLED", "operation cancelled", _USE),
    (-150, "ABORTED", "operation aborted", _USE),
    (-160, "TIMEOUT", "timeout error", ()),
    (-170, "NOT_FOUND", "not found", _USE),
    (-180, "ALREADY_EXISTS", "already exists", _USE),
    (-190, "TOO_LARGE", "too large data", ("message-too-large",)),
    (-191, "NOT_ENOUGH_DATA", "not enough data", _USE),
    (-200, "LIMIT_EXCEEDED", "limit exceeded", ("event-rate",)),
    (-201, "END_OF_STREAM", "end of stream", ()),
    (-210, "INVALID_STATE", "invalid state", _USE),
    (-219, "FLASH_IO", "flash IO error", ("firmware-fault",)),
    (-220, "IO", "IO error", ()),
    (-221, "WOULD_BLOCK", "would block", _USE),
    (-225, "FILE", "file error", ("firmware-fault",)),
    (-226, "PATH_TOO_LONG", "path is too long", _USE),
    (-230, "NETWORK", "network error", ("network-down", "device-radio")),
    (-240, "PROTOCOL", "protocol error", ()),
    (-250, "INTERNAL", "internal error", ("firmware-fault",)),
    (-260, "NO_MEMORY", "memory allocation error", ("device-memory",)),
    (-270, "INVALID_ARGUMENT", "invalid argument", _USE),
    (-280, "BAD_DATA", "invalid data format", _USE),
    (-281, "ENCODING_FAILED", "encoding error", _USE),
    (-290, "OUT_OF_RANGE", "out of range", _USE),
    (-300, "DEPRECATED", "deprecated", _USE),
    (-1000, "COAP", "CoAP error", ("firmware-fault",)),
    (-1001, "COAP_CONNECTION_CLOSED", "connection closed", ("cloud-crashed", "same-id-twice")),
    (-1002, "COAP_MESSAGE_RESET", "received a RST message", ("message-id",)),
    (-1003, "COAP_TIMEOUT", "CoAP timeout", ("cloud-overloaded", "stalled-session")),
    (-1004, "COAP_REQUEST_NOT_FOUND", "request not found", _USE),
    (-1005, "COAP_REQUEST_CANCELLED", "request was cancelled", _USE),
    (-1100, "COAP_4XX", "the cloud answered with a CoAP code 4.xx", _USE),
    (-1132, "COAP_5XX", "the cloud answered with a CoAP code 5.xx", ("cloud-overloaded",)),
    (-1200, "AT_NOT_OK", "AT command failure", _FOREIGN),
    (-1210, "AT_RESPONSE_UNEXPECTED", "failed to parse an AT response", _FOREIGN),
    (-1300, "OTA_MODULE_NOT_FOUND", "module not found", _OTA),
    (-1310, "OTA_UNSUPPORTED_MODULE", "unsupported module", _OTA),
    (-1320, "OTA_VALIDATION_FAILED", "module validation failed", _OTA),
    (-1330, "OTA_INTEGRITY_CHECK_FAILED", "module integrity check failed", _OTA),
    (-1331, "OTA_RESUMED_UPDATE_FAILED", "resumed update failed", _OTA),
    (-1340, "OTA_DEPENDENCY_CHECK_FAILED", "module dependency check failed", _OTA),
    (-1350, "OTA_INVALID_ADDRESS", "invalid module address", _OTA),
    (-1351, "OTA_INVALID_SIZE", "invalid module size", _OTA),
    (-1360, "OTA_INVALID_PLATFORM", "invalid module platform", _OTA),
    (-1370, "OTA_INVALID_FORMAT", "invalid module format", _OTA),
    (-1380, "OTA_UPDATES_DISABLED", "firmware updates are disabled", _USE),
    (-1390, "OTA", "firmware update error", _OTA),
    (-1400, "CRYPTO", "crypto error", ("firmware-fault", "damaged-private-key")),
    (-1600, "I2C_BUS_BUSY", "I2C: bus busy", _USE),
    (-1601, "I2C_ARBITRATION_FAILED", "I2C: arbitration failed", _USE),
    (-1602, "I2C_TX_ADDR_TIMEOUT", "I2C: timeout sending the address", _USE),
    (-1603, "I2C_FILL_DATA_TIMEOUT", "I2C: timeout filling data", _USE),
    (-1604, "I2C_TX_DATA_TIMEOUT", "I2C: timeout sending data", _USE),
    (-1605, "I2C_STOP_TIMEOUT", "I2C: timeout at stop", _USE),
    (-1606, "I2C_ABORT", "I2C: transmission aborted", _USE),
    (-1700, "PPP_PARAM", "PPP: invalid parameter", _FOREIGN),
    (-1701, "PPP_OPEN", "PPP: session cannot be opened", _FOREIGN),
    (-1702, "PPP_DEVICE", "PPP: invalid I/O device", _FOREIGN),
    (-1703, "PPP_ALLOC", "PPP: resources cannot be allocated", _FOREIGN),
    (-1704, "PPP_USER", "PPP: user interrupt", _FOREIGN),
    (-1705, "PPP_CONNECT", "PPP: connection lost", _FOREIGN),
    (-1706, "PPP_AUTH_FAIL", "PPP: failed authentication challenge", _FOREIGN),
    (-1707, "PPP_PROTOCOL", "PPP: failed to meet protocol", _FOREIGN),
    (-1708, "PPP_PEER_DEAD", "PPP: connection timeout", _FOREIGN),
    (-1709, "PPP_IDLE_TIMEOUT", "PPP: idle timeout", _FOREIGN),
    (-1710, "PPP_CONNECT_TIME", "PPP: longest connect time reached", _FOREIGN),
    (-1711, "PPP_LOOPBACK", "PPP: loopback detected", _FOREIGN),
    (-1712, "PPP_NO_CARRIER_IN_NETWORK_PHASE", "PPP: NO CARRIER in network phase", _FOREIGN),
    (-1800, "INVALID_SERVER_SETTINGS", "server settings are invalid", ("wrong-server-key", "address-erased")),
    (-1801, "PROTECTED", "the device is in a protected state", _FOREIGN),
    (-1802, "KEY_MISMATCH", "unrecognised cryptographic key", ("wrong-server-key",)),
    (-1803, "INVALID_SIGNATURE", "signature validation failed", ("signs-wrongly",)),
    (-1900, "FILESYSTEM", "filesystem error", _FOREIGN),
    (-1901, "FILESYSTEM_IO", "filesystem: IO error", _FOREIGN),
    (-1902, "FILESYSTEM_CORRUPT", "filesystem: corrupted", _FOREIGN),
    (-1903, "FILESYSTEM_NOENT", "filesystem: no directory entry", _FOREIGN),
    (-1904, "FILESYSTEM_EXIST", "filesystem: entry already exists", _FOREIGN),
    (-1905, "FILESYSTEM_NOTDIR", "filesystem: entry is no directory", _FOREIGN),
    (-1906, "FILESYSTEM_ISDIR", "filesystem: entry is a directory", _FOREIGN),
    (-1907, "FILESYSTEM_NOTEMPTY", "filesystem: directory is not empty", _FOREIGN),
    (-1908, "FILESYSTEM_BADF", "filesystem: bad file number", _FOREIGN),
    (-1909, "FILESYSTEM_FBIG", "filesystem: file too large", _FOREIGN),
    (-1910, "FILESYSTEM_INVAL", "filesystem: invalid parameter", _FOREIGN),
    (-1911, "FILESYSTEM_NOSPC", "filesystem: no space left", _FOREIGN),
    (-1912, "FILESYSTEM_NOMEM", "filesystem: memory allocation error", _FOREIGN),
    (-2000, "LEDGER_NOT_FOUND", "ledger not found", _FOREIGN),
    (-2001, "LEDGER_INVALID_FORMAT", "invalid format of ledger data", _FOREIGN),
    (-2002, "LEDGER_UNSUPPORTED_FORMAT", "unsupported format of ledger data", _FOREIGN),
    (-2003, "LEDGER_READ_ONLY", "ledger is read only", _FOREIGN),
    (-2004, "LEDGER_IN_USE", "ledger is in use", _FOREIGN),
    (-2005, "LEDGER_TOO_LARGE", "ledger data is too large", _FOREIGN),
    (-2006, "LEDGER_TOO_MANY", "too many ledgers", _FOREIGN),
    (-2007, "LEDGER_INCONSISTENT_STATE", "inconsistent ledger state", _FOREIGN),
    (-2008, "LEDGER_ENCODING_FAILED", "ledger encoding error", _FOREIGN),
    (-2009, "LEDGER_DECODING_FAILED", "ledger decoding error", _FOREIGN),
    (-2010, "LEDGER_REQUEST_FAILED", "ledger request failed", _FOREIGN),
    (-2011, "LEDGER_INVALID_RESPONSE", "invalid response from the server", _FOREIGN),
    (-3000, "HAL_RTC_INVALID_TIME", "the clock's time is invalid", _USE),
)
_RECORDED: Final = frozenset(
    (0, -100, -110, -120, -130, -140, -150, -160, -170, -180, -190, -200, -210, -220, -230, -240, -250, -260)
)
"""Those known to exist since 0.6.0; of the others the first version is not recorded."""


def _stands_for(value: int) -> tuple[DeviceCode, ...]:
    """The protocol errors that this system error replaces."""
    return tuple(
        code
        for code in CONNECTION_CODES
        if code.table is Table.PROTOCOL and value != 0 and TO_SYSTEM.get(code.value) == value
    )


def _ends(protocol: tuple[DeviceCode, ...]) -> tuple[End, ...]:
    """Their ends, of a handshake before those of a session."""
    return tuple(sorted(dict.fromkeys(end for code in protocol for end in code.ends), key=lambda end: end[0] is None))


def _system(value: int, name: str, text: str, causes: tuple[str, ...]) -> DeviceCode:
    protocol = _stands_for(value)
    meaning = f"{text}: {_HANDSHAKE_TEXTS[value]}" if value in _HANDSHAKE_TEXTS else text
    if protocol:
        meaning += "; stands for protocol error " + ", ".join(str(code.value) for code in protocol)
    elif value:
        meaning += "; never the code of a failed handshake"
    return DeviceCode(
        table=Table.SYSTEM,
        value=value,
        name=f"SYSTEM_ERROR_{name}",
        meaning=meaning,
        since=_SINCE if value in _RECORDED else SYSTEM_CODES if protocol else None,
        ends=_ends(protocol),
        causes=causes or tuple(dict.fromkeys(cause for code in protocol for cause in code.causes)),
    )


SYSTEM_ERRORS: Final[tuple[DeviceCode, ...]] = tuple(_system(*row) for row in _ROWS)
"""Every system error."""

DEVICE_CODES: Final[tuple[DeviceCode, ...]] = (*CONNECTION_CODES, *SYSTEM_ERRORS)
"""Every number that firmware of a P1 can print about its connection, and every other system error."""
