"""A worker process of the mock cloud: ``python -m loadgen.mockcloud.worker CONTROL LISTENER``.

Started by :class:`loadgen.mockcloud.cloud.MockCloud` only. The two arguments are inherited descriptors; the plan is the
first message on the control socket, so no key stands in the process list.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys

import msgspec

from loadgen.clock import monotonic_ns, process_cpu_ns, wall_ns
from loadgen.crypto.backends import select_backend
from loadgen.crypto.executor import CryptoExecutor
from loadgen.kernel import OWN_DESCRIPTORS, SO_TIMESTAMPNS, has_kernel_stamps, prefer_latency, raise_descriptor_limit
from loadgen.mockcloud.delays import DelayPlan
from loadgen.mockcloud.disturbance import Disturbance, SharedNumbers
from loadgen.mockcloud.faults import FaultPlan
from loadgen.mockcloud.host import WorkerHost
from loadgen.mockcloud.limiter import SharedLimiter
from loadgen.mockcloud.plan import WorkerPlan
from loadgen.mockcloud.registry import SharedRegistry
from loadgen.mockcloud.replay import Cycle, read_memory
from loadgen.mockcloud.report import WorkerReport
from loadgen.mockcloud.server import Mailbox, Server
from loadgen.mockcloud.timings import TimingLog

MAX_PLAN_SIZE = 131_072


def disturbance_of(plan: WorkerPlan, listener: socket.socket) -> Disturbance | None:
    """What disturbs the connections of this worker; None where nothing does.

    Where the kernel can stamp arrivals, what ``listener`` accepts from now on asks for it. Where answers are held
    back, the calling thread asks to be woken in time.
    """
    if plan.numbers_descriptor is None:
        return None
    if plan.delays:
        prefer_latency()
    stamped = has_kernel_stamps()
    if stamped:
        listener.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
    return Disturbance(
        FaultPlan(plan.faults, plan.seed),
        DelayPlan(plan.delays, plan.seed),
        take_number=SharedNumbers(plan.numbers_descriptor).take,
        log=None if plan.timings_descriptor is None else TimingLog(plan.timings_descriptor),
        now=monotonic_ns,
        kernel_stamps=stamped,
    )


def serve(plan: WorkerPlan, control: socket.socket, listener: socket.socket) -> None:
    """Be one worker until the parent says stop or is gone."""
    backend, _ = select_backend(plan.crypto)
    mailbox = Mailbox()
    limiter = None
    if plan.limit_descriptor is not None:
        limiter = SharedLimiter(plan.limit_descriptor, plan.limit_interval_ns, plan.limit_queue)
    answers = None
    if plan.answers_descriptor is not None:
        answers = Cycle(read_memory(plan.answers_descriptor), plan.index, plan.workers)
    descriptors = max(1, raise_descriptor_limit() - OWN_DESCRIPTORS)  # so that accept never meets the limit
    executor = CryptoExecutor(backend, mailbox.deliver)
    host = WorkerHost(
        plan,
        listener,
        backend=backend,
        server_key=backend.load_server_key(plan.server_key),
        executor=executor,
        registry=SharedRegistry(plan.registry_descriptor),
        reserve=None if limiter is None else limiter.reserve,
        answers=answers,
        now=monotonic_ns,
        wall=wall_ns,
        most=min(plan.max_connections or descriptors, descriptors),
        disturbance=disturbance_of(plan, listener),
    )
    gc.collect()
    gc.freeze()  # what stands now stands till the end
    ready_cpu_ns = process_cpu_ns()
    server = Server(
        host,
        mailbox,
        control,
        parent_pid=plan.parent_pid,
        cpu_ns=lambda: process_cpu_ns() - ready_cpu_ns,
        now=monotonic_ns,
    )
    try:
        server.run()
    finally:
        executor.close()


def main(arguments: list[str]) -> int:
    """Take the plan, serve, and tell the parent about an internal error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to decide on
    control = socket.socket(fileno=int(arguments[0]))
    listener = socket.socket(fileno=int(arguments[1]))
    message = control.recv(MAX_PLAN_SIZE)
    if not message:
        return 0
    control.setblocking(False)
    try:
        serve(msgspec.json.decode(message, type=WorkerPlan), control, listener)
    except Exception as error:  # whatever it is, the parent reports it
        with contextlib.suppress(OSError):
            control.send(msgspec.json.encode(WorkerReport(pid=os.getpid(), error=f"{type(error).__name__}: {error}")))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
