"""Crypto benchmarks compare the same way as runs."""

from __future__ import annotations

import numpy as np

from loadgen.analysis.compare import Settings, compare
from loadgen.analysis.cryptovalues import crypto_family, values_of_crypto
from loadgen.recording.crypto_record import (
    CryptoRecord,
    KernelFacts,
    OpenSSLSpeed,
    OperationResult,
    OperationTimes,
    ThreadResult,
)
from tests.recording.made import starting_record


def benchmark(index: int, factor: float = 1.0, *, status: str = "complete") -> CryptoRecord:
    """A benchmark of one operation in two batch sizes, and of one side."""
    operations = [
        OperationResult(
            operation="unwrap_key",
            backend="openssl",
            batch_size=size,
            wall=OperationTimes(count=100, p50_ns=round(90_000 * factor)),
            cpu_ns=(88_000 + 10 * index) * factor,
            per_s_per_core=11_000.0,
            ratio_to_openssl=None,
            ratio_ci=None,
        )
        for size in (1, 16)
    ]
    side = ThreadResult(
        side="device",
        backend="openssl",
        batch_size=16,
        threads=2,
        handshakes_per_s=9_000.0,
        handshakes_per_cpu_s=(4_500.0 - index) / factor,
    )
    return CryptoRecord(
        id=f"{index:08x}",
        label=None,
        status=status,  # type: ignore[arg-type]
        started_at="2026-01-02T03:04:05.000Z",
        duration_s=1.0,
        quick=True,
        rounds=3,
        backends=["openssl"],
        environment=starting_record().environment,
        kernel=KernelFacts(),
        operations=operations,
        threads=[side],
        openssl_speed=OpenSSLSpeed(),
    )


def test_metrics_and_family() -> None:
    values = values_of_crypto(benchmark(0), "results/crypto")
    assert values.values["unwrap_key openssl x16 cpu"] == 88.0
    assert values.values["unwrap_key openssl x1 p50"] == 90.0
    assert "unwrap_key openssl x1 p99" not in values.values
    assert values.units["device openssl x2 handshakes"] == "per_s"
    assert crypto_family(values.values) == ("unwrap_key openssl x16 cpu",)
    assert values_of_crypto(benchmark(0, status="interrupted"), "x").problem == "the benchmark was interrupted"


def test_slower_backend_is_found() -> None:
    base = [values_of_crypto(benchmark(index), "base") for index in range(6)]
    new = [values_of_crypto(benchmark(index + 50, 1.1), "new") for index in range(6)]
    family = (*crypto_family(base[0].values), "device openssl x2 handshakes")
    comparison = compare(base, new, Settings(family=family), np.random.default_rng(1))
    assert [row.verdict for row in comparison.rows[:2]] == ["slower", "slower"]
    assert comparison.rows[1].change is not None
    assert comparison.rows[1].change < 0
