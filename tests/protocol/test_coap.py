"""The message codec, the builders against recorded bytes, and the classification of either side."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.protocol import coap
from loadgen.protocol.coap import ACK, CON, NON, RST, CoapError, Kind, Message, MessageType

OPTIONS = st.lists(
    st.tuples(st.integers(0, 0xFFFF), st.one_of(st.binary(max_size=20), st.binary(min_size=260, max_size=300))),
    max_size=4,
).map(lambda options: tuple(sorted(options, key=lambda option: option[0])))
MESSAGES = st.builds(
    Message,
    st.sampled_from(MessageType),
    st.integers(0, 255),
    st.integers(0, 0xFFFF),
    st.binary(max_size=8),
    OPTIONS,
    st.none() | st.binary(max_size=30),
)


@given(MESSAGES)
def test_round_trip(message: Message) -> None:
    assert coap.decode(coap.encode(message)) == message


@given(st.binary(max_size=64) | st.binary(max_size=60).map(lambda tail: b"\x51\x02\x00\x01\xb1" + tail))
def test_arbitrary_bytes_are_a_message_or_the_documented_error(data: bytes) -> None:
    try:
        message = coap.decode(data)
    except CoapError:
        return
    coap.kind_at_device(message)
    coap.kind_at_cloud(message)
    assert coap.decode(coap.encode(message)) == message  # the encoding may differ: extended nibbles are not unique


@given(MESSAGES)
def test_is_hello_agrees_with_the_classification(message: Message) -> None:
    data = coap.encode(message)
    assert coap.is_hello(data) == (coap.kind_at_device(message) is Kind.HELLO)


@given(
    st.sampled_from(MessageType),
    st.integers(0, 0xFFFF),
    st.binary(max_size=8),
    st.none() | st.binary(max_size=9),
)
def test_every_hello_is_one(kind: MessageType, message_id: int, token: bytes, payload: bytes | None) -> None:
    message = Message(kind, coap.Code.POST, message_id, token, ((11, b"h"),), payload)
    assert coap.is_hello(coap.encode(message))
    assert coap.kind_at_device(message) is coap.kind_at_cloud(message) is Kind.HELLO


@given(st.binary(max_size=20))
def test_is_hello_takes_any_bytes(data: bytes) -> None:
    if coap.is_hello(data):
        assert data[1] == coap.Code.POST


@pytest.mark.parametrize(
    "data",
    [
        "",
        "500212",
        "00021235",  # version 0
        "90021235",  # version 2
        "5902123500000000000000000000",  # nine bytes of token
        "5102" + "1235",  # the token is missing
        "50021235b2" + "68",  # the option is cut
        "50021235f1" + "68",  # delta 15
        "50021235bf" + "68",  # length 15
        "50021235bd",  # the extended length is missing
        "50021235be00",
        "50021235d1",
    ],
)
def test_malformed(data: str) -> None:
    with pytest.raises(CoapError):
        coap.decode(bytes.fromhex(data))


@pytest.mark.parametrize(
    "message",
    [
        Message(CON, 1, token=bytes(9)),
        Message(CON, 256),
        Message(CON, 1, 65536),
        Message(CON, 1, -1),
        Message(CON, 1, options=((11, b""), (10, b""))),
        Message(CON, 1, options=((11, bytes(70_000)),)),
        Message(CON, 1, options=((70_000, b""),)),
    ],
)
def test_unwritable(message: Message) -> None:
    with pytest.raises(CoapError):
        coap.encode(message)


def test_no_payload_and_an_empty_one_are_told_apart() -> None:
    assert coap.encode(Message(NON, 2, 1)) == bytes.fromhex("50020001")
    assert coap.encode(Message(NON, 2, 1, payload=b"")) == bytes.fromhex("50020001ff")
    assert coap.decode(bytes.fromhex("50020001")).payload is None
    assert coap.decode(bytes.fromhex("50020001ff")).payload == b""


def with_id(message: Message, message_id: int) -> str:
    message.message_id = message_id
    return coap.encode(message).hex()


def test_builders_give_the_recorded_bytes() -> None:
    event = coap.event("spark/hardware/max_binary", b"262144", private=True)
    assert with_id(event, 0x10A9) == (
        "500210a9b1450d0c737061726b2f68617264776172652f6d61785f62696e617279ff323632313434"
    )
    assert with_id(coap.event("temperature", b"21.5"), 0x782C) == ("5002782cb1650b74656d7065726174757265ff32312e35")
    assert with_id(coap.event("sparkx", b"payload", confirmable=True), 0xA06D) == (
        "4002a06db16506737061726b78ff7061796c6f6164"
    )
    assert with_id(coap.subscribe("spark"), 0x10AC) == "400110acb16505737061726b"
    assert with_id(coap.subscribe("foo", own_devices=True), 0xAB43) == "4001ab43b16503666f6f4175"
    assert with_id(coap.time_request(b"\xc8"), 0x10AD) == "410110adc8b174"
    assert with_id(coap.describe_request(b"\x95"), 0xCE3E) == "4101ce3e95b164"
    assert with_id(coap.describe_request(b"\x3a", 1), 0xCE3F) == "4101ce3f3ab1644101"
    assert with_id(coap.signal(b"\xc0", start=True), 0xA06A) == "4103a06ac0b1734101"
    assert with_id(coap.signal(b"\x09", start=False), 0xA06B) == "4103a06b09b1734100"
    assert with_id(coap.ping(), 0x87E1) == "400087e1"
    assert coap.encode(coap.empty_ack(0x87E1)).hex() == "600087e1"
    request = coap.decode(bytes.fromhex("410110adc8b174"))
    assert coap.encode(coap.time_response(request, 0x6B02F568)).hex() == "614510adc8ff6b02f568"
    signal = coap.decode(bytes.fromhex("4103a06ac0b1734101"))
    assert coap.encode(coap.response(signal, coap.Code.CHANGED)).hex() == "6144a06ac0"
    assert coap.cloud_hello(0xB77F).hex() == "5002b77fb168"
    hello = coap.device_hello(0xAB42, product_id=1234, product_version=7, flags=0, platform_id=8)
    assert hello.hex() == "5002ab42b168ff04d2000700000008"


def test_a_time_to_live_of_its_own_is_an_option() -> None:
    assert with_id(coap.event("a", b"1", ttl_s=3600), 1) == "50020001b1650161" + "33000e10" + "ff31"


def test_vector_frames_decode_and_encode_again(handshake_vector: Any) -> None:
    for direction in ("device_to_server", "server_to_device"):
        for frame in handshake_vector[direction]:
            plain = bytes.fromhex(frame["plaintext"])
            assert coap.encode(coap.decode(plain)) == plain, frame["what"]


def message(kind: MessageType, code: int, path: bytes = b"") -> Message:
    return Message(kind, code, 1, b"", ((11, path),) if path else ())


@pytest.mark.parametrize(
    ("received", "kind"),
    [
        (message(CON, 0), Kind.PING),
        (message(NON, 0), Kind.ACK),
        (message(ACK, 0), Kind.ACK),
        (message(RST, 0), Kind.ACK),
        (message(CON, 1, b"v"), Kind.VARIABLE_REQUEST),
        (message(CON, 1, b"d"), Kind.DESCRIBE_REQUEST),
        (message(NON, 2, b"e"), Kind.EVENT),
        (message(NON, 2, b"E"), Kind.EVENT),
        (message(CON, 2, b"h"), Kind.HELLO),
        (message(NON, 2, b"h"), Kind.HELLO),
        (message(CON, 2, b"f"), Kind.FUNCTION_CALL),
        (message(CON, 2, b"s"), Kind.SAVE_BEGIN),
        (message(CON, 2, b"u"), Kind.UPDATE_BEGIN),
        (message(CON, 2, b"c"), Kind.CHUNK),
        (message(CON, 3, b"k"), Kind.KEY_CHANGE),
        (message(CON, 3, b"u"), Kind.UPDATE_DONE),
        (message(CON, 3, b"s"), Kind.SIGNAL),
        (message(ACK, 0x45), Kind.TIME),
        (message(ACK, 0x44), Kind.UNKNOWN),
        (message(ACK, 0x80), Kind.UNKNOWN),
        (message(CON, 1, b"h"), Kind.UNKNOWN),
        (message(CON, 4, b"h"), Kind.UNKNOWN),
        (message(CON, 2), Kind.UNKNOWN),
        (message(CON, 2, b"hello"), Kind.UNKNOWN),
        (Message(CON, 2, 1, options=((15, b"h"),)), Kind.UNKNOWN),
    ],
)
def test_kinds_at_the_device(received: Message, kind: Kind) -> None:
    assert coap.kind_at_device(received) is kind


@pytest.mark.parametrize(
    ("received", "kind"),
    [
        (message(CON, 0), Kind.PING),
        (message(ACK, 0), Kind.ACK),
        (message(CON, 1, b"t"), Kind.TIME_REQUEST),
        (message(CON, 1, b"e"), Kind.SUBSCRIBE),
        (message(CON, 1, b"c"), Kind.CHUNK_MISSED),
        (message(NON, 2, b"h"), Kind.HELLO),
        (message(NON, 2, b"e"), Kind.EVENT),
        (message(CON, 2, b"E"), Kind.EVENT),
        (message(CON, 2, b"d"), Kind.DESCRIBE),
        (message(CON, 2, b"x"), Kind.GOODBYE),
        (message(NON, 3, b"u"), Kind.UPDATE_DONE),
        (message(ACK, 0x45), Kind.RESPONSE),
        (message(NON, 0x44), Kind.RESPONSE),
        (message(ACK, 0x80), Kind.RESPONSE),
        (message(CON, 1, b"d"), Kind.UNKNOWN),
        (message(CON, 7), Kind.UNKNOWN),
    ],
)
def test_kinds_at_the_cloud(received: Message, kind: Kind) -> None:
    assert coap.kind_at_cloud(received) is kind
