"""Device logs on a terminal, in a pipe, and as JSON. What is shown is found in :mod:`loadgen.diagnosis`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TextIO

import msgspec
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from loadgen.diagnosis.devicelog import DeviceLog, Outcome, Versions
from loadgen.diagnosis.logattempts import Attempt
from loadgen.protocol.stages import STAGE_BOUNDS, Stage
from loadgen.report.summary import NO_VALUE
from loadgen.report.terminal import console_for, fit, plain_text
from loadgen.units import format_count

SCHEMA: Final = "loadgen/devicelog/1"

_LOG_WIDTH: Final = 120
_WIDE_FROM: Final = 100
_STAGES: Final = tuple(stage for stage in STAGE_BOUNDS if stage is not Stage.SCHEDULE_LAG)
_NARROW_STAGES: Final = (Stage.CONNECT, Stage.NONCE, Stage.KEY, Stage.HELLO)
_FACT_WIDTH: Final = 9
_SHOWN_TESTIMONY: Final = 3
_OUTCOME_STYLE: Final = {Outcome.COMPLETED: "green", Outcome.FAILED: "red", Outcome.UNFINISHED: "yellow"}


def write_log(log: DeviceLog, stream: TextIO, width: int | None = None) -> None:
    """A log: its attempts as a table, then firmware, address and what was wrong with the file.

    Args:
        log: the log.
        stream: where to.
        width: columns; None asks the terminal, 120 where there is none.
    """
    if width is None and not stream.isatty():
        width = _LOG_WIDTH
    console = console_for(stream, width)
    with console.capture() as capture:
        for part in _parts(log, console.width):
            console.print(part)
    lines = (line.rstrip(" ") for line in capture.get().split("\n"))
    stream.write(fit("\n".join(lines), stream.encoding))


def _parts(log: DeviceLog, width: int) -> Iterable[RenderableType]:
    yield Text(f"{plain_text(log.name)}: {_headline(log)}", style="bold")
    if log.attempts:
        yield _attempts(log, width)
        yield Text(f"Times in ms, from the device's own stamps; {NO_VALUE}: this log does not tell.", style="dim")
    yield ""
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(no_wrap=True, style="dim", min_width=_FACT_WIDTH)
    facts.add_column(overflow="fold")
    for name, text in log_facts(log):
        facts.add_row(name, Text(plain_text(text)))
    yield facts
    for text in log_remarks(log):
        yield Text.assemble(("note: ", "cyan"), plain_text(text))


def _headline(log: DeviceLog) -> str:
    found = [f"{format_count(len(log.of(outcome)))} {outcome}" for outcome in Outcome if log.of(outcome)]
    attempts = f"{_count(len(log.attempts), 'attempt')} to connect" if log.attempts else "no attempt to connect"
    restarts = len(log.boots) - 1
    parts = [attempts, *found]
    if restarts:
        parts.append(_count(restarts, "restart"))
    return ", ".join(parts)


def _attempts(log: DeviceLog, width: int) -> Table:
    stages = _STAGES if width >= _WIDE_FROM else _NARROW_STAGES
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    several = len(log.boots) > 1
    for name in ("#", *(("boot",) if several else ()), "line", "at", *stages):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("ended", overflow="fold")
    for attempt in log.attempts:
        times = attempt.stages_ms
        cells = [str(attempt.number), *([str(attempt.boot)] if several else []), str(attempt.first_line)]
        cells.append(NO_VALUE if attempt.begun_ms is None else f"{attempt.begun_ms / 1000:,.3f}s")
        cells += [f"{times[stage]:,}" if stage in times else NO_VALUE for stage in stages]
        table.add_row(*map(Text, cells), Text(attempt_end(attempt), style=_OUTCOME_STYLE[attempt.outcome]))
    return table


def attempt_end(attempt: Attempt) -> str:
    """How an attempt ended, in few words."""
    if attempt.outcome is Outcome.COMPLETED:
        parts = ["completed"]
        if attempt.session_ms is not None:
            reason = f" ({attempt.session_reason})" if attempt.session_reason else ""
            parts.append(f"session of {attempt.session_ms / 1000:,.1f}s{reason}")
    elif attempt.outcome is Outcome.UNFINISHED:
        parts = ["unfinished"]
    else:
        where = "failed" if attempt.stage is None else f"{attempt.stage}/{attempt.reason}"
        parts = [where if attempt.device_code is None else f"{where} {attempt.device_code}"]
        if attempt.socket_code not in (None, attempt.device_code):
            parts.append(f"socket {attempt.socket_code}")
        if attempt.library_code is not None:
            parts.append(f"library {attempt.library_code}")
        if attempt.waited_ms is not None:
            parts.append(f"after {attempt.waited_ms:,} ms")
    if attempt.pause_ms is not None and attempt.outcome is not Outcome.COMPLETED:
        parts.append(f"next {attempt.pause_ms / 1000:,.1f}s later")
    return ", ".join(parts)


def log_facts(log: DeviceLog) -> list[tuple[str, str]]:
    """(name, text) of what a log says about the device."""
    facts = [("Firmware", _firmware(log.versions))]
    telling = log.versions.testimony[:_SHOWN_TESTIMONY]
    facts += [("", f'line {said.number}, "{said.text}": {said.versions}') for said in telling]
    addresses = dict.fromkeys(map(_address, log.attempts))
    facts += [("Address", text) for text in addresses if text]
    if any(attempt.address.key_restored for attempt in log.attempts):
        facts.append(("Key", "the server key was blank; the firmware used its built-in one"))
    counts = log.counts
    lines = f"{_count(counts['lines'], 'line')}, {format_count(counts['device'])} of a device"
    facts.append(("Lines", f"{lines}, {format_count(counts['understood'])} about its connection"))
    return facts


def _firmware(versions: Versions) -> str:
    if not versions.is_known:
        return "not told by these lines"
    played = f" (loadgen plays {', '.join(versions.profiles)})" if 0 < len(versions.profiles) <= 3 else ""
    return f"{versions.text}{played}, by its wording:" if versions.testimony else f"{versions.text}{played}"


def _address(attempt: Attempt) -> str:
    address = attempt.address
    parts = [address.text] if address.text else []
    if address.resolved and address.host and address.resolved != address.host:
        parts.append(f"at {address.resolved}")
    if address.type is not None:
        erased = ": the address record is erased, so the device goes to the vendor's cloud" if address.is_erased else ""
        parts.append(f"type:{address.type}{erased}")
    elif address.address_restored:
        parts.append("the address was blank; the firmware used its built-in one")
    if address.not_resolved:
        parts.append("the name could not be looked up")
    return ", ".join(parts)


def log_remarks(log: DeviceLog) -> list[str]:
    """What limits what a log says, one sentence each."""
    counts, remarks = log.counts, [repair.text for repair in log.repairs]
    for kind, one, many, what in (
        ("broken", "is a piece", "are pieces", "of a device's line"),
        ("interleaved", "holds", "hold", "two lines of the device"),
        (
            "garbled",
            "has",
            "have",
            "a garbled stamp, which was not used: the lines around it go on as if it were not there",
        ),
        ("unstamped", "has", "have", "no stamp of the device and gives no time"),
        ("host_stamped", "begins", "begin", "with the time stamp of a terminal program, which was left out"),
        ("foreign", "is", "are", "not of the firmware, such as what the application prints"),
        ("disordered", "was", "were", "printed in another order than stamped"),
        ("overlong", "has", "have", "more than a million characters; only the begin was read"),
    ):
        if counts[kind]:
            verb, which = (one, "it is") if counts[kind] == 1 else (many, "the first is")
            where = f"; {which} line {log.first_broken}" if kind == "broken" else ""
            remarks.append(f"{_count(counts[kind], 'line')} {verb} {what}{where}.")
    if log.cut_at_end:
        remarks.append("The log ends within a line.")
    wraps = sum(boot.wraps for boot in log.boots)
    if wraps:
        remarks.append(f"The device's clock began again at 0 (after 49.7 days) {_count(wraps, 'time')}.")
    if log.changed_firmware:
        remarks.append("No version can have written all of it: the firmware changed. Shown is that of the last start.")
    said = log.versions.contradiction
    if said is not None:
        remarks.append(
            f'Line {said.number}, "{said.text}", is of {said.versions or "no known version"}, unlike the lines before '
            "it: two devices in one log, or logs put together."
        )
    return remarks


def _count(number: int, noun: str) -> str:
    return f"{format_count(number)} {noun}{'' if number == 1 else 's'}"


# --- JSON


def log_document(log: DeviceLog) -> bytes:
    """One JSON document: everything that the table has, and the points in ms."""
    document = {
        "schema": SCHEMA,
        "log": log.name,
        "firmware": {
            "versions": log.versions.text,
            "name": log.versions.name,
            "profiles": log.versions.profiles,
            "changed": log.changed_firmware,
            "because": [
                {"line": said.number, "text": said.text, "versions": said.versions} for said in log.versions.testimony
            ],
        },
        "boots": [
            {
                "number": boot.number,
                "first_line": boot.first_line,
                "last_line": boot.last_line,
                "first_ms": boot.first_ms,
                "last_ms": boot.last_ms,
                "versions": boot.versions.text,
            }
            for boot in log.boots
        ],
        "attempts": [_built(attempt) for attempt in log.attempts],
        "lines": {"first_broken": log.first_broken or None, "cut_at_end": log.cut_at_end, **log.counts},
        "remarks": log_remarks(log),
    }
    return msgspec.json.encode(document)


def _built(attempt: Attempt) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(attempt)
    del built["steps"], built["points_ms"]
    built["points_ms"] = {point.name.lower(): at_ms for point, at_ms in sorted(attempt.points_ms.items())}
    built["stages_ms"] = {stage: attempt.stages_ms.get(stage) for stage in _STAGES}
    built["handshake_ms"], built["round_trip_ms"] = attempt.handshake_ms, attempt.round_trip_ms
    failed = attempt.failed_line
    built["failed_line"] = None if failed is None else {"line": failed.number, "text": failed.text}
    return built
