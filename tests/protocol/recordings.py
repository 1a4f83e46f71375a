"""The recorded connections of genuine firmware, as the protocol tests want them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from loadgen.protocol.coap import Message, decode
from loadgen.protocol.firmware import P1_0_7_0, FirmwareProfile, firmware

VECTORS = Path(__file__).parent.parent / "vectors"

LIGHTSSL_0_7_0 = replace(firmware("p1@0.8.0-rc.1"), name="lightssl@0.7.0", hello_flags=0x00, modules=P1_0_7_0.modules)
"""The second implementation as it stood beside the first in 0.7.0, on other platforms. For replaying only."""


@dataclass(frozen=True)
class Frame:
    """One recorded frame."""

    from_device: bool
    frame: bytes
    plain: bytes

    @property
    def message(self) -> Message:
        """Parsed anew, so that a test may change it."""
        return decode(self.plain)


@dataclass(frozen=True)
class Transcript:
    """One recorded connection; byte strings as bytes."""

    title: str
    firmware: FirmwareProfile
    device_id: bytes
    public_key: bytes
    nonce: bytes
    ciphertext: bytes
    plaintext: bytes
    reply: bytes
    material: bytes
    frames: tuple[Frame, ...]

    @property
    def product(self) -> tuple[int, int]:
        """Product id and version in the device's Hello."""
        payload = self.frames[0].message.payload
        assert payload is not None
        return int.from_bytes(payload[:2], "big"), int.from_bytes(payload[2:4], "big")

    def blocks(self, *, from_device: bool) -> list[bytes]:
        """Everything one side sends, a message each."""
        head = [self.ciphertext] if from_device else [self.nonce, self.reply]
        return head + [frame.frame for frame in self.frames if frame.from_device == from_device]

    def messages(self, *, from_device: bool) -> list[Message]:
        """The session's messages of one side, its Hello first."""
        return [frame.message for frame in self.frames if frame.from_device == from_device]


@cache
def transcripts() -> tuple[Transcript, ...]:
    """Every recorded connection of both implementations."""
    return tuple(
        _transcript(name, item, profile)
        for name, profile in (("sparkprotocol-0.7.0", P1_0_7_0), ("lightssl-0.7.0", LIGHTSSL_0_7_0))
        for item in json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))["transcripts"]
    )


def _transcript(name: str, item: dict[str, Any], profile: FirmwareProfile) -> Transcript:
    return Transcript(
        title=f"{name}-{item['n']}",
        firmware=profile,
        device_id=bytes.fromhex(item["device_id"]),
        public_key=bytes.fromhex(item["device_public_key_der"]),
        nonce=bytes.fromhex(item["nonce"]),
        ciphertext=bytes.fromhex(item["ciphertext"]),
        plaintext=bytes.fromhex(item["ciphertext_plain"]),
        reply=bytes.fromhex(item["reply"]),
        material=bytes.fromhex(item["session"]),
        frames=tuple(
            Frame(frame["dir"] == "c2s", bytes.fromhex(frame["frame"]), bytes.fromhex(frame["plain"]))
            for frame in item["frames"]
        ),
    )
