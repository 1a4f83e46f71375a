"""What many devices in flight cost: CPU per handshake and resident memory, from 100 to 10,000 in flight.

Closed loop against a replay cloud on a core of its own. Memory is the worker's resident size while all devices are in
flight, compared with the run of 100, and again with a run four times as long.

Usage: ``python -m tests.bench.bench_scale [SECONDS]`` (default 8 s a run).
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from tests.bench.harness import LOADGEN, Fleet, Json, cloud, cores, make_fleet, on_cores, result_of, scratch

IN_FLIGHT = (100, 1_000, 3_000, 10_000)


def children_of(pid: int) -> list[int]:
    """Child processes of ``pid``, and theirs."""
    try:
        direct = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return direct + [grandchild for child in direct for grandchild in children_of(child)]


def resident_kib(pid: int) -> int:
    """Resident memory of a process, KiB; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmRSS:")), 0)


def measure(port: int, fleet: Fleet, folder: Path, in_flight: int, seconds: float) -> tuple[Json, int]:
    """(record, largest resident KiB of the worker) of one run."""
    command = [*LOADGEN, "run", "--scenario", "ceiling", "--target", f"127.0.0.1:{port}", "--fleet", str(fleet.store),
               "--workers", "1", "--out", str(folder), "--json", "-q", "--concurrency", str(in_flight),
               "--timeout", "hello=20s", "--crypto", "openssl", "--duration", f"{seconds}s"]  # fmt: skip
    process = on_cores(cores()[0], command)
    largest = 0
    over = threading.Event()

    def watch() -> None:
        nonlocal largest
        while not over.wait(0.2):
            largest = max([largest, *map(resident_kib, children_of(process.pid))])

    watcher = threading.Thread(target=watch)
    watcher.start()
    record = result_of(process)
    over.set()
    watcher.join()
    return record, largest


def main(seconds: float) -> None:
    with scratch() as name:
        folder = Path(name)
        fleet = make_fleet(folder / "fleet", 10_000, 1)
        with cloud(fleet, "--mode", "replay", "--workers", "1") as port:
            base_us = base_kib = 0.0
            print(f"{'in flight':>9}  {'µs CPU per handshake':>20}  {'ratio':>5}  {'KiB per device':>14}  failed")
            for in_flight in IN_FLIGHT:
                record, kib = measure(port, fleet, folder, in_flight, seconds)
                cost_us = record["generator"]["cpu_us_per_handshake"]
                base_us, base_kib = base_us or cost_us, base_kib or kib
                extra = in_flight - IN_FLIGHT[0]
                per_device = f"{(kib - base_kib) / extra:14.1f}" if extra else f"{'–':>14}"
                failed = record["counts"]["failed"]
                print(f"{in_flight:>9,}  {cost_us:>20.1f}  {cost_us / base_us:>5.2f}  {per_device}  {failed}")
            _, short = measure(port, fleet, folder, 1_000, seconds)
            _, long = measure(port, fleet, folder, 1_000, seconds * 4)
            print(
                f"resident memory with 1,000 in flight: {short:,} KiB after {seconds:g} s, "
                f"{long:,} KiB after {4 * seconds:g} s"
            )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 8.0)
