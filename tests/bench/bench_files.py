"""Exporting 10,000 identities with a key each, importing and verifying them, and the same again byte for byte.

Usage: ``python -m tests.bench.bench_files [DEVICES]``
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from tests.bench.harness import LOADGEN, make_fleet, scratch

LIMIT_S = 10.0


def timed(what: str, files: int, *arguments: str) -> None:
    """Run one command and say how long it took, and what memory."""
    begin = time.monotonic()
    subprocess.run([*LOADGEN, "fleet", *arguments, "-q"], check=True, stdout=subprocess.DEVNULL)
    wall_s = time.monotonic() - begin
    peak_mb = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    verdict = "" if wall_s < LIMIT_S else f"  <- more than {LIMIT_S:.0f} s"
    print(f"{what:<38} {wall_s:6.2f} s  {files / wall_s:9,.0f} files/s  peak {peak_mb:4.0f} MB{verdict}")


def content(folder: Path) -> dict[str, bytes]:
    """Name → bytes of every file."""
    return {entry.name: Path(entry.path).read_bytes() for entry in os.scandir(folder)}


def main() -> None:
    devices = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with scratch() as name:
        folder = Path(name)
        fleet = str(make_fleet(folder, devices, devices).store)
        for form, files in (("particle-cli", 3), ("der", 1), ("spark-server", 1)):
            first, second = folder / form, folder / f"{form}-again"
            count = devices * files
            timed(f"export {form}", count, "export", str(first), "--format", form, "--fleet", fleet)
            timed(f"import {form}", count, "import", str(first), "--fleet", str(folder / f"{form}.sqlite"))
            timed(f"verify {form}", count, "verify", str(first))
            again = ("--format", form, "--fleet", str(folder / f"{form}.sqlite"))
            timed(f"export {form} again", count, "export", str(second), *again)
            if form != "spark-server":  # whose keys are in a folder of their own
                assert content(first) == content(second), "the round trip is not byte-exact"
            else:
                assert content(first / "core_keys") == content(second / "core_keys"), "the round trip is not byte-exact"
        print("every file was the same after the round trip")


if __name__ == "__main__":
    main()
