"""The driver and its virtual devices against a cloud in memory."""

from __future__ import annotations

import errno
import socket

import msgspec
import numpy as np
import pytest

from loadgen.engine.messages import Counts
from loadgen.engine.sockets import EVENTS_BETWEEN
from loadgen.protocol.firmware import P1_0_7_0, firmware
from loadgen.protocol.reasons import CryptoFault, Reason
from loadgen.protocol.stages import Point, Stage
from loadgen.recording.rows import (
    FLAG_HELLO_MERGED,
    FLAG_HELLO_UNSTAMPED,
    FLAG_KEY_UNSTAMPED,
    FLAG_NONCE_UNSTAMPED,
    NO_DEVICE_CODE,
    NOT_MEASURED,
    REASONS,
    ROW_FIELDS,
    STAGES,
    Rows,
    failures_from_bytes,
    rows_from_bytes,
)
from tests.engine.fakes import (
    HELLO,
    MS,
    NONCE,
    REPLY,
    RTT_NS,
    SECOND,
    Bench,
    FakeSocket,
    answer_every_ms,
    firmware_plan,
    good_answer,
    good_connect,
    plan,
)

BOOT = len(P1_0_7_0.boot) - 3
"""Messages of an ordinary boot: not set up, not in safe mode, no key lost."""


def rows(bench: Bench) -> Rows:
    return rows_from_bytes(bench.driver.rows.tobytes())


def failures(bench: Bench) -> list[tuple[Stage, Reason, int | None]]:
    table = failures_from_bytes(bench.driver.failures.tobytes()).tolist()
    return [(STAGES[row[2]], REASONS[row[3]], None if row[4] == NO_DEVICE_CODE else row[4]) for row in table]


def session_failures(bench: Bench) -> list[tuple[Reason, int | None]]:
    table = failures_from_bytes(bench.driver.session_failures.tobytes()).tolist()
    return [(REASONS[row[3]], None if row[4] == NO_DEVICE_CODE else row[4]) for row in table]


def counts(bench: Bench) -> Counts:
    return bench.driver.snapshot(bench.now)


def test_an_open_loop_starts_by_the_schedule() -> None:
    bench = Bench(plan())
    bench.driver.begin(bench.begin)
    bench.advance(2 * SECOND)
    table = rows(bench)
    assert table[:, Point.INTENDED].tolist() == [bench.begin + turn * 100 * MS for turn in range(10)]
    assert np.array_equal(table[:, Point.STARTED], table[:, Point.INTENDED]), "the alarm rings at the intended instant"
    assert counts(bench) == Counts(intended=10, started=10, completed=10)
    assert bench.driver.finished


def test_every_point_of_a_handshake_is_stamped() -> None:
    bench = Bench(plan(count=1))
    sock = answer_every_ms(bench)
    (row,) = rows(bench).tolist()
    begin = bench.begin
    assert row[:8] == [
        begin,
        begin,
        begin + RTT_NS,
        begin + MS,
        begin + MS,
        begin + 2 * MS,
        begin + 2 * MS,
        begin + 3 * MS,
    ]
    assert [len(data) for data in sock.sent] == [256, 18]


def test_kernel_stamps_take_the_wait_for_the_read_out_of_the_points() -> None:
    bench = Bench(plan(count=1, kernel_stamps=True))
    bench.network.lag_ns = 2_000
    bench.now += SECOND
    bench.driver.begin(bench.begin)
    bench.settle()
    (row,) = rows(bench).tolist()
    assert row[Point.NONCE_IN] == row[Point.KEY_IN] == row[Point.HELLO_IN] == bench.now - 2_000
    assert row[ROW_FIELDS.index("wakeup_lag")] == 6_000, "of three messages"
    assert row[ROW_FIELDS.index("flags")] == 0


def test_missing_kernel_stamps_and_merged_hellos_are_flagged() -> None:
    bench = Bench(plan(count=1, kernel_stamps=True))
    bench.network.on_send = lambda sock, data: sock.inbox.append(REPLY if len(data) == 256 else HELLO + HELLO)
    bench.driver.begin(bench.begin)
    bench.settle()
    (row,) = rows(bench).tolist()
    unstamped = FLAG_NONCE_UNSTAMPED | FLAG_KEY_UNSTAMPED | FLAG_HELLO_UNSTAMPED
    assert row[ROW_FIELDS.index("flags")] == unstamped | FLAG_HELLO_MERGED
    assert row[ROW_FIELDS.index("wakeup_lag")] == NOT_MEASURED


def test_the_last_byte_of_a_message_counts_not_the_first() -> None:
    bench = Bench(plan(count=1))
    bench.network.on_connect = lambda sock: sock.inbox.append(NONCE[:39])
    bench.driver.begin(bench.begin)
    bench.settle()
    bench.now += 7 * MS
    bench.network.all[0].inbox.append(NONCE[39:])
    bench.advance(8 * MS)
    (row,) = rows(bench).tolist()
    assert row[Point.NONCE_IN] == bench.begin + 7 * MS


def order_of_work(bench: Bench, monkeypatch: pytest.MonkeyPatch, read_ns: int = 0, send_ns: int = 0) -> list[str]:
    """Fills with ``start``, ``read`` and ``send`` as they happen; reads and sends take so long."""
    order: list[str] = []
    receive, send = bench.network.receive, FakeSocket.send

    def slow_receive(sock: socket.socket) -> tuple[bytes, int, int | None]:
        bench.now += read_ns
        order.append("read")
        return receive(sock)

    def slow_send(sock: FakeSocket, data: bytes) -> int:
        bench.now += send_ns
        order.append("send")
        return send(sock, data)

    monkeypatch.setattr(bench.network, "receive", slow_receive)
    monkeypatch.setattr(FakeSocket, "send", slow_send)
    bench.network.on_connect = lambda sock: order.append("start")
    return order


@pytest.mark.parametrize(("kernel_stamps", "expected"), [(True, ["start", "read"]), (False, ["read", "start"])])
def test_a_late_read_is_harmless_only_with_kernel_stamps(
    kernel_stamps: bool, expected: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(plan(kernel_stamps=kernel_stamps))
    order = order_of_work(bench, monkeypatch)
    bench.driver.begin(bench.begin)
    bench.driver.turn()
    bench.network.all[0].inbox.append(NONCE)
    bench.now += 100 * MS
    order.clear()
    bench.driver.turn()
    assert order[:2] == expected


def in_flight(bench: Bench, count: int) -> list[FakeSocket]:
    """Start ``count`` devices, of a schedule of 1,000/s, that have heard nothing yet."""
    bench.driver.begin(bench.begin)
    bench.advance((count - 1) * MS)
    assert len(bench.network.all) == count
    return list(bench.network.all)


def longest_wait(order: list[str]) -> int:
    """Most pieces of other work between two starts."""
    return max(len(work.split()) for work in " ".join(order).split("start"))


def test_starts_that_fall_due_between_reads_do_not_wait_for_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(plan(rate_numerator=1_000, max_in_flight=300, kernel_stamps=True), devices=300)
    order = order_of_work(bench, monkeypatch, read_ns=MS)
    for sock in in_flight(bench, 100):
        sock.inbox.append(NONCE[:20])
    order.clear()
    bench.driver.turn()
    assert order.count("read") == 100, "no read is left out"
    assert order.count("start") == 100, "nor a start"
    assert longest_wait(order) <= EVENTS_BETWEEN


def test_starts_that_fall_due_between_answers_do_not_wait_for_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(plan(rate_numerator=1_000, max_in_flight=300, kernel_stamps=True), devices=300, lanes=8)
    order = order_of_work(bench, monkeypatch, send_ns=MS)
    for sock in in_flight(bench, 64):
        sock.inbox.append(NONCE)
    order.clear()
    bench.driver.turn()
    assert order.count("send") == 64, "no answer is left out"
    assert order.count("start") == 64, "nor a start"
    assert longest_wait(order[order.index("send") :]) <= 8


def test_a_closed_loop_intends_the_next_start_at_the_end_of_the_last() -> None:
    bench = Bench(plan(mode="closed", concurrency=1, count=3, duration_ns=None))
    bench.network.on_connect = lambda sock: None
    bench.driver.begin(bench.begin)
    ends = []
    for turn in range(3):
        bench.settle()
        bench.now += 5 * MS
        bench.network.all[turn].inbox.append(NONCE)
        bench.settle()
        ends.append(bench.now)
    assert rows(bench)[:, Point.INTENDED].tolist() == [bench.begin, *ends[:2]]
    bench.driver.tick()
    assert bench.driver.finished
    assert counts(bench) == Counts(intended=3, started=3, completed=3)


def test_a_start_without_a_free_device_waits_and_the_wait_is_lag() -> None:
    bench = Bench(plan(count=3), devices=1)
    bench.network.on_connect = lambda sock: None
    bench.driver.begin(bench.begin)
    bench.advance(250 * MS)
    assert len(bench.network.all) == 1, "no device is used twice at once"
    assert counts(bench).intended == 3
    for sock in iter(lambda: bench.network.all[-1], None):
        sock.inbox.append(NONCE)
        bench.settle()
        if len(rows(bench)) == 3:
            break
    table = rows(bench)
    assert table[:, Point.INTENDED].tolist() == [bench.begin + turn * 100 * MS for turn in range(3)]
    assert (table[:, Point.STARTED] - table[:, Point.INTENDED]).tolist() == [0, 150 * MS, 50 * MS]


def test_what_still_waits_at_the_end_is_not_started() -> None:
    bench = Bench(plan(), devices=1)
    bench.network.on_connect = lambda sock: None
    bench.driver.begin(bench.begin)
    bench.advance(25 * SECOND)
    assert counts(bench) == Counts(intended=10, started=1, failed=1)
    assert failures(bench) == [(Stage.NONCE, Reason.TIMEOUT, -1)]


@pytest.mark.parametrize(
    ("inbox", "expected"),
    [
        ([], (Stage.NONCE, Reason.TIMEOUT, -1)),
        ([b""], (Stage.NONCE, Reason.CLOSED, -19)),
        ([NONCE[:39], b""], (Stage.NONCE, Reason.SHORT, -19)),
        ([ConnectionRefusedError(errno.ECONNREFUSED, "")], (Stage.CONNECT, Reason.REFUSED, -18)),
        ([OSError(errno.EHOSTUNREACH, "")], (Stage.CONNECT, Reason.UNREACHABLE, -2)),
        ([ConnectionResetError(errno.ECONNRESET, "")], (Stage.NONCE, Reason.RESET, -1)),
        ([NONCE, b""], (Stage.KEY, Reason.CLOSED, -19)),
        ([NONCE, REPLY[:383], b""], (Stage.KEY, Reason.SHORT, -19)),
        ([NONCE, ConnectionResetError(errno.ECONNRESET, "")], (Stage.KEY, Reason.RESET, -1)),
        ([NONCE, REPLY], (Stage.HELLO, Reason.TIMEOUT, -1)),
        ([NONCE, REPLY, b""], (Stage.HELLO, Reason.CLOSED, -1)),
        ([NONCE, REPLY, HELLO[:-1], b""], (Stage.HELLO, Reason.SHORT, -1)),
        ([NONCE, REPLY, b"\0\x01x"], (Stage.HELLO, Reason.BAD_FRAME, -1)),
    ],
)
def test_a_failure_is_counted_once_under_its_stage_reason_and_code(
    inbox: list[bytes | OSError], expected: tuple[Stage, Reason, int]
) -> None:
    bench = Bench(plan(count=1, duration_ns=None))
    bench.network.on_connect = lambda sock: sock.inbox.extend(inbox)
    bench.network.on_send = lambda sock, data: None
    bench.driver.begin(bench.begin)
    bench.advance(30 * SECOND)
    assert failures(bench) == [expected]
    assert counts(bench) == Counts(intended=1, started=1, failed=1)
    assert not bench.network.open
    assert len(bench.driver.cohorts[0].deadlines) == 0, "no deadline outlives its device"


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (CryptoFault.BAD_KEY, (Stage.UNWRAP, Reason.BAD_KEY, 6)),
        (CryptoFault.BAD_SIGNATURE, (Stage.UNWRAP, Reason.BAD_SIGNATURE, 8)),
    ],
)
def test_a_reply_that_does_not_verify(fault: CryptoFault, expected: tuple[Stage, Reason, int]) -> None:
    bench = Bench(plan(count=1, duration_ns=None))
    bench.backend.unwrapped = fault
    bench.driver.begin(bench.begin)
    bench.advance(SECOND)
    assert failures(bench) == [expected]


def test_a_connect_that_hangs_is_no_silent_cloud() -> None:
    bench = Bench(plan(count=1, duration_ns=None))

    def hang(sock: FakeSocket) -> None:
        sock.connected = False

    bench.network.on_connect = hang
    bench.driver.begin(bench.begin)
    bench.advance(30 * SECOND)
    assert failures(bench) == [(Stage.CONNECT, Reason.TIMEOUT, -2)]
    (row,) = failures_from_bytes(bench.driver.failures.tobytes()).tolist()
    assert row[1] - row[0] == 5 * SECOND


def test_the_time_for_the_nonce_runs_from_the_connect() -> None:
    bench = Bench(plan(count=1, duration_ns=None))
    bench.network.on_connect = lambda sock: None
    bench.driver.begin(bench.begin)
    bench.advance(30 * SECOND)
    (row,) = failures_from_bytes(bench.driver.failures.tobytes()).tolist()
    assert 20 * SECOND <= row[1] - row[0] <= 20 * SECOND + 10 * MS


def test_bytes_that_wait_in_the_socket_are_in_time_however_late_the_loop_is() -> None:
    bench = Bench(plan(count=1, duration_ns=None))
    bench.network.on_connect = lambda sock: None
    bench.driver.begin(bench.begin)
    bench.settle()
    bench.network.all[0].inbox.append(NONCE)
    bench.now += 3_600 * SECOND
    bench.driver.tick()
    bench.settle()
    assert counts(bench).completed == 1
    assert not failures(bench)


def test_after_a_close_behind_the_nonce_the_device_still_sends_its_256_bytes() -> None:
    bench = Bench(plan(count=1, duration_ns=None))
    bench.network.on_connect = lambda sock: sock.inbox.extend([NONCE, b""])
    bench.driver.begin(bench.begin)
    bench.settle()
    assert [len(data) for data in bench.network.all[0].sent] == [256]


def test_what_the_kernel_does_not_take_at_once_is_sent_later() -> None:
    bench = Bench(plan(count=1, duration_ns=None))

    def tight(sock: FakeSocket) -> None:
        good_connect(sock)
        sock.send_limit = 100

    bench.network.on_connect = tight
    bench.network.on_send = lambda sock, data: None
    bench.driver.begin(bench.begin)
    bench.driver.turn()
    bench.driver.turn()
    sock, handler = bench.network.open[0]
    sock.send_limit = None
    handler.on_ready(4)  # EPOLLOUT
    assert [len(data) for data in sock.sent] == [100, 156]
    sock.inbox.extend([REPLY])
    bench.driver.turn()
    sock.inbox.append(HELLO)
    bench.driver.turn()
    assert counts(bench).completed == 1


def test_warm_up_handshakes_run_and_are_not_recorded() -> None:
    bench = Bench(plan(warmup_ns=SECOND // 2))
    bench.driver.begin(bench.begin)
    bench.advance(2 * SECOND)
    table = rows(bench)
    assert table[:, Point.INTENDED].min() == bench.begin + SECOND // 2
    assert counts(bench) == Counts(intended=10, started=10, completed=10, warmup_completed=5)


def test_the_first_stop_drains_and_the_second_aborts() -> None:
    bench = Bench(plan(duration_ns=10 * SECOND))
    bench.network.on_send = lambda sock, data: None
    bench.driver.begin(bench.begin)
    bench.advance(250 * MS)
    bench.driver.stop()
    bench.network.on_send = good_answer
    bench.network.all[0].inbox.append(REPLY)
    bench.advance(500 * MS)
    assert counts(bench) == Counts(intended=3, started=3, completed=1, in_flight=2)
    assert not bench.driver.finished
    bench.driver.abort()
    assert counts(bench) == Counts(intended=3, started=3, completed=1, aborted=2)
    assert bench.driver.finished


def test_without_a_descriptor_a_start_waits() -> None:
    bench = Bench(plan(count=1))
    bench.network.refusal = OSError(errno.EMFILE, "too many open files")
    bench.driver.begin(bench.begin)
    bench.advance(200 * MS)
    assert counts(bench).started == 0
    assert counts(bench).descriptor_waits > 0
    bench.network.refusal = None
    bench.advance(300 * MS)
    assert counts(bench).completed == 1
    assert rows(bench)[0, Point.STARTED] - rows(bench)[0, Point.INTENDED] >= 190 * MS


def test_without_a_port_a_start_fails_by_our_own_fault_and_does_not_spin() -> None:
    bench = Bench(plan(mode="closed", concurrency=1))
    bench.network.refusal = OSError(errno.EADDRNOTAVAIL, "no port")
    bench.driver.begin(bench.begin)
    bench.advance(100 * MS, step_ns=50 * MS)
    assert set(failures(bench)) == {(Stage.CONNECT, Reason.LOCAL_RESOURCE, None)}
    assert counts(bench).failed <= 3
    assert counts(bench).port_failures == counts(bench).failed


def test_a_session_is_held_and_kept_alive_with_pings() -> None:
    bench = Bench(plan(count=1, duration_ns=None, hold_ns=40 * SECOND))
    bench.driver.begin(bench.begin)
    bench.advance(SECOND)
    assert counts(bench).sessions == 1
    sock, _ = bench.network.open[0]
    bench.advance(16 * SECOND)
    *_before, ping = sock.sent
    assert len(ping) == 18
    assert len(sock.sent) == 2 + BOOT + 1
    sock.inbox.append(b"\0\x10" + b"\x60\x00" + ping[4:6] + b"\x0c" * 12)
    bench.advance(39 * SECOND)
    assert len(sock.sent) == 2 + BOOT + 2, "15 s after the answer the next ping is due, and no earlier"
    bench.advance(41 * SECOND)
    assert counts(bench) == Counts(intended=1, started=1, completed=1)
    assert not session_failures(bench)
    assert len(bench.driver.cohorts[0].deadlines) == 0
    assert bench.driver.finished


def test_a_ping_that_is_due_when_the_session_ends_is_not_sent() -> None:
    bench = Bench(plan(count=1, duration_ns=None, hold_ns=15 * SECOND))
    bench.driver.begin(bench.begin)
    bench.advance(16 * SECOND)
    assert len(bench.network.all[0].sent) == 2 + BOOT
    assert bench.driver.finished
    assert len(bench.driver.cohorts[0].deadlines) == 0


def test_a_session_without_an_answer_to_its_ping_fails_apart_from_the_handshakes() -> None:
    bench = Bench(plan(count=1, duration_ns=None, hold_ns=60 * SECOND))
    bench.driver.begin(bench.begin)
    bench.advance(26 * SECOND)
    assert [reason for reason, _ in session_failures(bench)] == [Reason.PING_TIMEOUT]
    assert counts(bench) == Counts(intended=1, started=1, completed=1, session_failed=1)


def test_a_describe_request_in_the_session_is_answered() -> None:
    bench = Bench(plan(count=1, duration_ns=None, hold_ns=5 * SECOND))
    bench.driver.begin(bench.begin)
    bench.advance(SECOND)
    sock, _ = bench.network.open[0]
    sock.inbox.append(b"\0\x10" + bytes.fromhex("41010007aab164") + b"\x09" * 9)
    bench.settle()
    assert sock.sent[-1][2:8] == bytes.fromhex("61450007aaff")
    assert b'"m":[' in sock.sent[-1]


def test_a_device_boots_once_and_then_reconnects() -> None:
    bench = Bench(plan(count=2, duration_ns=None, hold_ns=SECOND, mode="closed", concurrency=1), devices=1)
    bench.driver.begin(bench.begin)
    bench.advance(3 * SECOND)
    first, second = (b"".join(sock.sent[2:]) for sock in bench.network.all)
    assert b"spark/device/last_reset" in first
    assert b"spark/device/last_reset" not in second
    assert first.count(b"spark/hardware/max_binary") == second.count(b"spark/hardware/max_binary") == 1


def test_without_a_hold_nothing_follows_the_hello() -> None:
    bench = Bench(plan(count=1, duration_ns=None))
    bench.driver.begin(bench.begin)
    bench.advance(SECOND)
    assert len(bench.network.all[0].sent) == 2


def held(name: str, **changes: object) -> Bench:
    """One session of this firmware, ten seconds long unless changed."""
    profile = firmware(name)
    load = plan(**{"count": 1, "duration_ns": None, "hold_ns": 10 * SECOND, **changes})
    load = msgspec.structs.replace(load, firmwares=(firmware_plan(profile),))
    return Bench(load, firmwares=(profile,))


@pytest.mark.parametrize("name", ["p1@2.0.0", "p1@3.3.1"])
def test_a_device_that_leaves_by_itself_says_goodbye(name: str) -> None:
    bench = held(name, close="fin")
    bench.driver.begin(bench.begin)
    bench.advance(11 * SECOND)
    assert bench.driver.finished
    last = bench.network.all[0].sent[-1]
    assert last[2:4] + last[6:13] == bytes.fromhex("5002b178d0eaff0102")


@pytest.mark.parametrize(("name", "close"), [("p1@1.5.2", "fin"), ("p1@2.0.0", "rst")])
def test_no_goodbye_where_there_is_none_or_nobody_would_hear_it(name: str, close: str) -> None:
    bench = held(name, close=close)
    bench.driver.begin(bench.begin)
    bench.advance(11 * SECOND)
    assert bench.driver.finished
    assert not any(b"\xb1x" in data for data in bench.network.all[0].sent)


def test_a_firmware_that_never_notices_silence_pings_on() -> None:
    bench = held("p1@0.8.0-rc.1", hold_ns=100 * SECOND)
    bench.driver.begin(bench.begin)
    bench.advance(90 * SECOND)
    pings = [data for data in bench.network.all[0].sent if data[2:4] == b"\x40\x00"]
    assert len(pings) == 4, "after 15 s, and then every 25"
    assert bench.driver.snapshot(bench.now).sessions == 1
    bench.advance(101 * SECOND)
    assert bench.driver.finished
    assert not session_failures(bench)
    assert len(bench.driver.cohorts[0].deadlines) == 0


def test_the_end_of_the_run_closes_held_sessions() -> None:
    bench = Bench(plan(hold_ns=3_600 * SECOND))
    bench.driver.begin(bench.begin)
    bench.advance(SECOND - MS)
    assert counts(bench).sessions == 10
    bench.advance(2 * SECOND)
    assert bench.driver.finished
    assert counts(bench) == Counts(intended=10, started=10, completed=10)


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
@pytest.mark.parametrize("mode", ["open", "closed"])
def test_the_shares_of_all_workers_add_up(mode: str, parts: int) -> None:
    load = plan(mode=mode, count=20, duration_ns=None, concurrency=7, rate_numerator=100)
    total = Counts()
    intended: list[int] = []
    for index in range(parts):
        bench = Bench(load, devices=5, index=index, parts=parts)
        bench.driver.begin(bench.begin)
        bench.advance(SECOND)
        total += counts(bench)
        intended += rows(bench)[:, Point.INTENDED].tolist()
    assert total == Counts(intended=20, started=20, completed=20)
    if mode == "open":
        assert sorted(intended) == [bench.begin + turn * 10 * MS for turn in range(20)]
