"""The mock cloud with real processes and sockets."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.crypto.executor import InlineExecutor
from loadgen.errors import UsageError
from loadgen.mockcloud.cloud import MockCloud
from loadgen.mockcloud.host import WorkerHost
from loadgen.mockcloud.listener import bind
from loadgen.mockcloud.plan import WorkerPlan
from loadgen.mockcloud.registry import SharedRegistry
from loadgen.mockcloud.report import COUNTERS, SCHEMA, CloudReport
from loadgen.mockcloud.settings import CloudMode, CloudSettings, RegistryPolicy
from loadgen.protocol import coap
from loadgen.protocol.reasons import HandshakeError
from tests.mockcloud.client import Client, eventually
from tests.mockcloud.peer import BACKEND, DEVICE_ID, device_spki, server_key

Address = tuple[str, int]
REGISTERED = [(DEVICE_ID, device_spki(0))]
STRANGER = bytes(12)


def settings(**changes: Any) -> CloudSettings:
    return CloudSettings(**{"server_key": server_key(), "port": 0, "workers": 1, **changes})


@contextlib.contextmanager
def cloud(devices: list[tuple[bytes, bytes]] | None = None, **changes: Any) -> Iterator[tuple[MockCloud, Address]]:
    mock = MockCloud(settings(**changes), REGISTERED if devices is None else devices)
    address = mock.start()
    try:
        yield mock, address
    finally:
        mock.stop()


@pytest.fixture(scope="module")
def open_cloud() -> Iterator[tuple[MockCloud, Address]]:
    """Two workers that let everybody in."""
    with cloud(workers=2) as started:
        yield started


def failure_of(client: Client) -> str:
    """How the handshake of ``client`` fails, as the device sees it."""
    with client, pytest.raises(HandshakeError) as caught:
        client.handshake()
    return str(caught.value)


def failures(report: CloudReport) -> dict[str, int]:
    return {f"{each.stage}/{each.reason}": each.count for each in report.failures}


# --- handshakes and sessions


def test_handshake_and_session(open_cloud: tuple[MockCloud, Address]) -> None:
    mock, address = open_cloud
    with Client(address).handshake() as client:
        client.run_until(lambda: bool(client.peer.messages))
        (describe,) = client.peer.messages
        assert coap.kind_at_device(describe) is coap.Kind.DESCRIBE_REQUEST
        (answer,) = client.ask(coap.event("temperature", b"20"))
        assert (answer.type, answer.code, answer.payload) == (coap.ACK, 0, None)
        (answer,) = client.ask(coap.time_request(b"\x01"))
        assert answer.code == coap.Code.CONTENT
        (answer,) = client.ask(coap.ping())
        assert (answer.type, answer.code) == (coap.ACK, 0)
        assert eventually(lambda: mock.poll().sessions == 1)
    assert eventually(lambda: mock.poll().sessions == 0)


def test_handshakes_of_many_devices_at_once(open_cloud: tuple[MockCloud, Address]) -> None:
    mock, address = open_cloud
    before = mock.poll().handshakes
    clients = [Client(address, number.to_bytes(12)) for number in range(40)]
    for client in clients:
        with client:
            client.handshake()
    assert eventually(lambda: mock.poll().handshakes >= before + 40)
    assert mock.poll().cpu_ns > 0


def test_dribbled_ciphertext_and_hello(open_cloud: tuple[MockCloud, Address]) -> None:
    _, address = open_cloud
    with Client(address) as client:
        while not client.peer.completed:
            for data in client.step():
                for at in range(len(data)):
                    client.socket.sendall(data[at : at + 1])


def test_two_frames_in_one_segment_and_a_ping_before_the_clouds_hello(open_cloud: tuple[MockCloud, Address]) -> None:
    _, address = open_cloud
    with Client(address) as client:
        client.socket.sendall(client.step()[0])
        hello = b""
        while not hello:
            hello = b"".join(client.step())
        client.socket.sendall(hello + b"".join(client.peer.say(coap.ping())))
        client.run_until(lambda: client.peer.completed and bool(client.peer.messages))
        assert client.peer.messages[0].type is coap.ACK


def test_a_frame_split_within_its_length(open_cloud: tuple[MockCloud, Address]) -> None:
    _, address = open_cloud
    with Client(address).handshake() as client:
        (frame,) = client.peer.say(coap.event("a", b"b", confirmable=True))
        client.socket.sendall(frame[:1])
        client.socket.sendall(frame[1:])
        client.run_until(lambda: any(m.type is coap.ACK for m in client.peer.messages))


def test_garbage_is_closed_with_a_fin(open_cloud: tuple[MockCloud, Address]) -> None:
    mock, address = open_cloud
    with socket.create_connection(address, timeout=5) as sock:
        assert len(sock.recv(64)) == 40
        sock.sendall(os.urandom(600))
        assert sock.recv(64) == b""
    assert eventually(lambda: sum(mock.poll().failures.values()) >= 1)
    assert {key.partition("/")[0] for key in mock.poll().failures} == {"key"}


# --- modes and policies


def test_replay() -> None:
    with cloud(mode=CloudMode.REPLAY, replay_answers=16) as (mock, address):
        materials = set()
        for number in range(20):
            with Client(address, number.to_bytes(12)).handshake() as client:
                assert client.peer.core.session is not None
                materials.add(client.peer.core.session.key)
        assert len(materials) == 16
    report = mock.stop()
    assert report.handshakes == 20
    assert report.failures == []


@pytest.mark.parametrize(
    ("policy", "stranger", "other_key"),
    [
        (RegistryPolicy.STRICT, "key/closed", "key/closed"),
        (RegistryPolicy.STORED, "key/closed", "unwrap/bad_key"),
    ],
)
def test_policies_of_a_known_fleet(policy: RegistryPolicy, stranger: str, other_key: str) -> None:
    with cloud(registry=policy) as (mock, address):
        with Client(address).handshake():
            pass
        assert failure_of(Client(address, STRANGER)) == stranger
        assert failure_of(Client(address, key=1)) == other_key
    counted = failures(mock.stop())
    assert counted["key/unknown_device"] == 1
    assert len(counted) == 2


def test_first_seen_with_two_workers_racing() -> None:
    """Of two devices that claim one id with different keys exactly one gets it, whichever worker they meet."""
    with cloud([], registry=RegistryPolicy.FIRST_SEEN, workers=2) as (mock, address):
        for number in range(12):
            won = [_race(address, number.to_bytes(12))]
            assert sorted(won[0]) == [False, True]
    report = mock.stop()
    assert failures(report) == {"key/key_mismatch": 12}
    assert report.registry.devices == 12
    assert report.handshakes == 12


def _race(address: Address, device_id: bytes) -> list[bool]:
    """Two devices with one id and different keys send their ciphertexts at the same time; who completes."""
    clients = [Client(address, device_id, key=key) for key in (0, 1)]
    blocks = [client.step()[0] for client in clients]
    completed = [False, False]

    def go(which: int) -> None:
        with contextlib.suppress(HandshakeError):
            clients[which].socket.sendall(blocks[which])
            clients[which].handshake()
            completed[which] = True

    threads = [threading.Thread(target=go, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        client.socket.close()
    return completed


# --- limits


def test_the_limit_delays_and_rejects() -> None:
    with cloud(limit=Fraction(10), limit_queue=2) as (mock, address):
        clients = [Client(address, number.to_bytes(12)) for number in range(6)]
        blocks = [client.step()[0] for client in clients]
        for client, block in zip(clients, blocks, strict=True):
            client.socket.sendall(block)
        results = []
        for client in clients:
            try:
                client.handshake()
                results.append(True)
            except HandshakeError:
                results.append(False)
            client.socket.close()
    report = mock.stop()
    assert report.limit is not None
    assert report.limit.queue == 2
    assert report.limit.rejected >= 1
    assert report.limit.delayed >= 1
    assert report.handshakes == sum(results) == 6 - report.limit.rejected
    assert failures(report) == {"key/overload": report.limit.rejected}


def test_slow_and_silent_peers_are_closed() -> None:
    with (
        cloud(handshake_timeout_ns=300 * NS_PER_MS, idle_timeout_ns=300 * NS_PER_MS) as (mock, address),
        socket.create_connection(address, timeout=5) as silent,
        Client(address).handshake() as idle,
    ):
        assert len(silent.recv(64)) == 40
        assert silent.recv(64) == b""
        with pytest.raises(HandshakeError):
            idle.run_until(lambda: False)
    report = mock.stop()
    assert failures(report) == {"encrypt/timeout": 1}
    assert report.counters["idle_closed"] == 1


def test_more_connections_than_allowed_are_closed_at_once() -> None:
    with cloud(max_connections=2) as (mock, address):
        kept = [socket.create_connection(address, timeout=5) for _ in range(2)]
        assert [len(sock.recv(64)) for sock in kept] == [40, 40]
        with socket.create_connection(address, timeout=5) as refused:
            assert refused.recv(64) == b""
        for sock in kept:
            sock.close()
        assert eventually(lambda: mock.poll().counters["accepted"] == 3 and mock.poll().connections == 0)
        with Client(address).handshake():
            pass
    assert mock.stop().counters["over_connections"] == 1


class ShortOfDescriptors:
    """A listening socket for which the system has no descriptor left, until ``relieved``."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.relieved = False
        self.asked = 0

    def fileno(self) -> int:
        return self.listener.fileno()

    def accept(self) -> tuple[socket.socket, Any]:
        self.asked += 1
        if not self.relieved:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return self.listener.accept()

    def close(self) -> None:
        self.listener.close()


def test_without_descriptors_the_worker_looks_away_for_a_moment() -> None:
    now = [0]
    real = bind("127.0.0.1", 0)
    listener = ShortOfDescriptors(real)
    host, memory = _host(listener, lambda: now[0])
    with socket.create_connection(real.getsockname()[:2], timeout=5) as device:
        for _ in range(50):
            host.turn()
        assert listener.asked == 1
        listener.relieved = True
        now[0] += 100 * NS_PER_MS
        host.tick()
        host.turn()
        assert len(device.recv(64)) == 40
    report = host.report(1, 0)
    assert (report.counters["accept_errors"], report.counters["accepted"]) == (1, 1)
    host.close()
    os.close(memory)


def _host(listener: ShortOfDescriptors, now: Callable[[], int]) -> tuple[WorkerHost, int]:
    memory = SharedRegistry.create_memory(1)
    plan = WorkerPlan(
        index=0,
        workers=1,
        parent_pid=os.getpid(),
        server_key=server_key(),
        mode=CloudMode.FULL,
        crypto="openssl",
        registry=RegistryPolicy.OPEN,
        registry_descriptor=memory,
        limit_descriptor=None,
        limit_interval_ns=0,
        limit_queue=0,
        answers_descriptor=None,
        handshake_timeout_ns=NS_PER_S,
        idle_timeout_ns=NS_PER_S,
        describe_after_ns=None,
        max_connections=0,
        rsa_window=1,
    )
    host = WorkerHost(
        plan,
        cast("socket.socket", listener),
        backend=BACKEND,
        server_key=BACKEND.load_server_key(server_key()),
        executor=InlineExecutor(BACKEND, lambda _: None),
        registry=SharedRegistry(memory),
        reserve=None,
        answers=None,
        now=now,
        wall=now,
        most=10,
    )
    return host, memory


# --- processes


def test_the_report() -> None:
    with cloud() as (mock, address), Client(address).handshake():
        assert eventually(lambda: mock.poll().handshakes == 1)
    report = mock.stop()
    document = msgspec.to_builtins(report)
    assert document["schema"] == SCHEMA
    assert document["address"] == f"127.0.0.1:{address[1]}"
    assert set(document["counters"]) == set(COUNTERS)
    assert document["handshakes"] == 1
    assert document["cpu_us_per_handshake"] > 0
    assert document["workers"][0]["lost"] is False
    assert mock.stop() is report


def test_a_port_in_use_is_one_clear_error(open_cloud: tuple[MockCloud, Address]) -> None:
    _, (host, port) = open_cloud
    with pytest.raises(UsageError, match="in use") as caught:
        MockCloud(settings(port=port)).start()
    assert caught.value.where == f"{host}:{port}"
    assert "another port" in str(caught.value.remedy)


def test_ipv6() -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 on this machine")
    with cloud(host="::1") as (mock, address), Client(address).handshake():
        assert mock.address == f"[::1]:{address[1]}"


def test_a_lost_worker_is_reported_and_the_other_goes_on() -> None:
    with cloud(workers=2) as (mock, address):
        with Client(address).handshake():
            pass
        victim = mock.pids[0]
        os.kill(victim, signal.SIGKILL)
        assert eventually(lambda: mock.poll().lost == [victim])
        with Client(address).handshake():
            pass
    report = mock.stop()
    assert [worker.pid for worker in report.workers if worker.lost] == [victim]
    assert any(str(victim) in warning for warning in report.warnings)


def test_ctrl_c_is_the_parents_business() -> None:
    with cloud() as (mock, address):
        os.kill(mock.pids[0], signal.SIGINT)
        with Client(address).handshake():
            pass
        assert mock.poll().lost == []


_PARENT = """
import sys, time
from loadgen.mockcloud.cloud import MockCloud
from loadgen.mockcloud.settings import CloudSettings
cloud = MockCloud(CloudSettings(server_key=bytes.fromhex(sys.argv[1]), port=0, workers=2))
host, port = cloud.start()
print(port, *cloud.pids, flush=True)
time.sleep(60)
"""


def test_workers_end_within_a_second_of_their_parents_violent_death() -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", _PARENT, server_key().hex()], cwd=root, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        port, *pids = map(int, parent.stdout.readline().split())
        with Client(("127.0.0.1", port)).handshake():
            parent.kill()
            parent.wait()
            assert eventually(lambda: not any(_is_alive(pid) for pid in pids), patience_s=1)


def _is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
