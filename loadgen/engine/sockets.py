"""The seam between virtual devices and the network.

All sockets of a worker are in one epoll set of their own, and the event loop watches only that set's descriptor.
Compared with one watcher per socket this saves the loop's handle, two of its calls and one epoll_ctl per
connection; a closed socket leaves the set by itself. The writable event is never needed: the cloud speaks first,
so the nonce says that the connection stands, and TCP_INFO says for how long it has.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import struct
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import NamedTuple, Protocol

from loadgen import clock
from loadgen.engine.plan import Target
from loadgen.kernel import IP_BIND_ADDRESS_NO_PORT, LINGER_RST, SO_TIMESTAMPNS, STAMP_SPACE, TIMESPEC
from loadgen.protocol.reasons import Reason

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT

_TCP_INFO = struct.Struct("=44xI20xI28xI")
"""``tcpi_last_data_sent`` (ms ago), ``tcpi_rtt`` (µs) and ``tcpi_total_retrans`` in Linux' ``struct tcp_info``
(include/uapi/linux/tcp.h), all u32."""
_READ_SIZE = 4096
_EVENTS_PER_TURN = 512
EVENTS_BETWEEN = 16
"""Handlers that :meth:`SocketSet.dispatch` calls at most before something else has its turn."""

_LOCAL = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EADDRINUSE})
_UNREACHABLE = frozenset(
    {errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, errno.EACCES, errno.EPERM}
)


def reason_of(error: OSError) -> Reason:
    """Map an error of the socket layer to the reason a failed handshake is counted under."""
    code = error.errno
    if code == errno.ECONNREFUSED:
        return Reason.REFUSED
    if code in _LOCAL:
        return Reason.LOCAL_RESOURCE
    if code in _UNREACHABLE:
        return Reason.UNREACHABLE
    if code == errno.ETIMEDOUT:
        return Reason.TIMEOUT
    return Reason.RESET


class ReadyHandler(Protocol):
    """Something that owns a socket."""

    def on_ready(self, mask: int) -> None:
        """The socket is readable, writable, broken or at its end, by epoll's mask."""


class SocketSet:
    """The sockets of one worker.

    Args:
        target: where all of them connect to.
        kernel_stamps: take the arrival of bytes from the kernel; see :func:`loadgen.kernel.has_kernel_stamps`.
        sources: addresses that connections come from in turn; none: the system chooses.
    """

    def __init__(self, target: Target, *, kernel_stamps: bool, sources: Sequence[str] = ()) -> None:
        self.begun_ns = 0
        """The instant before the last connect, ns: making its socket, some 30 µs, is over by then."""
        self._epoll = select.epoll()
        self._handlers: dict[int, ReadyHandler] = {}
        self._family = socket.AF_INET6 if target.is_ipv6 else socket.AF_INET
        self._address = (target.host, target.port)
        self._sources = cycle([(source, 0) for source in sources]) if sources else None
        self._stamping: socket.socket | None = None
        self._wall_to_monotonic_ns = 0
        if kernel_stamps:
            # The kernel stamps packets while any socket asks for it, and needs a moment to begin.
            self._stamping = socket.socket(self._family, socket.SOCK_STREAM)
            self._stamping.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)

    def fileno(self) -> int:
        """Readable whenever a socket of the set is ready."""
        return self._epoll.fileno()

    def connect(self, handler: ReadyHandler) -> socket.socket:
        """Begin a connection; :class:`OSError` where this machine cannot even begin it.

        A refusal comes later, through ``on_ready`` and ``recv``.
        """
        sock = socket.socket(self._family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            if self._stamping is not None:
                sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            if self._sources is not None:
                # The port is chosen with the connect, so that one port serves connections to several targets.
                sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind(next(self._sources))
            self.begun_ns = clock.monotonic_ns()
            code = sock.connect_ex(self._address)
            if code not in {0, errno.EINPROGRESS}:
                raise OSError(code, os.strerror(code))
            self._epoll.register(sock.fileno(), READABLE)
        except OSError:
            sock.close()
            raise
        self._handlers[sock.fileno()] = handler
        return sock

    def receive(self, sock: socket.socket) -> tuple[bytes, int, int | None]:
        """Read what has come: the bytes, when the last of them arrived, and how long they waited for the read.

        Times in ns. Without a kernel stamp the arrival is the moment after the read and the wait is None. The
        stamp is moved to the monotonic timeline with an offset read this turn. Raises what ``recv`` raises.
        """
        if self._stamping is None:
            return sock.recv(_READ_SIZE), clock.monotonic_ns(), None
        data, control, _, _ = sock.recvmsg(_READ_SIZE, STAMP_SPACE)
        now = clock.monotonic_ns()
        for _, kind, payload in control:
            if kind == SO_TIMESTAMPNS:
                seconds, nanoseconds = TIMESPEC.unpack(payload)
                arrived = seconds * clock.NS_PER_S + nanoseconds + self._wall_to_monotonic_ns
                return data, min(arrived, now), max(0, now - arrived)
        return data, now, None

    def watch(self, sock: socket.socket, mask: int) -> None:
        """Choose what ``on_ready`` is called for; 0 leaves only errors."""
        self._epoll.modify(sock.fileno(), mask)

    def watches(self, sock: socket.socket) -> bool:
        """Whether the socket is in the set: connected by it, not forgotten, not closed."""
        return sock.fileno() in self._handlers

    def forget(self, sock: socket.socket) -> None:
        """Stop watching a socket that is still needed for sending."""
        if self._handlers.pop(sock.fileno(), None) is not None:
            self._epoll.unregister(sock.fileno())

    def close(self, sock: socket.socket, *, reset: bool) -> None:
        """Close with RST (no TIME_WAIT on either side) or with FIN."""
        self._handlers.pop(sock.fileno(), None)
        if reset:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RST)
        sock.close()

    def dispatch(self, between: Callable[[], None] | None = None) -> int:
        """Call the handlers of ready sockets, a bounded number; returns how many.

        Args:
            between: called after every few handlers, for what must not wait for all of them; may connect.
        """
        if self._stamping is not None:
            self._wall_to_monotonic_ns = clock.wall_to_monotonic_ns()
        events = self._epoll.poll(0, _EVENTS_PER_TURN)
        handlers = self._handlers
        for number, (descriptor, mask) in enumerate(events, 1):
            # A handler of this round may have closed it. Has it been given to a new connection since, then that one
            # reads in vain, once.
            handler = handlers.get(descriptor)
            if handler is not None:
                handler.on_ready(mask)
            if between is not None and number % EVENTS_BETWEEN == 0:
                between()
        return len(events)

    def __len__(self) -> int:
        return len(self._handlers)

    def close_set(self) -> None:
        """Release the set itself; its sockets are closed by their owners."""
        self._epoll.close()
        if self._stamping is not None:
            self._stamping.close()


def is_connected(sock: socket.socket) -> bool:
    """Whether the three-way handshake is over."""
    try:
        sock.getpeername()
    except OSError:
        return False
    return True


class Connected(NamedTuple):
    """When a connection stood, ns; ``by_rtt`` where that comes from the kernel's round-trip time, to the µs."""

    at_ns: int
    by_rtt: bool


def connected_at(sock: socket.socket, started_ns: int, now: Callable[[], int]) -> Connected | None:
    """When the three-way handshake was over; None where the kernel does not say. To be asked before anything is sent.

    The round-trip time is then that of the SYN. A SYN that had to be repeated is not in it, and costs a second or
    more: Linux remembers in ``tcpi_last_data_sent`` when the connection was made, to a timer tick (1 to 10 ms).
    """
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO.size)
        idle_ms, rtt_us, repeated = _TCP_INFO.unpack(info)
    except (OSError, struct.error):
        return None
    if repeated:
        return Connected(max(now() - idle_ms * clock.NS_PER_MS, started_ns), by_rtt=False)
    return Connected(started_ns + rtt_us * clock.NS_PER_US, by_rtt=True) if rtt_us else None
