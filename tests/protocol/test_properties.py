"""Properties that hold for every cut, every garbage and every order of calls."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.protocol import coap
from loadgen.protocol.cloud import CloudConnection
from loadgen.protocol.device import DeviceConnection
from loadgen.protocol.events import CryptoNeeded, Event, MessageReceived, Sentinel
from loadgen.protocol.reasons import CryptoFault, HandshakeError
from tests.fakes import NONCE, FakeCrypto, make_cloud, make_device, pull
from tests.protocol.scripted import (
    CLOUD_HELLO,
    DEVICE_HELLO,
    Sealer,
    ciphertext,
    cloud_awaiting_hello,
    cloud_in_session,
    device_awaiting_hello,
    device_in_session,
    reply,
)

TRAFFIC = ["40000001", "60000002", "50020003b1650161ff", "50020004b16506737061726b78ff" + "00" * 60, "40000005"]


def stream_to_device() -> bytes:
    sealer = Sealer()
    return NONCE + reply() + b"".join(sealer.frame(m) for m in (TRAFFIC[0], CLOUD_HELLO.hex(), *TRAFFIC))


def stream_to_cloud() -> bytes:
    sealer = Sealer()
    return ciphertext() + b"".join(sealer.frame(m) for m in (TRAFFIC[0], DEVICE_HELLO.hex(), *TRAFFIC))


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    """``stream`` cut at the given positions."""
    bounds = [0, *sorted({cut % len(stream) for cut in cuts} - {0}), len(stream)]
    return [stream[start:end] for start, end in pairwise(bounds)]


def run(connection: DeviceConnection | CloudConnection, reads: list[bytes]) -> list[Event]:
    events = pull(connection)
    for data in reads:
        connection.receive_data(data)
        events += pull(connection)
    return events


CUTS = st.lists(st.integers(0, 2000), max_size=40)


@given(CUTS)
def test_segmentation_does_not_matter_to_a_device(cuts: list[int]) -> None:
    stream = stream_to_device()
    assert run(make_device(), pieces(stream, cuts)) == run(make_device(), [stream])


@given(CUTS)
def test_segmentation_does_not_matter_to_a_cloud(cuts: list[int]) -> None:
    stream = stream_to_cloud()
    assert run(make_cloud(), pieces(stream, cuts)) == run(make_cloud(), [stream])


GARBAGE = st.one_of(
    st.binary(max_size=600),
    st.binary(max_size=40).map(lambda data: b"\x00\x10" + data),
    st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(lambda f: b"".join(b"\x00\x20" + x for x in f)),
)
DEVICES: dict[str, Callable[[], DeviceConnection]] = {
    "nonce": make_device,
    "hello": lambda: device_awaiting_hello()[0],
    "session": lambda: device_in_session()[0],
}
CLOUDS: dict[str, Callable[[], CloudConnection]] = {
    "ciphertext": make_cloud,
    "prepared": lambda: make_cloud(prepared=reply()),
    "hello": lambda: cloud_awaiting_hello()[0],
    "session": lambda: cloud_in_session()[0],
}


def survive(connection: DeviceConnection | CloudConnection, reads: list[bytes]) -> None:
    """Any bytes give events or the one error, and after it the core is dead and quiet."""
    with pytest.raises(HandshakeError):
        run(connection, [*reads, b""])
    connection.receive_data(b"more")
    connection.answer(1, b"late")


@pytest.mark.parametrize("state", DEVICES)
@given(garbage=st.lists(GARBAGE.filter(len), max_size=3))
def test_garbage_to_a_device(state: str, garbage: list[bytes]) -> None:
    survive(DEVICES[state](), garbage)


@pytest.mark.parametrize("state", CLOUDS)
@given(garbage=st.lists(GARBAGE.filter(len), max_size=3))
def test_garbage_to_a_cloud(state: str, garbage: list[bytes]) -> None:
    survive(CLOUDS[state](), garbage)


@given(st.lists(st.binary(max_size=40), max_size=6), st.booleans())
def test_messages_of_any_content(plains: list[bytes], to_device: bool) -> None:
    """Well-formed frames with any plaintext: what is delivered is what was sent, in order, until it is no message."""
    connection: DeviceConnection | CloudConnection
    connection, sealer, _ = device_in_session() if to_device else cloud_in_session()
    connection.receive_data(b"".join(sealer.frame(plain) for plain in plains))
    delivered = []
    with suppress(HandshakeError):
        while not isinstance(event := connection.next_event(), Sentinel):
            if isinstance(event, CryptoNeeded):
                connection.answer(event.token, FakeCrypto().perform(event.request))
            elif isinstance(event, MessageReceived):
                delivered.append(event.message)
    assert delivered == [coap.decode(plain) for plain in plains[: len(delivered)]]


@given(st.sampled_from(list(CryptoFault)), st.integers(0, 7))
def test_any_crypto_fault_at_any_request(fault: CryptoFault, number: int) -> None:
    for connection, stream in ((make_device(), stream_to_device()), (make_cloud(), stream_to_cloud())):
        with pytest.raises(HandshakeError):
            run_with_fault(connection, stream, fault, number)


def run_with_fault(
    connection: DeviceConnection | CloudConnection, stream: bytes, fault: CryptoFault, number: int
) -> None:
    """Answer request ``number`` with ``fault``."""
    crypto = FaultyCrypto(fault, number)
    pull(connection, crypto)
    connection.receive_data(stream)
    pull(connection, crypto)


class FaultyCrypto(FakeCrypto):
    def __init__(self, fault: CryptoFault, number: int) -> None:
        self._fault = fault
        self._left = number

    def perform(self, request: object) -> bytes | CryptoFault:
        self._left -= 1
        return self._fault if self._left < 0 else super().perform(request)  # type: ignore[arg-type]
