"""Cost of metrics that are scraped every second: ``python -m tests.bench.bench_prometheus [SECONDS] [ROUNDS]``.

The same closed loop with and without ``--prometheus`` in turns, against one replaying cloud on a core of its own.
Printed are completions per second and the ratio of the medians. The limit is 3 %.
"""

from __future__ import annotations

import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

from tests.bench.harness import Fleet, cloud, free_port, make_fleet, median_of, run_loadgen, scratch

LIMIT = 0.97


def rate(port: int, fleet: Fleet, folder: Path, seconds: float, *, scraped: bool) -> tuple[float, int]:
    """Completions per second of one run, and how often it was scraped."""
    options = ["--duration", f"{seconds:g}s"]
    if not scraped:
        return float(run_loadgen(port, fleet, folder, *options)["rate"]["completed_per_s"]), 0
    metrics, done, scrapes = free_port(), threading.Event(), []

    def scrape() -> None:
        while not done.wait(1.0):
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{metrics}/metrics", timeout=5) as answer:
                    scrapes.append(len(answer.read()))
            except urllib.error.URLError:  # not there yet
                continue

    client = threading.Thread(target=scrape)
    client.start()
    try:
        record = run_loadgen(port, fleet, folder, *options, "--prometheus", f":{metrics}")
    finally:
        done.set()
        client.join()
    return float(record["rate"]["completed_per_s"]), len(scrapes)


def main() -> None:
    """Print the rates; exit 1 where the cost is above the limit."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    rates: dict[bool, list[float]] = {False: [], True: []}
    with scratch() as name:
        fleet = make_fleet(Path(name), 1_000, 8)
        with cloud(fleet, "--mode", "replay", "--workers", "1") as port:
            for number in range(2 * rounds):
                scraped = number % 2 == 1
                per_s, scrapes = rate(port, fleet, Path(name), seconds, scraped=scraped)
                rates[scraped].append(per_s)
                print(f"{'scraped' if scraped else 'plain':8} {per_s:10,.1f}/s  {scrapes} scrapes", flush=True)
    ratio = median_of(rates[True]) / median_of(rates[False])
    print(f"medians: plain {median_of(rates[False]):,.1f}/s, scraped {median_of(rates[True]):,.1f}/s: {ratio:.4f}")
    if ratio < LIMIT:
        sys.exit(f"below the limit of {LIMIT:g}")


if __name__ == "__main__":
    main()
