"""What firmware logs: lines as they are printed, and the way back."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from loadgen.protocol.firmware_log import (
    LOG_TEXTS,
    Level,
    LogEvent,
    LogLine,
    log_line,
    log_texts,
    parse_line,
    recognise,
)
from loadgen.protocol.versions import Version

VERSIONS = [
    Version.parse(text)
    for text in (
        "0.4.6", "0.4.7", "0.4.9", "0.5.5", "0.6.0", "0.6.1", "0.6.4", "0.7.0", "0.8.0-rc.1", "0.8.0-rc.12",
        "1.0.1", "1.1.0", "1.5.2", "2.0.0", "2.3.1", "3.3.1",
    )
]  # fmt: skip
V064 = Version.parse("0.6.4")

# A P1 of 0.6.x whose server rejects it, as its owner published it (community.particle.io, topic 41486; addresses
# made up).
FAILING_ATTEMPT = """\
0000005346 [system] INFO: Cloud: connecting
0000005356 [system] WARN: Read Server Address = type:255,defaulting to device.spark.io
0000005361 [system] INFO: Resolved host device.spark.io to 192.0.2.7
0000005649 [system] INFO: connected to cloud 192.0.2.7:5683
0000005661 [system] INFO: Cloud socket connected
0000005672 [system] INFO: Starting handshake: presense_announce=1
0000005682 [comm.sparkprotocol.handshake] INFO: Started: Receive nonce
0000005935 [comm.sparkprotocol.handshake] INFO: Encrypting handshake nonce
0000006018 [comm.sparkprotocol.handshake] INFO: Sending encrypted nonce
0000006029 [comm.sparkprotocol.handshake] INFO: Receive key
0000006293 [comm.sparkprotocol.handshake] ERROR: Unable to receive key -19
0000006302 [system] WARN: Cloud handshake failed, code=-19
0000006563 [system] INFO: Cloud: disconnecting
0000006574 [system] INFO: Cloud: disconnected
"""
FAILING_STEPS: tuple[tuple[int, LogEvent, tuple[int | str, ...]], ...] = (
    (5346, LogEvent.CONNECTING, ()),
    (5356, LogEvent.ADDRESS_DEFAULT, (255,)),
    (5361, LogEvent.RESOLVED, ("device.spark.io", "192.0.2.7")),
    (5649, LogEvent.CONNECTED, (192, 0, 2, 7, 5683)),
    (5661, LogEvent.SOCKET_CONNECTED, ()),
    (5672, LogEvent.HANDSHAKE_BEGUN, (1,)),
    (5682, LogEvent.NONCE, ()),
    (5935, LogEvent.ENCRYPT, ()),
    (6018, LogEvent.SEND_NONCE, ()),
    (6029, LogEvent.KEY, ()),
    (6293, LogEvent.KEY_FAILED, (-19,)),
    (6302, LogEvent.HANDSHAKE_FAILED, (-19,)),
    (6563, LogEvent.DISCONNECTING, ()),
    (6574, LogEvent.DISCONNECTED, ()),
)


def read(line: str) -> LogLine:
    parsed = parse_line(line)
    assert parsed is not None
    return parsed


def test_a_published_log_is_written_as_it_was() -> None:
    lines = [log_line(V064, event, elapsed_ms, *values) for elapsed_ms, event, values in FAILING_STEPS]
    assert lines == FAILING_ATTEMPT.splitlines()


def test_a_published_log_is_read() -> None:
    for line, (elapsed_ms, event, values) in zip(FAILING_ATTEMPT.splitlines(), FAILING_STEPS, strict=True):
        parsed = read(line + "\r\n")
        assert parsed.elapsed_ms == elapsed_ms
        (first, *_rest) = [found for found in recognise(parsed) if found.since <= V064 < found.before]
        assert (first.event, first.values) == (event, values)


def test_the_line_that_everybody_searches_for_in_every_generation() -> None:
    lines = {str(version): log_line(version, LogEvent.KEY_FAILED, 5346, -19) for version in VERSIONS}
    assert lines["0.4.6"] is None
    assert lines["0.5.5"] == (
        "0000005346:ERROR: virtual int SparkProtocol::handshake() spark_protocol.cpp(108):"
        "Handshake: Unable to receive key -19"
    )
    assert lines["0.6.0"] == "0000005346 [comm] ERROR: Handshake: Unable to receive key -19"
    assert lines["0.7.0"] == "0000005346 [comm.sparkprotocol.handshake] ERROR: Unable to receive key -19"
    assert lines["2.3.1"] == "0000005346 [comm.lightssl.handshake] ERROR: Unable to receive key -19"


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_every_line_is_read_back(version: Version) -> None:
    for event, text in log_texts(version).items():
        kinds = re.findall("%l?([dus])", text.text)
        values = tuple("SAM"[i] if kind == "s" else 10 + i for i, kind in enumerate(kinds))
        line = log_line(version, event, 4_294_967_296 + 12, *values)
        assert line is not None
        parsed = read(line)
        assert (parsed.elapsed_ms, parsed.level) == (12, text.level)
        assert any(
            (found.event, found.values) == (event, values) and found.since <= version < found.before
            for found in recognise(parsed)
        )


@pytest.mark.parametrize("version", VERSIONS, ids=str)
def test_no_version_has_two_texts_for_one_event(version: Version) -> None:
    events = [text.event for text in LOG_TEXTS if text.since <= version < text.before]
    assert len(events) == len(set(events))
    assert bool(events) == (version >= Version.parse("0.4.7"))


def test_an_event_keeps_its_name_over_all_versions() -> None:
    for event in LogEvent:
        rows = sorted((text for text in LOG_TEXTS if text.event is event), key=lambda text: text.since)
        assert rows, event
        assert all(earlier.before <= later.since for earlier, later in pairwise(rows)), event


def test_a_release_build_of_the_old_firmware_prints_errors_only() -> None:
    for version, printed in ((Version.parse("0.5.5"), False), (V064, True)):
        assert (log_line(version, LogEvent.CONNECTING, 1, release=True) is not None) is printed
        assert log_line(version, LogEvent.KEY_FAILED, 1, -1, release=True) is not None


def test_levels_of_the_old_firmware_are_padded() -> None:
    line = log_line(Version.parse("0.5.5"), LogEvent.HANDSHAKE_FAILED, 7, -1)
    assert line is not None
    assert line.startswith("0000000007:WARN : void handle_cloud_connection(bool) system_task.cpp(")
    assert read(line).level is Level.WARN


def test_values_that_a_version_does_not_print_are_dropped() -> None:
    values = ("device.spark.io", -1)
    assert log_line(V064, LogEvent.NOT_RESOLVED, 1, *values) == (
        "0000000001 [system] ERROR: Cloud: unable to resolve IP for device.spark.io"
    )
    assert log_line(Version.parse("1.5.2"), LogEvent.NOT_RESOLVED, 1, *values) == (
        "0000000001 [system] ERROR: Unable to resolve IP for device.spark.io (-1)"
    )
    with pytest.raises(TypeError):
        log_line(V064, LogEvent.KEY_FAILED, 1)


def test_a_long_text_is_cut_as_the_firmware_cuts_it() -> None:
    line = log_line(V064, LogEvent.ADDRESS_NAME, 1, 1, "x" * 200)
    assert line is not None
    text = read(line).text
    assert len(text) == 159
    assert text.endswith("xx~")


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (
            "0000005346:<ERROR> func file.cpp(94):text",
            LogLine(5346, Level.ERROR, "", "text", old=True),
        ),
        ("0000005346 INFO: without category", LogLine(5346, Level.INFO, "", "without category")),
        (
            "0000000010 [comm] messages.cpp:94, decode(): WARN: debug build",
            LogLine(10, Level.WARN, "comm", "debug build"),
        ),
        (
            "0000000010 [system] ERROR: Failed [code = -220, details = no route]\r\n",
            LogLine(10, Level.ERROR, "system", "Failed", -220),
        ),
        ("0000000010 [app] INFO: a [b] c", LogLine(10, Level.INFO, "app", "a [b] c")),
        (
            '{"l":"warn","m":"Cloud handshake failed, code=-19","c":"system","t":77,"code":-19}',
            LogLine(77, Level.WARN, "system", "Cloud handshake failed, code=-19", -19),
        ),
    ],
)
def test_lines_of_all_shapes(line: str, expected: LogLine) -> None:
    assert parse_line(line) == expected


@pytest.mark.parametrize(
    "line",
    ["", "hello", "123 [system] INFO: short stamp", "0000000010 [system] NOTE: no level", "{", "[]", '{"l":1}', "{}"],
)
def test_what_is_no_line_of_a_log(line: str) -> None:
    assert parse_line(line) is None


def test_what_the_table_does_not_know() -> None:
    assert recognise(read("0000000010 [app] INFO: Receive key")) == ()
    assert recognise(read("0000000010 [comm.lightssl.handshake] ERROR: Receive key")) == ()


def test_a_line_says_which_versions_print_it() -> None:
    (found,) = recognise(read("0000000010 [comm.sparkprotocol.handshake] INFO: Receive key"))
    assert (str(found.since), str(found.before)) == ("0.6.1-rc.1", "0.8.0-rc.1")
    (found,) = recognise(read("0000000010 [system] ERROR: Connected to 192.0.2.7:5683"))
    assert (found.event, found.values, str(found.since)) == (LogEvent.CONNECTED, ("192.0.2.7", 5683), "1.1.0-rc.1")
