"""What is told in the words of a firmware is read back as what had happened."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.diagnosis.devicelog import DeviceLog, Outcome, parse_device_log
from loadgen.diagnosis.narration import Narrator
from loadgen.engine.logged_device import BootKind, What
from loadgen.fleet.dct import read_dct
from loadgen.fleet.flash import examine
from loadgen.protocol.explain import ENDINGS, SESSION_ENDINGS
from loadgen.protocol.firmware import PROFILES, FirmwareProfile
from loadgen.protocol.firmware_log import LINE_END, LogLine, log_texts, parse_line
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import STAGE_BOUNDS, Point, Stage
from loadgen.recording.rows import REASON_INDEX, STAGE_INDEX
from tests.fleet import dumps

ADDRESS = ("192.0.2.7", 5683)
BOOT_NS = 17 * NS_PER_S + 300_000
SPEAKING = [profile for profile in PROFILES.values() if log_texts(profile.version)]
STEPWISE = [profile for profile in SPEAKING if profile.name.split("@")[1] >= "0.6.4"]
POINTS_NS = dict(
    zip(
        list(Point)[Point.STARTED :],
        (BOOT_NS + at_us * 1_000 for at_us in (250, 60_900, 121_100, 204_700, 390_001, 790_999, 905_500)),
        strict=True,
    )
)
BEFORE = {Stage.CONNECT: 1, Stage.NONCE: 2, Stage.KEY: 4, Stage.UNWRAP: 5, Stage.HELLO: 6}
"""How many points a handshake has that fails at a stage."""
Moments = list[tuple[int, int, int, int]]


def reached(count: int = len(POINTS_NS)) -> Moments:
    return [(at_ns, point, 0, 0) for point, at_ns in list(POINTS_NS.items())[:count]]


def told(profile: FirmwareProfile, moments: Moments) -> DeviceLog:
    narrator = Narrator(profile, ADDRESS, BOOT_NS)
    lines = [line for moment in moments for line in narrator.tell(*moment)]
    return parse_device_log("".join(line + LINE_END for line in lines).encode(), "told.log")


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_old_firmware_says_nothing_and_all_other_something(profile: FirmwareProfile) -> None:
    narrator = Narrator(profile, ADDRESS, BOOT_NS)
    lines = [line for moment in reached() for line in narrator.tell(*moment)]
    assert bool(lines) is (profile in SPEAKING)


@pytest.mark.parametrize("profile", SPEAKING, ids=lambda profile: profile.name)
def test_a_whole_session_is_read_back(profile: FirmwareProfile) -> None:
    online_ns = POINTS_NS[Point.HELLO_IN]
    log = told(
        profile,
        [
            *reached(),
            (online_ns, What.ONLINE, BootKind.FIRST, 0),
            (online_ns + NS_PER_MS, What.TOLD_TIME, 1_700_000_000, 0),
            (online_ns + 2 * NS_PER_MS, What.DESCRIBED, 3, 0),
            (online_ns + 60 * NS_PER_S, What.LEFT, 0, 0),
        ],
    )
    assert log.counts["understood"] == log.counts["device"] == log.counts["lines"]
    assert any(since <= profile.version < before for since, before in log.versions.spans)
    assert log.versions.contradiction is None
    (attempt,) = log.attempts
    assert attempt.outcome is Outcome.COMPLETED
    assert attempt.session_reason is None
    assert attempt.session_ms == 60_000
    stages = STAGE_BOUNDS.items() if profile in STEPWISE else [(Stage.CONNECT, STAGE_BOUNDS[Stage.CONNECT])]
    for stage, (begin, end) in stages:
        if begin is not Point.INTENDED:
            assert abs(attempt.stages_ms[stage] - (POINTS_NS[end] - POINTS_NS[begin]) / NS_PER_MS) < 1


@pytest.mark.parametrize("profile", STEPWISE, ids=lambda profile: profile.name)
def test_every_failure_is_read_back(profile: FirmwareProfile) -> None:
    ended = [(stage, reason) for stage, reason in ENDINGS if profile.device_code(stage, reason) is not None]
    assert len(ended) > 10
    for stage, reason in ended:
        check_failure(profile, stage, reason)


def check_failure(profile: FirmwareProfile, stage: Stage, reason: Reason) -> None:
    code = profile.device_code(stage, reason)
    count = BEFORE[stage]
    limit_ns = profile.timeouts_ns.get(stage, 0) if reason is Reason.TIMEOUT else 30 * NS_PER_MS
    at_ns = list(POINTS_NS.values())[count - 1] + limit_ns
    log = told(
        profile,
        [*reached(count), (at_ns, What.FAILED, STAGE_INDEX[stage], REASON_INDEX[reason]), (at_ns, What.LEFT, 0, 0)],
    )
    assert log.versions.contradiction is None
    (attempt,) = log.attempts
    assert (attempt.outcome, attempt.stage) == (Outcome.FAILED, stage)
    assert attempt.device_code == code
    known = {profile.device_code(stage, other) for other in (reason, attempt.reason) if other is not None}
    assert known == {code}, "the reason, or another that this firmware prints the same of"


@pytest.mark.parametrize("profile", STEPWISE, ids=lambda profile: profile.name)
def test_every_lost_session_is_read_back(profile: FirmwareProfile) -> None:
    for reason in SESSION_ENDINGS:
        check_session(profile, reason)


def check_session(profile: FirmwareProfile, reason: Reason) -> None:
    online_ns = POINTS_NS[Point.HELLO_IN]
    lost_ns = online_ns + 5 * NS_PER_S
    log = told(
        profile,
        [
            *reached(),
            (online_ns, What.ONLINE, BootKind.AGAIN, 0),
            (lost_ns, What.LOST, STAGE_INDEX[Stage.HELLO], REASON_INDEX[reason]),
            (lost_ns, What.LEFT, 0, 0),
        ],
    )
    (attempt,) = log.attempts
    assert attempt.outcome is Outcome.COMPLETED
    assert attempt.session_ms == 5_000
    if attempt.session_code is not None:
        assert attempt.session_code == profile.device_code(Stage.HELLO, reason, in_session=True)
        assert attempt.session_reason is not None


def test_a_real_p1_says_the_same() -> None:
    """Line by line, but for the look-up of the name and what the application says; addresses are left out there."""
    path = Path(__file__).parent.parent / "vectors" / "device_logs" / "p1_minus_19.log"
    real = [parse_line(line) for line in path.read_text(encoding="utf-8").splitlines()]
    dct = read_dct(examine(dumps.copy(dumps.section(address=b"\xff" * 128))))
    narrator = Narrator(PROFILES["p1@0.6.4"], ADDRESS, BOOT_NS, dct)
    moments = [*reached(4), (BOOT_NS, What.FAILED, STAGE_INDEX[Stage.KEY], REASON_INDEX[Reason.CLOSED])]
    narrated = [parse_line(line) for moment in moments for line in narrator.tell(*moment)]

    def texts(lines: Sequence[LogLine | None]) -> list[tuple[str, str, str]]:
        return [
            (line.category, line.level, line.text.replace(" 192.0.2.7:5683", ""))
            for line in lines
            if line is not None and line.category != "app" and not line.text.startswith("Resolved host")
        ]

    assert texts(narrated) == texts(real)
