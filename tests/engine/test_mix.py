"""Which device runs which firmware."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import product

import pytest

from loadgen.engine.mix import assign, sizes
from loadgen.protocol.firmware import P1_0_7_0
from loadgen.protocol.stages import Stage
from loadgen.recording.rows import FAILURE_FIELDS, FIRMWARE_COLUMN, ROW_FIELDS
from tests.engine.fakes import MS, SECOND, Bench, firmware_plan, plan

OTHER = replace(
    P1_0_7_0, name="p1@other", device_codes={**P1_0_7_0.device_codes, **dict.fromkeys(P1_0_7_0.device_codes, 7)}
)
MIX = (firmware_plan(parts=7), firmware_plan(OTHER, parts=3))


@pytest.mark.parametrize(("parts", "devices"), [((3, 7), 1000), ((1, 1), 50), ((1, 2, 97), 700), ((37, 63), 10_000)])
def test_shares_are_exact_in_every_block(parts: tuple[int, ...], devices: int) -> None:
    assigned = assign(parts, devices, seed=5)
    size = sum(parts)
    for begin in range(0, devices, size):
        found = Counter(assigned[begin : begin + size])
        assert [found[position] for position in range(len(parts))] == list(parts)


@pytest.mark.parametrize(
    ("parts", "devices"), [((3, 7), 1), ((3, 7), 13), ((1, 1, 1), 11), ((1, 99), 50), ((5, 95), 9)]
)
def test_a_last_short_block_is_as_near_as_whole_devices_allow(parts: tuple[int, ...], devices: int) -> None:
    counts = sizes(parts, devices)
    assert sum(counts) == devices
    assert all(abs(count - devices * part / sum(parts)) < 1 for count, part in zip(counts, parts, strict=True))
    found = Counter(assign(parts, devices, seed=1))
    assert [found[position] for position in range(len(parts))] == counts


def test_the_order_depends_on_the_seed_alone() -> None:
    assert assign((3, 7), 500, seed=5) == assign((3, 7), 500, seed=5)
    assert assign((3, 7), 500, seed=5) != assign((3, 7), 500, seed=6)
    longer = assign((3, 7), 1000, seed=5)
    assert longer[:500] == assign((3, 7), 500, seed=5), "more devices change nothing for those that were there"


@pytest.mark.parametrize("workers", [2, 3, 4, 10])
def test_no_worker_and_no_key_goes_with_a_firmware(workers: int) -> None:
    devices = 10_000
    assigned = assign((1, 1), devices, seed=11)
    for index in range(workers):
        mine = assigned[index::workers]
        # Of n devices, half of them likely: six standard deviations are 3 times the root of n.
        assert abs(sum(mine) - len(mine) / 2) < 3 * len(mine) ** 0.5


def test_one_firmware_needs_no_draw() -> None:
    assert assign((1,), 3, seed=1) == [0, 0, 0]


def firmwares_of(bench: Bench) -> Counter[int]:
    return Counter(list(bench.driver.rows)[FIRMWARE_COLUMN :: len(ROW_FIELDS)])


def test_every_device_keeps_its_firmware_and_rows_say_which() -> None:
    bench = Bench(plan(firmwares=MIX, rate_numerator=100), 20, firmwares=(P1_0_7_0, OTHER))
    bench.driver.begin(bench.now)
    bench.advance(SECOND)
    assert firmwares_of(bench) == {0: 70, 1: 30}
    counts = bench.driver.snapshot(bench.now)
    assert counts.started_of == [70, 30]
    assert (counts + counts).started_of == [140, 60]


def test_workers_together_have_the_shares_of_one() -> None:
    total: Counter[int] = Counter()
    for index in range(2):
        load = plan(firmwares=MIX, rate_numerator=100)
        bench = Bench(load, 50, index=index, parts=2, firmwares=(P1_0_7_0, OTHER))
        bench.driver.begin(bench.now)
        bench.advance(SECOND)
        total += firmwares_of(bench)
    assert total == {0: 70, 1: 30}


def test_failures_have_the_firmware_and_its_code() -> None:
    bench = Bench(plan(firmwares=MIX, rate_numerator=100), 100, firmwares=(P1_0_7_0, OTHER))
    bench.network.on_connect = lambda sock: sock.inbox.append(b"")
    bench.driver.begin(bench.now)
    bench.advance(SECOND)
    width = len(FAILURE_FIELDS)
    failures = list(bench.driver.failures)
    assert Counter(zip(failures[5::width], failures[4::width], strict=True)) == {(0, -19): 70, (1, 7): 30}


def test_each_firmware_has_its_own_timeouts() -> None:
    patient = {**firmware_plan().timeouts_ns, str(Stage.NONCE): 3 * SECOND}
    hasty = {**patient, str(Stage.NONCE): 200 * MS}
    mix = (firmware_plan(timeouts_ns=patient), firmware_plan(OTHER, timeouts_ns=hasty))
    bench = Bench(plan(firmwares=mix, rate_numerator=10), 20, firmwares=(P1_0_7_0, OTHER))
    bench.network.on_connect = lambda sock: None
    bench.driver.begin(bench.now)
    bench.advance(2 * SECOND)
    started, failed_at, firmware = (list(bench.driver.failures)[column :: len(FAILURE_FIELDS)] for column in (0, 1, 5))
    assert set(firmware) == {1}
    assert all(200 <= (end - begin) / MS < 300 for begin, end in zip(started, failed_at, strict=True))
    bench.advance(5 * SECOND)
    assert bench.driver.snapshot(bench.now).failed == 10
    assert all(len(cohort.deadlines) == 0 for cohort in bench.driver.cohorts)


def test_a_device_comes_back_with_the_back_off_of_its_own_firmware() -> None:
    slow = replace(OTHER, back_off_unit_ns=5 * P1_0_7_0.back_off_unit_ns)
    load = plan(firmwares=(firmware_plan(), firmware_plan(slow)), storm=None, reconnect=True, hold_ns=SECOND, count=20)
    bench = Bench(load, 20, firmwares=(P1_0_7_0, slow))
    bench.driver.begin(bench.now)
    returns = bench.driver._returns
    assert returns is not None
    pauses = set()
    for device, failures in product(range(20), range(2)):
        assert returns.ended(device, 0, failed=True, in_session=failures == 0)
        if failures:
            pauses.add((bench.driver._identities[device].firmware, max(returns._waiting)[0]))
            returns._waiting.clear()
        else:
            returns.take()
    assert pauses == {(0, SECOND), (1, 5 * SECOND)}
