"""Virtual devices that keep a log of what befalls them, as the serial port of a real device would show it.

Only chosen devices are of this class: all others know nothing of logs, so that a run without them costs nothing, and
one with a few costs little more. A moment is noted as five integers, which travel to the parent with the rows of
handshakes; what a firmware says of it is found in the parent, off the event loop (:mod:`loadgen.diagnosis.narration`).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Collection, Mapping
from enum import IntEnum
from typing import Final, TypeAlias

from loadgen.engine.cohort import Cohort
from loadgen.engine.sockets import connected_at, reason_of
from loadgen.engine.virtual_device import DeviceHost, VirtualDevice
from loadgen.protocol.answers import described_parts
from loadgen.protocol.boot import Boot
from loadgen.protocol.coap import Kind, Message, kind_at_device
from loadgen.protocol.device import DeviceConnection
from loadgen.protocol.reasons import HandshakeError, Reason
from loadgen.protocol.stages import Point, Stage
from loadgen.recording.rows import REASON_INDEX, STAGE_INDEX

_POINTS: Final = tuple(Point)[Point.STARTED :]

DeviceMaker: TypeAlias = Callable[[DeviceHost, Cohort[VirtualDevice], DeviceConnection, int, int], VirtualDevice]
"""Makes the device of one attempt, from the arguments of :class:`VirtualDevice`."""

MOMENT_FIELDS: Final = ("device", "at", "what", "first", "second")
"""Columns of a moment: the device's number in the fleet, ns on CLOCK_MONOTONIC, a clock point or a :class:`What`, and
two values, as that says."""


class What(IntEnum):
    """What a moment can be beside a clock point of the handshake."""

    ONLINE = len(Point)
    """The device is connected. First value: a :class:`BootKind`."""
    FAILED = len(Point) + 1
    """The handshake has failed. Values: positions of stage and reason."""
    LOST = len(Point) + 2
    """The session has failed. Values: position of the stage (of no meaning) and of the reason."""
    LEFT = len(Point) + 3
    """The device has closed the connection."""
    DESCRIBED = len(Point) + 4
    """A describe document was asked for and sent. First value: its selector."""
    TOLD_TIME = len(Point) + 5
    """The cloud has told the time. First value: seconds since 1970."""


class BootKind(IntEnum):
    """What a device sends by itself once it is connected."""

    NONE = 0
    """Nothing: it leaves at once."""
    FIRST = 1
    AGAIN = 2


def device_maker(logged: Collection[int], index: int, parts: int, moments: array[int]) -> DeviceMaker:
    """What makes the devices of a worker: the plain class, unless some of them are to keep a log.

    Args:
        logged: numbers in the fleet of the devices that keep one.
        index, parts: the worker and how many there are.
        moments: where what they note goes, one row of :data:`MOMENT_FIELDS` after the other.
    """
    own = {number // parts: number for number in logged if number % parts == index}
    return _Maker(own, moments) if own else VirtualDevice


class _Maker:
    """Makes the devices of a worker of which some keep a log."""

    def __init__(self, own: Mapping[int, int], moments: array[int]) -> None:
        self._own = own
        self._moments = moments

    def __call__(
        self,
        host: DeviceHost,
        cohort: Cohort[VirtualDevice],
        core: DeviceConnection,
        identity: int,
        intended_ns: int,
    ) -> VirtualDevice:
        number = self._own.get(identity)
        if number is None:
            return VirtualDevice(host, cohort, core, identity, intended_ns)
        return LoggedDevice(host, cohort, core, identity, intended_ns, number=number, moments=self._moments)


class LoggedDevice(VirtualDevice):
    """One attempt of a device that keeps a log.

    Args:
        host, cohort, core, identity, intended_ns: as for any device.
        number: of the device in the fleet.
        moments: where what it notes goes.
    """

    __slots__ = ("_is_online", "_moments", "_noted_ns", "_number")

    def __init__(
        self,
        host: DeviceHost,
        cohort: Cohort[VirtualDevice],
        core: DeviceConnection,
        identity: int,
        intended_ns: int,
        *,
        number: int,
        moments: array[int],
    ) -> None:
        super().__init__(host, cohort, core, identity, intended_ns)
        self._number = number
        self._moments = moments
        self._noted_ns = 0
        self._is_online = False

    def start(self) -> None:
        """Begin to connect; a network that refuses at once is a failure of the device's, too."""
        try:
            super().start()
        except OSError as error:
            reason = reason_of(error)
            if reason is not Reason.LOCAL_RESOURCE:
                self._note_points()
                self._note_failure(What.FAILED, Stage.CONNECT, reason)
            raise

    def end(self, error: HandshakeError | None) -> None:
        """Note how it ended, then end."""
        if self._socket is not None:
            if not self.in_session:
                self._note_unfinished(error)
            else:
                self._note_online(BootKind.NONE)
                if error is not None:
                    self._note_failure(What.LOST, error.stage, error.reason)
            if self.points[Point.CONNECTED]:
                self._note(What.LEFT, self._host.now())
        super().end(error)

    def _completed(self) -> None:
        self._note_points()
        super()._completed()

    def _boot(self, boot: Boot) -> None:
        self._note_online(BootKind.FIRST if boot.first else BootKind.AGAIN)
        super()._boot(boot)

    def _answer(self, message: Message) -> None:
        super()._answer(message)
        kind = kind_at_device(message)
        if kind is Kind.DESCRIBE_REQUEST:
            for parts in described_parts(message, self._core.firmware):
                self._note(What.DESCRIBED, self._host.now(), parts)
        elif kind is Kind.TIME:
            self._note(What.TOLD_TIME, self._read_at, int.from_bytes((message.payload or b"")[:4], "big"))

    def _note_unfinished(self, error: HandshakeError | None) -> None:
        """A handshake that has failed, or that was broken off."""
        if error is not None and error.stage is Stage.NONCE:
            self._find_connected()
        self._note_points()
        if error is not None:
            self._note_failure(What.FAILED, error.stage, error.reason)

    def _find_connected(self) -> None:
        """The moment of the connection is read with the nonce; here none came, and nothing was sent."""
        assert self._socket is not None
        started_ns = self.points[Point.STARTED]
        connected = connected_at(self._socket, started_ns, self._host.now)
        self.points[Point.CONNECTED] = started_ns if connected is None else connected.at_ns

    def _note_points(self) -> None:
        for point in _POINTS:
            if not self.points[point]:
                return
            self._note(point, self.points[point])

    def _note_online(self, boot: BootKind) -> None:
        if not self._is_online:
            self._is_online = True
            self._note(What.ONLINE, self._host.now(), boot)

    def _note_failure(self, what: What, stage: Stage, reason: Reason) -> None:
        self._note(what, self._host.now(), STAGE_INDEX[stage], REASON_INDEX[reason])

    def _note(self, what: Point | What, at_ns: int, first: int = 0, second: int = 0) -> None:
        """Note a moment, not before the one before it: the kernel's stamps and this program's come from two clocks."""
        self._noted_ns = max(self._noted_ns, at_ns)
        self._moments.extend((self._number, self._noted_ns, what, first, second))
