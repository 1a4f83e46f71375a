"""What one crypto benchmark contributes to a comparison, in the form that runs have too."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from loadgen.analysis.runvalues import RunValues, machine_facts
from loadgen.clock import NS_PER_US
from loadgen.recording.crypto_record import CryptoRecord, OperationResult

SCENARIO: Final = "crypto"
"""Stands for the scenario, which a benchmark has not, in the key of a baseline."""


def values_of_crypto(record: CryptoRecord, shown: str) -> RunValues:
    """The numbers of a benchmark.

    For each operation, backend and batch size ``<operation> <backend> x<size>`` with ``cpu`` (CPU time of one
    operation), ``p50`` and ``p99`` (wall time), in µs; for each side ``<side> <backend> x<threads> handshakes`` per
    second of CPU.
    """
    values: dict[str, float] = {}
    units: dict[str, str] = {}
    for result in record.operations:
        name = _name(result)
        for statistic, value_ns in (
            ("cpu", result.cpu_ns),
            ("p50", result.wall.p50_ns),
            ("p99", result.wall.p99_ns),
        ):
            if value_ns is not None:
                values[f"{name} {statistic}"], units[f"{name} {statistic}"] = value_ns / NS_PER_US, "us"
    for threads in record.threads:
        name = f"{threads.side} {threads.backend} x{threads.threads} handshakes"
        values[name], units[name] = threads.handshakes_per_cpu_s, "per_s"
    return RunValues(
        id=record.id,
        shown=shown,
        started_at=record.started_at,
        label=record.label,
        schema=record.schema,
        facts=_facts(record),
        values=values,
        units=units,
        problem="" if record.status == "complete" else "the benchmark was interrupted",
    )


def crypto_family(metrics: Iterable[str]) -> tuple[str, ...]:
    """What verdicts are given for: CPU time of each operation on each backend, in the largest batch measured."""
    largest: dict[str, tuple[int, str]] = {}
    for metric in metrics:
        head, _, statistic = metric.rpartition(" ")
        name, _, size = head.rpartition(" x")
        if statistic == "cpu" and size.isdigit():
            largest[name] = max(largest.get(name, (0, "")), (int(size), metric))
    return tuple(metric for _, metric in largest.values())


def _name(result: OperationResult) -> str:
    return f"{result.operation} {result.backend} x{result.batch_size}"


def _facts(record: CryptoRecord) -> dict[str, str]:
    environment = record.environment
    return {
        "schema": record.schema,
        "scenario name": SCENARIO,
        "crypto backend": ", ".join(record.backends),
        **machine_facts(environment),
        "kernel": environment.kernel,
        "openssl": environment.openssl,
        "python": environment.python,
        "loadgen": environment.loadgen,
    }
