"""The set of sockets of a worker, on real connections."""

from __future__ import annotations

import contextlib
import os
import select
import socket
from collections.abc import Iterator

import pytest

from loadgen.engine.plan import Target
from loadgen.engine.sockets import EVENTS_BETWEEN, SocketSet


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
