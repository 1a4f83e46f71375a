"""Every fault, delay and stall of the mock cloud, as the real engine sees it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest

from loadgen import clock
from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.engine.plan import Target
from loadgen.engine.pool import Pool
from loadgen.fleet.keystore import FleetStore
from loadgen.kernel import has_kernel_stamps
from loadgen.mockcloud.cloud import MockCloud
from loadgen.mockcloud.delays import DelayPlan, Stall, parse_delay
from loadgen.mockcloud.faults import CATALOGUE, Fault, FaultKind, FaultPlan, FaultStage, parse_fault
from loadgen.mockcloud.settings import CloudMode, CloudSettings
from loadgen.mockcloud.timings import TIMED_STAGES
from loadgen.protocol.firmware import P1_0_7_0
from loadgen.protocol.stages import Point
from loadgen.recording.rows import NO_DEVICE_CODE, REASONS, STAGES, Rows
from tests.engine.fakes import firmware_plan
from tests.integration import test_pool
from tests.integration.test_pool import Gathered, plan

SEED = 2
SHORT = {"connect": 2 * NS_PER_S, "nonce": 700 * NS_PER_MS, "key": 1_200 * NS_PER_MS, "hello": 700 * NS_PER_MS}
HOLD_NS = 300 * NS_PER_MS
Failure = tuple[str, str, int, bool]
"""Stage, reason, device code, in the session."""

ALL = [(stage, kind) for kind, type_ in CATALOGUE.items() for stage in type_.stages]
SLOW = (FaultStage.SESSION, FaultKind.STALL)
"""Shows after 25 s: the device pings after 15 s and waits for 10 s."""


def settings(fleet: FleetStore, **changes: object) -> CloudSettings:
    assert fleet.server_key_der is not None
    values: dict[str, object] = {"server_key": fleet.server_key_der, "port": 0, "workers": 1, "seed": SEED}
    return CloudSettings(**{**values, **changes})  # type: ignore[arg-type]


def run(
    fleet: FleetStore,
    mock: MockCloud,
    *,
    meanwhile: Callable[[Pool], None] | None = None,
    workers: int = 1,
    **changes: object,
) -> Gathered:
    """Load on a cloud that has started; it is stopped at the end."""
    host, _, port = mock.address.rpartition(":")
    load = plan(fleet, Target(host, int(port)), **{"firmwares": (firmware_plan(timeouts_ns=SHORT),), **changes})
    gathered = Gathered(load, workers, meanwhile=meanwhile)
    mock.stop()
    return gathered


def seen(rows: Rows, *, in_session: bool) -> Counter[Failure]:
    return Counter((str(STAGES[row[2]]), str(REASONS[row[3]]), row[4], in_session) for row in rows.tolist())


def failures(of: Gathered) -> Counter[Failure]:
    return seen(of.failures, in_session=False) + seen(of.session_failures, in_session=True)


def expected(fault: Fault) -> Failure | None:
    ending = fault.ending
    if ending is None:
        return None
    code = P1_0_7_0.device_code(ending.stage, ending.reason, ending.in_session)
    return str(ending.stage), str(ending.reason), NO_DEVICE_CODE if code is None else code, ending.in_session


def injected(mock: MockCloud) -> Counter[str]:
    return Counter({f"{each.stage}:{each.fault}": each.count for each in mock.stop().injected})


def fault_text(stage: FaultStage, kind: FaultKind, probability: str) -> str:
    return f"{stage}:{kind}{'=30ms' if kind is FaultKind.DELAY else ''}:{probability}"


@pytest.mark.parametrize("stage", list(FaultStage))
def test_all_faults_of_a_stage_at_once(fleet: FleetStore, stage: FaultStage) -> None:
    """As many handshakes end in each way as the plan says for their numbers, with two workers that share them."""
    kinds = [kind for at, kind in ALL if at is stage and (at, kind) != SLOW]
    faults = tuple(parse_fault(fault_text(stage, kind, f"{90 / len(kinds):.3f}%")) for kind in kinds)
    count = 120
    numbered = FaultPlan(faults, SEED)
    planned = [fault for number in range(count) for fault in numbered.at(number).values()]
    assert {fault.kind for fault in planned} == set(kinds)
    with MockCloud(settings(fleet, faults=faults, workers=2)) as mock:
        hold_ns = HOLD_NS if stage is FaultStage.SESSION else 0
        of = run(fleet, mock, count=count, rate_numerator=300, hold_ns=hold_ns, max_in_flight=200)
    assert failures(of) == Counter(filter(None, map(expected, planned)))
    assert injected(mock) == Counter(fault.key for fault in planned)
    lost = sum(expected(fault) is not None for fault in planned if stage is not FaultStage.SESSION)
    assert of.pool.counts.completed == count - lost


@pytest.mark.long
@pytest.mark.parametrize(("stage", "kind"), ALL)
def test_every_fault_alone(
    fleet: FleetStore, stage: FaultStage, kind: FaultKind, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_pool, "LIMIT_S", 60)
    fault = parse_fault(fault_text(stage, kind, "100%"))
    hold_ns = HOLD_NS if stage is FaultStage.SESSION else 0
    if (stage, kind) == SLOW:
        hold_ns = 40 * NS_PER_S
    with MockCloud(settings(fleet, faults=(fault,))) as mock:
        of = run(fleet, mock, count=20, hold_ns=hold_ns)
    outcome = expected(fault)
    assert failures(of) == Counter({outcome: 20} if outcome else {})
    assert injected(mock) == {fault.key: 20}
    assert of.pool.counts.completed == (0 if outcome and not outcome[3] else 20)


DELAYS = ("nonce:uniform=1ms,9ms", "key:exponential=10ms", "hello:list=2ms,4ms,8ms")


def test_delays_are_what_was_drawn_and_what_the_device_sees(fleet: FleetStore) -> None:
    delays = tuple(map(parse_delay, DELAYS))
    count = 100
    with MockCloud(settings(fleet, delays=delays, record_timings=True, workers=2)) as mock:
        of = run(fleet, mock, count=count, kernel_stamps=has_kernel_stamps())
    assert of.pool.counts.completed == count
    drawn = DelayPlan(delays, SEED)
    for index, (stage, begin, end) in enumerate(
        (
            (FaultStage.NONCE, Point.CONNECTED, Point.NONCE_IN),
            (FaultStage.KEY, Point.CIPHERTEXT_OUT, Point.KEY_IN),
            (FaultStage.HELLO, Point.HELLO_OUT, Point.HELLO_IN),
        )
    ):
        assert TIMED_STAGES[index] is stage
        _, number, received, due, sent = mock.timings[mock.timings[:, 0] == index].T
        assert sorted(number.tolist()) == list(range(count))
        assert (due - received).tolist() == [drawn.delay_ns(stage, each) for each in number.tolist()]
        assert (sent >= due).all()
        truth, measured = np.sort(sent - received), np.sort(of.rows[:, end] - of.rows[:, begin])
        assert abs(np.median(measured) - np.median(truth)) < 2 * NS_PER_MS
        assert np.median(sent - due) < 20 * NS_PER_MS  # an RSA may take longer than the delay
    assert {each.stage for each in mock.stop().answers} == {"nonce", "key", "hello"}
    assert mock.stop().seed == SEED


def test_times_can_be_taken_without_any_delay(fleet: FleetStore) -> None:
    key = next(fleet.identities(0, 1, 1)).public_key
    changes = {"mode": CloudMode.REPLAY, "replay_device_key": key, "record_timings": True}
    with MockCloud(settings(fleet, **changes)) as mock:
        of = run(fleet, mock, count=30, single_key=True)
    assert of.pool.counts.completed == 30
    assert mock.timings.shape == (90, 5)
    assert mock.stop().seed is None
    assert mock.stop().injected == []


def test_a_stall_holds_everything_up_and_loses_nothing(fleet: FleetStore) -> None:
    asked: list[int] = []
    stall_ns = 500 * NS_PER_MS

    def stall(pool: Pool) -> None:
        if not asked and pool.counts.completed >= 10:
            asked.append(clock.monotonic_ns() + 50 * NS_PER_MS)
            mock.stall(asked[0], stall_ns)

    with MockCloud(settings(fleet, workers=2)) as mock:
        of = run(fleet, mock, meanwhile=stall, count=200, firmwares=(firmware_plan(),))
    assert of.pool.counts.completed == 200
    (times,) = mock.stop().stalls
    assert 0 <= times.begun_ns - asked[0] < 100 * NS_PER_MS
    assert 0 <= times.ended_ns - (asked[0] + stall_ns) < 100 * NS_PER_MS
    done = of.rows[:, Point.HELLO_IN]
    margin_ns = 50 * NS_PER_MS
    assert not ((done > times.begun_ns + margin_ns) & (done < times.ended_ns - margin_ns)).any()
    longest = int((done - of.rows[:, Point.INTENDED]).max())
    assert stall_ns - margin_ns < longest < stall_ns + 400 * NS_PER_MS


def test_a_stalled_cloud_can_be_stopped(fleet: FleetStore) -> None:
    with MockCloud(settings(fleet, stalls=(Stall(0, 3_600 * NS_PER_S),))) as mock:
        clock.sleep_s(0.1)
        begun_ns = clock.monotonic_ns()
        (times,) = mock.stop().stalls
        assert clock.monotonic_ns() - begun_ns < 3 * NS_PER_S
    assert times.ended_ns > times.begun_ns
