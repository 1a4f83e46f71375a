"""The device's side: order of events, every fault with its one stage and reason, ends at every byte, the session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from loadgen.protocol import coap
from loadgen.protocol.device import DeviceConnection
from loadgen.protocol.events import (
    NEED_DATA,
    PAUSED,
    CryptoNeeded,
    EncryptNonce,
    HandshakeCompleted,
    Open,
    Received,
    Seal,
    SendBytes,
    Sentinel,
    UnwrapKey,
)
from loadgen.protocol.firmware import P1_0_7_0
from loadgen.protocol.reasons import CryptoFault, HandshakeError, Reason, Side
from loadgen.protocol.session import MAX_EARLY_BYTES
from loadgen.protocol.stages import Point, Stage
from loadgen.protocol.states import DeviceState, IllegalTransition
from tests.fakes import (
    DEVICE_ID,
    DEVICE_PUBLIC_KEY,
    MATERIAL,
    NONCE,
    OTHER_DEVICE_PUBLIC_KEY,
    SERVER_PUBLIC_KEY,
    FakeCrypto,
    make_cloud,
    make_device,
    pull,
    shake_hands,
)
from tests.protocol.scripted import (
    CLOUD_HELLO,
    DEVICE_HELLO,
    PLAINTEXT,
    Sealer,
    ciphertext,
    device_awaiting_hello,
    device_in_session,
    message,
    messages,
    reply,
    sends,
)


def request_in(event: object, kind: type) -> int:
    """The token of a crypto request of this kind."""
    assert isinstance(event, CryptoNeeded)
    assert isinstance(event.request, kind)
    return event.token


def silent_device() -> DeviceConnection:
    """A device whose connection does not stand yet."""
    return DeviceConnection(
        device_id=DEVICE_ID,
        public_key=DEVICE_PUBLIC_KEY,
        device_key=DEVICE_PUBLIC_KEY,
        server_key=SERVER_PUBLIC_KEY,
        firmware=P1_0_7_0,
    )


def failure_of(device: DeviceConnection) -> HandshakeError:
    with pytest.raises(HandshakeError) as caught:
        pull(device)
    assert device.state is DeviceState.FAILED
    return caught.value


def assert_fails(
    device: DeviceConnection, stage: Stage, reason: Reason, fault: Side = Side.CLOUD, *, in_session: bool = False
) -> None:
    error = failure_of(device)
    assert (error.stage, error.reason, error.fault, error.in_session) == (stage, reason, fault, in_session)


# --- the good handshake


def test_order_of_events() -> None:
    device = make_device()
    assert device.next_event() is NEED_DATA
    device.receive_data(NONCE)
    assert device.next_event() == Received(Point.NONCE_IN)
    event = device.next_event()
    assert event == CryptoNeeded(1, EncryptNonce(SERVER_PUBLIC_KEY, PLAINTEXT))
    assert device.next_event() is PAUSED
    device.answer(1, ciphertext())
    assert device.next_event() == SendBytes(ciphertext(), Point.CIPHERTEXT_OUT)
    assert device.next_event() is NEED_DATA

    device.receive_data(reply())
    assert device.next_event() == Received(Point.KEY_IN)
    event = device.next_event()
    assert event == CryptoNeeded(2, UnwrapKey(DEVICE_PUBLIC_KEY, SERVER_PUBLIC_KEY, reply()))
    assert device.next_event() is PAUSED
    device.answer(2, MATERIAL)
    token = request_in(device.next_event(), Seal)
    assert device.next_event() is PAUSED
    hello = Sealer().frame(DEVICE_HELLO)
    device.answer(token, hello[2:])
    assert device.next_event() == SendBytes(hello, Point.HELLO_OUT)
    assert device.next_event() is NEED_DATA

    device.receive_data(Sealer().frame(CLOUD_HELLO))
    token = request_in(device.next_event(), Open)
    assert device.next_event() is PAUSED
    device.answer(token, CLOUD_HELLO + b"\x0a" * 10)
    assert device.next_event() == Received(Point.HELLO_IN)
    assert device.next_event() == HandshakeCompleted()
    assert device.next_event() is NEED_DATA
    assert device.in_session


def test_stages_on_the_way() -> None:
    device = silent_device()
    stages = [device.stage]
    assert device.next_event() is NEED_DATA
    stages.append(device.stage)
    device.connected()
    stages.append(device.stage)
    for block in (NONCE, reply()):
        device.receive_data(block)
        device.next_event()
        stages.append(device.stage)
        pull(device)
        stages.append(device.stage)
    device.failure(Reason.TIMEOUT)
    stages.append(device.stage)
    assert stages == [
        Stage.CONNECT,
        Stage.CONNECT,
        Stage.NONCE,
        Stage.ENCRYPT,
        Stage.KEY,
        Stage.UNWRAP,
        Stage.HELLO,
        Stage.FAILED,
    ]


def test_the_first_bytes_say_that_the_connection_stands() -> None:
    silent = silent_device()
    silent.receive_data(NONCE)
    assert silent.next_event() == Received(Point.NONCE_IN)
    make_device().connected()  # said twice is harmless


def test_both_cores_shake_hands() -> None:
    device, cloud = make_device(), make_cloud()
    device_events, cloud_events = shake_hands(device, cloud)
    assert HandshakeCompleted() in device_events
    assert HandshakeCompleted() in cloud_events
    assert device.in_session
    assert cloud.in_session


@pytest.mark.parametrize(("product_id", "version"), [(1234, 7), (0, 0), (65535, 65535)])
def test_product_of_ones_own(product_id: int, version: int) -> None:
    device = DeviceConnection(
        device_id=DEVICE_ID,
        public_key=DEVICE_PUBLIC_KEY,
        device_key=DEVICE_PUBLIC_KEY,
        server_key=SERVER_PUBLIC_KEY,
        firmware=P1_0_7_0,
        product_id=product_id,
        product_version=version,
    )
    device.receive_data(NONCE + reply())
    hello = Sealer().read(sends(pull(device))[1])[0]
    assert hello[7:11] == product_id.to_bytes(2, "big") + version.to_bytes(2, "big")


def test_firmware_without_a_key_in_its_plaintext() -> None:
    device = make_device(replace(P1_0_7_0, plaintext_has_key=False))
    device.receive_data(NONCE)
    device.next_event()
    assert device.next_event() == CryptoNeeded(1, EncryptNonce(SERVER_PUBLIC_KEY, NONCE + DEVICE_ID))


@pytest.mark.parametrize(("device_id", "public_key"), [(b"", DEVICE_PUBLIC_KEY), (DEVICE_ID, b"")])
def test_identity_of_a_wrong_size(device_id: bytes, public_key: bytes) -> None:
    with pytest.raises(ValueError, match="bytes"):
        DeviceConnection(
            device_id=device_id, public_key=public_key, device_key=None, server_key=None, firmware=P1_0_7_0
        )


def test_everything_may_come_at_once() -> None:
    device = make_device()
    sealer = Sealer()
    device.receive_data(NONCE + reply() + sealer.frame(CLOUD_HELLO) + sealer.frame("40001234") + b"\0")
    events = pull(device)
    assert [e.point for e in events if isinstance(e, Received)] == [Point.NONCE_IN, Point.KEY_IN, Point.HELLO_IN]
    assert messages(events) == [message("40001234")]


# --- one field wrong at a time: exactly one stage and reason each

HELLO_IV = MATERIAL[16:32]


def flipped(data: bytes, position: int, mask: int = 0x80) -> bytes:
    changed = bytearray(data)
    changed[position] ^= mask
    return bytes(changed)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        pytest.param(flipped(reply(), 0), Reason.BAD_KEY, id="first byte of the key block"),
        pytest.param(flipped(reply(), 127), Reason.BAD_KEY, id="last byte of the key block"),
        pytest.param(reply(device_key=OTHER_DEVICE_PUBLIC_KEY), Reason.BAD_KEY, id="another device's key"),
        pytest.param(reply(MATERIAL[:39]), Reason.BAD_KEY, id="39 bytes of material"),
        pytest.param(reply(MATERIAL + b"x"), Reason.BAD_KEY, id="41 bytes of material"),
        pytest.param(flipped(reply(), 128), Reason.BAD_SIGNATURE, id="first byte of the signature"),
        pytest.param(flipped(reply(), 383), Reason.BAD_SIGNATURE, id="last byte of the signature"),
        pytest.param(reply(server_key=SERVER_PUBLIC_KEY[:-1]), Reason.BAD_SIGNATURE, id="signed with another key"),
    ],
)
def test_wrong_reply(wrong: bytes, reason: Reason) -> None:
    device = make_device()
    device.receive_data(NONCE + wrong)
    assert_fails(device, Stage.UNWRAP, reason)
    assert P1_0_7_0.device_code(Stage.UNWRAP, reason) == {Reason.BAD_KEY: 6, Reason.BAD_SIGNATURE: 8}[reason]


@pytest.mark.parametrize("size", [0, 39, 41])
def test_a_backend_that_lets_other_lengths_pass(size: int) -> None:
    device = make_device()
    device.receive_data(NONCE)
    pull(device)
    device.receive_data(reply())
    device.next_event()
    device.answer(request_in(device.next_event(), UnwrapKey), bytes(size))
    assert_fails(device, Stage.UNWRAP, Reason.BAD_KEY)


def padded(message: str, padding: str) -> Callable[[], bytes]:
    return lambda: Sealer().raw(bytes.fromhex(message + padding))


def plain(message: str) -> Callable[[], bytes]:
    return lambda: Sealer().frame(message)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        pytest.param(lambda: b"\x00\x00", Reason.BAD_FRAME, id="length 0"),
        pytest.param(lambda: b"\x00\x0f", Reason.BAD_FRAME, id="length 15"),
        pytest.param(lambda: b"\x00\x11", Reason.BAD_FRAME, id="length 17"),
        pytest.param(lambda: b"\x03\x30", Reason.BAD_FRAME, id="length 816"),
        pytest.param(lambda: b"\xff\xf0", Reason.BAD_FRAME, id="length 65520"),
        pytest.param(padded("50022001b168", "0a" * 9 + "00"), Reason.BAD_FRAME, id="padding 0"),
        pytest.param(padded("50022001b168", "0a" * 9 + "11"), Reason.BAD_FRAME, id="padding 17"),
        pytest.param(padded("50022001b168", "0b" + "0a" * 9), Reason.BAD_FRAME, id="padding byte"),
        pytest.param(lambda: Sealer(iv=flipped(HELLO_IV, 15)).frame(CLOUD_HELLO), Reason.BAD_FRAME, id="IV, end"),
        pytest.param(lambda: Sealer(iv=flipped(HELLO_IV, 0)).frame(CLOUD_HELLO), Reason.BAD_HELLO, id="IV, start"),
        pytest.param(lambda: Sealer(key=bytes(16)).frame(CLOUD_HELLO), Reason.BAD_FRAME, id="key"),
        pytest.param(plain(""), Reason.BAD_HELLO, id="empty"),
        pytest.param(plain("500220"), Reason.BAD_HELLO, id="three bytes"),
        pytest.param(plain("10022001b168"), Reason.BAD_HELLO, id="version"),
        pytest.param(plain("59022001b168"), Reason.BAD_HELLO, id="token length"),
        pytest.param(plain("51022001b168"), Reason.BAD_HELLO, id="token missing"),
        pytest.param(plain("50032001b168"), Reason.BAD_HELLO, id="method PUT"),
        pytest.param(plain("50012001b168"), Reason.BAD_HELLO, id="method GET"),
        pytest.param(plain("50442001b168"), Reason.BAD_HELLO, id="code 2.04"),
        pytest.param(plain("50022001b178"), Reason.BAD_HELLO, id="path x"),
        pytest.param(plain("50022001b26868"), Reason.BAD_HELLO, id="path hh"),
        pytest.param(plain("50022001f168"), Reason.BAD_HELLO, id="option"),
        pytest.param(plain("60802001"), Reason.BAD_HELLO, id="refusal 4.00"),
    ],
)
def test_wrong_hello(frame: Callable[[], bytes], reason: Reason) -> None:
    device, _ = device_awaiting_hello()
    device.receive_data(frame())
    assert_fails(device, Stage.HELLO, reason)
    assert P1_0_7_0.device_code(Stage.HELLO, reason) == -1


def test_crypto_faults_of_our_own() -> None:
    for fault in (CryptoFault.BAD_INPUT, CryptoFault.FAULTY_RESULT):
        device = make_device()
        device.receive_data(NONCE)
        device.next_event()
        device.answer(request_in(device.next_event(), EncryptNonce), fault)
        assert_fails(device, Stage.ENCRYPT, Reason.LOCAL_RESOURCE, Side.DEVICE)

        device = make_device()
        device.receive_data(NONCE)
        pull(device)
        device.receive_data(reply())
        device.next_event()
        device.answer(request_in(device.next_event(), UnwrapKey), fault)
        assert_fails(device, Stage.UNWRAP, Reason.LOCAL_RESOURCE, Side.DEVICE)


@pytest.mark.parametrize("kind", [Seal, Open])
def test_aes_faults_of_our_own(kind: type) -> None:
    device, sealer, _ = device_in_session()
    if kind is Seal:
        device.send_message(coap.ping())
    else:
        device.receive_data(sealer.frame("40000001"))
    device.answer(request_in(device.next_event(), kind), CryptoFault.BAD_INPUT)
    assert_fails(device, Stage.HELLO, Reason.LOCAL_RESOURCE, Side.DEVICE, in_session=True)


# --- the end of the stream, and faults that the shell sees


@pytest.mark.parametrize("whole_first", [True, False], ids=["pulled before the end", "end read with the bytes"])
def test_fin_at_every_byte(whole_first: bool) -> None:
    stream = NONCE + reply() + Sealer().frame(CLOUD_HELLO) + b"\x00\x10" + bytes(15)
    ends = {0: Stage.NONCE, 40: Stage.KEY, 424: Stage.HELLO, 442: Stage.HELLO}
    stage = Stage.NONCE
    for position in range(len(stream)):
        device = make_device()
        device.receive_data(stream[:position] or b"")
        if whole_first and position:
            pull(device)
        device.receive_data(b"")
        stage = ends.get(position, stage)
        reason = Reason.CLOSED if position in ends else Reason.SHORT
        assert_fails(device, stage, reason, in_session=position >= 442)


def test_after_a_close_behind_the_nonce_the_ciphertext_is_still_sent() -> None:
    device = make_device()
    device.receive_data(NONCE)
    device.next_event()
    token = request_in(device.next_event(), EncryptNonce)
    device.receive_data(b"")
    assert device.next_event() is PAUSED
    device.answer(token, ciphertext())
    assert device.next_event() == SendBytes(ciphertext(), Point.CIPHERTEXT_OUT)
    assert_fails(device, Stage.KEY, Reason.CLOSED)
    assert P1_0_7_0.device_code(Stage.KEY, Reason.CLOSED) == -19


def test_after_a_close_behind_the_key_hello_is_still_sent() -> None:
    device = make_device()
    device.receive_data(NONCE)
    pull(device)
    device.receive_data(reply())
    device.receive_data(b"")
    assert device.next_event() == Received(Point.KEY_IN)
    device.answer(request_in(device.next_event(), UnwrapKey), MATERIAL)
    frame = Sealer().frame(DEVICE_HELLO)
    device.answer(request_in(device.next_event(), Seal), frame[2:])
    assert device.next_event() == SendBytes(frame, Point.HELLO_OUT)
    assert_fails(device, Stage.HELLO, Reason.CLOSED)


def in_state(state: DeviceState) -> DeviceConnection:
    """A device led into ``state``."""
    device = silent_device()
    sealer = Sealer()
    script: list[Callable[[], object]] = [
        device.connected,
        lambda: device.receive_data(NONCE),
        lambda: device.receive_data(reply()),
        lambda: device.send_message(coap.ping()),
        lambda: device.receive_data(sealer.frame(CLOUD_HELLO)),
        lambda: device.send_message(coap.ping()),
        lambda: device.receive_data(sealer.frame("40000001")),
    ]
    if state is DeviceState.FAILED:
        device.failure(Reason.REFUSED)
    while not advanced(device, state):
        script.pop(0)()
    return device


def advanced(device: DeviceConnection, state: DeviceState) -> bool:
    """Pull until ``state`` is reached, or nothing is left to pull."""
    while device.state is not state:
        event = device.next_event()
        if isinstance(event, Sentinel):
            return False
        if isinstance(event, CryptoNeeded) and device.state is not state:
            device.answer(event.token, FakeCrypto().perform(event.request))
    return True


NETWORK_STAGES = {
    DeviceState.CONNECT: Stage.NONCE,
    DeviceState.EXPECT_NONCE: Stage.NONCE,
    DeviceState.ENCRYPT_NONCE: Stage.KEY,
    DeviceState.EXPECT_KEY: Stage.KEY,
    DeviceState.UNWRAP_KEY: Stage.HELLO,
    DeviceState.SEAL_HELLO: Stage.HELLO,
}


@pytest.mark.parametrize("state", [state for state in DeviceState if state is not DeviceState.FAILED])
def test_a_reset_is_booked_where_the_device_receives_next(state: DeviceState) -> None:
    device = in_state(state)
    error = device.failure(Reason.RESET)
    assert error.stage is NETWORK_STAGES.get(state, Stage.HELLO)
    assert error.reason is Reason.RESET
    assert error.fault is Side.CLOUD
    assert error.in_session == (state >= DeviceState.SESSION)


@pytest.mark.parametrize("reason", [Reason.REFUSED, Reason.UNREACHABLE, Reason.TIMEOUT, Reason.LOCAL_RESOURCE])
def test_faults_before_the_connection_stands(reason: Reason) -> None:
    error = in_state(DeviceState.CONNECT).failure(reason)
    assert (error.stage, error.reason) == (Stage.CONNECT, reason)
    assert error.fault is (Side.DEVICE if reason is Reason.LOCAL_RESOURCE else Side.CLOUD)


@pytest.mark.parametrize(
    ("state", "stage"),
    [
        (DeviceState.EXPECT_NONCE, Stage.NONCE),
        (DeviceState.EXPECT_KEY, Stage.KEY),
        (DeviceState.EXPECT_HELLO, Stage.HELLO),
    ],
)
def test_timeouts(state: DeviceState, stage: Stage) -> None:
    error = in_state(state).failure(Reason.TIMEOUT, detail="for people")
    assert (error.stage, error.reason, error.detail) == (stage, Reason.TIMEOUT, "for people")
    assert P1_0_7_0.device_code(error.stage, error.reason) == -1


def test_a_local_fault_stays_at_its_stage() -> None:
    assert in_state(DeviceState.ENCRYPT_NONCE).failure(Reason.LOCAL_RESOURCE).stage is Stage.ENCRYPT
    assert in_state(DeviceState.UNWRAP_KEY).failure(Reason.LOCAL_RESOURCE).stage is Stage.UNWRAP


def test_a_dead_core_ignores_what_comes_late() -> None:
    device = make_device()
    device.receive_data(NONCE)
    device.next_event()
    token = request_in(device.next_event(), EncryptNonce)
    device.failure(Reason.RESET)
    device.answer(token, ciphertext())
    device.receive_data(b"late")
    device.receive_data(b"")
    for call in (device.next_event, lambda: device.failure(Reason.TIMEOUT), lambda: device.send_message(coap.ping())):
        with pytest.raises(IllegalTransition):
            call()


# --- bytes before they are due


@pytest.mark.parametrize(
    ("state", "stage"), [(DeviceState.ENCRYPT_NONCE, Stage.KEY), (DeviceState.UNWRAP_KEY, Stage.HELLO)]
)
def test_early_bytes_are_capped(state: DeviceState, stage: Stage) -> None:
    device = in_state(state)
    while device.next_event() is not PAUSED:
        pass
    device.receive_data(bytes(MAX_EARLY_BYTES))
    assert device.next_event() is PAUSED
    device.receive_data(b"x")
    with pytest.raises(HandshakeError) as caught:
        device.next_event()
    assert (caught.value.stage, caught.value.reason) == (stage, Reason.BAD_FRAME)


def test_a_burst_in_session_is_not_too_much() -> None:
    device, sealer, _ = device_in_session()
    device.receive_data(b"".join(sealer.frame("60000001") for _ in range(1000)))
    assert len(messages(pull(device))) == 1000


# --- calls that do not fit


@pytest.mark.parametrize("state", list(DeviceState))
def test_messages_only_after_hello(state: DeviceState) -> None:
    device = in_state(state)
    if DeviceState.EXPECT_HELLO <= state < DeviceState.FAILED:
        assert device.send_message(coap.ping()) >= 0
    else:
        with pytest.raises(IllegalTransition):
            device.send_message(coap.ping())


def test_answers_that_nobody_asked_for() -> None:
    device = make_device()
    for token in (-1, 0, 1):
        with pytest.raises(IllegalTransition):
            device.answer(token, b"")
    device.receive_data(NONCE)
    device.next_event()
    token = request_in(device.next_event(), EncryptNonce)
    with pytest.raises(IllegalTransition):
        device.answer(token + 1, b"")
    device.answer(token, ciphertext())
    for again in (token, -token):
        with pytest.raises(IllegalTransition):
            device.answer(again, ciphertext())
