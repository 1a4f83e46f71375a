"""The process of a live page: takes what the run says, and serves it.

Started by :mod:`.feed` as ``python -m loadgen.report.dashboard.server LISTENER FEED NAME…``, both descriptors. It gives
way to every other process of this machine, so that pages wait and not the run; it ends when the run's end of the feed
is closed, for whatever reason.

Everything is bounded: connections, viewers among them, the size and the time of a request's head, the time that an
answer may take, and what waits for a viewer. A viewer that reads too slowly gets no more events until it has read what
there is, and then the whole page anew; one that does not read at all is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
import signal
import socket
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from http import HTTPStatus
from typing import Final

import msgspec

from loadgen import clock
from loadgen.engine.messages import Unpacker
from loadgen.kernel import give_way
from loadgen.report.dashboard import http
from loadgen.report.dashboard.document import EVENTS, TABLES, first_page, script
from loadgen.report.dashboard.http import Hosts, RefusedError, Request
from loadgen.report.dashboard.livepage import Event, LivePage
from loadgen.report.dashboard.messages import Over, decoder

READY: Final = b"\x01"
"""What the process says once it serves."""

_KEPT_EVENTS: Final = 32
"""Events that a browser may have missed without needing the whole page."""
_RETRY_MS: Final = 2_000
_CHUNK: Final = 65_536
_POLL_S: Final = 0.02


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may take."""

    viewers: int = 64
    """Event streams at one time."""
    connections: int = 128
    """Connections at one time, event streams among them."""
    head_s: float = 5.0
    """For the whole head of a request."""
    answer_s: float = 30.0
    """For reading an answer that has an end."""
    waiting: int = 256 * 1024
    """Bytes that wait for a viewer before events are left out for it."""
    stalled_s: float = 20.0
    """A viewer that has been behind for so long is left."""
    socket_buffer: int = 128 * 1024
    """Bytes that the kernel keeps for a client."""
    farewell_s: float = 2.0
    """For telling viewers that the run is over."""
    leave_s: float = 0.3
    """For leaving by themselves once they have been told: a page does, and asks for nothing more."""
    ping_s: float = 10.0


class _Viewer:
    """An event stream: never waited for."""

    def __init__(self, transport: asyncio.WriteTransport, limits: Limits) -> None:
        self.transport = transport
        self.behind_ns: int | None = None
        """Since when events are left out; None while none are."""
        self._limits = limits

    @property
    def waiting(self) -> int:
        """Bytes that it has not read."""
        return self.transport.get_write_buffer_size()

    @property
    def is_back(self) -> bool:
        """Whether it has read everything after events were left out: the whole page is due."""
        return self.behind_ns is not None and not self.waiting

    def offer(self, event: bytes, whole: Callable[[], bytes]) -> None:
        """Send an event, or instead of those that were left out the whole page."""
        if self.is_back:
            self.behind_ns = None
            self.transport.write(whole())
        elif self.behind_ns is not None:
            if clock.monotonic_ns() - self.behind_ns > self._limits.stalled_s * clock.NS_PER_S:
                self.transport.abort()
        elif self.waiting > self._limits.waiting:
            self.behind_ns = clock.monotonic_ns()
        else:
            self.transport.write(event)


class PageServer:
    """Serves a live page.

    Args:
        page: the page.
        hosts: the names that it has.
        limits: what clients may take.
    """

    def __init__(self, page: LivePage, hosts: Hosts, limits: Limits | None = None) -> None:
        self._page = page
        self._hosts = hosts
        self._limits = limits or Limits()
        self._viewers: set[_Viewer] = set()
        self._connections = 0
        self._token = secrets.token_hex(4)
        self._number = 0
        self._events: deque[tuple[int, bytes]] = deque(maxlen=_KEPT_EVENTS)
        self._documents: tuple[int, bytes, bytes] | None = None

    @property
    def viewers(self) -> int:
        """Event streams at present."""
        return len(self._viewers)

    @property
    def behind(self) -> int:
        """Those of them that read too slowly."""
        return sum(viewer.behind_ns is not None for viewer in self._viewers)

    # --- what the run says

    def changed(self) -> None:
        """The page has taken an update: tell those who look."""
        if self._viewers:
            self._tell(self._page.event())

    def ping(self) -> None:
        """Let connections that are gone be noticed, although there is nothing to say."""
        for viewer in self._viewers:
            if not viewer.waiting:
                viewer.transport.write(http.PING)

    async def farewell(self) -> None:
        """Tell everybody that no run follows, and let them go."""
        self._page.end()
        # Nothing follows: whoever catches up from now on gets the whole page, and that is not to tell others anything.
        self._tell(self._page.event() if self._page.fresh else self._page.renewed())
        begin_ns = clock.monotonic_ns()
        while self._connections:
            passed_s = (clock.monotonic_ns() - begin_ns) / clock.NS_PER_S
            late = any(viewer.waiting or viewer.behind_ns is not None for viewer in self._viewers)
            if passed_s > (self._limits.farewell_s if late else self._limits.leave_s):
                break
            await asyncio.sleep(_POLL_S)
            for viewer in [viewer for viewer in self._viewers if viewer.behind_ns is not None]:
                viewer.offer(b"", self._whole)
        self.drop()

    def drop(self) -> None:
        """Let every viewer go; a page comes again unless it was told that the run is over."""
        for viewer in list(self._viewers):
            if viewer.waiting:
                viewer.transport.abort()
            else:
                viewer.transport.close()

    def _tell(self, event: Event) -> None:
        if not self._page.fresh and any(viewer.is_back for viewer in self._viewers):
            event = self._page.renewed()  # making the whole page must not tell something else while this is being told
        self._number += 1
        framed = http.framed(msgspec.json.encode(event), self._id)
        self._events.append((self._number, framed))
        for viewer in list(self._viewers):
            viewer.offer(framed, self._whole)

    @property
    def _id(self) -> str:
        """Of the last event. Another process, of a later run on the same port, has other ids."""
        return f"{self._token}-{self._number}"

    def _current(self) -> tuple[bytes, bytes]:
        """The document and the event with the whole page, made once for as long as nothing changes."""
        if not self._page.fresh:
            self._tell(self._page.renewed())
        if self._documents is None or self._documents[0] != self._number:
            whole = self._page.whole()
            document = first_page(whole, self._id).encode()
            self._documents = self._number, document, http.framed(msgspec.json.encode(whole), self._id)
        return self._documents[1:]

    def _whole(self) -> bytes:
        return self._current()[1]

    # --- what browsers ask

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, from its first byte to its end. Nothing that a client does comes out of here."""
        self._connections += 1
        try:
            if self._connections > 2 * self._limits.connections:  # not even to be told why
                writer.transport.abort()
                return
            # Cancelled is what is still open when this process ends.
            with contextlib.suppress(OSError, asyncio.IncompleteReadError, TimeoutError, asyncio.CancelledError):
                await self._answer(reader, writer)
        finally:
            self._connections -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self._limits.socket_buffer)
        try:
            request = await self._request(reader)
            if request.path == EVENTS:
                await self._stream(request, reader, writer)
                return
            head, body = self._content(request)
        except RefusedError as refused:
            request = None
            head, body = http.refusal(refused)
        await self._send(writer, head if request is not None and request.method == "HEAD" else head + body)
        if request is None:
            await _see_off(reader, writer)

    async def _request(self, reader: asyncio.StreamReader) -> Request:
        """The request, if it is one for this server.

        Raises:
            RefusedError: it is not, or there are too many.
            TimeoutError: it did not come in time.
        """
        if self._connections > self._limits.connections:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "Too many connections at one time.")
        try:
            async with asyncio.timeout(self._limits.head_s):
                head = await reader.readuntil(http.END_OF_HEAD)
        except asyncio.LimitOverrunError:
            raise RefusedError(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "The request is too long.") from None
        request = http.parse(head)
        self._hosts.check(request)
        return request

    def _content(self, request: Request) -> tuple[bytes, bytes]:
        """Head and body of everything that has an end."""
        if request.path == "/":
            body = self._current()[0]
            return http.content("text/html; charset=utf-8", body), body
        if request.path.startswith(TABLES):
            self._current()
            table = self._page.table(request.path.removeprefix(TABLES))
            if table is not None:
                return http.content("text/html; charset=utf-8", table.encode()), table.encode()
        if request.path == "/favicon.ico":
            return http.answer(HTTPStatus.NO_CONTENT, {}), b""
        found = script(request.path)
        if found is None:
            raise RefusedError(HTTPStatus.NOT_FOUND, "There is nothing here: the page is at /.")
        tag = _tag(found)
        if request.headers.get("if-none-match") == tag:
            return http.answer(HTTPStatus.NOT_MODIFIED, {"ETag": tag, "Cache-Control": "no-cache"}), b""
        return http.content("text/javascript; charset=utf-8", found, ETag=tag, Cache_Control="no-cache"), found

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        """Send, in parts so that what waits stays small.

        Raises:
            TimeoutError: the client has not read it in time.
        """
        try:
            async with asyncio.timeout(self._limits.answer_s):
                for at in range(0, len(data), _CHUNK):
                    writer.write(data[at : at + _CHUNK])
                    await writer.drain()
        except TimeoutError:
            writer.transport.abort()
            raise

    async def _stream(self, request: Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve events until the client goes."""
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            raise RefusedError(HTTPStatus.FORBIDDEN, "Events are for the page of this server.")
        if len(self._viewers) >= self._limits.viewers:
            text = f"{self._limits.viewers} pages follow the run already; close one of them."
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, text)
        writer.write(http.answer(HTTPStatus.OK, http.EVENT_STREAM))
        if request.method == "HEAD":
            return
        writer.write(http.retry(_RETRY_MS) + self._missed(request))
        viewer = _Viewer(writer.transport, self._limits)
        self._viewers.add(viewer)
        try:
            while await reader.read(_CHUNK):  # a client has nothing to say any more; its end is what is waited for
                pass
        finally:
            self._viewers.discard(viewer)

    def _missed(self, request: Request) -> bytes:
        """What a browser has missed since the last event that it knows, or the whole page."""
        whole = self._whole()
        token, _, number = request.headers.get("last-event-id", request.query.get("after", "")).partition("-")
        if token != self._token or not number.isdecimal():
            return whole
        missed = [framed for known, framed in self._events if known > int(number[:15])]
        complete = len(missed) == self._number - int(number[:15])
        return b"".join(missed) if complete else whole


async def _see_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Let a client that is still talking read why it was refused: closing at once would throw the answer away."""
    if writer.can_write_eof():
        writer.write_eof()
    async with asyncio.timeout(1.0):
        for _ in range(16):
            if not await reader.read(_CHUNK):
                return


@cache
def _tag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


# --- the process


async def _run(listener: socket.socket, feed: socket.socket, names: tuple[str, ...]) -> None:
    page = LivePage()
    host, port = listener.getsockname()[:2]
    server = PageServer(page, Hosts(host, port, names))
    listening = await asyncio.start_server(server.serve, sock=listener, limit=http.MAX_HEAD)
    reader, writer = await asyncio.open_connection(sock=feed)
    writer.write(READY)
    pings = asyncio.create_task(_ping(server, Limits().ping_s))
    await _follow(reader, page, server)
    pings.cancel()
    await server.farewell()
    listening.close()
    writer.close()


async def _ping(server: PageServer, every_s: float) -> None:
    while True:
        await asyncio.sleep(every_s)
        server.ping()


async def _follow(reader: asyncio.StreamReader, page: LivePage, server: PageServer) -> None:
    """Take what the run says until it says no more."""
    unpacker = Unpacker()
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 20):
            for body in unpacker.feed(data):
                message = decoder.decode(body)
                if isinstance(message, Over):
                    return
                page.take(message)
                server.changed()


def main(arguments: list[str]) -> None:
    """Serve until the feed ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    give_way()
    listener, feed = (socket.socket(fileno=int(descriptor)) for descriptor in arguments[:2])
    for each in (listener, feed):
        each.setblocking(False)
    asyncio.run(_run(listener, feed, tuple(arguments[2:])))


if __name__ == "__main__":
    main(sys.argv[1:])
