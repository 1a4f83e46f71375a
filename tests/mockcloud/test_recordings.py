"""What genuine device code once sent to another cloud, sent to this one."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.protocol import coap
from loadgen.protocol.events import Open
from loadgen.protocol.wire import unpad
from tests.crypto.recordings import RECORDINGS, load_vector, transcripts
from tests.mockcloud.fakes import FakeHost
from tests.mockcloud.peer import BACKEND

ITEMS = [(name, item) for name in RECORDINGS for item in load_vector(name)["transcripts"]]
NAMES = [f"{name}: {item['title']}" for name, item in ITEMS]


class Reader:
    """Opens the cloud's frames, checking that each was sent in one piece."""

    def __init__(self, material: bytes) -> None:
        self._key, self._iv = material[:16], material[16:32]

    def open(self, frame: bytes) -> coap.Message:
        ciphertext = frame[2:]
        assert int.from_bytes(frame[:2]) == len(ciphertext)
        message = coap.decode(unpad(BACKEND.open(Open(self._key, self._iv, ciphertext))))
        self._iv = ciphertext[:16]
        return message


@pytest.mark.parametrize("which", range(len(ITEMS)), ids=NAMES)
def test_every_recorded_connection_is_served_in_a_way_its_firmware_accepts(which: int) -> None:
    item: dict[str, Any] = ITEMS[which][1]
    recorded = transcripts()[which]
    host = FakeHost(
        key=BACKEND.load_device_public_key(recorded.device_public_key),
        material=recorded.material,
        nonce=recorded.nonce,
        private_key=recorded.server_key,
    )
    assert host.sent() == [recorded.nonce]
    (reply,) = host.receive(recorded.ciphertext)
    assert len(reply) == 384
    reader = Reader(recorded.material)
    (hello,) = host.receive(bytes.fromhex(_from_device(item)[0]["frame"]))
    assert coap.kind_at_device(reader.open(hello)) is coap.Kind.HELLO
    assert host.completed == 1
    for frame in _from_device(item)[1:]:
        said = coap.decode(bytes.fromhex(frame["plain"]))
        answers = [reader.open(sent) for sent in host.receive(bytes.fromhex(frame["frame"]))]
        assert [answer.message_id for answer in answers] == [said.message_id] * _expected(said)
        for answer in answers:
            is_time = coap.kind_at_cloud(said) is coap.Kind.TIME_REQUEST
            assert answer.type is coap.ACK
            assert answer.code == (coap.Code.CONTENT if is_time else coap.Code.EMPTY)
            assert answer.token == (said.token if is_time else b"")
    assert host.ends == []
    assert host.counts.out_of_order == 0


def _from_device(item: dict[str, Any]) -> list[dict[str, Any]]:
    return [frame for frame in item["frames"] if frame["dir"] == "c2s"]


def _expected(message: coap.Message) -> int:
    """How many answers a message of the device gets."""
    return 0 if message.type is coap.ACK else 1
