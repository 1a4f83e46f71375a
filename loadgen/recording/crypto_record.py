"""The types of a crypto benchmark's record, ``loadgen/crypto/1``.

``results/README.md`` describes every field for users. The rules are those of the run record: fields may be added with
a default, and are never renamed or given another meaning under the same schema.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from loadgen.recording.histogram import Histogram
from loadgen.recording.record import Environment

CRYPTO_SCHEMA: Final = "loadgen/crypto/1"

Side: TypeAlias = Literal["device", "cloud"]

_PERCENTILES: Final = {"p50_ns": 0.5, "p90_ns": 0.9, "p99_ns": 0.99}


class OperationTimes(msgspec.Struct, kw_only=True):
    """Wall time of one operation within its batch, own overhead subtracted. In ns, null without (enough) samples."""

    count: int = 0
    """Samples: batches that were timed, or groups of them where one is too short to be timed alone."""
    min_ns: int | None = None
    mean_ns: float | None = None
    p50_ns: int | None = None
    p90_ns: int | None = None
    p99_ns: int | None = None
    max_ns: int | None = None
    p50_ci_ns: tuple[int, int] | None = None


class OperationResult(msgspec.Struct, kw_only=True):
    """One operation on one backend in batches of one size."""

    operation: str
    backend: str
    batch_size: int
    wall: OperationTimes
    cpu_ns: float | None
    """CPU time of one operation: median over the rounds."""
    per_s_per_core: float | None
    """1 s ÷ ``cpu_ns``."""
    ratio_to_openssl: float | None
    """CPU time of OpenSSL ÷ that of this backend, for the same batch: median over the rounds."""
    ratio_ci: tuple[float, float] | None
    """Its 95 % confidence interval from order ranks; null with fewer than 6 rounds."""


class ThreadResult(msgspec.Struct, kw_only=True):
    """One whole side of a handshake on several threads at once."""

    side: Side
    backend: str
    batch_size: int
    threads: int
    handshakes_per_s: float
    """All threads together, by the wall clock."""
    handshakes_per_cpu_s: float
    """By the threads' CPU time: what a core does while so many are busy."""


class SpeedResult(msgspec.Struct, kw_only=True):
    """What ``openssl speed`` says of one key size, on one core."""

    bits: int
    sign_per_s: float
    verify_per_s: float


class OpenSSLSpeed(msgspec.Struct, kw_only=True):
    """The program ``openssl`` of this machine; it may be another version than the library in use."""

    version: str = ""
    results: list[SpeedResult] = []
    missing: str = ""
    """Why there are no results, a sentence; else empty."""


class KernelFacts(msgspec.Struct, kw_only=True):
    """The native kernel."""

    problem: str | None = None
    """Why it is not used, or null."""
    break_even: dict[str, int] = {}
    """Operation → batch size from which on ``--crypto auto`` uses it; more than ``lanes``: never."""
    lanes: int = 0


class SizingRow(msgspec.Struct, kw_only=True):
    """Cores for one side on one backend."""

    side: Side
    backend: str
    handshakes_per_core_s: float
    cores: float
    """With every core busy with nothing but this cryptography."""
    cores_planned: int
    """Whole cores with each of them used by ``planned_utilisation`` at most."""


class Sizing(msgspec.Struct, kw_only=True):
    """The answer to ``--sizing``."""

    rate_per_s: float
    planned_utilisation: float
    threads_measured: int
    """The figures are those of so many cores busy at one time."""
    rows: list[SizingRow]


class CryptoRecord(msgspec.Struct, kw_only=True):
    """The whole of ``crypto.json``."""

    schema: str = CRYPTO_SCHEMA
    id: str
    label: str | None
    status: Literal["complete", "interrupted"]
    started_at: str
    duration_s: float
    quick: bool
    rounds: int
    backends: list[str]
    environment: Environment
    kernel: KernelFacts
    operations: list[OperationResult]
    threads: list[ThreadResult]
    openssl_speed: OpenSSLSpeed
    sizing: Sizing | None = None


def operation_times(histogram: Histogram) -> OperationTimes:
    """Everything that a record says of one histogram of ns per operation."""
    times = OperationTimes(
        count=histogram.count,
        min_ns=histogram.min_ns,
        mean_ns=None if histogram.mean_ns is None else round(histogram.mean_ns, 1),
        max_ns=histogram.max_ns,
        p50_ci_ns=histogram.percentile_ci_ns(0.5),
    )
    for name, quantile in _PERCENTILES.items():
        setattr(times, name, histogram.percentile_ns(quantile))
    return times
