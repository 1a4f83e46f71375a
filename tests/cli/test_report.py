"""``loadgen report``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.analysis.runs import made_record, write
from tests.cli.verdicts import loadgen

FIXTURE = Path(__file__).parents[1] / "fixtures" / "record-1"
JAVA = Path(__file__).parents[1] / "report" / "golden" / "java-record-1-handshake.hgrm"

Capture = pytest.CaptureFixture[str]


def test_terminal_has_summary_ladder_waterfall_and_thresholds(capsys: Capture) -> None:
    out = loadgen(capsys, "report", FIXTURE).out
    for text in ("VALID", "p99.99", "Stages of the mean handshake", "no data p(99) of handshake < 250ms"):
        assert text in out


@pytest.mark.parametrize("form", ["markdown", "csv", "json", "junit", "github"])
def test_every_form_of_several_records(form: str, tmp_path: Path, capsys: Capture) -> None:
    other = write(tmp_path, made_record(1))
    done = loadgen(capsys, "report", FIXTURE, other, "--format", form)
    assert done.code == 0
    assert (other.name if form != "markdown" else "quick-base-00000001") in done.out
    path = tmp_path / "out" / "file"
    assert loadgen(capsys, "report", FIXTURE, other, "--format", form, "--out", path).out == ""
    assert path.read_text(encoding="utf-8") == done.out


def test_json_is_the_records(capsys: Capture) -> None:
    document = loadgen(capsys, "report", FIXTURE, "--json").document
    assert document["schema"] == "loadgen/report/1"
    assert document["records"][0]["counts"]["completed"] == 600


def test_hgrm_is_that_of_java(tmp_path: Path, capsys: Capture) -> None:
    done = loadgen(capsys, "report", FIXTURE, "--format", "hgrm")
    assert done.out == JAVA.read_text(encoding="utf-8")
    path = tmp_path / "key.hgrm"
    arguments = ["report", FIXTURE, "--format", "hgrm", "--stage", "key", "--firmware", "photon@0.6.3", "--out", path]
    assert loadgen(capsys, *arguments).code == 0
    assert "Total count    =          270]" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["{f}", "{o}", "--format", "hgrm"], "2 records do not go into one file"),
        (["{f}", "--format", "hgrm", "--stage", "kei"], 'Did you mean "key"?'),
        (["{f}", "--format", "hgrm", "--firmware", "x"], "x did not run"),
        (["{o}", "--format", "hgrm"], "no histograms"),
        ([], "no record is named"),
    ],
)
def test_mistakes_end_with_2(arguments: list[str], text: str, tmp_path: Path, capsys: Capture) -> None:
    other = write(tmp_path, made_record(1))
    done = loadgen(capsys, "report", *(word.format(f=FIXTURE, o=other) for word in arguments))
    assert done.code == 2
    assert text in done.err
