"""What the native kernel brings, beside OpenSSL in the same run: operations, the generator, the mock cloud.

Every comparison takes turns, so that a noisy neighbour hits all alike; medians and ratios are what counts. Targets are
those of a CPU with AVX-512 IFMA.

Usage: ``python -m tests.bench.bench_native_backend [ROUNDS [SECONDS]]`` (default 5 rounds of 4 s).
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from loadgen.crypto import backends
from tests.bench.bench_throughput import build_c_client, one_round
from tests.bench.harness import (
    LOADGEN,
    Fleet,
    Json,
    cloud,
    cores,
    free_port,
    make_fleet,
    median_of,
    on_cores,
    result_of,
    run_loadgen,
    scratch,
)

OPERATION_TARGETS = {
    "rsa1024_private": 4.0,
    "encrypt_nonce": 3.0,
    "rsa2048_private": 1.8,
    "device_side": 3.5,
}
"""Times OpenSSL in full lanes; ``encrypt_nonce`` is the RSA-2048 public operation with its padding."""
GENERATOR_TARGET = 1.25
CLOUD_TARGET = 1.7


def say(what: str, ratio: float, target: float, beside: str) -> None:
    """One line of the result."""
    verdict = "reached" if ratio >= target else "MISSED"
    print(f"  {what:<44} {ratio:5.2f} × {beside:<20} target {target:.2f}: {verdict}")


def operations(folder: Path) -> None:
    """RSA and the whole device side, from the crypto benchmark."""
    command = [*LOADGEN, "crypto", "--json", "-q", "--out", str(folder)]
    record = result_of(subprocess.Popen(command, text=True, stdout=subprocess.PIPE))
    ratios = {
        result["operation"]: result["ratio_to_openssl"]
        for result in record["operations"]
        if result["backend"] == "native" and result["batch_size"] == 8
    }
    print("operations in full lanes, CPU time")
    for operation, target in OPERATION_TARGETS.items():
        say(operation, ratios[operation], target, "OpenSSL")


def generator(folder: Path, rounds: int, seconds: str) -> None:
    """Handshakes per CPU-second of the whole generator against a replay cloud."""
    fleet = make_fleet(folder / "one-key", 1_000, 1)
    c_client = build_c_client(folder)
    with cloud(fleet, "--mode", "replay", "--workers", "1") as port:
        figures = [one_round(port, fleet, folder, c_client, seconds) for _ in range(rounds)]
    print(f"handshakes per generator CPU-second, replay cloud, recording on, {rounds} rounds of {seconds} s")
    for client in figures[0]:
        print(f"  {client:<44} {median_of([figure[client] for figure in figures]):7,.0f}")
    yardstick = "C, epoll, OpenSSL" if c_client is not None else "loadgen, openssl"
    for client in ("loadgen, native", "loadgen, auto"):
        ratios = [figure[client] / figure[yardstick] for figure in figures]
        say(client, median_of(ratios), GENERATOR_TARGET, yardstick)


def full_cloud(fleet: Fleet, folder: Path, crypto: str, seconds: str) -> Json:
    """The account of a mock cloud that does all its RSA, loaded by a closed loop."""
    port = free_port()
    command = [*LOADGEN, "cloud", "--listen", f"127.0.0.1:{port}", "--server-key", str(fleet.server_key),
               "--registry-keys", str(fleet.store), "--workers", "1", "--crypto", crypto, "--json"]  # fmt: skip
    process = on_cores(cores()[1], command, stderr=subprocess.PIPE)
    assert process.stderr is not None
    process.stderr.readline()  # it says where it listens
    record = run_loadgen(port, fleet, folder, "--duration", f"{seconds}s", "--warmup", "1s")
    if record["counts"]["failed"]:
        sys.exit(f"loadgen counted failures: {record['failures']}")
    process.terminate()
    out, _ = process.communicate()
    report: Json = json.loads(out)
    return report


def mock_cloud(folder: Path, rounds: int, seconds: str) -> None:
    """Handshakes per CPU-second of the mock cloud with full crypto, 1,000 distinct keys."""
    fleet = make_fleet(folder / "distinct", 2_000, 1_000)
    figures: dict[str, list[float]] = {name: [] for name in ("openssl", "native", "auto")}
    for _ in range(rounds):
        for name, values in figures.items():
            report = full_cloud(fleet, folder, name, seconds)
            values.append(report["handshakes"] / report["cpu_s"])
    print(f"handshakes per CPU-second of the mock cloud, full crypto, {rounds} rounds of {seconds} s")
    for name, values in figures.items():
        print(f"  {name:<44} {median_of(values):7,.0f}")
    for name in ("native", "auto"):
        ratios = [ours / openssl for ours, openssl in zip(figures[name], figures["openssl"], strict=True)]
        say(name, median_of(ratios), CLOUD_TARGET, "OpenSSL")


def main(rounds: int, seconds: str) -> None:
    if "native" not in backends.available():
        print(f"There is nothing to compare: {backends.kernel().problem}.")
        return
    with scratch() as name:
        operations(Path(name))
        generator(Path(name), rounds, seconds)
        mock_cloud(Path(name), rounds, seconds)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5, sys.argv[2] if len(sys.argv) > 2 else "4")
