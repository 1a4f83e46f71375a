"""The doctor before what is no cloud, or a slow one, or one of its own making: a live handshake each."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.diagnosis.doctor import Standing, Verdict, diagnose
from loadgen.diagnosis.evidence import Evidence
from loadgen.diagnosis.handshake import ask_in_http
from loadgen.mockcloud.faults import Fault, FaultKind, FaultStage
from loadgen.mockcloud.settings import RegistryPolicy
from loadgen.protocol.firmware import P1_0_7_0, FirmwareProfile
from loadgen.protocol.stages import Stage
from tests.fleet.keys import good_keys
from tests.integration.doctor_bench import WAITS_NS, Address, Caller, cloud, facts_of, shake

WHO = Caller(bytes(12), good_keys()[0])
SHORT_NS = 100 * NS_PER_MS


def seen(
    address: Address, wait_ns: int = 10 * NS_PER_S, hold_ns: int = 0, firmware: FirmwareProfile = P1_0_7_0
) -> Evidence:
    made = shake(WHO, address, dict.fromkeys(WAITS_NS, wait_ns), hold_ns, firmware)
    return Evidence(attempt=made.attempt, is_live=True, target="cloud:5683", device=facts_of(WHO))


def standing(evidence: Evidence) -> set[str]:
    return {each.cause.id for each in diagnose(evidence).suspects if each.standing is not Standing.RULED_OUT}


def test_slow_cloud() -> None:
    hurried = replace(P1_0_7_0, timeouts_ns={**P1_0_7_0.timeouts_ns, Stage.HELLO: 300 * NS_PER_MS})
    with cloud(RegistryPolicy.OPEN, (Fault(FaultStage.HELLO, FaultKind.DELAY, 180 * NS_PER_MS, 1.0),)) as address:
        found = diagnose(seen(address, firmware=hurried))
    assert (found.verdict, found.suspects[0].cause.id) == (Verdict.FAULT, "slow-cloud")


# --- what is no cloud


@contextmanager
def listener(greeting: bytes = b"", answer: bytes = b"", connections: int = 2) -> Iterator[Address]:
    """Greets, and answers what it is sent; stays silent for nothing."""
    stopped = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(5)

        def serve() -> None:
            for _ in range(connections):
                try:
                    sock, _ = server.accept()
                except OSError:
                    return
                with sock:
                    sock.sendall(greeting)
                    sock.settimeout(1)
                    try:
                        if not answer:
                            stopped.wait(1)
                        elif sock.recv(256):
                            sock.sendall(answer)
                    except OSError:
                        continue

        thread = threading.Thread(target=serve)
        thread.start()
        host, port = server.getsockname()[:2]
        try:
            yield host, port
        finally:
            stopped.set()
            server.close()
            thread.join()


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
    with listener(greeting, connections=1) as address:
        found = diagnose(seen(address, SHORT_NS))
    assert (found.verdict, found.standing(cause)) == (Verdict.FAULT, Standing.CERTAIN)


@pytest.mark.parametrize(
    ("answer", "cause"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "speaks-http"), (b"\x15\x03\x01\0\2\2\x46", "speaks-tls")],
)
def test_a_silent_service_is_asked(answer: bytes, cause: str) -> None:
    with listener(answer=answer) as address:
        evidence = seen(address, SHORT_NS)
        alone = diagnose(evidence)
        asked = diagnose(replace(evidence, probe=ask_in_http(address, NS_PER_S)))
    assert (alone.verdict, "not-this-protocol" in standing(evidence)) == (Verdict.UNDECIDED, True)
    assert (asked.verdict, asked.standing(cause)) == (Verdict.FAULT, Standing.CERTAIN)


def test_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()[:2]
    found = diagnose(seen(address))
    assert (found.verdict, found.suspects[0].cause.id) == (Verdict.NO_CONNECTION, "nothing-listens")
