"""Making and loading a fleet: 1,000 distinct keys on every core, and the start of a run with 10,000 devices.

Usage: ``python -m tests.bench.bench_fleet``
"""

from __future__ import annotations

import os
import resource
import subprocess
import time
from pathlib import Path

from tests.bench.harness import LOADGEN, make_fleet, scratch


def main() -> None:
    with scratch() as name:
        folder = Path(name)
        before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        fleet = make_fleet(folder / "fleet", 10_000, 1_000)
        wall, after = time.monotonic() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        allowed = len(os.sched_getaffinity(0))
        print(f"1,000 keys, 10,000 devices: {wall:.1f} s, {cpu / wall:.2f} of {allowed} cores busy")
        begin = time.monotonic()
        command = [*LOADGEN, "run", "--fleet", str(fleet.store), "--count", "1", "--rate", "1000", "--duration", "1s"]
        subprocess.run([*command, "--out", str(folder / "results"), "-q"], check=True, stdout=subprocess.DEVNULL)
        print(f"a run of one handshake with a fleet of 10,000 devices, start to end: {time.monotonic() - begin:.2f} s")


if __name__ == "__main__":
    main()
