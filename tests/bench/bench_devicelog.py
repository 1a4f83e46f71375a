"""How fast device logs are imported: ``python -m tests.bench.bench_devicelog [LINES]``, 100,000 by default.

Two logs: attempts alone, whose texts come again and again, and attempts between lines of an application that are all
different. Each is to be read and made a record of in under 2 s.
"""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory

from loadgen import clock
from loadgen.diagnosis.devicelog import parse_device_log
from loadgen.diagnosis.devicelog_record import import_logs
from tests.diagnosis.logs import Script

LIMIT_S = 2.0


def main(lines: int) -> int:
    """Print what each log took; 1 if one took too long."""
    script = Script("1.5.2")
    at_ms = 0
    while len(script.lines) < lines:
        script.attempt(at_ms)
        at_ms += 60_000
    mixed = (
        text
        for number, line in enumerate(script.lines)
        for text in (line, f"{line[:10]} [app] INFO: sample {number} at {number * 7919 % 10007}")
    )
    logs = {"attempts alone": script.lines[:lines], "with an application": list(islice(mixed, lines))}
    slow = 0
    for name, written in logs.items():
        data = "\r\n".join(written).encode()
        begin_ns = clock.monotonic_ns()
        log = parse_device_log(data, name)
        with TemporaryDirectory() as results:
            import_logs([log], Path(results), None)
        took_s = (clock.monotonic_ns() - begin_ns) / clock.NS_PER_S
        print(f"{name}: {log.counts['lines']:,} lines, {len(log.attempts):,} attempts in {took_s:.2f} s")
        slow |= took_s > LIMIT_S
    return slow


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000))
