"""The firmware table."""

from __future__ import annotations

import copy
import pickle

import pytest

from loadgen.protocol.firmware import P1_0_7_0, PROFILES, firmware
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.protocol.versions import Version


def test_lookup() -> None:
    assert firmware("p1@0.7.0") is P1_0_7_0
    assert all(profile.name == name for name, profile in PROFILES.items())


@pytest.mark.parametrize("name", ["p1@0.7.1", "P1@0.7.0", "p1@0.7", "p1-0.7.0"])
def test_an_unknown_name_is_met_with_the_nearest(name: str) -> None:
    with pytest.raises(ValueError, match=r"did you mean p1@0\.7\.0\?"):
        firmware(name)


def test_a_name_like_no_other_is_met_with_all() -> None:
    with pytest.raises(ValueError, match=r"known are .*p1@0\.7\.0"):
        firmware("zzz")


def test_versions() -> None:
    assert P1_0_7_0.version == Version(0, 7, 0)
    assert all(name.endswith(f"@{profile.version}") for name, profile in PROFILES.items())


def test_numbers_of_the_p1() -> None:
    assert P1_0_7_0.default_product_id == 8
    assert P1_0_7_0.default_product_version == 65535
    seconds = {stage: timeout / 1e9 for stage, timeout in P1_0_7_0.timeouts_ns.items()}
    assert seconds == {Stage.CONNECT: 5, Stage.NONCE: 20, Stage.KEY: 20, Stage.HELLO: 2}
    assert (P1_0_7_0.ping_after_ns, P1_0_7_0.ping_timeout_ns) == (15_000_000_000, 10_000_000_000)


@pytest.mark.parametrize(
    ("stage", "reason", "code"),
    [
        (Stage.CONNECT, Reason.REFUSED, -18),
        (Stage.CONNECT, Reason.TIMEOUT, -2),
        (Stage.NONCE, Reason.CLOSED, -19),
        (Stage.NONCE, Reason.SHORT, -19),
        (Stage.NONCE, Reason.TIMEOUT, -1),
        (Stage.NONCE, Reason.RESET, -1),
        (Stage.KEY, Reason.CLOSED, -19),
        (Stage.KEY, Reason.SHORT, -19),
        (Stage.KEY, Reason.TIMEOUT, -1),
        (Stage.KEY, Reason.RESET, -1),
        (Stage.UNWRAP, Reason.BAD_KEY, 6),
        (Stage.UNWRAP, Reason.BAD_SIGNATURE, 8),
        (Stage.HELLO, Reason.CLOSED, -1),
        (Stage.HELLO, Reason.SHORT, -1),
        (Stage.HELLO, Reason.TIMEOUT, -1),
        (Stage.HELLO, Reason.RESET, -1),
        (Stage.HELLO, Reason.BAD_FRAME, -1),
        (Stage.HELLO, Reason.BAD_HELLO, -1),
        (Stage.NONCE, Reason.LOCAL_RESOURCE, None),
        (Stage.KEY, Reason.BAD_FRAME, None),
    ],
)
def test_device_codes_of_the_p1(stage: Stage, reason: Reason, code: int | None) -> None:
    assert P1_0_7_0.device_code(stage, reason) == code


def test_codes_of_a_session_are_others() -> None:
    assert P1_0_7_0.device_code(Stage.HELLO, Reason.CLOSED, in_session=True) == -19
    assert P1_0_7_0.device_code(Stage.HELLO, Reason.PING_TIMEOUT, in_session=True) is None


def test_profiles_travel() -> None:
    there = pickle.loads(pickle.dumps(P1_0_7_0))
    assert there.name == P1_0_7_0.name
    assert there.device_codes == P1_0_7_0.device_codes
    assert copy.copy(P1_0_7_0).modules == P1_0_7_0.modules
