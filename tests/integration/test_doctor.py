"""The doctor before what is no cloud, or a slow one, or one of its own making: a live handshake each."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loadgen.cli import main
from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.diagnosis.doctor import Standing, Verdict, diagnose
from loadgen.diagnosis.evidence import Evidence
from loadgen.diagnosis.handshake import ask_in_http, ask_in_tls
from loadgen.errors import ExitCode
from loadgen.fleet.dct_make import as_pkcs8
from loadgen.fleet.identity import public_key_of
from loadgen.mockcloud.faults import Fault, FaultKind, FaultStage
from loadgen.mockcloud.settings import RegistryPolicy
from loadgen.protocol import coap
from loadgen.protocol.firmware import P1_0_7_0, FirmwareProfile
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from tests.fleet import dumps
from tests.fleet.keys import good_keys, odd_keys
from tests.integration.doctor_bench import SERVER_SPKI, WAITS_NS, Address, Caller, cloud, facts_of, shake

WHO = Caller(bytes(12), good_keys()[0])
SHORT_NS = 100 * NS_PER_MS
"""A wait in which nothing has to come."""
SOON_NS = 400 * NS_PER_MS
"""A wait in which something comes, on a busy machine too, and the rest does not."""


def seen(
    address: Address, wait_ns: int = 10 * NS_PER_S, hold_ns: int = 0, firmware: FirmwareProfile = P1_0_7_0
) -> Evidence:
    made = shake(WHO, address, dict.fromkeys(WAITS_NS, wait_ns), hold_ns, firmware)
    return Evidence(attempt=made.attempt, is_live=True, target="cloud:5683", device=facts_of(WHO))


def standing(evidence: Evidence) -> set[str]:
    return {each.cause.id for each in diagnose(evidence).suspects if each.standing is not Standing.RULED_OUT}


def test_slow_cloud() -> None:
    hurried = replace(P1_0_7_0, timeouts_ns={**P1_0_7_0.timeouts_ns, Stage.HELLO: NS_PER_S})
    with cloud(RegistryPolicy.OPEN, (Fault(FaultStage.HELLO, FaultKind.DELAY, 600 * NS_PER_MS, 1.0),)) as address:
        found = diagnose(seen(address, firmware=hurried))
    assert (found.verdict, found.suspects[0].cause.id) == (Verdict.FAULT, "slow-cloud")


# --- what is no cloud


@contextmanager
def served(play: Callable[[socket.socket], None], connections: int = 1) -> Iterator[Address]:
    """Accepts connections one after the other, and does with each what ``play`` says."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def serve() -> None:
            for _ in range(connections):
                try:
                    sock, _ = server.accept()
                except OSError:
                    return
                with sock:
                    sock.settimeout(1)
                    with suppress(OSError):
                        play(sock)

        thread = threading.Thread(target=serve)
        thread.start()
        host, port = server.getsockname()[:2]
        try:
            yield host, port
        finally:
            server.close()
            thread.join()


def until_the_end(sock: socket.socket) -> None:
    """Read, and say nothing, until the other side closes."""
    while sock.recv(4096):
        pass


def greets(greeting: bytes) -> Callable[[socket.socket], None]:
    def play(sock: socket.socket) -> None:
        sock.sendall(greeting)
        until_the_end(sock)

    return play


def answers(answer: Callable[[bytes], bytes]) -> Callable[[socket.socket], None]:
    def play(sock: socket.socket) -> None:
        while heard := sock.recv(4096):
            sock.sendall(answer(heard))

    return play


@pytest.mark.parametrize(
    ("greeting", "cause"),
    [
        (b"220 mail.example ESMTP ready\r\n", "other-greeting"),
        (b"SSH-2.0-OpenSSH_9.6 and more than forty bytes of it\r\n", "other-greeting"),
        (b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n", "speaks-http"),
        (bytes.fromhex("15030300020228"), "speaks-tls"),
    ],
)
def test_another_service_greets(greeting: bytes, cause: str) -> None:
    with served(greets(greeting)) as address:
        found = diagnose(seen(address, SOON_NS))
    assert (found.verdict, found.standing(cause)) == (Verdict.FAULT, Standing.CERTAIN)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "speaks-http"), (b"\x15\x03\x01\0\2\2\x46", "speaks-tls")],
)
def test_a_silent_service_is_asked(answer: bytes, cause: str) -> None:
    with served(answers(lambda _: answer), connections=2) as address:
        evidence = seen(address, SOON_NS)
        alone = diagnose(evidence)
        asked = diagnose(replace(evidence, probe=ask_in_http(address, NS_PER_S)))
    assert (alone.verdict, "not-this-protocol" in standing(evidence)) == (Verdict.UNDECIDED, True)
    assert (asked.verdict, asked.standing(cause)) == (Verdict.FAULT, Standing.CERTAIN)


def test_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()[:2]
    found = diagnose(seen(address))
    assert (found.verdict, found.suspects[0].cause.id) == (Verdict.NO_CONNECTION, "nothing-listens")


def test_a_tls_service_that_is_deaf_to_http_answers_its_own_greeting() -> None:
    def play(sock: socket.socket) -> None:
        if sock.recv(4096)[:1] == b"\x16":  # a TLS handshake record
            sock.sendall(b"\x15\x03\x03\0\2\2\x28")

    with served(play, connections=3) as address:
        evidence = seen(address, SHORT_NS)
        evidence = replace(evidence, probe=ask_in_http(address, SHORT_NS), probe_tls=ask_in_tls(address, NS_PER_S))
    assert evidence.probe == b""
    found = diagnose(evidence)
    assert (found.verdict, found.suspects[0].cause.id) == (Verdict.FAULT, "speaks-tls")
    assert standing(evidence) == {"speaks-tls"}


# --- clouds of one's own making

NONCE = bytes(range(128, 168))


def nonce_and_goodbye(sock: socket.socket) -> None:
    """Sends a nonce and closes, both in one segment."""
    sock.send(NONCE, socket.MSG_MORE)
    sock.shutdown(socket.SHUT_WR)
    until_the_end(sock)


def nonce_then(behind: bytes = b"", answer: bytes = b"") -> Callable[[socket.socket], None]:
    """Sends a nonce with ``behind``, and ``answer`` after the 256 bytes."""

    def play(sock: socket.socket) -> None:
        sock.sendall(NONCE + behind)
        size = 0
        while size < 256:
            size += len(sock.recv(4096))
        sock.sendall(answer)
        if not answer:
            until_the_end(sock)

    return play


@pytest.mark.parametrize(
    ("play", "causes"),
    [
        (nonce_then(behind=b"\x80"), {"long-nonce"}),
        (nonce_then(answer=bytes(range(1, 256)) + bytes(128)), {"short-answer"}),
        (nonce_then(answer=b"ERROR decryption failed\n"), {"other-greeting"}),
        (nonce_then(answer=bytes(range(128, 228))), {"cloud-crashed", "short-answer"}),
        (nonce_and_goodbye, {"connection-limit", "no-backend"}),
    ],
)
def test_a_cloud_that_does_it_its_own_way(play: Callable[[socket.socket], None], causes: set[str]) -> None:
    with served(play) as address:
        found = diagnose(seen(address, SOON_NS))
    decided = (Standing.CERTAIN, Standing.LIKELY)
    assert set(found.indistinct) or {each.cause.id for each in found.suspects if each.standing in decided}
    assert causes == set(found.indistinct) | {each.cause.id for each in found.suspects if each.standing in decided}


def test_holding_shows_when_the_other_side_gives_up() -> None:
    def play(sock: socket.socket) -> None:
        sock.sendall(NONCE)
        sock.recv(256)
        sock.settimeout(0.8)
        until_the_end(sock)

    with served(play) as address:
        evidence = seen(address, SOON_NS, hold_ns=5 * NS_PER_S)
    attempt = evidence.attempt
    assert attempt is not None
    assert (attempt.stage, attempt.reason) == (Stage.KEY, Reason.TIMEOUT)
    assert attempt.later is not None
    assert attempt.later.reason is Reason.CLOSED
    assert attempt.later.held_ns > attempt.elapsed_ns  # type: ignore[operator]
    assert not standing(evidence) & {"firewall", "network-down"}


def test_a_session_is_held_as_a_device_holds_it() -> None:
    hasty = replace(P1_0_7_0, ping_after_ns=40 * NS_PER_MS, ping_timeout_ns=200 * NS_PER_MS)
    with cloud(RegistryPolicy.OPEN) as address:
        evidence = seen(address, hold_ns=150 * NS_PER_MS, firmware=hasty)
    attempt = evidence.attempt
    assert attempt is not None
    assert (attempt.is_complete, attempt.held_ns, attempt.was_asked) == (True, 150 * NS_PER_MS, True)
    found = diagnose(evidence)
    assert (found.verdict, found.headline) == (
        Verdict.HEALTHY,
        "The handshake was completed and its session held; nothing is wrong with it.",
    )


def test_a_cloud_that_forgets_a_session_answers_no_ping() -> None:
    hasty = replace(P1_0_7_0, ping_after_ns=40 * NS_PER_MS, ping_timeout_ns=40 * NS_PER_MS)
    with cloud(RegistryPolicy.OPEN, (Fault(FaultStage.SESSION, FaultKind.STALL, 0, 1.0),)) as address:
        evidence = seen(address, hold_ns=5 * NS_PER_S, firmware=hasty)
    attempt = evidence.attempt
    assert attempt is not None
    assert (attempt.in_session, attempt.reason) == (True, Reason.PING_TIMEOUT)
    assert "stalled-session" in diagnose(evidence).indistinct


def test_a_device_that_notices_no_silence_pings_now_and_then() -> None:
    heard: list[None] = []
    patient = replace(P1_0_7_0, ping_after_ns=40 * NS_PER_MS, ping_timeout_ns=40 * NS_PER_MS, notices_silence=False)
    made_ping = coap.ping

    def counted() -> coap.Message:
        heard.append(None)
        return made_ping()

    with (
        pytest.MonkeyPatch.context() as patched,
        cloud(RegistryPolicy.OPEN, (Fault(FaultStage.SESSION, FaultKind.STALL, 0, 1.0),)) as address,
    ):
        patched.setattr(coap, "ping", counted)
        evidence = seen(address, hold_ns=400 * NS_PER_MS, firmware=patient)
    assert evidence.attempt is not None
    assert evidence.attempt.is_complete
    assert 1 <= len(heard) <= 5  # each is due after 80 ms


# --- the command before a cloud, with keys that a device cannot use

MISREAD = next(bytes.fromhex(key["private_key_der"]) for key in odd_keys() if not key["firmware_reads_it"])
CURVE = bytes.fromhex("30770201010420") + bytes(range(1, 33)) + bytes.fromhex("a00a06082a8648ce3d030107a14403420004")


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[dict[str, Any], int]:
    code = main(["doctor", *arguments, "--json", "-q"])
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document, code


@pytest.mark.parametrize(
    "case",
    [
        (as_pkcs8(good_keys()[0]), "pkcs8-in-slot", True),
        (MISREAD, "misread-private-key", True),
        (CURVE, "damaged-private-key", False),
    ],
)
@pytest.mark.parametrize("policy", [RegistryPolicy.OPEN, RegistryPolicy.STRICT])
def test_a_key_that_the_firmware_cannot_use(
    case: tuple[bytes, str, bool], policy: RegistryPolicy, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The key, its cause, and whether there is something to play."""
    key, cause, is_played = case
    on_record = [(dumps.DEVICE_ID, public_key_of(good_keys()[0]))]
    for name, data in (("device.der", key), ("cloud.der", SERVER_SPKI), ("p1.bin", dumps.copy(dumps.section(key)))):
        (tmp_path / name).write_bytes(data)
    by_file = ["--device-key", str(tmp_path / "device.der"), "--id", dumps.DEVICE_ID.hex()]
    with cloud(policy, on_record=on_record) as (host, port):
        target = ["--target", f"{host}:{port}"]
        document, code = asked(capsys, *target, *by_file, "--server-key", str(tmp_path / "cloud.der"))
        dumped, dumped_code = asked(capsys, *target, "--dct", str(tmp_path / "p1.bin"))
    assert (code, document["verdict"], bool(document["lines"])) == (ExitCode.THRESHOLD_FAILED, "fault", is_played)
    assert (document["causes"][0]["id"], document["causes"][0]["standing"]) == (cause, "certain")
    assert dumped_code == ExitCode.THRESHOLD_FAILED
    assert cause in {each["id"] for each in dumped["causes"] if each["standing"] == "certain"}
    assert key[40:].hex() not in json.dumps(document)


def test_what_was_seen_is_in_the_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "device.der").write_bytes(WHO.der)
    (tmp_path / "cloud.der").write_bytes(SERVER_SPKI)
    who = ["--device-key", str(tmp_path / "device.der"), "--id", "3a" * 12, "--server-key", str(tmp_path / "cloud.der")]
    with served(nonce_then(answer=bytes(384))) as (host, port):
        document, code = asked(capsys, *who, "--target", f"{host}:{port}")
    assert code == ExitCode.THRESHOLD_FAILED
    assert document["attempt"]["answer"]["signature"] == "blank"
    assert document["causes"][0]["id"] == "damaged-answer"
    with served(nonce_then()) as (host, port):
        document, _ = asked(capsys, *who, "--target", f"{host}:{port}", "--wait", "100ms", "--hold", "100ms")
    assert (document["attempt"]["later"]["reason"], document["attempt"]["later"]["bytes"]) == (None, 0)
    with cloud(RegistryPolicy.OPEN) as (host, port):
        document, code = asked(capsys, *who, "--target", f"{host}:{port}", "--hold", "100ms")
    assert (code, document["verdict"], document["attempt"]["held_us"]) == (ExitCode.OK, "healthy", 100_000)
