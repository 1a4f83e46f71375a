"""How fast an HTML page of a ten-minute run is made: ``python -m tests.bench.bench_html``.

Writes a record with both logs into a temporary folder, then times the whole command, start of the interpreter included.
Wanted is less than 2 s for one run of ten minutes.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from loadgen import clock
from tests.report.made_logs import write_logged


def seconds(folders: list[Path], out: Path) -> float:
    """Wall time of one ``loadgen report``."""
    command = [sys.executable, "-m", "loadgen", "report", *map(str, folders), "-o", str(out)]
    begun_ns = clock.monotonic_ns()
    subprocess.run(command, check=True)
    return (clock.monotonic_ns() - begun_ns) / clock.NS_PER_S


def main() -> None:
    """Print time and size, of one run and of several on one page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--rate", type=int, default=1_000, help="handshakes per second")
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / f"run-{index}" for index in range(chosen.runs)]
        for seed, folder in enumerate(folders, start=1):
            write_logged(folder, seconds=60 * chosen.minutes, per_second=chosen.rate, seed=seed)
        out = Path(name) / "report.html"
        for count in sorted({1, chosen.runs}):
            took = [seconds(folders[:count], out) for _ in range(chosen.rounds if count == 1 else 1)]
            wanted = "   (wanted: less than 2 s)" if count == 1 else ""
            size = out.stat().st_size / 1e6
            print(f"{count:3} of {chosen.minutes} min  {median(took):6.2f} s  {size:5.2f} MB, whole command{wanted}")


if __name__ == "__main__":
    main()
