"""Time of ``loadgen compare`` on 20 records with all their stages: ``python tests/bench/bench_compare.py``.

Measured are whole processes, from start to exit, as a CI job waits for them. The target is 1 s.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from tests.analysis.runs import write_set  # noqa: E402 - the path comes first

REPEATS = 7
LIMIT_S = 1.0


def main() -> None:
    """Print the median and the worst of some repeats; exit 1 above the target."""
    with tempfile.TemporaryDirectory() as name:
        results = Path(name)
        write_set(results, "base", 10)
        write_set(results, "new", 10, 1.05)
        size = sum(path.stat().st_size for path in results.glob("*/run.json"))
        sides = [str(results / "*-base-*"), str(results / "*-new-*")]
        for what, more in (("family and medians", []), ("every metric", ["--all"])):
            times = []
            for _ in range(REPEATS):
                begin = time.perf_counter()
                command = [sys.executable, "-m", "loadgen", "compare", *sides, *more]
                subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
                times.append(time.perf_counter() - begin)
            print(
                f"20 records ({size / 1e6:.1f} MB), {what}: median {statistics.median(times):.2f} s, "
                f"worst {max(times):.2f} s"
            )
            if statistics.median(times) > LIMIT_S:
                sys.exit(f"above the target of {LIMIT_S:g} s")


if __name__ == "__main__":
    main()
