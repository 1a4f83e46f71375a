"""Devices that are slow on purpose."""

from __future__ import annotations

import pytest

from loadgen.engine.plan import Pace
from loadgen.protocol.firmware import P1_0_7_0
from loadgen.protocol.stages import STAGE_BOUNDS, Stage
from loadgen.recording.rows import FIRMWARE_COLUMN, ROW_FIELDS
from tests.engine.fakes import MS, SECOND, Bench, FakeSocket, firmware_plan, plan, renamed

PACE = Pace(encrypt_ns=83 * MS, unwrap_ns=400 * MS, rtt_ns=60 * MS)


def times(bench: Bench, stage: Stage) -> list[tuple[int, float]]:
    """(firmware, ms) of a stage of every completed handshake."""
    rows, width = list(bench.driver.rows), len(ROW_FIELDS)
    begin, end = STAGE_BOUNDS[stage]
    return [(rows[at + FIRMWARE_COLUMN], (rows[at + end] - rows[at + begin]) / MS) for at in range(0, len(rows), width)]


def run(bench: Bench, to_ns: int = 2 * SECOND) -> None:
    bench.driver.begin(bench.now)
    bench.advance(to_ns)


def test_answers_go_out_when_a_device_would_have_them() -> None:
    bench = Bench(plan(firmwares=(firmware_plan(pace=PACE),)))
    run(bench)
    assert times(bench, Stage.ENCRYPT) == [(0, 143.0)] * 10
    assert times(bench, Stage.UNWRAP) == [(0, 460.0)] * 10
    for stage in (Stage.CONNECT, Stage.NONCE, Stage.KEY, Stage.HELLO):
        assert max(ms for _, ms in times(bench, stage)) < 10, "what is waited for on purpose is ours, not the cloud's"


def test_starts_are_on_time_while_devices_wait() -> None:
    bench = Bench(plan(firmwares=(firmware_plan(pace=PACE),), rate_numerator=100, duration_ns=2 * SECOND), 200)
    bench.driver.begin(bench.now)
    bench.advance(SECOND)
    assert bench.driver.snapshot(bench.now).in_flight == 61, "603 ms of handshakes at 100/s, and the one just started"
    bench.advance(3 * SECOND)
    assert times(bench, Stage.SCHEDULE_LAG) == [(0, 0.0)] * 200


def test_the_pace_is_that_of_the_devices_firmware() -> None:
    other = renamed(P1_0_7_0, "p1@other")
    slower = Pace(encrypt_ns=88 * MS, unwrap_ns=400 * MS, rtt_ns=60 * MS)
    mix = (firmware_plan(pace=PACE), firmware_plan(other, pace=slower))
    bench = Bench(plan(firmwares=mix, rate_numerator=20), firmwares=(P1_0_7_0, other))
    run(bench)
    found = times(bench, Stage.ENCRYPT)
    assert sorted(found) == [(0, 143.0)] * 10 + [(1, 148.0)] * 10


def test_without_a_pace_nothing_waits() -> None:
    other = renamed(P1_0_7_0, "p1@other")
    mix = (firmware_plan(), firmware_plan(other, pace=PACE))
    bench = Bench(plan(firmwares=mix), firmwares=(P1_0_7_0, other))
    run(bench)
    assert {ms for firmware, ms in times(bench, Stage.ENCRYPT) if firmware == 0} == {0.0}


def test_crypto_that_takes_longer_than_the_pace_is_not_made_to_wait_for_it() -> None:
    bench = Bench(plan(firmwares=(firmware_plan(pace=Pace(encrypt_ns=1)),), count=1))
    run(bench)
    assert times(bench, Stage.ENCRYPT) == [(0, 1e-6)]


@pytest.mark.parametrize("code", [-19, -1])
def test_a_cloud_that_leaves_meanwhile_is_noticed_at_the_next_receive(code: int) -> None:
    ending: bytes | OSError = b"" if code == -19 else ConnectionResetError()

    def connect(sock: FakeSocket) -> None:
        sock.inbox.extend((bytes(40), ending))

    bench = Bench(plan(firmwares=(firmware_plan(pace=PACE),), count=1))
    bench.network.on_connect = connect
    run(bench)
    failed = list(bench.driver.failures)
    assert len(failed) == 6
    assert failed[4] == code
    assert not bench.driver._devices


def test_an_abort_leaves_nobody_waiting() -> None:
    bench = Bench(plan(firmwares=(firmware_plan(pace=PACE),)))
    bench.driver.begin(bench.now)
    bench.advance(100 * MS)
    bench.driver.abort()
    assert bench.driver.finished
    bench.advance(SECOND)
    assert bench.driver.counts.completed == 0
    assert bench.driver._held == []
