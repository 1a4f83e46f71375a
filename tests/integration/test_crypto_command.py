"""``loadgen crypto`` as a user starts it, on the CPU that there is."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from loadgen.crypto import backends
from loadgen.cryptostore import CRYPTO_FILE, load_crypto_record
from loadgen.errors import ExitCode

COMMAND = [sys.executable, "-m", "loadgen", "crypto"]
ENVIRONMENT = {**os.environ, "NO_COLOR": "1", "COLUMNS": "80"}


def crypto(folder: Path, *options: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "--out", str(folder), *options]
    environment = {**ENVIRONMENT, **more}
    return subprocess.run(command, env=environment, text=True, capture_output=True, timeout=120, check=False)


def the_record(folder: Path) -> Any:
    (found,) = folder.iterdir()
    return load_crypto_record(found)


def test_a_quick_look_as_json(tmp_path: Path) -> None:
    done = crypto(tmp_path, "--quick", "--json", "--sizing", "50000/s", "--label", "here", "-q")
    assert (done.returncode, done.stderr) == (ExitCode.OK, "")
    document = json.loads(done.stdout)
    (folder,) = tmp_path.iterdir()
    assert document == json.loads((folder / CRYPTO_FILE).read_text())
    assert folder.name.endswith(f"-crypto-here-{document['id']}")
    record = load_crypto_record(folder)
    names = [name for name in backends.available() if name != "auto"]
    assert record.backends == names
    assert record.kernel.problem == backends.kernel().problem
    assert {result.batch_size for result in record.operations} == {1, 8}
    assert all(result.cpu_ns and result.wall.count for result in record.operations)
    assert {(result.side, result.threads) for result in record.threads} >= {("device", 1), ("cloud", 1)}
    assert record.sizing is not None
    assert {(row.side, row.backend) for row in record.sizing.rows} == {
        (side, name) for side in ("device", "cloud") for name in names
    }
    assert record.openssl_speed.results == []
    assert record.duration_s < 30


@pytest.mark.ifma
def test_full_lanes_beat_openssl(tmp_path: Path) -> None:
    """Far below what is reached, so that a busy machine passes too: lanes that do nothing would not."""
    if "native" not in backends.available():
        pytest.skip("the native kernel cannot be used here")
    assert crypto(tmp_path, "--quick", "-q").returncode == ExitCode.OK
    ratios = {
        result.operation: result.ratio_to_openssl
        for result in the_record(tmp_path).operations
        if result.backend == "native" and result.batch_size == 8
    }
    assert ratios["device_side"] > 2
    assert ratios["cloud_side"] > 1.2


def test_a_table_for_people(tmp_path: Path) -> None:
    done = crypto(tmp_path, "--quick")
    assert done.returncode == ExitCode.OK
    lines = done.stdout.splitlines()
    assert lines[0].startswith("Crypto of the handshake on ")
    assert "Handshakes per second and core" in done.stdout
    assert lines[-1].startswith("Record  ")
    assert max(len(line) for line in lines[:-1]) <= 80
    assert "Measuring" in done.stderr


def test_without_the_kernel_openssl_is_measured_and_it_is_said(tmp_path: Path) -> None:
    done = crypto(tmp_path, "--quick", LOADGEN_NATIVE_ISA="none-of-these")
    assert done.returncode == ExitCode.OK
    assert "warning: Only OpenSSL is measured: " in done.stderr
    assert the_record(tmp_path).backends == ["openssl"]


def test_an_interrupt_leaves_a_record(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--out", str(tmp_path), "--duration", "15s"],
        env=ENVIRONMENT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    # Where lanes are missing, a warning comes first.
    assert any(line.startswith("Measuring") for line in process.stderr)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == ExitCode.INTERRUPTED
    assert "interrupted" in " ".join(out.split())[:120]
    record = the_record(tmp_path)
    assert record.status == "interrupted"
    assert record.rounds == 1
