"""How late starts are, and what kernel stamps cost: ``python -m tests.bench.bench_lateness``.

Lateness: Poisson arrivals at 2,000/s on one core, against a replay cloud on another; wanted are p50 ≤ 100 µs and
p99 ≤ 1 ms. Stamps: the closed loop with kernel stamps and without, in turns; wanted is a loss of 10 % at most.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.bench.harness import Fleet, Json, cloud, make_fleet, median_of, run_loadgen, scratch

RATE = 2_000


def lateness(port: int, fleet: Fleet, folder: Path, seed: int) -> Json:
    """The record of an open loop; its ``schedule_lag`` is the answer."""
    phases = ["--phase", f"warmup poisson {RATE}/s for 1s", "--phase", f"poisson {RATE}/s for 5s"]
    return run_loadgen(port, fleet, folder, *phases, "--seed", str(seed), "--cloud-mode", "replay")


def throughput(port: int, fleet: Fleet, folder: Path, stamps: str) -> float:
    """Completed handshakes per second of the closed loop."""
    options = ("--timestamps", stamps, "--warmup", "1s", "--duration", "4s", "--cloud-mode", "replay")
    return float(run_loadgen(port, fleet, folder, *options)["rate"]["completed_per_s"])


def main() -> None:
    """Run both and print a table each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    with scratch() as folder:
        fleet = make_fleet(Path(folder), devices=2_000, keys=1)
        with cloud(fleet, "--mode", "replay", "--workers", "1") as port:
            print(f"start lateness, Poisson at {RATE:,}/s on one core (wanted: p50 <= 100 us, p99 <= 1000 us)")
            for seed in range(1, rounds + 1):
                record = lateness(port, fleet, Path(folder), seed)
                lag = record["stages"]["schedule_lag"]
                print(
                    f"  seed {seed}: p50 {lag['p50_us']:,.1f} us, p99 {lag['p99_us']:,.1f} us, "
                    f"max {lag['max_us']:,.0f} us, "
                    f"generator CPU {record['generator']['cpu_utilisation']:.0%}"
                )  # fmt: skip
            rates: dict[str, list[float]] = {"user": [], "kernel": []}
            for turn in range(rounds):
                for stamps in sorted(rates, reverse=bool(turn % 2)):
                    rates[stamps].append(throughput(port, fleet, Path(folder), stamps))
            user, kernel = median_of(rates["user"]), median_of(rates["kernel"])
            print("closed loop, median of handshakes/s (wanted: a loss of 10 % at most)")
            print(f"  user stamps {user:,.0f}/s, kernel stamps {kernel:,.0f}/s: {1 - kernel / user:.1%} lost")


if __name__ == "__main__":
    main()
