"""Boot traffic, version by version."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from loadgen.protocol import coap
from loadgen.protocol.boot import FIRST_BOOT, RECONNECT, Boot, boot_messages
from loadgen.protocol.coap import CON, NON, Kind, kind_at_cloud
from loadgen.protocol.firmware import P1_0_7_0, PROFILES, FirmwareProfile, firmware
from tests.protocol.recordings import LIGHTSSL_0_7_0, Transcript, transcripts


def tokens() -> Iterator[bytes]:
    yield b"\x57"
    raise AssertionError("one token too many")


def told(profile: FirmwareProfile, boot: Boot = FIRST_BOOT) -> list[str]:
    """Each message in a few characters."""
    return [_short(message) for message in boot_messages(profile, boot, tokens().__next__)]


def _short(message: coap.Message) -> str:
    path = "/".join(value.decode() for number, value in message.options if number == coap.Option.URI_PATH)
    query = "".join(f"?{value.hex()}" for number, value in message.options if number == coap.Option.URI_QUERY)
    assert message.type is (NON if path.startswith("E/") else CON)
    data = b"" if message.payload is None or path == "d" else b"=" + message.payload
    return path + query + data.decode()


EVENTS = ["E/spark/hardware/max_binary=262144", "E/spark/hardware/ota_chunk_size=512"]
LAST_RESET = ["E/spark/device/last_reset=power_down"]
FLAGS = ["E/particle/device/updates/enabled=true", "E/particle/device/updates/forced=false"]
FROM_1_2 = ["e/spark?75", "e/particle?75"]

ORDER = {
    "p1@0.4.9": [*EVENTS, "e/spark", "t"],
    "p1@0.5.5": [*EVENTS, "e/spark", "t"],
    "p1@0.6.4": [*EVENTS, *LAST_RESET, "e/spark", "t"],
    "p1@0.7.0": [*EVENTS, *LAST_RESET, "e/spark", "t"],
    "p1@0.8.0-rc.4": [*EVENTS, *LAST_RESET, "e/spark", "t"],
    "p1@1.0.1": [*EVENTS, *LAST_RESET, "e/spark", "t"],
    "p1@1.5.2": [*EVENTS, *LAST_RESET, *FLAGS, *FROM_1_2, "t"],
    "p1@2.0.0": ["d?01", *EVENTS, *LAST_RESET, *FLAGS, "t", "d?02", *FROM_1_2],
    "p1@3.3.1": ["d?01", *EVENTS, *LAST_RESET, *FLAGS, "t", "d?02", *FROM_1_2],
    "photon@1.5.2": [*EVENTS, *LAST_RESET, *FLAGS, *FROM_1_2, "t"],
}


@pytest.mark.parametrize("name", ORDER)
def test_the_order(name: str) -> None:
    assert told(firmware(name)) == ORDER[name]


@pytest.mark.parametrize("name", ORDER)
def test_a_reconnection_tells_no_reset(name: str) -> None:
    assert told(firmware(name), RECONNECT) == [text for text in ORDER[name] if text not in LAST_RESET]


def test_the_oldest_tells_its_subsystem() -> None:
    assert told(firmware("p1@0.4.0"))[2].startswith("E/spark/cc3000-patch-version=wl0: ")
    assert not any("cc3000" in text for name in ORDER for text in told(firmware(name)))


def test_a_device_that_is_being_set_up_in_safe_mode() -> None:
    boot = Boot(claim_code=b"abc", safe_mode=True, reset_reason="safe_mode", key_errors=5)
    assert told(P1_0_7_0, boot) == [
        "E/spark/device/claim/code=abc",
        *EVENTS,
        "E/spark/device/safemode=",
        "E/spark/device/last_reset=safe_mode",
        "e/spark",
        "t",
        "E/spark/device/key/error=5",
    ]
    assert "E/spark/device/key/error=5" not in told(firmware("p1@0.6.4"), boot)


def test_bytes() -> None:
    """The ones of the protocol's worked example."""
    messages = [coap.encode(message).hex() for message in boot_messages(P1_0_7_0, RECONNECT, tokens().__next__)]
    assert messages == [
        "50020000b1450d0c737061726b2f68617264776172652f6d61785f62696e617279ff323632313434",
        "50020000b1450d10737061726b2f68617264776172652f6f74615f6368756e6b5f73697a65ff353132",
        "40010000b16505737061726b",
        "4101000057b174",
    ]


def test_posted_documents() -> None:
    posts = [m for m in boot_messages(firmware("p1@2.3.1"), FIRST_BOOT, tokens().__next__) if m.options[0][1] == b"d"]
    assert [coap.encode(post)[:9].hex() for post in posts] == ["40020000b1644101ff", "40020000b1644102ff"]
    assert [list(json.loads(post.payload or b"")) for post in posts] == [["p", "m"], ["f", "v"]]


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_a_cloud_understands_all_of_it(profile: FirmwareProfile) -> None:
    boot = Boot(claim_code=b"abc", safe_mode=True, key_errors=1)
    for message in boot_messages(profile, boot, tokens().__next__):
        assert kind_at_cloud(message) is not Kind.UNKNOWN
        assert len(coap.encode(message)) < profile.max_frame
        if message.payload and message.options[0][1] == b"E":
            assert len(message.payload) <= profile.event_data


def _boots() -> list[Transcript]:
    return [t for t in transcripts() if any(b"max_binary" in frame.plain for frame in t.frames)]


def test_the_recorded_boots_are_sent_byte_by_byte() -> None:
    """Genuine firmware of both implementations, from its Hello to its time request."""
    compared = []
    for transcript in _boots():
        recorded = transcript.messages(from_device=True)[1:]
        salt = transcript.material[32:]
        token = bytes(((transcript.firmware.token_base(salt) + 1) & 0xFF,))
        sent = list(boot_messages(transcript.firmware, FIRST_BOOT, iter((token,)).__next__))
        for number, message in enumerate(sent):
            if message.type in {CON, NON}:
                message.message_id = transcript.firmware.message_id_base(salt) + 2 + number & 0xFFFF
        assert sent == recorded
        compared.append(transcript.firmware)
    assert compared == [P1_0_7_0, LIGHTSSL_0_7_0]
