"""A history as text and as JSON."""

from __future__ import annotations

import io
import json

import msgspec
import pytest

from loadgen.analysis.trend import History, history_of
from loadgen.report.history import histories_document, sparkline, write_histories
from tests.analysis.test_trend import row

METRICS = ["handshake p99", "key p50"]


def made() -> History:
    """Three runs, one of which does not count."""
    rows = [row(1, 1000.0), row(2, 9000.0, problem="the run is invalid"), row(3, 1100.0)]
    return history_of(rows, METRICS, 7)


def text_of(history: History, width: int, encoding: str = "utf-8", metrics: list[str] = METRICS) -> str:
    """What is written for a stream of this width."""
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding=encoding, write_through=True)
    write_histories([history], metrics, stream, width)
    return buffer.getvalue().decode(encoding)


@pytest.mark.parametrize(
    ("points", "line"),
    [
        ([1.0, 2.0, 3.0], "▁▅█"),
        ([5.0], "▅"),
        ([0.0, 0.0], "▁▁"),
        ([100.0, 101.0, 99.0], "▄▅▄"),
        ([100.0, 200.0], "▁█"),
    ],
)
def test_a_sparkline_shows_shifts_and_not_noise(points: list[float], line: str) -> None:
    assert sparkline(points) == line


def test_what_is_written() -> None:
    assert text_of(made(), 120).split("\n") == [
        "quick  7 runs on A processor (machine b2a9687c), the newest 3 shown",
        "",
        "started              id        handshake p99  key p50",
        "2026-01-02 03:04:01  00000001           1 ms        –",
        "2026-01-02 03:04:02  00000002           9 ms        –  [1]",
        "2026-01-02 03:04:03  00000003         1.1 ms        –",
        "Not in the trend:",
        "  1  the run is invalid",
        "",
        "handshake p99  ▃▆  1 ms … 1.1 ms, latest 1.1 ms (+10.0 % on the run before)",
        "",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_lines_keep_to_the_width(width: int) -> None:
    assert max(map(len, text_of(made(), width).split("\n"))) <= width


def labelled() -> History:
    """Runs with long labels and four numbers each, which take more than 80 columns in one line."""
    rows = [row(number, 1_234_567.0) for number in (1, 2)]
    more = {
        "label": "2026-11-release-candidate",
        "values": dict.fromkeys(MANY, 1_234_567.0),
        "units": dict.fromkeys(MANY, "us"),
    }
    rows = [msgspec.structs.replace(found, values=msgspec.structs.replace(found.values, **more)) for found in rows]
    return history_of(rows, MANY, 2)


MANY = ["handshake p50", "handshake p99", "cloud p50", "failures rate"]


def test_eighty_columns_are_enough_for_four_numbers() -> None:
    lines = text_of(labelled(), 80, metrics=MANY).split("\n")
    assert lines[2:6] == [
        "                                 handshake  handshake    cloud  failures",
        "started      id        label           p50        p99      p50      rate",
        "01-02 03:04  00000001  2026-11…    1.235 s    1.235 s  1.235 s   1.235 s",
        "01-02 03:04  00000002  2026-11…    1.235 s    1.235 s  1.235 s   1.235 s",
    ]


def test_numbers_without_room_are_left_out_and_named() -> None:
    lines = text_of(labelled(), 60, metrics=MANY).split("\n")
    assert lines[4].split() == ["01-02", "03:04", "00000001", "2026-…", "1.235", "s", "1.235", "s"]
    assert lines[6] == "Without cloud p50, failures rate: there is no room in 60"
    assert any(line.startswith("failures rate") for line in lines), "the trends have them"


def test_ascii_will_do() -> None:
    assert text_of(made(), 80, "ascii").isascii()


def test_the_document_has_all_of_it() -> None:
    document = json.loads(histories_document("results", [made()], METRICS, {"cut": "no JSON"}, ["now"]))
    (history,) = document["histories"]
    assert document["schema"] == "loadgen/history/1"
    assert (history["scenario"], history["total"], len(history["runs"])) == ("quick", 7, 3)
    assert history["runs"][1]["not_in_trend"] == "the run is invalid"
    assert history["runs"][0]["values"] == {"handshake p99": 1000.0, "key p50": None}
    assert history["trends"][0]["points"] == [1000.0, 1100.0]
    assert document["unreadable"] == [{"folder": "cut", "problem": "no JSON"}]
    assert document["running"] == ["now"]
