"""From what somebody has in hand to what explains it: every number of every table, endings, lines, wrong words."""

from __future__ import annotations

import pytest

from loadgen.protocol.causes import CAUSES, causes
from loadgen.protocol.endings import ENDING_TABLE, SESSION_ENDING_TABLE
from loadgen.protocol.error_numbers import PRINTS, STRICT, TO_SYSTEM, DeviceCode, Table
from loadgen.protocol.explain import ENDINGS, SESSION_ENDINGS
from loadgen.protocol.firmware import PROFILES
from loadgen.protocol.firmware_log import LogEvent
from loadgen.protocol.lookup import UnknownTopicError, known_words, look_up, version_of
from loadgen.protocol.moments import MOMENT_TEXT, Moment, moments_of
from loadgen.protocol.system_errors import DEVICE_CODES
from loadgen.protocol.topics import number_topics
from loadgen.protocol.versions import Version
from loadgen.units import NS_PER_UNIT

S, MS = NS_PER_UNIT["s"], NS_PER_UNIT["ms"]
V0_7, V1_0, V2_3 = Version(0, 7, 0), Version(1, 0, 1), Version(2, 3, 1)


def titles(text: str, version: Version | None = None) -> list[str]:
    return [topic.title for topic in look_up(text, version)]


@pytest.mark.parametrize("code", DEVICE_CODES, ids=lambda code: f"{code.table.name}-{code.value}")
def test_every_number_has_a_topic_with_causes(code: DeviceCode) -> None:
    topics = [topic for topic in look_up(str(code.value)) if topic.table == code.table.value]
    assert code.name in [topic.name for topic in topics]
    for topic in topics:
        assert topic.meaning
        assert not topic.meaning.endswith(".")
        assert topic.causes
        assert all("%" not in entry.text for entry in topic.printed)
    if code.name:
        assert code.name in [topic.name for topic in look_up(code.name)]


def test_the_tables_are_whole() -> None:
    by_table = {table: {code.value for code in DEVICE_CODES if code.table is table} for table in Table}
    assert by_table[Table.PROTOCOL] == {*range(36), 0x7FFFF}
    assert by_table[Table.WICED] == {-value for value in (*range(33), *range(7008, 7015))}
    assert set(TO_SYSTEM) == by_table[Table.PROTOCOL]
    assert set(TO_SYSTEM.values()) <= by_table[Table.SYSTEM]
    assert len({(code.table, code.value) for code in DEVICE_CODES}) == len(DEVICE_CODES)
    assert {row.event for row in PRINTS} <= {event.value for event in LogEvent}


@pytest.mark.parametrize("name", [name for name in PROFILES if not name.startswith("core")])
def test_every_code_of_every_firmware_leads_to_its_ending(name: str) -> None:
    firmware = PROFILES[name]
    for (stage, reason), value in firmware.device_codes.items():
        topics = number_topics(value, version=firmware.version, places=frozenset({stage}))
        wire = f"{stage}/{reason}: {ENDING_TABLE[stage, reason].wire}"
        assert wire in [text for topic in topics for text in topic.wire]
    for reason, value in firmware.session_codes.items():
        topics = number_topics(value, version=firmware.version, places=frozenset({None}))
        wire = f"session/{reason}: {SESSION_ENDING_TABLE[reason].wire}"
        assert wire in [text for topic in topics for text in topic.wire]


def test_every_ending_can_be_asked_for() -> None:
    for stage, reason in ENDINGS:
        assert titles(f"{stage}/{reason}") == [f"{stage}/{reason}"]
    for reason in SESSION_ENDINGS:
        assert titles(f"session/{reason}") == [f"session/{reason}"]
    for version in (V0_7, V1_0, V2_3):
        (topic,) = look_up("key/closed", version)
        assert {entry.versions for entry in topic.codes} == {str(version)}


def test_every_cause_is_complete_and_leads_somewhere() -> None:
    used = {name for ending in (*ENDING_TABLE.values(), *SESSION_ENDING_TABLE.values()) for name in ending.causes}
    used |= {name for code in DEVICE_CODES for name in code.causes}
    assert used == set(CAUSES)
    for cause in CAUSES.values():
        assert cause.moments
        assert cause.evidence
        (topic,) = look_up(cause.id)
        assert topic.causes == (cause,)
        for text in (cause.what, cause.remedy, cause.with_dfu, cause.without_dfu, *cause.evidence, *cause.against):
            assert "\n" not in text
            assert not text.endswith(".") or text.endswith("restoring.")
        assert not cause.with_dfu or cause.without_dfu, "with DFU, but what without?"
    assert [cause.id for cause in causes(["firewall", "no-backend", "firewall"])] == ["firewall", "no-backend"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("-19", ["WICED_CONNECTION_CLOSED"]),
        ("−19", ["WICED_CONNECTION_CLOSED"]),
        ("-19 at key", ["WICED_CONNECTION_CLOSED"]),
        ("code=-19", ["WICED_CONNECTION_CLOSED"]),
        ("key -19", ["WICED_CONNECTION_CLOSED"]),
        ("code -220", ["SYSTEM_ERROR_IO"]),
        ("19", ["IO_ERROR_GENERIC_SEND"]),
        ("6", ["DECRYPTION_ERROR"]),
        ("0x7ffff", ["UNKNOWN"]),
        ("decryption_error", ["DECRYPTION_ERROR"]),
        ("IO_ERROR_GENERIC", ["IO_ERROR"]),
        ("CONNECTION_CLOSED", ["WICED_CONNECTION_CLOSED"]),
        ("Unable to receive key -19", ["WICED_CONNECTION_CLOSED"]),
        ("Could not set key, 6", ["DECRYPTION_ERROR"]),
        ("Cloud handshake failed, code=26", ["IO_ERROR_LIGHTSSL_HANDSHAKE_RECV_KEY"]),
        ("Cloud handshake failed, code=-220", ["SYSTEM_ERROR_IO"]),
        ("connection failed to 10.0.0.1:5683, code=-18", ["WICED_CONNECTION_RESET"]),
        ("decryption failed with code -16640", ["MBEDTLS_ERR_RSA_INVALID_PADDING"]),
        ("0000006293 [comm.sparkprotocol.handshake] ERROR: Unable to receive key -19\r\n", ["WICED_CONNECTION_CLOSED"]),
        (
            (
                "0000005346:ERROR: virtual int SparkProtocol::handshake() spark_protocol.cpp(108):"
                "Handshake: Unable to receive key -19"
            ),
            ["WICED_CONNECTION_CLOSED"],
        ),
        ("received ERROR CoAPMessage", ["session/bad_hello"]),
        ("ping ACK not received", ["session/ping_timeout"]),
        ("Public Server Key was blank, restoring.", ["blank-server-key"]),
        ("Read Server Address = type:255,defaulting to device.spark.io", ["address-erased"]),
        ("Send event spark/device/key/error=5", ["key error mask"]),
        ("magenta", ["unwrap/bad_signature"]),
        ("ping_timeout", ["session/ping_timeout"]),
    ],
)
def test_what_people_have_in_hand(text: str, found: list[str]) -> None:
    shown = [topic.name or topic.table or topic.title for topic in look_up(text)]
    assert shown == found


def test_one_number_of_several_tables_is_told_apart() -> None:
    assert [topic.table for topic in look_up("2")] == ["ProtocolError", "SparkProtocol result", "orange blinks"]
    assert [topic.table for topic in look_up("2", Version(0, 4, 0))] == ["SparkProtocol result"]
    assert look_up("-1")[0].table == "SparkProtocol result"
    assert look_up("10", V2_3)[0].printed != look_up("10", V1_0)[0].printed


def test_the_code_of_a_handshake_is_of_another_table_in_each_generation() -> None:
    line = "Cloud handshake failed, code="
    for text, version in (("-19", V0_7), ("26", V1_0), ("-220", V2_3)):
        printed = [entry.text for topic in look_up(f"key {text}", version) for entry in topic.printed]
        assert f"[system] WARN: {line}{text}" in printed
    for version in (V0_7, V2_3):
        with pytest.raises(UnknownTopicError):
            look_up(f"{line}26", version)
    with_six = ["Could not set key, 6", "handshake failed with code 6", "Cloud handshake failed, code=6"]
    (topic,) = look_up("6", V1_0)  # no error of a message: keys are exchanged before the first
    assert [entry.text.partition(": ")[2] for entry in topic.printed] == with_six
    assert look_up("6", STRICT)
    with pytest.raises(UnknownTopicError):
        look_up("6", Version(0, 4, 0))


def test_a_firmware_that_notices_no_silence_ends_nothing_over_it() -> None:
    ending = "session/ping_timeout"
    for name, profile in PROFILES.items():
        if name.startswith("p1@") and profile.notices_silence:
            assert titles(ending, profile.version) == [ending]
        elif name.startswith("p1@"):
            with pytest.raises(UnknownTopicError):
                look_up(ending, profile.version)


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("key/closd", "key/closed"),
        ("decryption eror", "DECRYPTION_ERROR"),
        ("wrong-srver-key", "wrong-server-key"),
        ("7014", "-7014"),
        ("-524287", "524287"),
        ("-19 at nowhere", None),
        ("xyzzy", None),
        ("", None),
        ("/", None),
        ("key/closed/abc", None),
        ("9" * 5000, None),
        ("%", None),
    ],
)
def test_unknown_words_name_the_nearest(text: str, nearest: str | None) -> None:
    with pytest.raises(UnknownTopicError) as caught:
        look_up(text)
    if nearest is not None:
        assert nearest in caught.value.nearest


def test_everything_that_is_listed_is_found() -> None:
    for word in known_words():
        assert look_up(word)


def test_versions() -> None:
    assert version_of("p1@0.7.0") == V0_7
    assert version_of("photon@0.6.1") == Version(0, 6, 1)
    for wrong in ("p1@9.9.9", "p1@", "toaster@1.0.1", "0.7.0x"):
        with pytest.raises(ValueError, match="unknown firmware"):
            version_of(wrong)


@pytest.mark.parametrize(
    ("elapsed_ns", "moment"),
    [
        (1 * MS, Moment.AT_ONCE),
        (264 * MS, Moment.ROUND_TRIP),
        (10 * S + 260 * MS, Moment.CLOUD_LIMIT),
        (20 * S + 1, Moment.DEVICE_LIMIT),
        (15 * S, Moment.FIXED),
    ],
)
def test_the_time_that_has_passed_says_which_moment_it_is(elapsed_ns: int, moment: Moment) -> None:
    assert moments_of(elapsed_ns, round_trip_ns=260 * MS, device_limit_ns=20 * S) == {moment, Moment.ANY}
    assert set(MOMENT_TEXT) == set(Moment)
