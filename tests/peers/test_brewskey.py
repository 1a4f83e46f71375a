"""A fleet against Brewskey's spark-server: handshakes, sessions held with Describe answered, and its rejections."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.peers.brewskey import Server, install, running

pytestmark = pytest.mark.long

FIRMWARE = ("p1@0.5.5", "p1@0.6.4", "p1@0.7.0", "p1@1.5.2", "p1@2.3.1", "p1@3.3.1")
DEVICES = len(FIRMWARE)
HELD_S = 50


def loadgen(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "loadgen", *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=200
    )


def run(folder: Path, server: Server, fleet: str, *options: str) -> dict[str, Any]:
    target = f"127.0.0.1:{server.port}"
    # The server's RSA is slow JavaScript: a busy machine needs more than the 2 s of the firmware for a Hello.
    done = loadgen(
        folder, "run", "--target", target, "--fleet", fleet, "--timeout", "hello=10s", "--json", "-q", *options
    )
    assert done.stdout, done.stderr
    record: dict[str, Any] = json.loads(done.stdout)
    return record


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    install(folder)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("server")
    for name in ("fleet", "strangers"):
        made = loadgen(
            folder, "fleet", "generate", "--devices", str(DEVICES), "--keys", "2", "--fleet", f"{name}.sqlite"
        )
        assert made.returncode == 0, made.stderr
    exported = loadgen(folder, "fleet", "export", ".", "--format", "brewskey-db", "--fleet", "fleet.sqlite")
    assert exported.returncode == 0, exported.stderr
    return folder


@pytest.fixture(scope="module")
def server(packages: Path, folder: Path) -> Iterator[Server]:
    with running(packages, folder) as server:
        yield server


def test_sessions_of_every_generation_are_held(server: Server, folder: Path) -> None:
    hold = [
        "--firmware",
        ",".join(FIRMWARE),
        "--concurrency",
        str(DEVICES),
        "--hold",
        f"{2 * HELD_S}s",
        "--duration",
        f"{HELD_S}s",
    ]
    record = run(folder, server, "fleet.sqlite", *hold)
    assert [(each["name"], each["counts"]["completed"]) for each in record["firmware"]] == [
        (name, 1) for name in FIRMWARE
    ]
    assert record["failures"] == []
    assert record["session_failures"] == []  # its idle limit is 31 s: the pings of all this time were answered
    assert record["counts"]["started"] == DEVICES
    assert server.said("On device protocol initialization complete") == DEVICES  # Describe was answered
    assert DEVICES in [entry.get("devices") for entry in server.messages() if entry.get("msg") == "Connected Devices"]


def test_a_device_that_it_does_not_know_is_rejected(server: Server, folder: Path) -> None:
    key = str(folder / "data" / "default_key.pub.pem")
    options = ["--server-key", key, "--concurrency", "1", "--count", "2"]
    record = run(folder, server, "strangers.sqlite", *options)
    assert [(row["stage"], row["reason"], row["device_code"]) for row in record["failures"]] == [("key", "closed", -19)]
    assert server.said("no public key found for device") >= 2


def test_another_server_key_is_rejected_in_the_same_way(server: Server, folder: Path) -> None:
    record = run(folder, server, "strangers.sqlite", "--concurrency", "1", "--count", "2")
    assert [(row["stage"], row["reason"]) for row in record["failures"]] == [("key", "closed")]
    assert server.said("You probably have incorrect server key for device") >= 2
