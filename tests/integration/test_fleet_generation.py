"""A fleet whose making is killed at any time, in real processes."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loadgen.fleet.generate import generate
from loadgen.fleet.keystore import FleetStore

DEVICES, KEYS = 120, 60
PROGRAM = """
import sys
from pathlib import Path
from loadgen.fleet.generate import generate
generate(Path(sys.argv[1]), devices=int(sys.argv[2]), keys=int(sys.argv[3]), seed=1,
         progress=lambda done, total: print(done, flush=True))
"""


def generation(path: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PROGRAM, str(path), str(DEVICES), str(KEYS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT], ids=["kill", "Ctrl-C"])
def test_an_ended_generation_goes_on_to_the_same_fleet(tmp_path: Path, signal_number: signal.Signals) -> None:
    path = tmp_path / "fleet.sqlite"
    with generation(path) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) >= KEYS // 2:
                process.send_signal(signal_number)
                break
        process.stdout.read()
    assert process.returncode != 0
    with FleetStore.open(path, allow_unfinished=True) as store:
        present = dict(enumerate(store.keys()))
        missing = store.missing_keys()
        assert len(present) + len(missing) == KEYS
        if signal_number is signal.SIGINT:
            assert len(present) >= KEYS // 2
    with generate(path, devices=DEVICES, keys=KEYS) as store:
        keys = list(store.keys())
        assert [key for number, key in enumerate(keys) if number not in missing] == list(present.values())
        assert len(set(keys)) == KEYS
        assert len({identity.device_id for identity in store.identities()}) == DEVICES
    assert [entry.name for entry in tmp_path.iterdir()] == ["fleet.sqlite"]
