from __future__ import annotations

import pytest

from loadgen.mockcloud.gate import Entry
from loadgen.protocol import coap
from loadgen.protocol.events import Seal, WrapKey
from loadgen.protocol.reasons import Reason
from loadgen.protocol.session import MAX_EARLY_BYTES
from loadgen.protocol.wire import encode_frame, pad
from tests.mockcloud.fakes import CLOUD_ID, LATER_NS, MATERIAL, NONCE, NOW_S, FakeHost
from tests.mockcloud.peer import BACKEND, DEVICE_ID, Peer, device_spki, server_key

DEVICE_KEY = BACKEND.load_device_public_key(device_spki())


def exchange(host: FakeHost, peer: Peer, sends: list[bytes]) -> None:
    """Carry bytes between the two until both are silent. Replies arrive as they were sent, one read a send."""
    while sends:
        sends = [reply for data in host.receive(*sends) for reply in peer.feed(data)]


def in_session() -> tuple[FakeHost, Peer]:
    host, peer = FakeHost(key=DEVICE_KEY), Peer()
    exchange(host, peer, [part for data in host.sent() for part in peer.feed(data)])
    assert peer.completed
    assert host.completed == 1
    return host, peer


class Frames:
    """Frames of a device, sealed by hand."""

    def __init__(self, material: bytes = MATERIAL) -> None:
        self._key, self._iv = material[:16], material[16:32]

    def seal(self, message: bytes) -> bytes:
        ciphertext = BACKEND.seal(Seal(self._key, self._iv, pad(message)))
        self._iv = ciphertext[:16]
        return encode_frame(ciphertext)


def test_the_cloud_speaks_first() -> None:
    assert FakeHost(key=DEVICE_KEY).sent() == [NONCE]


def test_a_handshake_sends_each_part_in_one_write() -> None:
    host, peer = FakeHost(key=DEVICE_KEY), Peer()
    (ciphertext,) = peer.feed(host.sent()[0])
    (reply,) = host.receive(ciphertext)
    assert len(reply) == 384
    (hello,) = peer.feed(reply)
    assert host.completed == 0
    (answer,) = host.receive(hello)
    peer.feed(answer)
    assert peer.completed
    assert host.completed == 1
    assert host.inside == 0
    assert host.asked == [(DEVICE_ID, device_spki())]
    assert host.connection.deadline_ns == LATER_NS


@pytest.mark.parametrize("size", [1, 7, 255])
def test_the_ciphertext_may_come_in_pieces(size: int) -> None:
    host, peer = FakeHost(key=DEVICE_KEY), Peer()
    (ciphertext,) = peer.feed(host.sent()[0])
    pieces = [ciphertext[at : at + size] for at in range(0, len(ciphertext), size)]
    exchange(host, peer, [part for data in host.receive(*pieces) for part in peer.feed(data)])
    assert peer.completed


def test_a_replayed_answer_needs_no_rsa() -> None:
    server = BACKEND.load_server_key(server_key())
    (prepared,) = BACKEND.wrap_key([WrapKey(server, DEVICE_KEY, MATERIAL)])
    assert isinstance(prepared, bytes)
    host, peer = FakeHost(key=DEVICE_KEY, prepared=prepared), Peer()
    (ciphertext,) = peer.feed(host.sent()[0])
    host.socket.inbox.append(ciphertext)
    host.connection.on_readable()
    assert not host.submitted
    assert host.inside == 0
    exchange(host, peer, [part for data in host.sent() for part in peer.feed(data)])
    assert peer.completed


@pytest.mark.parametrize("reason", [Reason.UNKNOWN_DEVICE, Reason.KEY_MISMATCH, Reason.OVERLOAD])
def test_a_refused_device_is_closed_and_counted(reason: Reason) -> None:
    host, peer = FakeHost(key=reason), Peer()
    assert host.receive(*peer.feed(host.sent()[0])) == []
    assert host.ends == [f"key/{reason}"]
    assert host.inside == 0
    assert not host.connection.is_open


def test_garbage_is_closed_as_soon_as_it_is_decrypted() -> None:
    host = FakeHost(key=DEVICE_KEY)
    host.sent()
    assert host.receive(b"\x00" + bytes(range(255))) == []
    assert len(host.ends) == 1
    assert host.ends[0] in {"key/bad_ciphertext", "key/bad_nonce"}


def test_what_is_left_is_read_before_closing() -> None:
    host, peer = FakeHost(key=Reason.UNKNOWN_DEVICE), Peer()
    (ciphertext,) = peer.feed(host.sent()[0])
    host.socket.inbox.extend([ciphertext, b"left"])
    host.connection.on_readable()
    host.sent()
    assert not host.socket.inbox


# --- gate


def test_a_waiting_handshake_is_held_and_goes_on() -> None:
    host, peer = FakeHost(key=DEVICE_KEY), Peer()
    (ciphertext,) = peer.feed(host.sent()[0])
    host.entry = Entry.WAIT
    assert host.receive(ciphertext) == []
    assert not host.submitted
    host.inside += 1
    host.connection.on_pass()
    exchange(host, peer, [part for data in host.sent() for part in peer.feed(data)])
    assert peer.completed
    assert host.inside == 0


def test_a_rejected_handshake_is_closed() -> None:
    host, peer = FakeHost(key=DEVICE_KEY), Peer()
    host.entry = Entry.REJECT
    assert host.receive(*peer.feed(host.sent()[0])) == []
    assert host.ends == ["key/overload"]


def test_a_device_that_goes_while_it_waits_costs_no_rsa() -> None:
    host, peer = FakeHost(key=DEVICE_KEY), Peer()
    host.entry = Entry.WAIT
    host.receive(*peer.feed(host.sent()[0]), b"")
    assert host.ends == ["key/closed"]
    assert not host.submitted
    assert host.unwatched


def test_what_comes_while_it_waits_is_bounded() -> None:
    host, peer = FakeHost(key=DEVICE_KEY), Peer()
    host.entry = Entry.WAIT
    host.receive(*peer.feed(host.sent()[0]), bytes(MAX_EARLY_BYTES))
    assert host.ends == []
    host.receive(b"x")
    assert host.ends[0] is not None
    assert host.ends[0].endswith("/bad_frame")


# --- ends


def test_fin_before_the_ciphertext() -> None:
    host = FakeHost(key=DEVICE_KEY)
    host.receive(b"")
    assert host.ends == ["encrypt/closed"]


def test_fin_within_the_ciphertext() -> None:
    host = FakeHost(key=DEVICE_KEY)
    host.receive(bytes(100), b"")
    assert host.ends == ["encrypt/short"]


def test_reset_before_and_after_hello() -> None:
    host = FakeHost(key=DEVICE_KEY)
    host.receive(ConnectionResetError())
    assert host.ends == ["encrypt/reset"]
    host, _ = in_session()
    host.receive(ConnectionResetError())
    assert host.ends == [None]
    assert host.counts.reset_by_device == 1


def test_fin_after_hello_is_no_failure() -> None:
    host, _ = in_session()
    host.receive(b"")
    assert host.ends == [None]
    assert host.counts.closed_by_device == 1


def test_a_bad_frame_ends_the_session() -> None:
    host, _ = in_session()
    host.receive(b"\x00\x00")
    assert host.ends == ["hello/bad_frame"]


def test_a_handshake_that_takes_too_long() -> None:
    host = FakeHost(key=DEVICE_KEY)
    host.connection.on_deadline(31)
    assert host.ends == ["encrypt/timeout"]


def test_what_is_in_the_socket_counts_as_in_time() -> None:
    host, peer = FakeHost(key=DEVICE_KEY), Peer()
    exchange(host, peer, [part for data in host.sent() for part in peer.feed(data)])
    host.socket.inbox.extend(peer.say(coap.ping()))
    host.connection.deadline_ns = 5
    host.connection.on_deadline(6)
    assert host.ends == []
    assert host.connection.deadline_ns == LATER_NS


def test_a_silent_session_is_closed() -> None:
    host, _ = in_session()
    host.connection.on_deadline(LATER_NS)
    assert host.ends == [None]
    assert host.counts.idle_closed == 1


@pytest.mark.parametrize("room", [0, 5])
def test_a_device_that_does_not_read_is_closed(room: int) -> None:
    host, peer = in_session()
    host.socket.room = room
    host.receive(*peer.say(coap.ping()))
    assert host.ends == ["hello/overload"]
    assert host.counts.not_taken == 1


def test_a_send_that_meets_a_reset() -> None:
    host, peer = FakeHost(key=DEVICE_KEY), Peer()
    (ciphertext,) = peer.feed(host.sent()[0])
    host.socket.error = ConnectionResetError()
    host.receive(ciphertext)
    assert len(host.ends) == 1
    assert str(host.ends[0]).endswith("/reset")
    assert host.completed == 0


def test_a_late_crypto_answer_is_ignored() -> None:
    host, peer = FakeHost(key=DEVICE_KEY), Peer()
    host.socket.inbox.extend([*peer.feed(host.sent()[0]), ConnectionResetError()])
    host.connection.on_readable()
    host.connection.on_readable()
    assert host.submitted
    assert host.sent() == []
    assert host.inside == 0
    assert len(host.ends) == 1


# --- session


def test_events_and_subscriptions_get_empty_acknowledgements() -> None:
    host, peer = in_session()
    for message in (
        coap.event("temperature", b"20"),
        coap.event("alarm", b"1", confirmable=True),
        coap.subscribe("spark"),
        coap.ping(),
    ):
        exchange(host, peer, peer.say(message))
    assert [(m.type, m.code, m.token, m.payload) for m in peer.messages] == [(coap.ACK, 0, b"", None)] * 4
    assert host.counts.messages == 4
    assert host.counts.out_of_order == 0


def test_time_is_the_only_content() -> None:
    host, peer = in_session()
    exchange(host, peer, peer.say(coap.time_request(b"\x57")))
    (answer,) = peer.messages
    assert (answer.type, answer.code, answer.token) == (coap.ACK, coap.Code.CONTENT, b"\x57")
    assert answer.payload == NOW_S.to_bytes(4, "big")


def test_unknown_confirmable_messages_are_acknowledged_without_a_code() -> None:
    host, peer = in_session()
    exchange(host, peer, peer.say(coap.Message(coap.CON, coap.Code.POST, options=((11, b"x"),))))
    exchange(host, peer, peer.say(coap.Message(coap.NON, coap.Code.PUT, options=((11, b"q"),))))
    assert [(m.type, m.code) for m in peer.messages] == [(coap.ACK, 0)]


def test_describe_is_asked_and_its_answer_noticed() -> None:
    host, peer = in_session()
    host.connection.ask_describe()
    (request,) = host.sent()
    peer.feed(request)
    (message,) = peer.messages
    assert coap.kind_at_device(message) is coap.Kind.DESCRIBE_REQUEST
    assert message.message_id == CLOUD_ID + 1
    exchange(host, peer, peer.say(coap.response(message, coap.Code.CONTENT, b'{"f":[],"v":{},"p":8,"m":[]}')))
    assert (host.counts.describes_asked, host.counts.describes_answered) == (1, 1)
    # Firmware to 0.5.5 has more to say.
    exchange(host, peer, peer.say(coap.response(message, coap.Code.CONTENT, b'{"f":[],"v":{}}')))
    assert host.counts.describes_answered == 1


def test_nothing_is_asked_of_a_device_that_has_gone() -> None:
    host, _ = in_session()
    host.receive(b"")
    host.connection.ask_describe()
    assert host.sent() == []
    assert host.counts.describes_asked == 0


def test_message_ids_are_followed_and_never_a_reason_to_close() -> None:
    host, peer = in_session()
    assert peer.core.session is not None
    exchange(host, peer, peer.say(coap.event("a")))
    peer.core.session.message_id += 5
    exchange(host, peer, peer.say(coap.event("b")))
    exchange(host, peer, peer.say(coap.event("c")))
    assert host.counts.out_of_order == 1
    assert host.ends == []
    assert len(peer.messages) == 3


def reach_hello(host: FakeHost) -> None:
    peer = Peer()
    host.receive(*peer.feed(host.sent()[0]))


def test_a_ping_before_hello_is_answered() -> None:
    host, frames = FakeHost(key=DEVICE_KEY), Frames()
    reach_hello(host)
    ping = frames.seal(bytes.fromhex("40001234"))
    assert len(host.receive(ping)) == 1
    hello = frames.seal(coap.device_hello(0x1235, product_id=8, product_version=1, flags=0, platform_id=8))
    assert len(host.receive(hello)) == 1
    assert host.completed == 1
    assert host.counts.out_of_order == 0


def test_hello_and_ping_in_one_segment() -> None:
    host, frames = FakeHost(key=DEVICE_KEY), Frames()
    reach_hello(host)
    hello = frames.seal(coap.device_hello(0x1235, product_id=8, product_version=1, flags=0, platform_id=8))
    ping = frames.seal(bytes.fromhex("40001236"))
    answers = host.receive(hello + ping)
    assert len(answers) == 2
    assert host.completed == 1


def test_a_frame_may_be_split_within_its_length() -> None:
    host, frames = FakeHost(key=DEVICE_KEY), Frames()
    reach_hello(host)
    hello = frames.seal(coap.device_hello(0x1235, product_id=8, product_version=1, flags=0, platform_id=8))
    assert host.receive(hello[:1]) == []
    assert len(host.receive(hello[1:])) == 1
    assert host.completed == 1


def test_another_message_instead_of_hello() -> None:
    host, frames = FakeHost(key=DEVICE_KEY), Frames()
    reach_hello(host)
    host.receive(frames.seal(bytes.fromhex("50021235b16501")))
    assert host.ends == ["hello/bad_hello"]
