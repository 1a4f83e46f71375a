"""Evidence in, causes out: what no cloud can be made to do in a moment, and what a log and a dump say together."""

from __future__ import annotations

from dataclasses import replace

import pytest

from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.diagnosis.causes import DECIDES, DOCTOR_CAUSES, ST_LINK
from loadgen.diagnosis.clues import _MORE, _TROUBLE_CAUSES, candidates
from loadgen.diagnosis.devicelog import parse_device_log
from loadgen.diagnosis.doctor import Diagnosis, Standing, Verdict, diagnose
from loadgen.diagnosis.evidence import (
    Attempt,
    CloudFacts,
    DeviceFacts,
    Evidence,
    Later,
    LogFacts,
    Seen,
    facts_of_dump,
    looks_random,
    spoken,
)
from loadgen.diagnosis.logevidence import log_story
from loadgen.fleet.dct import identity_from_dct
from loadgen.fleet.dct_make import as_self_made
from loadgen.fleet.dct_troubles import VENDOR_KEY_SHA256
from loadgen.protocol.explain import ENDINGS, SESSION_ENDINGS
from loadgen.protocol.firmware_log import LogEvent
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.protocol.versions import Version
from tests.diagnosis.logs import Script
from tests.fleet import dumps
from tests.fleet.keys import good_keys

RTT_NS = 250 * NS_PER_MS
REFUSED = Attempt(
    stage=Stage.KEY,
    reason=Reason.CLOSED,
    device_code=-19,
    elapsed_ns=264 * NS_PER_MS,
    round_trip_ns=253 * NS_PER_MS,
    device_limit_ns=20 * NS_PER_S,
)
OLD_LOG = LogFacts(since=Version(0, 6, 2), before=Version(0, 7, 0, 1), address_type=255, attempts=1)
"""Of 0.6.2 to 0.6.4, with an erased address."""
ERASED = b"\xff" * 128


def ended(stage: Stage, reason: Reason, elapsed_ms: int, limit_ms: int = 20_000, **more: object) -> Evidence:
    attempt = Attempt(
        stage=stage,
        reason=reason,
        elapsed_ns=elapsed_ms * NS_PER_MS,
        round_trip_ns=RTT_NS,
        device_limit_ns=limit_ms * NS_PER_MS,
    )
    return Evidence(attempt=replace(attempt, **more), is_live=True)  # type: ignore[arg-type]


def standing(diagnosis: Diagnosis) -> set[str]:
    return {each.cause.id for each in diagnosis.suspects if each.standing is not Standing.RULED_OUT}


def of_dump(application: bytes) -> DeviceFacts:
    return facts_of_dump(identity_from_dct(dumps.copy(application)))


@pytest.mark.parametrize(
    ("elapsed_ms", "fits", "not_"),
    [
        (264, {"wrong-server-key", "unknown-device", "other-key-on-record"}, {"cloud-time-limit", "proxy-idle-limit"}),
        (10_250, {"cloud-time-limit"}, {"wrong-server-key", "unknown-device", "proxy-idle-limit"}),
        (30_250, {"cloud-time-limit"}, {"wrong-server-key", "unknown-device"}),
        (15_000, {"proxy-idle-limit"}, {"wrong-server-key", "unknown-device", "cloud-time-limit"}),
    ],
)
def test_the_moment_of_the_close_tells(elapsed_ms: int, fits: set[str], not_: set[str]) -> None:
    limit_ms = 60_000 if elapsed_ms > 20_000 else 20_000
    found = diagnose(ended(Stage.KEY, Reason.CLOSED, elapsed_ms, limit_ms))
    assert fits <= standing(found)
    assert not not_ & standing(found)


@pytest.mark.parametrize(
    ("stage", "reason", "limit_ms", "expected"),
    [
        (Stage.NONCE, Reason.TIMEOUT, 20_000, "not-this-protocol"),
        (Stage.KEY, Reason.TIMEOUT, 20_000, "cloud-overloaded"),
        (Stage.HELLO, Reason.TIMEOUT, 2_000, "slow-hello"),
        (Stage.CONNECT, Reason.TIMEOUT, 5_000, "firewall"),
    ],
)
def test_a_silent_other_side(stage: Stage, reason: Reason, limit_ms: int, expected: str) -> None:
    found = diagnose(ended(stage, reason, limit_ms + 1, limit_ms))
    assert expected in standing(found)
    assert found.verdict is (Verdict.NO_CONNECTION if stage is Stage.CONNECT else Verdict.UNDECIDED)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (bytes.fromhex("15030300020228"), "tls"),
        (b"HTTP/1.1 400 Bad Request\r\n", "http"),
        (b"220 mail.example ESMTP\r\n", "text"),
        (bytes(range(128, 168)), None),
        (b"ab", None),
        (b"", None),
    ],
)
def test_what_else_can_speak(data: bytes, kind: str | None) -> None:
    assert spoken(data) == kind


@pytest.mark.parametrize(
    ("data", "cause"),
    [(b"\x15\x03\x01\x00\x02\x02\x28", "speaks-tls"), (b"HTTP/1.0 200 OK\r\n", "speaks-http")],
)
def test_a_probe_names_the_service(data: bytes, cause: str) -> None:
    evidence = ended(Stage.NONCE, Reason.TIMEOUT, 20_001)
    found = diagnose(replace(evidence, probe=data))
    assert (found.verdict, found.standing(cause)) == (Verdict.FAULT, Standing.CERTAIN)
    assert diagnose(replace(evidence, probe=b"")).verdict is Verdict.UNDECIDED


def test_a_probe_that_is_answered_in_no_known_protocol() -> None:
    found = diagnose(replace(ended(Stage.NONCE, Reason.TIMEOUT, 20_001), probe=b"\x80\x01\x02\xff\x90"))
    said = [text for suspect in found.suspects for text in (*suspect.speaks_for, *suspect.speaks_against)]
    assert any(text.startswith("asked in HTTP or TLS it answers what is neither") for text in said)
    assert not any("it said nothing to a line of HTTP" in text for text in said)


def test_log_alone_cannot_tell_the_two_causes_apart() -> None:
    found = diagnose(Evidence(attempt=REFUSED, log=OLD_LOG))
    assert found.verdict is Verdict.UNDECIDED
    assert found.indistinct == ("blank-server-key", "new-device-key")
    decides = dict(found.decides)
    assert "9630" in decides["blank-server-key"]
    assert "7582" in decides["new-device-key"]
    assert all("st-flash" in ST_LINK[name] for name in found.indistinct)
    text = " ".join(found.findings)
    for part in ("0.6.2 to 0.6.4", "sparkprotocol", "one round trip", "erased", "padded to 512 bytes"):
        assert part in text


@pytest.mark.parametrize(
    ("application", "certain", "other"),
    [
        (dumps.section(server=b"\xff" * 294, address=ERASED), "blank-server-key", "new-device-key"),
        (dumps.section(b"\xff" * 611, address=ERASED), "new-device-key", "blank-server-key"),
    ],
)
def test_log_and_dump_decide(application: bytes, certain: str, other: str) -> None:
    found = diagnose(Evidence(attempt=REFUSED, log=OLD_LOG, device=of_dump(application)))
    assert (found.verdict, found.standing(certain)) == (Verdict.FAULT, Standing.CERTAIN)
    assert found.standing(other) is not Standing.CERTAIN


def test_a_key_that_the_device_has_made_is_decided_by_the_key_on_record() -> None:
    key = as_self_made(good_keys()[0])
    case = Evidence(attempt=REFUSED, log=OLD_LOG, device=of_dump(dumps.section(key, address=ERASED)))
    alone = diagnose(case)
    assert alone.standing("address-erased") is Standing.CERTAIN
    assert alone.beside == ("new-device-key",)
    assert "--registered" in dict(alone.decides)["new-device-key"]
    assert alone.suspects[1].cause.id == "new-device-key"
    other = replace(case, cloud=CloudFacts(knows_registry=True, registered_fingerprint="d" * 64))
    found = diagnose(other)
    assert [each.cause.id for each in found.suspects[:2]] == ["new-device-key", "address-erased"]
    assert found.standing("new-device-key") is Standing.CERTAIN
    assert found.beside == ()


@pytest.mark.parametrize("key", [good_keys()[0], as_self_made(good_keys()[0])])
def test_another_key_on_record_is_no_new_key_unless_something_was_erased(key: bytes) -> None:
    cloud = CloudFacts(knows_registry=True, registered_fingerprint="d" * 64)
    found = diagnose(Evidence(attempt=REFUSED, is_live=True, device=of_dump(dumps.section(key)), cloud=cloud))
    assert found.standing("other-key-on-record") is Standing.CERTAIN
    assert found.standing("new-device-key") is not Standing.CERTAIN


def test_newer_firmware_would_have_said_that_its_key_was_blank() -> None:
    log = replace(OLD_LOG, since=Version(0, 7, 0, 1), before=Version(0, 8, 0, 1), address_type=None)
    restored = replace(log, key_restored=True)
    assert diagnose(Evidence(attempt=REFUSED, log=restored)).standing("blank-server-key") is Standing.CERTAIN
    vendor = replace(restored, address_restored=True)
    assert diagnose(Evidence(attempt=REFUSED, log=vendor)).standing("blank-server-key") is Standing.RULED_OUT


def test_fingerprints_decide() -> None:
    device = DeviceFacts(device_fingerprint="a" * 64, server_fingerprint="b" * 64)
    case = Evidence(attempt=REFUSED, is_live=True, device=device)
    for cloud, certain in (
        (CloudFacts(server_fingerprint="c" * 64), "wrong-server-key"),
        (CloudFacts(knows_registry=True), "unknown-device"),
        (CloudFacts(knows_registry=True, registered_fingerprint="d" * 64), "other-key-on-record"),
    ):
        found = diagnose(replace(case, cloud=cloud))
        assert (found.verdict, found.standing(certain)) == (Verdict.FAULT, Standing.CERTAIN)
    same = CloudFacts(server_fingerprint="b" * 64, knows_registry=True, registered_fingerprint="a" * 64)
    left = standing(diagnose(replace(case, cloud=same)))
    assert not left & {"wrong-server-key", "unknown-device", "other-key-on-record"}
    assert "cloud-cannot-decrypt" in left


def test_a_good_device_clears_the_cloud_or_the_device() -> None:
    case = Evidence(attempt=REFUSED, is_live=True, device=DeviceFacts(server_fingerprint="b" * 64))
    good = diagnose(replace(case, control=Attempt(stage=None, reason=None)))
    assert good.indistinct == ("unknown-device", "other-key-on-record")
    assert good.standing("wrong-server-key") is Standing.RULED_OUT
    bad = diagnose(replace(case, control=REFUSED))
    assert bad.suspects[0].cause.id == "wrong-server-key"


def test_the_vendors_key_fits_the_vendors_cloud_only() -> None:
    device = DeviceFacts(server_fingerprint=VENDOR_KEY_SHA256)
    live = diagnose(Evidence(attempt=REFUSED, is_live=True, device=device))
    assert (live.suspects[0].cause.id, live.verdict) == ("wrong-server-key", Verdict.FAULT)
    logged = diagnose(Evidence(attempt=REFUSED, log=OLD_LOG, device=device))
    assert logged.standing("wrong-server-key") is Standing.RULED_OUT


@pytest.mark.parametrize("reason", SESSION_ENDINGS)
def test_every_end_of_a_session_has_causes(reason: Reason) -> None:
    found = diagnose(Evidence(attempt=Attempt(stage=Stage.HELLO, reason=reason, in_session=True)))
    assert found.suspects
    assert found.verdict in (Verdict.UNDECIDED, Verdict.FAULT)


@pytest.mark.parametrize(("stage", "reason"), ENDINGS)
def test_every_ending_has_causes_and_what_decides_between_them(stage: Stage, reason: Reason) -> None:
    evidence = Evidence(attempt=Attempt(stage=stage, reason=reason))
    found = diagnose(evidence)
    assert {each.cause.id for each in found.suspects} == set(candidates(evidence))
    assert found.verdict is not Verdict.HEALTHY
    if len(found.indistinct) > 1:
        assert found.decides


def test_the_same_id_twice_shows_in_the_session_only() -> None:
    found = diagnose(Evidence(attempt=Attempt(stage=Stage.HELLO, reason=Reason.CLOSED, in_session=True)))
    assert found.suspects[0].cause.id == "same-id-twice"


LOG = """0000001000 [system] INFO: Cloud: connecting
0000001010 [system] INFO: Read Server Address = type:1,domain:cloud.example
0000001020 [system] INFO: Resolved host cloud.example to 10.0.0.1
0000001050 [system] INFO: connected to cloud 10.0.0.1:5683
0000001070 [comm.sparkprotocol.handshake] INFO: Started: Receive nonce
0000001110 [comm.sparkprotocol.handshake] INFO: Encrypting handshake nonce
0000001190 [comm.sparkprotocol.handshake] INFO: Sending encrypted nonce
0000001200 [comm.sparkprotocol.handshake] INFO: Receive key
"""


@pytest.mark.parametrize(
    ("end", "verdict", "first"),
    [
        (
            (
                "0000001250 [comm.sparkprotocol.handshake] INFO: Setting key\n"
                "0000001400 [comm.sparkprotocol.handshake] ERROR: Could not set key, 77\n"
                "0000001410 [system] WARN: Cloud handshake failed, code=6\n"
            ),
            Verdict.UNDECIDED,
            "old-key-used",
        ),
        (
            (
                "0000011230 [comm.sparkprotocol.handshake] ERROR: Unable to receive key -19\n"
                "0000011240 [system] WARN: Cloud handshake failed, code=-19\n"
            ),
            Verdict.FAULT,
            "cloud-time-limit",
        ),
        (
            (
                "0000021230 [comm.sparkprotocol.handshake] ERROR: Unable to receive key -1\n"
                "0000021240 [system] WARN: Cloud handshake failed, code=-1\n"
            ),
            Verdict.UNDECIDED,
            "cloud-overloaded",
        ),
        ("", Verdict.UNDECIDED, None),
    ],
)
def test_other_logs(end: str, verdict: Verdict, first: str | None) -> None:
    story = log_story(parse_device_log((LOG + end).encode(), "device.log"))
    found = diagnose(Evidence(attempt=story.attempt, log=story.facts, unresolved=story.unresolved))
    assert found.verdict is verdict
    assert (found.suspects[0].cause.id if found.suspects else None) == first


def test_a_log_of_a_name_that_does_not_resolve() -> None:
    text = (
        "0000001000 [system] INFO: Cloud: connecting\n"
        "0000001500 [system] ERROR: Cloud: unable to resolve IP for cloud.example\n"
        "0000001510 [system] WARN: Cloud socket connection failed: -1\n"
    )
    story = log_story(parse_device_log(text.encode(), "device.log"))
    found = diagnose(Evidence(attempt=story.attempt, log=story.facts, unresolved=story.unresolved))
    assert (story.unresolved, found.verdict) == ("cloud.example", Verdict.NO_CONNECTION)


def test_the_number_of_the_rsa_library_is_explained() -> None:
    script = Script("2.3.1").attempt(5_000, until=LogEvent.KEY_DONE).say(5_600, LogEvent.DECRYPT_FAILED, -16640)
    log = script.say(5_601, LogEvent.SET_KEY_FAILED, 6).say(5_610, LogEvent.HANDSHAKE_FAILED, -240).read()
    story = log_story(log)
    found = diagnose(Evidence(attempt=story.attempt, log=story.facts))
    (said,) = (text for text in found.findings if "library" in text)
    assert said.startswith(
        "The device's RSA library said -16640 (MBEDTLS_ERR_RSA_INVALID_PADDING): the padding is wrong"
    )


def test_tables_name_causes_that_exist() -> None:
    named = {*DECIDES, *ST_LINK, *_TROUBLE_CAUSES.values(), *(name for names in _MORE.values() for name in names)}
    assert named <= set(DOCTOR_CAUSES)


def test_without_evidence_there_is_nothing_to_say() -> None:
    found = diagnose(Evidence())
    assert (found.verdict, found.suspects) == (Verdict.UNDECIDED, ())


def test_a_name_that_does_not_resolve() -> None:
    found = diagnose(Evidence(unresolved="cloud.example", is_live=True))
    assert (found.verdict, found.suspects[0].cause.id) == (Verdict.NO_CONNECTION, "name-not-resolved")


@pytest.mark.parametrize(
    ("elapsed_ms", "connected_ms", "causes"),
    [
        (300, 800, {"attributes-missing", "message-id"}),
        (9_500, 10_100, {"cloud-time-limit"}),
        (29_400, 30_200, {"cloud-time-limit"}),
        (15_100, 16_000, {"describe-missing"}),
        (31_200, 33_000, {"idle-limit"}),
        (20_000, 21_000, {"same-id-twice", "cloud-crashed", "proxy-idle-limit", "message-id"}),
    ],
)
def test_the_time_after_which_a_session_ends(elapsed_ms: int, connected_ms: int, causes: set[str]) -> None:
    attempt = Attempt(
        stage=Stage.HELLO,
        reason=Reason.CLOSED,
        in_session=True,
        elapsed_ns=elapsed_ms * NS_PER_MS,
        connected_ns=connected_ms * NS_PER_MS,
        round_trip_ns=100 * NS_PER_MS,
    )
    found = diagnose(Evidence(attempt=attempt))
    likely = {each.cause.id for each in found.suspects if each.standing is Standing.LIKELY}
    assert (set(found.indistinct) or likely) == causes
    live = diagnose(Evidence(attempt=attempt, is_live=True))
    assert live.standing("describe-missing") is Standing.RULED_OUT


def test_no_public_half_of_a_damaged_key_is_to_be_registered() -> None:
    cause = DOCTOR_CAUSES["damaged-private-key"]
    assert "give its public half" not in cause.with_dfu
    for text in (cause.remedy, ST_LINK[cause.id]):
        assert "--only repaired-key" in text


NAME = b"\x01\x0dcloud.example".ljust(128, b"\xff")


@pytest.mark.parametrize(
    ("address_type", "record", "logged"),
    [
        (255, dumps.ADDRESS, "an erased address"),
        (1, dumps.ADDRESS, "a name"),
        (0, NAME, "a numeric address"),
        (0, dumps.ADDRESS, None),
        (1, NAME, None),
        (None, dumps.ADDRESS, None),
        (255, ERASED, None),
    ],
)
def test_log_and_dump_of_two_times_are_told(address_type: int | None, record: bytes, logged: str | None) -> None:
    device = of_dump(dumps.section(address=record))
    found = diagnose(Evidence(attempt=REFUSED, log=replace(OLD_LOG, address_type=address_type), device=device))
    told = [sentence for sentence in found.findings if sentence.startswith("By its log")]
    assert len(told) == (logged is not None)
    assert all(f"has {logged}, by its dump" in sentence for sentence in told)


def test_a_log_that_names_its_address_has_one() -> None:
    log = LogFacts(since=Version(1, 0, 0), before=Version(1, 1, 0), address_type=1, address="cloud.example:5683")
    found = diagnose(Evidence(attempt=REFUSED, log=log))
    assert found.standing("address-erased") is Standing.RULED_OUT
    assert "blank-server-key" not in found.indistinct  # this firmware would have said so


@pytest.mark.parametrize(("internet", "standing_of"), [(False, Standing.LIKELY), (True, Standing.RULED_OUT)])
def test_the_devices_own_test_of_the_internet(internet: bool, standing_of: Standing) -> None:
    case = ended(Stage.CONNECT, Reason.TIMEOUT, 5_001, 5_000)
    log = replace(OLD_LOG, address_type=None, internet=internet)
    assert diagnose(replace(case, is_live=False, log=log)).standing("network-down") is standing_of


def test_a_log_without_the_begin_of_the_wait() -> None:
    """Firmware to 0.6.0 prints nothing between the connection and the error."""
    place = "virtual int SparkProtocol::handshake() spark_protocol.cpp(108)"
    text = (
        "0000005346:INFO : void establish_cloud_connection() system_task.cpp(170):Cloud: connecting\n"
        "0000005649:INFO : void establish_cloud_connection() system_task.cpp(180):Cloud socket connected\n"
        f"0000006293:ERROR: {place}:Handshake: Unable to receive key -19\n"
        "0000006302:WARN : void handle_cloud_connection(bool) system_task.cpp(210):Cloud handshake failed, code=-19\n"
    )
    story = log_story(parse_device_log(text.encode(), "device.log"))
    found = diagnose(Evidence(attempt=story.attempt, log=story.facts))
    assert {"wrong-server-key", "unknown-device"} <= set(found.indistinct)
    assert found.standing("proxy-idle-limit") is Standing.RULED_OUT
    assert any("two round trips and the device's own RSA" in each for each in found.findings)


def test_a_nonce_is_random() -> None:
    assert looks_random(bytes(range(128, 168)))
    assert not looks_random(bytes(40))
    assert not looks_random(b"\x4a\0\0\1\x0a8.0.31-community-server" + bytes(range(200, 212)))


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (dumps.copy()[: 7548 + 1200], "key_missing"),
        (dumps.copy()[: 7548 + 2200], "server_key_missing"),
        (dumps.copy()[: 7548 + 2500], "address_missing"),
        (dumps.copy(current=0), "not_current"),
        (dumps.flash(dumps.copy(current=0), dumps.copy())[:0x8000], "copy_missing"),
    ],
)
def test_what_a_dump_lacks_is_no_fault_of_the_device(data: bytes, code: str) -> None:
    found = facts_of_dump(identity_from_dct(data))
    assert code in {trouble.code for trouble in found.troubles}
    assert not {trouble.code for trouble in found.troubles} & {"no_valid_copy", "bad_address", "no_server_key"}
    diagnosis = diagnose(Evidence(device=found))
    assert (diagnosis.verdict, diagnosis.headline.startswith("This dump does not tell: ")) == (Verdict.UNDECIDED, True)


def test_an_old_copy_gives_hints_and_no_verdict() -> None:
    data = dumps.copy(dumps.section(server=b"\xff" * 294), current=0)
    diagnosis = diagnose(Evidence(device=facts_of_dump(identity_from_dct(data))))
    assert diagnosis.verdict is Verdict.UNDECIDED
    assert diagnosis.standing("blank-server-key") is Standing.POSSIBLE


@pytest.mark.parametrize(
    ("stage", "held_ms", "causes"),
    [
        (Stage.KEY, 30_100, {"cloud-time-limit"}),
        (Stage.KEY, 24_000, {"cloud-overloaded", "not-this-protocol"}),
        (Stage.HELLO, 10_050, {"cloud-time-limit", "session-key-differs"}),
    ],
)
def test_when_the_other_side_ends_what_the_device_gave_up(stage: Stage, held_ms: int, causes: set[str]) -> None:
    later = Later(held_ns=held_ms * NS_PER_MS, reason=Reason.CLOSED)
    limit_ms = 20_000 if stage is Stage.KEY else 2_000
    found = diagnose(ended(stage, Reason.TIMEOUT, limit_ms + 1, limit_ms, later=later))
    likely = {each.cause.id for each in found.suspects if each.standing is Standing.LIKELY}
    assert (set(found.indistinct) or likely) == causes
    assert found.standing("firewall") in (None, Standing.RULED_OUT)
    assert f"The other side ended the connection {held_ms / 1000:.1f} s after" in " ".join(found.findings)


def test_what_comes_late_was_worked_on() -> None:
    later = Later(held_ns=26 * NS_PER_S, size=384)
    found = diagnose(ended(Stage.KEY, Reason.TIMEOUT, 20_001, later=later))
    assert (found.verdict, found.suspects[0].cause.id) == (Verdict.FAULT, "cloud-overloaded")


def test_the_wait_that_was_cut_short_is_named() -> None:
    found = diagnose(ended(Stage.NONCE, Reason.TIMEOUT, 1_500, 1_500, patience_ns=20 * NS_PER_S))
    assert any("as long as --wait allows; a real device waits 20.0 s" in each for each in found.findings)


def test_a_frame_of_a_session_that_cannot_be_read() -> None:
    attempt = Attempt(
        stage=Stage.HELLO,
        reason=Reason.BAD_FRAME,
        in_session=True,
        detail="wrong padding",
        seen=Seen(message=b"?" * 16),
    )
    found = diagnose(Evidence(attempt=attempt, is_live=True))
    assert (found.verdict, found.suspects[0].cause.id) == (Verdict.FAULT, "wrong-iv-rule")


def test_a_log_with_nothing_but_the_summary() -> None:
    text = b"0000006302 [system] WARN: Cloud handshake failed, code=-19\n"
    story = log_story(parse_device_log(text, "device.log"))
    found = diagnose(Evidence(attempt=story.attempt, log=story.facts))
    assert found.verdict is Verdict.UNDECIDED
    assert "not where it ended" in found.headline


def test_a_service_that_waits_for_its_client_ends_when_it_pleases() -> None:
    """A web server that is told nothing closes after some seconds of its own."""
    found = diagnose(ended(Stage.NONCE, Reason.CLOSED, 6_000))
    assert set(found.indistinct) == {"not-this-protocol", "proxy-idle-limit"}
