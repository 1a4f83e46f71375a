"""Cost of being looked at: ``python -m tests.bench.bench_dashboard [SECONDS] [RUNS]``.

One closed loop with ``--prometheus`` and ``--dashboard`` goes on for SECONDS, and is looked at in turns: by nobody, by
a scraper once a second, by five viewers of the live page, by both. The generator, its parent and the process of the
page share one core and leave nothing of it; the replaying cloud, the scraper and the viewers, a process each, are on
the others, as they would be elsewhere.

On a core without time to spare, what parent and page use is what the workers lack. So the cost of a way is the time
that the page's process uses in its turns, and what the parent uses more than in those in which nobody looks. Beside it
stands what was completed in each second by the run's own log, as a ratio to the turn of the same cycle in which nobody
looked (geometric mean, 95 % interval of Student's t on logarithms); turns are short, so that whatever else goes on on
this machine meets all alike, and the first second of each, in which viewers come or go, does not count. The limit is
3 % for both together.
"""

from __future__ import annotations

import math
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from loadgen.analysis.statistics import student_quantile
from loadgen.store import read_intervals
from tests.bench.harness import LOADGEN, Fleet, cloud, cores, free_port, make_fleet, on_cores, scratch

LIMIT = 0.03
VIEWERS = 5
TURN_S = 4
WAYS = {"nobody": (False, False), "scraped": (True, False), "followed": (False, True), "both": (True, True)}
"""(scraped every second, followed by viewers)."""

_VIEWER = """
import select, socket, sys
port, line, events = int(sys.argv[1]), None, 0
while True:
    ready, _, _ = select.select([0] if line is None else [0, line], [], [])
    if line in ready:
        try:
            data = line.recv(65536)
        except OSError:  # the run has ended
            data = b""
        events += data.count(b"\\ndata: ")
        if not data:
            line = None
    if 0 in ready:
        asked = sys.stdin.readline()
        if not asked:
            break
        if line is not None:
            line.close()
            line = None
        if asked == "follow\\n":
            try:
                line = socket.create_connection(("127.0.0.1", port), 30)
                line.sendall(b"GET /events HTTP/1.1\\r\\nHost: 127.0.0.1:%d\\r\\n\\r\\n" % port)
            except OSError:  # the run has ended
                line = None
print(events)
"""
_SCRAPER = """
import select, sys, urllib.request
asked, scrapes = "leave\\n", 0
while asked:
    if select.select([0], [], [], 1.0)[0]:
        asked = sys.stdin.readline()
    elif asked == "follow\\n":
        try:
            scrapes += bool(urllib.request.urlopen("http://127.0.0.1:%s/metrics" % sys.argv[1], timeout=10).read())
        except OSError:  # the run has ended
            continue
print(scrapes)
"""


@dataclass
class Turn:
    """Some seconds of a run in which it was looked at in one way. Wall-clock times, s."""

    way: str
    begin_s: float
    end_s: float
    parent_cores: float
    page_cores: float
    rates: list[int] = field(default_factory=list)
    """Completions of its full seconds but the first."""


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def page_of(parent: int) -> int:
    """The process that serves the page of a run."""
    for pid in map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split()):
        if b"dashboard.server" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return pid
    raise LookupError("the run has no page")


class Audience:
    """The scraper and the viewers, on the cloud's cores."""

    def __init__(self, metrics: int, page: int) -> None:
        self._scraper = _started(_SCRAPER, metrics)
        self._viewers = [_started(_VIEWER, page) for _ in range(VIEWERS)]

    def look(self, *, scraped: bool, followed: bool) -> None:
        """From now on in this way."""
        for process, does in ((self._scraper, scraped), *((viewer, followed) for viewer in self._viewers)):
            assert process.stdin is not None
            process.stdin.write("follow\n" if does else "leave\n")
            process.stdin.flush()

    def close(self) -> tuple[int, int]:
        """Go; returns scrapes, and events that were heard."""
        return int(self._scraper.communicate()[0]), sum(int(viewer.communicate()[0]) for viewer in self._viewers)


def _started(script: str, port: int) -> subprocess.Popen[str]:
    return on_cores(cores()[1], [sys.executable, "-I", "-c", script, str(port)], stdin=subprocess.PIPE)


def turns_of(port: int, fleet: Fleet, out: Path, seconds: float, shift: int) -> list[Turn]:
    """One run, looked at in turns."""
    metrics, page = free_port(), free_port()
    command = [*LOADGEN, "run", "--scenario", "ceiling", "--target", f"127.0.0.1:{port}", "--fleet", str(fleet.store),
               "--workers", "1", "--out", str(out), "-q", "--warmup", "2s", "--duration", f"{seconds:g}s",
               "--prometheus", f":{metrics}", "--dashboard", f":{page}"]  # fmt: skip
    audience = Audience(metrics, page)
    turns: list[Turn] = []
    process = on_cores(cores()[0], command, stderr=subprocess.DEVNULL)
    try:
        wait_for(f"http://127.0.0.1:{page}/")
        pages, ways = page_of(process.pid), [*WAYS][shift % 4 :] + [*WAYS][: shift % 4]
        ways += reversed(ways)  # what drifts in the course of a run meets all alike
        while process.poll() is None:
            way = ways[len(turns) % len(ways)]
            scraped, followed = WAYS[way]
            audience.look(scraped=scraped, followed=followed)
            begin_s, before = time.time(), (cpu_s(process.pid), cpu_s(pages))
            time.sleep(TURN_S)
            if process.poll() is None:
                spent = (cpu_s(process.pid) - before[0], cpu_s(pages) - before[1])
                passed_s = time.time() - begin_s
                turns.append(Turn(way, begin_s, begin_s + passed_s, spent[0] / passed_s, spent[1] / passed_s))
    except (OSError, LookupError):
        if process.poll() is None:
            raise
    process.communicate()
    scrapes, events = audience.close()
    print(f"{scrapes} scrapes, {events} events", flush=True)
    share_out(next(out.iterdir()), turns)
    return turns


def wait_for(url: str) -> None:
    """Until somebody answers there."""
    for _ in range(200):
        try:
            urllib.request.urlopen(url, timeout=10).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    sys.exit(f"nobody answers at {url}")


def share_out(record: Path, turns: Sequence[Turn]) -> None:
    """Give every turn its seconds."""
    for line in read_intervals(record):
        begin_s = datetime.fromisoformat(line.time).timestamp()
        for turn in turns:
            if turn.begin_s + 1 <= begin_s and begin_s + 1 <= turn.end_s:
                turn.rates.append(line.completed)


def ratios(turns: Sequence[Turn], way: str) -> list[float]:
    """Completions per second of a way to those of nobody in the same cycle."""
    found = []
    for at in range(0, len(turns) - len(WAYS) + 1, len(WAYS)):
        cycle = {turn.way: turn for turn in turns[at : at + len(WAYS)]}
        if cycle[way].rates and cycle["nobody"].rates:
            found.append(statistics.fmean(cycle[way].rates) / statistics.fmean(cycle["nobody"].rates))
    return found


def interval(found: Sequence[float]) -> tuple[float, float, float]:
    """Geometric mean, and the ends of its 95 % interval."""
    logs = [math.log(ratio) for ratio in found]
    mean = statistics.fmean(logs)
    if len(logs) < 2:
        return math.exp(mean), 0.0, math.inf
    reach = student_quantile(0.95, len(logs) - 1) * statistics.stdev(logs) / math.sqrt(len(logs))
    return math.exp(mean), math.exp(mean - reach), math.exp(mean + reach)


def main() -> None:
    """Print what each way costs; exit 1 where both together certainly cost more than the limit."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 130.0
    runs = int(sys.argv[2]) if len(sys.argv) > 2 else 2
    turns: list[Turn] = []
    found: dict[str, list[float]] = {way: [] for way in WAYS}
    with scratch() as name:
        fleet = make_fleet(Path(name), 1_000, 8)
        with cloud(fleet, "--mode", "replay", "--workers", "1") as port:
            for number in range(runs):
                made = turns_of(port, fleet, Path(name) / f"run-{number}", seconds, number)
                for way in WAYS:
                    found[way] += ratios(made, way)
                turns += made
    report(turns, found)


def report(turns: Sequence[Turn], found: dict[str, list[float]]) -> None:
    """Print what was found and judge it."""
    alone = [turn for turn in turns if turn.way == "nobody"]
    parent, rate = cores_of(alone, "parent"), statistics.median(rate for turn in alone for rate in turn.rates)
    cost = cores_of(alone, "page")
    print(f"nobody looks: {rate:,.0f}/s; of a core the parent uses {parent:.2%} and the page {cost:.2%}")
    for way in [*WAYS][1:]:
        own = [turn for turn in turns if turn.way == way]
        more, page = cores_of(own, "parent") - parent, cores_of(own, "page")
        cost = more + page
        mean, low, high = interval(found[way])
        print(
            f"{way:9} costs {cost:.2%} of a core: parent {more:+.2%}, page {page:.2%}; "
            f"throughput {mean:.3f} ({low:.3f} to {high:.3f}) in {len(found[way])} cycles"
        )
    if cost > LIMIT:
        sys.exit(f"both together cost more than {LIMIT:.0%}")


def cores_of(turns: Sequence[Turn], whose: str) -> float:
    """Cores that a process used, the mean of some turns."""
    found: list[float] = [getattr(turn, f"{whose}_cores") for turn in turns]
    return statistics.fmean(found)


if __name__ == "__main__":
    main()
