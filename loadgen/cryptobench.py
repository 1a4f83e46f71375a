"""The crypto benchmark: what the handshake's cryptography costs on this CPU, by backend, batch size and threads.

Strategy. A cell is one operation on one backend in batches of one size. Time is spent in rounds, and every round
visits every cell, the backends of one batch right after one another: a disturbance, a change of the CPU's clock or a
throttled core hits all of them alike, and ratios are taken within a round. A cell's visit lasts for its share of the
time, at least one sample; a sample is one batch, or as many as it takes to be long against the clock. Each visit
has its CPU time beside the wall times of its samples. What the benchmark itself costs is measured with an empty
operation in the same loop and subtracted. The garbage collector is off meanwhile.

The whole sides of a handshake are measured on several threads at once too, each with keys of its own as
processes would have. Nothing here knows a particular backend: it measures what it is given.
"""

from __future__ import annotations

import gc
import math
import os
import random
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Final, cast

import numpy as np

from loadgen import clock
from loadgen.crypto.base import CryptoBackend, LaneResult, RawBackend
from loadgen.crypto.stock import KEYS, stock_keys
from loadgen.protocol.events import DecryptNonce, EncryptNonce, KeyHandle, Open, Seal, UnwrapKey, WrapKey
from loadgen.protocol.reasons import CryptoFault
from loadgen.protocol.wire import MATERIAL_SIZE, PLAINTEXT_SIZE, device_spki, server_spki
from loadgen.recording.crypto_record import (
    OpenSSLSpeed,
    OperationResult,
    Side,
    Sizing,
    SizingRow,
    SpeedResult,
    ThreadResult,
    operation_times,
)
from loadgen.recording.histogram import Histogram, confidence_ranks

SIZES: Final = (1, 2, 4, 8, 16, 64)
"""Batch sizes."""
QUICK_SIZES: Final = (1, 8)
THREAD_BATCH: Final = 16
"""Batch size of the measurements on several threads: twice the lanes there are."""
PLANNED_UTILISATION: Final = 0.7
"""How busy a core may be in a plan; beyond, queues grow quickly."""

ROUNDS: Final = 24
"""Rounds: enough samples of every cell for a median (20), and some to spare."""
THREAD_ROUNDS: Final = 3
THREAD_SHARE: Final = 0.25
"""Share of the time for the measurements on several threads."""

PROTOCOL_OPERATIONS: Final = ("encrypt_nonce", "unwrap_key", "decrypt_nonce", "wrap_key", "seal", "open")
RAW_OPERATIONS: Final = ("rsa1024_private", "rsa2048_private")
SIDES: Final[Mapping[Side, str]] = {"device": "device_side", "cloud": "cloud_side"}
"""Side of a handshake → the name of its operation."""
SINGLE: Final = frozenset({"seal", "open"})
"""Operations that are never batched."""

_SPEED_TIMEOUT_S: Final = 30
_SAMPLE_NS: Final = 20 * clock.NS_PER_US
_SAMPLES_A_VISIT: Final = 500
_HELLO: Final = b"\x0a" * 16  # a padded Hello is one block
_MAC: Final = bytes(20)

Progress = Callable[[float], bool]
"""Called with the share of the work that is done, 0 … 1; False asks for the end."""


class Material:
    """The same keys and messages for every backend. Not secret: from a stock of primes and a seed."""

    def __init__(self, lanes: int, seed: int = 1) -> None:
        chance = random.Random(seed)  # noqa: S311 - inputs of a benchmark
        self.lanes = lanes
        (self.server,) = stock_keys(2048, 1, chance)
        devices = stock_keys(1024, KEYS, chance)
        self.devices = [devices[lane % KEYS] for lane in range(lanes)]
        self.plaintexts = [chance.randbytes(PLAINTEXT_SIZE) for _ in range(lanes)]
        self.materials = [chance.randbytes(MATERIAL_SIZE) for _ in range(lanes)]


class Workload:
    """Every operation on one backend, with keys loaded and requests made beforehand.

    Raises:
        RuntimeError: the backend gives a fault or a wrong result; nothing of it is worth measuring.
    """

    def __init__(self, backend: CryptoBackend, material: Material) -> None:
        self._backend = backend
        lanes = range(material.lanes)
        server_der, server_spki_ = material.server.pkcs1(), server_spki(material.server.modulus)
        self._server = backend.load_server_key(server_der)
        server_public = backend.load_server_public_key(server_spki_)
        loaded = {numbers: backend.load_device_key(numbers.pkcs1()) for numbers in set(material.devices)}
        self._devices: list[KeyHandle] = [loaded[numbers] for numbers in material.devices]
        presented = {numbers: backend.load_device_public_key(device_spki(numbers.modulus)) for numbers in loaded}
        self._encrypt = [EncryptNonce(server_public, plaintext) for plaintext in material.plaintexts]
        self._wrap = [
            WrapKey(self._server, presented[numbers], session)
            for numbers, session in zip(material.devices, material.materials, strict=True)
        ]
        ciphertexts = _all_bytes(backend.encrypt_nonce(self._encrypt))
        replies = _all_bytes(backend.wrap_key(self._wrap))
        self._decrypt = [DecryptNonce(self._server, ciphertext) for ciphertext in ciphertexts]
        self._unwrap = [UnwrapKey(self._devices[lane], server_public, replies[lane]) for lane in lanes]
        session = material.materials[0]
        self._seal = Seal(session[:16], session[16:32], _HELLO)
        self._open = Open(session[:16], session[16:32], backend.seal(self._seal))
        self._check(material)

    def _check(self, material: Material) -> None:
        if (
            self._backend.decrypt_nonce(self._decrypt) != material.plaintexts
            or self._backend.unwrap_key(self._unwrap) != material.materials
            or self._backend.open(self._open) != _HELLO
        ):
            raise RuntimeError(f"the backend {self._backend.name} gives wrong results")

    @property
    def operations(self) -> tuple[str, ...]:
        """Names of what can be measured."""
        raw = RAW_OPERATIONS if isinstance(self._backend, RawBackend) else ()
        return (*SIDES.values(), *PROTOCOL_OPERATIONS, *raw)

    def runner(self, operation: str, size: int) -> Callable[[], object]:
        """Something that does ``size`` operations each time it is called; one of those in :data:`SINGLE`."""
        backend = self._backend
        match operation:
            case "encrypt_nonce":
                return partial(backend.encrypt_nonce, self._encrypt[:size])
            case "unwrap_key":
                return partial(backend.unwrap_key, self._unwrap[:size])
            case "decrypt_nonce":
                return partial(backend.decrypt_nonce, self._decrypt[:size])
            case "wrap_key":
                return partial(backend.wrap_key, self._wrap[:size])
            case "seal":
                return partial(backend.seal, self._seal)
            case "open":
                return partial(backend.open, self._open)
            case "device_side":
                return self._device_side(size)
            case "cloud_side":
                return self._cloud_side(size)
        assert isinstance(backend, RawBackend)
        keys = self._devices[:size] if operation == "rsa1024_private" else [self._server] * size
        return partial(backend.sign, keys, [_MAC] * size)

    def _device_side(self, size: int) -> Callable[[], object]:
        """Nonce, key, the own Hello and the cloud's."""
        backend, encrypt, unwrap = self._backend, self._encrypt[:size], self._unwrap[:size]
        seal, open_ = self._seal, self._open

        def run() -> None:
            backend.encrypt_nonce(encrypt)
            backend.unwrap_key(unwrap)
            for _ in range(size):
                backend.seal(seal)
                backend.open(open_)

        return run

    def _cloud_side(self, size: int) -> Callable[[], object]:
        """The device's answer to the nonce, the key, the device's Hello and the own."""
        backend, decrypt, wrap = self._backend, self._decrypt[:size], self._wrap[:size]
        seal, open_ = self._seal, self._open

        def run() -> None:
            backend.decrypt_nonce(decrypt)
            backend.wrap_key(wrap)
            for _ in range(size):
                backend.open(open_)
                backend.seal(seal)

        return run


def _all_bytes(results: list[LaneResult]) -> list[bytes]:
    faults = {result for result in results if isinstance(result, CryptoFault)}
    if faults:
        raise RuntimeError(f"the backend gives faults: {', '.join(sorted(faults))}")
    return cast("list[bytes]", results)


@dataclass(frozen=True)
class Clocks:
    """Where time comes from: CLOCK_MONOTONIC, and the CPU time of the calling thread. In ns."""

    wall_ns: Callable[[], int] = clock.monotonic_ns
    cpu_ns: Callable[[], int] = clock.thread_cpu_ns


@dataclass
class Cell:
    """One operation on one backend in batches of one size, and what was measured of it."""

    operation: str
    backend: str
    size: int
    run: Callable[[], object]
    batches: int = 0
    """Batches in a sample."""
    sample_ns: int = 0
    """About what a sample takes."""
    samples_ns: list[int] = field(default_factory=list)
    """Wall time of one operation, a sample each."""
    rounds_cpu_ns: list[float] = field(default_factory=list)
    """CPU time of one operation, a round each."""

    @property
    def group(self) -> tuple[str, int]:
        """What the cells that are compared have in common."""
        return self.operation, self.size


@dataclass(frozen=True)
class Overhead:
    """What measuring costs, in ns."""

    sample_wall: float
    """Of a sample, by the wall clock."""
    sample_cpu: float
    call: float
    """Of each call within a sample."""
    visit_cpu: float
    """Of the two readings of the CPU clock."""


class Stopwatch:
    """Visits cells, and knows what that costs itself."""

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks
        self.overhead = Overhead(0, 0, 0, 0)
        self.overhead = self._calibrate()

    def _calibrate(self) -> Overhead:
        """Measure an operation that does nothing; the best of several times, as noise only ever adds."""
        empty = partial(_nothing, ())
        one, many = (Cell("", "", 1, empty, batches) for batches in (1, 201))
        visits = [[self._visit(cell, 40) for _ in range(5)] for cell in (one, many)]
        (one_wall, one_cpu), (many_wall, _) = (
            (min(min(samples) for samples, _ in each), min(cpu / len(samples) for samples, cpu in each))
            for each in visits
        )
        call = max(0.0, (many_wall - one_wall) / 200)
        reading = min(self._read_cpu() for _ in range(20))
        return Overhead(max(0.0, one_wall - call), max(0.0, one_cpu - call - reading / 40), call, reading)

    def _read_cpu(self) -> int:
        before = self._clocks.cpu_ns()
        return self._clocks.cpu_ns() - before

    def _visit(self, cell: Cell, samples: int = 0, share_ns: int = 0) -> tuple[list[int], int]:
        """(wall time of each sample, CPU time of all): for ``share_ns``, at least one and ``samples`` samples."""
        run, calls, now = cell.run, range(cell.batches), self._clocks.wall_ns
        taken: list[int] = []
        before_cpu = self._clocks.cpu_ns()
        end = now() + share_ns
        while True:
            begin = now()
            for _ in calls:
                run()
            after = now()
            taken.append(after - begin)
            if len(taken) >= max(1, samples) and (after >= end or len(taken) >= _SAMPLES_A_VISIT):
                break
        return taken, self._clocks.cpu_ns() - before_cpu

    def prepare(self, cell: Cell) -> None:
        """Run a cell for the first time, and find how many batches make a sample."""
        cell.run()  # libraries prepare keys at their first use
        cell.batches = 1
        (took,), _ = self._visit(cell)
        cell.batches = max(1, math.ceil(_SAMPLE_NS / max(1, took)))
        cell.sample_ns = took * cell.batches

    def visit(self, cell: Cell, share_ns: int) -> None:
        """Measure a cell for about ``share_ns`` and keep what came out."""
        samples, cpu = self._visit(cell, share_ns=share_ns)
        cost, operations = self.overhead, cell.batches * cell.size
        calls_ns = cost.call * cell.batches
        cell.samples_ns += [max(0, round((wall - cost.sample_wall - calls_ns) / operations)) for wall in samples]
        cpu_ns = cpu - cost.visit_cpu - len(samples) * (cost.sample_cpu + calls_ns)
        cell.rounds_cpu_ns.append(max(0.0, cpu_ns / (operations * len(samples))))


def _nothing(batch: Sequence[object]) -> None:
    """The operation that takes no time."""


def make_cells(workloads: Mapping[str, Workload], sizes: Sequence[int]) -> list[Cell]:
    """All cells, those next to one another that are compared."""
    names = dict.fromkeys(name for workload in workloads.values() for name in workload.operations)
    return [
        Cell(operation, backend, size, workload.runner(operation, size))
        for operation in names
        for size in ([1] if operation in SINGLE else sizes)
        for backend, workload in workloads.items()
        if operation in workload.operations
    ]


@contextmanager
def _without_collector() -> Iterator[None]:
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def fair_share(costs: Sequence[int], total: int) -> int:
    """The largest share with which everybody gets it, or the own cost where that is more, out of ``total``.

    0 where the costs alone are more than ``total``.
    """
    left = total
    for number, cost in enumerate(sorted(costs, reverse=True)):
        share = left // (len(costs) - number)
        if share >= cost:
            return share
        left -= cost
    return 0


def measure_operations(
    cells: Sequence[Cell],
    budget_ns: int,
    *,
    rounds: int = ROUNDS,
    clocks: Clocks | None = None,
    progress: Progress | None = None,
) -> int:
    """Fill ``cells`` for about ``budget_ns``; returns how many rounds were begun.

    On a machine that is too slow for all rounds the last ones are left out, in the middle if need be; then some
    statistics have fewer samples or none.
    """
    clocks = clocks or Clocks()
    begin_ns = clocks.wall_ns()
    with _without_collector():
        watch = Stopwatch(clocks)
        for cell in cells:
            watch.prepare(cell)
        for number in range(rounds):
            left_ns = budget_ns - (clocks.wall_ns() - begin_ns)
            share_ns = fair_share([cell.sample_ns for cell in cells], left_ns // (rounds - number))
            for cell in cells:
                if clocks.wall_ns() - begin_ns >= budget_ns:
                    return number + 1
                watch.visit(cell, share_ns)
            if not (progress is None or progress((number + 1) / rounds)):
                return number + 1
    return rounds


def operation_results(cells: Sequence[Cell], reference: str = "openssl") -> list[OperationResult]:
    """What a record says of every cell; ratios are to the cell of ``reference`` with the same batch."""
    references = {cell.group: cell for cell in cells if cell.backend == reference}
    results = []
    for cell in cells:
        cpu_ns = median(cell.rounds_cpu_ns) if cell.rounds_cpu_ns else None
        ratio, ratio_ci = _ratio(references.get(cell.group), cell)
        results.append(
            OperationResult(
                operation=cell.operation,
                backend=cell.backend,
                batch_size=cell.size,
                wall=operation_times(Histogram.of_values(np.array(cell.samples_ns, dtype=np.int64))),
                cpu_ns=None if cpu_ns is None else round(cpu_ns, 1),
                per_s_per_core=round(clock.NS_PER_S / cpu_ns, 1) if cpu_ns else None,
                ratio_to_openssl=ratio,
                ratio_ci=ratio_ci,
            )
        )
    return results


def _ratio(reference: Cell | None, cell: Cell) -> tuple[float | None, tuple[float, float] | None]:
    """Median of the ratios of all rounds, and its confidence interval."""
    if reference is None:
        return None, None
    pairs = zip(reference.rounds_cpu_ns, cell.rounds_cpu_ns, strict=False)  # the last round may be incomplete
    ratios = sorted(one / other for one, other in pairs if other > 0)
    if not ratios:
        return None, None
    if len(ratios) < 6:  # below, even the outermost ranks enclose the median with less than 95 %
        return round(median(ratios), 3), None
    low, high = confidence_ranks(len(ratios), 0.5)
    return round(median(ratios), 3), (round(ratios[low - 1], 3), round(ratios[high - 1], 3))


# --- several threads at once


@dataclass(frozen=True)
class ThreadCell:
    """One side on one backend on so many threads."""

    side: Side
    backend: str
    threads: int


def thread_counts(cores: int, *, quick: bool = False) -> list[int]:
    """1, 2, 4, … and all cores; only the ends of that for a quick look."""
    if quick:
        return sorted({1, cores})
    return sorted({1 << power for power in range(cores.bit_length()) if 1 << power <= cores} | {cores})


def measure_threads(
    make: Mapping[str, Callable[[], Workload]],
    counts: Sequence[int],
    budget_ns: int,
    *,
    rounds: int = THREAD_ROUNDS,
    clocks: Clocks | None = None,
    progress: Progress | None = None,
) -> list[ThreadResult]:
    """Both sides on every backend on 1 … many threads, for about ``budget_ns``.

    Args:
        make: backend → makes the workload of one thread, keys and all.
        counts: numbers of threads.
        budget_ns: for everything, at least 5 ms for each measurement.
    """
    clocks = clocks or Clocks()
    workloads = {name: [one() for _ in range(max(counts))] for name, one in make.items()}
    cells = [ThreadCell(side, name, count) for side in SIDES for count in counts for name in make]
    share_ns = max(5 * clock.NS_PER_MS, budget_ns // (rounds * len(cells)))
    rates: dict[ThreadCell, list[tuple[float, float]]] = {cell: [] for cell in cells}
    with _without_collector():
        for number in range(rounds):
            for cell in cells:
                mine = workloads[cell.backend][: cell.threads]
                runs = [workload.runner(SIDES[cell.side], THREAD_BATCH) for workload in mine]
                rates[cell].append(run_together(runs, share_ns, clocks))
            if not (progress is None or progress((number + 1) / rounds)):
                break
    return [
        ThreadResult(
            side=cell.side,
            backend=cell.backend,
            batch_size=THREAD_BATCH,
            threads=cell.threads,
            handshakes_per_s=round(median(per_s for per_s, _ in taken) * THREAD_BATCH, 1),
            handshakes_per_cpu_s=round(median(per_cpu_s for _, per_cpu_s in taken) * THREAD_BATCH, 1),
        )
        for cell, taken in rates.items()
    ]


def run_together(runs: Sequence[Callable[[], object]], for_ns: int, clocks: Clocks) -> tuple[float, float]:
    """Call each of ``runs`` again and again on a thread of its own for ``for_ns``.

    Returns:
        (calls per second of all together, calls per CPU second).
    """
    barrier = threading.Barrier(len(runs))
    ended: list[tuple[int, int, int]] = []
    failures: list[Exception] = []

    def work(run: Callable[[], object]) -> None:
        barrier.wait()
        calls, begin, begin_cpu = 0, clocks.wall_ns(), clocks.cpu_ns()
        now, end = begin, begin + for_ns
        try:
            while now < end or not calls:
                run()
                calls += 1
                now = clocks.wall_ns()
        except Exception as error:  # raised on the calling thread below
            failures.append(error)
        ended.append((calls, now - begin, clocks.cpu_ns() - begin_cpu))

    threads = [threading.Thread(target=work, args=(run,), name="loadgen-bench", daemon=True) for run in runs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    calls = sum(calls for calls, _, _ in ended)
    per_s = sum(calls * clock.NS_PER_S / max(1, wall) for calls, wall, _ in ended)
    return per_s, calls * clock.NS_PER_S / max(1, sum(cpu for _, _, cpu in ended))


# --- sizing


def size_for(rate_per_s: float, threads: Sequence[ThreadResult]) -> Sizing:
    """Cores for either side at a rate, from what a core did while the most of them were busy."""
    most = max(result.threads for result in threads)
    rows = []
    for result in threads:
        if result.threads == most:
            cores = rate_per_s / result.handshakes_per_cpu_s
            rows.append(
                SizingRow(
                    side=result.side,
                    backend=result.backend,
                    handshakes_per_core_s=result.handshakes_per_cpu_s,
                    cores=round(cores, 2),
                    cores_planned=math.ceil(cores / PLANNED_UTILISATION),
                )
            )
    return Sizing(rate_per_s=rate_per_s, planned_utilisation=PLANNED_UTILISATION, threads_measured=most, rows=rows)


# --- the program openssl


def openssl_speed(run: Callable[[Sequence[str]], str] | None = None) -> OpenSSLSpeed:
    """What ``openssl speed rsa1024 rsa2048`` measures here: 4 to 8 s.

    Args:
        run: gives the standard output of a command; :class:`OSError` or :class:`subprocess.SubprocessError` where
            it cannot.
    """
    run = run or _output_of
    try:
        version = run(["openssl", "version"]).strip()
        results = parse_speed(run(["openssl", "speed", "-mr", "-seconds", "1", "rsa1024", "rsa2048"]))
    except FileNotFoundError:
        return OpenSSLSpeed(missing="The program openssl is not installed.")
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return OpenSSLSpeed(missing=f"The program openssl did not answer: {error}.")
    return OpenSSLSpeed(version=version, results=results)


def parse_speed(text: str) -> list[SpeedResult]:
    """The RSA lines of ``openssl speed -mr``: ``+F2:index:bits:sign:verify``, in operations/s or, before 3.0, in s.

    Raises:
        ValueError: there is none, or one is something else.
    """
    results = []
    for line in text.splitlines():
        if line.startswith("+F2:"):
            _, _, bits, sign, verify, *_ = line.split(":")
            per_s = [value if value >= 1 else 1 / max(value, 1e-9) for value in (float(sign), float(verify))]
            results.append(SpeedResult(bits=int(bits), sign_per_s=round(per_s[0], 1), verify_per_s=round(per_s[1], 1)))
    if not results:
        raise ValueError("its output has no lines of RSA")
    return results


def _output_of(command: Sequence[str]) -> str:
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(  # noqa: S603 - a fixed command
        command,
        check=True,
        capture_output=True,
        text=True,
        timeout=_SPEED_TIMEOUT_S,
        env=environment,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout
