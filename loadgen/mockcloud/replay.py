"""Prepared answers of replay mode: made once by the parent, shared with the workers, used in turn."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from loadgen.crypto.base import CryptoBackend
from loadgen.errors import UsageError
from loadgen.protocol.events import WrapKey
from loadgen.protocol.wire import MATERIAL_SIZE, REPLY_SIZE

Answer = tuple[bytes, bytes]
"""The 384-byte reply, and the 40 bytes of session material in it."""

_SIZE = REPLY_SIZE + MATERIAL_SIZE
_THREADS = 8


def prepare(new_backend: Callable[[], CryptoBackend], server_key: bytes, device_key: bytes, count: int) -> list[Answer]:
    """Make ``count`` answers with different session keys for one device key, on all cores.

    Args:
        new_backend: gives a backend for one thread.
        server_key: private key, DER.
        device_key: public key, 162 bytes.

    Raises:
        UsageError: nothing can be encrypted to the device key.
    """
    threads = min(_THREADS, len(os.sched_getaffinity(0)), count)
    shares = [count // threads + (number < count % threads) for number in range(threads)]
    with ThreadPoolExecutor(threads) as pool:
        parts = pool.map(lambda share: _prepare_share(new_backend(), server_key, device_key, share), shares)
        return [answer for part in parts for answer in part]


def _prepare_share(backend: CryptoBackend, server_key: bytes, device_key: bytes, count: int) -> list[Answer]:
    try:
        private, public = backend.load_server_key(server_key), backend.load_device_public_key(device_key)
    except ValueError as error:
        raise UsageError(str(error), remedy="Use an RSA-1024 device key and an RSA-2048 server key.") from error
    materials = [os.urandom(MATERIAL_SIZE) for _ in range(count)]
    replies = backend.wrap_key([WrapKey(private, public, material) for material in materials])
    answers = []
    for reply, material in zip(replies, materials, strict=True):
        if not isinstance(reply, bytes):
            raise UsageError(
                f"no session key can be encrypted to the device key for replay ({reply})",
                remedy="Use the public key of an RSA-1024 key pair.",
            )
        answers.append((reply, material))
    return answers


def write_memory(answers: list[Answer]) -> int:
    """Descriptor of shared memory with the answers."""
    descriptor = os.memfd_create("loadgen-answers")
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.writelines(reply + material for reply, material in answers)
    return descriptor


def read_memory(descriptor: int) -> list[Answer]:
    """The answers behind a descriptor of :func:`write_memory`."""
    data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    return [(data[at : at + REPLY_SIZE], data[at + REPLY_SIZE : at + _SIZE]) for at in range(0, len(data), _SIZE)]


class Cycle:
    """The answers one after the other, for ever; each worker begins elsewhere."""

    __slots__ = ("_answers", "_next")

    def __init__(self, answers: list[Answer], worker: int, workers: int) -> None:
        self._answers = answers
        self._next = len(answers) * worker // workers

    def take(self) -> Answer:
        """The next answer."""
        answers, number = self._answers, self._next
        self._next = number + 1 if number + 1 < len(answers) else 0
        return answers[number]
