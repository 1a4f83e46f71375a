"""A backend without arithmetic, whose work can be held up and broken."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event
from typing import Any

from loadgen.crypto.base import LaneResult
from loadgen.protocol.events import DecryptNonce, EncryptNonce, KeyHandle, Open, Seal, UnwrapKey, WrapKey


class FakeBackend:
    """Answers every request with its own payload; keeps the batches that it was given.

    Args:
        lanes: what it claims to have.
        gate: every batch waits until it is set.
    """

    name = "fake"

    def __init__(self, lanes: int = 1, gate: Event | None = None) -> None:
        self.lanes = lanes
        self.batches: list[list[Any]] = []
        self.begun = Event()
        self.error: Exception | None = None
        self.too_few = False
        self._gate = gate

    def _run(self, batch: Sequence[Any], results: list[bytes]) -> list[LaneResult]:
        self.batches.append(list(batch))
        self.begun.set()
        if self._gate is not None:
            assert self._gate.wait(10)
        if self.error is not None:
            raise self.error
        return list(results[1:] if self.too_few else results)

    def encrypt_nonce(self, batch: Sequence[EncryptNonce]) -> list[LaneResult]:
        return self._run(batch, [request.plaintext for request in batch])

    def unwrap_key(self, batch: Sequence[UnwrapKey]) -> list[LaneResult]:
        return self._run(batch, [request.reply for request in batch])

    def decrypt_nonce(self, batch: Sequence[DecryptNonce]) -> list[LaneResult]:
        return self._run(batch, [request.ciphertext for request in batch])

    def wrap_key(self, batch: Sequence[WrapKey]) -> list[LaneResult]:
        return self._run(batch, [request.material for request in batch])

    def load_device_key(self, der: bytes) -> KeyHandle:
        return der

    def load_device_public_key(self, spki: bytes) -> KeyHandle:
        return spki

    def load_server_public_key(self, spki: bytes) -> KeyHandle:
        return spki

    def load_server_key(self, der: bytes) -> KeyHandle:
        return der

    def seal(self, request: Seal) -> bytes:
        return request.padded

    def open(self, request: Open) -> bytes:
        return request.ciphertext
