"""What the logs of virtual devices cost: ``python -m tests.bench.bench_trace_log [HANDSHAKES]``, 5,000 by default.

In the worker: handshakes of a driver on a network in memory, without crypto, so that nothing hides the difference; with
no log asked for, with those of other devices, and with every device keeping one, in turns. In the parent: the lines of
these handshakes, made and written. CPU time, the smallest of several turns.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from loadgen import clock
from loadgen.cli.trace_log import Logged, TraceLog, TraceRequest
from loadgen.protocol.firmware import P1_0_7_0
from tests.engine.fakes import MS, SECOND, Bench, plan

TURNS = 9
DEVICES = 500
RATE = 50_000
NAMES = {"no logs": (), "logs of other devices": (DEVICES * 2,), "logs of every device": tuple(range(DEVICES))}


def drive(handshakes: int, logged: tuple[int, ...]) -> tuple[int, bytes]:
    """CPU time of a worker, ns, and what its devices have noted."""
    load = plan(rate_numerator=RATE, count=handshakes, duration_ns=None, max_in_flight=DEVICES, logged=logged)
    bench = Bench(load, devices=DEVICES)
    bench.driver.begin(bench.begin)
    begin_ns = clock.thread_cpu_ns()
    while not bench.driver.finished:
        bench.advance(bench.now - bench.begin + SECOND, step_ns=MS)
    return clock.thread_cpu_ns() - begin_ns, bench.driver.moments.tobytes()


def write(moments: bytes) -> int:
    """CPU time of the parent, ns."""
    devices = [Logged(number, number.to_bytes(12, "big"), P1_0_7_0) for number in range(DEVICES)]
    with TemporaryDirectory() as folder:
        request = TraceRequest(Path(folder) / "logs", DEVICES)
        with TraceLog(request, plan(), devices) as log:
            log.begin(0)
            begin_ns = clock.thread_cpu_ns()
            log.add(moments)
            return clock.thread_cpu_ns() - begin_ns


def main(handshakes: int) -> int:
    """Print what a handshake costs."""
    spent: dict[str, list[int]] = {name: [] for name in NAMES}
    written = []
    for _ in range(TURNS):
        for name, logged in NAMES.items():
            cpu_ns, moments = drive(handshakes, logged)
            spent[name].append(cpu_ns)
        written.append(write(moments))
    for name, times_ns in spent.items():
        print(f"worker, {name}: {min(times_ns) / handshakes / clock.NS_PER_US:.1f} µs of CPU a handshake")
    print(f"parent, logs of every device: {min(written) / handshakes / clock.NS_PER_US:.1f} µs of CPU a handshake")
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 5_000))
