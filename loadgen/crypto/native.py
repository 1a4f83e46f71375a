"""The crypto backend on the native kernel, eight lanes at a time.

Strategy. A handle holds the kernel's key beside OpenSSL's. A batch is done by the kernel in groups of eight; a
rest that is smaller than the operation's break-even size goes to OpenSSL, lane by lane, and so does every lane
that the kernel cannot take: a key that it refuses though OpenSSL can use it, or input of a wrong length or kind,
whose verdict is OpenSSL's to give. Results and faults are therefore those of the other backend, save that wrong
padding on the cloud's side is ``BAD_CIPHERTEXT`` here and random bytes there, as the contract allows. A lane
whose CRT result failed its check is done again on OpenSSL.

This module can be imported only where the extension is built; :mod:`loadgen.crypto.backends` sees to that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from loadgen import _native as kernel
from loadgen.crypto.base import LaneResult
from loadgen.crypto.openssl import OpenSSLBackend
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
from loadgen.protocol.wire import (
    BARE_PLAINTEXT_SIZE,
    DEVICE_MODULUS_SIZE,
    KEY_BLOCK_SIZE,
    PLAINTEXT_SIZE,
    SERVER_MODULUS_SIZE,
    modulus_of_server_spki,
)

LANES: Final = kernel.LANES

R = TypeVar("R", bound=BatchedRequest)
Lane = bytes | int

_PLAINTEXT_SIZES: Final = frozenset({PLAINTEXT_SIZE, BARE_PLAINTEXT_SIZE})
_MAC_SIZE: Final = 20
_MODULUS_SIZE: Final[Mapping[type[object], int]] = {
    kernel.DeviceKey: DEVICE_MODULUS_SIZE,
    kernel.ServerKey: SERVER_MODULUS_SIZE,
}
_DEVICE_MODULUS: Final = slice(29, 29 + KEY_BLOCK_SIZE)  # damaged devices present moduli that no parser would take
_FAULTS: Final = {
    kernel.BAD_KEY: CryptoFault.BAD_KEY,
    kernel.BAD_SIGNATURE: CryptoFault.BAD_SIGNATURE,
    kernel.BAD_CIPHERTEXT: CryptoFault.BAD_CIPHERTEXT,
    kernel.BAD_INPUT: CryptoFault.BAD_INPUT,
}


class Key:
    """A key of any kind, parsed twice.

    Attributes:
        native: the kernel's key, None where the kernel refuses it.
        openssl: OpenSSL's handle of the same key.
    """

    __slots__ = ("native", "openssl")

    def __init__(self, native: object | None, openssl: KeyHandle) -> None:
        self.native = native
        self.openssl = openssl


class NativeBackend:
    """Every operation in lanes, or only those of batches that are large enough.

    See :class:`loadgen.crypto.base.LaneBackend`.

    Args:
        break_even: see there; an operation that is missing always runs in lanes.
        name: for the record.
    """

    lanes = LANES

    def __init__(self, break_even: Mapping[type[BatchedRequest], int] | None = None, name: str = "native") -> None:
        self.name = name
        self.break_even: Mapping[type[BatchedRequest], int] = dict(break_even or {})
        self.openssl = OpenSSLBackend()
        """What small batches run on."""

    # --- keys

    def load_device_key(self, der: bytes) -> KeyHandle:
        """Parse a PKCS#1 RSA-1024 private key (DER) of this program's own fleet."""
        handle = self.openssl.load_device_key(der)
        return Key(_or_none(kernel.DeviceKey.from_der, der), handle)

    def load_device_public_key(self, spki: bytes) -> KeyHandle:
        """Parse a 162-byte SubjectPublicKeyInfo as a device presents it."""
        handle = self.openssl.load_device_public_key(spki)
        return Key(_or_none(kernel.DevicePublicKey, spki[_DEVICE_MODULUS]), handle)

    def load_server_public_key(self, spki: bytes) -> KeyHandle:
        """Parse a 294-byte SubjectPublicKeyInfo of an RSA-2048 key with e = 65537."""
        handle = self.openssl.load_server_public_key(spki)
        return Key(_or_none(lambda data: kernel.ServerPublicKey(modulus_of_server_spki(data)), spki), handle)

    def load_server_key(self, der: bytes) -> KeyHandle:
        """Parse an RSA-2048 private key (PKCS#1 or PKCS#8 DER) with e = 65537; its numbers are checked."""
        handle = self.openssl.load_server_key(der)
        return Key(_or_none(kernel.ServerKey.from_der, der), handle)

    # --- batches

    def encrypt_nonce(self, batch: Sequence[EncryptNonce]) -> list[LaneResult]:
        """Do the device's encryption for each lane."""
        return self._run(_ENCRYPT, batch, self.openssl.encrypt_nonce)

    def unwrap_key(self, batch: Sequence[UnwrapKey]) -> list[LaneResult]:
        """Decrypt and verify the session material for each lane."""
        return self._run(_UNWRAP, batch, self.openssl.unwrap_key)

    def decrypt_nonce(self, batch: Sequence[DecryptNonce]) -> list[LaneResult]:
        """Do the cloud's decryption for each lane."""
        return self._run(_DECRYPT, batch, self.openssl.decrypt_nonce)

    def wrap_key(self, batch: Sequence[WrapKey]) -> list[LaneResult]:
        """Encrypt and sign the session material for each lane."""
        return self._run(_WRAP, batch, self.openssl.wrap_key)

    def sign(self, keys: Sequence[KeyHandle], macs: Sequence[bytes]) -> list[LaneResult]:
        """PKCS#1 v1.5 signatures of 20 bytes each, without DigestInfo. For benchmarks: always in lanes."""
        natives = [key.native for key in keys]
        size = _MODULUS_SIZE[type(natives[0])] if natives else 0
        head = b"\0\1".ljust(size - _MAC_SIZE - 1, b"\xff") + b"\0"
        lanes = kernel.private_raw(natives, [head + mac for mac in macs])
        return [lane if isinstance(lane, bytes) else _FAULTS.get(lane, CryptoFault.FAULTY_RESULT) for lane in lanes]

    # --- AES

    def seal(self, request: Seal) -> bytes:
        """AES-128-CBC encrypt whole blocks.

        Raises:
            ValueError: a length is wrong.
        """
        return kernel.seal(request.key, request.iv, request.padded)

    def open(self, request: Open) -> bytes:
        """AES-128-CBC decrypt whole blocks.

        Raises:
            ValueError: a length is wrong.
        """
        return kernel.open(request.key, request.iv, request.ciphertext)

    # --- lanes

    def _run(
        self, step: _Step[R], batch: Sequence[R], openssl: Callable[[Sequence[R]], list[LaneResult]]
    ) -> list[LaneResult]:
        """A batch of any size: what fills lanes in the kernel, a small rest on OpenSSL."""
        break_even = self.break_even.get(step.request, 1)
        whole = 0 if break_even > LANES else len(batch)
        if whole % LANES < break_even:
            whole -= whole % LANES
        results = _in_lanes(step, batch[:whole], openssl) if whole else []
        if whole < len(batch):
            results += openssl([step.on_openssl(request) for request in batch[whole:]])
        return results


@dataclass(frozen=True)
class _Step(Generic[R]):
    """How requests of one operation go to the kernel and to OpenSSL."""

    request: type[BatchedRequest]
    fits: Callable[[R], bool]
    """Whether the kernel can take it: keys of the right kinds, a plaintext of a known length."""
    kernel: Callable[[Sequence[R]], list[Lane]]
    on_openssl: Callable[[R], R]
    """The same request with OpenSSL's handles."""


def _in_lanes(
    step: _Step[R], batch: Sequence[R], openssl: Callable[[Sequence[R]], list[LaneResult]]
) -> list[LaneResult]:
    """All of ``batch`` in the kernel, save the lanes that it cannot take or does not finish."""
    fitting = [request for request in batch if step.fits(request)]
    lanes = iter(step.kernel(fitting))
    all_fit = len(fitting) == len(batch)
    results: list[LaneResult] = []
    for request in batch:
        lane = next(lanes) if all_fit or step.fits(request) else None
        if isinstance(lane, bytes):
            results.append(lane)
        elif lane is not None and lane in _FAULTS:
            results.append(_FAULTS[lane])
        else:
            results += openssl([step.on_openssl(request)])
    return results


def _native(key: KeyHandle, kind: type[object]) -> bool:
    return type(key) is Key and type(key.native) is kind


def _openssl(key: KeyHandle) -> KeyHandle:
    return key.openssl if type(key) is Key else None


def _or_none(make: Callable[[bytes], object], data: bytes) -> object | None:
    try:
        return make(data)
    except ValueError:
        return None


_ENCRYPT: Final = _Step(
    EncryptNonce,
    lambda r: _native(r.server_key, kernel.ServerPublicKey) and len(r.plaintext) in _PLAINTEXT_SIZES,
    lambda batch: kernel.encrypt_nonce([r.server_key.native for r in batch], [r.plaintext for r in batch]),
    lambda r: EncryptNonce(_openssl(r.server_key), r.plaintext),
)
_UNWRAP: Final = _Step(
    UnwrapKey,
    lambda r: _native(r.device_key, kernel.DeviceKey) and _native(r.server_key, kernel.ServerPublicKey),
    lambda batch: kernel.unwrap_key(
        [r.device_key.native for r in batch], [r.server_key.native for r in batch], [r.reply for r in batch]
    ),
    lambda r: UnwrapKey(_openssl(r.device_key), _openssl(r.server_key), r.reply),
)
_DECRYPT: Final = _Step(
    DecryptNonce,
    lambda r: _native(r.server_key, kernel.ServerKey),
    lambda batch: kernel.decrypt_nonce([r.server_key.native for r in batch], [r.ciphertext for r in batch]),
    lambda r: DecryptNonce(_openssl(r.server_key), r.ciphertext),
)
_WRAP: Final = _Step(
    WrapKey,
    lambda r: _native(r.server_key, kernel.ServerKey) and _native(r.device_public_key, kernel.DevicePublicKey),
    lambda batch: kernel.wrap_key(
        [r.server_key.native for r in batch], [r.device_public_key.native for r in batch], [r.material for r in batch]
    ),
    lambda r: WrapKey(_openssl(r.server_key), _openssl(r.device_public_key), r.material),
)
_STEPS: Final[Mapping[type[Any], _Step[Any]]] = {step.request: step for step in (_ENCRYPT, _UNWRAP, _DECRYPT, _WRAP)}


def for_openssl(batch: Sequence[R]) -> list[R]:
    """The same requests with the handles of the OpenSSL backend."""
    return [_STEPS[type(request)].on_openssl(request) for request in batch]
