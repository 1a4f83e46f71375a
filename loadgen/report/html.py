"""One HTML page of runs and crypto benchmarks that opens without a network: everything that it needs stands in it.

Rows and numbers come from the summaries and from :mod:`loadgen.report.plots`; here they only become a page. A content
security policy forbids every request, and every script but the two that are part of the page.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any, Final

from loadgen import __version__
from loadgen.protocol.stages import Stage
from loadgen.recording.crypto_record import CryptoRecord
from loadgen.recording.record import Environment, RunRecord
from loadgen.report import overtime, plots
from loadgen.report.calibration import CALIBRATION_COLUMNS
from loadgen.report.crypto import summarise_crypto
from loadgen.report.markup import Markup, element, join, json_for_script, scrolling, table
from loadgen.report.plots import Plot, RunData
from loadgen.report.summary import (
    NO_VALUE,
    STAGE_COLUMNS,
    FailureRow,
    FirmwareRow,
    StageRow,
    Summary,
    Verdict,
    listed_failures,
    source_text,
    summarise,
)
from loadgen.report.verdicts import GateSummary

LIBRARY: Final = "echarts/echarts.min.js"
DRAWING: Final = "page.js"
"""What draws with it."""
_SHOWN_FAILURES: Final = 30
"""Kinds of failures that stand there at once; the others unfold."""
_LOW: Final = frozenset({"waterfall"})
_COLOURS: Final[dict[str, str]] = {
    "valid": "good",
    "pass": "good",
    "invalid": "bad",
    "fail": "bad",
    "interrupted": "open",
    "no data": "open",
    "warn": "open",
    "note": "",
}
_GATE_HEAD: Final = ("threshold", "outcome", "observed", "limit", "95 % interval", "samples", "detail")
_PERCENTILES_FIRST: Final = (*(name for name in STAGE_COLUMNS if name not in ("min", "mean")), "mean", "min")
"""On a phone only the first columns are in sight."""
_FIRMWARE_HEAD: Final = (
    "firmware", "stage", "unit", "p50", "95 % interval", "p99", "95 % interval", "share", "started", "failed",
)  # fmt: skip
_WORKER_HEAD: Final = ("worker", "started", "completed", "failed", "aborted", "CPU seconds")


@dataclass(frozen=True, slots=True)
class CryptoData:
    """A crypto benchmark and its folder, as the user should read it."""

    record: CryptoRecord
    path: str


@cache
def asset(name: str) -> str:
    """A file of ``assets``.

    Raises:
        FileNotFoundError: there is none of this name.
    """
    return resources.files("loadgen.report").joinpath("assets", *name.split("/")).read_text(encoding="utf-8")


class Drawings:
    """The plots of a page: each gets an id, under which the page's script finds what to draw.

    Args:
        live: of a page that changes every second: what is folded up there is left out, and asked for when it is opened.
    """

    def __init__(self, *, live: bool = False) -> None:
        self.live = live
        self.plots: dict[str, Plot] = {}

    @property
    def drawn(self) -> dict[str, dict[str, Any]]:
        """What the page's script draws, by id."""
        return {name: {"kind": plot.kind, "data": plot.data} for name, plot in self.plots.items()}

    def figure(self, plot: Plot | None, level: int) -> Markup:
        """A plot with its title, how to read it, and the numbers behind it; nothing for None."""
        if plot is None:
            return Markup()
        name = f"plot-{len(self.plots)}"
        self.plots[name] = plot
        wide = plot.kind in ("spectrum", "heat")
        return element(
            "figure",
            element(f"h{level}", plot.title, id=f"{name}-title"),
            element("figcaption", plot.sentence),
            element(
                "div",
                class_=f"plot {'low' if plot.kind in _LOW else ''}".strip(),
                id=name,
                role="img",
                aria_label=f"{plot.title}. {plot.sentence} The numbers stand in the table below.",
            ),
            element(
                "details",
                element("summary", "Table: ", element("span", plot.title)),
                Markup() if self.live else table_of(plot),
                data_table=name if self.live else "",
            ),
            class_="wide" if wide else "",
            aria_labelledby=f"{name}-title",
        )

    def figures(self, found: Iterable[Plot | None], level: int) -> Markup:
        """Several plots side by side where there is room; nothing without any."""
        shown = [figure for figure in (self.figure(plot, level) for plot in found) if figure]
        return element("div", *shown, class_="figures") if shown else Markup()


def table_of(plot: Plot) -> Markup:
    """The numbers behind a plot."""
    return table(plot.table.head, plot.table.rows, title=f"{plot.title}: table", left=plot.table.left)


def page(runs: Sequence[RunData], benchmarks: Sequence[CryptoData] = ()) -> str:
    """The page of some runs and crypto benchmarks, of one or more altogether.

    Args:
        runs: in the order in which they are shown; several are also laid over each other.
        benchmarks: crypto benchmarks.
    """
    drawn = Drawings()
    count = len(runs) + len(benchmarks)
    level = 1 if count == 1 else 2
    several = [] if count == 1 else [_overview(runs, benchmarks, drawn)]
    shown = [_run(run, f"run-{index}", level, len(runs), drawn) for index, run in enumerate(runs)]
    shown += [_benchmark(data, f"crypto-{index}", level, drawn) for index, data in enumerate(benchmarks)]
    if count > 1:
        links = [(f"run-{index}", run.name) for index, run in enumerate(runs)]
        links += [(f"crypto-{index}", f"crypto {data.record.id}") for index, data in enumerate(benchmarks)]
    else:
        links = [(part.anchor, part.title) for part in shown[0].blocks]
    return _document(_title(runs, benchmarks), links, [*several, *(part.markup for part in shown)], drawn)


def _title(runs: Sequence[RunData], benchmarks: Sequence[CryptoData]) -> str:
    names = [f"{run.record.scenario.get('name', 'run')} {run.name}" for run in runs]
    names += [f"crypto {data.record.id}" for data in benchmarks]
    return f"{names[0] if len(names) == 1 else f'{len(names)} records'} – loadgen"


def _document(title: str, links: Sequence[tuple[str, str]], body: Sequence[Markup], drawn: Drawings) -> str:
    scripts = [asset(LIBRARY), asset(DRAWING)]
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    policy = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
    content = [
        element("nav", navigation(links), aria_label="Parts of this page"),
        element("main", *body, id="report"),
        footer("This page makes no request."),
        element("noscript", element("p", "Plots need JavaScript; the tables have the same numbers.")),
        element("script", json_for_script(drawn.drawn), type="application/json", id="plots"),
        *(element("script", Markup(script)) for script in scripts),
    ]
    return document(title, element("meta", http_equiv="Content-Security-Policy", content=policy), content)


def document(title: str, policy: Markup, content: Sequence[Markup], **attributes: str) -> str:
    """The frame of every page.

    Args:
        title: of the page.
        policy: a ``meta`` element with the content security policy; nothing where a header says it.
        content: of the body, behind the link that skips to the element with the id ``report``.
        attributes: of the body.
    """
    head = element(
        "head",
        element("meta", charset="utf-8"),
        policy,
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="generator", content=f"loadgen {__version__}"),
        element("title", title),
        element("style", Markup(asset("page.css"))),
        element("noscript", element("style", Markup(".plot { display: none; }"))),
    )
    skip = element("a", "Skip to the report", class_="skip", href="#report")
    body = element("body", skip, *content, **attributes)
    return f"<!DOCTYPE html>\n{element('html', head, body, lang='en')}\n"


def navigation(links: Sequence[tuple[str, str]]) -> Markup:
    """(id, text) of the parts of a page, to be jumped to."""
    return element("ul", *(element("li", element("a", text, href=f"#{anchor}")) for anchor, text in links))


def footer(last: str) -> Markup:
    """What made the page."""
    return element("footer", f"Made by loadgen {__version__}. Plots: Apache ECharts, Apache License 2.0. {last}")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


# --- one run


@dataclass(frozen=True, slots=True)
class Block:
    """A titled part of a record's part of the page."""

    title: str
    anchor: str
    markup: Markup


@dataclass(frozen=True, slots=True)
class Part:
    """A record's part of the page, and the blocks that it has."""

    markup: Markup
    blocks: tuple[Block, ...]


def _part(anchor: str, level: int, heading: str, top: Markup, found: Iterable[tuple[str, Markup]]) -> Part:
    """Blocks without content are left out."""
    blocks = tuple(
        Block(
            title,
            f"{anchor}-{number}",
            element("section", element(f"h{level + 1}", title), content, id=f"{anchor}-{number}"),
        )
        for number, (title, content) in enumerate(found)
        if content
    )
    shown = element("article", element(f"h{level}", heading), top, *(block.markup for block in blocks), id=anchor)
    return Part(shown, blocks)


def _run(run: RunData, anchor: str, level: int, runs: int, drawn: Drawings) -> Part:
    summary = summarise(run.record, run.path)
    return run_part(run, summary, final_verdict(summary, run.gates), anchor, drawn, level=level, runs=runs)


def run_part(
    run: RunData, summary: Summary, verdict: Markup, anchor: str, drawn: Drawings, *, level: int = 1, runs: int = 1
) -> Part:
    """A run's part of the page.

    Args:
        run: the run.
        summary: of it.
        verdict: what stands first.
        anchor: the id of the part.
        drawn: gets the plots.
        level: of its heading.
        runs: how many share the page.
    """
    inner = level + 2
    over_time = overtime.over_time(run, overtime.points_for(runs))
    cpu = [plot for plot in over_time if plot.title.startswith("CPU")]
    failures = [plot for plot in over_time if plot.title == "Failures"]
    others = [plot for plot in over_time if plot not in cpu and plot not in failures]
    missing = element("strong", "Something is missing. ")
    problems = [element("p", missing, problem, class_="verdict open") for problem in run.problems]
    top = join([verdict, *problems, _findings(summary)])
    found = [
        ("Thresholds", _gates(run.gates)),
        ("Percentiles", drawn.figures([plots.spectrum(run)], inner)),
        ("Over time", drawn.figures([overtime.heat_map(run), *others], inner)),
        ("Stages", join([drawn.figures([plots.stage_waterfall(run)], inner), _stages(summary)])),
        ("Failures", join([drawn.figures(failures, inner), _failures(summary, folded=not drawn.live)])),
        ("Firmware", join([drawn.figures([plots.firmware_spectrum(run)], inner), _firmwares(summary)])),
        ("Calibration", _calibration(summary)),
        ("Generator and cloud", join([_facts(summary.facts), drawn.figures(cpu, inner), _workers(run.record)])),
        ("How it was made", _conditions(run)),
    ]
    return _part(anchor, level, summary.headline, top, found)


def final_verdict(summary: Summary, gates: GateSummary) -> Markup:
    """What a finished run is worth, in words."""
    lead = {
        "valid": "These numbers may be believed: this machine carried the load that was asked for.",
        "invalid": "Do not use these numbers: something on this side has spoilt the measurement.",
        "interrupted": "The run was ended before its time; what stands here is what it had measured until then.",
        "no data": "No handshake was completed, so there are no times.",
    }[summary.verdict]
    warnings = sum(row.level == "warn" for row in summary.findings)
    if warnings and summary.verdict == "valid":
        lead += f" Mind the {'warning' if warnings == 1 else f'{warnings} warnings'} below."
    return verdict_box(summary.verdict.upper(), summary.outcome, lead, gates, _COLOURS[summary.verdict])


def verdict_box(word: str, outcome: str, lead: str, gates: GateSummary, colour: str) -> Markup:
    """What stands first: a word, what came out, what it is worth, and the thresholds where there are some."""
    lines = [element("p", element("strong", word), f"{outcome}."), element("p", lead, class_="lead")]
    if gates.rows:
        mark = "" if gates.verdict == "pass" else _mark(gates.verdict.upper(), _COLOURS[gates.verdict])
        lines.append(element("p", mark, f" Of {gates.sentence}."))
    return element("div", *lines, class_=f"verdict {colour}")


def _findings(summary: Summary) -> Markup:
    rows = [
        element(
            "li",
            element("span", row.level, class_="level"),
            f"{row.text} {row.remedy}".rstrip(),
            class_=_COLOURS[row.level],
        )
        for row in summary.findings
    ]
    return element("ul", *rows, class_="findings") if rows else Markup()


def _gates(gates: GateSummary) -> Markup:
    if not gates.rows:
        return Markup()
    rows = [
        (
            row.text,
            _mark(row.outcome, _COLOURS[row.outcome]),
            *(row.observed, row.limit, row.interval, row.samples, row.detail),
        )
        for row in gates.rows
    ]
    return table(_GATE_HEAD, rows, title="Thresholds", left=2, text=("detail",))


def _mark(word: str, colour: str) -> Markup:
    """A word that its colour makes easier to find."""
    return element("span", word, class_=f"mark {colour}".strip())


def _stages(summary: Summary) -> Markup:
    head = ("stage", "side", "unit", *_PERCENTILES_FIRST, "count")

    def cells(row: StageRow) -> tuple[str, ...]:
        name = element("strong", row.stage) if row.group == "sum" else row.stage
        return (name, row.side, row.unit, *map(row.cell, _PERCENTILES_FIRST), row.count)

    hint = element("p", summary.stage_hint, class_="soft")
    if not summary.stages:
        return hint
    return join([table(head, map(cells, summary.stages), title="Stages", left=3), hint])


def _failures(summary: Summary, *, folded: bool) -> Markup:
    parts = [
        _failure_table(rows, title, folded=folded)
        for title, rows in (
            ("Handshakes that failed", summary.failures),
            ("Failures after Hello", summary.session_failures),
        )
        if rows
    ]
    if not parts:
        return element("p", "Nothing failed.")
    more = element("p", "More about the most frequent one: ", element("code", summary.explain_with))
    return join([*parts, more if summary.explain_with else Markup()])


def _failure_table(rows: Sequence[FailureRow], title: str, *, folded: bool) -> Markup:
    shown, rest = rows[:_SHOWN_FAILURES], rows[_SHOWN_FAILURES:]
    first = _failure_rows(shown, title)
    if not rest:
        return first
    more = f"{len(rest):,} more {'kind' if len(rest) == 1 else 'kinds'}"
    if not folded:
        return join([first, element("p", f"and {more}", class_="soft")])
    unfold = element("summary", more)
    return join([first, element("details", unfold, _failure_rows(rest, f"{title}, the rest"))])


def _failure_rows(rows: Sequence[FailureRow], title: str) -> Markup:
    """Explanations may be long: each has a row of its own, below the first kind that it belongs to."""
    columns = (("what", ""), ("count", "number"), ("share", "number"), ("device code", "number"))
    head = element("tr", *(element("th", text, scope="col", class_=mark) for text, mark in columns))
    body = []
    for row, explanation in listed_failures(rows, len(rows)).rows:
        numbers = (element("td", text, class_="number") for text in (row.count, row.share, row.code))
        why = element("tr", element("td", explanation, class_="text why", colspan="4")) if explanation else Markup()
        name = element("th", row.what, scope="row")
        body += [element("tr", name, *numbers, class_="explained" if explanation else ""), why]
    parts = (element("caption", title), element("thead", head), element("tbody", *body))
    shown = element("table", *parts, class_="failures")
    return scrolling(shown, title)


def _firmwares(summary: Summary) -> Markup:
    if not summary.firmwares:
        return Markup()

    def cells(row: FirmwareRow) -> tuple[str, ...]:
        low, high = row.intervals
        return (row.name, row.stage, row.unit, row.p50, low, row.p99, high, row.share, row.started, row.failed)

    more = element("p", "Whether they differ: ", element("code", summary.compare_with))
    return join([table(_FIRMWARE_HEAD, map(cells, summary.firmwares), title="Firmwares", left=3), more])


def _calibration(summary: Summary) -> Markup:
    if summary.calibration is None:
        return Markup()
    outcome = element("strong", f"{summary.calibration.outcome}: ")
    rows = table(CALIBRATION_COLUMNS, summary.calibration.rows, title="Calibration", left=2)
    return join([element("p", outcome, summary.calibration.sentence), rows])


def _facts(facts: Iterable[tuple[str, str]]) -> Markup:
    pairs = [element("dt", name) + element("dd", text) for name, text in facts]
    return element("dl", *map(Markup, pairs))


def _workers(record: RunRecord) -> Markup:
    if not record.workers:
        return Markup()
    lost = any(worker.lost for worker in record.workers)
    rows = [
        (
            str(worker.index),
            *(f"{count:,}" for count in (worker.started, worker.completed, worker.failed, worker.aborted)),
            f"{worker.cpu_s:.2f}",
            *([(worker.lost_reason or "yes") if worker.lost else ""] if lost else []),
        )
        for worker in record.workers
    ]
    head = (*_WORKER_HEAD, "lost") if lost else _WORKER_HEAD
    return table(head, rows, title="Workers of the generator", text=("lost",))


def _environment(environment: Environment) -> list[tuple[str, str]]:
    return [
        ("Processor", f"{environment.cpu_model}, {environment.cores} cores"),
        ("System", f"{environment.kernel}, {environment.python}, {environment.openssl}"),
        ("loadgen", f"{environment.loadgen}{f', commit {environment.git}' if environment.git else ''}"),
        ("Crypto", environment.crypto_backend),
    ]


def _conditions(run: RunData) -> Markup:
    record = run.record
    facts = [
        ("Begin" if record.source is None else "Imported", record.started_at),
        ("Record", run.path),
        ("Label", record.label or NO_VALUE),
        ("Target", f"{record.target.address} ({record.target.kind})"),
    ]
    if record.source is None:
        facts += [
            ("Seed", NO_VALUE if record.seed is None else str(record.seed)),
            *_environment(record.environment),
            ("Time stamps", record.environment.timestamps),
            ("Event loop", record.environment.engine),
        ]
    else:
        facts += [("Source", source_text(record.source)), ("loadgen", record.environment.loadgen)]
    rows = [(key, json.dumps(value, ensure_ascii=False)) for key, value in record.scenario.items()]
    scenario = table(("key", "value"), rows, title="Scenario", left=2)
    unfold = element("details", element("summary", "The scenario in full"), scenario)
    return join([_facts(facts), unfold if rows else Markup()])


# --- several records


def _overview(runs: Sequence[RunData], benchmarks: Sequence[CryptoData], drawn: Drawings) -> Markup:
    names = [f"{len(found)} {word}{'' if len(found) == 1 else 's'}" for found, word in
             ((runs, "run"), (benchmarks, "crypto benchmark")) if found]  # fmt: skip
    parts = [element("h1", " and ".join(names))]
    if runs:
        parts.append(_all_verdicts(runs))
    if len(runs) > 1:
        parts.append(element("h2", "Side by side", id="overview"))
        parts.append(
            drawn.figures(
                [plots.compared_spectrum(runs), overtime.compared_rates(runs), plots.compared_stages(runs)], 3
            )
        )
    return element("section", *parts)


def _all_verdicts(runs: Sequence[RunData]) -> Markup:
    summaries = [summarise(run.record, run.path) for run in runs]
    counts: dict[Verdict, int] = {}
    for summary in summaries:
        counts[summary.verdict] = counts.get(summary.verdict, 0) + 1
    worst = next(name for name in ("invalid", "no data", "interrupted", "valid") if name in counts)
    text = ", ".join(f"{count} {name}" for name, count in counts.items())
    banner = element("div", element("p", element("strong", text)), class_=f"verdict {_COLOURS[worst]}")
    judged = any(run.gates.rows for run in runs)
    rows = []
    for run, summary in zip(runs, summaries, strict=True):
        steps = {row.stage: row for row in summary.stages}
        handshake = steps.get(Stage.HANDSHAKE.value)
        times = [_time(handshake, step) for step in ("p50", "p99")]
        rate = f"{run.record.rate.completed_per_s:,.4g}/s"
        thresholds = [run.gates.sentence if run.gates.rows else NO_VALUE] if judged else []
        verdict = _mark(summary.verdict, _COLOURS[summary.verdict])
        rows.append((run.name, verdict, *times, rate, summary.outcome, *thresholds, run.path))
    head = ("run", "verdict", "p50", "p99", "completed", "outcome", *(["thresholds"] if judged else []), "record")
    words = ("outcome", "thresholds", "record")
    return join([banner, table(head, rows, title="All runs", left=2, text=words)])


def _time(row: StageRow | None, step: str) -> str:
    if row is None or row.cell(step) == NO_VALUE:
        return NO_VALUE
    return f"{row.cell(step)} {row.unit}"


# --- crypto benchmarks


def _benchmark(data: CryptoData, anchor: str, level: int, drawn: Drawings) -> Part:
    summary = summarise_crypto(data.record, data.path)
    notes = [element("p", note, class_="soft") for note in summary.notes]
    tables = [
        (found.title, table(found.head, [row.cells for row in found.rows], title=found.title, left=found.left))
        for found in summary.tables
    ]
    facts = [("Begin", data.record.started_at), ("Record", data.path), *_environment(data.record.environment)]
    found = [
        ("Plots", drawn.figures(plots.crypto_plots(data.record), level + 2)),
        *tables,
        ("How it was made", _facts(facts)),
    ]
    return _part(anchor, level, summary.headline, join(notes), found)
