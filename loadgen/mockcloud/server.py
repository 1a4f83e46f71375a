"""The event loop of one worker: uvloop around :class:`~loadgen.mockcloud.host.WorkerHost`.

The loop watches three things: the host's sockets, the control socket to the parent, and a 25 ms tick. Crypto results
arrive from their thread. When the parent is gone, in whatever way, the control socket is at its end and the worker
ends; should another process have inherited the parent's end of it, the parent's process id tells.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable

import msgspec
import uvloop

from loadgen.clock import NS_PER_S
from loadgen.crypto.executor import Completion
from loadgen.mockcloud.host import WorkerHost
from loadgen.mockcloud.plan import STATUS_INTERVAL_S, STOP

_TICK_S = 0.025
_TICKS_PER_STATUS = round(STATUS_INTERVAL_S / _TICK_S)
_ALARM_SLACK_S = 0.0005


class Mailbox:
    """Where the crypto thread leaves its results for the loop; one wake-up for all that is there."""

    def __init__(self) -> None:
        self._delivered: deque[list[Completion]] = deque()
        self._is_waking = False
        self._wake: Callable[[], object] | None = None

    def open(self, loop: asyncio.AbstractEventLoop, take: Callable[[list[Completion]], None]) -> None:
        """Begin to pass results to ``take`` on the loop's thread."""

        def empty() -> None:
            self._is_waking = False
            while self._delivered:
                take(self._delivered.popleft())

        self._wake = lambda: loop.call_soon_threadsafe(empty)

    def deliver(self, completions: list[Completion]) -> None:
        """Leave results. On the crypto thread."""
        self._delivered.append(completions)
        if not self._is_waking:
            self._is_waking = True
            assert self._wake is not None
            self._wake()


class Server:
    """Serves until the parent says stop or is gone.

    Args:
        host: the worker.
        mailbox: where its executor delivers.
        control: non-blocking socket to the parent, one message a packet.
        parent_pid: the parent's process id.
        cpu_ns: CPU time of this process since it was ready.
        now: CLOCK_MONOTONIC in ns.
    """

    def __init__(
        self,
        host: WorkerHost,
        mailbox: Mailbox,
        control: socket.socket,
        *,
        parent_pid: int,
        cpu_ns: Callable[[], int],
        now: Callable[[], int],
    ) -> None:
        self._host = host
        self._mailbox = mailbox
        self._control = control
        self._parent_pid = parent_pid
        self._cpu_ns = cpu_ns
        self._now = now
        self._loop = uvloop.new_event_loop()
        self._ticks = 0
        self._alarm_ns: int | None = None
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Serve; returns once the connections are closed and the last report is sent.

        Raises whatever broke the worker.
        """
        loop = self._loop
        loop.set_exception_handler(self._broken)
        self._mailbox.open(loop, self._crypto_done)
        loop.add_reader(self._host.fileno(), self._turn)
        loop.add_reader(self._control.fileno(), self._hear)
        self._report()
        loop.call_later(_TICK_S, self._tick)
        loop.run_forever()
        self._host.close()
        loop.close()
        if self._failure is not None:
            raise self._failure
        self._report(final=True)

    def _turn(self) -> None:
        self._host.turn()
        self._set_alarm()

    def _crypto_done(self, completions: list[Completion]) -> None:
        self._host.crypto_done(completions)
        self._set_alarm()

    def _tick(self) -> None:
        self._loop.call_later(_TICK_S, self._tick)
        self._host.tick()
        self._set_alarm()
        self._ticks += 1
        if self._ticks % _TICKS_PER_STATUS == 0:
            self._report()
            if os.getppid() != self._parent_pid:
                self._loop.stop()

    def _set_alarm(self) -> None:
        """Wake when the limit lets somebody through, if no earlier alarm is set."""
        due_ns = self._host.next_alarm_ns()
        if due_ns is None or (self._alarm_ns is not None and self._alarm_ns <= due_ns):
            return
        self._alarm_ns = due_ns
        delay_s = max(0, due_ns - self._now()) / NS_PER_S
        self._loop.call_later(delay_s + _ALARM_SLACK_S, self._ring)

    def _ring(self) -> None:
        self._alarm_ns = None
        self._turn()

    def _hear(self) -> None:
        try:
            message = self._control.recv(64)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message or message == STOP:
            self._loop.remove_reader(self._control.fileno())
            self._loop.stop()

    def _report(self, *, final: bool = False) -> None:
        report = self._host.report(os.getpid(), self._cpu_ns(), final=final)
        try:
            self._control.send(msgspec.json.encode(report))
        except BlockingIOError:
            return  # a parent that does not read gets the next one
        except OSError:
            self._loop.stop()  # gone; the end is the same as by its order

    def _broken(self, loop: asyncio.AbstractEventLoop, context: dict[str, object]) -> None:
        failure = context.get("exception")
        self._failure = failure if isinstance(failure, BaseException) else RuntimeError(str(context["message"]))
        loop.stop()
