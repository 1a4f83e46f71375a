"""The cloud's side: order of events, every fault with its one stage and reason, ends at every byte."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from loadgen.protocol import coap
from loadgen.protocol.cloud import CloudConnection
from loadgen.protocol.events import (
    NEED_DATA,
    PAUSED,
    CryptoNeeded,
    DecryptNonce,
    DeviceIdentified,
    HandshakeCompleted,
    Open,
    Seal,
    SendBytes,
    WrapKey,
)
from loadgen.protocol.reasons import CryptoFault, HandshakeError, Reason, Side
from loadgen.protocol.session import MAX_EARLY_BYTES
from loadgen.protocol.stages import Stage
from loadgen.protocol.states import CloudState, IllegalTransition
from tests.fakes import (
    DEVICE_ID,
    DEVICE_PUBLIC_KEY,
    MATERIAL,
    NONCE,
    OTHER_DEVICE_PUBLIC_KEY,
    SERVER_PUBLIC_KEY,
    make_cloud,
    pull,
    sent,
)
from tests.protocol.scripted import (
    CLOUD_HELLO,
    DEVICE_HELLO,
    PLAINTEXT,
    Sealer,
    ciphertext,
    cloud_awaiting_hello,
    cloud_in_session,
    message,
    messages,
    reply,
    sends,
)


def assert_fails(
    cloud: CloudConnection, stage: Stage, reason: Reason, fault: Side = Side.DEVICE, *, in_session: bool = False
) -> None:
    with pytest.raises(HandshakeError) as caught:
        pull(cloud)
    error = caught.value
    assert (error.stage, error.reason, error.fault, error.in_session) == (stage, reason, fault, in_session)
    assert cloud.state is CloudState.FAILED


def test_order_of_events() -> None:
    cloud = make_cloud()
    stages = [cloud.stage]
    assert cloud.next_event() == SendBytes(NONCE)
    assert cloud.next_event() is NEED_DATA
    stages.append(cloud.stage)
    cloud.receive_data(ciphertext())
    assert cloud.next_event() == CryptoNeeded(1, DecryptNonce(SERVER_PUBLIC_KEY, ciphertext()))
    assert cloud.next_event() is PAUSED
    stages.append(cloud.stage)
    cloud.answer(1, PLAINTEXT)
    assert cloud.next_event() == DeviceIdentified(DEVICE_ID, DEVICE_PUBLIC_KEY)
    assert cloud.next_event() is PAUSED
    cloud.admit(OTHER_DEVICE_PUBLIC_KEY)
    assert cloud.next_event() == CryptoNeeded(2, WrapKey(SERVER_PUBLIC_KEY, OTHER_DEVICE_PUBLIC_KEY, MATERIAL))
    assert cloud.next_event() is PAUSED
    cloud.answer(2, reply())
    assert cloud.next_event() == SendBytes(reply())
    assert cloud.next_event() is NEED_DATA
    stages.append(cloud.stage)

    hello = Sealer().frame(DEVICE_HELLO)
    cloud.receive_data(hello)
    assert cloud.next_event() == CryptoNeeded(3, Open(MATERIAL[:16], MATERIAL[16:32], hello[2:]))
    assert cloud.next_event() is PAUSED
    cloud.answer(3, DEVICE_HELLO + b"\x01")
    answer = CLOUD_HELLO + b"\x0a" * 10
    assert cloud.next_event() == CryptoNeeded(4, Seal(MATERIAL[:16], MATERIAL[16:32], answer))
    assert cloud.next_event() is PAUSED
    own = Sealer().frame(CLOUD_HELLO)
    cloud.answer(4, own[2:])
    assert cloud.next_event() == SendBytes(own)
    assert cloud.next_event() == HandshakeCompleted()
    assert cloud.next_event() is NEED_DATA
    assert cloud.in_session
    assert cloud.device_message_id == 0x8486
    assert stages == [Stage.NONCE, Stage.ENCRYPT, Stage.KEY, Stage.HELLO]


def test_prepared_reply() -> None:
    cloud = make_cloud(prepared=reply())
    pull(cloud)
    cloud.receive_data(bytes(255))
    assert cloud.next_event() is NEED_DATA
    cloud.receive_data(b"\0")
    assert cloud.next_event() == SendBytes(reply())
    assert cloud.next_event() is NEED_DATA
    cloud.receive_data(Sealer().frame(DEVICE_HELLO))
    events = pull(cloud)
    assert sent(events) == Sealer().frame(CLOUD_HELLO)
    assert events[-1] == HandshakeCompleted()


@pytest.mark.parametrize(
    "sizes", [{"nonce": bytes(39)}, {"material": bytes(41)}, {"prepared": bytes(383)}], ids=lambda s: next(iter(s))
)
def test_inputs_of_a_wrong_size(sizes: dict[str, bytes]) -> None:
    inputs = {"nonce": NONCE, "material": MATERIAL, "prepared": reply(), **sizes}
    with pytest.raises(ValueError, match="bytes"):
        CloudConnection(server_key=None, message_id=1, **inputs)


def test_plaintext_without_a_key() -> None:
    cloud = make_cloud()
    pull(cloud)
    cloud.receive_data(ciphertext(NONCE + DEVICE_ID))
    events = pull(cloud)
    assert DeviceIdentified(DEVICE_ID, b"") in events
    assert len(sent(events)) == 384


def test_a_key_of_another_layout_is_for_the_shell_to_judge() -> None:
    cloud = make_cloud()
    pull(cloud)
    garbage = bytes(162)
    cloud.receive_data(ciphertext(NONCE + DEVICE_ID + garbage))
    assert DeviceIdentified(DEVICE_ID, garbage) in pull(cloud)


# --- one field wrong at a time


def flipped(data: bytes, position: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 0x80
    return bytes(changed)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        pytest.param(flipped(ciphertext(), 0), Reason.BAD_CIPHERTEXT, id="first byte"),
        pytest.param(flipped(ciphertext(), 255), Reason.BAD_CIPHERTEXT, id="last byte"),
        pytest.param(ciphertext(server_key=b"other"), Reason.BAD_CIPHERTEXT, id="another server's key"),
        *(
            pytest.param(ciphertext((PLAINTEXT + b"x")[:size]), Reason.BAD_CIPHERTEXT, id=f"{size} bytes")
            for size in (1, 51, 53, 213, 215)
        ),
        *(
            pytest.param(ciphertext(flipped(PLAINTEXT, position)), Reason.BAD_NONCE, id=f"nonce byte {position}")
            for position in (0, 39)
        ),
    ],
)
def test_wrong_ciphertext(wrong: bytes, reason: Reason) -> None:
    cloud = make_cloud()
    pull(cloud)
    cloud.receive_data(wrong)
    assert_fails(cloud, Stage.KEY, reason)


def test_random_bytes_instead_of_a_decryption_error() -> None:
    """What a library with implicit rejection answers: any length, and never the nonce."""
    for size in range(1, 245):
        cloud = make_cloud()
        pull(cloud)
        cloud.receive_data(ciphertext())
        event = cloud.next_event()
        assert isinstance(event, CryptoNeeded)
        cloud.answer(event.token, bytes(size))
        assert_fails(cloud, Stage.KEY, Reason.BAD_NONCE if size in {52, 214} else Reason.BAD_CIPHERTEXT)


@pytest.mark.parametrize("reason", [Reason.UNKNOWN_DEVICE, Reason.KEY_MISMATCH, Reason.OVERLOAD])
def test_refusal(reason: Reason) -> None:
    cloud = make_cloud()
    pull(cloud)
    cloud.receive_data(ciphertext())
    event = cloud.next_event()
    assert isinstance(event, CryptoNeeded)
    cloud.answer(event.token, PLAINTEXT)
    assert isinstance(cloud.next_event(), DeviceIdentified)
    cloud.refuse(reason)
    assert_fails(cloud, Stage.KEY, reason)


def test_decisions_out_of_turn() -> None:
    cloud = make_cloud()
    with pytest.raises(IllegalTransition):
        cloud.admit(DEVICE_PUBLIC_KEY)
    with pytest.raises(IllegalTransition):
        cloud.refuse(Reason.UNKNOWN_DEVICE)


@pytest.mark.parametrize("fault", [CryptoFault.FAULTY_RESULT, CryptoFault.BAD_INPUT])
def test_crypto_faults_of_our_own(fault: CryptoFault) -> None:
    cloud = make_cloud()
    pull(cloud)
    cloud.receive_data(ciphertext())
    event = cloud.next_event()
    assert isinstance(event, CryptoNeeded)
    cloud.answer(event.token, fault)
    assert_fails(cloud, Stage.KEY, Reason.LOCAL_RESOURCE, Side.CLOUD)


def test_a_key_that_cannot_be_used() -> None:
    cloud = make_cloud()
    pull(cloud)
    cloud.receive_data(ciphertext())
    event = cloud.next_event()
    assert isinstance(event, CryptoNeeded)
    cloud.answer(event.token, PLAINTEXT)
    cloud.next_event()
    cloud.admit(DEVICE_PUBLIC_KEY)
    event = cloud.next_event()
    assert isinstance(event, CryptoNeeded)
    cloud.answer(event.token, CryptoFault.BAD_INPUT)
    assert_fails(cloud, Stage.KEY, Reason.LOCAL_RESOURCE, Side.CLOUD)


def plain(message: str) -> Callable[[], bytes]:
    return lambda: Sealer().frame(message)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        pytest.param(lambda: b"\x00\x00", Reason.BAD_FRAME, id="length 0"),
        pytest.param(lambda: b"\x00\x11", Reason.BAD_FRAME, id="length 17"),
        pytest.param(lambda: b"\x04\x10", Reason.BAD_FRAME, id="length 1040"),
        pytest.param(lambda: Sealer().raw(DEVICE_HELLO + b"\0"), Reason.BAD_FRAME, id="padding"),
        pytest.param(lambda: Sealer(key=bytes(16)).frame(DEVICE_HELLO), Reason.BAD_FRAME, id="key"),
        pytest.param(lambda: Sealer(iv=bytes(16)).frame(DEVICE_HELLO), Reason.BAD_FRAME, id="IV"),
        pytest.param(plain("10028486b168"), Reason.BAD_HELLO, id="version"),
        pytest.param(plain("50038486b168"), Reason.BAD_HELLO, id="method"),
        pytest.param(plain("50028486b165"), Reason.BAD_HELLO, id="an event"),
        pytest.param(plain("410184863ab174"), Reason.BAD_HELLO, id="a time request"),
        pytest.param(plain(""), Reason.BAD_HELLO, id="empty"),
    ],
)
def test_wrong_hello(frame: Callable[[], bytes], reason: Reason) -> None:
    cloud, _ = cloud_awaiting_hello()
    cloud.receive_data(frame())
    assert_fails(cloud, Stage.HELLO, reason)


# --- the end of the stream, and bytes before they are due


def test_fin_at_every_byte() -> None:
    stream = ciphertext() + Sealer().frame(DEVICE_HELLO) + b"\x00\x10" + bytes(15)
    ends = {0: Stage.ENCRYPT, 256: Stage.HELLO, 274: Stage.HELLO}
    stage = Stage.ENCRYPT
    for position in range(len(stream)):
        cloud = make_cloud()
        pull(cloud)
        if position:
            cloud.receive_data(stream[:position])
        cloud.receive_data(b"")
        stage = ends.get(position, stage)
        reason = Reason.CLOSED if position in ends else Reason.SHORT
        assert_fails(cloud, stage, reason, in_session=position >= 274)


def test_early_bytes_are_capped_in_every_pause() -> None:
    def feed_too_much(cloud: CloudConnection) -> None:
        assert cloud.next_event() is PAUSED
        cloud.receive_data(bytes(MAX_EARLY_BYTES))
        assert cloud.next_event() is PAUSED
        cloud.receive_data(b"x")
        assert_fails(cloud, Stage.KEY, Reason.BAD_FRAME)

    for steps in range(3):
        cloud = make_cloud()
        pull(cloud)
        cloud.receive_data(ciphertext())
        event = cloud.next_event()
        assert isinstance(event, CryptoNeeded)
        if steps >= 1:
            cloud.answer(event.token, PLAINTEXT)
            cloud.next_event()
        if steps >= 2:
            cloud.admit(DEVICE_PUBLIC_KEY)
            cloud.next_event()
        feed_too_much(cloud)


def test_a_device_that_does_not_wait_is_understood() -> None:
    """Hello cannot come so early, but bytes of it behind the 256 are no fault."""
    cloud = make_cloud(prepared=reply())
    pull(cloud)
    cloud.receive_data(ciphertext() + Sealer().frame(DEVICE_HELLO))
    assert HandshakeCompleted() in pull(cloud)


# --- messages


def test_a_ping_before_hello_is_answered_before_it() -> None:
    cloud, sealer = cloud_awaiting_hello()
    cloud.receive_data(sealer.frame("40008485"))
    events = pull(cloud)
    assert messages(events) == [message("40008485")]
    cloud.send_message(coap.empty_ack(0x8485))
    own = Sealer()
    assert own.read(sent(pull(cloud))) == [bytes.fromhex("60008485")]
    cloud.receive_data(sealer.frame(DEVICE_HELLO))
    events = pull(cloud)
    assert own.read(sent(events)) == [CLOUD_HELLO]
    assert HandshakeCompleted() in events


def test_a_ping_in_one_segment_with_hello() -> None:
    cloud, sealer = cloud_awaiting_hello()
    cloud.receive_data(sealer.frame(DEVICE_HELLO) + sealer.frame("40008487"))
    events = pull(cloud)
    assert messages(events) == [message("40008487")]
    kinds = [type(event) for event in events]
    assert kinds.index(HandshakeCompleted) < len(kinds) - 1


def test_message_ids_count_on_from_hello() -> None:
    cloud, _, own = cloud_in_session()
    assert cloud.send_message(coap.describe_request(b"\x01")) == 0x2002
    assert cloud.send_message(coap.empty_ack(0x1111)) == 0x1111
    assert cloud.send_message(coap.ping()) == 0x2003
    sent_messages = own.read(b"".join(sends(pull(cloud))))
    assert [m.hex() for m in sent_messages] == ["4101200201b164", "60001111", "40002003"]


def test_message_ids_wrap() -> None:
    cloud = CloudConnection(server_key=None, nonce=NONCE, material=MATERIAL, message_id=0, prepared=reply())
    pull(cloud)
    cloud.receive_data(ciphertext() + Sealer().frame(DEVICE_HELLO))
    own = Sealer()
    assert own.read(sends(pull(cloud))[1])[0][2:4] == b"\0\0"
    assert cloud.session is not None
    cloud.session.message_id = 0xFFFF
    assert cloud.send_message(coap.ping()) == 0


def test_no_message_before_the_reply_is_out() -> None:
    cloud = make_cloud()
    with pytest.raises(IllegalTransition):
        cloud.send_message(coap.ping())


def test_unknown_requests_are_delivered() -> None:
    cloud, sealer, _ = cloud_in_session()
    cloud.receive_data(sealer.frame("40070001") + sealer.frame("61440002aa"))
    assert messages(pull(cloud)) == [message("40070001"), message("61440002aa")]


@pytest.mark.parametrize(("wrong", "reason"), [("500220", Reason.BAD_HELLO), ("10020001", Reason.BAD_HELLO)])
def test_no_message_at_all_ends_the_session(wrong: str, reason: Reason) -> None:
    cloud, sealer, _ = cloud_in_session()
    cloud.receive_data(sealer.frame(wrong))
    assert_fails(cloud, Stage.HELLO, reason, in_session=True)


def test_faults_that_the_shell_sees() -> None:
    cloud, _, _ = cloud_in_session()
    error = cloud.failure(Reason.TIMEOUT)
    assert (error.stage, error.reason, error.fault, error.in_session) == (
        Stage.HELLO,
        Reason.TIMEOUT,
        Side.DEVICE,
        True,
    )
    error = make_cloud().failure(Reason.OVERLOAD, Side.CLOUD, "queue full")
    assert (error.stage, error.fault, error.detail) == (Stage.NONCE, Side.CLOUD, "queue full")
