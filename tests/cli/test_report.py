"""``loadgen report``."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from loadgen.cryptostore import write_crypto_record
from loadgen.store import encode_record
from tests.analysis.runs import made_record, write
from tests.cli.verdicts import loadgen
from tests.report.crypto_samples import full_record
from tests.report.made_logs import write_logged

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


def test_metrics_of_one_record(tmp_path: Path, capsys: Capture) -> None:
    done = loadgen(capsys, "report", FIXTURE, "--format", "prometheus")
    assert (done.code, done.err) == (0, "")
    assert 'loadgen_stage_duration_seconds_bucket{firmware="p1@0.7.0",le="+Inf",stage="key"} 330.0\n' in done.out
    bare = loadgen(capsys, "report", write(tmp_path, made_record(1)), "--format", "prometheus")
    assert "without its log of histograms" in bare.err
    assert "loadgen_handshakes_completed_total" in bare.out
    assert "loadgen_stage_duration" not in bare.out


def test_a_file_is_replaced_whole(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "loadgen.prom"
    path.write_text("old", encoding="utf-8")
    assert loadgen(capsys, "report", FIXTURE, "--write", f"prometheus={path}").code == 0
    assert path.read_text(encoding="utf-8").startswith("# HELP loadgen_run_info")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["{f}", "{o}", "--format", "hgrm"], "2 records do not go into one file"),
        (["{f}", "{o}", "--format", "prometheus"], "2 records do not go into one file"),
        (["{f}", "--format", "hgrm", "--stage", "kei"], 'Did you mean "key"?'),
        (["{f}", "--format", "hgrm", "--firmware", "x"], "x did not run"),
        (["{o}", "--format", "hgrm"], "no histograms"),
        (["{f}", "--format", "html"], "a page goes into a file"),
        (["{f}", "-o", "/proc/report.html"], "cannot be written"),
        ([], "no record is named"),
    ],
)
def test_mistakes_end_with_2(arguments: list[str], text: str, tmp_path: Path, capsys: Capture) -> None:
    other = write(tmp_path, made_record(1))
    done = loadgen(capsys, "report", *(word.format(f=FIXTURE, o=other) for word in arguments))
    assert done.code == 2
    assert text in done.err


def test_a_file_name_asks_for_a_page(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "pages" / "report.html"
    done = loadgen(capsys, "report", FIXTURE, write(tmp_path, made_record(1)), "-o", path)
    assert (done.code, done.out) == (0, "")
    text = path.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    assert "2 runs" in text
    assert loadgen(capsys, "report", FIXTURE, "--format", "html", "--out", tmp_path / "page").code == 0
    assert loadgen(capsys, "report", FIXTURE, "--write", f"html={tmp_path / 'again'}").code == 0
    assert (tmp_path / "page").read_bytes() == (tmp_path / "again").read_bytes()


def test_a_told_format_wins_over_the_name(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "report.html"
    assert loadgen(capsys, "report", FIXTURE, "--json", "-o", path).code == 0
    assert path.read_text(encoding="utf-8").startswith("{")


def test_pages_take_crypto_benchmarks(tmp_path: Path, capsys: Capture) -> None:
    folder = write_crypto_record(tmp_path / "results", full_record())
    path = tmp_path / "report.html"
    assert loadgen(capsys, "report", FIXTURE, folder, "-o", path).code == 0
    assert "1 run and 1 crypto benchmark" in path.read_text(encoding="utf-8")
    done = loadgen(capsys, "report", folder, "-o", path, "--write", f"csv={tmp_path / 'x.csv'}")
    assert done.code == 2
    assert "goes into a page only" in done.err


def test_a_half_written_record_has_a_page(tmp_path: Path, capsys: Capture) -> None:
    folder = write_logged_folder(tmp_path)
    for name in ("intervals.jsonl", "histograms.hlog"):
        (folder / name).write_bytes((folder / name).read_bytes()[:-40])
    path = tmp_path / "report.html"
    assert loadgen(capsys, "report", folder, "-o", path).code == 0
    text = path.read_text(encoding="utf-8")
    assert "INVALID" in text
    assert "The run has not been finished" in text
    assert "Latency over time" in text


@pytest.mark.parametrize(("name", "title"), [("histograms.hlog", "Rates"), ("intervals.jsonl", "Latency over time")])
def test_a_damaged_log_costs_only_its_plots(name: str, title: str, tmp_path: Path, capsys: Capture) -> None:
    folder = Path(shutil.copytree(FIXTURE, tmp_path / "run"))
    (folder / name).write_bytes((folder / name).read_bytes() + b"nonsense\n")
    path = tmp_path / "report.html"
    done = loadgen(capsys, "report", folder, "-o", path)
    assert done.code == 0
    assert "cannot be read" in done.err
    text = path.read_text(encoding="utf-8")
    assert "Something is missing" in text
    assert f"{title}: table" in text


@pytest.mark.parametrize("version", ["0", "2"])
def test_a_record_of_another_schema_ends_with_2(version: str, tmp_path: Path, capsys: Capture) -> None:
    folder = write(tmp_path, made_record(1))
    file = folder / "run.json"
    file.write_text(file.read_text().replace("loadgen/run/1", f"loadgen/run/{version}"))
    path = tmp_path / "report.html"
    done = loadgen(capsys, "report", FIXTURE, folder, "-o", path)
    assert done.code == 2
    assert f"has the schema 'loadgen/run/{version}'" in done.err
    assert not path.exists()


def write_logged_folder(tmp_path: Path) -> Path:
    """A record that was left running, with its logs."""
    folder = tmp_path / "run"
    record = write_logged(folder, seconds=5, per_second=20)
    record.status = "running"
    (folder / "run.json").write_bytes(encode_record(record))
    return folder
