"""How whole runs end that do not end by themselves: signals, workers that hang, a machine without ports."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loadgen import clock
from loadgen.errors import ExitCode

ROOT = Path(__file__).parents[2]
NO_NAMESPACE = 77


class Run:
    """``loadgen run`` in a process of its own, in a new folder."""

    def __init__(
        self, folder: Path, fleet: Path, *options: str, program: str = "", ignore_hangup: bool = False
    ) -> None:
        self._folder = folder
        code = f"{program}\nimport sys\nfrom loadgen.cli import main\nsys.exit(main())"
        places = ["--fleet", str(fleet), "--out", str(folder), "--seed", "1", "--workers", "1", "--cloud-workers", "1"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, "run", *places, *options],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=(lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) if ignore_hangup else None,  # noqa: PLW1509
        )

    def wait_until(self, true: Callable[[], bool]) -> None:
        limit = clock.monotonic_ns() + 30 * clock.NS_PER_S
        while not true():
            assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
            assert clock.monotonic_ns() < limit
            clock.sleep_s(0.02)

    def has_measured(self) -> bool:
        """The first second is in the record."""
        return any(path.stat().st_size for path in self._folder.glob("*/intervals.jsonl"))

    def worker(self) -> int:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_text() for pid in children}
        return next(pid for pid, command in commands.items() if "engine.shard" in command)

    def end(self) -> tuple[int, dict[str, Any], str]:
        """Exit code, record, and what was said."""
        _, said = self.process.communicate(timeout=60)
        records = list(self._folder.glob("*/run.json"))
        return self.process.returncode, json.loads(records[0].read_text()) if records else {}, said


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_terminal_that_goes_away_is_an_interruption(fleet_path: Path, tmp_path: Path, number: int) -> None:
    run = Run(tmp_path, fleet_path, "--rate", "50/s", "--duration", "60s")
    run.wait_until(run.has_measured)
    run.process.send_signal(number)
    code, record, said = run.end()
    assert code == ExitCode.INTERRUPTED
    assert record["status"] == "interrupted"
    assert record["counts"]["completed"] > 0
    assert "Interrupted: finishing what is in flight" in said


def test_a_run_that_shall_survive_its_terminal_does(fleet_path: Path, tmp_path: Path) -> None:
    run = Run(tmp_path, fleet_path, "--rate", "50/s", "--duration", "2s", ignore_hangup=True)
    run.wait_until(run.has_measured)
    run.process.send_signal(signal.SIGHUP)
    _, record, _ = run.end()
    assert record["status"] == "complete"


@pytest.mark.long
def test_a_stopped_worker_does_not_keep_a_run_from_its_end(fleet_path: Path, tmp_path: Path) -> None:
    run = Run(tmp_path, fleet_path, "--rate", "50/s", "--duration", "3s")
    run.wait_until(run.has_measured)
    os.kill(run.worker(), signal.SIGSTOP)
    stopped_ns = clock.monotonic_ns()
    code, record, said = run.end()
    assert clock.monotonic_ns() - stopped_ns < 20 * clock.NS_PER_S
    assert code == ExitCode.INCONCLUSIVE
    assert record["status"] == "complete"
    assert record["workers"][0]["lost_reason"] == "worker 0 does not answer"
    assert "lost_worker" in {finding["code"] for finding in record["validity"]["findings"]}
    assert "Lost: worker 0 does not answer" in said
    counts = record["counts"]
    assert counts["started"] == counts["completed"] + counts["failed"] + counts["aborted"]


ALONE = f"""
import ctypes, fcntl, os, socket, struct
NEW_USER, NEW_NETWORK = 0x10000000, 0x40000000  # CLONE_… of include/uapi/linux/sched.h
libc = ctypes.CDLL(None, use_errno=True)
if libc.unshare(NEW_NETWORK) and libc.unshare(NEW_USER | NEW_NETWORK):
    os._exit({NO_NAMESPACE})
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:  # SIOCSIFFLAGS: lo up and running
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as ports:
    ports.write("40000 40039")
"""
"""A network of the run's own, in which one address has forty local ports."""


@pytest.mark.namespace
def test_a_machine_without_a_free_port_makes_the_run_invalid_and_loses_no_handshake(
    fleet_path: Path, tmp_path: Path
) -> None:
    """Closes with FIN keep a port for a second at least; forty of them are gone in a fifth of one."""
    options = ("--rate", "200/s", "--duration", "2s", "--close", "fin", "--source-ip", "127.0.0.9")
    code, record, said = Run(tmp_path, fleet_path, *options, program=ALONE).end()
    if code == NO_NAMESPACE:
        pytest.skip("this process may not make a network namespace")
    counts = record["counts"]
    (found,) = (finding for finding in record["validity"]["findings"] if finding["code"] == "ports_exhausted")
    (failed,) = record["failures"]
    assert (failed["stage"], failed["reason"], failed["device_code"]) == ("connect", "local_resource", None)
    assert found["level"] == "invalid"
    assert found["observed"] == failed["count"] == counts["failed"] > 10
    assert counts["completed"] >= 40
    assert counts["intended"] == counts["started"] + counts["not_started"] == 400
    assert counts["started"] == counts["completed"] + counts["failed"] + counts["aborted"]
    assert code == ExitCode.INCONCLUSIVE
    assert "more than the 40 of one source address" in said, "the run had been warned"
