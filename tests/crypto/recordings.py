"""The recorded handshakes of genuine firmware, as far as the crypto is concerned."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

VECTORS = Path(__file__).parent.parent / "vectors"
RECORDINGS = ("sparkprotocol-0.7.0", "lightssl-0.7.0")


@dataclass(frozen=True)
class Frame:
    iv: bytes
    padded: bytes
    ciphertext: bytes


@dataclass(frozen=True)
class Transcript:
    """One recorded handshake; every field in bytes."""

    title: str
    device_key: bytes
    device_public_key: bytes
    server_key: bytes
    server_public_key: bytes
    nonce: bytes
    plaintext: bytes
    ciphertext: bytes
    material: bytes
    reply: bytes
    frames: tuple[Frame, ...]


def load_vector(name: str) -> Any:
    """The content of ``tests/vectors/<name>.json``."""
    return json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))


@cache
def transcripts() -> tuple[Transcript, ...]:
    """Every recorded handshake."""
    return tuple(
        _transcript(f"{name}: {item['title']}", item)
        for name in RECORDINGS
        for item in load_vector(name)["transcripts"]
    )


def _transcript(title: str, item: dict[str, Any]) -> Transcript:
    server = load_pem_private_key(item["server_private_key_pem"].encode(), None)
    return Transcript(
        title=title,
        device_key=bytes.fromhex(item["device_private_key_der"]),
        device_public_key=bytes.fromhex(item["device_public_key_der"]),
        server_key=server.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
        server_public_key=bytes.fromhex(item["server_public_key_der"]),
        nonce=bytes.fromhex(item["nonce"]),
        plaintext=bytes.fromhex(item["ciphertext_plain"]),
        ciphertext=bytes.fromhex(item["ciphertext"]),
        material=bytes.fromhex(item["session"]),
        reply=bytes.fromhex(item["reply"]),
        frames=_frames(item),
    )


def _frames(item: dict[str, Any]) -> tuple[Frame, ...]:
    """The frames with the IV of each: the session's, then the first 16 bytes of the direction's last frame."""
    ivs = dict.fromkeys(("c2s", "s2c"), bytes.fromhex(item["iv"]))
    frames = []
    for frame in item["frames"]:
        ciphertext = bytes.fromhex(frame["frame"])[2:]
        if "plain_padded" in frame:
            frames.append(Frame(ivs[frame["dir"]], bytes.fromhex(frame["plain_padded"]), ciphertext))
        ivs[frame["dir"]] = ciphertext[:16]
    return tuple(frames)
