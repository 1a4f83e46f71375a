"""The contract of a crypto backend: batches in, one result or fault per lane out.

A backend is stateless but for the keys that it has parsed; it never reuses the result of an operation. The
batched operations may be called on a thread beside the event loop, one call at a time per backend object;
``seal`` and ``open`` are called on the event loop at any time. Every backend passes the conformance kit in
``tests/crypto/conformance.py``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

from loadgen.protocol.events import (
    BatchedRequest,
    DecryptNonce,
    EncryptNonce,
    KeyHandle,
    Open,
    Seal,
    UnwrapKey,
    WrapKey,
)
from loadgen.protocol.reasons import CryptoFault

LaneResult: TypeAlias = bytes | CryptoFault
"""What one lane of a batch gives: the bytes, or why there are none. Never a bare bool."""


class CryptoBackend(Protocol):
    """One implementation of the protocol's operations.

    The ``load_…`` methods parse a key once and raise :class:`ValueError` with one sentence where it cannot be
    used: wrong encoding, size or exponent.
    """

    name: str
    """``openssl``, ``native`` or ``native+openssl``; named in the record."""

    lanes: int
    """Batch size that fills the hardware; 1 where batching brings nothing."""

    def load_device_key(self, der: bytes) -> KeyHandle:
        """Parse a PKCS#1 RSA-1024 private key (DER) of this program's own fleet."""

    def load_device_public_key(self, spki: bytes) -> KeyHandle:
        """Parse a 162-byte SubjectPublicKeyInfo as a device presents it."""

    def load_server_public_key(self, spki: bytes) -> KeyHandle:
        """Parse a 294-byte SubjectPublicKeyInfo of an RSA-2048 key with e = 65537."""

    def load_server_key(self, der: bytes) -> KeyHandle:
        """Parse an RSA-2048 private key (PKCS#1 or PKCS#8 DER) with e = 65537."""

    def encrypt_nonce(self, batch: Sequence[EncryptNonce]) -> list[LaneResult]:
        """Do the device's encryption for each lane."""

    def unwrap_key(self, batch: Sequence[UnwrapKey]) -> list[LaneResult]:
        """Decrypt and verify the session material for each lane."""

    def decrypt_nonce(self, batch: Sequence[DecryptNonce]) -> list[LaneResult]:
        """Do the cloud's decryption for each lane."""

    def wrap_key(self, batch: Sequence[WrapKey]) -> list[LaneResult]:
        """Encrypt and sign the session material for each lane."""

    def seal(self, request: Seal) -> bytes:
        """AES-128-CBC encrypt whole blocks."""

    def open(self, request: Open) -> bytes:
        """AES-128-CBC decrypt whole blocks."""


@runtime_checkable
class LaneBackend(CryptoBackend, Protocol):
    """A backend whose lanes cost the same whether they are filled or not."""

    break_even: Mapping[type[BatchedRequest], int]
    """Batch size from which on an operation runs in lanes; more than ``lanes`` where it never does."""


@runtime_checkable
class RawBackend(CryptoBackend, Protocol):
    """A backend whose RSA can be measured without the protocol around it."""

    def sign(self, keys: Sequence[KeyHandle], macs: Sequence[bytes]) -> list[LaneResult]:
        """PKCS#1 v1.5 signatures of 20 bytes each, without DigestInfo, by private keys of one kind.

        The private operation and next to nothing else; not used by the protocol in this form.
        """
