"""``run --trace-log``: whose logs, where they go, and what keeps them from being written."""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from loadgen.cli import main
from loadgen.cli.trace_log import MOST_DEVICES, Logged, TraceLog, TraceRequest, choose, read_trace
from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.engine.logged_device import What
from loadgen.engine.plan import FirmwarePlan, LoadPlan
from loadgen.errors import ExitCode, LocalResourceError, UsageError
from loadgen.fleet.keystore import FleetStore
from loadgen.protocol.firmware import firmware
from loadgen.protocol.stages import Point
from tests.cli.fakes import open_plan

BEGIN_NS = 5 * NS_PER_S
IDS = [bytes([number]) * 12 for number in range(7)]


def mix(*names: str) -> LoadPlan:
    firmwares = tuple(FirmwarePlan(name=name, timeouts_ns={}) for name in names)
    return msgspec.structs.replace(open_plan(), firmwares=firmwares)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FleetStore]:
    """Seven devices without keys."""
    with FleetStore.create(tmp_path / "fleet.sqlite", devices=len(IDS), keys=0, ids=IDS) as made:
        yield made


# --- whose


def test_no_log_unless_it_is_asked_for() -> None:
    assert read_trace(None, None) is None
    with pytest.raises(UsageError, match="is about a log"):
        read_trace(None, "3")


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        (None, 1),
        ("3", 3),
        (IDS[1].hex(), (IDS[1],)),
        (f"{IDS[2].hex()}, {IDS[1].hex()},{IDS[2].hex()}", (IDS[2], IDS[1])),
    ],
)
def test_a_number_or_ids(text: str | None, devices: int | tuple[bytes, ...]) -> None:
    assert read_trace("a.log", text) == TraceRequest(Path("a.log"), devices)


@pytest.mark.parametrize("text", ["0", "-1", "many", "1,2", "", "0123"])
def test_what_is_neither(text: str) -> None:
    if text == "0123":
        assert read_trace("a.log", text) == TraceRequest(Path("a.log"), 123)
        return
    with pytest.raises(UsageError) as caught:
        read_trace("a.log", text)
    assert caught.value.where == "--trace-devices"


def test_the_first_of_each_firmware_that_prints_anything(store: FleetStore) -> None:
    plan = mix("p1@0.7.0", "p1@2.3.1", "p1@0.4.0")
    playing = plan.firmware_of_devices(len(IDS))
    chosen = choose(TraceRequest(Path(), 2), plan, store)
    by_name: dict[str, list[int]] = {}
    for device in chosen:
        by_name.setdefault(device.firmware.name, []).append(device.number)
        assert device.device_id == IDS[device.number]
    assert by_name == {
        name: [number for number, plays in enumerate(playing) if plays == position][:2]
        for position, name in enumerate(("p1@0.7.0", "p1@2.3.1"))
    }


def test_devices_by_their_ids(store: FleetStore) -> None:
    plan = mix("p1@0.7.0")
    chosen = choose(TraceRequest(Path(), (IDS[4], IDS[0])), plan, store)
    assert [device.number for device in chosen] == [4, 0]
    with pytest.raises(UsageError, match="not among the 7 devices"):
        choose(TraceRequest(Path(), (bytes(12), b"\xee" * 12)), plan, store)
    with pytest.raises(UsageError, match="not among the 3 devices"):
        choose(TraceRequest(Path(), (IDS[4],)), msgspec.structs.replace(plan, devices=3), store)
    with pytest.raises(UsageError, match=r"core@0\.3\.4 prints nothing"):
        choose(TraceRequest(Path(), (IDS[4],)), mix("core@0.3.4"), store)


def test_firmware_that_prints_nothing_makes_no_folder_of_one_log() -> None:
    assert TraceRequest(Path(), 1).most(["p1@0.4.0", "p1@0.7.0"]) == 1
    assert TraceRequest(Path(), 2).most(["p1@0.4.0", "p1@0.7.0", "p1@2.3.1"]) == 4


# --- the files


def moments(*rows: tuple[int, int, int]) -> bytes:
    """Device, ms since the begin, what."""
    values = array("q")
    for device, at_ms, what in rows:
        values.extend((device, BEGIN_NS + at_ms * NS_PER_MS, what, 0, 0))
    return values.tobytes()


def trace(tmp_path: Path, devices: int = 1, most_lines: int = 1_000) -> TraceLog:
    chosen = [Logged(number, IDS[number], firmware("p1@0.7.0")) for number in range(devices)]
    log = TraceLog(TraceRequest(tmp_path / "new" / "trace", devices), mix("p1@0.7.0"), chosen, most_lines)
    log.begin(BEGIN_NS)
    return log


def test_one_device_is_one_file(tmp_path: Path) -> None:
    with trace(tmp_path) as log:
        log.add(moments((0, 12, Point.STARTED)))
        log.add(moments((0, 15, What.LEFT)))
        assert log.summary == f"Trace log: 3 lines of 1 device about 1 attempt in {tmp_path / 'new' / 'trace'}."
    assert (tmp_path / "new" / "trace").read_bytes() == (
        b"0000000012 [system] INFO: Cloud: connecting\r\n"
        b"0000000015 [system] INFO: Cloud: disconnecting\r\n"
        b"0000000015 [system] INFO: Cloud: disconnected\r\n"
    )


def test_several_devices_are_a_folder_with_a_file_each(tmp_path: Path) -> None:
    with trace(tmp_path, devices=3) as log:
        log.add(moments((2, 1, Point.STARTED), (0, 2, Point.STARTED), (2, 3, What.LEFT)))
    files = sorted((tmp_path / "new" / "trace").iterdir())
    assert [file.name for file in files] == [f"{IDS[0].hex()}.log", f"{IDS[2].hex()}.log"], "the other never began"
    assert [len(file.read_bytes().splitlines()) for file in files] == [1, 3]


def test_a_log_that_is_too_long_ends_and_says_so(tmp_path: Path) -> None:
    with trace(tmp_path, most_lines=2) as log:
        log.add(moments((0, 0, Point.STARTED), (0, 1, Point.STARTED), (0, 1_500, Point.STARTED)))
        log.add(moments((0, 9_000, Point.STARTED)))
        assert log.is_cut
        assert "2 lines of 1 device about 2 attempts" in log.summary
        assert "They end 1.5 s after the begin: no more than 2 lines are written." in log.summary
    assert len((tmp_path / "new" / "trace").read_bytes().splitlines()) == 2


def test_a_device_that_never_began_leaves_no_file(tmp_path: Path) -> None:
    with trace(tmp_path) as log:
        log.add(moments())
        assert "none was written" in log.summary
    assert not (tmp_path / "new" / "trace").exists()


def test_a_full_disk_is_a_failure_of_this_machine(tmp_path: Path) -> None:
    with trace(tmp_path) as log:
        with Path("/dev/full").open("wb", buffering=0) as full:
            log._files[0].close()
            log._files[0] = full
            with pytest.raises(LocalResourceError, match="No space left on device"):
                log.add(moments((0, 0, Point.STARTED)))
        log._files.clear()


# --- as a user sees it


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(["run", "--out", "results", *arguments]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert captured.out == ""
    assert not Path("results").exists() or not any(Path("results").iterdir()), "refused before the run"
    assert not Path(".loadgen").exists(), "and before a fleet is made"
    return captured.err


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")


def test_what_is_there_already_stays(capsys: pytest.CaptureFixture[str]) -> None:
    Path("device.log").write_text("from a real device", encoding="utf-8")
    assert "device.log: exists already and is not overwritten" in refused(capsys, "--trace-log", "device.log")
    Path("logs").mkdir()
    assert "logs: exists already" in refused(capsys, "--trace-log", "logs")
    Path("logs/a.log").touch()
    assert "logs: exists already" in refused(capsys, "--trace-log", "logs", "--trace-devices", "2")
    assert Path("device.log").read_text(encoding="utf-8") == "from a real device"


def test_a_name_that_no_file_can_have(capsys: pytest.CaptureFixture[str]) -> None:
    assert "the log cannot be written: File name too long" in refused(capsys, "--trace-log", "x" * 300)


def test_a_place_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").touch()
    assert "file: the log cannot be written" in refused(capsys, "--trace-log", "file/trace.log")
    assert "/proc: the log cannot be written" in refused(capsys, "--trace-log", "/proc/trace.log")


def test_too_many_devices(capsys: pytest.CaptureFixture[str]) -> None:
    number = str(MOST_DEVICES + 1)
    assert f"{number} devices would keep a log" in refused(capsys, "--trace-log", "t", "--trace-devices", number)
    half = str(MOST_DEVICES // 2 + 1)
    mixed = ("--trace-log", "t", "--trace-devices", half, "--firmware", "p1@0.6.4=50%,p1@0.7.0=50%")
    assert "102 devices would keep a log" in refused(capsys, *mixed)


def test_firmware_that_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "--trace-log", "t", "--firmware", "p1@0.4.0")
    assert "p1@0.4.0 prints nothing of its connection" in said


def test_several_runs_have_no_log_in_common(capsys: pytest.CaptureFixture[str]) -> None:
    assert "writes the logs of one run" in refused(capsys, "--trace-log", "t", "--repeat", "2")


def test_the_environment_says_it_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("device.log").touch()
    monkeypatch.setenv("LOADGEN_RUN_TRACE_LOG", "device.log")
    monkeypatch.setenv("LOADGEN_RUN_TRACE_DEVICES", "1")
    assert "device.log: exists already" in refused(capsys)
