"""Records made by hand, so that reports have something to show."""

from __future__ import annotations

from loadgen.protocol.stages import Stage
from loadgen.recording.record import (
    CalibratedPercentile,
    Calibration,
    Counts,
    Environment,
    FailureCount,
    Finding,
    FirmwareCounts,
    FirmwareFacts,
    FleetFacts,
    Generator,
    Rate,
    RunRecord,
    StageStats,
    Target,
    Validity,
)

_SHAPE = {
    Stage.SCHEDULE_LAG: (0.9, 61.0, 85.2, 412.0, 1_204.0),
    Stage.CONNECT: (18.0, 44.1, 71.0, 160.2, 2_030.0),
    Stage.NONCE: (0.0, 12.3, 33.9, 90.0, 1_800.5),
    Stage.ENCRYPT: (151.0, 233.0, 390.1, 1_110.0, 3_020.0),
    Stage.KEY: (690.0, 1_210.0, 3_402.0, 9_990.0, 31_204.0),
    Stage.UNWRAP: (140.0, 214.0, 377.0, 1_002.0, 2_809.0),
    Stage.HELLO: (60.0, 151.0, 701.0, 2_004.0, 14_003.0),
    Stage.HANDSHAKE: (1_280.0, 1_902.0, 4_402.0, 12_020.0, 38_811.0),
    Stage.RESPONSE: (1_290.0, 1_966.0, 4_501.0, 12_206.0, 38_899.0),
    Stage.CLOUD: (810.0, 1_433.0, 3_990.0, 10_805.0, 35_004.0),
    Stage.WAKEUP_LAG: (2.0, 21.0, 44.0, 301.0, 905.0),
    Stage.CRYPTO_WAIT: (3.0, 9.1, 80.0, 400.0, 1_100.0),
    Stage.CRYPTO_RUN: (90.0, 101.0, 140.0, 260.0, 900.0),
}


def _stats(count: int, shape: tuple[float, float, float, float, float]) -> StageStats:
    minimum, p50, p90, p99, maximum = shape
    return StageStats(
        count=count,
        min_us=minimum,
        mean_us=p50 * 1.1,
        p50_us=p50 if count >= 20 else None,
        p75_us=(p50 + p90) / 2 if count >= 40 else None,
        p90_us=p90 if count >= 100 else None,
        p95_us=(p90 + p99) / 2 if count >= 200 else None,
        p99_us=p99 if count >= 1_000 else None,
        p999_us=(p99 + maximum) / 2 if count >= 10_000 else None,
        max_us=maximum,
    )


def stages(count: int) -> dict[str, StageStats]:
    """Statistics of every stage, with the percentiles that so many samples allow."""
    if not count:
        return {stage.value: StageStats() for stage in Stage}
    return {stage.value: _stats(count, _SHAPE[stage]) if stage in _SHAPE else StageStats() for stage in Stage}


def _with_intervals(stages: dict[str, StageStats]) -> dict[str, StageStats]:
    for stats in stages.values():
        stats.p50_ci_us = None if stats.p50_us is None else (stats.p50_us * 0.98, stats.p50_us * 1.03)
        stats.p99_ci_us = None if stats.p99_us is None else (stats.p99_us * 0.9, stats.p99_us * 1.2)
    return stages


def good_record() -> RunRecord:
    """Quick scenario against its own mock cloud, nothing wrong."""
    return RunRecord(
        id="1a2b3c4d",
        label=None,
        status="complete",
        started_at="2025-01-02T03:04:05.000Z",
        duration_s=30.0,
        scenario={"name": "quick", "cloud_mode": "full"},
        seed=1,
        target=Target(address="127.0.0.1:41234", kind="mock"),
        fleet=FleetFacts(devices=10_000, distinct_keys=64),
        firmware=[FirmwareFacts(name="p1@0.7.0")],
        environment=Environment(
            loadgen="0.1.0",
            git=None,
            python="CPython 3.11.7",
            openssl="OpenSSL 3.5.0",
            cpu_model="a processor",
            cores=2,
            kernel="Linux 6.1",
            isa=[],
            crypto_backend="openssl",
            timestamps="user",
            engine="uvloop",
        ),
        generator=Generator(cpu_s=3.1, cpu_utilisation=0.114, cpu_us_per_handshake=258.4, workers=1, max_in_flight=17),
        mock_cloud={"workers": [{}], "cpu_s": 9.6, "cpu_us_per_handshake": 800.0, "failed": 0},
        rate=Rate(mode="open", offered_per_s=400.0, achieved_per_s=400.0, completed_per_s=399.8),
        counts=Counts(intended=12_000, started=12_000, completed=12_000),
        stages=stages(12_000),
    )


def bad_record() -> RunRecord:
    """Two firmwares against somebody's cloud, most things wrong."""
    record = good_record()
    record.scenario = {"name": "steady", "concurrency": 500}
    record.status = "interrupted"
    record.duration_s = 754.0
    record.target = Target(address="[fd00::1]:5683", kind="remote")
    record.firmware = [
        FirmwareFacts(
            name="p1@0.6.4",
            weight=0.3,
            counts=FirmwareCounts(started=275, completed=268, failed=5, aborted=2),
            stages=_with_intervals(stages(268)),
        ),
        FirmwareFacts(
            name="p1@0.7.0",
            weight=0.7,
            counts=FirmwareCounts(started=6_813, completed=637, failed=6_175, aborted=1),
            stages=_with_intervals(stages(1_637)),
        ),
    ]
    record.rate = Rate(mode="closed", achieved_per_s=9.4, completed_per_s=1.2)
    record.counts = Counts(intended=7_100, started=7_088, completed=905, failed=6_180, aborted=3, not_started=12)
    record.stages = stages(905)
    record.stages["failed"] = _stats(6_180, (990.0, 10_004_000.0, 10_020_000.0, 10_900_000.0, 20_000_100.0))
    record.mock_cloud = None
    record.generator = Generator(
        cpu_s=640.0, cpu_utilisation=0.913, cpu_us_per_handshake=None, workers=2, max_in_flight=500, saturated=True
    )
    record.failures = [
        FailureCount(
            stage="key",
            reason="closed",
            device_code=-19,
            firmware="p1@0.7.0",
            count=6_175,
            explanation="the cloud closed the connection instead of sending the key; within a round trip: it rejected "
            "the device (wrong server key here, unknown device, or another key on record)",
        ),
        FailureCount(
            stage="connect",
            reason="local_resource",
            device_code=None,
            firmware="p1@0.6.4",
            count=5,
            explanation="this machine could not go on",
        ),
    ]
    record.session_failures = [
        FailureCount(
            stage="hello", reason="ping_timeout", device_code=None, firmware="p1@0.7.0", count=1, explanation=""
        )
    ]
    record.validity = Validity(
        verdict="invalid",
        findings=[
            Finding(
                code="few_samples", level="note", observed=905, limit=1_000, text="Too few samples for p99.", remedy=""
            ),
            Finding(
                code="worker_lost",
                level="invalid",
                observed=1,
                limit=0,
                text="Worker 1 was killed by signal 9.",
                remedy="Look into the system's log for the out-of-memory killer, and take the run again.",
            ),
            Finding(
                code="generator_cpu",
                level="warn",
                observed=0.913,
                limit=0.8,
                text="The generator used 91% of its CPU.",
                remedy="Use more workers or a lower rate.",
            ),
        ],
    )
    return record


def calibrated_record() -> RunRecord:
    """Held against its mock cloud's notes: good, bad, and not judged."""
    record = good_record()
    record.scenario = {"name": "calibrate", "cloud_mode": "replay"}
    record.calibration = Calibration(
        outcome="fail",
        handshakes=12_000,
        found=11_999,
        percentiles=[
            CalibratedPercentile(
                stage="nonce",
                percentile="p50",
                truth_us=7_260.0,
                measured_us=7_267.56,
                error_us=7.56,
                limit_us=100.0,
                outcome="pass",
            ),
            CalibratedPercentile(
                stage="key",
                percentile="p99",
                truth_us=68_300.0,
                measured_us=65_940.0,
                error_us=-2_360.0,
                limit_us=683.0,
                outcome="fail",
            ),
            CalibratedPercentile(stage="hello", percentile="p999", outcome="no_data"),
        ],
    )
    return record


def empty_record() -> RunRecord:
    """No handshake was completed."""
    record = good_record()
    record.counts = Counts(intended=4, started=4, failed=4)
    record.stages = stages(0)
    record.rate = Rate(mode="open", offered_per_s=0.4, achieved_per_s=0.4)
    record.mock_cloud = None
    record.target = Target(address="10.0.0.1:5683", kind="remote")
    record.failures = [
        FailureCount(
            stage="connect",
            reason="refused",
            device_code=-18,
            firmware="p1@0.7.0",
            count=4,
            explanation="the target refused the connection; nothing listens on this address and port",
        )
    ]
    return record


def many_kinds_record(kinds: int) -> RunRecord:
    """A run that failed in so many ways, a third of which have an explanation of their own."""
    record = bad_record()
    record.failures = [
        FailureCount(
            stage="key",
            reason=f"reason_{number}",
            device_code=-19,
            firmware="p1@0.7.0",
            count=kinds - number,
            explanation=f"explanation {number // 3}",
        )
        for number in range(kinds)
    ]
    return record
