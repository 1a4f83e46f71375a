from __future__ import annotations

import msgspec

from loadgen.mockcloud.report import (
    COUNTERS,
    SCHEMA,
    CloudReport,
    CloudStatus,
    RegistrySummary,
    StallTimes,
    WorkerReport,
    build_report,
)


def status() -> CloudStatus:
    return CloudStatus(
        workers=[
            WorkerReport(
                pid=11,
                cpu_ns=600_000,
                counters={"handshakes": 2, "accepted": 3, "delayed": 1},
                failures={"key/bad_nonce": 1, "encrypt/closed": 5},
                connections=4,
                sessions=2,
                waiting=1,
                injected={"key:close": 2, "hello:bad-frame": 1},
                stalls=[StallTimes(100, 200), StallTimes(500, 600)],
            ),
            WorkerReport(
                pid=12,
                cpu_ns=400_000,
                counters={"handshakes": 2},
                failures={"encrypt/closed": 2},
                injected={"key:close": 1, "hello:bad-frame": 3},
                stalls=[StallTimes(99, 190)],
                timings_omitted=7,
            ),
        ],
        lost=[12],
    )


def report(of: CloudStatus, *, limit: tuple[float, int] | None = None) -> CloudReport:
    return build_report(
        of,
        address="127.0.0.1:5683",
        mode="full",
        crypto_backend="openssl",
        duration_ns=2_000_000_000,
        limit=limit,
        registry=RegistrySummary(policy="open", devices=0),
        warnings=["first"],
    )


def test_a_status_adds_its_workers_up() -> None:
    of = status()
    assert (of.handshakes, of.connections, of.sessions, of.waiting, of.cpu_ns) == (4, 4, 2, 1, 1_000_000)
    assert of.failures == {"key/bad_nonce": 1, "encrypt/closed": 7}
    assert of.session_failures == {}
    assert set(of.counters) == set(COUNTERS)


def test_the_report_is_complete_and_most_frequent_failures_come_first() -> None:
    done = report(status(), limit=(100.0, 1000))
    assert done.schema == SCHEMA
    assert (done.handshakes, done.handshakes_per_s, done.failed) == (4, 2.0, 8)
    assert done.cpu_us_per_handshake == 250.0
    assert [(each.stage, each.reason, each.count) for each in done.failures] == [
        ("encrypt", "closed", 7),
        ("key", "bad_nonce", 1),
    ]
    assert done.limit is not None
    assert (done.limit.queue, done.limit.delayed, done.limit.rejected) == (1000, 1, 0)
    assert [worker.lost for worker in done.workers] == [False, True]
    assert done.warnings[0] == "first"
    assert "12" in done.warnings[1]


def test_faults_and_stalls_of_all_workers() -> None:
    done = report(status())
    assert [(each.stage, each.fault, each.count) for each in done.injected] == [
        ("hello", "bad-frame", 4),
        ("key", "close", 3),
    ]
    assert done.stalls == [StallTimes(99, 200)]  # a worker that was lost had no second one
    assert "7 answers" in done.warnings[-1]
    assert done.seed is None
    assert done.answers == []


def test_nothing_happened() -> None:
    done = report(CloudStatus(workers=[], lost=[]))
    assert done.cpu_us_per_handshake is None
    assert done.limit is None


def test_it_survives_json() -> None:
    done = report(status())
    assert msgspec.json.decode(msgspec.json.encode(done), type=CloudReport) == done
