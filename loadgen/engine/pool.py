"""The parent's side of the worker processes: starts them, tells them when, gathers what they measured.

Workers are plain child processes with one socket pair each. A worker that ends before it was done is lost: that is
reported, the others go on, and everything that it had sent by then counts.
"""

from __future__ import annotations

import os
import selectors
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from loadgen import clock
from loadgen.engine.messages import (
    Begin,
    Counts,
    FromParent,
    Problem,
    Progress,
    Ready,
    Setup,
    Stop,
    Unpacker,
    from_worker,
    pack,
)
from loadgen.engine.plan import DRAIN_ON_STOP_NS, LoadPlan
from loadgen.errors import ExitCode, LoadgenError, LocalResourceError, UnreachableError, UsageError

_START_LIMIT_NS = 60 * clock.NS_PER_S
_LEAD_NS = 50 * clock.NS_PER_MS
"""From telling the workers to the begin of the schedule, so that all of them are told in time."""
_READ_SIZE = 1 << 20
_END_LIMIT_S = 2.0

_ERRORS: dict[int, type[LoadgenError]] = {
    ExitCode.USAGE: UsageError,
    ExitCode.UNREACHABLE: UnreachableError,
}


@dataclass(slots=True)
class WorkerStatus:
    """What is known of one worker. CPU times are totals of the process, ns; ``at_ns`` is when they were read."""

    index: int
    pid: int = 0
    devices: int = 0
    backend: str = ""
    descriptors: int = 0
    warnings: list[str] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    at_ns: int = 0
    cpu_ns: int = 0
    loop_cpu_ns: int = 0
    crypto_cpu_ns: int = 0
    finished: bool = False
    gaps: bytes = b""
    """Sampled gaps between its starts, once it has finished; see :class:`loadgen.engine.gaps.GapSample`."""
    lost: str | None = None
    """Why it ended before it was done; None while it has not."""

    @property
    def over(self) -> bool:
        """Nothing more will come from this worker."""
        return self.finished or self.lost is not None


@dataclass(slots=True)
class PoolUpdate:
    """What came since the last poll: int64 rows as bytes, in the order of their fields.

    ``row_workers`` has the worker of each of ``rows``.
    """

    rows: list[bytes] = field(default_factory=list)
    row_workers: list[int] = field(default_factory=list)
    failures: list[bytes] = field(default_factory=list)
    session_failures: list[bytes] = field(default_factory=list)
    moments: list[bytes] = field(default_factory=list)


class _Worker:
    def __init__(self, index: int) -> None:
        self.status = WorkerStatus(index)
        self.unpacker = Unpacker()
        self.problem: Problem | None = None
        self.stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the worker
        self.line, far_end = socket.socketpair()
        modules = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        try:
            with far_end:
                self.process = subprocess.Popen(  # noqa: S603 - this interpreter, this package
                    # -P: the folder that somebody works in may hold a queue.py or a loadgen of its own.
                    [sys.executable, "-P", "-m", "loadgen.engine.shard", str(far_end.fileno())],
                    env={**os.environ, "PYTHONPATH": modules},
                    pass_fds=[far_end.fileno()],
                    stdin=subprocess.DEVNULL,
                    stderr=self.stderr,
                    process_group=0,  # a Ctrl-C of the terminal is the parent's to handle
                )
        except OSError:
            self.line.close()
            self.stderr.close()
            raise

    def say(self, message: FromParent) -> None:
        try:
            self.line.sendall(pack(message))
        except OSError:
            return  # it has ended; reading its line will tell

    def last_words(self) -> str:
        """The last line that it wrote to its standard error, for an error message."""
        self.stderr.seek(0)
        lines = self.stderr.read().decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else ""

    def close(self) -> None:
        self.line.close()
        try:
            self.process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.stderr.close()


class Pool:
    """The workers of one run.

    Use: :meth:`start`, :meth:`begin`, then :meth:`poll` until :attr:`finished`; :meth:`close` in any case.

    Args:
        plan: the whole run; each worker takes its share.
        workers: number of processes.
    """

    def __init__(self, plan: LoadPlan, workers: int) -> None:
        self._plan = plan
        self._count = workers
        self._workers: list[_Worker] = []
        self._selector = selectors.DefaultSelector()
        self._update = PoolUpdate()

    def start(self) -> None:
        """Start the processes and wait until each has parsed its keys.

        Raises:
            LoadgenError: a worker could not get ready; the error is the worker's.
        """
        for index in range(self._count):
            try:
                worker = _Worker(index)
            except OSError as error:
                raise LocalResourceError(
                    f"a worker process could not be started: {error.strerror}",
                    remedy="Check the memory, process and descriptor limits of this machine (ulimit -a).",
                ) from error
            self._workers.append(worker)
            self._selector.register(worker.line, selectors.EVENT_READ, worker)
            worker.say(Setup(self._plan, index, self._count))
        limit = clock.monotonic_ns() + _START_LIMIT_NS
        while not all(worker.status.pid for worker in self._workers):
            self._read(0.1)
            for worker in self._workers:
                if worker.status.lost is not None:
                    raise _error_of(worker)
            if clock.monotonic_ns() > limit:
                raise LocalResourceError(
                    "workers did not get ready within a minute", remedy="Use fewer devices or keys."
                )

    def begin(self) -> int:
        """Let the schedule begin; returns the instant, ns on CLOCK_MONOTONIC."""
        at_ns = clock.monotonic_ns() + _LEAD_NS
        for worker in self._workers:
            worker.say(Begin(at_ns))
        return at_ns

    def poll(self, timeout_s: float) -> PoolUpdate:
        """Wait up to ``timeout_s`` for news and take everything that has come."""
        self._read(timeout_s)
        update, self._update = self._update, PoolUpdate()
        return update

    def stop(self, drain_ns: int = DRAIN_ON_STOP_NS) -> None:
        """Start nothing more and end what is in flight after ``drain_ns``; 0 ends it now."""
        until_ns = clock.monotonic_ns() + drain_ns
        for worker in self._workers:
            if not worker.status.over:
                worker.say(Stop(until_ns))

    def give_up(self, index: int) -> None:
        """Leave a worker behind that does not answer, stopped or stuck: it is lost."""
        worker = self._workers[index]
        if worker.status.over:
            return
        worker.status.lost = f"worker {index} does not answer"
        self._selector.unregister(worker.line)
        worker.process.kill()

    def close(self) -> None:
        """End the processes and release everything."""
        for worker in self._workers:
            worker.line.close()
        for worker in self._workers:
            worker.close()
        self._selector.close()

    @property
    def workers(self) -> list[WorkerStatus]:
        """The state of every worker, by index."""
        return [worker.status for worker in self._workers]

    @property
    def counts(self) -> Counts:
        """Sum over all workers, lost ones with what they had last reported."""
        return sum((worker.status.counts for worker in self._workers), Counts())

    @property
    def finished(self) -> bool:
        """Every worker is done or lost."""
        return all(worker.status.over for worker in self._workers)

    @property
    def lost(self) -> list[WorkerStatus]:
        """Workers that ended before they were done."""
        return [worker.status for worker in self._workers if worker.status.lost is not None]

    def _read(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            worker: _Worker = key.data
            try:
                data = worker.line.recv(_READ_SIZE)
            except ConnectionError:
                data = b""
            if not data:
                self._ended(worker)
                continue
            for body in worker.unpacker.feed(data):
                self._take(worker, body)

    def _take(self, worker: _Worker, body: bytes) -> None:
        message = from_worker.decode(body)
        status = worker.status
        if isinstance(message, Progress):
            status.at_ns, status.counts = message.at_ns, message.counts
            status.cpu_ns = message.cpu_ns
            status.loop_cpu_ns, status.crypto_cpu_ns = message.loop_cpu_ns, message.crypto_cpu_ns
            status.finished, status.gaps = message.finished, message.gaps
            if message.rows:
                self._update.row_workers.append(status.index)
            for chunks, chunk in (
                (self._update.rows, message.rows),
                (self._update.failures, message.failures),
                (self._update.session_failures, message.session_failures),
                (self._update.moments, message.moments),
            ):
                if chunk:
                    chunks.append(chunk)
        elif isinstance(message, Ready):
            status.pid, status.devices, status.backend = message.pid, message.devices, message.backend
            status.descriptors, status.warnings = message.descriptors, message.warnings
        else:
            worker.problem = message

    def _ended(self, worker: _Worker) -> None:
        """Its line is closed: it was done, it gave up, or it died."""
        self._selector.unregister(worker.line)
        if worker.status.finished:
            return
        if worker.problem is not None:
            worker.status.lost = worker.problem.what
            return
        try:
            code = worker.process.wait(_END_LIMIT_S)
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        except subprocess.TimeoutExpired:
            how = "closed its line"
        words = worker.last_words()
        worker.status.lost = f"worker {worker.status.index} {how}{': ' + words if words else ''}"


def _error_of(worker: _Worker) -> LoadgenError:
    problem = worker.problem
    if problem is None:
        return LocalResourceError(
            worker.status.lost or "a worker ended",
            remedy="This is a fault of loadgen or of this machine; see the message.",
        )
    kind = _ERRORS.get(problem.exit_code, LocalResourceError)
    return kind(problem.what, where=problem.where, remedy=problem.remedy)
