"""A device's story told in the lines that its firmware prints, with the times that were measured. Pure.

The one source of such lines: for the handshake of a doctor, and for the devices of a run that keep a log.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from loadgen.clock import NS_PER_MS
from loadgen.diagnosis.evidence import BUILT_IN_SINCE
from loadgen.diagnosis.handshake import Handshake
from loadgen.engine.logged_device import BootKind, What
from loadgen.fleet.address import is_ipv4
from loadgen.fleet.dct import Dct
from loadgen.protocol.answers import APPLICATION, METRICS, SYSTEM
from loadgen.protocol.boot import FIRST_BOOT, RECONNECT, Boot, boot_steps
from loadgen.protocol.explain import failure_events
from loadgen.protocol.firmware import FirmwareProfile
from loadgen.protocol.firmware_log import LogEvent, log_line
from loadgen.protocol.profile import BootStep
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Point, Stage
from loadgen.protocol.versions import Version
from loadgen.recording.rows import REASONS, STAGES

_E = LogEvent
_AT_POINT: Final = {
    Point.STARTED: (_E.CONNECTING, _E.CONNECTION_ATTEMPT),
    Point.CONNECTED: (_E.CONNECTED, _E.SOCKET_CONNECTED, _E.HANDSHAKE_BEGUN, _E.SECURE_BEGUN, _E.NONCE),
    Point.NONCE_IN: (_E.ENCRYPT,),
    Point.CIPHERTEXT_OUT: (_E.SEND_NONCE, _E.KEY),
    Point.KEY_IN: (_E.SET_KEY,),
    Point.HELLO_OUT: (_E.KEY_DONE, _E.SEND_HELLO, _E.HELLO),
    Point.HELLO_IN: (_E.HANDSHAKE_DONE,),
}
"""What a device says when it comes to a point, in order; each version prints its part of it."""
_AT_STEP: Final = {
    BootStep.CLAIM_CODE: _E.CLAIM_CODE,
    BootStep.MAX_BINARY: _E.MAX_BINARY,
    BootStep.OTA_CHUNK_SIZE: _E.OTA_CHUNK_SIZE,
    BootStep.SAFE_MODE: _E.SAFE_MODE,
    BootStep.LAST_RESET: _E.LAST_RESET,
    BootStep.SUBSCRIPTIONS: _E.SUBSCRIPTIONS,
    BootStep.TIME: _E.TIME_REQUEST,
}
"""What a device says when it sends something by itself; describe documents apart."""
_POSTED: Final = {BootStep.DESCRIBE_SYSTEM: SYSTEM, BootStep.DESCRIBE_APPLICATION: APPLICATION}
_PARTS: Final = ((SYSTEM, "S"), (APPLICATION, "A"), (METRICS, "M"))
_BOOTS: Final = {BootKind.FIRST: FIRST_BOOT, BootKind.AGAIN: RECONNECT}

_WITH_NUMBERS: Final = Version(1, 1, 0, 1)
"""From here on addresses are printed as text; before it as four numbers."""
_RESTORES_ALL: Final = Version(1, 1, 0, 1)
"""From here on every unset address is replaced by the built-in one; before it only an erased one."""
_VENDOR_HOST: Final = "device.spark.io"
_KINDS_OF_ADDRESS: Final = (0, 1)
_ERASED: Final = 0xFF


class Narrator:
    """Puts what befalls a device into the words of its firmware; without any before 0.4.7, which prints nothing of it.

    Args:
        firmware: what the device runs.
        address: where it connects to, numeric, and port.
        boot_ns: from when on its stamps count.
        dct: its table, where it is known: the device says what it lacks.
    """

    def __init__(
        self, firmware: FirmwareProfile, address: tuple[str, int], boot_ns: int, dct: Dct | None = None
    ) -> None:
        self._firmware = firmware
        self._dct = dct
        self._place = _place(address, firmware.version)
        self._boot_ns = boot_ns

    def tell(self, at_ns: int, what: int, first: int, second: int) -> Iterator[str]:
        """The lines for a moment that a logged device has noted, as :mod:`loadgen.engine.logged_device` says."""
        if what < len(Point):
            return self.reached(Point(what), at_ns)
        match What(what):
            case What.ONLINE:
                return self.online(at_ns, _BOOTS.get(BootKind(first)))
            case What.FAILED:
                return self.failed(at_ns, STAGES[first], REASONS[second])
            case What.LOST:
                return self.failed(at_ns, STAGES[first], REASONS[second], in_session=True)
            case What.LEFT:
                return self._lines(at_ns, _E.DISCONNECTING, _E.DISCONNECTED)
            case What.DESCRIBED:
                return self._described(at_ns, first)
            case What.TOLD_TIME:
                return self._line(at_ns, _E.TIME_RESPONSE, first)

    def reached(self, point: Point, at_ns: int) -> Iterator[str]:
        """What it says at a clock point of the handshake."""
        for event in _AT_POINT[point]:
            values: tuple[int | str, ...] = ()
            if event in (_E.CONNECTION_ATTEMPT, _E.CONNECTED):
                values = self._place
            elif event is _E.HANDSHAKE_BEGUN:
                values = (1,)
            yield from self._line(at_ns, event, *values)
            if event is _E.CONNECTING and self._dct is not None:
                for said, *what in _of_address(self._dct, self._firmware.version):
                    yield from self._line(at_ns, said, *what)

    def booted(self, at_ns: int) -> Iterator[str]:
        """What it says of its keys before the first attempt."""
        if self._dct is not None and self._dct.server_area[:1] == bytes([_ERASED]):
            yield from self._line(at_ns, _E.KEY_RESTORED)

    def online(self, at_ns: int, boot: Boot | None = None) -> Iterator[str]:
        """What it says when it is connected; ``boot`` is how it came up, where it sends what belongs to that."""
        for step in boot_steps(self._firmware, boot) if boot is not None else ():
            if step in _POSTED:
                yield from self._described(at_ns, _POSTED[step])
            elif step in _AT_STEP:
                yield from self._line(at_ns, _AT_STEP[step])
        yield from self._line(at_ns, _E.CLOUD_CONNECTED)

    def failed(self, at_ns: int, stage: Stage, reason: Reason, *, in_session: bool = False) -> Iterator[str]:
        """What it says of the end of a handshake, or of a session."""
        version = self._firmware.version
        code = self._firmware.device_code(stage, reason, in_session=in_session)
        for event, number in failure_events(stage, reason, code, version, in_session=in_session):
            values: tuple[int | str, ...] = () if number is None else (number,)
            if event is _E.CONNECT_FAILED:
                values = (*self._place, number or 0)
            yield from self._line(at_ns, event, *values)
        if stage is not Stage.CONNECT:
            yield from self._lines(at_ns, _E.DISCONNECTING, _E.DISCONNECTED)

    def _described(self, at_ns: int, selector: int) -> Iterator[str]:
        return self._line(at_ns, _E.DESCRIBE, *(letter if selector & part else "" for part, letter in _PARTS))

    def _lines(self, at_ns: int, *events: LogEvent) -> Iterator[str]:
        for event in events:
            yield from self._line(at_ns, event)

    def _line(self, at_ns: int, event: LogEvent, *values: int | str) -> Iterator[str]:
        """One line, or none."""
        text = log_line(self._firmware.version, event, (at_ns - self._boot_ns) // NS_PER_MS, *values)
        return iter(() if text is None else (text,))


def narrate(
    handshake: Handshake, address: tuple[str, int], firmware: FirmwareProfile, dct: Dct | None = None
) -> Iterator[str]:
    """The lines of a device for one handshake. Stamps count from its begin, as if the device had booted then.

    Args:
        handshake: that was made.
        address: where it went, numeric.
        firmware: what the device runs.
        dct: its table, where it is known.
    """
    begin_ns = handshake.points[Point.STARTED]
    narrator = Narrator(firmware, address, begin_ns, dct)
    yield from narrator.booted(begin_ns)
    for point in _AT_POINT:
        at_ns = handshake.points.get(point)
        if at_ns is None:
            break
        yield from narrator.reached(point, at_ns)
    attempt = handshake.attempt
    if attempt.in_session or attempt.is_complete:
        yield from narrator.online(handshake.points[Point.HELLO_IN])
    if attempt.stage is not None and attempt.reason is not None:
        yield from narrator.failed(handshake.ended_ns, attempt.stage, attempt.reason, in_session=attempt.in_session)


def _of_address(dct: Dct, version: Version) -> Iterator[tuple[LogEvent, *tuple[int | str, ...]]]:
    """What a device says about the address in its table, with the values.

    Nothing of a numeric one: there firmware prints the four bytes of the number as a name, too.
    """
    address, record = dct.address, dct.address_record
    if address is not None:
        if not is_ipv4(address.host):
            yield _E.ADDRESS_NAME, 1, address.host
    elif record and record[0] not in _KINDS_OF_ADDRESS:
        if version >= BUILT_IN_SINCE and (record[0] == _ERASED or version >= _RESTORES_ALL):
            yield (_E.ADDRESS_RESTORED,)
            yield _E.ADDRESS_NAME, 1, _VENDOR_HOST
        else:
            yield _E.ADDRESS_DEFAULT, record[0]


def _place(address: tuple[str, int], version: Version) -> tuple[int | str, ...]:
    """The values of an address in a line."""
    host, port = address
    if version >= _WITH_NUMBERS:
        return host, port
    numbers = tuple(map(int, host.split("."))) if is_ipv4(host) else (0, 0, 0, 0)
    return *numbers, port
