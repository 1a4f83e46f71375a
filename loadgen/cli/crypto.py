"""``loadgen crypto``: what the handshake's cryptography costs on this machine."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from loadgen import clock, cryptobench
from loadgen.cli import machine, prepare
from loadgen.cli.messages import show_warning
from loadgen.cli.options import json_option, quiet_option
from loadgen.cli.output import write_json
from loadgen.cli.progress import fleet_progress
from loadgen.cli.signals import on_interrupt
from loadgen.config.resolve import CRYPTO_CHOICES, DEFAULT_OUT
from loadgen.config.values import read_choice, read_count, read_duration, read_label, read_path, read_rate
from loadgen.crypto import backends
from loadgen.crypto.base import CryptoBackend
from loadgen.crypto.openssl import library_version
from loadgen.cryptostore import encode_crypto_record, write_crypto_record
from loadgen.errors import ExitCode, UsageError
from loadgen.recording.crypto_record import CryptoRecord, KernelFacts, OpenSSLSpeed, OperationResult, ThreadResult
from loadgen.recording.record import utc_text
from loadgen.report.crypto import summarise_crypto, write_crypto
from loadgen.store import environment, new_id

DURATION_NS: Final = 18 * clock.NS_PER_S
QUICK_NS: Final = 1_700 * clock.NS_PER_MS
SHORTEST_NS: Final = 1 * clock.NS_PER_S
_LEAST_SHARE: Final = 0.4
"""Of the duration, that is left for the operations whatever the rest has taken."""
_OPERATION_NAMES: Final = {
    "EncryptNonce": "encrypt_nonce",
    "UnwrapKey": "unwrap_key",
    "DecryptNonce": "decrypt_nonce",
    "WrapKey": "wrap_key",
}


@dataclass(frozen=True)
class _Wanted:
    """The options, read."""

    crypto: str
    quick: bool
    duration_ns: int
    threads: int
    sizing_per_s: float | None
    out: str
    label: str | None

    @property
    def sizes(self) -> tuple[int, ...]:
        """Batch sizes."""
        return cryptobench.QUICK_SIZES if self.quick else cryptobench.SIZES


@dataclass(frozen=True)
class _Measured:
    """What came out, and when it was measured on CLOCK_MONOTONIC."""

    begin_ns: int
    end_ns: int
    rounds: int
    operations: list[OperationResult]
    threads: list[ThreadResult]
    speed: OpenSSLSpeed


@click.command("crypto")
@click.option("--crypto", metavar="auto|openssl|native", help="What to measure beside OpenSSL. [auto: all there is]")
@click.option(
    "--quick", is_flag=True, help="A first look in two seconds: fewer batch sizes, and not the program openssl."
)
@click.option("--duration", metavar="D", help="Time for everything. [18s, with --quick 1.7s]")
@click.option("--threads", metavar="N", help="Most threads at one time. [one per core]")
@click.option("--sizing", metavar="R", help="Say how many cores either side needs for this rate, such as 50000/s.")
@click.option("--out", metavar="DIR", help="Parent folder of the record. [results]")
@click.option("--label", metavar="NAME", help="Part of the record's name.")
@json_option
@quiet_option
def command(**values: Any) -> ExitCode:
    """Measure every cryptographic operation of the handshake, and both of its sides.

    On each backend of this machine, by batch size and by number of threads, beside `openssl speed` where that is
    installed. Leave the machine alone meanwhile: other work makes everything slower, though ratios stay right.
    """
    wanted = _read(values)
    prepare.check_results_folder(wanted.out)
    makers, kernel = _backends(wanted.crypto)
    if kernel.problem is not None and wanted.crypto == "auto" and not values["quiet"]:
        show_warning(f"Only OpenSSL is measured: {kernel.problem}.")
    stops: list[None] = []
    with on_interrupt(lambda: stops.append(None)), fleet_progress("Measuring", quiet=values["quiet"]) as progress:

        def goes_on(done: float) -> bool:
            progress(round(done * 100), 100)
            return not stops

        measured = _measure(wanted, makers, goes_on)
    record = _record(wanted, kernel, list(makers), measured)
    if stops:
        record.status = "interrupted"
    folder = write_crypto_record(Path(wanted.out), record)
    if values["as_json"]:
        write_json(encode_crypto_record(record).rstrip())
    else:
        write_crypto(summarise_crypto(record, str(folder)), sys.stdout)
    return ExitCode.INTERRUPTED if stops else ExitCode.OK


def _read(values: Mapping[str, Any]) -> _Wanted:
    quick = values["quick"]
    duration_ns = QUICK_NS if quick else DURATION_NS
    if values["duration"] is not None:
        duration_ns = read_duration(values["duration"], "--duration", zero=False)
        if duration_ns < SHORTEST_NS:
            raise UsageError(
                "is too short for a measurement", where="--duration", remedy="Give a second or more; --quick takes two."
            )
    return _Wanted(
        crypto=read_choice(values["crypto"] or "auto", "--crypto", CRYPTO_CHOICES),
        quick=quick,
        duration_ns=duration_ns,
        threads=machine.allowed_cores() if values["threads"] is None else read_count(values["threads"], "--threads"),
        sizing_per_s=None if values["sizing"] is None else float(read_rate(values["sizing"], "--sizing")),
        out=DEFAULT_OUT if values["out"] is None else read_path(values["out"], "--out"),
        label=None if values["label"] is None else read_label(values["label"], "--label"),
    )


def _backends(choice: str) -> tuple[dict[str, Callable[[], CryptoBackend]], KernelFacts]:
    """What is measured: name → makes the backend; and what is known of the kernel.

    Raises:
        UsageError: the kernel was asked for and cannot be used.
    """
    names = ["openssl"]
    if choice == "native":
        backends.select_backend("native")
        names.append("native")
    elif choice == "auto":
        names = [name for name in backends.available() if name != "auto"]
    found = backends.kernel()
    kernel = KernelFacts(problem=found.problem)
    if "native" in names:
        sizes = backends.break_even()
        kernel.break_even = {_OPERATION_NAMES[operation.__name__]: size for operation, size in sizes.items()}
        kernel.lanes = backends.select_backend("native")[0].lanes
    return {name: partial(_backend, name) for name in names}, kernel


def _backend(name: str) -> CryptoBackend:
    return backends.select_backend(name)[0]


def _measure(
    wanted: _Wanted, makers: Mapping[str, Callable[[], CryptoBackend]], progress: cryptobench.Progress
) -> _Measured:
    """Everything within the duration, as far as the machine is fast enough for that."""
    begin_ns = clock.monotonic_ns()
    speed = OpenSSLSpeed(missing="The program openssl was not measured.")
    if not wanted.quick and wanted.duration_ns >= DURATION_NS:
        speed = cryptobench.openssl_speed()
    material = cryptobench.Material(max(*wanted.sizes, cryptobench.THREAD_BATCH))
    make_workload = {name: partial(_workload, make, material) for name, make in makers.items()}
    cells = cryptobench.make_cells({name: make() for name, make in make_workload.items()}, wanted.sizes)
    for_threads_ns = round(wanted.duration_ns * cryptobench.THREAD_SHARE)
    left_ns = wanted.duration_ns - for_threads_ns - (clock.monotonic_ns() - begin_ns)
    rounds = cryptobench.measure_operations(
        cells,
        max(left_ns, round(wanted.duration_ns * _LEAST_SHARE)),
        progress=lambda done: progress(done * (1 - cryptobench.THREAD_SHARE)),
    )
    threads = cryptobench.measure_threads(
        make_workload,
        cryptobench.thread_counts(wanted.threads, quick=wanted.quick),
        for_threads_ns,
        progress=lambda done: progress(1 - cryptobench.THREAD_SHARE * (1 - done)),
    )
    operations = cryptobench.operation_results(cells)
    return _Measured(begin_ns, clock.monotonic_ns(), rounds, operations, threads, speed)


def _record(wanted: _Wanted, kernel: KernelFacts, names: list[str], measured: _Measured) -> CryptoRecord:
    began_ago_ns = clock.monotonic_ns() - measured.begin_ns
    return CryptoRecord(
        id=new_id(),
        label=wanted.label,
        status="complete",
        started_at=utc_text(clock.wall_ns() - began_ago_ns),
        duration_s=round((measured.end_ns - measured.begin_ns) / clock.NS_PER_S, 3),
        quick=wanted.quick,
        rounds=measured.rounds,
        backends=names,
        environment=environment(
            openssl=library_version(),
            crypto_backend="+".join(names),
            timestamps="none",
            engine="none",
        ),
        kernel=kernel,
        operations=measured.operations,
        threads=measured.threads,
        openssl_speed=measured.speed,
        sizing=None if wanted.sizing_per_s is None else cryptobench.size_for(wanted.sizing_per_s, measured.threads),
    )


def _workload(make: Callable[[], CryptoBackend], material: cryptobench.Material) -> cryptobench.Workload:
    return cryptobench.Workload(make(), material)
