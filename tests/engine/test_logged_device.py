"""Devices that keep a log: what they note, and that nobody else notes anything."""

from __future__ import annotations

import errno

import pytest

from loadgen.engine.logged_device import MOMENT_FIELDS, BootKind, What, device_maker
from loadgen.engine.sockets import READABLE
from loadgen.engine.virtual_device import VirtualDevice
from loadgen.protocol import coap
from loadgen.protocol.answers import BOTH
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Point, Stage
from loadgen.protocol.wire import encode_frame, pad
from loadgen.recording.rows import REASON_INDEX, STAGE_INDEX
from tests.engine.fakes import (
    MS,
    NONCE,
    REPLY,
    RTT_NS,
    SECOND,
    Bench,
    FakeSocket,
    answer_every_ms,
    good_answer,
    plan,
)

POINTS = [Point.STARTED, Point.CONNECTED, Point.NONCE_IN, Point.CIPHERTEXT_OUT, Point.KEY_IN, Point.HELLO_OUT,
          Point.HELLO_IN]  # fmt: skip


def moments(bench: Bench) -> list[tuple[int, ...]]:
    """What was noted: device, ns since the begin, what, and the two values."""
    values = bench.driver.moments.tolist()
    size = len(MOMENT_FIELDS)
    rows = [values[index : index + size] for index in range(0, len(values), size)]
    return [(row[0], row[1] - bench.begin, *row[2:]) for row in rows]


def what(bench: Bench) -> list[int]:
    return [moment[2] for moment in moments(bench)]


def run(bench: Bench, for_ns: int = 2 * SECOND) -> Bench:
    bench.driver.begin(bench.begin)
    bench.advance(for_ns)
    return bench


def test_without_chosen_devices_the_plain_class_is_used_as_it_is() -> None:
    bench = run(Bench(plan()))
    assert device_maker((), 0, 1, bench.driver.moments) is VirtualDevice
    assert device_maker((1, 3), 0, 2, bench.driver.moments) is VirtualDevice, "both belong to the other worker"
    assert moments(bench) == []


def test_a_completed_handshake_is_noted_point_by_point() -> None:
    bench = Bench(plan(count=1, logged=(0,)))
    answer_every_ms(bench)
    times_ns = [0, RTT_NS, MS, MS, 2 * MS, 2 * MS, 3 * MS]
    assert moments(bench) == [
        *((0, at_ns, point, 0, 0) for at_ns, point in zip(times_ns, POINTS, strict=True)),
        (0, 3 * MS, What.ONLINE, BootKind.NONE, 0),
        (0, 3 * MS, What.LEFT, 0, 0),
    ]


def test_only_the_chosen_devices_of_this_worker_note_anything() -> None:
    bench = run(Bench(plan(logged=(1, 4, 5)), devices=3, index=1, parts=2))
    assert {moment[0] for moment in moments(bench)} == {1, 5}, "the fleet's numbers; 4 is the other worker's"


@pytest.mark.parametrize(
    ("answers", "stage", "reached"),
    [([], Stage.NONCE, 2), ([NONCE], Stage.KEY, 4), ([NONCE, REPLY], Stage.HELLO, 6)],
)
def test_a_failed_handshake_has_the_points_that_it_reached(answers: list[bytes], stage: Stage, reached: int) -> None:
    bench = Bench(plan(count=1, logged=(0,)))
    told = iter([*answers, b""])
    bench.network.on_connect = lambda sock: sock.inbox.append(next(told))
    bench.network.on_send = lambda sock, data: sock.inbox.append(next(told))
    run(bench)
    assert what(bench) == [*POINTS[:reached], What.FAILED, What.LEFT]
    failed = moments(bench)[reached]
    assert failed[3:] == (STAGE_INDEX[stage], REASON_INDEX[Reason.CLOSED])
    assert moments(bench)[1][1] == RTT_NS, "connected when the kernel says, a nonce or not"


def test_a_connection_that_was_not_made_is_not_left() -> None:
    bench = Bench(plan(count=1, logged=(0,)))
    bench.network.on_connect = lambda sock: sock.inbox.append(ConnectionRefusedError(errno.ECONNREFUSED, "refused"))
    run(bench)
    assert what(bench) == [Point.STARTED, What.FAILED]
    assert moments(bench)[1][3:] == (STAGE_INDEX[Stage.CONNECT], REASON_INDEX[Reason.REFUSED])


def test_a_network_that_refuses_at_once_is_a_failure_and_a_full_machine_is_none() -> None:
    bench = Bench(plan(count=1, logged=(0,)))
    bench.network.refusal = OSError(errno.ENETUNREACH, "Network is unreachable")
    run(bench)
    assert what(bench) == [Point.STARTED, What.FAILED]
    bench = Bench(plan(count=1, logged=(0,)))
    bench.network.refusal = OSError(errno.EMFILE, "Too many open files")
    run(bench)
    assert what(bench) == []


def test_a_handshake_that_was_broken_off_has_no_end() -> None:
    bench = Bench(plan(count=1, logged=(0,)))
    bench.network.on_send = lambda sock, data: None
    bench.driver.begin(bench.begin)
    bench.settle()
    bench.driver.abort()
    assert what(bench) == [*POINTS[:4], What.LEFT]


def test_a_held_session_is_noted_with_its_boot_and_its_end() -> None:
    bench = Bench(plan(count=1, hold_ns=SECOND, logged=(0,)))
    sent = iter(range(100))

    def answer(sock: FakeSocket, data: bytes) -> None:
        good_answer(sock, data)
        if next(sent) == 2:  # the first message of the boot
            request = coap.describe_request(b"t")
            told = coap.time_response(coap.time_request(b"t"), 1_700_000_000)
            for message in (request, told):
                message.message_id = 9
                sock.inbox.append(encode_frame(pad(coap.encode(message))))

    bench.network.on_send = answer
    run(bench, 3 * SECOND)
    session = [moment for moment in moments(bench) if moment[2] >= What.ONLINE]
    assert [moment[2:] for moment in session] == [
        (What.ONLINE, BootKind.FIRST, 0),
        (What.DESCRIBED, BOTH, 0),
        (What.TOLD_TIME, 1_700_000_000, 0),
        (What.LEFT, 0, 0),
    ]
    assert session[-1][1] >= SECOND


def test_a_lost_session_and_the_way_back() -> None:
    bench = Bench(
        plan(rate_numerator=1, hold_ns=30 * SECOND, duration_ns=60 * SECOND, reconnect=True, logged=(0,)), devices=1
    )
    bench.driver.begin(bench.begin)
    bench.advance(SECOND)
    (sock,) = bench.network.all
    sock.inbox.append(b"")
    bench.advance(5 * SECOND)
    told = [moment[2:] for moment in moments(bench) if moment[2] >= What.ONLINE]
    assert told == [
        (What.ONLINE, BootKind.FIRST, 0),
        (What.LOST, STAGE_INDEX[Stage.HELLO], REASON_INDEX[Reason.CLOSED]),
        (What.LEFT, 0, 0),
        (What.ONLINE, BootKind.AGAIN, 0),
    ]


def test_stamps_of_two_clocks_never_go_back() -> None:
    bench = Bench(plan(count=1, logged=(0,), kernel_stamps=True))
    bench.network.lag_ns = 10 * RTT_NS  # the nonce came before the program believes to be connected
    run(bench)
    times_ns = [moment[1] for moment in moments(bench)]
    assert times_ns == sorted(times_ns)


def test_readiness_after_the_end_notes_nothing() -> None:
    bench = Bench(plan(count=1, logged=(0,)))
    bench.network.on_send = lambda sock, data: None
    bench.driver.begin(bench.begin)
    bench.settle()
    ((_, handler),) = bench.network.open.values()
    assert isinstance(handler, VirtualDevice)
    bench.driver.abort()
    noted = what(bench)
    handler.end(None)
    handler.on_ready(READABLE)
    assert what(bench) == noted
