"""The set of sockets of a worker, on real connections."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from loadgen import clock
from loadgen.engine.plan import Target
from loadgen.engine.sockets import EVENTS_BETWEEN, SocketSet, connected_at


def descriptors() -> int:
    """How many are open in this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


class Nobody:
    """Does nothing with a socket."""

    def on_ready(self, mask: int) -> None: ...


class Reader:
    """Reads whenever it may."""

    def __init__(self, sockets: SocketSet, order: list[str]) -> None:
        self.sockets = sockets
        self.order = order
        self.heard = b""
        self.socket = sockets.connect(self)

    def on_ready(self, mask: int) -> None:
        with contextlib.suppress(BlockingIOError):
            self.heard += self.sockets.receive(self.socket)[0]
            self.order.append("read")

    def close(self) -> None:
        self.sockets.close(self.socket, reset=True)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as made:
        yield made


def set_of(listener: socket.socket) -> SocketSet:
    host, port = listener.getsockname()
    return SocketSet(Target(host, port), kernel_stamps=False)


def greeted(listener: socket.socket, sockets: SocketSet, count: int) -> list[socket.socket]:
    """Accept ``count`` connections and say something in each; returns once all of it has come."""
    accepted = [listener.accept()[0] for _ in range(count)]
    for connection in accepted:
        connection.sendall(b"x")
    with select.epoll.fromfd(os.dup(sockets.fileno())) as waiting:
        while len(waiting.poll(5, 512)) < count:
            pass
    return accepted


def test_what_cannot_begin_leaves_no_descriptor() -> None:
    """A bind, a connect and a descriptor that are refused."""
    for host, source in (("127.0.0.1", "192.0.2.1"), ("255.255.255.255", "127.0.0.1")):
        sockets = SocketSet(Target(host, 1), kernel_stamps=True, sources=(source,))
        before = descriptors()
        with pytest.raises(OSError, match=r"assign requested address|unreachable|denied|Invalid"):
            sockets.connect(Nobody())
        assert descriptors() == before
        assert len(sockets) == 0
        sockets.close_set()


def test_a_connect_begins_when_its_socket_is_ready(listener: socket.socket, monkeypatch: pytest.MonkeyPatch) -> None:
    """What making and binding it takes is none of the cloud's time."""
    bound_ns: list[int] = []

    class Noting(socket.socket):
        def bind(self, address: object) -> None:
            super().bind(address)  # type: ignore[arg-type]
            bound_ns.append(clock.monotonic_ns())

    sockets = SocketSet(Target(*listener.getsockname()), kernel_stamps=False, sources=("127.0.0.1",))
    monkeypatch.setattr(socket, "socket", Noting)
    made = sockets.connect(Nobody())
    assert bound_ns[0] <= sockets.begun_ns <= clock.monotonic_ns()
    sockets.close(made, reset=True)
    sockets.close_set()


def test_a_connect_has_the_second_that_a_lost_syn_costs() -> None:
    """A listener whose queue is full drops the first SYN; Linux repeats it after a second."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        with socket.create_connection(address), socket.socket() as late:
            late.setblocking(False)
            started_ns = clock.monotonic_ns()
            late.connect_ex(address)
            full.accept()[0].close()
            assert select.select([], [late], [], 5)[1]
            stood_ns = clock.monotonic_ns()
            connected = connected_at(late, started_ns, clock.monotonic_ns)
        full.accept()[0].close()
        assert connected is not None
        assert not connected.by_rtt
        assert stood_ns - started_ns > 900 * clock.NS_PER_MS
        assert abs(connected.at_ns - stood_ns) < 50 * clock.NS_PER_MS
        with socket.create_connection(address) as swift:
            by_rtt = connected_at(swift, 7, clock.monotonic_ns)
            assert by_rtt is not None
            assert by_rtt.by_rtt
            assert 7 < by_rtt.at_ns < 100 * clock.NS_PER_MS


def test_other_work_has_its_turn_between_the_reads_of_one_dispatch(listener: socket.socket) -> None:
    sockets, order = set_of(listener), list[str]()
    readers = [Reader(sockets, order) for _ in range(40)]
    accepted = greeted(listener, sockets, 40)
    assert sockets.dispatch(lambda: order.append("other")) == 40
    assert [reader.heard for reader in readers] == [b"x"] * 40
    first = order.index("other")
    assert first == EVENTS_BETWEEN
    assert order.count("other") == 40 // EVENTS_BETWEEN
    for connection in (*accepted, *(reader.socket for reader in readers)):
        connection.close()
    sockets.close_set()


def test_a_connection_begun_between_the_reads_is_not_taken_for_one_that_was_ready(listener: socket.socket) -> None:
    sockets, order = set_of(listener), list[str]()
    readers = [Reader(sockets, order) for _ in range(40)]
    accepted = greeted(listener, sockets, 40)
    late: list[Reader] = []

    def replace_the_unread() -> None:
        if not late:
            unread = [reader for reader in readers if not reader.heard]
            for reader in unread:
                reader.close()
            late.extend(Reader(sockets, order) for _ in unread)

    sockets.dispatch(replace_the_unread)
    assert len(late) == 40 - EVENTS_BETWEEN
    assert order.count("read") == EVENTS_BETWEEN, "nothing has come for the new ones"
    assert all(sockets.watches(reader.socket) for reader in late)
    accepted += greeted(listener, sockets, len(late))
    sockets.dispatch()
    assert [reader.heard for reader in late] == [b"x"] * len(late)
    for connection in (*accepted, *(reader.socket for reader in [*readers, *late])):
        connection.close()
    sockets.close_set()
