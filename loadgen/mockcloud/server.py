"""The event loop of one worker: uvloop around :class:`~loadgen.mockcloud.host.WorkerHost`.

The loop watches the host's sockets, an alarm clock for what is due to the nanosecond, the control socket to the
parent, and a 25 ms tick. Crypto results arrive from their thread. In a stall it looks at the parent alone. When the
parent is gone, in whatever way, the control socket is at its end and the worker ends; should another process have
inherited the parent's end of it, the parent's process id tells.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable

import msgspec
import uvloop

from loadgen.crypto.executor import Completion
from loadgen.kernel import AlarmClock
from loadgen.mockcloud.host import WorkerHost
from loadgen.mockcloud.plan import STATUS_INTERVAL_S, STOP, StallOrder
from loadgen.mockcloud.report import StallTimes

_TICK_S = 0.025
_TICKS_PER_STATUS = round(STATUS_INTERVAL_S / _TICK_S)
_ORDER_SIZE = 256


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
        self._alarm = AlarmClock()
        self._alarm_ns: int | None = None
        self._stalls_ahead: list[StallOrder] = []
        self._stall: StallOrder | None = None
        self._stall_begun_ns = 0
        self._stalls: list[StallTimes] = []
        self._kept: list[list[Completion]] = []
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Serve; returns once the connections are closed and the last report is sent.

        Raises whatever broke the worker.
        """
        loop = self._loop
        loop.set_exception_handler(self._broken)
        self._mailbox.open(loop, self._crypto_done)
        loop.add_reader(self._host.fileno(), self._turn)
        loop.add_reader(self._alarm.fileno(), self._ring)
        loop.add_reader(self._control.fileno(), self._hear)
        self._report()
        loop.call_later(_TICK_S, self._tick)
        loop.run_forever()
        if self._stall is not None:
            self._note_stall()
        self._host.close()
        loop.close()
        self._alarm.close()
        if self._failure is not None:
            raise self._failure
        self._report(final=True)

    def _turn(self) -> None:
        self._host.turn()
        self._set_alarm()

    def _crypto_done(self, completions: list[Completion]) -> None:
        if self._stall is not None:
            self._kept.append(completions)
            return
        self._host.crypto_done(completions)
        self._set_alarm()

    def _tick(self) -> None:
        self._loop.call_later(_TICK_S, self._tick)
        if self._stall is None:
            self._host.tick()
            self._set_alarm()
        self._ticks += 1
        if self._ticks % _TICKS_PER_STATUS == 0:
            self._report()
            if os.getppid() != self._parent_pid:
                self._loop.stop()

    # --- what is due at an instant

    def _set_alarm(self) -> None:
        """Wake for what is due next, if no earlier alarm is set."""
        due_ns = self._next_due_ns()
        if due_ns is None or (self._alarm_ns is not None and self._alarm_ns <= due_ns):
            return
        self._alarm_ns = due_ns
        self._alarm.set(due_ns)

    def _next_due_ns(self) -> int | None:
        """The end of the stall; else what the host has due, or the next stall."""
        if self._stall is not None:
            return self._stall.end_ns
        due_ns = self._host.next_alarm_ns()
        if self._stalls_ahead and (due_ns is None or self._stalls_ahead[0].at_ns < due_ns):
            return self._stalls_ahead[0].at_ns
        return due_ns

    def _ring(self) -> None:
        self._alarm.silence()
        self._alarm_ns = None
        if self._stall is not None and self._stall.end_ns <= self._now():
            self._end_stall()
        elif self._stall is None and self._stalls_ahead and self._stalls_ahead[0].at_ns <= self._now():
            self._begin_stall(self._stalls_ahead.pop(0))
        if self._stall is None:
            self._turn()
        else:
            self._set_alarm()

    def _begin_stall(self, stall: StallOrder) -> None:
        self._stall = stall
        self._loop.remove_reader(self._host.fileno())
        self._stall_begun_ns = self._now()

    def _end_stall(self) -> None:
        self._note_stall()
        self._stall = None
        self._loop.add_reader(self._host.fileno(), self._turn)
        kept, self._kept = self._kept, []
        for completions in kept:
            self._host.crypto_done(completions)

    def _note_stall(self) -> None:
        self._stalls.append(StallTimes(self._stall_begun_ns, self._now()))

    # --- the parent

    def _hear(self) -> None:
        try:
            message = self._control.recv(_ORDER_SIZE)
        except BlockingIOError:
            return
        except OSError:
            message = b""
        if not message or message == STOP:
            self._loop.remove_reader(self._control.fileno())
            self._loop.stop()
            return
        self._stalls_ahead.append(msgspec.json.decode(message, type=StallOrder))
        self._stalls_ahead.sort(key=lambda order: order.at_ns)
        self._set_alarm()

    def _report(self, *, final: bool = False) -> None:
        report = self._host.report(os.getpid(), self._cpu_ns(), final=final)
        report.stalls = self._stalls
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
