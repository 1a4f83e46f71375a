"""Second by second: what the recorder cannot know. Differences of counts and of CPU times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.engine.messages import Counts
from loadgen.engine.pool import WorkerStatus
from loadgen.mockcloud.report import CloudStatus
from loadgen.recording.record import SecondFacts

_MAX_LOOK_NS = NS_PER_MS


@dataclass(frozen=True, slots=True)
class _WorkerCpu:
    """CPU times of a worker, ns, and when they were read."""

    at_ns: int
    cpu_ns: int
    loop_ns: int
    crypto_ns: int


class Meter:
    """Takes totals, gives differences and utilisations.

    Args:
        cores: cores that this program may use.
    """

    def __init__(self, cores: int) -> None:
        self.generator_cpu: list[float] = []
        """Utilisation of the generator in each recorded second; 1 is all of it."""
        self.mock_cloud_cpu: list[float] = []
        """Utilisation of the mock cloud's busiest process in each recorded second."""
        self.max_in_flight = 0
        """Most handshakes in flight that were seen at one time."""
        self._cores = cores
        self._counts = Counts()
        self._workers: dict[int, _WorkerCpu] = {}
        self._cloud: dict[int, int] = {}
        self._read_ns = 0

    def begin(self, at_ns: int, workers: Sequence[WorkerStatus], cloud: CloudStatus | None) -> None:
        """CPU time counts from here. Counts begin at 0: those of the warm-up are apart."""
        self._workers = {worker.index: _cpu_of(worker) for worker in workers}
        self._cloud = {} if cloud is None else {worker.pid: worker.cpu_ns for worker in cloud.workers}
        self._read_ns = at_ns

    def second(
        self,
        at_ns: int,
        counts: Counts,
        workers: Sequence[WorkerStatus],
        cloud: CloudStatus | None,
        *,
        under_load: bool = True,
    ) -> SecondFacts:
        """A second has ended: what happened in it.

        Args:
            at_ns: now, on CLOCK_MONOTONIC.
            counts: of all workers, from the beginning.
            workers: the generator's processes.
            cloud: the mock cloud, where there is one.
            under_load: its utilisations count; those of the drain would only dilute the others.
        """
        worker_cpu_s, utilisation = self._generator(workers)
        cloud_cpu_s = self._mock_cloud(cloud)
        if under_load:
            self.generator_cpu.append(utilisation)
            if cloud_cpu_s and at_ns > self._read_ns:
                busiest = max(cloud_cpu_s) * NS_PER_S / (at_ns - self._read_ns)
                self.mock_cloud_cpu.append(min(busiest, 1.0))  # its reports are up to a quarter of a second old
        before, self._counts, self._read_ns = self._counts, counts, at_ns
        self.saw(counts)
        return SecondFacts(
            intended=max(0, counts.intended - before.intended),
            started=max(0, counts.started - before.started),
            aborted=max(0, counts.aborted - before.aborted),
            in_flight=counts.in_flight,
            waiting=max(0, counts.intended - counts.started),
            started_of=[
                max(0, now - earlier) for now, earlier in zip_longest(counts.started_of, before.started_of, fillvalue=0)
            ],
            worker_cpu_s=worker_cpu_s,
            mock_cloud_cpu_s=cloud_cpu_s,
        )

    def saw(self, counts: Counts) -> None:
        """Look at the handshakes in flight."""
        self.max_in_flight = max(self.max_in_flight, counts.in_flight)

    def _generator(self, workers: Sequence[WorkerStatus]) -> tuple[list[float], float]:
        """CPU seconds of each worker, and the utilisation of all."""
        spent, busiest, total = [], 0.0, 0.0
        for worker in workers:
            now = _cpu_of(worker)
            before = self._workers.get(worker.index) or now
            self._workers[worker.index] = now
            spent.append((now.cpu_ns - before.cpu_ns) / NS_PER_S)
            wall_ns = now.at_ns - before.at_ns
            if wall_ns > 0:
                thread_ns = max(now.loop_ns - before.loop_ns, now.crypto_ns - before.crypto_ns)
                busiest = max(busiest, thread_ns / wall_ns)
                total += (now.cpu_ns - before.cpu_ns) / wall_ns
        return spent, max(busiest, total / self._cores)

    def _mock_cloud(self, cloud: CloudStatus | None) -> list[float]:
        """CPU seconds of each process of the mock cloud."""
        if cloud is None:
            return []
        spent = [(worker.cpu_ns - self._cloud.get(worker.pid, 0)) / NS_PER_S for worker in cloud.workers]
        self._cloud = {worker.pid: worker.cpu_ns for worker in cloud.workers}
        return spent


def _cpu_of(worker: WorkerStatus) -> _WorkerCpu:
    return _WorkerCpu(worker.at_ns, worker.cpu_ns, worker.loop_cpu_ns, worker.crypto_cpu_ns)


class ClockWatch:
    """Notices when the wall clock is set while the monotonic one goes on."""

    def __init__(self) -> None:
        self._offset_ns: int | None = None
        self.largest_step_ns = 0
        """The largest move between two looks, with its sign."""

    def look(self, before_ns: int, wall_ns: int, after_ns: int) -> None:
        """Compare the clocks: CLOCK_MONOTONIC was read right before and right after CLOCK_REALTIME.

        A look in which this process was kept from running says nothing.
        """
        if after_ns - before_ns > _MAX_LOOK_NS:
            return
        offset_ns = wall_ns - before_ns
        if self._offset_ns is not None and abs(offset_ns - self._offset_ns) > abs(self.largest_step_ns):
            self.largest_step_ns = offset_ns - self._offset_ns
        self._offset_ns = offset_ns
