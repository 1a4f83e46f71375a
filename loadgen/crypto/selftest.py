"""Proves the native kernel against OpenSSL before its first use, and finds where it begins to be faster.

Strategy. Each lane gets a random key and random messages. What one backend encrypted or wrapped, both have to
decrypt or unwrap; what is deterministic has to be the same bytes; a damaged lane has to give the same fault and
leave its neighbours alone. The keys come from a stock of primes, since the search for new ones would take longer
than everything else.

Imported only where the extension is built, as :mod:`loadgen.crypto.native`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from loadgen import _native as kernel
from loadgen.clock import thread_cpu_ns
from loadgen.crypto.base import LaneResult
from loadgen.crypto.native import LANES, Key, NativeBackend, for_openssl
from loadgen.crypto.openssl import DEVICE_KEY_BITS, SERVER_KEY_BITS, keys_of_primes
from loadgen.crypto.stock import Numbers, stock_keys
from loadgen.protocol.events import BatchedRequest, DecryptNonce, EncryptNonce, Open, Seal, UnwrapKey, WrapKey
from loadgen.protocol.wire import KEY_BLOCK_SIZE, MATERIAL_SIZE, PLAINTEXT_SIZE

_LANES_TESTED: Final = LANES + 1
"""One full group, and one with a single lane."""
_REPEATS: Final = 3
_SINGLES: Final = 2


def _keys_of(numbers: Numbers) -> tuple[Key, Key]:
    """(private, public) handles of a key, for either backend; what loading would check is known to be right."""
    private, public = keys_of_primes(numbers.p, numbers.q)
    size = len(numbers.modulus)
    values = [value.to_bytes(size) for value in (numbers.n, numbers.p, numbers.q, *numbers.crt)]
    if size * 8 == DEVICE_KEY_BITS:
        return Key(kernel.DeviceKey(*values), private), Key(kernel.DevicePublicKey(values[0]), public)
    return Key(kernel.ServerKey(*values), private), Key(kernel.ServerPublicKey(values[0]), public)


class Trial:
    """Requests with random keys and messages, a different key for each lane; handles are good for both backends."""

    def __init__(self, lanes: int, chance: random.Random) -> None:
        devices = [_keys_of(numbers) for numbers in stock_keys(DEVICE_KEY_BITS, lanes, chance)]
        servers = [_keys_of(numbers) for numbers in stock_keys(SERVER_KEY_BITS, lanes, chance)]
        self.materials = [chance.randbytes(MATERIAL_SIZE) for _ in range(lanes)]
        self.plaintexts = [chance.randbytes(PLAINTEXT_SIZE) for _ in range(lanes)]
        self._devices = [private for private, _ in devices]
        self._servers = [private for private, _ in servers]
        self._servers_public = [public for _, public in servers]
        self.encrypt = [
            EncryptNonce(key, plaintext) for key, plaintext in zip(self._servers_public, self.plaintexts, strict=True)
        ]
        self.wrap = [
            WrapKey(server, device, material)
            for server, (_, device), material in zip(self._servers, devices, self.materials, strict=True)
        ]

    def decrypt(self, ciphertexts: Sequence[LaneResult]) -> list[DecryptNonce]:
        """What answers :attr:`encrypt`; a lane without a ciphertext becomes bad input."""
        return [
            DecryptNonce(key, ciphertext if isinstance(ciphertext, bytes) else b"")
            for key, ciphertext in zip(self._servers, ciphertexts, strict=True)
        ]

    def unwrap(self, replies: Sequence[LaneResult]) -> list[UnwrapKey]:
        """What answers :attr:`wrap`; a lane without a reply becomes bad input."""
        return [
            UnwrapKey(device, server, reply if isinstance(reply, bytes) else b"")
            for device, server, reply in zip(self._devices, self._servers_public, replies, strict=True)
        ]


def find_fault(backend: NativeBackend, chance: random.Random | None = None) -> str | None:
    """What the kernel does otherwise than OpenSSL, the end of a sentence; None where they agree. About 15 ms.

    Args:
        backend: one that runs everything in lanes.
        chance: where keys and messages come from; by default the system's generator.
    """
    try:
        return _disagreement(backend, chance or random.SystemRandom())
    except (ValueError, TypeError, OSError, MemoryError) as error:
        return f"the self-test ended with {error!r}"


def _disagreement(backend: NativeBackend, chance: random.Random) -> str | None:
    openssl = backend.openssl
    trial = Trial(_LANES_TESTED, chance)
    key, iv, padded = chance.randbytes(16), chance.randbytes(16), chance.randbytes(16 * 5)
    sealed = openssl.seal(Seal(key, iv, padded))
    replies = openssl.wrap_key(for_openssl(trial.wrap))
    own_replies = backend.wrap_key(trial.wrap)
    damaged = trial.unwrap(_damaged(replies, chance))
    checks: list[tuple[str, object, object]] = [
        ("seal", backend.seal(Seal(key, iv, padded)), sealed),
        ("open", backend.open(Open(key, iv, sealed)), padded),
        (
            "encrypt_nonce",
            openssl.decrypt_nonce(for_openssl(trial.decrypt(backend.encrypt_nonce(trial.encrypt)))),
            trial.plaintexts,
        ),
        (
            "decrypt_nonce",
            backend.decrypt_nonce(trial.decrypt(openssl.encrypt_nonce(for_openssl(trial.encrypt)))),
            trial.plaintexts,
        ),
        ("wrap_key", openssl.unwrap_key(for_openssl(trial.unwrap(own_replies))), trial.materials),
        ("unwrap_key", backend.unwrap_key(trial.unwrap(replies)), trial.materials),
        ("unwrap_key of damaged replies", backend.unwrap_key(damaged), openssl.unwrap_key(for_openssl(damaged))),
    ]
    wrong = [name for name, found, expected in checks if found != expected]
    return f"wrong results of {', '.join(wrong)}" if wrong else None


def _damaged(replies: Sequence[LaneResult], chance: random.Random) -> list[LaneResult]:
    """The same replies, one with another ciphertext and one with another signature."""
    damaged = list(replies)
    for lane, start in zip(chance.sample(range(len(replies)), 2), (0, KEY_BLOCK_SIZE), strict=True):
        reply = damaged[lane]
        assert isinstance(reply, bytes)
        position = start + chance.randrange(1, KEY_BLOCK_SIZE)
        damaged[lane] = reply[:position] + bytes([reply[position] ^ 1 << chance.randrange(8)]) + reply[position + 1 :]
    return damaged


def measure_break_even(
    backend: NativeBackend,
    chance: random.Random | None = None,
    cpu_clock_ns: Callable[[], int] = thread_cpu_ns,
) -> Mapping[type[BatchedRequest], int]:
    """The batch size of each operation from which on the kernel takes less CPU time than OpenSSL. About 15 ms.

    The kernel takes as long for one lane as for all; ``lanes + 1`` says that even all of them are faster on OpenSSL.
    """
    openssl = backend.openssl
    trial = Trial(LANES, chance or random.SystemRandom())
    decrypt = trial.decrypt(backend.encrypt_nonce(trial.encrypt))
    unwrap = trial.unwrap(backend.wrap_key(trial.wrap))
    operations: list[tuple[Callable[..., object], Callable[..., object], Sequence[BatchedRequest]]] = [
        (backend.encrypt_nonce, openssl.encrypt_nonce, trial.encrypt),
        (backend.unwrap_key, openssl.unwrap_key, unwrap),
        (backend.decrypt_nonce, openssl.decrypt_nonce, decrypt),
        (backend.wrap_key, openssl.wrap_key, trial.wrap),
    ]
    break_even: dict[type[BatchedRequest], int] = {}
    for in_lanes, one_by_one, batch in operations:
        singles = for_openssl(batch[:_SINGLES])
        one_by_one(singles)  # OpenSSL prepares a key at its first use
        lanes_ns = _fastest_ns(in_lanes, batch, cpu_clock_ns)
        single_ns = _fastest_ns(one_by_one, singles, cpu_clock_ns) / _SINGLES
        break_even[type(batch[0])] = min(LANES + 1, max(1, math.ceil(lanes_ns / single_ns)))
    return break_even


def _fastest_ns(run: Callable[..., object], batch: Sequence[BatchedRequest], cpu_clock_ns: Callable[[], int]) -> int:
    """CPU time of the fastest of several runs: noise only ever adds."""
    times = []
    for _ in range(_REPEATS):
        begin_ns = cpu_clock_ns()
        run(batch)
        times.append(cpu_clock_ns() - begin_ns)
    return max(1, min(times))
