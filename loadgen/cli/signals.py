"""Ctrl-C, SIGTERM and a terminal that goes away (SIGHUP) mean the same."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def on_interrupt(action: Callable[[], None]) -> Iterator[None]:
    """Call ``action`` for each SIGINT, SIGTERM or SIGHUP while the block runs."""

    def handle(_number: int, _frame: FrameType | None) -> None:
        action()

    with _handled(handle, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        yield


@contextmanager
def terminate_like_interrupt() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise :class:`KeyboardInterrupt`, as SIGINT does, while the block runs."""
    with _handled(signal.default_int_handler, signal.SIGTERM, signal.SIGHUP):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], object], *numbers: signal.Signals) -> Iterator[None]:
    """Handle signals while the block runs, but not a SIGHUP that nohup(1) has switched off."""
    wanted = [number for number in numbers if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in wanted}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
