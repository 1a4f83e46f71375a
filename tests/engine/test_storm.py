"""Storms and reconnects of a driver against a cloud in memory."""

from __future__ import annotations

import errno

from loadgen.engine.draws import Distribution
from loadgen.protocol.stages import Point
from loadgen.recording.rows import FLAG_ONLINE, FLAGS_COLUMN, rows_from_bytes
from tests.engine.fakes import MS, SECOND, Bench, FakeSocket, good_connect, plan

HOUR = 3600 * SECOND


def storm(**changes: object) -> Bench:
    settings: dict[str, object] = {
        "storm": Distribution("constant", 0.0),
        "rate_numerator": 0,
        "duration_ns": HOUR,
        "hold_ns": HOUR,
        "max_in_flight": 20,
    }
    return Bench(plan(**{**settings, **changes}))


def table(bench: Bench) -> list[list[int]]:
    rows: list[list[int]] = rows_from_bytes(bench.driver.rows.tobytes()).tolist()
    return rows


def test_the_whole_fleet_comes_back_at_once_and_stays() -> None:
    bench = storm()
    bench.driver.begin(bench.begin)
    bench.advance(2 * SECOND)
    counts = bench.driver.snapshot(bench.now)
    assert (counts.intended, counts.started, counts.completed, counts.sessions) == (20, 20, 20, 20)
    assert {row[Point.INTENDED] for row in table(bench)} == {bench.begin}
    assert all(row[FLAGS_COLUMN] & FLAG_ONLINE for row in table(bench))
    bench.driver.stop()
    assert bench.driver.finished


def test_devices_notice_at_different_times() -> None:
    bench = storm(storm=Distribution("uniform", 0.0, 25.0 * SECOND), seed=3)
    bench.driver.begin(bench.begin)
    bench.advance(26 * SECOND, step_ns=50 * MS)
    times = sorted(row[Point.INTENDED] - bench.begin for row in table(bench))
    assert len(set(times)) == 20
    assert times[0] < 5 * SECOND < 20 * SECOND < times[-1] <= 25 * SECOND


def test_an_attempt_after_a_failure_is_intended_after_the_back_off() -> None:
    bench = storm()
    refused: set[int] = set()

    def connect(sock: FakeSocket) -> None:
        if bench.now - bench.begin < 5_500 * MS:
            refused.add(sock.number)
            sock.inbox.append(OSError(errno.ECONNRESET, "reset"))
        else:
            good_connect(sock)

    bench.network.on_connect = connect
    bench.driver.begin(bench.begin)
    bench.advance(9 * SECOND)
    counts = bench.driver.snapshot(bench.now)
    # At 0, 1, 2, 3, 4 and 5 s; after six failures the pause is 2 s.
    assert (counts.failed, counts.completed, counts.started) == (6 * 20, 20, 7 * 20)
    assert counts.intended == counts.started == counts.returned
    assert {row[Point.INTENDED] - bench.begin for row in table(bench)} == {7 * SECOND}


def test_a_device_that_is_lost_again_comes_back_and_is_online_once() -> None:
    bench = storm()
    bench.driver.begin(bench.begin)
    bench.advance(SECOND)
    bench.network.all[3].inbox.append(b"")
    bench.advance(2 * SECOND)
    counts = bench.driver.snapshot(bench.now)
    assert (counts.completed, counts.session_failed, counts.sessions) == (21, 1, 20)
    assert sum(row[FLAGS_COLUMN] & FLAG_ONLINE != 0 for row in table(bench)) == 20


def test_room_and_descriptors_make_devices_wait() -> None:
    bench = storm(max_in_flight=15)
    bench.network.refusal = OSError(errno.EMFILE, "too many open files")
    bench.driver.begin(bench.begin)
    bench.advance(200 * MS)
    assert bench.driver.snapshot(bench.now).started == 0
    bench.network.refusal = None
    bench.advance(SECOND)
    counts = bench.driver.snapshot(bench.now)
    assert (counts.intended, counts.started) == (20, 15)


def test_with_reconnect_a_lost_session_comes_back_beside_the_schedule() -> None:
    bench = Bench(plan(hold_ns=HOUR, reconnect=True, duration_ns=4 * SECOND))
    bench.driver.begin(bench.begin)
    bench.advance(950 * MS)
    bench.network.all[0].inbox.append(b"")
    bench.advance(1500 * MS)
    counts = bench.driver.snapshot(bench.now)
    assert (counts.completed, counts.returned, counts.session_failed) == (17, 1, 1)
    assert counts.sessions == 16
    assert counts.intended == counts.started == 17


def test_a_storm_brings_devices_back_that_have_long_booted() -> None:
    bench = storm()
    bench.driver.begin(bench.begin)
    bench.advance(SECOND)
    sent = b"".join(data for sock in bench.network.all for data in sock.sent)
    assert b"spark/hardware/max_binary" in sent
    assert b"spark/device/last_reset" not in sent


def test_without_it_the_session_stays_lost() -> None:
    bench = Bench(plan(hold_ns=HOUR, duration_ns=4 * SECOND, count=10))
    bench.driver.begin(bench.begin)
    bench.advance(950 * MS)
    bench.network.all[0].inbox.append(b"")
    bench.advance(1500 * MS)
    counts = bench.driver.snapshot(bench.now)
    assert (counts.completed, counts.returned, counts.sessions) == (10, 0, 9)


def test_sessions_send_events() -> None:
    bench = Bench(plan(count=1, duration_ns=None, hold_ns=10 * SECOND, events=Distribution("constant", 1.0)))
    bench.driver.begin(bench.begin)
    bench.advance(9 * SECOND, step_ns=50 * MS)
    sock = bench.network.all[0]
    assert 8 <= bench.driver.counts.events <= 9
    events = [data for data in sock.sent if b"loadgen" in data]
    assert len(events) == bench.driver.counts.events
    assert {data[2:4] for data in events} == {b"\x50\x02"}, "a NON POST"
    bench.advance(12 * SECOND, step_ns=50 * MS)
    assert bench.driver.finished
