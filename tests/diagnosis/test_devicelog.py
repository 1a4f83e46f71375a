"""Device logs: what is read out of them, whatever firmware wrote them and whatever has spoilt them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from loadgen import clock
from loadgen.diagnosis.devicelog import DeviceLog, Outcome, parse_device_log, read_device_log
from loadgen.diagnosis.loglines import MAX_LINE
from loadgen.errors import UsageError
from loadgen.protocol.firmware_log import LogEvent
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.protocol.versions import Version
from tests.diagnosis.logs import PUBLISHED, Script, published

E = LogEvent
TALKING = ("0.6.1", "0.6.4", "0.7.0", "0.8.0-rc.1", "1.0.1", "1.1.0", "1.5.2", "2.0.0", "2.3.1", "3.3.1")
"""Versions that print the steps of a handshake."""
TERSE = ("0.4.7", "0.4.9", "0.5.5", "0.6.0")
"""Versions that print the connection and how it ended, and no steps of the handshake."""
ALL_STAGES = {
    Stage.NONCE: 150,
    Stage.ENCRYPT: 93,
    Stage.KEY: 107,
    Stage.UNWRAP: 420,
    Stage.HELLO: 110,
}


def read(text: str | bytes) -> DeviceLog:
    return parse_device_log(text.encode() if isinstance(text, str) else text, "device.log")


# --- the published log


def test_the_log_of_a_p1_that_is_rejected() -> None:
    log = read_device_log(PUBLISHED)
    (attempt,) = log.attempts
    assert (attempt.outcome, attempt.stage, attempt.reason) == (Outcome.FAILED, Stage.KEY, Reason.CLOSED)
    assert (attempt.device_code, attempt.socket_code) == (-19, -19)
    assert (attempt.waited_ms, attempt.nonce_wait_ms, attempt.round_trip_ms) == (264, 253, 253)
    assert attempt.stages_ms == {Stage.CONNECT: 288, Stage.NONCE: 286, Stage.ENCRYPT: 94}
    assert attempt.handshake_ms is None
    assert (attempt.address.type, attempt.address.host, attempt.address.is_erased) == (255, "device.spark.io", True)
    assert attempt.failed_line is not None
    assert (attempt.failed_line.number, attempt.failed_line.text) == (12, "Unable to receive key -19")
    assert (log.versions.text, log.versions.profiles) == ("0.6.2 to 0.6.4", ("p1@0.6.4",))
    assert [said.number for said in log.versions.testimony][:2] == [2, 8]
    assert (log.counts["lines"], log.counts["device"], log.counts["understood"]) == (16, 16, 14)


def test_only_some_generations_have_these_words_even_without_the_address() -> None:
    log = read("\n".join(line for line in published().splitlines() if "type:255" not in line))
    assert log.versions.text == "0.6.1-rc.1 to 0.7.0"
    assert log.versions.testimony[0].text == "Started: Receive nonce"


# --- every generation


@pytest.mark.parametrize("version", TALKING)
def test_stages_of_a_completed_attempt(version: str) -> None:
    log = Script(version).attempt(5_000).read()
    (attempt,) = log.attempts
    started_ms = 50 if Version.parse(version) >= Version.parse("1.1.0-rc.1") else 45
    assert attempt.outcome is Outcome.COMPLETED
    assert attempt.stages_ms == {Stage.CONNECT: 150 - started_ms, **ALL_STAGES}
    assert attempt.handshake_ms == sum(attempt.stages_ms.values())
    assert attempt.begun_ms == 5_000
    assert any(since <= Version.parse(version) < before for since, before in log.versions.spans)
    assert log.versions.contradiction is None


@pytest.mark.parametrize("version", TERSE)
def test_what_a_firmware_does_not_print_stays_unknown(version: str) -> None:
    log = Script(version).attempt(5_000).read()
    (attempt,) = log.attempts
    assert attempt.outcome is Outcome.COMPLETED
    assert attempt.stages_ms == {Stage.CONNECT: 105}
    assert any(since <= Version.parse(version) < before for since, before in log.versions.spans)


@pytest.mark.parametrize("version", [*TERSE, *TALKING])
@pytest.mark.parametrize(
    ("event", "lines", "stage", "reason"),
    [
        (E.KEY_FAILED, ((E.KEY_FAILED, -19),), Stage.KEY, Reason.CLOSED),
        (E.NONCE_FAILED, ((E.NONCE_FAILED, -19),), Stage.NONCE, Reason.CLOSED),
        (E.SET_KEY_FAILED, ((E.DECRYPT_FAILED, -16640), (E.SET_KEY_FAILED, 6)), Stage.UNWRAP, Reason.BAD_KEY),
        (E.SET_KEY_FAILED, ((E.SIGNATURE_FAILED, -17280), (E.SET_KEY_FAILED, 8)), Stage.UNWRAP, Reason.BAD_SIGNATURE),
    ],
)
def test_failures_of_every_version(
    version: str, event: LogEvent, lines: tuple[tuple[LogEvent, int], ...], stage: Stage, reason: Reason
) -> None:
    begin = {E.KEY_FAILED: E.SET_KEY, E.NONCE_FAILED: E.ENCRYPT, E.SET_KEY_FAILED: E.KEY_DONE}[event]
    script = Script(version).attempt(5_000, until=begin if version in TALKING else E.HANDSHAKE_DONE)
    for failed, code in lines:
        script.say(5_600, failed, code)
    number = lines[-1][1]
    summary = _summary(version, number)
    (attempt,) = script.say(5_610, E.HANDSHAKE_FAILED, summary).read().attempts
    assert (attempt.outcome, attempt.stage, attempt.reason) == (Outcome.FAILED, stage, reason)
    assert attempt.device_code == summary


def _summary(version: str, number: int) -> int:
    """``code=`` of a version for a socket closed while the key or nonce was awaited, a wrong key, a wrong signature."""
    parsed = Version.parse(version)
    if parsed < Version.parse("0.4.8-rc.2"):
        return {6: 1, 8: 2}.get(number, number)
    if parsed < Version.parse("0.8.0-rc.1"):
        return number
    if parsed < Version.parse("2.0.0-rc.1"):
        return {-19: 26}.get(number, number)
    return {-19: -220, 6: -240, 8: -130}[number]


@pytest.mark.parametrize("version", ["0.7.0", "1.5.2", "2.3.1"])
@pytest.mark.parametrize(("waited_ms", "reason"), [(20_002, Reason.TIMEOUT), (40, Reason.RESET)])
def test_minus_1_is_a_timeout_after_20_s_and_a_reset_before(version: str, waited_ms: int, reason: Reason) -> None:
    script = Script(version).attempt(0, until=E.SET_KEY).say(393 + waited_ms, E.KEY_FAILED, -1)
    (attempt,) = script.read().attempts
    assert (attempt.reason, attempt.waited_ms) == (reason, waited_ms)


def test_the_number_of_a_wrong_key_before_0_8_is_garbage_and_not_taken() -> None:
    script = Script("0.7.0").attempt(0, until=E.KEY_DONE)
    (attempt,) = script.say(900, E.SET_KEY_FAILED, 536_899_000).say(910, E.HANDSHAKE_FAILED, 8).read().attempts
    assert (attempt.device_code, attempt.reason) == (8, Reason.BAD_SIGNATURE)


def test_a_hello_that_does_not_come() -> None:
    (late,) = Script("1.5.2").attempt(0, until=E.HANDSHAKE_DONE).say(4_950, E.HELLO_FAILED, 10).read().attempts
    assert (late.stage, late.reason) == (Stage.HELLO, Reason.TIMEOUT)
    script = Script("0.7.0").attempt(0, until=E.HANDSHAKE_DONE)
    (closed,) = script.say(1_000, E.RECEIVE_ERROR, -19).say(1_010, E.HELLO_FAILED).read().attempts
    assert (closed.stage, closed.reason) == (Stage.HELLO, Reason.CLOSED)


def test_a_name_that_does_not_resolve() -> None:
    script = Script("0.6.4").say(0, E.CONNECTING).say(10, E.ADDRESS_NAME, 1, "cloud.example")
    (attempt,) = script.say(5_010, E.NOT_RESOLVED, "cloud.example").read().attempts
    assert (attempt.stage, attempt.reason, attempt.address.not_resolved) == (Stage.CONNECT, Reason.UNREACHABLE, True)
    assert (attempt.address.host, attempt.dns_ms) == ("cloud.example", 5_000)


def test_a_release_build_of_old_firmware_prints_the_error_alone() -> None:
    log = read(
        "0000005346:ERROR: virtual int SparkProtocol::handshake() spark_protocol.cpp(108):"
        "Handshake: Unable to receive key -19\r\n"
    )
    (attempt,) = log.attempts
    assert (attempt.stage, attempt.reason, attempt.waited_ms) == (Stage.KEY, Reason.CLOSED, None)
    assert log.versions.text == "0.4.7 to 0.5.5"


def test_angled_levels_are_of_the_oldest_firmware() -> None:
    log = read("0000000007:<ERROR> void HAL_WLAN() wlan.cpp(9):no network\n")
    assert (log.versions.text, log.attempts) == ("0.4.0 to 0.4.6", ())


# --- sessions, pauses, restarts


def test_sessions_and_pauses() -> None:
    script = Script("0.7.0").attempt(0, until=E.SET_KEY).say(500, E.KEY_FAILED, -19).say(510, E.HANDSHAKE_FAILED, -19)
    script.attempt(1_510).say(61_000, E.RECEIVE_ERROR, -19).say(61_001, E.SESSION_ENDED).attempt(61_010)
    first, second, third = script.read().attempts
    assert (first.outcome, first.pause_ms) == (Outcome.FAILED, 1_000)
    assert (second.outcome, second.session_reason, second.session_code) == (Outcome.COMPLETED, Reason.CLOSED, -19)
    assert (second.session_ms, second.pause_ms) == (61_000 - 2_540, 10)
    assert (third.outcome, third.pause_ms) == (Outcome.COMPLETED, None)


def test_a_stamp_that_goes_back_is_a_restart() -> None:
    script = Script("0.7.0").attempt(90_000, until=E.SET_KEY).attempt(4_000)
    log = script.read()
    assert [(attempt.boot, attempt.outcome) for attempt in log.attempts] == [
        (1, Outcome.UNFINISHED),
        (2, Outcome.COMPLETED),
    ]
    assert [boot.first_ms for boot in log.boots] == [90_000, 4_000]


def test_lines_of_threads_may_overtake_each_other() -> None:
    lines = Script("0.7.0").attempt(4_000).lines
    log = read("\n".join([*lines[:5], "0000003990 [app] INFO: late", *lines[5:]]))
    assert (len(log.boots), log.counts["disordered"]) == (1, 1)
    assert log.attempts[0].stages_ms == {Stage.CONNECT: 105, **ALL_STAGES}


@pytest.mark.parametrize("place", range(10))
def test_one_wrong_digit_of_one_stamp_is_no_restart(place: int) -> None:
    lines = Script("0.7.0").attempt(1_234_567).lines
    for number in range(1, len(lines) - 1):
        for digit in set("0123456789") - {lines[number][place]}:
            spoilt = f"{lines[number][:place]}{digit}{lines[number][place + 1 :]}"
            log = read("\n".join([*lines[:number], spoilt, *lines[number + 1 :]]))
            assert len(log.boots) == 1, spoilt
            (attempt,) = log.attempts
            assert attempt.outcome is Outcome.COMPLETED
            assert all(
                abs(time_ms - ALL_STAGES.get(stage, 105)) <= 1_000 for stage, time_ms in attempt.stages_ms.items()
            )


def test_a_garbled_stamp_is_counted_and_its_line_is_used_without() -> None:
    lines = Script("0.7.0").attempt(90_000).lines
    lines[4] = "0000010160" + lines[4][10:]  # back by 80 s, and forward again
    log = read("\n".join(lines))
    assert (log.counts["garbled"], log.counts["broken"], len(log.boots)) == (1, 0, 1)
    assert log.attempts[0].stages_ms == {Stage.CONNECT: 105, **ALL_STAGES}
    lines[9] = "0000010393" + lines[9][10:]  # "Receive key": what it bounds is not known now
    log = read("\n".join(lines))
    assert log.counts["garbled"] == 2
    assert Stage.KEY not in log.attempts[0].stages_ms


@pytest.mark.parametrize("every_ms", [2, 900, 5_000])
def test_a_device_that_restarts_again_and_again_has_no_garbled_stamps(every_ms: int) -> None:
    lines = [f"{stamp:010} [app] INFO: begun" for stamp in (5_346, 25_400 + every_ms)] * 5
    log = read("\n".join(lines))
    assert (len(log.boots), log.counts["garbled"]) == (5, 0)


def test_a_restart_right_behind_a_line_is_one() -> None:
    script = Script("0.7.0").attempt(3_000).say(100, E.CONNECTING).attempt(5_346)
    assert len(script.read().boots) == 2


def test_the_clock_begins_again_after_49_days() -> None:
    log = Script("0.7.0").attempt((1 << 32) - 400).read()
    (attempt,) = log.attempts
    assert (len(log.boots), log.boots[0].wraps) == (1, 1)
    assert attempt.stages_ms == {Stage.CONNECT: 105, **ALL_STAGES}


def test_an_update_is_seen_and_does_not_confuse_the_versions() -> None:
    script = Script("0.6.4").attempt(90_000)
    script.version = Version.parse("0.7.0")
    script.attempt(4_000)
    assert not script.read().changed_firmware  # both print the same words
    script.version = Version.parse("2.3.1")
    log = script.attempt(3_000).read()
    assert log.changed_firmware
    assert log.versions.text == "1.1.0-rc.1 to 3.3.1"
    assert [attempt.outcome for attempt in log.attempts] == [Outcome.COMPLETED] * 3


def test_two_devices_in_one_log_contradict_each_other() -> None:
    script = Script("0.6.4").attempt(4_000)
    script.version = Version.parse("2.3.1")
    said = script.attempt(8_000).read().versions.contradiction
    assert said is not None
    assert said.versions == "1.1.0-rc.1 to 3.3.1"


# --- what people and programs do to logs


@pytest.mark.parametrize(
    "lead",
    ["[12:34:56.789] ", "12:34:56.789 -> ", "2024-05-01 12:34:56,789 ", "2024-05-01T12:34:56.789Z ",
     "2024-05-01T12:34:56.789123+02:00 ", "[2024-05-01 12:34:56.789] ", "May  1 12:34:56 ", "12:34:56 PM: ",
     "1714566896.123456 ", "1714566896123 ", "[    12.345678] "],
)  # fmt: skip
def test_stamps_of_a_terminal_program_are_left_out(lead: str) -> None:
    log = read("".join(f"{lead}{line}\n" for line in published().splitlines()))
    assert log.attempts[0].stages_ms == {Stage.CONNECT: 288, Stage.NONCE: 286, Stage.ENCRYPT: 94}
    assert log.counts["host_stamped"] == 16
    assert not log.counts["broken"]
    bare = read("".join(f"{lead}{line[11:]}\n" for line in published().splitlines()))
    assert (bare.counts["unstamped"], bare.counts["host_stamped"]) == (16, 16)
    assert bare.attempts[0].device_code == -19


def test_without_the_stamps_of_the_device_there_are_no_times() -> None:
    log = read("".join(f"{line[11:]}\n" for line in published().splitlines()))
    (attempt,) = log.attempts
    assert (attempt.stage, attempt.reason, attempt.device_code) == (Stage.KEY, Reason.CLOSED, -19)
    assert (attempt.stages_ms, attempt.waited_ms, attempt.begun_ms) == ({}, None, None)
    assert (log.counts["unstamped"], log.boots[0].first_ms) == (16, None)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda text: ("\ufeff" + text).encode("utf-16-le"), "encoding"),
        (lambda text: ("\ufeff" + text).encode("utf-16-be"), "encoding"),
        (lambda text: text.encode("utf-16-le"), "encoding"),
        (lambda text: text.encode("utf-16-be"), "encoding"),
        (lambda text: text.encode().replace(b"presense", b"pres\xe9nse\xff"), "encoding"),
        (lambda text: text.replace("\n", "\0\n\0\0").encode(), "nul_bytes"),
        (lambda text: text.replace("\n", "\r").encode(), "line_ends"),
        (lambda text: text.replace("[", "\x1b[1;32m[").replace("]", "]\x1b[0m").encode(), "escapes"),
    ],
    ids=["utf-16-le-mark", "utf-16-be-mark", "utf-16-le", "utf-16-be", "latin-1", "nul", "cr", "escapes"],
)
def test_wrong_encodings_are_read_and_named(spoil: object, code: str) -> None:
    assert callable(spoil)
    log = read(spoil(published()))
    assert log.attempts[0].waited_ms == 264
    assert [repair.code for repair in log.repairs] == [code]


def test_a_byte_order_mark_and_double_line_ends_change_nothing() -> None:
    log = read(b"\xef\xbb\xbf" + published().replace("\n", "\r\r\n").encode())
    assert (log.attempts[0].waited_ms, log.counts["lines"], log.repairs) == (264, 16, ())
    assert log.attempts[0].steps[-1].number == 15


def test_long_runs_of_blanks_and_line_ends_do_not_keep_the_reader() -> None:
    """Where time grows with the square of their length this does not end."""
    blank, other = " " * 400_000, "12:00:00" + " " * 400_000 + "x "
    lines = published().splitlines()
    log = read("\n".join([*lines, blank + lines[0], other + lines[0], "\r" * 400_000 + lines[0]]) + "\n")
    assert log.attempts[0].waited_ms == 264
    assert log.counts["lines"] == 19


def test_broken_and_interleaved_lines_are_counted() -> None:
    lines = published().splitlines()
    lines[2] = "0000005356 [app] INFO: Event: Clo" + lines[3]  # one line breaks off another
    lines[3] = "05 [syst"
    lines[7] = lines[7][14:]  # its begin is missing
    lines.insert(9, "temperature: 21.5")
    log = read("\n".join(lines) + "\n")
    (attempt,) = log.attempts
    assert (attempt.stage, attempt.waited_ms, attempt.address.host) == (Stage.KEY, 264, "device.spark.io")
    assert attempt.nonce_wait_ms is None
    assert (log.counts["interleaved"], log.counts["broken"], log.counts["foreign"]) == (1, 1, 2)
    assert log.first_broken == 8


def test_what_has_no_end_of_line_is_read_as_far_as_it_may_be_a_log() -> None:
    one_line = published().replace("\n", "")  # the port program lost them
    log = read(one_line)
    assert log.attempts[0].stages_ms == {Stage.CONNECT: 288, Stage.NONCE: 286, Stage.ENCRYPT: 94}
    assert (log.counts["interleaved"], log.counts["overlong"]) == (1, 0)
    for endless in ("0000005346 [system] INFO: " + "A" * (4 * MAX_LINE), one_line * (4 * MAX_LINE // len(one_line))):
        begin_ns = clock.process_cpu_ns()
        log = read(f"{published()}{endless}\n")
        assert clock.process_cpu_ns() - begin_ns < 10 * clock.NS_PER_S
        assert log.counts["overlong"] == 1
        assert log.attempts[0].waited_ms == 264
    with pytest.raises(UsageError, match="no line of 1 is one of a device's log"):
        read("0" * (4 * MAX_LINE))


@pytest.mark.parametrize("seed", range(20))
def test_no_damage_is_fatal(seed: int) -> None:
    chance = random.Random(seed)
    data = bytearray(Script("0.7.0").attempt(0).attempt(90_000).attempt(5_000).text.encode())
    for _ in range(40):
        at = chance.randrange(len(data))
        if chance.random() < 0.5:
            data[at] = chance.randrange(256)
        else:
            del data[at : at + chance.randrange(30)]
    log = parse_device_log(bytes(data), "damaged.log")
    assert log.counts["lines"] >= log.counts["device"] - log.counts["interleaved"]
    assert all(time_ms >= 0 for attempt in log.attempts for time_ms in attempt.stages_ms.values())


@pytest.mark.parametrize("cut", range(1, 900, 13))
def test_a_log_may_be_cut_anywhere(cut: int) -> None:
    text = published()[:-cut]
    log = read(text)
    assert len(log.attempts) == 1
    whole = [line for line in published().splitlines() if line in text.splitlines()]
    assert log.counts["device"] - len(whole) in (0, 1)
    if "Unable to receive key -19\n" in text:
        assert log.attempts[0].outcome is Outcome.FAILED
    if text.endswith("\n"):
        assert not log.cut_at_end


def test_the_end_within_a_line_is_seen() -> None:
    assert read(published()[:-100]).cut_at_end
    assert not read(published()).cut_at_end


# --- what is no log


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "the log is empty"),
        (b"\0" * 512, "the log is empty"),
        (b"\r\n \r\n", "nothing but empty lines"),
        (b"\x7fELF" + bytes(range(256)) * 4, "an ELF program"),
        (random.Random(1).randbytes(16384), "size of a flash dump"),
        (random.Random(1).randbytes(5000), "no log but binary"),
        (b"To be, or not to be\nthat is the question\n", "no line of 2 is one of a device's log"),
    ],
)
def test_what_is_no_log_is_refused_with_a_remedy(data: bytes, what: str) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        read(data)
    assert caught.value.where == "device.log"
    assert caught.value.remedy


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.log", tmp_path):
        with pytest.raises(UsageError, match="cannot be read"):
            read_device_log(path)
