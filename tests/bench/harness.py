"""What the benchmarks share: a fleet on disk, a mock cloud on a core of its own, and subprocesses pinned to another."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from loadgen.fleet.keystore import FleetStore

Json = dict[str, Any]
LOADGEN = [sys.executable, "-m", "loadgen"]


def cores() -> tuple[set[int], set[int]]:
    """(generator's cores, cloud's cores): the first core and the rest, or the same one where there is only one."""
    allowed = sorted(os.sched_getaffinity(0))
    return {allowed[0]}, set(allowed[1:]) or {allowed[0]}


def on_cores(wanted: set[int], command: Sequence[str], **options: Any) -> subprocess.Popen[str]:
    """Start ``command`` on the given cores."""
    command = ["taskset", "--cpu-list", ",".join(map(str, sorted(wanted))), *command]
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, **options)


def result_of(process: subprocess.Popen[str]) -> Json:
    """The JSON document that ``process`` prints."""
    out, _ = process.communicate()
    if not out.strip():
        sys.exit(f"{process.args!r} printed nothing and ended with {process.returncode}")
    document: Json = json.loads(out)
    return document


@dataclass(frozen=True)
class Fleet:
    """A fleet and its files for clients that are not loadgen."""

    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "fleet.sqlite"

    @property
    def server_key(self) -> Path:
        return self.folder / "server.der"

    @property
    def server_public_key(self) -> Path:
        return self.folder / "server.pub.der"

    @property
    def device_key(self) -> Path:
        return self.folder / "device.der"


def make_fleet(folder: Path, devices: int, keys: int) -> Fleet:
    """Generate a fleet and write out the keys that the C client and the mock cloud read."""
    fleet = Fleet(folder)
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        *LOADGEN,
        "fleet",
        "generate",
        "--devices",
        str(devices),
        "--keys",
        str(keys),
        "--fleet",
        str(fleet.store),
    ]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with FleetStore.open(fleet.store) as store:
        assert store.server_key_der is not None
        assert store.server_public_key is not None
        fleet.server_key.write_bytes(store.server_key_der)
        fleet.server_public_key.write_bytes(store.server_public_key)
        fleet.device_key.write_bytes(next(store.identities(0, 1, 1)).private_key_der)
        public = load_der_public_key(store.server_public_key)
    assert isinstance(public, rsa.RSAPublicKey)
    (folder / "server.pub.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return fleet


@contextlib.contextmanager
def cloud(fleet: Fleet, *options: str, wanted: set[int] | None = None) -> Iterator[int]:
    """A mock cloud as a user starts it, on its own cores; gives its port."""
    port = free_port()
    process = on_cores(
        wanted or cores()[1],
        [*LOADGEN, "cloud", "--listen", f"127.0.0.1:{port}", "--server-key", str(fleet.server_key),
         "--registry-keys", str(fleet.store), "--json", *options],
        stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    process.stderr.readline()  # it says where it listens
    try:
        yield port
    finally:
        process.terminate()
        process.communicate()


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def run_loadgen(port: int, fleet: Fleet, folder: Path, *options: str, wanted: set[int] | None = None) -> Json:
    """``loadgen run`` in the closed loop on the generator's core; its record."""
    command = [*LOADGEN, "run", "--scenario", "ceiling", "--target", f"127.0.0.1:{port}", "--fleet", str(fleet.store),
               "--workers", "1", "--out", str(folder), "--json", "-q", *options]  # fmt: skip
    return result_of(on_cores(wanted or cores()[0], command))


def per_cpu_second(result: Json) -> float:
    """Handshakes per CPU-second of a client that reports ``completed`` and ``cpu_s``."""
    return float(result["completed"]) / float(result["cpu_s"])


def median_of(values: Sequence[float]) -> float:
    """Median, for a table."""
    return statistics.median(values)


def scratch() -> tempfile.TemporaryDirectory[str]:
    """A folder for one benchmark."""
    return tempfile.TemporaryDirectory(prefix="loadgen-bench-")
