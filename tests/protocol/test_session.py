"""The channel's counters and the answers of either side."""

from __future__ import annotations

from typing import Any

import pytest

from loadgen.protocol import coap
from loadgen.protocol.coap import Message
from loadgen.protocol.firmware import P1_0_7_0
from loadgen.protocol.session import SessionChannel, cloud_replies
from tests.fakes import open_blocks, seal_blocks
from tests.protocol.recordings import LIGHTSSL_0_7_0
from tests.protocol.scripted import message


def test_vector_frames(handshake_vector: Any) -> None:
    """Both directions of the vector session, IV by IV: the second device frame has three blocks."""
    material = bytes.fromhex(handshake_vector["credentials"])
    for direction in ("device_to_server", "server_to_device"):
        sender = SessionChannel(material[:16], material[16:32], 0)
        receiver = SessionChannel(material[:16], material[16:32], 0)
        for frame in handshake_vector[direction]:
            plain, expected = bytes.fromhex(frame["plaintext"]), bytes.fromhex(frame["frame"])
            seal = sender.seal(plain)
            assert seal.iv.hex() == frame["iv"], frame["what"]
            assert sender.frame(seal_blocks(seal.key, seal.iv, seal.padded)) == expected, frame["what"]
            request = receiver.open(expected[2:])
            assert open_blocks(request.key, request.iv, request.ciphertext) == seal.padded


def test_vector_first_ids(handshake_vector: Any) -> None:
    salt = bytes.fromhex(handshake_vector["credentials"])[32:]
    assert P1_0_7_0.message_id_base(salt) + 1 == handshake_vector["first_ids"]["sparkprotocol"]
    assert LIGHTSSL_0_7_0.message_id_base(salt) + 1 == handshake_vector["first_ids"]["lightssl"]
    assert P1_0_7_0.token_base(salt) + 1 == 0x57  # the token of the vector's time request
    assert LIGHTSSL_0_7_0.token_base(salt) + 1 == 1


def test_counters_wrap() -> None:
    channel = SessionChannel(bytes(16), bytes(16), 0xFFFE, 0xFE)
    assert [channel.next_message_id() for _ in range(3)] == [0xFFFF, 0, 1]
    assert [channel.next_token() for _ in range(3)] == [b"\xff", b"\x00", b"\x01"]


# --- the cloud


@pytest.mark.parametrize(
    ("received", "answers"),
    [
        ("40001239", ["60001239"]),
        ("50021236b1650161", ["60001236"]),
        ("40021236b1450161", ["60001236"]),
        ("40011237b16505737061726b", ["60001237"]),
        ("4101123857b174", ["6145123857ff5fee6600"]),
        ("40021239b1644101ff7b7d", ["60001239"]),
        ("60001239", []),
        ("6144a06ac0", []),
        ("51441239aaff00000001", []),
        ("40011239b163ff0001", []),
        ("40071239", []),
    ],
)
def test_cloud_replies(received: str, answers: list[str]) -> None:
    replies = cloud_replies(message(received), 0x5FEE6600)
    assert [coap.encode(reply).hex() for reply in replies] == answers


def test_every_reply_of_the_cloud_is_one_that_devices_accept() -> None:
    for code in (0, 1, 2, 3, 0x44, 0x45, 0x80):
        for letter in b"tehcdxuEfvsk":
            for kind in coap.MessageType:
                request = Message(kind, code, 7, b"", ((11, bytes((letter,))),))
                for reply in cloud_replies(request, 0):
                    assert coap.kind_at_device(reply) is not coap.Kind.UNKNOWN
