"""The mock cloud as its parent sees it: binds the port, starts the workers, follows them, adds them up.

Workers are plain child processes: the listening socket, the shared memory and one control socket each are inherited.
All accept from one socket, so a busy worker leaves newcomers to an idle one. Whatever a user can get wrong is
found here, before a worker exists.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import msgspec
import numpy as np

from loadgen.clock import NS_PER_S, monotonic_ns, sleep_s
from loadgen.crypto.backends import select_backend
from loadgen.errors import LocalResourceError, UsageError
from loadgen.mockcloud import replay
from loadgen.mockcloud.disturbance import SharedNumbers
from loadgen.mockcloud.limiter import SharedLimiter, interval_ns
from loadgen.mockcloud.listener import bind, describe
from loadgen.mockcloud.plan import STOP, StallOrder, WorkerPlan
from loadgen.mockcloud.registration import registered_devices
from loadgen.mockcloud.registry import SharedRegistry
from loadgen.mockcloud.report import CloudReport, CloudStatus, RegistrySummary, WorkerReport, build_report
from loadgen.mockcloud.settings import CloudMode, CloudSettings, RegistryPolicy
from loadgen.mockcloud.timings import TIMING_FIELDS, Timings, read_timings, summarize

_READY_WITHIN_NS = 30 * NS_PER_S
_STOPPED_WITHIN_NS = 5 * NS_PER_S
_POLL_INTERVAL_S = 0.005
_PACKET_SIZE = 65_536
_REMEDY_FOR_WORKERS = "Check the memory, process and descriptor limits of this machine (ulimit -a)."


@dataclass(slots=True)
class _Worker:
    """A child process, the parent's end of its control socket, and the last it said."""

    process: subprocess.Popen[bytes]
    control: socket.socket
    report: WorkerReport
    timings: IO[bytes] | None
    is_ready: bool = False
    is_lost: bool = False
    is_gone: bool = False


@dataclass(slots=True)
class _Memory:
    """Descriptors of what the workers share."""

    registry: int
    limit: int | None
    answers: int | None
    numbers: int | None

    def all(self) -> list[int]:
        return [each for each in (self.registry, self.limit, self.answers, self.numbers) if each is not None]


class MockCloud:
    """A mock cloud of several processes on one port.

    Use it as a context manager, or call :meth:`stop` in a ``finally``. If this process dies without either, the
    workers end by themselves.

    Args:
        settings: what to do.
        devices: (device id, 162-byte public key) pairs to register, in addition to ``settings.registry_keys``.
    """

    def __init__(self, settings: CloudSettings, devices: Iterable[tuple[bytes, bytes]] = ()) -> None:
        self.settings = settings
        self.address = ""
        """``host:port`` once started."""
        self.warnings: list[str] = []
        """Sentences for the user, about the crypto backend for instance."""
        self.crypto_backend = ""
        """Name of the backend in use, once started."""
        self.timings: Timings = np.empty((0, len(TIMING_FIELDS)), dtype=np.int64)
        """What ``settings.record_timings`` asked for, once stopped: one row an answer, columns as in
        :data:`loadgen.mockcloud.timings.TIMING_FIELDS`, in no order."""
        self._devices = devices
        self._workers: list[_Worker] = []
        self._registry: SharedRegistry | None = None
        self._memory: _Memory | None = None
        self._ready_ns = 0
        self._report: CloudReport | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pids(self) -> list[int]:
        """Process ids of the workers."""
        return [worker.process.pid for worker in self._workers]

    def start(self) -> tuple[str, int]:
        """Bind, start the workers, and wait until they serve; the numeric address and the port.

        Raises:
            UsageError: settings that cannot work, an unusable key or registry, or an address that cannot be bound.
            LocalResourceError: a worker could not start.
        """
        self.settings.check()
        self._check_server_key()
        try:
            memory = self._make_memory()
            with bind(self.settings.host, self.settings.port) as listener:
                host, port = listener.getsockname()[:2]
                self.address = describe(host, port)
                for index in range(self.settings.worker_count):
                    self._workers.append(self._start_worker(index, listener, memory))
            self._await_ready()
        except BaseException:
            self._kill()
            self._release()
            self._workers.clear()
            raise
        self._ready_ns = monotonic_ns()
        for stall in self.settings.stalls:
            self.stall(self._ready_ns + stall.after_ns, stall.for_ns)
        return host, port

    def stall(self, at_ns: int, for_ns: int) -> None:
        """Have all workers do nothing (accept, read, send) for ``for_ns``, from ``at_ns`` on CLOCK_MONOTONIC.

        At once where that is past. Stalls must not overlap.
        """
        order = msgspec.json.encode(StallOrder(at_ns=at_ns, end_ns=at_ns + for_ns))
        for worker in self._workers:
            with contextlib.suppress(OSError):  # one that is gone is noticed elsewhere
                worker.control.send(order)

    def poll(self) -> CloudStatus:
        """The latest totals; never blocks."""
        for worker in self._workers:
            _listen_to(worker)
        return CloudStatus(
            workers=[worker.report for worker in self._workers],
            lost=[worker.process.pid for worker in self._workers if worker.is_lost],
        )

    def stop(self) -> CloudReport:
        """End the workers and give the final account. May be called again: it gives the same account.

        A worker that does not end in time is killed and counts as lost.
        """
        if self._report is None:
            stopped_ns = monotonic_ns()
            for worker in self._workers:
                with contextlib.suppress(OSError):
                    worker.control.send(STOP)
            self._await_end()
            self._collect_timings()
            self._report = self._make_report(stopped_ns)
            self._release()
        return self._report

    # --- preparing

    def _check_server_key(self) -> None:
        backend, warnings = select_backend(self.settings.crypto)
        self.crypto_backend = backend.name
        self.warnings += warnings
        try:
            backend.load_server_key(self.settings.server_key)
        except ValueError as error:
            raise UsageError(
                f"the server key cannot be used: {error}",
                where="--server-key",
                remedy="Use an RSA-2048 private key with the exponent 65537, in PEM or DER.",
            ) from error

    def _make_memory(self) -> _Memory:
        settings = self.settings
        devices = dict(self._devices)
        if settings.registry_keys is not None:
            stored, warnings = registered_devices(Path(settings.registry_keys))
            devices = {**stored, **devices}
            self.warnings += warnings
        if not devices and settings.registry in {RegistryPolicy.STRICT, RegistryPolicy.STORED}:
            raise UsageError(
                f"with the policy '{settings.registry}' and no registered device nobody would be let in",
                where="--registry",
                remedy="Name a fleet store or a folder of .pub.pem files with --registry-keys, or use 'open'.",
            )
        capacity = len(devices)
        if settings.registry is RegistryPolicy.FIRST_SEEN:
            capacity = max(capacity, settings.registry_capacity)
        answers = None
        if settings.mode is CloudMode.REPLAY:
            answers = self._prepare_answers(set(devices.values()))
        memory = self._memory = _Memory(
            registry=SharedRegistry.create_memory(capacity),
            limit=None if settings.limit is None else SharedLimiter.create_memory(),
            answers=None if answers is None else replay.write_memory(answers),
            numbers=SharedNumbers.create() if settings.disturbs else None,
        )
        self._registry = SharedRegistry(memory.registry)
        self._registry.add_all(devices.items())
        return memory

    def _prepare_answers(self, keys: set[bytes]) -> list[replay.Answer]:
        settings = self.settings
        device_key = settings.replay_device_key
        if device_key is None:
            if len(keys) != 1:
                raise UsageError(
                    f"replay answers one device key, and {len(keys)} are registered",
                    where="--mode replay",
                    remedy="Register a fleet with a single key (loadgen fleet generate --keys 1).",
                )
            (device_key,) = keys
        return replay.prepare(
            lambda: select_backend(settings.crypto)[0],
            settings.server_key,
            device_key,
            settings.replay_answers,
        )

    # --- workers

    def _start_worker(self, index: int, listener: socket.socket, memory: _Memory) -> _Worker:
        timings = _timings_file() if self.settings.record_timings else None
        plan = self._plan(index, memory, None if timings is None else timings.fileno())
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        inherited = [theirs.fileno(), listener.fileno(), *memory.all()]
        if timings is not None:
            inherited.append(timings.fileno())
        command = [sys.executable, "-P", "-m", "loadgen.mockcloud.worker"]
        try:
            with theirs:
                process = subprocess.Popen(  # noqa: S603 - this program itself
                    [*command, str(theirs.fileno()), str(listener.fileno())],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    env={**os.environ, "PYTHONPATH": _module_path()},
                    pass_fds=inherited,
                    process_group=0,  # Ctrl-C reaches the parent alone, even while a worker still starts
                )
        except OSError as error:
            ours.close()
            if timings is not None:
                timings.close()
            raise LocalResourceError(
                f"a worker of the mock cloud could not start ({error.strerror})", remedy=_REMEDY_FOR_WORKERS
            ) from error
        with contextlib.suppress(OSError):  # one that is gone already is found when it does not get ready
            ours.send(msgspec.json.encode(plan))
        ours.setblocking(False)
        return _Worker(process, ours, WorkerReport(pid=process.pid), timings)

    def _plan(self, index: int, memory: _Memory, timings_descriptor: int | None) -> WorkerPlan:
        settings = self.settings
        return WorkerPlan(
            index=index,
            workers=settings.worker_count,
            parent_pid=os.getpid(),
            server_key=settings.server_key,
            mode=settings.mode,
            crypto=settings.crypto,
            registry=settings.registry,
            registry_descriptor=memory.registry,
            limit_descriptor=memory.limit,
            limit_interval_ns=0 if settings.limit is None else interval_ns(settings.limit),
            limit_queue=settings.queue_bound,
            answers_descriptor=memory.answers,
            handshake_timeout_ns=settings.handshake_timeout_ns,
            idle_timeout_ns=settings.idle_timeout_ns,
            describe_after_ns=settings.describe_after_ns,
            max_connections=settings.max_connections,
            rsa_window=settings.rsa_window,
            faults=settings.faults,
            delays=settings.delays,
            seed=settings.seed,
            numbers_descriptor=memory.numbers,
            timings_descriptor=timings_descriptor,
        )

    def _await_ready(self) -> None:
        deadline_ns = monotonic_ns() + _READY_WITHIN_NS
        while not all(worker.is_ready for worker in self._workers):
            for worker in self._workers:
                _listen_to(worker)
                if worker.is_gone:
                    raise LocalResourceError(
                        f"a worker of the mock cloud could not start: {_last_words(worker)}",
                        remedy=_REMEDY_FOR_WORKERS,
                    )
            if monotonic_ns() > deadline_ns:
                raise LocalResourceError(
                    f"the workers of the mock cloud were not ready within {_READY_WITHIN_NS // NS_PER_S} s",
                    remedy="Use fewer workers, or a machine with less other work.",
                )
            sleep_s(_POLL_INTERVAL_S)

    def _await_end(self) -> None:
        deadline_ns = monotonic_ns() + _STOPPED_WITHIN_NS
        while any(not worker.is_gone for worker in self._workers) and monotonic_ns() < deadline_ns:
            for worker in self._workers:
                _listen_to(worker)
            sleep_s(_POLL_INTERVAL_S)
        self._kill()

    def _kill(self) -> None:
        """End what still runs, and collect every child."""
        for worker in self._workers:
            if not worker.is_gone:
                worker.is_lost = worker.is_gone = True
                worker.process.kill()
            worker.process.wait()
            worker.control.close()

    def _collect_timings(self) -> None:
        files = [worker.timings for worker in self._workers if worker.timings is not None]
        if files:
            self.timings = np.concatenate([read_timings(file.fileno()) for file in files])

    def _release(self) -> None:
        for worker in self._workers:
            if worker.timings is not None:
                worker.timings.close()
        if self._registry is not None:
            self._registry.close()
            self._registry = None
        if self._memory is not None:
            for descriptor in self._memory.all():
                os.close(descriptor)
            self._memory = None

    def _make_report(self, stopped_ns: int) -> CloudReport:
        settings = self.settings
        status = CloudStatus(
            workers=[worker.report for worker in self._workers],
            lost=[worker.process.pid for worker in self._workers if worker.is_lost],
        )
        devices = 0 if self._registry is None else len(self._registry)
        return build_report(
            status,
            address=self.address,
            mode=settings.mode,
            crypto_backend=self.crypto_backend,
            duration_ns=stopped_ns - self._ready_ns if self._ready_ns else 0,
            limit=None if settings.limit is None else (float(settings.limit), settings.queue_bound),
            registry=RegistrySummary(policy=settings.registry, devices=devices),
            warnings=self.warnings,
            answers=summarize(self.timings),
            seed=settings.seed if settings.faults or settings.delays else None,
        )


def _timings_file() -> IO[bytes]:
    """A file without a name, which goes with its last descriptor."""
    try:
        return tempfile.TemporaryFile(buffering=0)
    except OSError as error:
        raise LocalResourceError(
            f"there is no place for the times of the mock cloud ({error.strerror})",
            remedy="Make room in the folder for temporary files (TMPDIR), or do not ask for the times.",
        ) from error


def _listen_to(worker: _Worker) -> None:
    """Take every report that has come from ``worker``, and notice its end."""
    while not worker.is_gone:
        try:
            packet = worker.control.recv(_PACKET_SIZE)
        except BlockingIOError:
            return
        except OSError:
            packet = b""
        if not packet:
            worker.is_gone = True
            worker.is_lost = not worker.report.final
            return
        report = msgspec.json.decode(packet, type=WorkerReport)
        if report.error is None:
            worker.report = report
            worker.is_ready = True
        else:
            worker.report.error = report.error


def _last_words(worker: _Worker) -> str:
    code = worker.process.wait()
    return worker.report.error or f"it ended with code {code}"


def _module_path() -> str:
    """Where this process finds its modules, for a child that starts elsewhere."""
    return os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
