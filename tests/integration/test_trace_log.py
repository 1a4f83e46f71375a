"""Logs of virtual devices, written by real runs: read back, they say what the record of the run says."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from loadgen.cli import main
from loadgen.diagnosis.devicelog import Outcome, read_device_log
from loadgen.errors import ExitCode
from loadgen.fleet.keystore import FleetStore
from loadgen.protocol.stages import STAGE_BOUNDS, Stage
from loadgen.recording.record import FailureCount, RunRecord, StageStats
from loadgen.store import load_record

NAMES = ("p1@0.6.4", "p1@0.8.0-rc.4", "p1@2.3.1")
MIX = ",".join(NAMES)
FAULTS = ("key:close:8%", "key:corrupt-signature:8%", "hello:close:8%", "nonce:reset:8%", "session:close:40%")
DEVICES = 20
RESOLUTION_US = 1_000.0
LAST_DIGIT = 1.001
"""A histogram has three digits."""


def run(fleet_path: Path, *arguments: str) -> ExitCode:
    return ExitCode(main(["run", "-q", "--fleet", str(fleet_path), "--seed", "3", "--out", "results", *arguments]))


def imported(files: list[Path], label: str) -> RunRecord:
    main(["devicelog", "import", *map(str, files), "--results", "imported", "--label", label])
    (folder,) = Path("imported").glob(f"*-{label}-*")
    return load_record(folder)


def only_record() -> RunRecord:
    (folder,) = Path("results").iterdir()
    return load_record(folder)


def endings(failures: list[FailureCount]) -> Counter[tuple[str, str, int | None]]:
    found: Counter[tuple[str, str, int | None]] = Counter()
    for failure in failures:
        found[failure.stage, failure.reason, failure.device_code] += failure.count
    return found


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")


def test_the_logs_of_all_devices_are_the_record(fleet_path: Path) -> None:
    """Several generations, several workers, every kind of end: nothing is lost, and no time is off by a millisecond."""
    faults = [word for fault in FAULTS for word in ("--fault", fault)]
    load = ["--rate", "60/s", "--duration", "2s", "--hold", "300ms", "--workers", "2", "--firmware", MIX]
    run(fleet_path, *load, *faults, "--trace-log", "logs", "--trace-devices", str(DEVICES))
    record = only_record()
    assert record.counts.completed > 40
    by_name: dict[str, list[Path]] = {name: [] for name in NAMES}
    for file in Path("logs").iterdir():
        (name,) = {name for name in NAMES if name in read_device_log(file).versions.profiles}
        by_name[name].append(file)
    failures: Counter[tuple[str, str, int | None]] = Counter()
    session_failures: Counter[tuple[str, str, int | None]] = Counter()
    for facts in record.firmware:
        read = imported(by_name[facts.name], facts.name.replace("@", "-"))
        counts = (read.counts.started, read.counts.completed, read.counts.failed)
        assert counts == (facts.counts.started, facts.counts.completed, facts.counts.failed)
        for stage in (*STAGE_BOUNDS, Stage.HANDSHAKE):
            if stage is not Stage.SCHEDULE_LAG:
                check_stage(facts.stages[stage], read.stages[stage])
        failures += endings(read.failures)
        session_failures += endings(read.session_failures)
    assert failures == endings(record.failures)
    assert len(failures) > 6, "the codes of a failure differ from generation to generation"
    assert session_failures == endings(record.session_failures)
    assert session_failures


def check_stage(measured: StageStats, read: StageStats) -> None:
    assert measured.count == read.count > 0
    for name in ("min_us", "mean_us", "p50_us", "max_us"):
        value, again = getattr(measured, name), getattr(read, name)
        if value is not None:
            assert value / LAST_DIGIT - RESOLUTION_US < again < value * LAST_DIGIT + RESOLUTION_US, name


def test_the_doctor_finds_an_injected_fault_in_the_log(fleet_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fault = ("--fault", "key:corrupt-signature:100%", "--rate", "10/s", "--count", "3")
    assert run(fleet_path, *fault, "--trace-log", "trace.log") == ExitCode.UNREACHABLE
    (attempt, *_) = read_device_log(Path("trace.log")).attempts
    assert (attempt.outcome, attempt.device_code) == (Outcome.FAILED, 8)
    capsys.readouterr()
    assert main(["doctor", "--log", "trace.log", "--json"]) == ExitCode.INCONCLUSIVE
    diagnosis = json.loads(capsys.readouterr().out)
    assert (diagnosis["attempt"]["stage"], diagnosis["attempt"]["reason"]) == ("unwrap", "bad_signature")
    assert "damaged-answer" in diagnosis["indistinguishable"]


def test_a_chosen_device_writes_and_no_other(fleet_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with FleetStore.open(fleet_path) as store:
        (device_id,) = store.device_ids([4])
    run(fleet_path, "--rate", "50/s", "--count", "10", "--trace-log", "a/trace.log", "--trace-devices", device_id.hex())
    log = read_device_log(Path("a/trace.log"))
    assert len(log.attempts) == 1
    assert capsys.readouterr().err == "", "-q"
