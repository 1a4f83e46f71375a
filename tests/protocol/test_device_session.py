"""The device's side once Hello is out: what overtakes it, ids, IVs, tokens, and what ends a session."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.protocol import coap
from loadgen.protocol.answers import device_replies
from loadgen.protocol.device import DeviceConnection
from loadgen.protocol.events import CryptoNeeded, HandshakeCompleted, MessageReceived, SendBytes
from loadgen.protocol.firmware import P1_0_7_0
from loadgen.protocol.reasons import HandshakeError, Reason
from loadgen.protocol.stages import Stage
from loadgen.protocol.states import DeviceState
from tests.fakes import pull, sent
from tests.protocol.scripted import (
    CLOUD_HELLO,
    DEVICE_HELLO,
    Sealer,
    device_awaiting_hello,
    device_in_session,
    message,
    messages,
    sends,
)

LENIENT = replace(P1_0_7_0, name="lenient@0", closes_on_unknown_code=False)


def assert_session_ends(device: DeviceConnection, reason: Reason) -> None:
    with pytest.raises(HandshakeError) as caught:
        pull(device)
    assert (caught.value.stage, caught.value.reason, caught.value.in_session) == (Stage.HELLO, reason, True)
    assert device.state is DeviceState.FAILED


def test_what_may_overtake_hello_is_delivered_and_can_be_answered() -> None:
    device, sealer = device_awaiting_hello()
    overtaking = [
        "40001111",
        "41012222aab164",
        "600033aa",
        "6100333300",
        "50024444b1650161ff",
        "6145555500ff00000000",
    ]
    device.receive_data(b"".join(sealer.frame(m) for m in overtaking))
    events = pull(device)
    assert messages(events) == [message(m) for m in overtaking]
    assert device.state is DeviceState.EXPECT_HELLO

    for received in messages(events):
        for answer in device_replies(received, P1_0_7_0):
            device.send_message(answer)
    own = Sealer()
    own.frame(DEVICE_HELLO)
    answers = own.read(b"".join(sends(pull(device))))
    assert [a[:6].hex() for a in answers] == ["60001111", "61452222aaff"]

    device.receive_data(sealer.frame(CLOUD_HELLO))
    assert HandshakeCompleted() in pull(device)


def test_own_ping_before_hello() -> None:
    device, sealer = device_awaiting_hello()
    ping = coap.ping()
    assert device.send_message(ping) == ping.message_id == 0x8487
    own = Sealer()
    own.frame(DEVICE_HELLO)
    assert own.read(sent(pull(device))) == [bytes.fromhex("40008487")]
    device.receive_data(sealer.frame("6100848700") + sealer.frame(CLOUD_HELLO))
    events = pull(device)
    assert messages(events) == [message("6100848700")]
    assert HandshakeCompleted() in events


@pytest.mark.parametrize(
    "hello", ["50022001b168", "5102200101b168", "40022001b168", "4102200101b168", "50022001b168ff00"]
)
def test_hellos_of_other_clouds(hello: str) -> None:
    device, sealer = device_awaiting_hello()
    device.receive_data(sealer.frame(hello))
    events = pull(device)
    assert HandshakeCompleted() in events
    assert sends(events) == []  # this firmware does not acknowledge it


@pytest.mark.parametrize(("hello", "acknowledged"), [("40022001b168", ["60002001"]), ("50022001b168", [])])
def test_firmware_that_acknowledges_a_confirmable_hello(hello: str, acknowledged: list[str]) -> None:
    device, sealer = device_awaiting_hello(replace(P1_0_7_0, acks_confirmable_hello=True))
    device.send_message(coap.ping())
    device.receive_data(sealer.frame(hello))
    own = Sealer()
    own.frame(DEVICE_HELLO)
    assert [m.hex() for m in own.read(sent(pull(device)))] == ["40008487", *acknowledged]


def test_a_second_hello_is_a_message() -> None:
    device, sealer, _ = device_in_session()
    device.receive_data(sealer.frame(CLOUD_HELLO))
    events = pull(device)
    assert messages(events) == [message(CLOUD_HELLO.hex())]
    assert HandshakeCompleted() not in events


def test_one_counter_for_everything_but_acknowledgements() -> None:
    device, _, own = device_in_session()
    ids = [
        device.send_message(coap.event("a")),
        device.send_message(coap.empty_ack(0x7777)),
        device.send_message(coap.subscribe("b")),
        device.send_message(coap.Message(coap.RST, 0, 0x8888)),
        device.send_message(coap.ping()),
    ]
    assert ids == [0x8487, 0x7777, 0x8488, 0x8888, 0x8489]
    assert [int.from_bytes(m[2:4], "big") for m in own.read(sent(pull(device)))] == ids


def test_iv_is_the_first_block_of_the_previous_ciphertext() -> None:
    device, sealer, own = device_in_session()
    long = coap.event("spark/hardware/max_binary", b"262144", private=True)
    for text in (long, coap.ping()):
        device.send_message(text)
    frames = sends(pull(device))
    assert [len(frame) for frame in frames] == [50, 18]
    assert own.read(b"".join(frames))[1].hex() == "40008488"
    device.receive_data(sealer.frame(coap.encode(long)) + sealer.frame("40000001"))
    assert messages(pull(device))[1] == message("40000001")


def test_tokens_come_from_the_salt() -> None:
    device, _, _ = device_in_session()
    assert device.session is not None
    assert device.session.next_token() == b"\x87"
    assert device.session.next_token() == b"\x88"


def test_queued_messages_go_before_the_next_frame_is_opened() -> None:
    device, sealer, _ = device_in_session()
    device.receive_data(sealer.frame("40000001"))
    device.send_message(coap.ping())
    kinds = [type(event) for event in pull(device)]
    assert kinds == [CryptoNeeded, SendBytes, CryptoNeeded, MessageReceived]


@pytest.mark.parametrize("wrong", ["60800001", "61440001aa", "40040001", "50010001b178", "", "500220", "51020001b1"])
def test_what_the_firmware_cannot_classify_ends_the_session(wrong: str) -> None:
    device, sealer, _ = device_in_session()
    device.receive_data(sealer.frame(wrong))
    assert_session_ends(device, Reason.BAD_HELLO)

    lenient, sealer, _ = device_in_session(LENIENT)
    lenient.receive_data(sealer.frame(wrong) + sealer.frame("40000001"))
    assert messages(pull(lenient)) == [message("40000001")]


def test_lenient_firmware_waits_on_for_hello() -> None:
    device, sealer = device_awaiting_hello(LENIENT)
    device.receive_data(sealer.frame("60800001") + sealer.frame(CLOUD_HELLO))
    assert HandshakeCompleted() in pull(device)


@pytest.mark.parametrize("length", [0, 17, 816])
def test_wrong_frames_end_the_session(length: int) -> None:
    device, _, _ = device_in_session()
    device.receive_data(length.to_bytes(2, "big"))
    assert_session_ends(device, Reason.BAD_FRAME)


def test_wrong_padding_ends_the_session() -> None:
    device, sealer, _ = device_in_session()
    device.receive_data(sealer.raw(bytes.fromhex("40000001") + bytes(12)))
    assert_session_ends(device, Reason.BAD_FRAME)


def test_messages_that_do_not_fit() -> None:
    device, _, own = device_in_session()
    with pytest.raises(coap.CoapError):
        device.send_message(coap.event("a", bytes(800)))
    device.send_message(coap.event("a", bytes(799 - 9)))
    assert len(own.read(sent(pull(device)))[0]) == 799
