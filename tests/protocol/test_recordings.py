"""Every recorded connection of genuine firmware, replayed through both cores, however its bytes are cut.

The RSA operations have random padding, so they are answered from the recording, and only for the recorded input;
AES is real, so every frame that a core sends is compared byte by byte with what was on the wire.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from loadgen.protocol.answers import device_replies
from loadgen.protocol.cloud import CloudConnection
from loadgen.protocol.coap import ACK, CON, OWN_ID, Kind, Message, kind_at_cloud, kind_at_device
from loadgen.protocol.device import DeviceConnection
from loadgen.protocol.events import (
    CryptoNeeded,
    CryptoRequest,
    DecryptNonce,
    DeviceIdentified,
    EncryptNonce,
    Event,
    HandshakeCompleted,
    MessageReceived,
    Open,
    Received,
    Seal,
    Sentinel,
    UnwrapKey,
    WrapKey,
)
from loadgen.protocol.session import cloud_replies
from loadgen.protocol.stages import Point
from tests.fakes import open_blocks, seal_blocks, sent
from tests.protocol.recordings import Transcript, transcripts

Cut = Callable[[list[bytes]], Iterator[bytes]]


def whole(blocks: list[bytes]) -> Iterator[bytes]:
    """One message a read."""
    yield from blocks


def byte_by_byte(blocks: list[bytes]) -> Iterator[bytes]:
    """One byte a read."""
    for byte in b"".join(blocks):
        yield bytes((byte,))


def with_tails(blocks: list[bytes]) -> Iterator[bytes]:
    """Each read has the rest of one message and the first byte of the next."""
    stream, start, end = b"".join(blocks), 0, 0
    for block in blocks:
        end += len(block)
        yield stream[start : end + 1]
        start = end + 1


def at_once(blocks: list[bytes]) -> Iterator[bytes]:
    """Everything in one read."""
    yield b"".join(blocks)


CUTS = [whole, byte_by_byte, with_tails, at_once]


class RecordedCrypto:
    """Answers with the recording's values, for the recording's inputs only."""

    def __init__(self, transcript: Transcript) -> None:
        self._transcript = transcript

    def perform(self, request: CryptoRequest) -> bytes:
        t = self._transcript
        match request:
            case EncryptNonce(server_key="server", plaintext=t.plaintext):
                return t.ciphertext
            case UnwrapKey(device_key="device", server_key="server", reply=t.reply):
                return t.material
            case DecryptNonce(server_key="server", ciphertext=t.ciphertext):
                return t.plaintext
            case WrapKey(server_key="server", device_public_key=t.public_key, material=t.material):
                return t.reply
            case Seal(key=key, iv=iv, padded=padded):
                return seal_blocks(key, iv, padded)
            case Open(key=key, iv=iv, ciphertext=ciphertext):
                return open_blocks(key, iv, ciphertext)
        raise AssertionError(request)


def replay(
    connection: DeviceConnection | CloudConnection, transcript: Transcript, incoming: Iterator[bytes]
) -> list[Event]:
    """Feed ``incoming`` and send every recorded own message as soon as the handshake is complete."""
    crypto = RecordedCrypto(transcript)
    from_device = isinstance(connection, DeviceConnection)
    events: list[Event] = []
    while True:
        event = connection.next_event()
        if isinstance(event, Sentinel):
            data = next(incoming, None)
            if data is None:
                return events
            connection.receive_data(data)
            continue
        events.append(event)
        if isinstance(event, CryptoNeeded):
            connection.answer(event.token, crypto.perform(event.request))
        elif isinstance(event, DeviceIdentified):
            assert isinstance(connection, CloudConnection)
            connection.admit(event.presented_key)
        elif isinstance(event, HandshakeCompleted):
            for message in transcript.messages(from_device=from_device)[1:]:
                if not _sent_by_core(connection, transcript, message):
                    connection.send_message(message)


def _sent_by_core(connection: DeviceConnection | CloudConnection, transcript: Transcript, message: Message) -> bool:
    """Whether it is the acknowledgement of a confirmable Hello, which the core sends by itself."""
    hello = transcript.messages(from_device=False)[0]
    return (
        isinstance(connection, DeviceConnection)
        and hello.type is CON
        and message.type is ACK
        and message.message_id == hello.message_id
    )


def received(events: list[Event]) -> list[Message]:
    return [event.message for event in events if isinstance(event, MessageReceived)]


def _device(transcript: Transcript) -> DeviceConnection:
    product_id, product_version = transcript.product
    return DeviceConnection(
        device_id=transcript.device_id,
        public_key=transcript.public_key,
        device_key="device",
        server_key="server",
        firmware=transcript.firmware,
        product_id=product_id,
        product_version=product_version,
    )


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.__name__)
@pytest.mark.parametrize("transcript", transcripts(), ids=lambda t: t.title)
def test_device_side(transcript: Transcript, cut: Cut) -> None:
    device = _device(transcript)
    events = replay(device, transcript, cut(transcript.blocks(from_device=False)))

    assert sent(events) == b"".join(transcript.blocks(from_device=True))
    assert received(events) == transcript.messages(from_device=False)[1:]
    points = [event.point for event in events if isinstance(event, Received)]
    assert points == [Point.NONCE_IN, Point.KEY_IN, Point.HELLO_IN]
    assert events.count(HandshakeCompleted()) == 1
    assert device.in_session


@pytest.mark.parametrize("cut", CUTS, ids=lambda cut: cut.__name__)
@pytest.mark.parametrize("transcript", transcripts(), ids=lambda t: t.title)
def test_cloud_side(transcript: Transcript, cut: Cut) -> None:
    own_hello = transcript.messages(from_device=False)[0]
    cloud = CloudConnection(
        server_key="server",
        nonce=transcript.nonce,
        material=transcript.material,
        message_id=own_hello.message_id,
    )
    events = replay(cloud, transcript, cut(transcript.blocks(from_device=True)))

    identified = [event for event in events if isinstance(event, DeviceIdentified)]
    assert identified == [DeviceIdentified(transcript.device_id, transcript.public_key)]
    expected = b"".join(transcript.blocks(from_device=False))
    if own_hello.type is CON:  # the one thing that this cloud does otherwise; nothing follows in that recording
        assert sent(events)[:-16] == expected[:-16]
    else:
        assert sent(events) == expected
    assert received(events) == transcript.messages(from_device=True)[1:]
    assert cloud.device_message_id == transcript.messages(from_device=True)[0].message_id
    assert cloud.in_session


@pytest.mark.parametrize("transcript", transcripts(), ids=lambda t: t.title)
def test_prepared_cloud_sends_the_same_bytes(transcript: Transcript) -> None:
    hello = transcript.messages(from_device=False)[0]
    cloud = CloudConnection(
        server_key=None,
        nonce=transcript.nonce,
        material=transcript.material,
        message_id=hello.message_id,
        prepared=transcript.reply,
    )
    events = replay(cloud, transcript, whole(transcript.blocks(from_device=True)))
    batched = [e for e in events if isinstance(e, CryptoNeeded) and e.request.batched]
    assert not batched
    assert sent(events)[:424] == transcript.nonce + transcript.reply
    assert cloud.in_session


@pytest.mark.parametrize("transcript", transcripts(), ids=lambda t: t.title)
def test_message_ids_follow_the_recorded_ones(transcript: Transcript) -> None:
    """One counter for everything that the device originates, acknowledgements left out."""
    ids = [m.message_id for m in transcript.messages(from_device=True) if m.type is not ACK]
    base = transcript.firmware.message_id_base(transcript.material[32:])
    assert ids == [base + 1 + n & 0xFFFF for n in range(len(ids))]


def test_cloud_replies_are_the_recorded_ones() -> None:
    """The reference cloud acknowledged what this cloud acknowledges, with the same bytes."""
    compared = 0
    for transcript in transcripts():
        sent_by_cloud = transcript.messages(from_device=False)
        for request in transcript.messages(from_device=True)[1:]:
            expected = [m for m in sent_by_cloud if m.type is ACK and m.message_id == request.message_id]
            now_s = int.from_bytes(expected[0].payload or b"", "big") if expected else 0
            assert cloud_replies(request, now_s) == expected, transcript.title
            compared += len(expected)
    assert compared == 23


def test_device_replies_are_the_recorded_ones() -> None:
    """What the genuine code of both implementations answered, one request after the other."""
    compared = 0
    for transcript in transcripts():
        answers = [m for m in transcript.messages(from_device=True) if m.type is ACK]
        first_own = _acks_of_hello(transcript)
        own_id = max(m.message_id for m in transcript.messages(from_device=True) if m.type is not ACK)
        for request in transcript.messages(from_device=False)[1:]:
            if request.type is ACK:
                continue
            for reply in device_replies(request, transcript.firmware):
                if reply.message_id == OWN_ID:
                    own_id += 1
                    reply.message_id = own_id
                assert _without_hash(reply) == _without_hash(answers[first_own]), transcript.title
                first_own += 1
                compared += 1
        assert first_own == len(answers)
    assert compared == 12


def _acks_of_hello(transcript: Transcript) -> int:
    """How many acknowledgements the core itself has sent."""
    return sum(_sent_by_core(_device(transcript), transcript, m) for m in transcript.messages(from_device=True))


def _without_hash(message: Message) -> Message:
    """A describe document without what a host's build says of its application: no hash, a failed check."""
    payload = message.payload or b""
    start = payload.find(b'"vv":26,"u":"' + b"0" * 64)
    if start < 0:
        start = payload.find(b'"vv":30,"u":"')
    if start >= 0:
        end = payload.index(b'"f":"u"', start)
        message.payload = payload[:start] + payload[end:]
    return message


def test_everything_recorded_is_classified() -> None:
    for transcript in transcripts():
        for message in transcript.messages(from_device=True):
            assert kind_at_cloud(message) is not Kind.UNKNOWN
        for message in transcript.messages(from_device=False):
            assert kind_at_device(message) is not Kind.UNKNOWN
