"""Disturbed connections without a network: every fault against a genuine device core."""

from __future__ import annotations

import os
import socket
from typing import cast

import pytest

from loadgen.clock import wall_to_monotonic_ns
from loadgen.kernel import SO_TIMESTAMPNS, TIMESPEC
from loadgen.mockcloud.delays import DelayPlan
from loadgen.mockcloud.disturbance import Disturbance, SharedNumbers
from loadgen.mockcloud.faults import CATALOGUE, FaultKind, FaultPlan, FaultStage, parse_fault
from loadgen.mockcloud.timings import TimingLog, read_timings
from loadgen.protocol import coap
from loadgen.protocol.reasons import HandshakeError, Reason
from tests.mockcloud.fakes import LATER_NS, NONCE, FakeClock, FakeHost, disturbance
from tests.mockcloud.peer import BACKEND, Peer, device_spki

DEVICE_KEY = BACKEND.load_device_public_key(device_spki())
MS = 1_000_000
BEGIN_NS = 1_000
S, K = FaultStage, FaultKind
ALL = [(stage, kind) for kind, type_ in CATALOGUE.items() for stage in type_.stages]


class Case:
    """One disturbed connection and its device; time passes when both are silent."""

    def __init__(self, *faults: str, delays: tuple[str, ...] = (), log: TimingLog | None = None) -> None:
        self.clock = FakeClock(BEGIN_NS)
        self.disturbance = disturbance(self.clock, *faults, delays=delays, log=log)
        self.host = FakeHost(key=DEVICE_KEY, disturbance=self.disturbance)
        self.peer = Peer()
        self.segments: list[tuple[int, bytes]] = []

    def run(self, sends: list[bytes] | None = None) -> None:
        """Carry bytes until nothing moves and nothing is due. Raises what ends the device."""
        sends = sends or []
        while True:
            incoming = self.host.receive(*sends)
            self.segments += [(self.clock.ns, data) for data in incoming]
            sends = [reply for data in incoming for reply in self.peer.feed(data)]
            if incoming or sends:
                continue
            due_ns = self.disturbance.next_due_ns()
            if due_ns is None:
                break
            self.clock.ns = max(self.clock.ns, due_ns)
            self.disturbance.run_due()
        if self.host.socket.half_closed or not self.host.connection.is_open:
            self.peer.feed(b"")

    def session(self) -> None:
        """The handshake, and where that succeeds, the first message of the session."""
        self.run()
        if self.peer.completed:
            self.host.connection.ask_describe()
            self.run()


def fault_text(stage: FaultStage, kind: FaultKind) -> str:
    return f"{stage}:{kind}{'=7ms' if kind is K.DELAY else ''}:100%"


@pytest.mark.parametrize(("stage", "kind"), ALL)
def test_every_fault_ends_as_the_catalogue_says(stage: FaultStage, kind: FaultKind) -> None:
    case = Case(fault_text(stage, kind))
    ending = CATALOGUE[kind].endings[stage]
    if ending is None or ending.reason in {Reason.TIMEOUT, Reason.PING_TIMEOUT, Reason.RESET}:
        if ending is not None and ending.reason is Reason.RESET:
            with pytest.raises(HandshakeError):  # the fake network knows no RST: the end looks like a FIN
                case.session()
            assert not case.host.socket.lingers
        else:
            case.session()
            assert case.host.connection.is_open
        assert case.peer.completed == (ending is None or ending.in_session)
    else:
        with pytest.raises(HandshakeError) as caught:
            case.session()
        assert (caught.value.stage, caught.value.reason) == (ending.stage, ending.reason)
        assert caught.value.in_session == ending.in_session
        assert case.host.socket.lingers
    assert case.disturbance.injected == {f"{stage}:{kind}": 1}
    is_complete = ending is None or ending.in_session
    assert case.host.completed == is_complete
    if not is_complete and kind not in {K.WRONG_NONCE, K.FORGET} and ending.stage != "unwrap":  # type: ignore[union-attr]
        assert case.host.ends in ([], [None])  # what was done on purpose is no failure


def test_a_session_is_closed_without_a_reset_though_the_device_goes_on_talking() -> None:
    case = Case("session:close:100%")
    with pytest.raises(HandshakeError, match="hello/closed"):
        case.session()
    assert case.host.connection.is_open
    case.host.receive(b"what the device had already sent")
    assert case.host.ends == []
    case.host.receive(b"")
    assert case.host.ends == [None]
    assert (case.host.counts.closed_by_device, case.host.counts.reset_by_device) == (0, 0)


@pytest.mark.parametrize(("kind", "end"), [(K.WRONG_NONCE, "key/bad_nonce"), (K.FORGET, "key/unknown_device")])
def test_a_cloud_that_errs_counts_it_as_it_would(kind: FaultKind, end: str) -> None:
    case = Case(f"key:{kind}:100%")
    with pytest.raises(HandshakeError):
        case.run()
    assert case.host.ends == [end]
    assert case.host.inside == 0


def test_nothing_planned_nothing_changed() -> None:
    case = Case()
    case.session()
    assert case.peer.completed
    assert [len(data) for _, data in case.segments][:3] == [40, 384, 18]
    assert case.segments[0][1] == NONCE
    assert not case.disturbance.injected


# --- timing


@pytest.mark.parametrize("stage", [S.NONCE, S.KEY, S.HELLO])
def test_an_answer_is_held_from_the_arrival_of_the_request(stage: FaultStage) -> None:
    case = Case(delays=(f"{stage}:constant=5ms",))
    case.run()
    assert case.peer.completed
    before = {S.NONCE: 0, S.KEY: 1, S.HELLO: 2}[stage]
    assert [at for at, _ in case.segments] == [BEGIN_NS + (5 * MS if n >= before else 0) for n in range(3)]
    assert case.host.completed == 1
    assert not case.disturbance.injected


def test_a_delay_fault_comes_on_top() -> None:
    case = Case("key:delay=3ms:100%", delays=("key:constant=5ms",))
    case.run()
    assert case.segments[1][0] == BEGIN_NS + 8 * MS


def test_a_handshake_is_complete_when_hello_has_gone() -> None:
    case = Case(delays=("hello:constant=5ms",))
    sends = case.peer.feed(case.host.sent()[0])
    (reply,) = case.host.receive(*sends)
    case.host.receive(*case.peer.feed(reply))
    assert case.host.completed == 0
    assert not case.host.connection.in_session
    case.run()
    assert case.host.completed == 1
    assert case.host.connection.deadline_ns == LATER_NS


def test_a_device_that_leaves_before_hello_has_gone_is_a_failure() -> None:
    case = Case(delays=("hello:constant=5ms",))
    (reply,) = case.host.receive(*case.peer.feed(case.host.sent()[0]))
    case.host.receive(*case.peer.feed(reply), b"")
    assert case.host.ends == ["hello/closed"]
    case.clock.ns += 10 * MS
    case.disturbance.run_due()
    assert case.host.completed == 0


def test_what_is_said_meanwhile_waits_behind_the_answer() -> None:
    case = Case(delays=("hello:constant=5ms",))
    (reply,) = case.host.receive(*case.peer.feed(case.host.sent()[0]))
    hello = case.peer.feed(reply)
    assert case.host.receive(*hello, *case.peer.say(coap.ping())) == []
    case.run()
    assert case.peer.completed
    assert [message.type for message in case.peer.messages] == [coap.ACK]


def test_time_that_the_cloud_holds_an_answer_is_not_the_devices() -> None:
    case = Case(delays=("nonce:constant=40s",))
    assert case.host.connection.deadline_ns == 30 + 40_000 * MS


def test_dribbling_keeps_its_pace() -> None:
    case = Case("nonce:dribble=2ms:100%", delays=("nonce:constant=1ms",))
    case.run()
    bytewise = case.segments[:40]
    assert b"".join(data for _, data in bytewise) == NONCE
    assert [at for at, _ in bytewise] == [BEGIN_NS + MS + number * 2 * MS for number in range(40)]
    assert case.peer.completed


def test_a_glued_answer_is_one_segment() -> None:
    case = Case("key:coalesce:100%", "hello:coalesce:100%", delays=("hello:constant=1ms",))
    case.run()
    assert [len(data) for _, data in case.segments] == [40, 384 + 18, 18 + 18]
    assert case.peer.completed
    assert len(case.peer.messages) == 2
    assert case.host.completed == 1


@pytest.mark.parametrize(("text", "size"), [("key:truncate=5:1", 5), ("key:stall=383:1", 383), ("key:stall:1", 0)])
def test_parts_of_an_answer(text: str, size: int) -> None:
    case = Case(text)
    (ciphertext,) = case.peer.feed(case.host.sent()[0])
    assert sum(map(len, case.host.receive(ciphertext))) == size
    assert case.host.connection.is_open == text.startswith("key:stall")


# --- a mute cloud


@pytest.mark.parametrize("item", [b"", ConnectionResetError()])
def test_a_mute_cloud_waits_until_the_device_leaves(item: bytes | OSError) -> None:
    case = Case("key:stall:100%")
    case.run()
    assert case.host.connection.deadline_ns > LATER_NS
    assert case.host.receive(b"more", b"and more") == []
    case.host.connection.on_readable()
    assert case.host.ends == []
    case.host.receive(item)
    assert case.host.ends == [None]
    assert (case.host.counts.closed_by_device, case.host.counts.reset_by_device) == (0, 0)
    case.host.connection.on_readable()


def test_a_mute_session_is_counted_as_ended_by_the_device() -> None:
    case = Case("session:stall:100%")
    case.session()
    case.host.receive(*case.peer.say(coap.ping()), b"")
    assert case.host.ends == [None]
    assert case.host.counts.closed_by_device == 1


# --- notes


def test_each_answer_is_noted_once_and_faults_that_leave_none_are_not() -> None:
    descriptor = os.memfd_create("timings")
    log = TimingLog(descriptor)
    case = Case("key:dribble=1ms:100%", delays=("nonce:constant=5ms", "hello:constant=1ms"), log=log)
    case.session()
    log.flush()
    nonce_ns, key_ns = BEGIN_NS + 5 * MS, BEGIN_NS + 5 * MS + 383 * MS
    assert read_timings(descriptor).tolist() == [
        [0, 0, BEGIN_NS, nonce_ns, nonce_ns],
        [1, 0, nonce_ns, key_ns, key_ns],
        [2, 0, key_ns, key_ns + MS, key_ns + MS],
    ]
    case = Case("key:truncate:100%", log=log)
    with pytest.raises(HandshakeError):
        case.run()
    log.flush()
    assert len(read_timings(descriptor)) == 4
    os.close(descriptor)


class StampedSocket:
    """Gives a stamp of CLOCK_REALTIME with what it gives."""

    def __init__(self, stamp_ns: int | None) -> None:
        self.stamp_ns = stamp_ns

    def recvmsg(self, size: int, space: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, None]:
        if self.stamp_ns is None:
            return b"data", [], 0, None
        stamp = TIMESPEC.pack(*divmod(self.stamp_ns, 1_000_000_000))
        return b"data", [(socket.SOL_SOCKET, SO_TIMESTAMPNS, stamp)], 0, None


def test_arrivals_come_from_the_kernel_where_it_stamps() -> None:
    now_ns = 10**15
    shared = Disturbance(
        FaultPlan([], 0),
        DelayPlan([], 0),
        take_number=lambda: 0,
        log=None,
        now=lambda: now_ns,
        kernel_stamps=True,
    )
    stamp_ns = now_ns - 5 * MS - wall_to_monotonic_ns()
    data, arrived_ns = shared.receive(cast("socket.socket", StampedSocket(stamp_ns)))
    assert data == b"data"
    assert abs(arrived_ns - (now_ns - 5 * MS)) < MS
    assert shared.receive(cast("socket.socket", StampedSocket(None))) == (b"data", now_ns)
    late = StampedSocket(now_ns + 1_000 * MS - wall_to_monotonic_ns())
    assert shared.receive(cast("socket.socket", late)) == (b"data", now_ns)


def test_numbers_are_given_once_however_many_take_them() -> None:
    descriptor = SharedNumbers.create()
    takers = [SharedNumbers(descriptor), SharedNumbers(descriptor)]
    assert [takers[turn % 2].take() for turn in range(6)] == list(range(6))
    os.close(descriptor)


def test_the_plan_decides_by_the_number() -> None:
    clock = FakeClock()
    shared = disturbance(clock, "nonce:close:50%", seed=4)
    plan = FaultPlan([parse_fault("nonce:close:50%")], 4)
    for number in range(20):
        host = FakeHost(key=DEVICE_KEY, disturbance=shared)
        assert host.connection.is_open != bool(plan.at(number))
