"""A handshake told in the lines that a device of the firmware prints, with the times that were measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.clock import NS_PER_MS
from loadgen.diagnosis.handshake import Handshake
from loadgen.fleet.address import is_ipv4
from loadgen.protocol.explain import failure_events
from loadgen.protocol.firmware_log import LogEvent, log_line
from loadgen.protocol.stages import Point
from loadgen.protocol.versions import Version

_E = LogEvent
_AT_POINT = {
    Point.CONNECTED: (_E.CONNECTED, _E.SOCKET_CONNECTED, _E.HANDSHAKE_BEGUN, _E.SECURE_BEGUN, _E.NONCE),
    Point.NONCE_IN: (_E.ENCRYPT,),
    Point.CIPHERTEXT_OUT: (_E.SEND_NONCE, _E.KEY),
    Point.KEY_IN: (_E.SET_KEY,),
    Point.HELLO_OUT: (_E.KEY_DONE, _E.SEND_HELLO, _E.HELLO),
    Point.HELLO_IN: (_E.HANDSHAKE_DONE, _E.CLOUD_CONNECTED),
}
"""What a device says when it comes to a point, in order; each version prints its part of it."""

_WITH_NUMBERS = Version(1, 1, 0, 1)
"""From here on addresses are printed as text; before it as four numbers."""


def narrate(handshake: Handshake, address: tuple[str, int], version: Version) -> Iterator[str]:
    """The lines of a device of ``version``; none before 0.4.7, which prints nothing of its handshake.

    Time stamps count from the start of the attempt, as if the device had booted then.

    Args:
        handshake: that was made.
        address: where it went, numeric.
        version: of the firmware.
    """
    start_ns = handshake.points[Point.STARTED]

    def line(event: LogEvent, at_ns: int, *values: int | str) -> Iterator[str]:
        text = log_line(version, event, (at_ns - start_ns) // NS_PER_MS, *values)
        if text is not None:
            yield text

    yield from line(_E.CONNECTING, start_ns)
    place = _place(address, version)
    for point, events in _AT_POINT.items():
        at_ns = handshake.points.get(point)
        if at_ns is None:
            break
        for event in events:
            values: tuple[int | str, ...] = ()
            if event is _E.CONNECTED:
                values = place
            elif event is _E.HANDSHAKE_BEGUN:
                values = (1,)
            yield from line(event, at_ns, *values)
    attempt = handshake.attempt
    if attempt.stage is None or attempt.reason is None:
        return
    for event, number in failure_events(attempt.stage, attempt.reason, attempt.device_code, version):
        values = (*place, number or 0) if event is _E.CONNECT_FAILED else () if number is None else (number,)
        yield from line(event, handshake.ended_ns, *values)


def _place(address: tuple[str, int], version: Version) -> tuple[int | str, ...]:
    """The values of an address in a line."""
    host, port = address
    if version >= _WITH_NUMBERS:
        return host, port
    numbers = tuple(map(int, host.split("."))) if is_ipv4(host) else (0, 0, 0, 0)
    return *numbers, port
