"""Complete handshakes per generator CPU-second, side by side: loadgen, a naive uvloop client, a C client on OpenSSL.

All of them drive the same replay cloud, which has a core of its own, in turns, so that a noisy neighbour hits all
alike; medians and ratios are what counts. loadgen's CPU is that of all its processes and threads, recording,
timeouts and failure handling on; the others do nothing but handshakes.

Usage: ``python -m tests.bench.bench_throughput [ROUNDS [SECONDS]]`` (default 5 rounds of 4 s).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from loadgen.crypto.backends import available
from tests.bench.harness import (
    Fleet,
    cloud,
    cores,
    make_fleet,
    median_of,
    on_cores,
    per_cpu_second,
    result_of,
    run_loadgen,
    scratch,
)

HERE = Path(__file__).parent
CONCURRENCY = 64


def build_c_client(folder: Path) -> Path | None:
    """Compile the C client; None where there is no compiler or no OpenSSL to compile with."""
    target = folder / "c_client"
    if shutil.which("cc") is None:
        return None
    command = ["cc", "-O2", "-o", str(target), str(HERE / "c_client.c"), "-lcrypto"]
    return target if subprocess.run(command, check=False, capture_output=True).returncode == 0 else None


def one_round(port: int, fleet: Fleet, folder: Path, c_client: Path | None, seconds: str) -> dict[str, float]:
    """Handshakes per CPU-second of every client, one after the other."""
    generator = cores()[0]
    naive = [sys.executable, str(HERE / "naive_client.py"), "127.0.0.1", str(port), str(fleet.store), str(CONCURRENCY)]
    figures = {"naive uvloop": per_cpu_second(result_of(on_cores(generator, [*naive, seconds])))}
    if c_client is not None:
        arguments = [
            "127.0.0.1",
            str(port),
            str(fleet.device_key),
            str(fleet.server_public_key),
            str(CONCURRENCY),
            seconds,
        ]
        figures["C, epoll, OpenSSL"] = per_cpu_second(result_of(on_cores(generator, [str(c_client), *arguments])))
    for backend in backends():
        record = run_loadgen(port, fleet, folder, "--duration", f"{seconds}s", "--crypto", backend)
        if record["counts"]["failed"]:
            sys.exit(f"loadgen counted failures: {record['failures']}")
        figures[f"loadgen, {backend}"] = 1e6 / record["generator"]["cpu_us_per_handshake"]
    return figures


def backends() -> list[str]:
    """The crypto backends of this machine."""
    return list(available())


def full_crypto(folder: Path, seconds: str) -> float:
    """Handshakes per CPU-second against a cloud that does all its RSA, with 1,000 distinct keys."""
    fleet = make_fleet(folder / "distinct", 2_000, 1_000)
    with cloud(fleet, "--workers", "1") as port:
        record = run_loadgen(port, fleet, folder, "--duration", f"{seconds}s", "--crypto", "openssl")
    return float(1e6 / record["generator"]["cpu_us_per_handshake"])


def print_table(figures: list[dict[str, float]]) -> None:
    """The median of each client, its ratio to either yardstick (median of the rounds' ratios), and the extremes."""
    yardsticks = {"× naive": "naive uvloop", "× C": "C, epoll, OpenSSL"}
    print(f"  {'':<20} {'median':>7}  {'  '.join(f'{head:>7}' for head in yardsticks)}  lowest … highest")
    for client in figures[0]:
        values = [figure[client] for figure in figures]
        cells = [f"{median_of(values):7,.0f}"]
        for yardstick in yardsticks.values():
            ratios = [figure[client] / figure[yardstick] for figure in figures if yardstick in figure]
            cells.append(f"{median_of(ratios):7.2f}" if ratios else f"{'–':>7}")
        print(f"  {client:<20} {'  '.join(cells)}  {min(values):,.0f} … {max(values):,.0f}")


def main(rounds: int, seconds: str) -> None:
    with scratch() as name:
        folder = Path(name)
        fleet = make_fleet(folder / "one-key", 1_000, 1)
        c_client = build_c_client(folder)
        with cloud(fleet, "--mode", "replay", "--workers", "1") as port:
            figures = [one_round(port, fleet, folder, c_client, seconds) for _ in range(rounds)]
        print(f"complete handshakes per generator CPU-second, median of {rounds} rounds of {seconds} s")
        print_table(figures)
        print(f"  loadgen, openssl, full-crypto cloud, 1,000 keys: {full_crypto(folder, seconds):,.0f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, sys.argv[2] if len(sys.argv) > 2 else "4")
