"""Records of crypto benchmarks made by hand."""

from __future__ import annotations

from loadgen.cryptobench import PROTOCOL_OPERATIONS, RAW_OPERATIONS, SIDES, SIZES, size_for
from loadgen.recording.crypto_record import (
    CryptoRecord,
    KernelFacts,
    OpenSSLSpeed,
    OperationResult,
    OperationTimes,
    SpeedResult,
    ThreadResult,
)
from loadgen.recording.record import Environment

_COST_NS = {
    "device_side": (146_000, 27_000),
    "cloud_side": (535_000, 254_000),
    "encrypt_nonce": (19_500, 3_900),
    "unwrap_key": (113_000, 22_500),
    "decrypt_nonce": (252_000, 124_000),
    "wrap_key": (268_000, 127_000),
    "seal": (4_100, 80),
    "open": (3_800, 100),
    "rsa1024_private": (88_000, 18_500),
    "rsa2048_private": (250_000, 124_000),
}
"""CPU time of one operation: on OpenSSL, and in full lanes."""


def _result(operation: str, backend: str, size: int) -> OperationResult:
    openssl_ns, full_ns = _COST_NS[operation]
    single = operation in ("seal", "open")
    native_ns = full_ns if single else full_ns * 8 / min(size, 8)
    cpu_ns = float(openssl_ns if backend == "openssl" else native_ns)
    ratio = round(openssl_ns / cpu_ns, 3)
    count = 4_000 // size
    return OperationResult(
        operation=operation,
        backend=backend,
        batch_size=size,
        wall=OperationTimes(
            count=count,
            min_ns=round(cpu_ns * 0.9),
            mean_ns=cpu_ns,
            p50_ns=round(cpu_ns * 0.98),
            p90_ns=round(cpu_ns * 1.2),
            p99_ns=round(cpu_ns * 1.9) if count >= 1_000 else None,
            max_ns=round(cpu_ns * 7),
            p50_ci_ns=(round(cpu_ns * 0.97), round(cpu_ns * 0.99)),
        ),
        cpu_ns=cpu_ns,
        per_s_per_core=round(1e9 / cpu_ns, 1),
        ratio_to_openssl=ratio,
        ratio_ci=(round(ratio * 0.97, 3), round(ratio * 1.04, 3)),
    )


def _threads(backends: list[str], counts: tuple[int, ...]) -> list[ThreadResult]:
    results = []
    for side, operation in SIDES.items():
        for backend in backends:
            per_core = 1e9 / _COST_NS[operation][backend != "openssl"]
            results += [
                ThreadResult(
                    side=side,
                    backend=backend,
                    batch_size=16,
                    threads=count,
                    handshakes_per_s=round(per_core * count * 0.97, 1),
                    handshakes_per_cpu_s=round(per_core * 0.98, 1),
                )
                for count in counts
            ]
    return results


def _record(backends: list[str], kernel: KernelFacts, counts: tuple[int, ...]) -> CryptoRecord:
    operations = [
        _result(operation, backend, size)
        for operation in (*SIDES.values(), *PROTOCOL_OPERATIONS, *RAW_OPERATIONS)
        for size in ((1,) if operation in ("seal", "open") else SIZES)
        for backend in backends
    ]
    return CryptoRecord(
        id="1a2b3c4d",
        label=None,
        status="complete",
        started_at="2025-01-02T03:04:05.678Z",
        duration_s=17.9,
        quick=False,
        rounds=24,
        backends=backends,
        environment=Environment(
            loadgen="0.1.0",
            git=None,
            python="CPython 3.12.1",
            openssl="of cryptography 46.0.3",
            cpu_model="AMD EPYC 9B14",
            cores=max(counts),
            kernel="Linux 6.1.0",
            isa=["avx512f", "avx512ifma"],
            crypto_backend="+".join(backends),
            timestamps="none",
            engine="none",
        ),
        kernel=kernel,
        operations=operations,
        threads=_threads(backends, counts),
        openssl_speed=OpenSSLSpeed(missing="The program openssl is not installed."),
    )


def full_record() -> CryptoRecord:
    """Both backends on 16 cores, with everything."""
    sizes = {"encrypt_nonce": 2, "unwrap_key": 2, "decrypt_nonce": 5, "wrap_key": 9}
    record = _record(["openssl", "native"], KernelFacts(break_even=sizes, lanes=8), (1, 2, 4, 8, 16))
    record.label = "zen4"
    record.openssl_speed = OpenSSLSpeed(
        version="OpenSSL 3.0.19 27 Jan 2026 (Library: OpenSSL 3.0.19 27 Jan 2026)",
        results=[
            SpeedResult(bits=1024, sign_per_s=11_357.6, verify_per_s=193_711.9),
            SpeedResult(bits=2048, sign_per_s=3_926.1, verify_per_s=54_676.2),
        ],
    )
    record.sizing = size_for(50_000.0, record.threads)
    return record


def openssl_record() -> CryptoRecord:
    """A machine of one core without the kernel, and a measurement that was cut short."""
    record = _record(["openssl"], KernelFacts(problem="the native extension is not built"), (1,))
    record.status = "interrupted"
    record.duration_s = 3.2
    record.operations = [result for result in record.operations if result.batch_size <= 8]
    last = record.operations[-1]
    last.wall, last.cpu_ns, last.per_s_per_core = OperationTimes(), None, None
    last.ratio_to_openssl = last.ratio_ci = None
    return record
