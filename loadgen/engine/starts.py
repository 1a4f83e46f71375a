"""Where a worker's next handshake comes from: a schedule (open loop) or free slots (closed loop)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from loadgen.engine.arrival import (
    ArrivalCursor,
    ArrivalShare,
    ConstantRate,
    DueCount,
    Limits,
    PhasedRate,
    Schedule,
    share,
)
from loadgen.engine.draws import draw
from loadgen.engine.plan import LoadPlan
from loadgen.engine.returns import Returns
from loadgen.engine.trace import open_trace
from loadgen.protocol.firmware import FirmwareProfile


class Starts(Protocol):
    """Where a worker's next handshake comes from."""

    def next_intended(self, now: int) -> int | None:
        """Intended start of the next handshake, ns; None while there is none to come."""

    @property
    def exhausted(self) -> bool:
        """The wanted number of handshakes has been started."""

    def took(self) -> None:
        """The handshake of ``next_intended`` has started."""

    def slot_free(self, now: int) -> None:
        """An attempt has ended at ``now``."""

    def intended_until(self, now: int) -> int:
        """How many recorded starts were intended before ``now``."""


class OpenStarts:
    """Starts by a schedule, whatever the cloud does."""

    def __init__(self, plan: LoadPlan, index: int, parts: int, begin_ns: int) -> None:
        limits = Limits(plan.warmup_ns, plan.end_ns, plan.count)
        self._cursor = ArrivalCursor(ArrivalShare(schedule_of(plan), limits, index, parts))
        self._due = DueCount(ArrivalShare(schedule_of(plan), limits, index, parts), plan.warmup_ns)
        self._begin = begin_ns

    def next_intended(self, now: int) -> int | None:  # noqa: ARG002 - the schedule does not depend on now
        """The schedule's next start, due or not."""
        at_ns = self._cursor.at_ns
        return None if at_ns is None else self._begin + at_ns

    @property
    def exhausted(self) -> bool:
        """All of the wanted number are started; a run bounded by time lasts until its end instead."""
        return self._cursor.counted_out

    def took(self) -> None:
        """Go on to the next of this worker's starts."""
        self._cursor.advance()

    def slot_free(self, now: int) -> None:
        """Nothing: the schedule does not wait for anybody."""

    def intended_until(self, now: int) -> int:
        """By the schedule, without the warm-up."""
        return self._due.before(now - self._begin)


class ClosedStarts:
    """A fixed number of slots; the end of a slot's attempt is the intended start of its next."""

    def __init__(self, plan: LoadPlan, index: int, parts: int, begin_ns: int) -> None:
        self._free: deque[int] = deque([begin_ns] * share(plan.concurrency, index, parts))
        self._record_from = begin_ns + plan.warmup_ns
        self._end = None if plan.end_ns is None else begin_ns + plan.end_ns
        self._left = None if plan.count is None else share(plan.count, index, parts)
        self._recorded = 0

    def next_intended(self, now: int) -> int | None:
        """The slot that has been free for longest."""
        if not self._free or self._left == 0 or (self._end is not None and now >= self._end):
            return None
        return self._free[0]

    @property
    def exhausted(self) -> bool:
        """All of the wanted number are started."""
        return self._left == 0

    def took(self) -> None:
        """The slot is in use again."""
        if self._free.popleft() >= self._record_from:
            self._recorded += 1
            if self._left is not None:
                self._left -= 1

    def slot_free(self, now: int) -> None:
        """Its next start is intended now."""
        self._free.append(now)

    def intended_until(self, now: int) -> int:  # noqa: ARG002 - a slot intends nothing that it does not start
        """As many as were started: there is no offered rate to fall behind."""
        return self._recorded


class NoStarts:
    """No schedule: every start is a device's that comes back."""

    exhausted = False

    def next_intended(self, now: int) -> int | None:  # noqa: ARG002
        """Never."""
        return None

    def took(self) -> None:
        """Nothing was there to take."""

    def slot_free(self, now: int) -> None:
        """Nothing waits."""

    def intended_until(self, now: int) -> int:  # noqa: ARG002
        """None."""
        return 0


def schedule_of(plan: LoadPlan) -> Schedule:
    """The schedule of an open loop, from its beginning."""
    if plan.trace_path is not None:
        return open_trace(Path(plan.trace_path))
    if plan.segments:
        return PhasedRate(plan.segments, plan.seed)
    return ConstantRate(plan.rate)


def returns_of(
    plan: LoadPlan, firmware_of: Callable[[int], FirmwareProfile], numbers: Sequence[int], begin_ns: int
) -> Returns | None:
    """The devices that come back by themselves; None in a run in which none does.

    Args:
        plan: the run.
        firmware_of: what a device of the worker runs.
        numbers: of the worker's devices in the fleet.
        begin_ns: begin of the schedule, and of a storm.
    """
    record_from = begin_ns + plan.warmup_ns
    storm = plan.storm
    if storm is None:
        return Returns(firmware_of, record_from) if plan.reconnect else None
    first = [
        (begin_ns + int(draw(storm, plan.seed, number, "detection")), device) for device, number in enumerate(numbers)
    ]
    return Returns(firmware_of, record_from, first)


def starts_of(plan: LoadPlan, index: int, parts: int, begin_ns: int) -> Starts:
    """The share of one worker."""
    if plan.storm is not None:
        return NoStarts()
    kind = OpenStarts if plan.mode == "open" else ClosedStarts
    return kind(plan, index, parts, begin_ns)
