"""Real workers, real sockets, a real mock cloud."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from loadgen import clock
from loadgen.engine.plan import LoadPlan, Target
from loadgen.engine.pool import Pool
from loadgen.errors import LocalResourceError, UsageError
from loadgen.fleet.keystore import FleetStore
from loadgen.kernel import has_kernel_stamps
from loadgen.mockcloud.cloud import MockCloud
from loadgen.mockcloud.settings import CloudSettings
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Point
from loadgen.recording.rows import REASONS, ROW_FIELDS, Rows, failures_from_bytes, rows_from_bytes
from tests.engine.fakes import firmware_plan

LIMIT_S = 20


@pytest.fixture(scope="module")
def target(fleet: FleetStore) -> Iterator[Target]:
    """A mock cloud with full crypto that believes everybody."""
    assert fleet.server_key_der is not None
    with MockCloud(CloudSettings(server_key=fleet.server_key_der, port=0, workers=1)) as cloud:
        yield Target(*cloud.start())


def plan(fleet: FleetStore, target: Target, **changes: object) -> LoadPlan:
    settings: dict[str, object] = {
        "mode": "open",
        "target": target,
        "fleet_path": str(fleet.path),
        "server_public_key": fleet.server_public_key,
        "firmwares": (firmware_plan(),),
        "max_in_flight": 50,
        "rate_numerator": 200,
        "count": 60,
    }
    return LoadPlan(**{**settings, **changes})  # type: ignore[arg-type]


class Gathered:
    """Runs a pool to its end and keeps everything."""

    def __init__(self, load: LoadPlan, workers: int, *, meanwhile: Callable[[Pool], None] | None = None) -> None:
        self.pool = Pool(load, workers)
        rows, failures, session_failures = [], [], []
        try:
            self.pool.start()
            self.begin_ns = self.pool.begin()
            limit = clock.monotonic_ns() + LIMIT_S * clock.NS_PER_S
            while not self.pool.finished:
                assert clock.monotonic_ns() < limit, f"not finished: {self.pool.workers}"
                update = self.pool.poll(0.05)
                rows += update.rows
                failures += update.failures
                session_failures += update.session_failures
                if meanwhile is not None:
                    meanwhile(self.pool)
        finally:
            self.pool.close()
        self.rows = rows_from_bytes(b"".join(rows))
        self.failures = failures_from_bytes(b"".join(failures))
        self.session_failures = failures_from_bytes(b"".join(session_failures))


def assert_ordered(rows: Rows) -> None:
    """Every point comes after the one before it, but for the resolution of two clocks."""
    gaps = np.diff(rows[:, : len(Point)], axis=1)
    assert gaps.min() > -clock.NS_PER_MS


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_share_the_schedule_and_lose_nothing(fleet: FleetStore, target: Target, workers: int) -> None:
    run = Gathered(plan(fleet, target), workers)
    assert run.pool.counts.completed == run.pool.counts.started == run.pool.counts.intended == 60
    intended = sorted((run.rows[:, Point.INTENDED] - run.begin_ns).tolist())
    assert intended == [turn * 5_000_000 for turn in range(60)]
    assert_ordered(run.rows)
    assert not run.pool.lost
    assert all(worker.cpu_ns > 0 for worker in run.pool.workers)


@pytest.mark.skipif(not has_kernel_stamps(), reason="this kernel does not stamp what TCP sockets receive")
def test_kernel_stamps_come_with_every_message(fleet: FleetStore, target: Target) -> None:
    run = Gathered(plan(fleet, target, kernel_stamps=True), 1)
    assert run.pool.counts.completed == 60
    lag = run.rows[:, ROW_FIELDS.index("wakeup_lag")]
    assert (lag >= 0).all()
    assert_ordered(run.rows)


def test_a_closed_loop_keeps_its_slots_busy(fleet: FleetStore, target: Target) -> None:
    run = Gathered(plan(fleet, target, mode="closed", concurrency=5, count=40), 2)
    assert run.pool.counts.completed == 40
    assert run.pool.counts.failed == 0


def test_sessions_are_held(fleet: FleetStore, target: Target) -> None:
    hold_ns = 300 * clock.NS_PER_MS
    most = 0

    def look(pool: Pool) -> None:
        nonlocal most
        most = max(most, pool.counts.sessions)

    run = Gathered(plan(fleet, target, count=20, hold_ns=hold_ns, close="fin"), 1, meanwhile=look)
    assert run.pool.counts.completed == 20
    assert most >= 10
    assert run.pool.counts.session_failed == 0


def test_no_listener_is_refused_and_counted(fleet: FleetStore) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    run = Gathered(plan(fleet, Target("127.0.0.1", port), count=10), 1)
    assert run.pool.counts.failed == 10
    assert {REASONS[row[3]] for row in run.failures.tolist()} == {Reason.REFUSED}


def test_a_killed_worker_is_reported_and_the_others_go_on(fleet: FleetStore, target: Target) -> None:
    def kill(pool: Pool) -> None:
        victim = pool.workers[1]
        if victim.lost is None and pool.counts.completed >= 10:
            os.kill(victim.pid, signal.SIGKILL)

    run = Gathered(plan(fleet, target, count=200), 2, meanwhile=kill)
    (lost,) = run.pool.lost
    assert lost.index == 1
    assert "signal 9" in str(lost.lost)
    assert run.pool.workers[0].counts.completed == 100
    assert 0 < lost.counts.completed < 100
    assert len(run.rows) >= run.pool.counts.completed


def test_a_worker_that_is_stopped_is_given_up_and_what_it_had_measured_counts(
    fleet: FleetStore, target: Target
) -> None:
    def stop(pool: Pool) -> None:
        victim = pool.workers[1]
        if victim.lost is None and pool.counts.completed >= 10:
            os.kill(victim.pid, signal.SIGSTOP)
            pool.give_up(1)
            pool.give_up(1)

    run = Gathered(plan(fleet, target, count=100), 2, meanwhile=stop)
    (lost,) = run.pool.lost
    assert lost.lost == "worker 1 does not answer"
    assert not Path(f"/proc/{lost.pid}").exists()
    assert run.pool.workers[0].counts.completed == 50
    assert len(run.rows) == run.pool.counts.completed


def test_the_first_stop_drains_the_second_ends_at_once(fleet: FleetStore) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        stopped_at = 0

        def stop(pool: Pool) -> None:
            nonlocal stopped_at
            if not stopped_at and pool.counts.in_flight >= 5:
                stopped_at = clock.monotonic_ns()
                pool.stop()
                pool.stop(0)

        silent_target = Target(*silent.getsockname())
        run = Gathered(plan(fleet, silent_target, count=None, duration_ns=3_600 * clock.NS_PER_S), 2, meanwhile=stop)
        assert clock.monotonic_ns() - stopped_at < 2 * clock.NS_PER_S
    counts = run.pool.counts
    assert counts.aborted == counts.started >= 5


def test_a_worker_that_cannot_begin_says_why(fleet: FleetStore, target: Target, tmp_path: Path) -> None:
    pool = Pool(plan(fleet, target, fleet_path=str(tmp_path / "missing.sqlite")), 1)
    try:
        with pytest.raises(UsageError, match=r"missing\.sqlite"):
            pool.start()
    finally:
        pool.close()


def test_modules_of_the_working_folder_are_none_of_the_workers(
    fleet: FleetStore, target: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = plan(fleet, target, count=1, fleet_path=str(Path(fleet.path).absolute()))
    (tmp_path / "msgspec.py").write_text("raise SystemExit('not this one')\n")
    monkeypatch.chdir(tmp_path)
    assert Gathered(load, 1).pool.counts.completed == 1


def test_a_process_that_cannot_be_started_is_a_matter_of_this_machine(
    fleet: FleetStore, target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    pool = Pool(plan(fleet, target), 1)
    try:
        with pytest.raises(LocalResourceError, match="could not be started: No such file"):
            pool.start()
    finally:
        pool.close()


PARENT = """
import msgspec, sys
from loadgen.engine.plan import LoadPlan
from loadgen.engine.pool import Pool
from tests.engine.fakes import firmware_plan

pool = Pool(msgspec.msgpack.decode(bytes.fromhex(sys.argv[1]), type=LoadPlan), 2)
pool.start()
pool.begin()
print(*(worker.pid for worker in pool.workers), flush=True)
while True:
    pool.poll(0.1)
"""


def test_workers_end_within_a_second_when_their_parent_is_killed(fleet: FleetStore, target: Target) -> None:
    import msgspec

    load = plan(fleet, target, count=None, duration_ns=3_600 * clock.NS_PER_S)
    command = [sys.executable, "-c", textwrap.dedent(PARENT), msgspec.msgpack.encode(load).hex()]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        parent.kill()
        killed_at = clock.monotonic_ns()
    assert len(pids) == 2
    while any(_lives(pid) for pid in pids):
        assert clock.monotonic_ns() - killed_at < clock.NS_PER_S
        clock.sleep_s(0.01)


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
