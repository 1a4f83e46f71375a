from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest

from loadgen.errors import UsageError
from loadgen.mockcloud.delays import Stall, parse_delay
from loadgen.mockcloud.faults import parse_fault
from loadgen.mockcloud.settings import CloudMode, CloudSettings, RegistryPolicy


def settings(**changes: Any) -> CloudSettings:
    return CloudSettings(server_key=b"", **changes)


def test_the_defaults_are_fine() -> None:
    settings().check()
    assert settings().worker_count >= 1
    assert settings(workers=3).worker_count == 3


@pytest.mark.parametrize(
    ("limit", "queue", "bound"),
    [
        (None, None, 0),
        (None, 5, 0),
        (Fraction(1000), None, 10_000),
        (Fraction(1, 100), None, 1),
        (Fraction(1000), 0, 0),
        (Fraction(1000), 7, 7),
    ],
)
def test_queue_bound(limit: Fraction | None, queue: int | None, bound: int) -> None:
    assert settings(limit=limit, limit_queue=queue).queue_bound == bound


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"port": 65536}, "port 65536"),
        ({"port": -1}, "port -1"),
        ({"workers": -1}, "-1 workers"),
        ({"limit": Fraction(0)}, "limit of 0"),
        ({"limit": Fraction(1), "limit_queue": -1}, "queue"),
        ({"mode": CloudMode.REPLAY, "registry": RegistryPolicy.STRICT}, "strict"),
        ({"mode": CloudMode.REPLAY, "replay_answers": 0}, "prepared answers"),
        ({"mode": CloudMode.REPLAY, "replay_device_key": bytes(294)}, "294 bytes"),
        ({"seed": 2**64}, "seed"),
        ({"faults": (parse_fault("key:close:60%"), parse_fault("key:reset:60%"))}, "120%"),
        ({"delays": (parse_delay("key:constant=1ms"),) * 2}, "more than one"),
        ({"stalls": (Stall(0, 2), Stall(1, 2))}, "overlap"),
    ],
)
def test_what_cannot_work_is_refused_with_a_remedy(changes: dict[str, Any], what: str) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        settings(**changes).check()
    assert caught.value.remedy


def test_a_replaying_cloud_commits_only_what_needs_no_crypto() -> None:
    replaying: dict[str, Any] = {"mode": CloudMode.REPLAY, "replay_device_key": bytes(162)}
    settings(**replaying, faults=(parse_fault("key:corrupt-signature:1%"),)).check()
    with pytest.raises(UsageError, match="mode 'full'") as caught:
        settings(**replaying, faults=(parse_fault("key:forget:1%"),)).check()
    assert caught.value.where == "fault"


def test_what_disturbs_connections() -> None:
    assert not settings(stalls=(Stall(0, 1),)).disturbs
    assert settings(faults=(parse_fault("key:close:1%"),)).disturbs
    assert settings(delays=(parse_delay("key:constant=1ms"),)).disturbs
    assert settings(record_timings=True).disturbs
