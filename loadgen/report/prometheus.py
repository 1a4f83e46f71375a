"""The endpoint that Prometheus scrapes while a run goes on.

It lives in a thread of the parent process, away from every event loop. The run publishes a snapshot once a second; a
scrape finds it there and never asks the run for anything. The text of a snapshot is made once a format, whoever and
however many ask for it, and no more than :data:`MAX_CONNECTIONS` are served at one time, so that scrapes cannot slow
the run.
"""

from __future__ import annotations

import gzip
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socket import socket
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, Final, Self

from prometheus_client.exposition import choose_encoder, gzip_accepted

from loadgen.mockcloud.listener import bind, describe
from loadgen.report.metrics import Snapshot, registry_of

PATH: Final = "/metrics"
"""Where the metrics are."""
MAX_CONNECTIONS: Final = 8
"""Scrapes at one time; one more is turned away."""
TIMEOUT_S: Final = 5.0
"""A client that neither asks nor reads for so long is left."""

_FAST_GZIP: Final = 1
_POLL_S: Final = 0.1


class PrometheusEndpoint:
    """Serves the snapshot that was published last. A context manager.

    Args:
        host: address to listen on.
        port: port; 0 takes a free one.

    Raises:
        UsageError: the address cannot be listened on.
    """

    def __init__(self, host: str, port: int) -> None:
        self._pages = _Pages()
        self._server = _Server(bind(host, port), self._pages)
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_S,), name="prometheus", daemon=True
        )
        self._thread.start()

    @property
    def url(self) -> str:
        """Where the metrics are."""
        host, port = self._server.server_address[:2]
        return f"http://{describe(str(host), int(port))}{PATH}"

    def publish(self, snapshot: Snapshot) -> None:
        """Serve this from now on. Cheap: the text is made when somebody asks for it."""
        self._pages.replace(snapshot)

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Pages:
    """Texts of the last snapshot, by format; each is made once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._snapshot: Snapshot | None = None
        self._made_of: Snapshot | None = None
        self._made: dict[tuple[str, bool], bytes] = {}

    def replace(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot  # without the lock: the run never waits for a text that is being made

    def page(self, accept: str, *, packed: bool) -> tuple[str, bytes]:
        """Content type and body. Before the first snapshot the body has no metrics."""
        encoder, content_type = choose_encoder(accept)
        with self._lock:
            snapshot = self._snapshot
            if snapshot is not self._made_of:
                self._made_of, self._made = snapshot, {}
            body = self._made.get((content_type, packed))
            if body is None:
                body = encoder(registry_of(snapshot)) if snapshot else b""
                body = gzip.compress(body, _FAST_GZIP) if packed else body
                self._made[content_type, packed] = body
        return content_type, body


class _Server(ThreadingMixIn, TCPServer):
    """A thread a connection, and no more than :data:`MAX_CONNECTIONS` of them."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, listening: socket, pages: _Pages) -> None:
        super().__init__(listening.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()  # the one that TCPServer has made; it would listen without our messages
        self.socket = listening
        self.server_address = listening.getsockname()
        self.pages = pages
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._slots.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away in the middle of its scrape is nobody's business."""


class _Handler(BaseHTTPRequestHandler):
    """GET and HEAD of the metrics; a pointer to them at the root."""

    timeout = TIMEOUT_S
    server_version = "loadgen"
    sys_version = ""
    server: _Server

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == PATH:
            packed = gzip_accepted(self.headers.get("Accept-Encoding", ""))
            content_type, body = self.server.pages.page(self.headers.get("Accept", ""), packed=packed)
            self._answer(content_type, body, packed=packed)
        elif path == "/":
            self._answer("text/html; charset=utf-8", f'<a href="{PATH}">{PATH}</a>\n'.encode())
        else:
            self.send_error(HTTPStatus.NOT_FOUND, explain=f"The metrics are at {PATH}.")

    do_HEAD = do_GET  # noqa: N815 - BaseHTTPRequestHandler looks for this name

    def _answer(self, content_type: str, body: bytes, *, packed: bool = False) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if packed:
            self.send_header("Content-Encoding", "gzip")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the class's own argument
        """Scrapes are not logged: standard error belongs to the run."""
