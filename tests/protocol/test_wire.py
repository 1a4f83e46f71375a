"""Layouts, padding and frames."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.protocol import wire
from loadgen.protocol.wire import FrameBuffer, FrameError, SessionMaterial


def test_device_spki_is_the_vectors(handshake_vector: Any) -> None:
    spki = bytes.fromhex(handshake_vector["device"]["spki_der"])
    private = bytes.fromhex(handshake_vector["device"]["private_der_device_style"])
    assert wire.device_spki(private[11:139]) == spki
    assert wire.modulus_of_device_spki(spki) == private[11:139]


def test_server_spki_is_the_vectors(handshake_vector: Any) -> None:
    p, q = (int(handshake_vector["server"][name], 16) for name in "pq")
    modulus = (p * q).to_bytes(256, "big")
    spki = wire.server_spki(modulus)
    assert hashlib.sha256(spki).hexdigest() == handshake_vector["server"]["spki_der_sha256"]
    assert wire.modulus_of_server_spki(spki) == modulus


@pytest.mark.parametrize(
    ("build", "check", "modulus_of", "size"),
    [
        (wire.device_spki, wire.is_device_spki, wire.modulus_of_device_spki, 128),
        (wire.server_spki, wire.is_server_spki, wire.modulus_of_server_spki, 256),
    ],
)
def test_spki_layout_is_checked_byte_for_byte(build: Any, check: Any, modulus_of: Any, size: int) -> None:
    modulus = b"\xff" * size
    spki = build(modulus)
    assert check(spki)
    head = spki.index(modulus)
    fixed = [*range(head), head, *range(head + size, len(spki))]
    for position in fixed:
        damaged = bytearray(spki)
        damaged[position] ^= 0x80
        assert not check(bytes(damaged)), position
        with pytest.raises(ValueError, match="SubjectPublicKeyInfo"):
            modulus_of(bytes(damaged))
    assert not check(spki[:-1])
    assert not check(spki + b"\0")
    with pytest.raises(ValueError, match="modulus has"):
        build(modulus[1:])


def test_session_material() -> None:
    material = SessionMaterial.from_bytes(bytes(range(40)))
    assert material.key == bytes(range(16))
    assert material.iv == bytes(range(16, 32))
    assert material.salt == bytes(range(32, 40))
    assert material.to_bytes() == bytes(range(40))
    with pytest.raises(ValueError, match="39 bytes"):
        SessionMaterial.from_bytes(bytes(39))


@given(st.binary(max_size=100))
def test_padding_round_trip(message: bytes) -> None:
    padded = wire.pad(message)
    assert len(padded) == len(message) // 16 * 16 + 16
    assert wire.unpad(padded) == message


@pytest.mark.parametrize("size", range(1, 17))
def test_every_padding_byte_counts(size: int) -> None:
    padded = bytes(16 - size) + bytes((size,)) * size
    assert wire.unpad(padded) == bytes(16 - size)
    for position in range(16 - size, 15):
        damaged = bytearray(padded)
        damaged[position] ^= 1
        with pytest.raises(FrameError):
            wire.unpad(bytes(damaged))


@pytest.mark.parametrize("padded", [b"", bytes(16), b"\x11" * 17, bytes(15) + b"\x11", bytes(15) + b"\xff"])
def test_bad_padding(padded: bytes) -> None:
    with pytest.raises(FrameError):
        wire.unpad(padded)


# --- the buffer, three ways

CIPHERTEXT = bytes(range(48))


def test_frame_whole() -> None:
    buffer = FrameBuffer(800)
    buffer.feed(wire.encode_frame(CIPHERTEXT))
    assert buffer.take_frame() == CIPHERTEXT
    assert len(buffer) == 0


def test_frame_byte_by_byte() -> None:
    buffer = FrameBuffer(800)
    frame = wire.encode_frame(CIPHERTEXT)
    for byte in frame[:-1]:
        buffer.feed(bytes((byte,)))
        assert buffer.take_frame() is None
    buffer.feed(frame[-1:])
    assert buffer.take_frame() == CIPHERTEXT


def test_frame_with_a_tail() -> None:
    buffer = FrameBuffer(800)
    buffer.feed(wire.encode_frame(CIPHERTEXT) + b"\x00\x10tail")
    assert buffer.take_frame() == CIPHERTEXT
    assert buffer.take_frame() is None
    assert len(buffer) == 6
    assert buffer.take(6) == b"\x00\x10tail"
    assert buffer.take(1) is None


@pytest.mark.parametrize("size", [0, 1, 15, 17, 801, 816, 65535])
def test_frame_of_a_wrong_length_is_seen_with_its_second_byte(size: int) -> None:
    buffer = FrameBuffer(800)
    length = size.to_bytes(2, "big")
    buffer.feed(length[:1])
    assert buffer.take_frame() is None
    buffer.feed(length[1:])
    with pytest.raises(FrameError):
        buffer.take_frame()


def test_largest_frame_is_taken() -> None:
    buffer = FrameBuffer(800)
    buffer.feed(wire.encode_frame(bytes(800)))
    assert buffer.take_frame() == bytes(800)


@given(st.lists(st.integers(1, 50), max_size=10), st.data())
def test_blocks_come_out_however_they_were_cut(counts: list[int], data: st.DataObject) -> None:
    blocks = [bytes((n,)) * 16 * n for n in counts]
    stream = b"".join(wire.encode_frame(block) for block in blocks)
    buffer = FrameBuffer(800)
    got: list[bytes] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        buffer.feed(stream[:size])
        stream = stream[size:]
        while (block := buffer.take_frame()) is not None:
            got.append(block)
    assert got == blocks
    assert len(buffer) == 0


def test_buffer_keeps_bytes_that_its_caller_may_change() -> None:
    buffer = FrameBuffer(800)
    received = bytearray(b"abc")
    buffer.feed(received)
    received[:] = b"xyz"
    assert buffer.take(3) == b"abc"


def test_clear() -> None:
    buffer = FrameBuffer(800)
    buffer.feed(b"abc")
    buffer.clear()
    assert len(buffer) == 0
    assert buffer.take(1) is None
