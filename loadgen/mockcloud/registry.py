"""Which devices the cloud knows: one table for all workers, and the policies on it.

The table lives in shared memory: an open-addressed index of record numbers, and records (device id, public key)
that are only ever appended. Readers take no lock. Writers hold a POSIX record lock, which the kernel releases if a
worker is killed while it holds it, and look again under it, so two workers never register one device twice. A record is
written before its index entry; a reader that is overtaken all the same sees an unknown device and asks under the lock.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator

from loadgen.mockcloud.settings import RegistryPolicy
from loadgen.protocol.reasons import Reason
from loadgen.protocol.wire import DEVICE_ID_SIZE, DEVICE_SPKI_SIZE

_RECORD_SIZE = DEVICE_ID_SIZE + DEVICE_SPKI_SIZE
_HEADER = struct.Struct("=II")  # devices registered, capacity
_HEADER_SIZE = 64


class RegistryFull(Exception):  # noqa: N818 - an answer, not a fault of the program
    """No further device can be registered."""


class SharedRegistry:
    """The table as one process sees it. Keys are 162-byte SubjectPublicKeyInfo, ids 12 bytes."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._memory = mmap.mmap(descriptor, 0)
        _, self._capacity = _HEADER.unpack_from(self._memory)
        self._mask = _index_size(self._capacity) - 1
        self._records_at = _HEADER_SIZE + 4 * (self._mask + 1)
        self._view = memoryview(self._memory)
        self._index = self._view[_HEADER_SIZE : self._records_at].cast("I")

    @staticmethod
    def create_memory(capacity: int) -> int:
        """Descriptor of an empty table for ``capacity`` devices; pages come into being as they are used."""
        descriptor = os.memfd_create("loadgen-registry")
        os.ftruncate(descriptor, _HEADER_SIZE + 4 * _index_size(capacity) + _RECORD_SIZE * capacity)
        os.pwrite(descriptor, _HEADER.pack(0, capacity), 0)
        return descriptor

    def __len__(self) -> int:
        return int(_HEADER.unpack_from(self._memory)[0])

    def get(self, device_id: bytes) -> bytes | None:
        """The key registered for a device."""
        found, _ = self._probe(device_id)
        return found

    def claim(self, device_id: bytes, key: bytes) -> bytes:
        """Register ``key`` unless the device is registered; the key that is registered then.

        Raises:
            RegistryFull: unknown, and no room.
        """
        found, _ = self._probe(device_id)
        if found is not None:
            return found
        with self._locked():
            found, slot = self._probe(device_id)
            return self._append(slot, device_id, key) if found is None else found

    def add_all(self, devices: Iterable[tuple[bytes, bytes]]) -> None:
        """Register many; of two entries for one device the first counts."""
        with self._locked():
            for device_id, key in devices:
                found, slot = self._probe(device_id)
                if found is None:
                    self._append(slot, device_id, key)

    def close(self) -> None:
        """Unmap the memory; the descriptor stays the caller's."""
        self._index.release()
        self._view.release()
        self._memory.close()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def _probe(self, device_id: bytes) -> tuple[bytes | None, int]:
        """The device's key, or None and the index slot where it would go."""
        index, memory, mask = self._index, self._memory, self._mask
        slot = zlib.crc32(device_id) & mask
        while number := index[slot]:
            at = self._records_at + (number - 1) * _RECORD_SIZE
            if memory[at : at + DEVICE_ID_SIZE] == device_id:
                return memory[at + DEVICE_ID_SIZE : at + _RECORD_SIZE], slot
            slot = (slot + 1) & mask
        return None, slot

    def _append(self, slot: int, device_id: bytes, key: bytes) -> bytes:
        if len(device_id) != DEVICE_ID_SIZE or len(key) != DEVICE_SPKI_SIZE:
            raise ValueError(f"a device id of {len(device_id)} bytes with a key of {len(key)}")
        number = len(self)
        if number >= self._capacity:
            raise RegistryFull
        at = self._records_at + number * _RECORD_SIZE
        self._memory[at : at + _RECORD_SIZE] = device_id + key
        self._index[slot] = number + 1
        _HEADER.pack_into(self._memory, 0, number + 1, self._capacity)
        return key


def _index_size(capacity: int) -> int:
    """A power of two that leaves at least half of the index empty, so that probes stay short."""
    return 1 << (2 * max(capacity, 1) - 1).bit_length()


def key_to_use(
    policy: RegistryPolicy,
    registry: SharedRegistry,
    device_id: bytes,
    presented: bytes,
    is_usable: Callable[[bytes], bool],
) -> bytes | Reason:
    """The key to encrypt the session to, or why the device is closed.

    Args:
        presented: the 162 bytes that the device sent, or empty if it sent none (firmware before 0.4.0).
        is_usable: whether an RSA-1024 public key can be read from presented bytes.
    """
    if policy is RegistryPolicy.STORED:
        return registry.get(device_id) or Reason.UNKNOWN_DEVICE
    if policy is RegistryPolicy.STRICT:
        return _same(registry.get(device_id), presented)
    if presented and not is_usable(presented):
        return Reason.BAD_KEY
    if policy is RegistryPolicy.OPEN:
        return presented or registry.get(device_id) or Reason.UNKNOWN_DEVICE
    if not presented:
        return _same(registry.get(device_id), presented)
    try:
        return _same(registry.claim(device_id, presented), presented)
    except RegistryFull:
        return Reason.OVERLOAD


def _same(registered: bytes | None, presented: bytes) -> bytes | Reason:
    if registered is None:
        return Reason.UNKNOWN_DEVICE
    return registered if registered == presented else Reason.KEY_MISMATCH
