"""A page server in this process, and a viewer of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any, Self

from loadgen.mockcloud.listener import bind
from loadgen.report.dashboard.http import MAX_HEAD, Hosts
from loadgen.report.dashboard.livepage import LivePage
from loadgen.report.dashboard.messages import Update
from loadgen.report.dashboard.server import Limits, PageServer


class Serving:
    """A page server in a thread of this process."""

    def __init__(self, limits: Limits | None = None) -> None:
        self.page = LivePage()
        listener = bind("127.0.0.1", 0)
        self.port: int = listener.getsockname()[1]
        self.server = PageServer(self.page, Hosts("127.0.0.1", self.port), limits)
        self.loop = asyncio.new_event_loop()
        self._listener = listener
        self._listening: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        self._listening = self.loop.run_until_complete(
            asyncio.start_server(self.server.serve, sock=self._listener, limit=MAX_HEAD)
        )
        self.loop.run_forever()

    def do(self, action: Callable[[], Any]) -> Any:
        """Call something on the event loop."""

        async def call() -> Any:
            return action()

        return asyncio.run_coroutine_threadsafe(call(), self.loop).result(10)

    def take(self, update: Update) -> None:
        """The run has got so far."""

        def told() -> None:
            self.page.take(update)
            self.server.changed()

        self.do(told)

    def silence(self) -> None:
        """Listen no more."""

        def close() -> None:
            assert self._listening is not None
            self._listening.close()

        self.do(close)

    def until(self, viewers: int) -> None:
        """Wait for so many event streams."""
        self._until(lambda: self.server.viewers == viewers)

    def until_connections(self, count: int) -> None:
        """Wait for so many connections, event streams among them."""
        self._until(lambda: self.server._connections == count)

    def _until(self, holds: Callable[[], bool]) -> None:
        limit = time.monotonic() + 20
        while not self.do(holds):
            assert time.monotonic() < limit
            time.sleep(0.01)

    def connect(self, *lines: str) -> socket.socket:
        """A client that has sent a request."""
        client = socket.create_connection(("127.0.0.1", self.port), 10)
        if lines:
            client.sendall("\r\n".join([*lines, "", ""]).encode())
        return client

    def ask(self, *lines: str) -> bytes:
        """Everything that is answered."""
        with self.connect(*lines) as client:
            return read_all(client)

    def follow(self) -> socket.socket:
        """A viewer."""
        return self.connect("GET /events HTTP/1.1", f"Host: 127.0.0.1:{self.port}")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        async def end() -> None:
            assert self._listening is not None
            await self.server.farewell()
            self._listening.close()
            others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        asyncio.run_coroutine_threadsafe(end(), self.loop).result(10)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()


def read_all(client: socket.socket) -> bytes:
    """What comes until the other side closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(65_536):
            found += data
    return found


class Stream:
    """The events of a viewer."""

    def __init__(self, client: socket.socket) -> None:
        self.client = client
        self._lines = client.makefile("rb")
        head = self.next_block()
        assert head[0] == "HTTP/1.1 200 OK"
        assert "Content-Type: text/event-stream; charset=utf-8" in head
        assert self.next_block() == ["retry: 2000"]
        self.ids: list[str] = []

    def next_block(self) -> list[str]:
        """Lines up to the next empty one."""
        found: list[str] = []
        while (line := self._lines.readline().decode().rstrip("\r\n")) or not found:
            assert line, "the stream has ended"
            found.append(line)
        return found

    def next(self) -> Any:
        """The next event."""
        block = self.next_block()
        while block == [":"]:
            block = self.next_block()
        self.ids.append(block[0].removeprefix("id: "))
        return json.loads(block[1].removeprefix("data: "))

    def close(self) -> None:
        """Go away."""
        self._lines.close()
        self.client.close()
