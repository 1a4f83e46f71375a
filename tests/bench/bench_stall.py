"""What a cloud that stalls looks like: ``python -m tests.bench.bench_stall``.

1,000/s for 5 s, and in the middle the cloud does nothing for a second. Who arrives in that second waits for its
end, so the schedule says what ``response`` must be; wanted is its p99 within 5 % of that. The generator starts its
handshakes as if nothing had happened: its lateness stands beside that of the same run without a stall.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
from pathlib import Path

from tests.bench.harness import LOADGEN, Fleet, Json, make_fleet, result_of, scratch

RATE = 1_000
SECONDS = 5
STALL_S = 1.0
QUANTILE = 0.99


def run(fleet: Fleet, folder: Path, *options: str) -> Json:
    """The record of the run, with its own replay cloud."""
    cloud = ("--cloud-mode", "replay", "--delay", "key:constant=20ms")
    command = [*LOADGEN, "run", "--rate", f"{RATE}/s", "--duration", f"{SECONDS}s", *cloud,
               "--fleet", str(fleet.store), "--out", str(folder), "--json", "-q", *options]  # fmt: skip
    return result_of(subprocess.Popen(command, text=True, stdout=subprocess.PIPE))


def implied_s(undisturbed_s: float) -> float:
    """The percentile of ``response`` that the schedule implies: what is left of the stall at the intended start.

    Args:
        undisturbed_s: a handshake without a stall, on top of that.
    """
    starts = RATE * SECONDS
    waits = sorted(max(0.0, STALL_S - number / RATE) if number < RATE * STALL_S else 0.0 for number in range(starts))
    return waits[math.ceil(QUANTILE * starts) - 1] + undisturbed_s


def main() -> None:
    """Run both and compare; exits with 1 where more than 5 % are missing."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    with scratch() as folder:
        fleet = make_fleet(Path(folder), 2_000, 1)
        calm = run(fleet, Path(folder))
        stalled = run(fleet, Path(folder), "--stall", "2s:1s")
        for name, record in (("calm", calm), ("stalled", stalled)):
            lag, response = record["stages"]["schedule_lag"], record["stages"]["response"]
            print(
                f"{name:<8} response p50 {response['p50_us'] / 1e3:,.2f} ms, p99 {response['p99_us'] / 1e3:,.1f} ms; "
                f"lateness p50 {lag['p50_us']:,.0f} us, p99 {lag['p99_us']:,.0f} us; "
                f"{record['counts']['failed']} failed, {record['validity']['verdict']}"
            )
        wanted_s = implied_s(calm["stages"]["response"]["p50_us"] / 1e6)
        error = stalled["stages"]["response"]["p99_us"] / 1e6 / wanted_s - 1
        print(f"the schedule implies a p99 of {wanted_s * 1e3:,.1f} ms: {error:+.1%} (wanted: 5 % at most)")
        if abs(error) > 0.05:
            sys.exit(1)


if __name__ == "__main__":
    main()
