"""How fast a history of many records is: ``python -m tests.bench.bench_history``.

Writes records into a temporary folder, then times the whole command, start of the interpreter included: with no index
yet, with one that is up to date, and after one more run. Wanted is less than 1 s with an index for 10,000 records.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

from loadgen import clock
from tests.analysis.runs import made_record, write

SCENARIOS = ("quick", "ci", "storm")


def write_records(folder: Path, first: int, count: int) -> None:
    """Records that differ as runs do, of three scenarios."""
    generator = np.random.default_rng(first)
    for index in range(first, first + count):
        record = made_record(index, float(np.exp(0.03 * generator.standard_normal())))
        record.scenario = {**record.scenario, "name": SCENARIOS[index % len(SCENARIOS)]}
        write(folder, record)


def seconds(folder: Path, *arguments: str) -> float:
    """Wall time of one ``loadgen history``."""
    command = [sys.executable, "-m", "loadgen", "history", "-q", "--results", str(folder), *arguments]
    begun_ns = clock.monotonic_ns()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return (clock.monotonic_ns() - begun_ns) / clock.NS_PER_S


def main() -> None:
    """Print a line for each state of the index."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_records(folder, 0, chosen.records)
        print(f"{chosen.records:,} records, whole command")
        print(f"  no index yet       {seconds(folder):6.2f} s")
        with_index = [seconds(folder) for _ in range(chosen.rounds)]
        print(f"  index up to date   {median(with_index):6.2f} s   median of {chosen.rounds} (wanted: less than 1 s)")
        write_records(folder, chosen.records, 1)
        print(f"  after one more run {seconds(folder):6.2f} s")
        print(f"  all rows as JSON   {seconds(folder, '--limit', '0', '--json'):6.2f} s")


if __name__ == "__main__":
    main()
