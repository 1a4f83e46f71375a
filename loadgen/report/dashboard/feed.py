"""The run's side of its live page: starts the process that serves it, and hands over how the run stands.

Handing over never waits: what the other process has not taken yet stands in a queue of bounded length, and what does
not fit in there is left out, so that nothing that happens to a page can hold up a run.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import queue
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import IO, Final

from loadgen.engine.messages import frame
from loadgen.errors import LocalResourceError
from loadgen.mockcloud.listener import bind, describe
from loadgen.report.dashboard.messages import Message, Over, Update, encoder

MODULE: Final = "loadgen.report.dashboard.server"
_QUEUE: Final = 120
_READY_S: Final = 30.0
_END_S: Final = 5.0


class Dashboard:
    """Serves a live page, until :meth:`close`.

    Args:
        host: address or name to listen on.
        port: port; 0 takes a free one.

    Raises:
        UsageError: the address cannot be listened on.
        LocalResourceError: the process could not be started.
    """

    def __init__(self, host: str, port: int) -> None:
        listener = bind(host, port)
        with listener:
            address, self._port = listener.getsockname()[:2]
            self._host = ipaddress.ip_address(address)
            self._stderr: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
            self._feed, far_end = socket.socketpair()
            with far_end:
                self._process = self._start(listener, far_end, host)
        self._wait_until_ready()
        self._queue: queue.Queue[bytes | None] = queue.Queue(_QUEUE)
        self._left_out = 0
        self._sender = threading.Thread(target=self._send, name="dashboard", daemon=True)
        self._sender.start()

    @property
    def url(self) -> str:
        """Where the page is, for a browser of this machine."""
        here = self._host
        if here.is_unspecified:
            here = ipaddress.ip_address("127.0.0.1" if here.version == 4 else "::1")
        return f"http://{describe(str(here), self._port)}/"

    @property
    def is_open(self) -> bool:
        """Whether others than this machine can reach it."""
        return not self._host.is_loopback

    def publish(self, update: Update) -> None:
        """Show this from now on. Never waits."""
        self._put(update)

    def close(self) -> str:
        """Tell everybody that it is over, and end the process.

        Returns:
            what went wrong with the page, if anything did; else nothing.
        """
        self._put(Over())
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=1.0)
            self._sender.join(_END_S)
        if self._sender.is_alive():  # the process does not read any more; without it everything is thrown away at once
            self._process.kill()
            with contextlib.suppress(queue.Full):
                self._queue.put(None, timeout=_END_S)
            self._sender.join(_END_S)
        self._feed.close()
        try:
            code = self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        words = _last_line(self._stderr)
        self._stderr.close()
        if code:
            return f"its process ended with code {code}{f': {words}' if words else ''}"
        return f"it has missed {self._left_out} seconds" if self._left_out else ""

    def _start(self, listener: socket.socket, far_end: socket.socket, host: str) -> subprocess.Popen[bytes]:
        modules = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
        names = [host, socket.gethostname()] if self.is_open else []
        try:
            return subprocess.Popen(  # noqa: S603 - this interpreter, this package
                # -P: the folder that somebody works in may hold a queue.py or a loadgen of its own.
                [sys.executable, "-P", "-m", MODULE, str(listener.fileno()), str(far_end.fileno()), *names],
                env={**os.environ, "PYTHONPATH": modules},
                pass_fds=[listener.fileno(), far_end.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=self._stderr,
                process_group=0,  # a Ctrl-C of the terminal is the parent's to handle
            )
        except OSError as error:
            self._feed.close()
            self._stderr.close()
            raise LocalResourceError(
                f"the process of the live page could not be started: {error.strerror}",
                where="--dashboard",
                remedy="Check the memory, process and descriptor limits of this machine (ulimit -a).",
            ) from error

    def _wait_until_ready(self) -> None:
        self._feed.settimeout(_READY_S)
        try:
            ready = self._feed.recv(1)
        except OSError:
            ready = b""
        if not ready:
            self._process.kill()
            self._process.wait()
            words = _last_line(self._stderr)
            self._feed.close()
            self._stderr.close()
            raise LocalResourceError(
                f"the live page did not get ready{f': {words}' if words else ''}", where="--dashboard"
            )
        self._feed.settimeout(None)

    def _put(self, message: Message) -> None:
        try:
            self._queue.put_nowait(frame(encoder.encode(message)))
        except queue.Full:
            self._left_out += 1

    def _send(self) -> None:
        """Hand over what is in the queue; once nobody takes it any more, throw it away."""
        alive = True
        while (data := self._queue.get()) is not None:
            if alive:
                try:
                    self._feed.sendall(data)
                except OSError:
                    alive = False


def _last_line(stderr: IO[bytes]) -> str:
    """For an error message."""
    stderr.seek(0)
    lines = stderr.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""
