"""The firmware table."""

from __future__ import annotations

import copy
import pickle
import re
from dataclasses import fields

import pytest

from loadgen.protocol.events import CryptoNeeded, EncryptNonce
from loadgen.protocol.explain import ENDINGS, SESSION_ENDINGS
from loadgen.protocol.firmware import ALIASES, P1_0_7_0, PROFILES, FirmwareProfile, firmware
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.protocol.versions import Version
from tests.fakes import MATERIAL, NONCE, make_device, pull
from tests.protocol.scripted import Sealer, reply, sends

ALL = list(PROFILES.values())
ISSUED = (
    "0.4.9", "0.5.5", "0.6.4", "0.7.0", "0.8.0-rc.1", "0.8.0-rc.3", "0.8.0-rc.4", "0.8.0-rc.12", "1.0.1", "1.5.2",
    "2.0.0", "2.3.1", "3.3.1",
)  # fmt: skip


def hello_of(name: str) -> bytes:
    """The plain bytes of its Hello for a salt that begins 12 34."""
    device = make_device(firmware(name))
    device.receive_data(NONCE)
    pull(device)
    device.receive_data(reply(MATERIAL[:32] + b"\x12\x34" + MATERIAL[34:]))
    (frame,) = sends(pull(device))
    (plain,) = Sealer().read(frame)
    return plain


def test_lookup() -> None:
    assert firmware("p1@0.7.0") is P1_0_7_0
    assert all(profile.name == name for name, profile in PROFILES.items())
    for platform in ("p1", "photon"):
        assert {f"{platform}@{version}" for version in ISSUED} < set(PROFILES)


def test_other_names() -> None:
    assert firmware("p1@0.8.0-rc").name == "p1@0.8.0-rc.12"
    assert firmware("photon@0.8.0-rc.2").name == "photon@0.8.0-rc.1"
    assert all(firmware(alias).name == name for alias, name in ALIASES.items())
    assert not set(ALIASES) & set(PROFILES)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("p1@0.7.1", "p1@0.7.0"),
        ("P1@0.7.0", "p1@0.7.0"),
        ("p1@0.7", "p1@0.7.0"),
        ("p1-0.7.0", "p1@0.7.0"),
        ("p1 v0.7.0", "p1@0.7.0"),
        ("0.6.3", "p1@0.6.4"),
        ("p1@0.8.0", "p1@0.8.0-rc.12"),
        ("p1@0.8.0-rc.5", "p1@0.8.0-rc.4"),
        ("p1@1.4.4", "p1@1.5.2"),
        ("photon@9.0.0", "photon@3.3.1"),
        ("core@1.0.1", "core@0.7.0"),
        ("foton@1.0.1", "photon@1.0.1"),
    ],
)
def test_an_unknown_name_is_met_with_the_nearest(name: str, near: str) -> None:
    with pytest.raises(ValueError, match=rf"did you mean {re.escape(near)}\?"):
        firmware(name)


@pytest.mark.parametrize("name", ["zzz", "", "@", "p1@" + "9" * 5000])
def test_a_name_like_no_other_is_met_with_all(name: str) -> None:
    with pytest.raises(ValueError, match=r"known are .*p1@0\.7\.0"):
        firmware(name)


@pytest.mark.parametrize(
    ("name", "hello"),
    [
        ("core@0.3.4", "50021235b168ff0000ffff0000"),
        ("core@0.7.0", "50021235b168ff0000ffff00000000"),
        ("photon@0.7.0", "50021235b168ff0006ffff00000006"),
        ("p1@0.4.9", "50021235b168ff0008ffff00000008"),
        ("p1@0.7.0", "50021235b168ff0008ffff00000008"),
        ("p1@0.8.0-rc.1", "50023413b168ff0008ffff00020008"),
        ("p1@1.0.1", "50023413b168ff0008ffff00020008"),
        ("p1@1.5.2", "50023413b168ff0008ffff00060008"),
        ("p1@2.3.1", "50023413b168ff0008ffff00360008"),
        ("p1@3.3.1", "50023413b168ff0008ffff00360008" + "0000" + "0ce6" + "03ae" + "00040000" + "0200"),
    ],
)
def test_hello(name: str, hello: str) -> None:
    assert hello_of(name).hex() == hello


def test_the_frame_of_a_long_hello() -> None:
    assert [len(Sealer().frame(hello_of(name))) for name in ("p1@0.7.0", "p1@3.3.1")] == [18, 34]


@pytest.mark.parametrize(("name", "size"), [("core@0.3.4", 52), ("core@0.4.9", 214), ("p1@0.4.0", 214)])
def test_plaintext(name: str, size: int) -> None:
    device = make_device(firmware(name))
    device.receive_data(NONCE)
    (request,) = [event.request for event in pull(device) if isinstance(event, CryptoNeeded)]
    assert isinstance(request, EncryptNonce)
    assert len(request.plaintext) == size


@pytest.mark.parametrize(
    ("name", "pauses_ms"),
    [
        ("p1@0.4.0", [0, 500, 1500, 3500, 7500, 15500, 31500, 63500, 127500, 255500, 255500]),
        ("p1@0.4.9", [0, *[1000] * 5, *[2000] * 5, 4000]),
        ("p1@3.3.1", [0, *[1000] * 5, *[2000] * 5, 4000]),
    ],
)
def test_back_off(name: str, pauses_ms: list[int]) -> None:
    profile = firmware(name)
    assert [profile.back_off_ns(failures) // 1_000_000 for failures in range(len(pauses_ms))] == pauses_ms


@pytest.mark.parametrize(
    ("name", "seconds"),
    [("p1@0.4.0", 20), ("p1@0.4.9", 2), ("p1@0.7.0", 2), ("p1@0.8.0-rc.1", 4), ("photon@3.3.1", 4)],
)
def test_wait_for_hello(name: str, seconds: int) -> None:
    assert firmware(name).timeouts_ns[Stage.HELLO] == seconds * 1_000_000_000


# code= for: nonce closed, key closed, key timeout, key block, signature, no Hello, closed instead of Hello
CODES = {
    "p1@0.4.0": (-19, -19, -1, 1, 2, -1, -1),
    "p1@0.4.9": (-19, -19, -1, 6, 8, -1, -1),
    "p1@0.7.0": (-19, -19, -1, 6, 8, -1, -1),
    "p1@0.8.0-rc.1": (25, 26, 26, 6, 8, 10, 24),
    "p1@1.5.2": (25, 26, 26, 6, 8, 10, 24),
    "p1@2.0.0": (-220, -220, -220, -240, -130, -160, -220),
    "p1@3.3.1": (-220, -220, -220, -240, -130, -160, -220),
}


@pytest.mark.parametrize("name", CODES)
def test_codes_of_the_generations(name: str) -> None:
    ends = (
        (Stage.NONCE, Reason.CLOSED),
        (Stage.KEY, Reason.CLOSED),
        (Stage.KEY, Reason.TIMEOUT),
        (Stage.UNWRAP, Reason.BAD_KEY),
        (Stage.UNWRAP, Reason.BAD_SIGNATURE),
        (Stage.HELLO, Reason.TIMEOUT),
        (Stage.HELLO, Reason.CLOSED),
    )
    assert tuple(firmware(name).device_code(stage, reason) for stage, reason in ends) == CODES[name]


@pytest.mark.parametrize("profile", ALL, ids=lambda profile: profile.name)
def test_every_end_that_is_possible_has_a_code(profile: FirmwareProfile) -> None:
    for stage in (Stage.NONCE, Stage.KEY, Stage.HELLO):
        for reason in (Reason.CLOSED, Reason.SHORT, Reason.TIMEOUT, Reason.RESET):
            assert profile.device_code(stage, reason) is not None
    assert set(profile.device_codes) <= set(ENDINGS)
    assert set(profile.session_codes) <= set(SESSION_ENDINGS)


def test_codes_of_sessions() -> None:
    codes = {
        name: firmware(name).device_code(Stage.HELLO, Reason.PING_TIMEOUT, in_session=True)
        for name in ("p1@0.4.9", "p1@0.7.0", "p1@1.0.1", "p1@2.3.1")
    }
    assert codes == {"p1@0.4.9": None, "p1@0.7.0": None, "p1@1.0.1": 1, "p1@2.3.1": 1}


@pytest.mark.parametrize("name", PROFILES)
def test_platforms_differ_in_what_they_are_and_not_in_what_they_do(name: str) -> None:
    profile = firmware(name)
    assert profile.platform_id == {"core": 0, "photon": 6, "p1": 8}[profile.platform]
    if profile.platform == "photon":
        p1 = firmware(name.replace("photon", "p1"))
        differing = {f.name for f in fields(profile) if getattr(profile, f.name) != getattr(p1, f.name)}
        assert differing == {"name", "platform_id"}


def test_what_is_inferred_is_said() -> None:
    for profile in ALL:
        assert profile.inferred, profile.name
        assert all(text and not text.endswith(".") for text in profile.inferred)


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
