"""What Linux offers beyond Python's own modules: an alarm to the nanosecond, and the arrival times of bytes."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import socket
import struct
import sys
from contextlib import suppress
from typing import Final

SO_TIMESTAMPNS: Final = 35
"""Linux (include/uapi/asm-generic/socket.h); Python names only its microsecond sibling. Also the type of the
control message, which carries a :data:`TIMESPEC` of CLOCK_REALTIME."""

TIMESPEC: Final = struct.Struct("@ll")
"""``struct timespec``: seconds, nanoseconds."""

STAMP_SPACE: Final = socket.CMSG_SPACE(TIMESPEC.size)
"""Size of the buffer for control messages that a stamp needs."""

IP_BIND_ADDRESS_NO_PORT: Final = 24
"""Linux (include/uapi/linux/in.h); a bind with it, for IPv6 too, leaves the port to the connect. Python names it
only from 3.12 on."""

LINGER_RST: Final = struct.pack("ii", 1, 0)
"""``struct linger`` for SO_LINGER: a close then sends an RST, which leaves no TIME_WAIT on either side."""


OWN_DESCRIPTORS: Final = 64
"""Of a process' open files, what its files, pipes, event loop and libraries take; the others can be connections."""

_MOST_DESCRIPTORS: Final = 1 << 20
"""What a process without a limit of its own gets: Linux' default of fs.nr_open."""


def descriptor_limit() -> int:
    """Open files that this process can have once it has raised its soft limit."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else hard


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files to the hard one; returns how many this process can then have."""
    most = descriptor_limit()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):  # a sandbox may forbid it
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most if soft == resource.RLIM_INFINITY else soft


def has_kernel_stamps() -> bool:
    """Whether this machine's kernel stamps what TCP sockets receive."""
    with socket.socket() as probe:
        try:
            probe.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        except OSError:
            return False
    return sys.platform == "linux"


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


class AlarmClock:
    """A descriptor that becomes readable at an instant of CLOCK_MONOTONIC (timerfd), to the nanosecond.

    The event loop's own timers are rounded to a millisecond, which would all be lateness.
    """

    _CLOCK_MONOTONIC = 1
    _TFD_TIMER_ABSTIME = 1

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._descriptor = self._libc.timerfd_create(self._CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._spec = _Itimerspec()
        self._reference = ctypes.byref(self._spec)

    def fileno(self) -> int:
        """Readable once the instant has come, until :meth:`silence`."""
        return int(self._descriptor)

    def set(self, at_ns: int) -> None:
        """Wake at ``at_ns``; at once if that is past."""
        self._spec.value.seconds, self._spec.value.nanoseconds = divmod(max(at_ns, 1), 1_000_000_000)
        if self._libc.timerfd_settime(self._descriptor, self._TFD_TIMER_ABSTIME, self._reference, None) < 0:
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def silence(self) -> None:
        """Take note of the wake-up, so that the descriptor is quiet until the next :meth:`set`."""
        try:
            os.read(self._descriptor, 8)
        except BlockingIOError:
            return

    def close(self) -> None:
        """Release the descriptor."""
        os.close(self._descriptor)


_SYS_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
"""Number of the system call (arch/x86/entry/syscalls/syscall_64.tbl, include/uapi/asm-generic/unistd.h)."""
_SCHED_ATTR = struct.Struct("=IIQiIQQQ")
"""``struct sched_attr`` of 48 bytes: size, policy, flags, nice, priority, runtime, deadline, period."""
_SHORT_SLICE_NS = 100_000
"""The shortest slice that the scheduler grants."""


def prefer_latency() -> bool:
    """Ask for short time slices for this thread and those that it starts; needs no privilege.

    From Linux 6.12 on a waking thread with a short slice runs before one with a long slice that is running (EEVDF
    scheduler), instead of waiting for up to its 3 ms. It gets no more time than before. Returns whether the
    kernel took it; older ones ignore the wish or refuse it.
    """
    number = _SYS_SCHED_SETATTR.get(platform.machine())
    if number is None or sys.platform != "linux":
        return False
    attributes = _SCHED_ATTR.pack(_SCHED_ATTR.size, os.SCHED_OTHER, 0, os.nice(0), 0, _SHORT_SLICE_NS, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    return bool(libc.syscall(number, 0, ctypes.create_string_buffer(attributes, len(attributes)), 0) == 0)


def prefer_throughput() -> bool:
    """Let this thread, when it wakes, wait for the one that is running instead of interrupting it.

    For work in bulk beside a thread that :func:`prefer_latency`; needs no privilege (SCHED_BATCH, sched(7)). It gets no
    less time than before. Returns whether the kernel took it.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    except (AttributeError, OSError):  # another system than Linux, or a sandbox
        return False
    return True


_LAST_IN_LINE = 10
"""Of the 20 steps by which a process may be nicer: about a tenth of the time of one that is not (sched(7))."""


def give_way() -> None:
    """Let other processes go first wherever there is not enough time for all; cannot be taken back."""
    prefer_throughput()
    try:
        os.nice(_LAST_IN_LINE)
    except OSError:  # a sandbox
        return
