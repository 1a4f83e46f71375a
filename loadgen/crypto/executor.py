"""Runs batched crypto beside the event loop, so that receive times stay honest while RSA runs.

Strategy. The loop thread only appends to a list; once a loop turn the list goes into the batcher, which both
threads share. The crypto thread runs what is due in bounded chunks and delivers the results of a chunk in one
list, so that either way one hand-over serves many requests. When nothing is due it sleeps until something will
be, and the loop thread wakes it only where it would oversleep: requests that wait for others to fill the lanes
cost no switch of threads each.

A request is never lost: a backend that raises gives its whole batch a
:class:`~loadgen.errors.LocalResourceError` as result, and a thread that ends shows at the next ``flush``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol, TypeAlias

from loadgen import clock
from loadgen.crypto.base import CryptoBackend, LaneBackend, LaneResult
from loadgen.crypto.batcher import Batcher
from loadgen.errors import LocalResourceError
from loadgen.protocol.events import BatchedRequest, DecryptNonce, EncryptNonce, UnwrapKey, WrapKey

CHUNK: Final = 8
"""Requests per batch on a backend without lanes: few, so that results flow, yet they share a hand-over."""

CHUNK_LANES: Final = 4
"""Times its lanes that a batch of a backend with lanes holds at most."""

DEADLINE_NS: Final = 400 * clock.NS_PER_US
"""How long a request waits at most for others to fill the lanes, and that only while they come fast enough.

Twice the time of the device's slowest batch. A longer one fills no more lanes under full load, where requests gather
while a batch runs; it only begins to hold devices up at lower rates.
"""

_NEVER: Final = 1 << 63

Result: TypeAlias = LaneResult | LocalResourceError
"""Bytes, the fault of the lane, or the error of a backend that broke."""


class Completion:
    """One request on its way there and back.

    Attributes:
        connection: whatever was given to ``submit``.
        token: the core's token for ``answer``.
        request: what was asked for.
        result: bytes, or why there are none. Valid once delivered.
        requested_ns: when it was submitted.
        begun_ns: when its batch began; valid once delivered.
        answered_ns: when its batch had ended; valid once delivered.
    """

    __slots__ = ("answered_ns", "begun_ns", "connection", "request", "requested_ns", "result", "token")

    def __init__(self, connection: object, token: int, request: BatchedRequest, requested_ns: int) -> None:
        self.connection = connection
        self.token = token
        self.request = request
        self.requested_ns = requested_ns
        self.result: Result = b""
        self.begun_ns = 0
        self.answered_ns = 0


Deliver: TypeAlias = Callable[[list[Completion]], None]
"""Takes the completions of one batch, never an empty list."""


class Executor(Protocol):
    """Where batched crypto requests go."""

    def submit(self, connection: object, token: int, request: BatchedRequest) -> None:
        """Ask for ``request``; it is begun at the next :meth:`flush`."""

    def flush(self) -> None:
        """Hand over what was submitted. Once a loop turn.

        Raises:
            LocalResourceError: the crypto thread has ended.
        """

    def close(self) -> None:
        """End; what has not been delivered never is. May be called again."""

    @property
    def pending(self) -> int:
        """Requests handed over and not delivered yet."""

    @property
    def cpu_ns(self) -> int:
        """CPU time that the crypto has taken so far."""


class InlineExecutor:
    """Does everything within ``flush``, on the caller's thread. For tests and for tools without a loop."""

    def __init__(
        self,
        backend: CryptoBackend,
        deliver: Deliver,
        *,
        clock_ns: Callable[[], int] = clock.monotonic_ns,
        cpu_clock_ns: Callable[[], int] = clock.thread_cpu_ns,
    ) -> None:
        self._runner = _Runner(backend, clock_ns)
        self._batcher: Batcher[Completion] = Batcher(1, 0, _chunk(backend))
        self._deliver = deliver
        self._clock_ns = clock_ns
        self._cpu_clock_ns = cpu_clock_ns
        self._cpu_ns = 0
        self._flushing = False
        self._closed = False

    def submit(self, connection: object, token: int, request: BatchedRequest) -> None:
        """Ask for ``request``; it is done at the next :meth:`flush`."""
        if not self._closed:
            self._batcher.add(Completion(connection, token, request, self._clock_ns()))

    def flush(self) -> None:
        """Do what was submitted, and what ``deliver`` submits meanwhile."""
        if self._flushing:
            return
        self._flushing = True
        try:
            while not self._closed and (batch := self._batcher.take(self._clock_ns())):
                before_ns = self._cpu_clock_ns()
                self._runner.run(batch)
                self._cpu_ns += self._cpu_clock_ns() - before_ns
                self._deliver(batch)
        finally:
            self._flushing = False

    def close(self) -> None:
        """End; what was not flushed never is done."""
        self._closed = True

    @property
    def pending(self) -> int:
        """Requests submitted and not done yet."""
        return len(self._batcher)

    @property
    def cpu_ns(self) -> int:
        """CPU time within the backend."""
        return self._cpu_ns


class CryptoExecutor:
    """One crypto thread for one event loop.

    Args:
        backend: does the operations; its batched ones are called on the crypto thread only.
        deliver: called on the crypto thread with the completions of each batch; thread-safe and cheap.
        clock_ns: the timeline of the stamps, callable on either thread.
        cpu_clock_ns: CPU time of the calling thread.
        deadline_ns: how long a request may wait for others; without effect on a backend of one lane.
        chunk: most requests in a batch, at least the backend's lanes; by default as the constants above say.
        prepare: called first on the crypto thread, to choose how it is scheduled.
    """

    def __init__(
        self,
        backend: CryptoBackend,
        deliver: Deliver,
        *,
        clock_ns: Callable[[], int] = clock.monotonic_ns,
        cpu_clock_ns: Callable[[], int] = clock.thread_cpu_ns,
        deadline_ns: int = DEADLINE_NS,
        chunk: int | None = None,
        prepare: Callable[[], object] | None = None,
    ) -> None:
        self._runner = _Runner(backend, clock_ns)
        self._prepare = prepare
        self._batcher: Batcher[Completion] = Batcher(
            backend.lanes, deadline_ns, chunk or _chunk(backend), _worth(backend)
        )
        self._deliver = deliver
        self._clock_ns = clock_ns
        self._cpu_clock_ns = cpu_clock_ns
        self._lock = threading.Lock()  # of the batcher and of the next two
        self._wakes_ns: int | None = None  # when the crypto thread wakes by itself; None while it is awake
        # Released to wake it before that. A lock and not SimpleQueue.get(timeout=…): CPython 3.11 lets that one
        # sleep for ever when a timeout of microseconds is over before it has begun to wait.
        self._alarm = threading.Lock()
        self._alarm.acquire()
        self._collected: list[Completion] = []
        self._handed_over = 0  # written by the loop thread only
        self._delivered = 0  # written by the crypto thread only, as all below
        self._cpu_ns = 0
        self._failure: Exception | None = None
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="loadgen-crypto", daemon=True)
        self._thread.start()

    def submit(self, connection: object, token: int, request: BatchedRequest) -> None:
        """Ask for ``request``; it is begun at the next :meth:`flush`. On the loop thread."""
        self._collected.append(Completion(connection, token, request, self._clock_ns()))

    def flush(self) -> None:
        """Hand over what was submitted. On the loop thread, once a loop turn.

        Raises:
            LocalResourceError: the crypto thread has ended.
        """
        if self._failure is not None:
            raise LocalResourceError(
                f"the crypto thread has ended: {self._failure!r}",
                remedy="This is a fault of loadgen; please report it with this message.",
            ) from self._failure
        collected = self._collected
        if collected:
            self._collected = []
            self._handed_over += len(collected)
            self._add(collected)

    def close(self) -> None:
        """End the thread after the batch that it is at; what has not been delivered by then never is."""
        self._closing = True
        with self._lock:
            self._ring()
        if self._thread is not threading.current_thread():
            self._thread.join()

    @property
    def pending(self) -> int:
        """Requests handed over and not delivered yet."""
        return self._handed_over - self._delivered

    @property
    def cpu_ns(self) -> int:
        """CPU time of the crypto thread, up to its last batch."""
        return self._cpu_ns

    def _add(self, items: list[Completion]) -> None:
        """Let ``items`` wait for their batches, and wake the crypto thread if it would come too late for one."""
        with self._lock:
            batcher = self._batcher
            for item in items:
                batcher.add(item)
            due_ns = batcher.next_due_ns()
            if self._wakes_ns is not None and due_ns is not None and due_ns < self._wakes_ns:
                self._ring()

    def _ring(self) -> None:
        """Wake the crypto thread if it sleeps, or is about to. Under the lock; once a sleep."""
        if self._wakes_ns is not None:
            self._wakes_ns = None
            self._alarm.release()

    def _work(self) -> None:
        try:
            if self._prepare is not None:
                self._prepare()
            while not self._closing:
                batch = self._take()
                if batch:
                    self._runner.run(batch)
                    self._cpu_ns = self._cpu_clock_ns()
                    self._deliver(batch)
                    self._delivered += len(batch)
                elif not self._closing:
                    self._sleep()
        except Exception as error:  # whatever it is, the loop thread must learn of it
            self._failure = error

    def _take(self) -> list[Completion]:
        """The next batch that is due. Without one, the thread must sleep next: it counts as asleep from here on."""
        with self._lock:
            batch = self._batcher.take(self._clock_ns())
            if not batch and not self._closing:
                due_ns = self._batcher.next_due_ns()
                self._wakes_ns = _NEVER if due_ns is None else due_ns
        return batch

    def _sleep(self) -> None:
        """Until the next batch is due or somebody rings, which somebody may have done already."""
        wakes_ns = self._wakes_ns
        timeout_s = -1.0  # no timeout, for a lock
        if wakes_ns is not None and wakes_ns != _NEVER:
            timeout_s = max(0, wakes_ns - self._clock_ns()) / clock.NS_PER_S
        if self._alarm.acquire(timeout=timeout_s):
            return
        with self._lock:
            if self._wakes_ns is None:  # it rang in between; the next sleep must not hear that
                self._alarm.acquire()
            self._wakes_ns = None


class _Runner:
    """Runs one batch of one operation and stamps it."""

    __slots__ = ("_clock_ns", "_operations")

    def __init__(self, backend: CryptoBackend, clock_ns: Callable[[], int]) -> None:
        self._clock_ns = clock_ns
        self._operations: dict[type[BatchedRequest], Callable[..., list[LaneResult]]] = {
            EncryptNonce: backend.encrypt_nonce,
            UnwrapKey: backend.unwrap_key,
            DecryptNonce: backend.decrypt_nonce,
            WrapKey: backend.wrap_key,
        }

    def run(self, batch: list[Completion]) -> None:
        """Fill in the results and times of ``batch``, whose requests are of one class."""
        begun_ns = self._clock_ns()
        results = self._results(batch)
        answered_ns = self._clock_ns()
        for item, result in zip(batch, results, strict=True):
            item.result = result
            item.begun_ns = begun_ns
            item.answered_ns = answered_ns

    def _results(self, batch: list[Completion]) -> Sequence[Result]:
        try:
            results = self._operations[type(batch[0].request)]([item.request for item in batch])
        except Exception as error:  # a backend must not be able to hang a device
            return [_broken(f"the crypto backend failed: {error!r}")] * len(batch)
        if len(results) != len(batch):
            what = f"the crypto backend gave {len(results)} results for {len(batch)} requests"
            return [_broken(what)] * len(batch)
        return results


def _chunk(backend: CryptoBackend) -> int:
    return CHUNK if backend.lanes == 1 else backend.lanes * CHUNK_LANES


def _worth(backend: CryptoBackend) -> Mapping[type[BatchedRequest], int]:
    return backend.break_even if isinstance(backend, LaneBackend) else {}


def _broken(what: str) -> LocalResourceError:
    return LocalResourceError(what, remedy="This is a fault of loadgen; please report it with this message.")
