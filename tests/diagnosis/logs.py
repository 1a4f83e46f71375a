"""Logs of devices, written line by line in the words of a version."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from loadgen.diagnosis.devicelog import DeviceLog, parse_device_log
from loadgen.protocol.firmware_log import LINE_END, LogEvent, log_line
from loadgen.protocol.versions import Version

PUBLISHED: Final = Path(__file__).parents[1] / "vectors" / "device_logs" / "p1_minus_19.log"
HOST: Final = "cloud.example"
_E = LogEvent

CONNECTION: Final[tuple[tuple[int, LogEvent, tuple[int | str, ...]], ...]] = (
    (0, _E.CONNECTING, ()),
    (10, _E.ADDRESS_NAME, (1, HOST)),
    (20, _E.RESOLVING, (HOST,)),
    (45, _E.RESOLVED, (HOST, "192.0.2.7")),
    (50, _E.CONNECTION_ATTEMPT, ("192.0.2.7", 5683)),
)
"""To the begin of the connection, 50 ms, or 45 before 1.1.0."""
HANDSHAKE: Final[tuple[tuple[int, LogEvent, tuple[int | str, ...]], ...]] = (
    (160, _E.SOCKET_CONNECTED, ()),
    (170, _E.HANDSHAKE_BEGUN, (1,)),
    (180, _E.SECURE_BEGUN, ()),
    (190, _E.NONCE, ()),
    (300, _E.ENCRYPT, ()),
    (383, _E.SEND_NONCE, ()),
    (393, _E.KEY, ()),
    (500, _E.SET_KEY, ()),
    (900, _E.KEY_DONE, ()),
    (910, _E.SEND_HELLO, ()),
    (920, _E.HELLO, ()),
    (1030, _E.HANDSHAKE_DONE, ()),
    (1050, _E.CLOUD_CONNECTED, ()),
)
"""Of a connection that stands at 150 ms."""


class Script:
    """Writes a log.

    Args:
        version: of the firmware.
    """

    def __init__(self, version: str) -> None:
        self.version = Version.parse(version)
        self.lines: list[str] = []

    def say(self, at_ms: int, event: LogEvent, *values: int | str) -> Script:
        """A line, if this version prints it."""
        line = log_line(self.version, event, at_ms, *values)
        if line is not None:
            self.lines.append(line)
        return self

    def attempt(self, at_ms: int, until: LogEvent | None = None) -> Script:
        """A whole attempt, or one until just before ``until``."""
        newer = self.version >= Version.parse("1.1.0-rc.1")
        address = ("192.0.2.7", 5683) if newer else (192, 0, 2, 7, 5683)
        for offset_ms, event, values in (*CONNECTION, (150, _E.CONNECTED, address), *HANDSHAKE):
            if event is until:
                break
            self.say(at_ms + offset_ms, event, *values)
        return self

    @property
    def text(self) -> str:
        """The log as it comes out of the port."""
        return "".join(line + LINE_END for line in self.lines)

    def read(self) -> DeviceLog:
        """The log, read."""
        return parse_device_log(self.text.encode(), "made.log")


def published() -> str:
    """The log of the P1 that could not receive its key."""
    return PUBLISHED.read_text(encoding="utf-8")
