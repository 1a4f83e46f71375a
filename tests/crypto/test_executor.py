from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from queue import SimpleQueue
from threading import Event, get_ident

import pytest

from loadgen import clock
from loadgen.crypto.executor import CHUNK, Completion, CryptoExecutor, Executor, InlineExecutor
from loadgen.crypto.openssl import OpenSSLBackend
from loadgen.errors import LocalResourceError
from loadgen.protocol.events import BatchedRequest, DecryptNonce, EncryptNonce, UnwrapKey, WrapKey
from loadgen.protocol.reasons import CryptoFault
from tests.crypto.fakes import FakeBackend
from tests.crypto.recordings import transcripts

PATIENCE_S = 10


class Ticks:
    """A clock that goes on by one at each reading, on whichever thread."""

    def __init__(self) -> None:
        self.now_ns = 0

    def __call__(self) -> int:
        self.now_ns += 1
        return self.now_ns


class Bench:
    """A threaded executor whose deliveries are gathered."""

    def __init__(self, backend: FakeBackend, clock_ns: Callable[[], int], deadline_ns: int = 0) -> None:
        self.backend = backend
        self.delivered: SimpleQueue[list[Completion]] = SimpleQueue()
        self.executor = CryptoExecutor(
            backend, self.delivered.put, clock_ns=clock_ns, cpu_clock_ns=lambda: 123, deadline_ns=deadline_ns
        )

    def take(self, count: int) -> list[Completion]:
        """The next deliveries, until they hold ``count`` completions."""
        items: list[Completion] = []
        while len(items) < count:
            items += self.delivered.get(timeout=PATIENCE_S)
        return items


@pytest.fixture
def gate() -> Event:
    return Event()


@pytest.fixture
def bench(gate: Event) -> Iterator[Bench]:
    made = Bench(FakeBackend(gate=gate), Ticks())
    yield made
    gate.set()
    made.executor.close()


def encrypt(text: bytes) -> EncryptNonce:
    return EncryptNonce(None, text)


def test_every_operation_comes_back_to_its_connection(bench: Bench, gate: Event) -> None:
    gate.set()
    requests: list[BatchedRequest] = [
        encrypt(b"a"),
        UnwrapKey(None, None, b"b"),
        DecryptNonce(None, b"c"),
        WrapKey(None, None, b"d"),
    ]
    for token, request in enumerate(requests):
        bench.executor.submit(f"connection {token}", token, request)
    bench.executor.flush()
    items = sorted(bench.take(4), key=lambda item: item.token)
    assert [(item.connection, item.result) for item in items] == [
        ("connection 0", b"a"),
        ("connection 1", b"b"),
        ("connection 2", b"c"),
        ("connection 3", b"d"),
    ]
    for item in items:
        assert 0 < item.requested_ns < item.begun_ns < item.answered_ns


def test_nothing_begins_before_the_flush(bench: Bench, gate: Event) -> None:
    gate.set()
    bench.executor.submit(None, 0, encrypt(b"a"))
    assert bench.executor.pending == 0
    bench.executor.flush()
    assert bench.executor.pending <= 1
    assert bench.take(1)[0].result == b"a"


def test_requests_that_wait_for_the_worker_share_chunks(bench: Bench, gate: Event) -> None:
    bench.executor.submit(None, 0, encrypt(b"first"))
    bench.executor.flush()
    assert bench.backend.begun.wait(PATIENCE_S)
    for token in range(20):  # twenty loop turns while the worker is busy
        bench.executor.submit(None, token, encrypt(b"%d" % token))
        bench.executor.flush()
    assert bench.executor.pending == 21
    gate.set()
    items = bench.take(21)
    assert [item.result for item in items] == [b"first", *(b"%d" % token for token in range(20))]
    assert [len(batch) for batch in bench.backend.batches] == [1, CHUNK, CHUNK, 20 - 2 * CHUNK]


def test_results_flow_chunk_by_chunk(bench: Bench, gate: Event) -> None:
    gate.set()
    for token in range(3 * CHUNK):
        bench.executor.submit(None, token, encrypt(b""))
    bench.executor.flush()
    sizes = [len(bench.delivered.get(timeout=PATIENCE_S)) for _ in range(3)]
    assert sizes == [CHUNK] * 3


def test_lanes_are_filled_across_devices(gate: Event) -> None:
    gate.set()
    bench = Bench(FakeBackend(lanes=8, gate=gate), lambda: 0, deadline_ns=10**9)
    for token in range(8):
        bench.executor.submit(object(), token, encrypt(b""))
        bench.executor.flush()
    assert len(bench.take(8)) == 8
    assert [len(batch) for batch in bench.backend.batches] == [8]
    bench.executor.close()


def test_a_lone_device_gets_its_answer_without_company(gate: Event) -> None:
    gate.set()
    bench = Bench(FakeBackend(lanes=8, gate=gate), Ticks(), deadline_ns=5)
    bench.executor.submit(None, 0, encrypt(b"alone"))
    bench.executor.flush()
    (item,) = bench.take(1)
    assert item.result == b"alone"
    bench.executor.close()


def test_who_waits_for_company_in_vain_is_served_at_the_deadline(gate: Event) -> None:
    gate.set()
    deadline_ns = 20 * clock.NS_PER_MS
    bench = Bench(FakeBackend(lanes=8, gate=gate), clock.monotonic_ns, deadline_ns)
    for token in range(64):
        bench.executor.submit(None, token, encrypt(b""))
    bench.executor.flush()
    bench.take(64)
    bench.executor.submit(None, 64, encrypt(b"late"))
    bench.executor.flush()
    (item,) = bench.take(1)
    assert item.result == b"late"
    assert item.begun_ns - item.requested_ns > deadline_ns // 2
    bench.executor.close()


@pytest.mark.parametrize("rounds", [200, pytest.param(20_000, marks=pytest.mark.long)])
def test_a_deadline_that_is_over_before_the_sleep_begins_holds_nobody_up(gate: Event, rounds: int) -> None:
    """Waits of nanoseconds, each just after an alarm: none may become an endless one (one in thousands did)."""
    gate.set()
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    bench = Bench(FakeBackend(lanes=8, gate=gate), Ticks(), deadline_ns=40)
    for _ in range(rounds):
        for token in range(9):
            bench.executor.submit(None, token, encrypt(b""))
        bench.executor.flush()
        assert len(bench.take(9)) == 9
    bench.executor.close()
    sys.setswitchinterval(interval_s)


def test_close_ends_a_thread_that_waits_for_company(gate: Event) -> None:
    gate.set()
    bench = Bench(FakeBackend(lanes=2, gate=gate), lambda: 0, deadline_ns=10**18)
    for token in range(41):
        bench.executor.submit(None, token, encrypt(b""))
    bench.executor.flush()
    bench.take(40)
    bench.executor.close()
    assert bench.executor.pending == 1


def test_a_full_set_of_lanes_wakes_a_thread_that_waits_for_another(gate: Event) -> None:
    gate.set()
    bench = Bench(FakeBackend(lanes=2, gate=gate), lambda: 0, deadline_ns=10**18)
    for token in range(41):  # the last one waits: company was in sight
        bench.executor.submit(None, token, encrypt(b"%d" % token))
    bench.executor.flush()
    bench.take(40)
    for token in range(2):
        bench.executor.submit(None, token, UnwrapKey(None, None, b"%d" % token))
        bench.executor.flush()
    assert [item.result for item in bench.take(2)] == [b"0", b"1"]
    assert bench.executor.pending >= 1
    bench.executor.close()


def test_more_than_the_lanes_in_one_flush_is_not_held_up(gate: Event) -> None:
    """The second full batch is due at once; only what does not fill the lanes waits."""
    gate.set()
    bench = Bench(FakeBackend(lanes=2, gate=gate), lambda: 0, deadline_ns=10**18)
    for token in range(21):
        bench.executor.submit(None, token, encrypt(b""))
    bench.executor.flush()
    bench.take(20)
    assert bench.executor.pending <= 20
    assert [len(batch) for batch in bench.backend.batches] == [8, 8, 4]
    bench.executor.close()


def test_a_backend_that_raises_is_a_visible_failure_of_its_batch_only(bench: Bench, gate: Event) -> None:
    gate.set()
    bench.backend.error = RuntimeError("no memory")
    bench.executor.submit(None, 0, encrypt(b"a"))
    bench.executor.flush()
    (item,) = bench.take(1)
    assert isinstance(item.result, LocalResourceError)
    assert "no memory" in str(item.result)
    bench.backend.error = None
    bench.executor.submit(None, 1, encrypt(b"b"))
    bench.executor.flush()
    assert bench.take(1)[0].result == b"b"


def test_a_backend_that_loses_lanes_is_a_visible_failure(bench: Bench, gate: Event) -> None:
    gate.set()
    bench.backend.too_few = True
    for token in range(3):
        bench.executor.submit(None, token, encrypt(b""))
    bench.executor.flush()
    items = bench.take(3)
    assert all(isinstance(item.result, LocalResourceError) for item in items)
    assert "2 results for 3 requests" in str(items[0].result)


def test_a_thread_that_ended_shows_at_the_next_flush() -> None:
    seen = Event()

    def deliver(_: list[Completion]) -> None:
        seen.set()
        raise RuntimeError("Event loop is closed")

    executor = CryptoExecutor(FakeBackend(), deliver)
    executor.submit(None, 0, encrypt(b""))
    executor.flush()
    assert seen.wait(PATIENCE_S)
    executor.close()  # joins: the failure is recorded by now
    with pytest.raises(LocalResourceError, match="Event loop is closed"):
        executor.flush()


def test_close_delivers_nothing_afterwards_and_may_be_repeated(bench: Bench, gate: Event) -> None:
    for token in range(100):
        bench.executor.submit(None, token, encrypt(b""))
    bench.executor.flush()
    assert bench.backend.begun.wait(PATIENCE_S)
    gate.set()
    bench.executor.close()
    batches = len(bench.backend.batches)
    bench.executor.submit(None, 0, encrypt(b""))
    bench.executor.flush()
    bench.executor.close()
    assert len(bench.backend.batches) == batches


def test_runs_on_a_thread_of_its_own_and_tells_its_cpu_time() -> None:
    threads: SimpleQueue[int] = SimpleQueue()
    backend = FakeBackend()
    executor = CryptoExecutor(backend, lambda _: threads.put(get_ident()), cpu_clock_ns=lambda: 123)
    assert executor.cpu_ns == 0
    executor.submit(None, 0, encrypt(b""))
    executor.flush()
    assert threads.get(timeout=PATIENCE_S) != get_ident()
    assert executor.cpu_ns == 123
    executor.close()
    assert executor.pending == 0


def test_the_thread_is_prepared_before_its_first_batch() -> None:
    order: SimpleQueue[tuple[str, int]] = SimpleQueue()
    executor = CryptoExecutor(
        FakeBackend(),
        lambda _: order.put(("deliver", get_ident())),
        prepare=lambda: order.put(("prepare", get_ident())),
    )
    executor.submit(None, 0, encrypt(b""))
    executor.flush()
    first, second = (order.get(timeout=PATIENCE_S) for _ in range(2))
    assert (first[0], second[0]) == ("prepare", "deliver")
    assert first[1] == second[1] != get_ident()
    executor.close()


def test_a_thread_that_could_not_be_prepared_shows_at_the_next_flush() -> None:
    executor = CryptoExecutor(FakeBackend(), lambda _: None, prepare=lambda: 1 / 0)
    executor._thread.join(PATIENCE_S)
    with pytest.raises(LocalResourceError, match="ZeroDivisionError"):
        executor.flush()
    executor.close()


def test_inline_does_everything_within_the_flush() -> None:
    delivered: list[Completion] = []
    ticks = Ticks()
    executor = InlineExecutor(FakeBackend(lanes=8), delivered.extend, clock_ns=Ticks(), cpu_clock_ns=ticks)
    for token in range(3):
        executor.submit(token, token, encrypt(b"%d" % token))
    executor.submit(3, 3, UnwrapKey(None, None, b"3"))
    assert delivered == []
    assert executor.pending == 4
    executor.flush()
    assert [(item.connection, item.result) for item in delivered] == [(0, b"0"), (1, b"1"), (2, b"2"), (3, b"3")]
    assert executor.pending == 0
    assert executor.cpu_ns == 2  # one tick for each of the two batches


def test_inline_takes_requests_made_by_deliver() -> None:
    results: list[object] = []

    def deliver(items: list[Completion]) -> None:
        for item in items:
            results.append(item.result)
            if item.token < 3:
                executor.submit(None, item.token + 1, encrypt(b"%d" % item.token))
                executor.flush()  # a shell flushes wherever it has fed a connection

    executor = InlineExecutor(FakeBackend(), deliver)
    executor.submit(None, 0, encrypt(b"start"))
    executor.flush()
    assert results == [b"start", b"0", b"1", b"2"]


def test_inline_does_nothing_once_closed() -> None:
    delivered: list[Completion] = []
    executor = InlineExecutor(FakeBackend(), delivered.extend)
    executor.submit(None, 0, encrypt(b""))
    executor.close()
    executor.submit(None, 1, encrypt(b""))
    executor.flush()
    assert delivered == []


@pytest.mark.parametrize("threaded", [False, True])
def test_with_the_real_backend(threaded: bool) -> None:
    backend = OpenSSLBackend()
    t = transcripts()[0]
    device = backend.load_device_key(t.device_key)
    server = backend.load_server_public_key(t.server_public_key)
    delivered: SimpleQueue[list[Completion]] = SimpleQueue()
    make = CryptoExecutor if threaded else InlineExecutor
    executor: Executor = make(backend, delivered.put)
    executor.submit("good", 1, UnwrapKey(device, server, t.reply))
    executor.submit("bad", 2, UnwrapKey(device, server, t.reply[:-1] + b"\0"))
    executor.flush()
    items = delivered.get(timeout=PATIENCE_S)
    assert [(item.connection, item.token, item.result) for item in items] == [
        ("good", 1, t.material),
        ("bad", 2, CryptoFault.BAD_SIGNATURE),
    ]
    assert executor.cpu_ns > 0
    executor.close()
