"""Thresholds of a run: while it goes on, at its end, and in its exit code."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from loadgen.analysis.thresholds import parse_threshold
from loadgen.analysis.watch import RunWatch
from loadgen.cli.result import exit_code
from loadgen.cli.session import DRAIN_NS, Clocks, RunSession
from loadgen.cli.thresholds import RunGate
from loadgen.clock import NS_PER_S
from loadgen.errors import ExitCode
from loadgen.recording.record import RunRecord, Threshold, Validity
from loadgen.store import HISTOGRAMS_FILE, INTERVALS_FILE, RunWriter, load_record
from tests.cli.fakes import FakeClock, FakePool, FakeView, open_plan
from tests.cli.verdicts import loadgen
from tests.report.samples import good_record

FAST, SLOW = "p(50) of handshake < 1s", "p(50) of handshake < 1ms"

Capture = pytest.CaptureFixture[str]


class Run:
    """A session of 100 handshakes a second, each of 7 ms, on a fake pool, with a record on disk."""

    def __init__(self, folder: Path, *texts: str, abort_after_s: float | None = None, seconds: int = 4) -> None:
        clock = FakeClock()
        thresholds = [parse_threshold(text) for text in texts]
        self.pool = FakePool(clock, until_ns=seconds * NS_PER_S)
        self.view = FakeView()
        self.folder = folder
        watch = None
        if abort_after_s is not None:
            watch = RunWatch(thresholds, delay_s=abort_after_s, firmwares=["p1@0.7.0"], offered_per_s=100.0)
        self.session = RunSession(
            open_plan(duration_ns=seconds * NS_PER_S),
            msgspec.structs.replace(good_record(), status="running", thresholds=[]),
            self.pool,
            self._open,
            self.view,
            gate=RunGate(thresholds, lambda: self.folder, watch),
            clocks=Clocks(clock.monotonic_ns, clock.wall_ns, clock.process_cpu_ns),
            cores=2,
        )

    def _open(self, record: RunRecord) -> RunWriter:
        writer = RunWriter(self.folder, record, "quick")
        self.folder = writer.path
        return writer


def test_a_finished_record_has_its_thresholds(tmp_path: Path) -> None:
    run = Run(tmp_path, FAST, SLOW, "p(99) of key < 1s", "p(50) of handshake < 8ms over 2s windows")
    run.session.run()
    stored = load_record(run.folder)
    assert [found.outcome for found in stored.thresholds] == ["pass", "fail", "no_data", "pass"]
    assert stored.thresholds[1].observed == pytest.approx(7_000, rel=0.002)
    assert (stored.thresholds[2].samples, stored.thresholds[2].detail) == (
        400,
        "p99 takes 1,000 samples, there are 400",
    )
    assert stored.thresholds[3].detail.startswith("worst of 2 windows")
    assert stored.status == "complete"
    assert run.pool.stops == []


def test_a_broken_threshold_ends_the_run_early_with_a_complete_record(tmp_path: Path) -> None:
    run = Run(tmp_path, FAST, SLOW, abort_after_s=0, seconds=60)
    record = run.session.run()
    assert run.pool.stops == [DRAIN_NS]
    assert run.view.said[0].startswith(f"Ended after 1 s, because a threshold failed: {SLOW} (observed 7 ms")
    assert (record.status, [found.outcome for found in record.thresholds]) == ("interrupted", ["pass", "fail"])
    assert record.duration_s < 2
    note = next(found for found in record.validity.findings if found.code == "ended_early")
    assert (note.level, note.observed) == ("note", 1)
    assert exit_code(record, interrupted=run.session.interrupted, failed=False) is ExitCode.THRESHOLD_FAILED
    assert load_record(run.folder).counts == record.counts


def test_nothing_is_judged_before_the_delay_is_over(tmp_path: Path) -> None:
    run = Run(tmp_path, SLOW, abort_after_s=3, seconds=60)
    assert 3 < run.session.run().duration_s < 4


def test_the_threshold_that_ended_a_run_has_failed_whatever_came_in_the_drain(tmp_path: Path) -> None:
    run = Run(tmp_path, "achieved rate < 50%", abort_after_s=0, seconds=60)
    gate = run.session._gate
    assert isinstance(gate, RunGate)
    record = run.session.run()
    record.rate.achieved_per_s = 1.0  # as if the rest had changed it
    gate.judge(record)
    assert record.thresholds[0].outcome == "fail"
    assert record.thresholds[0].observed == 1.0


def test_logs_that_cannot_be_read_back_leave_no_data_and_a_record(tmp_path: Path) -> None:
    run = Run(tmp_path, FAST, "p(97) of key < 1s")
    record = run.session.run()
    log = run.folder / HISTOGRAMS_FILE
    log.write_bytes(b"\xff" * 200)
    gate = RunGate([parse_threshold(FAST), parse_threshold("p(97) of key < 1s")], lambda: run.folder, None)
    gate.judge(record)
    assert [found.outcome for found in record.thresholds] == ["pass", "no_data"]
    assert (run.folder / INTERVALS_FILE).exists()


@pytest.mark.parametrize(
    ("outcomes", "invalid", "completed", "interrupted", "code"),
    [
        (["pass"], False, 10, False, ExitCode.OK),
        (["pass", "no_data"], False, 10, False, ExitCode.INCONCLUSIVE),
        (["no_data", "fail"], False, 10, False, ExitCode.THRESHOLD_FAILED),
        (["fail"], True, 10, False, ExitCode.INCONCLUSIVE),
        (["fail"], True, 0, False, ExitCode.UNREACHABLE),
        (["fail"], True, 0, True, ExitCode.INTERRUPTED),
    ],
)
def test_the_weightiest_condition_decides(
    outcomes: list[str], invalid: bool, completed: int, interrupted: bool, code: ExitCode
) -> None:
    record = good_record()
    record.counts.completed = completed
    record.validity = Validity(verdict="invalid" if invalid else "valid")
    record.thresholds = [
        Threshold(text=FAST, outcome=outcome, observed=None, observed_ci=None, limit=0, samples=0)  # type: ignore[arg-type]
        for outcome in outcomes
    ]
    assert exit_code(record, interrupted=interrupted, failed=False) is code


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--threshold", "p(99) of handshak < 1s"], "--threshold: 'handshak' is no stage (character 10)"),
        (["--threshold", FAST, "--abort-on-fail=3"], "--abort-on-fail: '3' is no duration without a unit"),
        (["--abort-on-fail"], "has no threshold that could fail"),
        (["--write", "junit"], "no FORMAT=FILE"),
        (["--write", "junit={tmp}"], "is a folder"),
        (["--write", "junit={tmp}/file/x/gate.xml"], "is no folder"),
        (["--threshold", "p(50) of key[p1@0.7.O] < 1s"], 'is not played by this run\n  Did you mean "p1@0.7.0"?'),
    ],
)
def test_mistakes_are_found_before_anything_starts(
    arguments: list[str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    done = loadgen(capsys, "run", *(word.format(tmp=tmp_path) for word in arguments))
    assert done.code == ExitCode.USAGE
    assert text in done.err
    assert not (tmp_path / ".loadgen").exists()


def test_a_mistake_in_a_file_has_its_key_and_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    text = '[scenario.quick]\nrate = 10\nduration = "1s"\nthresholds = ["p(50) of key < 1s", "rate of failure < 1%"]\n'
    (tmp_path / "bench.toml").write_text(text, encoding="utf-8")
    assert loadgen(capsys, "run", "--dry-run").err.splitlines() == [
        "error: bench.toml: scenario.quick.thresholds: 'failure' stands where \"failures\" should (character 9)",
        "  rate of failure < 1%",
        "          ^",
        "  Write: rate of failures < 0.1%",
    ]


def test_thresholds_of_options_replace_those_of_the_environment_and_of_the_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    ci = ["run", "--scenario", "ci", "--dry-run", "--json"]
    assert "achieved rate >= 95%" in loadgen(capsys, *ci).document["thresholds"]
    monkeypatch.setenv("LOADGEN_RUN_THRESHOLD", f"{FAST}; {SLOW}")
    assert loadgen(capsys, *ci).document["thresholds"] == [FAST, SLOW]
    assert loadgen(capsys, *ci, "--threshold", SLOW).document["thresholds"] == [SLOW]
    monkeypatch.setenv("LOADGEN_RUN_THRESHOLD", "p(50) of kee < 1s")
    done = loadgen(capsys, *ci)
    assert done.err.startswith("error: LOADGEN_RUN_THRESHOLD: 'kee' is no stage")
