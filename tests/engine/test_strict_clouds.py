"""Held devices of every firmware against clouds as strict as the real ones, for minutes of a clock that tests move.

The rules are those of the two public servers: particle-iot/spark-protocol ``js/clients/SparkCore.js`` (a message id
that is not the next one ends the session) and Brewskey/spark-protocol ``src/clients/Device.js`` (that too; a describe
document within 15 s, 31 s without a message, acknowledgements only for devices that have described themselves).
"""

from __future__ import annotations

import json
from typing import Final

import msgspec
import pytest

from loadgen.engine.draws import Distribution
from loadgen.protocol import coap
from loadgen.protocol.cloud import CloudConnection
from loadgen.protocol.coap import ACK, Code, Kind, Message, kind_at_cloud
from loadgen.protocol.events import HandshakeCompleted, MessageReceived, SendBytes
from loadgen.protocol.firmware import PROFILES, FirmwareProfile
from tests.engine.fakes import SECOND, Bench, FakeSocket, firmware_plan, plan
from tests.fakes import MATERIAL, NONCE, FakeCrypto, pull

NOW_S: Final = 1_600_000_000
IDLE_NS: Final = 31 * SECOND
DESCRIBE_AFTER_NS: Final = SECOND // 20
DESCRIBE_WITHIN_NS: Final = 15 * SECOND
TOKEN: Final = b"\x01"


class VendorCloud:
    """Strict about ids, patient otherwise; acknowledges with a stray token."""

    stray_token = b"\0"

    def __init__(self, bench: Bench, sock: FakeSocket) -> None:
        self._bench = bench
        self._sock = sock
        self.core = CloudConnection(server_key=b"", nonce=NONCE, material=MATERIAL, message_id=0xFFF0)
        self.begun_ns: int | None = None
        self.heard_ns = bench.now
        self.end: str | None = None
        self.received: list[Kind] = []
        self._expected = 0
        self._pump()

    def feed(self, data: bytes) -> None:
        """Take what the device has sent."""
        if self.end is None:
            self.core.receive_data(data)
            self._pump()

    def pass_time(self) -> None:
        """Look at the clock."""

    def close(self, why: str) -> None:
        """End the connection."""
        self.end = why
        self._sock.inbox.append(b"")

    def _pump(self) -> None:
        while self.end is None:
            events = pull(self.core)
            for event in events:
                if isinstance(event, SendBytes):
                    self._sock.inbox.append(event.data)
                elif isinstance(event, HandshakeCompleted):
                    self.begun_ns = self._bench.now
                    self._expected = self.core.device_message_id or 0
                elif isinstance(event, MessageReceived):
                    self._take(event.message)
            if not events:
                return

    def _take(self, message: Message) -> None:
        self.heard_ns = self._bench.now
        self.received.append(kind_at_cloud(message))
        if message.type is not ACK:
            self._expected = self._expected + 1 & 0xFFFF
            if message.code != Code.EMPTY and message.message_id != self._expected:
                self.close(f"Bad Counter: {message.message_id:#06x} instead of {self._expected:#06x}")
                return
        self.answer(message)

    def answer(self, message: Message) -> None:
        """What there is to say."""
        kind = kind_at_cloud(message)
        if kind is Kind.TIME_REQUEST:
            self.core.send_message(coap.time_response(message, NOW_S))
        elif kind in {Kind.PING, Kind.EVENT, Kind.SUBSCRIBE}:
            self.core.send_message(Message(ACK, Code.EMPTY, message.message_id, self.stray_token))


class BrewskeyCloud(VendorCloud):
    """Wants to know whom it talks to, and hears nothing of posted documents."""

    stray_token = b""

    def __init__(self, bench: Bench, sock: FakeSocket) -> None:
        self._asked = False
        self._keys: set[str] = set()
        super().__init__(bench, sock)

    @property
    def ready(self) -> bool:
        """The device has described itself."""
        return {"m", "v"} <= self._keys

    def pass_time(self) -> None:
        if self.begun_ns is None or self.end is not None:
            return
        now = self._bench.now
        if not self._asked and now >= self.begun_ns + DESCRIBE_AFTER_NS:
            self._asked = True
            self.core.send_message(coap.describe_request(TOKEN))
            self._pump()
        if not self.ready and now > self.begun_ns + DESCRIBE_WITHIN_NS:
            self.close("describe timeout")
        elif now > self.heard_ns + IDLE_NS:
            self.close("idle")

    def answer(self, message: Message) -> None:
        kind = kind_at_cloud(message)
        if kind is Kind.RESPONSE and message.token == TOKEN and message.code == Code.CONTENT:
            self._keys |= json.loads(message.payload or b"{}").keys()
        elif kind in {Kind.PING, Kind.TIME_REQUEST} or (
            self.ready and (kind is Kind.SUBSCRIBE or (kind is Kind.EVENT and message.options[1][1][:5] == b"spark"))
        ):
            super().answer(message)


class Clouds:
    """The clouds of a bench's connections."""

    def __init__(self, bench: Bench, make: type[VendorCloud]) -> None:
        self._bench = bench
        self._make = make
        self.of: dict[int, VendorCloud] = {}
        bench.network.on_connect = self._connect
        bench.network.on_send = lambda sock, data: self.of[sock.number].feed(data)

    def _connect(self, sock: FakeSocket) -> None:
        self.of[sock.number] = self._make(self._bench, sock)

    def live(self, to_ns: int) -> None:
        """Let time pass in steps in which the clouds look at their clocks."""
        for at_ns in range(0, to_ns + 1, SECOND // 4):
            self._bench.advance(at_ns, step_ns=SECOND // 4)
            for cloud in self.of.values():
                cloud.pass_time()


def held(profile: FirmwareProfile, minutes: int, **changes: object) -> Bench:
    """One device of this firmware, connected for so long."""
    load = plan(count=1, duration_ns=None, hold_ns=minutes * 60 * SECOND, **changes)
    load = msgspec.structs.replace(load, firmwares=(firmware_plan(profile),))
    return Bench(load, devices=1, firmwares=(profile,), backend=FakeCrypto())


@pytest.mark.parametrize("make", [VendorCloud, BrewskeyCloud])
@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_a_held_device_stays_connected(profile: FirmwareProfile, make: type[VendorCloud]) -> None:
    if make is BrewskeyCloud and not profile.plaintext_has_key:
        return  # that server takes no device that does not present its key
    bench = held(profile, 5)
    clouds = Clouds(bench, make)
    bench.driver.begin(bench.begin)
    clouds.live(4 * 60 * SECOND)
    (cloud,) = clouds.of.values()
    assert cloud.end is None
    assert bench.driver.snapshot(bench.now).sessions == 1
    assert cloud.received.count(Kind.PING) >= 8
    assert Kind.UNKNOWN not in cloud.received
    bench.driver.stop()
    assert bench.driver.finished
    assert not bench.driver.session_failures


@pytest.mark.parametrize("name", ["p1@0.4.9", "p1@0.7.0", "p1@1.0.1", "p1@3.3.1"])
def test_events_at_the_rate_limit_leave_the_session_whole(name: str) -> None:
    profile = PROFILES[name]
    bench = held(profile, 2, events=Distribution("constant", float(profile.events_per_s)))
    clouds = Clouds(bench, BrewskeyCloud)
    bench.driver.begin(bench.begin)
    clouds.live(60 * SECOND)
    (cloud,) = clouds.of.values()
    assert cloud.end is None
    assert cloud.received.count(Kind.EVENT) >= 59 * profile.events_per_s
    bench.driver.stop()


def test_the_clouds_are_as_strict_as_they_say() -> None:
    """A skipped id, a missing document and silence each end a session here."""
    bench = held(PROFILES["p1@0.7.0"], 5)
    clouds = Clouds(bench, VendorCloud)
    bench.driver.begin(bench.begin)
    clouds.live(SECOND)
    (device,) = bench.driver._devices
    assert device._core.session is not None
    device._core.session.next_message_id()
    device.send_event()
    bench.settle()
    (cloud,) = clouds.of.values()
    assert cloud.end is not None
    assert cloud.end.startswith("Bad Counter")

    for mute, why in ((Kind.DESCRIBE_REQUEST, "describe timeout"), (Kind.PING, "idle")):
        bench = held(PROFILES["p1@0.7.0"], 5)
        clouds = Clouds(bench, BrewskeyCloud)
        bench.driver.begin(bench.begin)
        clouds.live(SECOND)
        (cloud,) = clouds.of.values()
        if mute is Kind.DESCRIBE_REQUEST:
            assert isinstance(cloud, BrewskeyCloud)
            cloud._keys.clear()
        bench.network.on_send = lambda sock, data: None
        clouds.live(34 * SECOND)
        assert cloud.end == why
