"""What a device says of its table before it connects, version by version."""

from __future__ import annotations

import pytest

from loadgen.diagnosis.evidence import Attempt
from loadgen.diagnosis.handshake import Handshake
from loadgen.diagnosis.narration import narrate
from loadgen.fleet.address import ServerAddress, address_record
from loadgen.fleet.dct import Dct, read_dct
from loadgen.fleet.flash import examine
from loadgen.protocol.firmware import PROFILES
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Point, Stage
from tests.fleet import dumps

REFUSED = Attempt(stage=Stage.CONNECT, reason=Reason.REFUSED)
BEGUN = Handshake(points={Point.STARTED: 0}, attempt=REFUSED)
CONNECTING = "[system] INFO: Cloud: connecting"
ERASED, ZEROS = b"\xff" * 128, bytes([7]) * 128
DEFAULT = "[system] WARN: Read Server Address = type:{},defaulting to device.spark.io"
RESTORED = [
    "[system] WARN: Public Server Address was blank, restoring.",
    "[system] INFO: Read Server Address = type:1,domain:device.spark.io",
]
NAME = address_record(ServerAddress("cloud.example", 5683))


def table(address: bytes, *, server: bytes | None = None) -> Dct:
    return read_dct(examine(dumps.copy(dumps.section(server=server, address=address))))


def told(dct: Dct | None, version: str) -> list[str]:
    """What it says before it looks for its cloud in the network."""
    lines = [line.partition(" ")[2] for line in narrate(BEGUN, ("127.0.0.1", 5683), PROFILES[f"p1@{version}"], dct)]
    ends = ("connection failed", "Connection attempt")
    return lines[: next(at for at, line in enumerate(lines) if any(end in line for end in ends))]


@pytest.mark.parametrize(
    ("address", "version", "expected"),
    [
        (ERASED, "0.6.4", [DEFAULT.format(255)]),
        (ERASED, "0.7.0", RESTORED),
        (ZEROS, "0.7.0", [DEFAULT.format(7)]),
        (ZEROS, "1.5.2", RESTORED),
        (NAME, "0.6.4", ["[system] INFO: Read Server Address = type:1,domain:cloud.example"]),
        (dumps.ADDRESS, "0.6.4", []),
    ],
)
def test_the_address(address: bytes, version: str, expected: list[str]) -> None:
    assert told(table(address), version) == [CONNECTING, *expected]
    assert told(None, version) == [CONNECTING]


def test_an_erased_server_key_is_said_before_the_first_attempt() -> None:
    blank = table(NAME, server=b"\xff" * 294)
    assert told(blank, "0.7.0")[:2] == ["[system] WARN: Public Server Key was blank, restoring.", CONNECTING]
    assert told(blank, "0.6.4")[0] == CONNECTING
