"""Keys for the tests of the fleet: the recorded ones, so that hardly any has to be made."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

VECTORS = Path(__file__).parent.parent / "vectors"


@cache
def odd_keys() -> list[dict[str, Any]]:
    """Device keys with the verdict of the firmware's own parser."""
    keys: list[dict[str, Any]] = json.loads((VECTORS / "odd-keys.json").read_text(encoding="utf-8"))["keys"]
    return keys


@cache
def good_keys() -> list[bytes]:
    """PKCS#1 DER of the device keys that the firmware reads."""
    return [bytes.fromhex(key["private_key_der"]) for key in odd_keys() if key["firmware_reads_it"]]


@cache
def recording() -> dict[str, Any]:
    """The first recorded handshake."""
    text = (VECTORS / "sparkprotocol-0.7.0.json").read_text(encoding="utf-8")
    first: dict[str, Any] = json.loads(text)["transcripts"][0]
    return first


def server_spki() -> bytes:
    return bytes.fromhex(recording()["server_public_key_der"])


def server_pem() -> bytes:
    """PKCS#1 PEM of the server's private key."""
    pem: str = recording()["server_private_key_pem"]
    return pem.encode()
