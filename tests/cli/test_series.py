"""``loadgen run --repeat``: several runs in turns, and what is said of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from loadgen.cli.against import read_against, side_name
from loadgen.config.bench import packaged_bench_text, parse_bench
from loadgen.config.resolve import file_layer, resolve_scenario
from loadgen.errors import ExitCode, UsageError
from loadgen.recording.record import Counts, RunRecord, Validity
from tests.cli.made_runs import MadeRuns
from tests.cli.verdicts import loadgen

Capture = pytest.CaptureFixture[str]
AGAINST = ("--against", "crypto=openssl", "--label", "x")
SLOW = "p(99) of handshake < 1ms"
GOOD = "p(99) of handshake < 50ms"

MakeRuns = Callable[..., MadeRuns]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeRuns:
    """Puts made runs in the place of measured ones."""
    monkeypatch.chdir(tmp_path)

    def put(**options: Any) -> MadeRuns:
        made = MadeRuns(**options)
        monkeypatch.setattr("loadgen.cli.measurement.measure", made)
        return made

    return put


def slower_openssl(scenario: Any) -> float:
    return 1.1 if scenario.crypto == "openssl" else 1.0


def invalid(record: RunRecord) -> None:
    record.validity = Validity(verdict="invalid")


def nothing_completed(record: RunRecord) -> None:
    record.counts = Counts(intended=5, started=5, failed=5)


def interrupt(_record: RunRecord) -> None:
    raise KeyboardInterrupt


def test_thresholds_that_cannot_pass_are_named_once_before_the_first_run(make: MakeRuns, capsys: Capture) -> None:
    make()
    short = ("run", "--repeat", 2, *AGAINST, "--rate", "10/s", "--duration", "2s", "--threshold", GOOD)
    done = loadgen(capsys, *short)
    assert done.err.splitlines()[:2] == [
        f"warning: {GOOD} cannot pass: p99 takes 1,000 samples, and a run makes 20 at most.",
        "  Run longer or faster, or ask for what this load can show.",
    ]
    assert done.err.count("cannot pass") == 1
    assert "cannot pass" not in loadgen(capsys, *short, "--quiet").err
    for others in (
        ["--rate", "100/s", "--duration", "10s"],
        ["--concurrency", "4"],
        ["--phase", "poisson 10/s for 2s"],
    ):
        assert "cannot pass" not in loadgen(capsys, "run", *others, "--threshold", GOOD).err


def test_one_side_that_does_not_play_a_firmware_is_refused(make: MakeRuns, capsys: Capture) -> None:
    made = make()
    of_one = ("--threshold", "p(50) of key[p1@0.7.0] < 1s")
    done = loadgen(capsys, "run", "--repeat", 2, "--against", "firmware=p1@0.6.4", *of_one)
    assert done.code == ExitCode.USAGE
    assert "'p1@0.7.0' is not played by this run" in done.err
    assert not made.scenarios


def test_sides_take_turns_and_a_shift_is_found(make: MakeRuns, capsys: Capture) -> None:
    made = make(factor=slower_openssl)
    done = loadgen(capsys, "run", "--repeat", 6, *AGAINST)
    assert done.code == ExitCode.OK
    assert made.labels == ["x-base", "x-new"] * 6
    assert [scenario.crypto for scenario in made.scenarios] == ["openssl", "auto"] * 6
    assert done.out.startswith("crypto=openssl, label x-base (6 runs) against crypto=auto, label x-new (6 runs)")
    assert done.out.count(" faster") == 6
    assert "Run 12 of 12: crypto=auto, label x-new" in done.err


def test_stored_runs_compare_the_same_way(make: MakeRuns, capsys: Capture) -> None:
    make(factor=slower_openssl)
    at_once = loadgen(capsys, "run", "--repeat", 5, *AGAINST, "-q", "--json").document
    later = loadgen(capsys, "compare", "--label", "x-base", "--label", "x-new", "--json").document
    assert at_once["rows"] == later["rows"]
    assert at_once["design"] == "runs"
    assert loadgen(capsys, "run", "--repeat", 5, *AGAINST).out.endswith(
        "\nAgain: loadgen compare --label x-base --label x-new\n"
    )


def test_without_a_label_the_runs_get_one_in_common(make: MakeRuns, capsys: Capture) -> None:
    made = make()
    loadgen(capsys, "run", "--repeat", 1, "--against", "crypto=openssl", "-q")
    base, new = made.labels
    assert base is not None
    assert new == base.removesuffix("-base") + "-new"


@pytest.mark.parametrize(
    ("condition", "factor", "code"),
    [
        ("handshake p99 +10%", 1.3, ExitCode.REGRESSION),
        ("handshake p99 +10%", 1.0, ExitCode.OK),
        ("slower", 1.3, ExitCode.REGRESSION),
    ],
)
def test_a_comparison_that_is_judged(
    condition: str, factor: float, code: ExitCode, make: MakeRuns, capsys: Capture
) -> None:
    make(factor=lambda scenario: 1.0 if scenario.crypto == "openssl" else factor)
    assert loadgen(capsys, "run", "--repeat", 6, *AGAINST, "--fail-if", condition, "-q").code == code


def test_too_few_runs_are_inconclusive(make: MakeRuns, capsys: Capture) -> None:
    make(factor=slower_openssl)
    done = loadgen(capsys, "run", "--repeat", 2, *AGAINST, "--fail-if", "handshake p99 +10%")
    assert done.code == ExitCode.INCONCLUSIVE
    assert "2 and 2 runs cannot give a verdict" in done.words


def test_runs_alike_make_a_baseline(make: MakeRuns, capsys: Capture) -> None:
    made = make()
    done = loadgen(capsys, "run", "--repeat", 5, "--label", "base")
    assert (done.code, set(made.labels)) == (ExitCode.OK, {"base"})
    assert re.search(r"^  handshake p99 +1[12]\.\d+ ms ± 0\.\d+ %$", done.out, re.MULTILINE)
    command = done.out.splitlines()[-1].partition("loadgen ")[2].split()
    assert command == ["baseline", "set", "--label", "base"]
    assert loadgen(capsys, *command).code == ExitCode.OK


def test_other_folders_are_named_in_the_command(make: MakeRuns, capsys: Capture) -> None:
    make()
    done = loadgen(capsys, "run", "--repeat", 1, "--label", "base", "--out", "my runs")
    assert done.out.endswith("loadgen baseline set --label base --results 'my runs'\n")


def test_an_interruption_leaves_what_was_done(make: MakeRuns, capsys: Capture) -> None:
    made = make(interrupted=4)
    done = loadgen(capsys, "run", "--repeat", 9, *AGAINST, "--fail-if", "slower")
    assert done.code == ExitCode.INTERRUPTED
    assert len(made.labels) == 5
    assert done.out.startswith("crypto=openssl, label x-base (2 runs) against crypto=auto, label x-new (2 runs)")
    assert len(list(Path("results").iterdir())) == 5


def test_an_interruption_of_the_second_run_leaves_a_side_without_runs(make: MakeRuns, capsys: Capture) -> None:
    make(interrupted=1)
    done = loadgen(capsys, "run", "--repeat", 3, *AGAINST, "--write", "junit=x.xml")
    assert done.code == ExitCode.INTERRUPTED
    assert "handshake p50, handshake p99, cloud p50, cloud p99, key p50, key p99: no run in new." in done.words
    suite = ET.parse("x.xml").getroot()[0]
    assert suite.get("timestamp", "").startswith("2026-01-02T")  # of the side that has one
    assert suite.get("skipped") == "6"


def test_an_interruption_between_two_runs_does_too(make: MakeRuns, capsys: Capture) -> None:
    make(changes={3: interrupt})
    done = loadgen(capsys, "run", "--repeat", 9, "--label", "x", "-q")
    assert done.code == ExitCode.INTERRUPTED
    assert done.out.count("VALID") == 3


def test_a_cloud_that_is_gone_ends_the_series(make: MakeRuns, capsys: Capture) -> None:
    made = make(changes={2: nothing_completed})
    done = loadgen(capsys, "run", "--repeat", 9, *AGAINST)
    assert done.code == ExitCode.UNREACHABLE
    assert len(made.labels) == 3
    assert "127.0.0.1:5683: no handshake was completed" in done.err


def test_invalid_runs_are_left_out_of_a_comparison(make: MakeRuns, capsys: Capture) -> None:
    make(changes={0: invalid})
    done = loadgen(capsys, "run", "--repeat", 6, *AGAINST)
    assert done.code == ExitCode.OK
    assert "is left out: the run is invalid" in done.words
    make(changes={0: invalid, 2: invalid})
    assert loadgen(capsys, "run", "--repeat", 2, *AGAINST, "--out", "other").code == ExitCode.INCONCLUSIVE


def test_a_set_with_an_invalid_run_is_no_set_for_a_baseline(make: MakeRuns, capsys: Capture) -> None:
    make(changes={1: invalid})
    assert loadgen(capsys, "run", "--repeat", 3).code == ExitCode.INCONCLUSIVE


def test_thresholds_hold_for_every_run(make: MakeRuns, capsys: Capture) -> None:
    make(factor=lambda scenario: 10.0 if scenario.crypto == "openssl" else 1.0)
    done = loadgen(capsys, "run", "--repeat", 2, *AGAINST, "--threshold", GOOD, "--json", "-q")
    assert done.code == ExitCode.THRESHOLD_FAILED
    assert (done.document["schema"], done.document["exit_code"]) == ("loadgen/compare/1", 3)
    assert [run["verdict"] for run in done.document["runs"]] == ["fail", "pass", "fail", "pass"]


@pytest.mark.parametrize("against", [(), AGAINST])
def test_every_form(against: tuple[str, ...], make: MakeRuns, capsys: Capture) -> None:
    make()
    for form in ("terminal", "markdown", "csv", "json", "junit", "github"):
        done = loadgen(
            capsys, "run", "--repeat", 2, *against, "--threshold", SLOW, "--format", form,
            "--write", "junit=reports/all.xml", "--out", f"of-{form}", "-q",
        )  # fmt: skip
        assert done.code == ExitCode.THRESHOLD_FAILED
        assert done.out
    suites = ET.parse("reports/all.xml").getroot()
    names = [str(suite.get("name")).split(" ")[1] for suite in suites]
    assert names == (["compare"] if against else []) + ["gate"] * (4 if against else 2)


@pytest.mark.parametrize(("options", "runs"), [((), 1), (("--repeat", 2), 2), (("--repeat", 2, *AGAINST), 4)])
def test_a_page_has_every_run(options: tuple[object, ...], runs: int, make: MakeRuns, capsys: Capture) -> None:
    make()
    done = loadgen(capsys, "run", *options, "--report", "pages/all.html", "-q")
    assert done.out
    text = Path("pages/all.html").read_text(encoding="utf-8")
    assert text.count("<article") == runs


def test_a_page_that_cannot_be_written_is_found_before_the_run(make: MakeRuns, capsys: Capture) -> None:
    made = make()
    Path("pages").mkdir()
    done = loadgen(capsys, "run", "--report", "pages", "-q")
    assert done.code == ExitCode.USAGE
    assert "pages: is a folder" in done.err
    assert made.scenarios == []


def test_a_dry_run_shows_both_sides(make: MakeRuns, capsys: Capture) -> None:
    made = make()
    document = loadgen(capsys, "run", "--repeat", 2, *AGAINST, "--dry-run", "--json").document
    assert [document[side]["crypto"] for side in ("base", "new")] == ["openssl", "auto"]
    assert loadgen(capsys, "run", "--repeat", 2, *AGAINST, "--dry-run").out.count("[scenario.quick]") == 2
    assert made.labels == []


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--repeat", "0"], "--repeat: must be at least 1"),
        (["--repeat", "many"], "--repeat"),
        (["--against", "crypto=openssl"], "Say how many a side"),
        (["--fail-if", "slower"], "judges a comparison"),
        (["--repeat", "2", "--against", "crypto=openssl", "--fail-if", "handshake p99 +1"], "--fail-if"),
        (["--repeat", "2", "--against", "openssl"], "'openssl' is no KEY=VALUE"),
        (["--repeat", "2", "--against", "cripto=openssl"], 'Did you mean "crypto"?'),
        (["--repeat", "2", "--against", "rate=5"], "rate must be the same on both sides"),
        (["--repeat", "2", "--against", "crypto=a", "--against", "crypto=b"], "crypto is given twice"),
        (["--repeat", "2", "--against", "crypto=opensl"], 'Did you mean "openssl"?'),
        (["--repeat", "2", "--against", "target=8.8.8.8"], "public address"),
        (["--repeat", "2", "--against", "crypto=openssl", "--label", "x" * 62], "is no label"),
        (["--repeat", "2", "--format", "hgrm"], "hgrm is the text of one run"),
        (["--repeat", "2", "--write", "hgrm=x"], "hgrm is the text of one run"),
    ],
)
def test_mistakes_are_found_before_anything_starts(
    arguments: list[str], text: str, make: MakeRuns, capsys: Capture
) -> None:
    made = make()
    done = loadgen(capsys, "run", *arguments)
    assert done.code == ExitCode.USAGE
    assert text in done.err
    assert made.labels == []


def test_options_of_a_series_come_from_the_environment_too(
    make: MakeRuns, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    made = make()
    monkeypatch.setenv("LOADGEN_RUN_REPEAT", "2")
    monkeypatch.setenv("LOADGEN_RUN_AGAINST", "crypto=openssl;timestamps=user")
    assert loadgen(capsys, "run", "-q").code == ExitCode.OK
    assert [(s.crypto, s.timestamps) for s in made.scenarios] == [("openssl", "user"), ("auto", "auto")] * 2


def test_sides_are_named_by_what_they_differ_in() -> None:
    bench = parse_bench(packaged_bench_text(), "bench.toml")
    against = read_against(["firmware=p1@0.7.0", "delay=key:constant=1ms", "delay=nonce:constant=1ms", "server-key=k"])
    base = resolve_scenario("quick", "", [against, file_layer(bench, "quick")])
    new = resolve_scenario("quick", "", [file_layer(bench, "quick")])
    delays = "key:constant=1ms, nonce:constant=1ms"
    assert side_name(base, against) == f"server-key=k firmware=p1@0.7.0 delay={delays}"
    assert side_name(new, against) == "server-key=the fleet's firmware=p1@0.7.0 delay=none"
    with pytest.raises(UsageError, match="KEY=VALUE"):
        read_against(["crypto="])
