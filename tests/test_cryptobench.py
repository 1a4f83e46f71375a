from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen import cryptobench
from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.crypto.base import LaneResult
from loadgen.crypto.openssl import OpenSSLBackend
from loadgen.cryptobench import (
    PROTOCOL_OPERATIONS,
    RAW_OPERATIONS,
    SIDES,
    Cell,
    Clocks,
    Material,
    Stopwatch,
    Workload,
    fair_share,
    make_cells,
    measure_operations,
    measure_threads,
    openssl_speed,
    operation_results,
    parse_speed,
    run_together,
    size_for,
    thread_counts,
)
from loadgen.protocol.events import UnwrapKey
from loadgen.protocol.reasons import CryptoFault
from loadgen.recording.crypto_record import SpeedResult, ThreadResult


class World:
    """Time that passes only where something takes it: readings of clocks, and operations."""

    def __init__(self, wall_reading_ns: int = 90, cpu_reading_ns: int = 700) -> None:
        self.wall = 10**15
        self.cpu = 10**9
        self.ran: list[str] = []
        self._wall_reading_ns = wall_reading_ns
        self._cpu_reading_ns = cpu_reading_ns

    def spend(self, ns: int, cpu_ns: int | None = None) -> None:
        self.wall += ns
        self.cpu += ns if cpu_ns is None else cpu_ns

    @property
    def clocks(self) -> Clocks:
        def wall_ns() -> int:
            self.spend(self._wall_reading_ns)
            return self.wall

        def cpu_ns() -> int:
            self.spend(self._cpu_reading_ns)
            return self.cpu

        return Clocks(wall_ns, cpu_ns)

    def operation(self, name: str, ns: int, cpu_ns: int | None = None) -> Callable[[], None]:
        def run() -> None:
            self.ran.append(name)
            self.spend(ns, cpu_ns)

        return run

    def cell(self, backend: str, ns: int, *, cpu_ns: int | None = None, size: int = 1, operation: str = "x") -> Cell:
        return Cell(operation, backend, size, self.operation(backend, ns * size, cpu_ns))


# --- measuring


@pytest.mark.parametrize("ns", [90, 3_000, 25_000, 4_000_000])
def test_what_measuring_costs_is_not_counted(ns: int) -> None:
    world = World()
    cell = world.cell("a", ns, size=2)
    measure_operations([cell], NS_PER_S, clocks=world.clocks)
    assert set(cell.samples_ns) == {ns}
    assert cell.rounds_cpu_ns == pytest.approx([ns] * len(cell.rounds_cpu_ns), rel=1e-3)


def test_short_operations_are_timed_many_at_a_time() -> None:
    world = World()
    short, long = world.cell("a", 80), world.cell("b", 30_000)
    measure_operations([short, long], 100 * NS_PER_MS, clocks=world.clocks)
    assert short.batches >= 100
    assert long.batches == 1


def test_cpu_time_is_told_apart_from_wall_time() -> None:
    world = World()
    cell = world.cell("a", 50_000, cpu_ns=20_000)
    measure_operations([cell], 100 * NS_PER_MS, clocks=world.clocks)
    assert set(cell.samples_ns) == {50_000}
    assert cell.rounds_cpu_ns[0] == pytest.approx(20_000, rel=1e-3)


def test_backends_take_turns_within_every_round() -> None:
    world = World()
    cells = [world.cell("a", 30_000), world.cell("b", 30_000)]
    watch_only = world.ran
    rounds = measure_operations(cells, 24 * 2 * 90_000, rounds=24, clocks=world.clocks)
    turns = [name for number, name in enumerate(watch_only) if number == 0 or watch_only[number - 1] != name]
    assert rounds == 24
    assert turns == ["a", "b"] * 25  # the first turns are the preparation
    assert len(cells[0].rounds_cpu_ns) == len(cells[1].rounds_cpu_ns) == 24


def test_the_time_is_used_and_not_exceeded() -> None:
    world = World()
    cells = [world.cell(name, ns) for name, ns in (("a", 25_000), ("b", 300_000), ("c", 9_000_000))]
    before = world.wall
    assert measure_operations(cells, NS_PER_S, clocks=world.clocks) == cryptobench.ROUNDS
    assert 0.9 * NS_PER_S < world.wall - before < 1.05 * NS_PER_S
    assert all(len(cell.samples_ns) >= 20 for cell in cells)


def test_a_machine_that_is_too_slow_for_all_rounds_stops_in_time() -> None:
    world = World()
    cells = [world.cell(str(number), NS_PER_S // 10) for number in range(5)]
    before = world.wall
    assert measure_operations(cells, 2 * NS_PER_S + NS_PER_S // 10, clocks=world.clocks) == 3
    assert world.wall - before < 2.3 * NS_PER_S
    assert [len(cell.samples_ns) for cell in cells] == [3, 2, 2, 2, 2]
    assert [result.wall.count for result in operation_results(cells)] == [3, 2, 2, 2, 2]


def test_cells_that_were_never_reached_have_no_numbers() -> None:
    (result,) = operation_results([Cell("x", "a", 1, lambda: None)])
    assert result.wall.count == 0
    assert (result.wall.p50_ns, result.cpu_ns, result.per_s_per_core, result.ratio_to_openssl) == (None,) * 4


def test_the_work_ends_when_it_is_asked_to() -> None:
    world = World()
    seen: list[float] = []

    def goes_on(done: float) -> bool:
        seen.append(done)
        return len(seen) < 3

    assert measure_operations([world.cell("a", 30_000)], NS_PER_S, clocks=world.clocks, progress=goes_on) == 3
    assert seen == [1 / 24, 2 / 24, 3 / 24]


def test_the_clock_of_this_machine_costs_little() -> None:
    overhead = Stopwatch(Clocks()).overhead
    assert 0 <= overhead.sample_wall < 100_000
    assert 0 <= overhead.call < 100_000
    assert overhead.visit_cpu < 1_000_000


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=20), st.integers(0, 20_000))
def test_a_fair_share_fits_and_could_not_be_larger(costs: list[int], total: int) -> None:
    share = fair_share(costs, total)
    if sum(costs) > total:
        assert share == 0
    else:
        assert sum(max(cost, share) for cost in costs) <= total
        assert sum(max(cost, share + 1) for cost in costs) > total


# --- results


def made(backend: str, cpu_ns: Sequence[float], size: int = 8) -> Cell:
    cell = Cell("unwrap_key", backend, size, lambda: None)
    cell.rounds_cpu_ns = list(cpu_ns)
    cell.samples_ns = [round(value) for value in cpu_ns]
    return cell


def test_ratios_are_those_within_a_round() -> None:
    """Everything is three times slower in the second half: the ratio does not care."""
    slow = [1.0] * 10 + [3.0] * 11
    cells = [
        made("openssl", [100_000 * factor for factor in slow]),
        made("native", [20_000 * factor for factor in slow]),
    ]
    openssl, native = operation_results(cells)
    assert openssl.ratio_to_openssl == 1.0
    assert native.ratio_to_openssl == 5.0
    assert native.ratio_ci == (5.0, 5.0)
    assert native.cpu_ns == 60_000
    assert native.per_s_per_core == pytest.approx(16_666.7)
    assert native.wall.count == 21
    assert native.wall.p50_ns is not None
    assert native.wall.p90_ns is None


def test_a_ratio_needs_something_to_compare_to() -> None:
    (alone,) = operation_results([made("native", [1000.0] * 9)])
    assert (alone.ratio_to_openssl, alone.ratio_ci) == (None, None)
    _, other_size = operation_results([made("openssl", [1000.0] * 9, size=4), made("native", [1000.0] * 9, size=8)])
    assert other_size.ratio_to_openssl is None
    _, few = operation_results([made("openssl", [1000.0] * 5), made("native", [500.0] * 4)])
    assert (few.ratio_to_openssl, few.ratio_ci) == (2.0, None)


@pytest.mark.parametrize(
    ("cores", "counts", "quick"),
    [(1, [1], [1]), (2, [1, 2], [1, 2]), (6, [1, 2, 4, 6], [1, 6]), (64, [1, 2, 4, 8, 16, 32, 64], [1, 64])],
)
def test_thread_counts(cores: int, counts: list[int], quick: list[int]) -> None:
    assert thread_counts(cores) == counts
    assert thread_counts(cores, quick=True) == quick


def threads(side: str, backend: str, count: int, per_cpu_s: float) -> ThreadResult:
    return ThreadResult(
        side=side,  # type: ignore[arg-type]
        backend=backend,
        batch_size=16,
        threads=count,
        handshakes_per_s=count * per_cpu_s,
        handshakes_per_cpu_s=per_cpu_s,
    )


def test_sizing_counts_with_what_a_core_does_when_all_are_busy() -> None:
    results = [threads("device", "native", 1, 40_000), threads("device", "native", 8, 25_000)]
    sizing = size_for(50_000, [*results, threads("cloud", "native", 8, 4_000)])
    assert sizing.threads_measured == 8
    assert [(row.side, row.handshakes_per_core_s, row.cores, row.cores_planned) for row in sizing.rows] == [
        ("device", 25_000, 2.0, 3),
        ("cloud", 4_000, 12.5, 18),
    ]


# --- what is measured


@pytest.fixture(scope="module")
def material() -> Material:
    return Material(3)


@pytest.fixture(scope="module")
def workload(material: Material) -> Workload:
    return Workload(OpenSSLBackend(), material)


def test_every_operation_runs(workload: Workload) -> None:
    assert workload.operations == (*SIDES.values(), *PROTOCOL_OPERATIONS, *RAW_OPERATIONS)
    for operation in workload.operations:
        workload.runner(operation, 2)()


def test_batches_have_the_size_that_was_asked_for(workload: Workload) -> None:
    for operation in ("encrypt_nonce", "unwrap_key", "decrypt_nonce", "wrap_key", *RAW_OPERATIONS):
        for size in (1, 3):
            results = workload.runner(operation, size)()
            assert isinstance(results, list)
            assert [type(result) for result in results] == [bytes] * size


def test_the_same_seed_gives_the_same_work(material: Material) -> None:
    again, other = Material(3), Material(3, seed=2)
    assert (again.devices, again.plaintexts) == (material.devices, material.plaintexts)
    assert other.devices != material.devices


def test_cells_that_are_compared_stand_together(workload: Workload) -> None:
    cells = make_cells({"a": workload, "b": workload}, (1, 2))
    groups = [cell.group for cell in cells]
    assert groups[::2] == groups[1::2]
    assert [cell.backend for cell in cells] == ["a", "b"] * (len(cells) // 2)
    assert [cell.size for cell in cells if cell.operation == "seal"] == [1, 1]
    assert len(groups[::2]) == len(set(groups)) == 2 * (len(workload.operations) - 2) + 2


class Faulty(OpenSSLBackend):
    def unwrap_key(self, batch: Sequence[UnwrapKey]) -> list[LaneResult]:
        return [CryptoFault.BAD_KEY for _ in batch]


def test_a_backend_that_is_wrong_is_not_measured(material: Material) -> None:
    with pytest.raises(RuntimeError, match="gives wrong results"):
        Workload(Faulty(), material)


# --- threads


def test_threads_work_at_the_same_time() -> None:
    counts = [0, 0, 0]

    def counter(number: int) -> Callable[[], None]:
        def run() -> None:
            counts[number] += 1

        return run

    per_s, per_cpu_s = run_together([counter(number) for number in range(3)], NS_PER_MS, Clocks())
    assert all(counts)
    assert per_s > 0
    assert per_cpu_s > 0


def test_a_thread_that_fails_fails_the_measurement() -> None:
    def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_together([fail], NS_PER_MS, Clocks())


def test_both_sides_are_measured_on_every_number_of_threads(material: Material) -> None:
    done: list[float] = []
    results = measure_threads(
        {"openssl": lambda: Workload(OpenSSLBackend(), material)},
        [1, 2],
        0,
        rounds=2,
        progress=lambda share: not done.append(share),  # type: ignore[func-returns-value]
    )
    assert [(result.side, result.threads) for result in results] == [
        ("device", 1),
        ("device", 2),
        ("cloud", 1),
        ("cloud", 2),
    ]
    assert all(result.handshakes_per_s > 0 and result.handshakes_per_cpu_s > 0 for result in results)
    assert done == [0.5, 1.0]


# --- the program openssl


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param(
            "+DTP:1024:private:rsa:1\n+R1:2:1024:1\n+F2:1:1024:11357.575758:193711.904762\n"
            "+F2:2:2048:3926.136364:54676.190476\n",
            [(1024, 11357.6, 193711.9), (2048, 3926.1, 54676.2)],
            id="3.0",
        ),
        pytest.param("+F2:2:1024:0.000100:0.000005\n", [(1024, 10_000.0, 200_000.0)], id="1.1.1, in seconds"),
        pytest.param("+F2:2:2048:4000.0:60000.0:59000.0:3900.0\n", [(2048, 4000.0, 60_000.0)], id="3.4"),
    ],
)
def test_reads_what_the_program_says(text: str, expected: list[tuple[int, float, float]]) -> None:
    assert parse_speed(text) == [
        SpeedResult(bits=bits, sign_per_s=sign, verify_per_s=verify) for bits, sign, verify in expected
    ]


@pytest.mark.parametrize("text", ["", "speed: Unknown algorithm rsa1024", "+F2:1:2\n", "+F2:1:1024:fast:slow\n"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_speed(text)


def test_asks_for_both_key_sizes() -> None:
    asked: list[Sequence[str]] = []

    def run(command: Sequence[str]) -> str:
        asked.append(command)
        return "OpenSSL 3.5.4\n" if command[1] == "version" else "+F2:2:2048:4000.0:60000.0\n"

    speed = openssl_speed(run)
    assert (speed.version, len(speed.results), speed.missing) == ("OpenSSL 3.5.4", 1, "")
    assert [command[1] for command in asked] == ["version", "speed"]
    assert {"rsa1024", "rsa2048"} <= set(asked[1])


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(2, "No such file"), "is not installed"),
        (PermissionError(13, "Permission denied"), "did not answer"),
        (subprocess.TimeoutExpired("openssl", 30), "timed out"),
        (subprocess.CalledProcessError(1, "openssl"), "exit status 1"),
    ],
)
def test_a_program_that_is_missing_or_fails_is_said_to_be(error: Exception, words: str) -> None:
    def run(command: Sequence[str]) -> str:
        raise error

    speed = openssl_speed(run)
    assert speed.results == []
    assert words in speed.missing
