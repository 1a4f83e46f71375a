"""The other side of a core, written by the test byte by byte."""

from __future__ import annotations

from typing import Final

from loadgen.protocol.cloud import CloudConnection
from loadgen.protocol.coap import Message, decode
from loadgen.protocol.device import DeviceConnection
from loadgen.protocol.events import EncryptNonce, Event, MessageReceived, SendBytes, WrapKey
from loadgen.protocol.firmware import P1_0_7_0, FirmwareProfile
from loadgen.protocol.reasons import CryptoFault
from loadgen.protocol.wire import encode_frame, pad, unpad
from tests.fakes import (
    DEVICE_ID,
    DEVICE_PUBLIC_KEY,
    MATERIAL,
    NONCE,
    SERVER_PUBLIC_KEY,
    FakeCrypto,
    make_cloud,
    make_device,
    open_blocks,
    pull,
    seal_blocks,
)

DEVICE_HELLO: Final = bytes.fromhex("50028486b168ff0008ffff00000008")
"""The salt of the fake's material begins 84 85; the first id is one above."""
CLOUD_HELLO: Final = bytes.fromhex("50022001b168")
PLAINTEXT: Final = NONCE + DEVICE_ID + DEVICE_PUBLIC_KEY


def ciphertext(plaintext: bytes = PLAINTEXT, server_key: bytes = SERVER_PUBLIC_KEY) -> bytes:
    """256 bytes as a device sends them."""
    return _done(FakeCrypto().encrypt_nonce([EncryptNonce(server_key, plaintext)])[0])


def reply(
    material: bytes = MATERIAL, device_key: bytes = DEVICE_PUBLIC_KEY, server_key: bytes = SERVER_PUBLIC_KEY
) -> bytes:
    """384 bytes as a cloud sends them."""
    return _done(FakeCrypto().wrap_key([WrapKey(server_key, device_key, material)])[0])


def _done(result: bytes | CryptoFault) -> bytes:
    assert isinstance(result, bytes)
    return result


class Sealer:
    """One direction of a session, with the IV rule done by hand."""

    def __init__(self, key: bytes = MATERIAL[:16], iv: bytes = MATERIAL[16:32]) -> None:
        self.key = key
        self.iv = iv

    def frame(self, message: bytes | str) -> bytes:
        """A frame with this message, given as bytes or hex."""
        return self.raw(pad(bytes.fromhex(message) if isinstance(message, str) else message))

    def raw(self, padded: bytes) -> bytes:
        """A frame with these whole blocks, whatever their padding."""
        sealed = seal_blocks(self.key, self.iv, padded)
        self.iv = sealed[:16]
        return encode_frame(sealed)

    def read(self, frames: bytes) -> list[bytes]:
        """The messages in frames of this direction."""
        messages = []
        while frames:
            end = 2 + int.from_bytes(frames[:2], "big")
            messages.append(unpad(open_blocks(self.key, self.iv, frames[2:end])))
            self.iv = frames[2:18]
            frames = frames[end:]
        return messages


def sends(events: list[Event]) -> list[bytes]:
    """The writes among ``events``."""
    return [event.data for event in events if isinstance(event, SendBytes)]


def messages(events: list[Event]) -> list[Message]:
    """The received messages among ``events``."""
    return [event.message for event in events if isinstance(event, MessageReceived)]


def message(data: str) -> Message:
    """A message from hex."""
    return decode(bytes.fromhex(data))


def device_awaiting_hello(firmware: FirmwareProfile = P1_0_7_0) -> tuple[DeviceConnection, Sealer]:
    """A device that has sent its Hello, and the cloud's direction of the session."""
    device = make_device(firmware)
    device.receive_data(NONCE)
    pull(device)
    device.receive_data(reply())
    pull(device)
    return device, Sealer()


def device_in_session(firmware: FirmwareProfile = P1_0_7_0) -> tuple[DeviceConnection, Sealer, Sealer]:
    """A device in session, the cloud's direction and the device's own behind its Hello."""
    device, sealer = device_awaiting_hello(firmware)
    device.receive_data(sealer.frame(CLOUD_HELLO))
    pull(device)
    own = Sealer()
    own.frame(DEVICE_HELLO)
    return device, sealer, own


def cloud_awaiting_hello() -> tuple[CloudConnection, Sealer]:
    """A cloud that has sent its reply, and the device's direction of the session."""
    cloud = make_cloud()
    pull(cloud)
    cloud.receive_data(ciphertext())
    pull(cloud)
    return cloud, Sealer()


def cloud_in_session() -> tuple[CloudConnection, Sealer, Sealer]:
    """A cloud in session, the device's direction and the cloud's own behind its Hello."""
    cloud, sealer = cloud_awaiting_hello()
    cloud.receive_data(sealer.frame(DEVICE_HELLO))
    pull(cloud)
    own = Sealer()
    own.frame(CLOUD_HELLO)
    return cloud, sealer, own
