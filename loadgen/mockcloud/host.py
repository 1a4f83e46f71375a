"""One worker of the mock cloud without its event loop: accepts, dispatches, keeps deadlines and counts.

All sockets, the listening one too, are in one epoll set, and the event loop watches only that set's descriptor; a
closed socket leaves the set by itself. There are no timers per connection: a connection carries its deadline, and
once a second all are looked at.
"""

from __future__ import annotations

import os
import select
import socket
from collections import Counter, deque
from collections.abc import Callable
from typing import Protocol

from loadgen.clock import NS_PER_S
from loadgen.crypto.base import CryptoBackend
from loadgen.crypto.executor import Completion
from loadgen.errors import LocalResourceError
from loadgen.mockcloud.connection import Connection, SessionCounts
from loadgen.mockcloud.disturbance import Disturbance
from loadgen.mockcloud.disturbed import DisturbedConnection
from loadgen.mockcloud.gate import Entry, Gate
from loadgen.mockcloud.plan import WorkerPlan
from loadgen.mockcloud.registry import SharedRegistry, key_to_use
from loadgen.mockcloud.replay import Cycle
from loadgen.mockcloud.report import WorkerReport
from loadgen.protocol.cloud import CloudConnection
from loadgen.protocol.events import BatchedRequest, KeyHandle
from loadgen.protocol.reasons import HandshakeError, Reason
from loadgen.protocol.wire import MATERIAL_SIZE, NONCE_SIZE

ACCEPTS_PER_TURN = 8
"""Bounded, so that answers do not wait for newcomers."""

ACCEPTS_OF_MANY = 1
"""The same where every connection brings RSA and other workers wait for some: devices come in bursts, since crypto
results do, and whoever takes a whole burst leaves the others idle (measured: 1,110/s against 1,330/s for two
workers and three devices, and SO_REUSEPORT 920/s)."""

_EVENTS_PER_TURN = 256
_ACCEPT_PAUSE_NS = NS_PER_S // 10
_KEYS_KEPT = 65_536


class Randomness:
    """Random bytes, fetched from the system in large blocks."""

    __slots__ = ("_at", "_block")

    _BLOCK_SIZE = 8192

    def __init__(self) -> None:
        self._block = b""
        self._at = 0

    def take(self, size: int) -> bytes:
        """``size`` fresh random bytes, at most 8,192."""
        at = self._at
        if at + size > len(self._block):
            self._block = os.urandom(self._BLOCK_SIZE)
            at = 0
        self._at = at + size
        return self._block[at : at + size]


class Executor(Protocol):
    """Where RSA runs."""

    def submit(self, connection: object, token: int, request: BatchedRequest) -> None:
        """Take a request; cheap."""

    def flush(self) -> None:
        """Hand over what was submitted since the last flush."""


class KeyRing:
    """Device keys parsed once, and the registry's word on who may use which."""

    def __init__(self, backend: CryptoBackend, plan: WorkerPlan, registry: SharedRegistry) -> None:
        self._load = backend.load_device_public_key
        self._policy = plan.registry
        self._registry = registry
        self._handles: dict[bytes, KeyHandle] = {}

    def key_for(self, device_id: bytes, presented: bytes) -> KeyHandle | Reason:
        """The key to encrypt to, parsed, or why the device is closed."""
        key = key_to_use(self._policy, self._registry, device_id, presented, self._is_usable)
        if isinstance(key, Reason):
            return key
        return self._handle(key) or Reason.BAD_KEY

    def _is_usable(self, spki: bytes) -> bool:
        return self._handle(spki) is not None

    def _handle(self, spki: bytes) -> KeyHandle | None:
        handle = self._handles.get(spki)
        if handle is None:
            try:
                handle = self._load(spki)
            except ValueError:
                return None
            if len(self._handles) >= _KEYS_KEPT:
                self._handles.clear()
            self._handles[spki] = handle
        return handle


class WorkerHost:
    """Everything of one worker but its event loop and its link to the parent.

    Args:
        plan: what to do.
        listener: non-blocking listening socket, shared with the other workers; this object closes its own copy.
        backend: for AES, and for parsing keys.
        server_key: the cloud's private key, parsed.
        executor: for RSA.
        registry: shared with the other workers.
        reserve: of the shared limit, or None without one.
        answers: of replay mode, else None.
        now: CLOCK_MONOTONIC in ns.
        wall: CLOCK_REALTIME in ns.
        most: most connections at a time.
        disturbance: faults, delays and notes, or None where nothing is disturbed.
    """

    def __init__(
        self,
        plan: WorkerPlan,
        listener: socket.socket,
        *,
        backend: CryptoBackend,
        server_key: KeyHandle,
        executor: Executor,
        registry: SharedRegistry,
        reserve: Callable[[int], int | None] | None,
        answers: Cycle | None,
        now: Callable[[], int],
        wall: Callable[[], int],
        most: int,
        disturbance: Disturbance | None = None,
    ) -> None:
        self.backend = backend
        self.counts = SessionCounts()
        self.session_deadline_ns = 0
        self._plan = plan
        self._listener = listener
        self._listener_fd = listener.fileno()
        self._server_key = server_key
        self._executor = executor
        self._answers = answers
        self._now = now
        self._wall = wall
        self._most = most
        self._disturbance = disturbance
        self._random = Randomness()
        self.key_for = KeyRing(backend, plan, registry).key_for
        self._gate: Gate[Connection] = Gate(reserve, 0 if answers else plan.rsa_window)
        self._epoll = select.epoll()
        self._epoll.register(self._listener_fd, select.EPOLLIN)
        self._accepts = ACCEPTS_OF_MANY if plan.workers > 1 and answers is None else ACCEPTS_PER_TURN
        self._accept_again_ns: int | None = None
        self._connections: dict[int, Connection] = {}
        self._sessions = 0
        self._to_describe: deque[tuple[int, Connection]] = deque()
        self._next_sweep_ns = 0
        self._accepted = self._handshakes = self._over = self._accept_errors = 0
        self._failures: Counter[str] = Counter()
        self._session_failures: Counter[str] = Counter()

    # --- what the event loop calls

    def fileno(self) -> int:
        """Readable whenever :meth:`turn` has something to do."""
        return self._epoll.fileno()

    def turn(self) -> None:
        """Serve what is ready, a bounded part of it."""
        now_ns = self._now()
        self.session_deadline_ns = now_ns + self._plan.idle_timeout_ns
        if self._disturbance is not None:  # first what is late already
            self._disturbance.run_due()
        connections = self._connections
        for descriptor, _ in self._epoll.poll(0, _EVENTS_PER_TURN):
            connection = connections.get(descriptor)
            if connection is not None:
                connection.on_readable()
            elif descriptor == self._listener_fd:
                self._accept(now_ns)
        self._settle(now_ns)

    def crypto_done(self, completions: list[Completion]) -> None:
        """Hand results to their connections."""
        now_ns = self._now()
        self.session_deadline_ns = now_ns + self._plan.idle_timeout_ns
        for done in completions:
            if isinstance(done.result, LocalResourceError):
                raise done.result
            connection = done.connection
            assert isinstance(connection, Connection)
            connection.on_crypto(done.token, done.request, done.result)
        self._settle(now_ns)

    def tick(self) -> None:
        """What need not be done at once: describe requests, deadlines, a paused listener. Every 25 ms or so."""
        now_ns = self._now()
        self.session_deadline_ns = now_ns + self._plan.idle_timeout_ns
        while self._to_describe and self._to_describe[0][0] <= now_ns:
            self._to_describe.popleft()[1].ask_describe()
        if self._accept_again_ns is not None and self._accept_again_ns <= now_ns:
            self._accept_again_ns = None
            self._epoll.register(self._listener_fd, select.EPOLLIN)
        if self._next_sweep_ns <= now_ns:
            self._next_sweep_ns = now_ns + NS_PER_S
            overdue = [link for link in self._connections.values() if link.deadline_ns <= now_ns]
            for connection in overdue:
                connection.on_deadline(now_ns)
        self._write_notes()
        self._settle(now_ns)

    def next_alarm_ns(self) -> int | None:
        """When :meth:`turn` is to be called at the latest: the limit lets a handshake go on, or an answer is due."""
        due_ns = self._gate.next_due_ns()
        if self._disturbance is None:
            return due_ns
        held_ns = self._disturbance.next_due_ns()
        return held_ns if due_ns is None else due_ns if held_ns is None else min(due_ns, held_ns)

    def close(self) -> None:
        """Stop listening and close every connection."""
        self._listener.close()
        for connection in list(self._connections.values()):
            connection.end(None)
        self._epoll.close()
        self._write_notes()

    def report(self, pid: int, cpu_ns: int, *, final: bool = False) -> WorkerReport:
        """The state and the totals of this worker."""
        counts, gate, disturbance = self.counts, self._gate, self._disturbance
        log = None if disturbance is None else disturbance.log
        return WorkerReport(
            pid=pid,
            cpu_ns=cpu_ns,
            counters={
                "accepted": self._accepted,
                "handshakes": self._handshakes,
                "delayed": gate.delayed,
                "rejected": gate.rejected,
                "over_connections": self._over,
                "accept_errors": self._accept_errors,
                "not_taken": counts.not_taken,
                "idle_closed": counts.idle_closed,
                "closed_by_device": counts.closed_by_device,
                "reset_by_device": counts.reset_by_device,
                "messages": counts.messages,
                "out_of_order": counts.out_of_order,
                "describes_asked": counts.describes_asked,
                "describes_answered": counts.describes_answered,
            },
            failures=dict(self._failures),
            session_failures=dict(self._session_failures),
            injected={} if disturbance is None else dict(disturbance.injected),
            timings_omitted=0 if log is None else log.omitted,
            connections=len(self._connections),
            sessions=self._sessions,
            waiting=len(gate),
            final=final,
        )

    # --- what connections call

    def now_s(self) -> int:
        """Seconds since 1970."""
        return self._wall() // NS_PER_S

    def submit(self, connection: Connection, token: int, request: BatchedRequest) -> None:
        """Hand a request to the crypto thread at the end of this turn."""
        self._executor.submit(connection, token, request)

    def enter_gate(self, connection: Connection) -> Entry:
        """Ask for a place at the gate."""
        return self._gate.enter(connection, self._now())

    def leave_gate(self) -> None:
        """Give a place back; who waits for it goes on at the end of this turn."""
        self._gate.leave()

    def handshake_completed(self, connection: Connection) -> None:
        """Count it, and note when the device is to describe itself."""
        self._handshakes += 1
        self._sessions += 1
        after_ns = self._plan.describe_after_ns
        if after_ns is not None:
            self._to_describe.append((self._now() + after_ns, connection))

    def end_of_stream(self, sock: socket.socket) -> None:
        """Watch ``sock`` no more."""
        self._epoll.unregister(sock.fileno())

    def ended(self, connection: Connection, sock: socket.socket, error: HandshakeError | None) -> None:
        """Count how it ended and close the socket."""
        del self._connections[sock.fileno()]
        sock.close()
        failures = self._failures
        if connection.in_session:
            self._sessions -= 1
            failures = self._session_failures
        if error is not None:
            failures[f"{error.stage}/{error.reason}"] += 1

    # --- accepting

    def _accept(self, now_ns: int) -> None:
        deadline_ns = now_ns + self._plan.handshake_timeout_ns
        for _ in range(self._accepts):
            try:
                sock, _address = self._listener.accept()
            except BlockingIOError:
                return
            except ConnectionError:  # it was gone before we came
                continue
            except OSError:
                self._pause_accepting(now_ns)
                return
            self._accepted += 1
            if len(self._connections) >= self._most:
                self._over += 1
                sock.close()
                continue
            self._welcome(sock, deadline_ns)

    def _welcome(self, sock: socket.socket, deadline_ns: int) -> None:
        disturbance = self._disturbance
        accepted_ns = 0 if disturbance is None else self._now()
        sock.setblocking(False)
        random, answers = self._random, self._answers
        if answers is None:
            prepared, material = None, random.take(MATERIAL_SIZE)
        else:
            prepared, material = answers.take()
        core = CloudConnection(
            server_key=self._server_key,
            nonce=random.take(NONCE_SIZE),
            material=material,
            message_id=int.from_bytes(random.take(2)),
            prepared=prepared,
        )
        if disturbance is None:
            connection = Connection(self, core, sock, deadline_ns)
        else:
            connection = DisturbedConnection(
                self, core, sock, deadline_ns, disturbance=disturbance, accepted_ns=accepted_ns
            )
        descriptor = sock.fileno()
        self._connections[descriptor] = connection
        self._epoll.register(descriptor, select.EPOLLIN)
        connection.start()

    def _pause_accepting(self, now_ns: int) -> None:
        """No descriptors or memory: look away for a moment instead of being told again and again."""
        self._accept_errors += 1
        self._accept_again_ns = now_ns + _ACCEPT_PAUSE_NS
        self._epoll.unregister(self._listener_fd)

    # --- ends of a turn

    def _write_notes(self) -> None:
        if self._disturbance is not None and self._disturbance.log is not None:
            self._disturbance.log.flush()

    def _settle(self, now_ns: int) -> None:
        """Let through the gate who may pass, then hand over what was submitted."""
        gate = self._gate
        if len(gate):
            while (connection := gate.take_due(now_ns)) is not None:
                connection.on_pass()
        self._executor.flush()
