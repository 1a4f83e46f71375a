"""What a crypto benchmark says, computed once as text, and its rendering as tables. Pure but for the stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, TextIO

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from loadgen.clock import NS_PER_US
from loadgen.recording.crypto_record import CryptoRecord, OperationResult, OperationTimes
from loadgen.report.summary import NO_VALUE
from loadgen.report.terminal import console_for, fit, plain_text
from loadgen.units import format_count, format_number_of, format_percent, format_rate

SIDE_NAMES: Final = {"device_side": "device", "cloud_side": "cloud"}
"""Operation → how the table of the sides calls it."""

COMPARED_SIZE: Final = 16
"""Batch size of the ratios, if it was measured: lanes are full in it, and its samples are many."""

_WIDE_FROM: Final = 116
_NARROW_SIZES: Final = frozenset({1, 8, 16, 64})
_NARROW_THREADS: Final = 4
_SPEED_ROWS: Final = (
    ("RSA-1024 private", 1024, "sign_per_s", "rsa1024_private"),
    ("RSA-2048 private", 2048, "sign_per_s", "rsa2048_private"),
    ("RSA-2048 public", 2048, "verify_per_s", "encrypt_nonce"),
)
"""Title, key size, field of ``openssl speed``, and our operation that is little else."""


@dataclass(frozen=True, slots=True)
class TableRow:
    """Cells of a row; ``best`` where its backend is faster than OpenSSL."""

    cells: tuple[str, ...]
    best: bool = False


@dataclass(frozen=True, slots=True)
class CryptoTable:
    """One table: ``left`` columns of names, then numbers. ``narrow`` are the columns for little room."""

    title: str
    head: tuple[str, ...]
    rows: tuple[TableRow, ...]
    left: int
    narrow: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CryptoSummary:
    """Everything that a report of one benchmark shows, as text."""

    headline: str
    tables: tuple[CryptoTable, ...]
    notes: tuple[str, ...]
    record_path: str


def summarise_crypto(record: CryptoRecord, path: str) -> CryptoSummary:
    """The tables and notes of a record.

    Args:
        record: the benchmark.
        path: its folder, as the user knows it.
    """
    environment = record.environment
    cores = format_number_of(environment.cores, "core")
    what = " and ".join(record.backends)
    headline = f"Crypto of the handshake on {environment.cpu_model}, {cores}: {what}, {record.duration_s:.1f} s"
    if record.status == "interrupted":
        headline += ", interrupted"
    tables = [
        _sides(record),
        _operations(record),
        _threads(record),
        _beside_openssl(record),
        _sizing(record),
    ]
    return CryptoSummary(headline, tuple(table for table in tables if table.rows), tuple(_notes(record)), path)


def _sizes(results: Iterable[OperationResult]) -> list[int]:
    return sorted({result.batch_size for result in results})


def _compared(record: CryptoRecord) -> int:
    """The batch size of the ratios."""
    sizes = _sizes(record.operations)
    return COMPARED_SIZE if COMPARED_SIZE in sizes else max(sizes, default=1)


def _grid(record: CryptoRecord, sides: bool) -> Iterable[tuple[str, str, dict[int, OperationResult]]]:
    """(operation, backend, batch size → result), in the record's order; of the sides, or of everything else."""
    found: dict[tuple[str, str], dict[int, OperationResult]] = {}
    for result in record.operations:
        if (result.operation in SIDE_NAMES) == sides:
            found.setdefault((result.operation, result.backend), {})[result.batch_size] = result
    return ((operation, backend, by_size) for (operation, backend), by_size in found.items())


def _ratio(result: OperationResult | None) -> str:
    """Times OpenSSL; nothing for OpenSSL itself."""
    if result is None or result.ratio_to_openssl is None or result.backend == "openssl":
        return ""
    return f"{result.ratio_to_openssl:.2f} ×"


def _interval(result: OperationResult | None) -> str:
    if result is None or result.ratio_ci is None or result.backend == "openssl":
        return ""
    low, high = result.ratio_ci
    return f"{low:.2f}–{high:.2f}"


def _is_better(result: OperationResult | None) -> bool:
    return result is not None and result.backend != "openssl" and (result.ratio_to_openssl or 0) > 1


def _narrow(sizes: Sequence[int], left: int, *more: int) -> tuple[int, ...]:
    kept = [left + number for number, size in enumerate(sizes) if size in _NARROW_SIZES]
    return (*range(left), *kept, *more)


def _sides(record: CryptoRecord) -> CryptoTable:
    sizes, compared = _sizes(record.operations), _compared(record)
    rows = []
    for operation, backend, by_size in _grid(record, sides=True):
        numbers = [by_size[size].per_s_per_core if size in by_size else None for size in sizes]
        result = by_size.get(compared)
        cells = [NO_VALUE if number is None else format_count(round(number)) for number in numbers]
        row = (SIDE_NAMES[operation], backend, *cells, _ratio(result), _interval(result))
        rows.append(TableRow(row, _is_better(result)))
    after = 2 + len(sizes)
    return CryptoTable(
        f"Handshakes per second and core, by batch size (ratio to OpenSSL at {compared})",
        ("side", "backend", *map(str, sizes), "ratio", "95 %"),
        tuple(rows),
        2,
        _narrow(sizes, 2, after, after + 1),
    )


def _microseconds(ns: float | None) -> str:
    if ns is None:
        return NO_VALUE
    value = ns / NS_PER_US
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 1000 else format_count(round(value))


def _operations(record: CryptoRecord) -> CryptoTable:
    sizes, compared = _sizes(record.operations), _compared(record)
    rows = []
    for operation, backend, by_size in _grid(record, sides=False):
        result = by_size.get(compared) or by_size.get(1)
        times = OperationTimes() if result is None else result.wall
        cells = [_microseconds(by_size[size].cpu_ns) if size in by_size else "" for size in sizes]
        wall = [_microseconds(value) for value in (times.p50_ns, times.p90_ns, times.p99_ns)]
        row = (operation, backend, *cells, _ratio(result), _interval(result), *wall)
        rows.append(TableRow(row, _is_better(result)))
    after = 2 + len(sizes)
    return CryptoTable(
        f"µs of CPU time per operation, by batch size (ratio and wall time at {compared})",
        ("operation", "backend", *map(str, sizes), "ratio", "95 %", "wall p50", "p90", "p99"),
        tuple(rows),
        2,
        _narrow(sizes, 2, after),
    )


def _threads(record: CryptoRecord) -> CryptoTable:
    counts = sorted({result.threads for result in record.threads})
    found = {(result.side, result.backend, result.threads): result for result in record.threads}
    rows = []
    for side, backend in dict.fromkeys((result.side, result.backend) for result in record.threads):
        results = [found[side, backend, count] for count in counts]
        cells = [format_count(round(result.handshakes_per_s)) for result in results]
        per_core = format_count(round(results[-1].handshakes_per_cpu_s))
        rows.append(TableRow((side, backend, *cells, per_core), backend != "openssl"))
    shown = [2 + counts.index(count) for count in (*counts[: _NARROW_THREADS - 1], *counts[-1:])]
    return CryptoTable(
        "Handshakes per second of all threads together, by number of threads",
        ("side", "backend", *map(str, counts), "per CPU-second"),
        tuple(rows),
        2,
        (0, 1, *dict.fromkeys(shown), 2 + len(counts)),
    )


def _beside_openssl(record: CryptoRecord) -> CryptoTable:
    """Our RSA beside that of the program; operations/s of one core."""
    speed = {result.bits: result for result in record.openssl_speed.results}
    size, version = _compared(record), " ".join(record.openssl_speed.version.split()[:2])
    found = {
        (result.operation, result.backend): result.per_s_per_core
        for result in record.operations
        if result.batch_size == size and result.per_s_per_core is not None
    }
    rows = []
    for title, bits, field, operation in _SPEED_ROWS:
        if bits not in speed:
            continue
        program: float = getattr(speed[bits], field)
        for backend in record.backends:
            ours = found.get((operation, backend))
            cells = (NO_VALUE, NO_VALUE) if ours is None else (format_count(round(ours)), f"{ours / program:.2f} ×")
            rows.append(TableRow((title, backend, format_count(round(program)), *cells), (ours or 0) > program))
    return CryptoTable(
        f"Operations per second and core beside `openssl speed` ({version})",
        ("operation", "backend", "openssl speed", "here", "ratio"),
        tuple(rows),
        2,
        (0, 1, 2, 3, 4),
    )


def _sizing(record: CryptoRecord) -> CryptoTable:
    sizing = record.sizing
    if sizing is None:
        return CryptoTable("", (), (), 0, ())
    rows = tuple(
        TableRow(
            (
                row.side,
                row.backend,
                format_count(round(row.handshakes_per_core_s)),
                f"{row.cores:,.2f}",
                format_count(row.cores_planned),
            ),
            row.backend != "openssl",
        )
        for row in sizing.rows
    )
    return CryptoTable(
        f"Cores of this CPU for {format_rate(sizing.rate_per_s)} handshakes, cryptography alone",
        ("side", "backend", "per core and s", "fully busy", f"at {format_percent(sizing.planned_utilisation)} busy"),
        rows,
        2,
        (0, 1, 2, 3, 4),
    )


def _notes(record: CryptoRecord) -> Iterable[str]:
    kernel = record.kernel
    if kernel.problem is not None:
        yield f"Only OpenSSL was measured: {kernel.problem}."
    elif kernel.break_even:
        sizes = ", ".join(
            f"{operation} {size}" if size <= kernel.lanes else f"{operation} never"
            for operation, size in kernel.break_even.items()
        )
        yield f"--crypto auto uses the native kernel from these batch sizes on: {sizes}."
    if record.openssl_speed.missing:
        yield record.openssl_speed.missing
    if any(result.wall.p50_ns is None for result in record.operations):
        yield "– stands for too few samples; a longer --duration gives more."


def write_crypto(summary: CryptoSummary, stream: TextIO, width: int | None = None) -> None:
    """Render ``summary`` on ``stream``.

    Args:
        summary: what to show.
        stream: a terminal, a pipe or a file.
        width: columns; None asks the terminal, 80 where there is none.
    """
    console = console_for(stream, width)
    with console.capture() as capture:
        for part in _parts(summary, console.width):
            console.print(part)
        console.print(Text.assemble(("Record  ", "dim"), plain_text(summary.record_path)), soft_wrap=True)
    lines = (line.rstrip(" ") for line in capture.get().split("\n"))
    stream.write(fit("\n".join(lines), stream.encoding))


def _parts(summary: CryptoSummary, width: int) -> Iterable[RenderableType]:
    yield Text(plain_text(summary.headline))
    yield ""
    for table in summary.tables:
        yield Text(plain_text(table.title), style="bold")
        yield _rendered(table, width)
        yield ""
    for note in summary.notes:
        yield Text(plain_text(note), style="dim")


def _rendered(table: CryptoTable, width: int) -> Table:
    columns = tuple(range(len(table.head))) if width >= _WIDE_FROM else table.narrow
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in columns:
        shown.add_column(table.head[column], justify="left" if column < table.left else "right", no_wrap=True)
    before = None
    for row in table.rows:
        if before not in (None, row.cells[0]):
            shown.add_row()
        before = row.cells[0]
        shown.add_row(*(Text(row.cells[column]) for column in columns), style="green" if row.best else "")
    return shown
