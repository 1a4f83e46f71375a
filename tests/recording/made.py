"""Seeded rows, and the record made of them that ``tests/fixtures/record-1`` holds.

``python -m tests.recording.made FOLDER`` writes such a record below FOLDER with the present code; the fixture was
written by an earlier one and must stay readable.
"""

from __future__ import annotations

import random
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.recording.record import (
    Counts,
    Environment,
    Finding,
    FirmwareFacts,
    FleetFacts,
    Generator,
    Rate,
    RunRecord,
    SecondFacts,
    Storm,
    Target,
    Threshold,
    Validity,
    WorkerFacts,
    failure_counts,
    firmware_facts,
    recording_facts,
    stages_of,
)
from loadgen.recording.recorder import Interval, Recorder
from loadgen.recording.rows import FAILURE_FIELDS, NO_DEVICE_CODE, REASON_INDEX, ROW_FIELDS, STAGE_INDEX, Rows
from loadgen.store import RunWriter

BASE_NS = 5_000 * NS_PER_S
BASE_WALL_NS = 1_767_323_045_678_000_000  # 2026-01-02T03:04:05.678Z
FIRMWARES = ("p1@0.7.0", "photon@0.6.3")


_HANDSHAKE_FAILURES = (
    (Stage.KEY, Reason.CLOSED, -19),
    (Stage.UNWRAP, Reason.BAD_SIGNATURE, 8),
    (Stage.CONNECT, Reason.LOCAL_RESOURCE, NO_DEVICE_CODE),
)
_SESSION_FAILURES = (
    (Stage.HELLO, Reason.RESET, NO_DEVICE_CODE),
    (Stage.HELLO, Reason.PING_TIMEOUT, NO_DEVICE_CODE),
)


def handshake_rows(seed: int, count: int, *, seconds: float = 3.0, firmwares: int = 1, beside: bool = True) -> Rows:
    """Completed handshakes that end within ``seconds`` from :data:`BASE_NS`, in no order.

    Made with ``random.Random.random``, whose sequence is the same in every Python and on every machine.
    """
    draw = random.Random(seed).random
    rows = []
    for _ in range(count):
        points = [BASE_NS + int(draw() * seconds * NS_PER_S)]
        for _ in range(7):
            points.append(points[-1] - int(NS_PER_MS * (0.2 + 9 * draw() * draw() * draw())))
        durations = [int(draw() * NS_PER_MS) if beside else -1 for _ in range(3)]
        rows.append([*reversed(points), *durations, int(draw() * firmwares), 0])
    return np.array(rows, dtype=np.int64).reshape(-1, len(ROW_FIELDS))


def failure_rows(seed: int, count: int, *, seconds: float = 3.0, firmwares: int = 1, session: bool = False) -> Rows:
    """Failed handshakes of three kinds, one without a device code, or failed sessions of two."""
    draw = random.Random(seed).random
    kinds = _SESSION_FAILURES if session else _HANDSHAKE_FAILURES
    rows = []
    for _ in range(count):
        failed_at = BASE_NS + int(draw() * seconds * NS_PER_S)
        stage, reason, code = kinds[int(draw() * len(kinds))]
        rows.append(
            [
                failed_at - 1 - int(draw() * 20 * NS_PER_MS),
                failed_at,
                STAGE_INDEX[stage],
                REASON_INDEX[reason],
                code,
                int(draw() * firmwares),
            ]
        )
    return np.array(rows, dtype=np.int64).reshape(-1, len(FAILURE_FIELDS))


def starting_record(firmwares: tuple[str, ...] = FIRMWARES, *, label: str | None = "base") -> RunRecord:
    """A record as it stands at the start of a run."""
    return RunRecord(
        id="1a2b3c4d",
        label=label,
        status="running",
        started_at="2026-01-02T03:04:04.000Z",
        scenario={"name": "quick", "mode": "open", "rate_per_s": 200, "duration_ns": 3 * NS_PER_S},
        seed=7,
        target=Target(address="127.0.0.1:5683", kind="mock"),
        fleet=FleetFacts(devices=500, distinct_keys=64),
        firmware=[FirmwareFacts(name=name, weight=1 / len(firmwares)) for name in firmwares],
        environment=Environment(
            loadgen="0.1.0",
            git="0123456789abcdef0123456789abcdef01234567",
            python="CPython 3.11.7",
            openssl="OpenSSL 3.5.0 8 Apr 2025",
            cpu_model="A processor",
            cores=2,
            kernel="Linux 6.1.0",
            isa=["aes", "avx2"],
            crypto_backend="openssl",
            timestamps="kernel",
            engine="uvloop",
        ),
        rate=Rate(mode="open", offered_per_s=200),
    )


def made_recorder(firmwares: tuple[str, ...] = FIRMWARES) -> Recorder:
    """600 completed handshakes, 9 failures and 2 failed sessions within 3 s."""
    recorder = Recorder(firmwares, BASE_NS)
    recorder.add_rows(handshake_rows(1, 600, firmwares=len(firmwares)))
    recorder.add_failures(failure_rows(2, 9, firmwares=len(firmwares)))
    recorder.add_session_failures(failure_rows(3, 2, firmwares=len(firmwares), session=True))
    return recorder


def ended_of(seen: Recorder | Interval) -> Counter[str]:
    """Handshakes of each firmware that have ended, well or not."""
    ended = Counter(seen.completed)
    for key, count in seen.failures.items():
        ended[key.firmware] += count
    return ended


def finished_record(record: RunRecord, recorder: Recorder) -> RunRecord:
    """The record at the end of the run that ``recorder`` has seen."""
    completed, failed = recorder.completed.total(), recorder.failures.total()
    started = completed + failed
    return msgspec.structs.replace(
        record,
        status="complete",
        duration_s=3.0,
        firmware=firmware_facts(recorder, {facts.name: facts.weight for facts in record.firmware}, ended_of(recorder)),
        generator=Generator(cpu_s=0.9, cpu_utilisation=0.31, cpu_us_per_handshake=1500.0, workers=1, max_in_flight=12),
        mock_cloud={"schema": "loadgen/cloud/1", "mode": "full", "handshakes": completed, "cpu_s": 1.1},
        validity=Validity(
            findings=[
                Finding(
                    code="generator_cpu",
                    level="note",
                    observed=0.71,
                    limit=0.7,
                    text="The generator used 71 % of its CPU for 3 s running.",
                    remedy="Use more --workers or more cores, or lower the load.",
                )
            ]
        ),
        rate=Rate(mode="open", offered_per_s=200, achieved_per_s=started / 3, completed_per_s=completed / 3),
        counts=Counts(intended=started, started=started, completed=completed, failed=failed),
        stages=stages_of(recorder.histogram),
        failures=failure_counts(recorder.failures),
        session_failures=failure_counts(recorder.session_failures, in_session=True),
        storm=Storm(online_50_s=1.5, online_95_s=2.8, online_99_s=2.9, online_100_s=3.0),
        thresholds=[
            Threshold(
                text="p(99) of handshake < 250ms",
                outcome="no_data",
                observed=None,
                observed_ci=None,
                limit=250_000.0,
                samples=completed,
            )
        ],
        recording=recording_facts(recorder),
        workers=[WorkerFacts(index=0, pid=4711, started=started, completed=completed, failed=failed, cpu_s=0.9)],
    )


def second_facts(started: int, started_of: Sequence[int] = ()) -> SecondFacts:
    """Facts of one second as an engine would give them."""
    return SecondFacts(
        intended=started,
        started=started,
        started_of=list(started_of),
        in_flight=3,
        worker_cpu_s=[0.3],
        mock_cloud_cpu_s=[0.2, 0.15],
    )


def write_record(parent: Path) -> Path:
    """Write the whole record below ``parent``; returns its folder."""
    recorder = made_recorder()
    record = starting_record()
    writer = RunWriter(parent, record, "quick")
    writer.begin(BASE_WALL_NS)
    for interval in recorder.take_all():
        ended = ended_of(interval)
        writer.append(interval, second_facts(ended.total(), [ended[name] for name in FIRMWARES]))
    writer.finish(finished_record(record, recorder))
    return writer.path


if __name__ == "__main__":
    print(write_record(Path(sys.argv[1])))
