"""Records on disk with both logs, made up: minutes of handshakes in no time."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import numpy as np

from loadgen import clock
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import SUMS, Stage
from loadgen.recording.histogram import Histogram
from loadgen.recording.hlog import LogFormatter
from loadgen.recording.record import (
    Counts,
    FailureTally,
    FirmwareCounts,
    FirmwareFacts,
    FirmwareSecond,
    IntervalLine,
    Rate,
    RunRecord,
    WorkerFacts,
    failure_counts,
    stages_of,
    utc_text,
)
from loadgen.recording.recorder import FailureKey, histogram_tag
from loadgen.store import HISTOGRAMS_FILE, INTERVALS_FILE, RUN_FILE, encode_record
from tests.report.samples import good_record

BEGIN_NS: Final = 1_767_323_045_000_000_000
_MEAN_NS: Final = {
    Stage.SCHEDULE_LAG: 70_000,
    Stage.CONNECT: 45_000,
    Stage.NONCE: 150_000,
    Stage.ENCRYPT: 260_000,
    Stage.KEY: 1_200_000,
    Stage.UNWRAP: 420_000,
    Stage.HELLO: 110_000,
}
_PAUSE: Final = range(40, 43)
"""Seconds of each minute in which the cloud is slow and some handshakes fail."""


def second_of(generator: np.random.Generator, second: int, count: int) -> dict[Stage, Histogram]:
    """Histograms of one second; slower in the pause of each minute."""
    slower = 12.0 if second % 60 in _PAUSE else 1.0
    parts = {
        stage: (mean * generator.lognormal(0.0, 0.35, count) * (slower if stage is Stage.KEY else 1.0)).astype(np.int64)
        for stage, mean in _MEAN_NS.items()
    }
    sums = {stage: sum(parts[part] for part in of) for stage, of in SUMS.items()}
    return {stage: Histogram.of_values(values) for stage, values in (parts | sums).items()}  # type: ignore[arg-type]


def write_logged(
    folder: Path, *, seconds: int, per_second: int, name: str = "p1@0.7.0", label: str | None = None, seed: int = 1
) -> RunRecord:
    """Write a record of one firmware with both of its logs; returns it.

    Args:
        folder: of the record; made.
        seconds: length of the run.
        per_second: handshakes completed in each second.
        name: of the firmware.
        label: of the run.
        seed: of everything random.
    """
    generator = np.random.default_rng(seed)
    formatter, merged = LogFormatter(), {stage: Histogram.empty() for stage in Stage}
    folder.mkdir(parents=True)
    key = FailureKey(Stage.KEY, Reason.CLOSED, -19, name)
    failed_altogether = 0
    with (folder / HISTOGRAMS_FILE).open("w") as log, (folder / INTERVALS_FILE).open("wb") as lines:
        log.write(formatter.header(BEGIN_NS))
        for second in range(seconds):
            found = second_of(generator, second, per_second)
            for stage, histogram in found.items():
                log.write(formatter.line(histogram_tag(stage, None), float(second), 1.0, histogram))
                merged[stage] = Histogram.merge([merged[stage], histogram])
            failed = per_second // 50 if second % 60 in _PAUSE else 0
            failed_altogether += failed
            lines.write(msgspec.json.encode(_line(second, per_second, failed, key)) + b"\n")
    completed = seconds * per_second
    started = completed + failed_altogether
    stages = stages_of(lambda stage: merged[stage])
    record = msgspec.structs.replace(
        good_record(),
        id=f"{seed:08x}",
        label=label,
        duration_s=float(seconds),
        counts=Counts(intended=started, started=started, completed=completed, failed=failed_altogether),
        rate=Rate(mode="open", offered_per_s=per_second, achieved_per_s=started / seconds, completed_per_s=per_second),
        stages=stages,
        firmware=[FirmwareFacts(name=name, counts=FirmwareCounts(started=started, completed=completed), stages=stages)],
        failures=failure_counts({key: failed_altogether}) if failed_altogether else [],
        workers=[WorkerFacts(index=0, started=started, completed=completed, failed=failed_altogether, cpu_s=9.5)],
    )
    (folder / RUN_FILE).write_bytes(encode_record(record))
    return record


def _line(second: int, completed: int, failed: int, key: FailureKey) -> IntervalLine:
    tally = FailureTally(stage=key.stage, reason=key.reason, device_code=-19, firmware=key.firmware, count=failed)
    started = completed + failed
    return IntervalLine(
        second=second,
        time=utc_text(BEGIN_NS + second * clock.NS_PER_S),
        intended=started,
        started=started,
        completed=completed,
        failed=failed,
        aborted=0,
        session_failed=0,
        in_flight=2 + 9 * bool(failed),
        waiting=0,
        firmware={key.firmware: FirmwareSecond(started=started, completed=completed, failed=failed)},
        failures=[tally] if failed else [],
        session_failures=[],
        worker_cpu_s=[0.22, 0.3],
        mock_cloud_cpu_s=[0.5 + 0.3 * bool(failed)],
    )
