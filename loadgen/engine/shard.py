"""One worker process: an event loop with a driver, a crypto thread, and a line to the parent.

Started by :mod:`loadgen.engine.pool` as ``python -m loadgen.engine.shard DESCRIPTOR``. The descriptor is one end of a
socket pair; when the parent's end closes, for whatever reason, the worker ends at once.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
from array import array
from collections import deque
from pathlib import Path
from typing import cast

import uvloop

from loadgen import clock
from loadgen.crypto.backends import select_backend
from loadgen.crypto.base import CryptoBackend
from loadgen.crypto.executor import Completion, CryptoExecutor
from loadgen.engine.driver import Driver, LoadedIdentity
from loadgen.engine.messages import (
    Begin,
    FromWorker,
    Problem,
    Progress,
    Ready,
    Setup,
    Stop,
    Unpacker,
    from_parent,
    pack,
)
from loadgen.engine.plan import LoadPlan
from loadgen.engine.sockets import SocketSet
from loadgen.errors import ExitCode, LoadgenError
from loadgen.fleet.keystore import FleetStore
from loadgen.kernel import OWN_DESCRIPTORS, AlarmClock, prefer_latency, prefer_throughput, raise_descriptor_limit
from loadgen.protocol.events import KeyHandle
from loadgen.protocol.firmware import firmware

_TICK_S = 0.05
_TICKS_PER_REPORT = 2


class Shard(asyncio.Protocol):
    """The worker's side of the line to the parent, and everything behind it."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._unpacker = Unpacker()
        self._transport: asyncio.Transport | None = None
        self._driver: Driver | None = None
        self._executor: CryptoExecutor | None = None
        self._sockets: SocketSet | None = None
        self._alarm = AlarmClock()
        self._answers: deque[list[Completion]] = deque()
        self._woken = False
        self._ticks = 0
        self._drain_until: int | None = None

    # --- the line to the parent

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but its bases

    def data_received(self, data: bytes) -> None:
        """Take the parent's messages."""
        for body in self._unpacker.feed(data):
            self._guard(self._obey, body)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the interface of asyncio
        """The parent has ended or is done with us."""
        self._loop.stop()

    def close(self) -> None:
        """End the crypto thread and release the sockets; the process ends next."""
        if self._executor is not None:
            self._executor.close()
        if self._sockets is not None:
            self._sockets.close_set()

    def _say(self, message: FromWorker) -> None:
        assert self._transport is not None
        self._transport.write(pack(message))

    def _guard(self, action: object, *arguments: object) -> None:
        """Run a callback; what goes wrong in it is told to the parent and ends the worker."""
        assert callable(action)
        try:
            action(*arguments)
        except LoadgenError as error:
            self._give_up(Problem(int(error.exit_code), error.what, error.where, error.remedy))
        except Exception as error:
            sys.excepthook(type(error), error, error.__traceback__)
            self._give_up(Problem(int(ExitCode.INTERNAL), f"worker failed: {error!r}"))

    def _give_up(self, problem: Problem) -> None:
        self._say(problem)
        assert self._transport is not None
        self._transport.close()

    def _obey(self, body: bytes) -> None:
        message = from_parent.decode(body)
        if isinstance(message, Setup):
            self._set_up(message)
        elif isinstance(message, Begin):
            self._begin(message.at_ns)
        elif isinstance(message, Stop) and self._driver is not None:
            self._drain_until = message.drain_until_ns
            self._driver.stop()
            self._check_drain()

    # --- the life of the worker

    def _set_up(self, setup: Setup) -> None:
        plan = setup.plan
        descriptors = max(raise_descriptor_limit() - OWN_DESCRIPTORS, 1)
        backend, warnings = select_backend(plan.crypto)
        identities = load_identities(plan, setup.index, setup.parts, backend)
        # Else its wake-ups interrupt the loop, which then waits for the interpreter's lock: starts would be late.
        self._executor = CryptoExecutor(backend, self._deliver, prepare=prefer_throughput)
        self._sockets = SocketSet(plan.target, kernel_stamps=plan.kernel_stamps, sources=plan.source_ips)
        self._driver = Driver(
            plan,
            setup.index,
            setup.parts,
            identities=identities,
            firmwares=[firmware(part.name) for part in plan.firmwares],
            server_key=backend.load_server_public_key(plan.server_public_key),
            backend=backend,
            executor=self._executor,
            sockets=self._sockets,
            now=clock.monotonic_ns,
            set_alarm=self._alarm.set,
        )
        # The fleet lives as long as the process, and attempts make no cycles: a full collection would only be a pause.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 50, 1_000)
        self._say(Ready(os.getpid(), len(identities), backend.name, descriptors, warnings))

    def _begin(self, at_ns: int) -> None:
        assert self._driver is not None
        assert self._sockets is not None
        self._loop.add_reader(self._sockets.fileno(), self._guard, self._driver.turn)
        self._loop.add_reader(self._alarm.fileno(), self._guard, self._on_alarm)
        self._driver.begin(at_ns)
        self._loop.call_later(_TICK_S, self._guard, self._tick)

    def _on_alarm(self) -> None:
        assert self._driver is not None
        self._alarm.silence()
        self._driver.turn()

    def _deliver(self, completions: list[Completion]) -> None:
        """On the crypto thread: one wake-up of the loop, however many batches come before it."""
        self._answers.append(completions)
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._guard, self._take_answers)

    def _take_answers(self) -> None:
        assert self._driver is not None
        self._woken = False  # before the queue is emptied, so that nothing is left in it without a wake-up
        while self._answers:
            self._driver.answer(self._answers.popleft())

    def _tick(self) -> None:
        driver = self._driver
        assert driver is not None
        driver.tick()
        self._check_drain()
        self._ticks += 1
        if driver.finished:
            self._report(finished=True)
            return
        if self._ticks % _TICKS_PER_REPORT == 0:
            self._report(finished=False)
        self._loop.call_later(_TICK_S, self._guard, self._tick)

    def _check_drain(self) -> None:
        if self._drain_until is not None and clock.monotonic_ns() >= self._drain_until:
            assert self._driver is not None
            self._driver.abort()

    def _report(self, *, finished: bool) -> None:
        driver, executor = self._driver, self._executor
        assert driver is not None
        assert executor is not None
        now = clock.monotonic_ns()
        self._say(
            Progress(
                at_ns=now,
                rows=_take(driver.rows),
                failures=_take(driver.failures),
                session_failures=_take(driver.session_failures),
                moments=_take(driver.moments),
                counts=driver.snapshot(now),
                cpu_ns=clock.process_cpu_ns(),
                loop_cpu_ns=clock.thread_cpu_ns(),
                crypto_cpu_ns=executor.cpu_ns,
                finished=finished,
                gaps=driver.gaps.tobytes() if finished else b"",
            )
        )


def _take(values: array[int]) -> bytes:
    data = values.tobytes()
    del values[:]
    return data


def load_identities(plan: LoadPlan, index: int, parts: int, backend: CryptoBackend) -> list[LoadedIdentity]:
    """This worker's devices. A key that several devices share is parsed once."""
    handles: dict[bytes, KeyHandle] = {}
    loaded = []
    with FleetStore.open(Path(plan.fleet_path)) as store:
        single = next(store.identities(0, 1, 1)) if plan.single_key else None
        firmwares = plan.firmware_of_devices(store.devices)[index::parts]
        for identity, runs in zip(store.identities(index, parts, len(firmwares)), firmwares, strict=True):
            key = single or identity
            handle = handles.get(key.private_key_der)
            if handle is None:
                handle = handles[key.private_key_der] = backend.load_device_key(key.private_key_der)
            loaded.append(LoadedIdentity(identity.device_id, key.public_key, handle, runs))
    return loaded


def main(descriptor: int) -> None:
    """Serve the parent at the other end of ``descriptor`` until it closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    prefer_latency()  # a start that waits for somebody else's time slice would be schedule lag
    loop = uvloop.new_event_loop()
    shard = Shard(loop)
    line = socket.socket(fileno=descriptor)
    line.setblocking(False)
    loop.run_until_complete(loop.create_connection(lambda: shard, sock=line))
    try:
        loop.run_forever()
    finally:
        shard.close()
        loop.close()


if __name__ == "__main__":
    main(int(sys.argv[1]))
