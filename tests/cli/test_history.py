"""``loadgen history``."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.cryptostore import write_crypto_record
from loadgen.history import INDEX_FILE
from tests.analysis.runs import made_record, write, write_set
from tests.cli.verdicts import loadgen
from tests.report.crypto_samples import full_record

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder with runs of two labels."""
    write_set(tmp_path, "base", 3)
    write_set(tmp_path, "new", 2, 1.1)
    return tmp_path


def test_a_table_and_a_line_for_each_number(results: Path, capsys: Capture) -> None:
    done = loadgen(capsys, "history", "--results", results)
    assert (done.code, done.err) == (0, "")
    assert "quick  5 runs on" in done.out
    assert "handshake p99" in done.words
    assert "on the median of 4 before)" in done.words
    assert (results / INDEX_FILE).exists()


def test_scenario_label_metric_and_limit(results: Path, capsys: Capture) -> None:
    arguments = ["quick", "--label", "base", "--metric", "key p99", "--limit", 2, "--json"]
    document = loadgen(capsys, "history", *arguments, "--results", results).document
    (history,) = document["histories"]
    assert (history["total"], document["metrics"]) == (3, ["key p99"])
    assert [run["label"] for run in history["runs"]] == ["base", "base"]
    assert len(history["trends"][0]["points"]) == 2


def test_limit_0_shows_all(results: Path, capsys: Capture) -> None:
    write_set(results, "more", 30)
    assert len(loadgen(capsys, "history", "--json", "--results", results).document["histories"][0]["runs"]) == 20
    document = loadgen(capsys, "history", "--json", "--limit", "0", "--results", results).document
    assert len(document["histories"][0]["runs"]) == 35


def test_crypto_benchmarks_show_their_own_numbers(results: Path, capsys: Capture) -> None:
    write_crypto_record(results, full_record())
    done = loadgen(capsys, "history", "--results", results)
    assert "crypto  1 run on" in done.out
    assert " cpu" in loadgen(capsys, "history", "crypto", "--results", results).words


def test_what_cannot_be_read_is_said_and_the_rest_shown(results: Path, capsys: Capture) -> None:
    for number in range(5):
        (results / f"cut-{number}").mkdir()
        (results / f"cut-{number}" / "run.json").write_text("{")
    running = made_record(70)
    running.status = "running"
    write(results, running)
    done = loadgen(capsys, "history", "--results", results)
    assert done.code == 0
    assert "5 records in" in done.err
    assert "and 2 more" in done.err
    assert "1 run is not finished" in done.err
    assert "quick  5 runs" in done.out
    document = loadgen(capsys, "history", "--json", "-q", "--results", results).document
    assert len(document["unreadable"]) == 5
    assert len(document["running"]) == 1


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["quik"], 'Did you mean "quick"?'),
        (["--label", "bas"], "There are the labels base, new."),
        (["--metric", "handshake p98"], 'Did you mean "handshake p9'),
        (["--limit", "many"], "--limit"),
    ],
)
def test_mistakes_end_with_2(arguments: list[str], text: str, results: Path, capsys: Capture) -> None:
    done = loadgen(capsys, "history", *arguments, "--results", results)
    assert (done.code, done.out) == (2, "")
    assert text in done.err


def test_an_empty_folder_and_none(tmp_path: Path, capsys: Capture) -> None:
    done = loadgen(capsys, "history", "--results", tmp_path)
    assert done.code == 2
    assert "no record that can be read" in done.err
    assert "no such folder" in loadgen(capsys, "history", "--results", tmp_path / "none").err
