"""Making the keys of a fleet on every core.

Strategy. Threads make the keys, since the library releases the GIL while it searches for primes; they end
with the process, however that ends. The calling thread alone touches the store: it writes what has come
several times a second, so an interruption loses a fraction of a second, and the same call goes on from
there.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Final

from loadgen import clock
from loadgen.errors import UsageError
from loadgen.fleet.keyfiles import Progress, new_device_key
from loadgen.fleet.keystore import FleetExistsError, FleetStore

COMMIT_EVERY_NS: Final = 200 * clock.NS_PER_MS


def generate(
    path: Path,
    *,
    devices: int,
    keys: int,
    progress: Progress | None = None,
    workers: int | None = None,
    server_public_key: bytes | None = None,
    seed: int | None = None,
) -> FleetStore:
    """Make a fleet, or go on with an unfinished one of the same numbers; a finished one is opened as it is.

    Args:
        path: the store.
        devices: how many devices.
        keys: distinct keys, from 1 to ``devices``.
        progress: called on this thread with (keys made, keys wanted).
        workers: threads; by default one for each core that this process may use.
        server_public_key: of a real cloud (294 bytes); by default a pair for an own cloud is made.
        seed: makes the device ids repeatable, for tests.

    Returns:
        The open, complete store.

    Raises:
        UsageError: the file is something else, or a fleet of other numbers; nothing is overwritten.
        LocalResourceError: the disk is full or fails; what is written can be continued.
        KeyboardInterrupt: passed on after the keys that are made have been written.
    """
    store = _create_or_continue(path, devices, keys, server_public_key, seed)
    try:
        missing = store.missing_keys()
        if missing:
            _make_keys(store, missing, progress, min(workers or available_cores(), len(missing)))
        elif progress is not None:
            progress(keys, keys)
    except BaseException:
        store.close()
        raise
    return store


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0))


def _create_or_continue(
    path: Path, devices: int, keys: int, server_public_key: bytes | None, seed: int | None
) -> FleetStore:
    try:
        return FleetStore.create(path, devices=devices, keys=keys, server_public_key=server_public_key, seed=seed)
    except FleetExistsError:  # an earlier call's, or another program's of this moment
        pass
    store = FleetStore.open(path, allow_unfinished=True)
    if (store.devices, store.key_count) != (devices, keys):
        state = "a" if store.complete else "an unfinished"
        wanted = f"{store.devices} devices and {store.key_count} keys"
        store.close()
        raise UsageError(
            f"there is {state} fleet of {wanted} already; it is not overwritten",
            where=str(path),
            remedy="Choose another file with --fleet, ask for the same numbers, or move this one away.",
        )
    if server_public_key is not None:
        store.set_server_public_key(server_public_key)
    return store


def _make_keys(store: FleetStore, missing: list[int], progress: Progress | None, workers: int) -> None:
    """Make the keys ``missing`` on ``workers`` threads and write them."""
    numbers = deque(missing)
    made: SimpleQueue[tuple[int, bytes] | Exception] = SimpleQueue()
    threads = [
        threading.Thread(target=_work, args=(numbers, made), name="loadgen-keys", daemon=True) for _ in range(workers)
    ]
    for thread in threads:
        thread.start()
    try:
        _collect(store, made, len(missing), progress)
    finally:
        numbers.clear()  # stops the threads after the key that each is at
        for thread in threads:
            thread.join()


def _work(numbers: deque[int], made: SimpleQueue[tuple[int, bytes] | Exception]) -> None:
    """Make keys until no number is left. Taking from a deque is atomic."""
    try:
        while True:
            try:
                number = numbers.popleft()
            except IndexError:
                return
            made.put((number, new_device_key()))
    except Exception as error:  # the collecting thread raises it
        made.put(error)


def _collect(
    store: FleetStore,
    made: SimpleQueue[tuple[int, bytes] | Exception],
    count: int,
    progress: Progress | None,
) -> None:
    """Write ``count`` keys as they come, several times a second."""
    unwritten: list[tuple[int, bytes]] = []
    remaining = count
    try:
        while remaining:
            commit_at_ns = clock.monotonic_ns() + COMMIT_EVERY_NS
            while remaining and (left_ns := commit_at_ns - clock.monotonic_ns()) > 0:
                try:
                    item = made.get(timeout=left_ns / clock.NS_PER_S)
                except Empty:
                    break
                if isinstance(item, Exception):
                    raise item
                unwritten.append(item)
                remaining -= 1
                if progress is not None:
                    progress(store.key_count - remaining, store.key_count)
            if unwritten:
                store.add_keys(unwritten)
                unwritten = []
    except KeyboardInterrupt:
        store.add_keys(unwritten)
        raise
