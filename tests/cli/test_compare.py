"""``loadgen compare``."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from loadgen.cryptostore import write_crypto_record
from loadgen.recording.record import Finding, Validity
from loadgen.store import RUN_FILE
from tests.analysis.runs import made_record, write, write_set
from tests.analysis.test_cryptovalues import benchmark
from tests.cli.verdicts import loadgen

FIXTURE = Path(__file__).parents[1] / "fixtures" / "record-1"

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Ten runs each of ``base``, ``same`` and ``slow`` (+15 %)."""
    for label, shift in (("base", 1.0), ("same", 1.0), ("slow", 1.15)):
        write_set(tmp_path, label, 10, shift)
    return tmp_path


def test_sets_by_pattern_and_by_label(results: Path, capsys: Capture) -> None:
    by_pattern = loadgen(capsys, "compare", results / "*-base-*", results / "*-slow-*", "--json")
    rows = {row["metric"]: row for row in by_pattern.document["rows"]}
    assert rows["handshake p50"]["verdict"] == "slower"
    assert rows["handshake p50"]["change"] == pytest.approx(0.15, abs=0.03)
    assert rows["nonce p50"]["verdict"] is None
    assert by_pattern.code == 0
    by_label = loadgen(capsys, "compare", "--label", "base", "--label", "slow", "--results", results, "--json")
    assert by_label.document["rows"] == by_pattern.document["rows"]
    mixed = loadgen(capsys, "compare", "--label", "base", "--results", results, results / "*-slow-*", "--json")
    assert mixed.document["rows"] == by_pattern.document["rows"]


@pytest.mark.parametrize(
    ("new", "condition", "code"),
    [
        ("slow", "handshake p99 +10%", 4),
        ("slow", "slower", 4),
        ("same", "handshake p99 +10%", 0),
        ("same", "slower", 0),
        ("slow", "handshake p99 +15%", 5),
        ("same", "handshake p99.99 +10%", 5),
    ],
)
def test_judging(new: str, condition: str, code: int, results: Path, capsys: Capture) -> None:
    done = loadgen(capsys, "compare", results / "*-base-*", results / f"*-{new}-*", "--fail-if", condition)
    assert done.code == code


def test_same_seed_gives_the_same_comparison(results: Path, capsys: Capture) -> None:
    sides = [results / "*-base-*", results / "*-same-*"]
    texts = [loadgen(capsys, "compare", *sides, "--json", "--seed", seed).out for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_family_effect_and_rows_can_be_chosen(results: Path, capsys: Capture) -> None:
    sides = [results / "*-base-*", results / "*-slow-*"]
    done = loadgen(capsys, "compare", *sides, "--metric", "key p90", "--effect", "30%", "--all", "--json")
    assert done.document["family"] == ["key p90"]
    assert done.document["rows"][0]["verdict"] == "none"
    assert "key p75" in [row["metric"] for row in done.document["rows"]]


def test_one_run_a_side_is_inconclusive(results: Path, capsys: Capture) -> None:
    base, slow = (sorted(results.glob(f"*-{label}-*"))[0] for label in ("base", "slow"))
    done = loadgen(capsys, "compare", base, slow, "--fail-if", "handshake p99 +10%")
    assert done.code == 5
    assert "one run a side" in done.words
    assert loadgen(capsys, "compare", base, slow).code == 0
    alone = loadgen(capsys, "compare", FIXTURE, FIXTURE, "--firmware", "p1@0.7.0", "--json")
    assert alone.document["design"] == "single"


def test_two_firmwares_of_a_run_are_compared_within_it(capsys: Capture) -> None:
    done = loadgen(capsys, "compare", FIXTURE, "--json")
    assert done.document["design"] == "interleaved"
    assert [done.document[side]["name"] for side in ("base", "new")] == ["p1@0.7.0", "photon@0.6.3"]
    turned = loadgen(capsys, "compare", FIXTURE, "--firmware", "photon@0.6.3", "--firmware", "p1@0.7.0", "--json")
    assert turned.document["rows"][0]["base"] == done.document["rows"][0]["new"]


@pytest.fixture
def results_and_output(results: Path, capsys: Capture) -> tuple[Path, Capture]:
    """Both, for tests that have many parameters."""
    return results, capsys


def change(results: Path, label: str, **parts: dict[str, object]) -> None:
    for path in results.glob(f"*-{label}-*"):
        document = json.loads((path / RUN_FILE).read_text())
        for part, values in parts.items():
            document[part] |= values
        (path / RUN_FILE).write_text(json.dumps(document))


@pytest.mark.parametrize(
    ("field", "value", "text", "code"),
    [
        ("scenario.rate_per_s", 400, "scenario rate_per_s differs: 200 in base, 400 in new", 2),
        ("environment.cpu_model", "Another", "machine: processor differs: A processor in base, Another", 2),
        ("environment.crypto_backend", "native", "crypto backend differs: openssl in base, native in new", 0),
        (
            "scenario.phases",
            [{"text": "200/s for 5s"}],
            "scenario phases differs: none in base, 200/s for 5s in new",
            2,
        ),
        ("scenario.storm", {"kind": "constant"}, "scenario storm differs: none in base", 2),
        ("scenario.delay", ["key:constant=1ms"], "scenario delay differs: none in base, key:constant=1ms in new", 0),
        ("scenario.name", "steady", "scenario name differs: quick in base, steady in new", 0),
        ("target.kind", "remote", "target differs", 0),
    ],
)
def test_differences_are_named(
    field: str, value: object, text: str, code: int, results_and_output: tuple[Path, Capture]
) -> None:
    results, capsys = results_and_output
    part, name = field.split(".")
    change(results, "slow", **{part: {name: value}})
    sides = [results / "*-base-*", results / "*-slow-*"]
    done = loadgen(capsys, "compare", *sides)
    assert done.code == code
    assert text in (done.err if code else done.words)
    assert loadgen(capsys, "compare", *sides, "--anyway").code == 0


def test_other_kinds_of_records_are_refused(results: Path, capsys: Capture) -> None:
    for path in results.glob("*-slow-*"):
        document = json.loads((path / RUN_FILE).read_text())
        (path / RUN_FILE).write_text(json.dumps(document | {"schema": "loadgen/other/1"}))
    done = loadgen(capsys, "compare", results / "*-base-*", results / "*-slow-*")
    assert done.code == 2
    assert "loadgen/other/1" in done.err


def test_invalid_runs_are_left_out_and_named(results: Path, capsys: Capture) -> None:
    finding = Finding(code="x", level="invalid", observed=1, limit=0, text="Busy.", remedy="Rest.")
    bad = msgspec.structs.replace(
        made_record(9999, 50.0, label="base"), validity=Validity(verdict="invalid", findings=[finding])
    )
    path = write(results, bad)
    done = loadgen(capsys, "compare", results / "*-base-*", results / "*-same-*", "--fail-if", "slower")
    assert done.code == 0
    assert f"{path} is left out: the run is invalid: Busy." in done.words
    alone = loadgen(capsys, "compare", path, results / "*-same-*", "--fail-if", "slower")
    assert alone.code == 5


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ([], "no record is named"),
        (["{r}/*-base-*", "{r}/*-none-*"], "no record is named so"),
        (["{r}/*-base-*"], "only one side is named"),
        (["{r}/*-base-*", "{r}/*-slow-*", "{r}/*-same-*"], "3 sides are named"),
        (["{r}/*-base-*", "{r}/*-slow-*", "--fail-if", "handshak p99 +10%"], "'handshak p99' is no metric"),
        (["{r}/*-base-*", "{r}/*-slow-*", "--fail-if", "handshake p99 10%"], "direction is missing"),
        (["{r}/*-base-*", "{r}/*-slow-*", "--metric", "handshake p98"], "no metric"),
        (["{r}/*-base-*", "{r}/*-slow-*", "--effect", "2"], "no percentage"),
        (["{r}/*-base-*", "{r}/*-slow-*", "--seed", "x"], "no whole number"),
        (["{r}/*-base-*", "{r}/*-slow-*", "--firmware", "p2@1.0"], "p2@1.0 did not run"),
        (["{r}/*-base-*", "{r}/*-slow-*", *["--firmware", "p1@0.7.0"] * 3], "more than the two sides"),
        (["--baseline", "{r}/*-base-*", "{r}/*-slow-*"], "exactly one other"),
    ],
)
def test_mistakes_end_with_2(arguments: list[str], text: str, results: Path, capsys: Capture) -> None:
    done = loadgen(capsys, "compare", *(word.format(r=results) for word in arguments))
    assert done.code == 2
    assert text in done.err


def test_formats(results: Path, capsys: Capture) -> None:
    sides = [results / "*-base-*", results / "*-slow-*"]
    assert "handshake p50" in loadgen(capsys, "compare", *sides, "--format", "markdown").out
    assert "<testsuites>" in loadgen(capsys, "compare", *sides, "--format", "junit").out
    assert loadgen(capsys, "compare", *sides, "--format", "csv").out.startswith("metric,unit,base")
    assert "::warning title=Slower::" in loadgen(capsys, "compare", *sides, "--format", "github").out


# --- baselines


def test_baseline_of_scenario_and_machine(results: Path, capsys: Capture) -> None:
    direct = loadgen(capsys, "compare", results / "*-base-*", results / "*-slow-*", "--json")
    done = loadgen(capsys, "baseline", "set", "--label", "base", "--results", results, "--note", "v1")
    assert done.code == 0
    assert "Run-to-run noise: handshake p50" in done.out
    (path,) = (results / "baselines").iterdir()
    against = ["compare", "--baseline", "--results", results, "--label", "slow"]
    found = loadgen(capsys, *against, "--json", "--fail-if", "handshake p99 +10%")
    assert found.code == 4
    assert found.document["rows"][:6] == direct.document["rows"][:6]
    assert (
        loadgen(capsys, "compare", path, results / "*-slow-*", "--json").document["rows"][:6]
        == found.document["rows"][:6]
    )
    again = loadgen(capsys, "baseline", "set", "--label", "same", "--results", results, "--json")
    assert again.document["replaced"] is True
    assert "quick-" in loadgen(capsys, "baseline", "list", "--results", results).out
    shown = loadgen(capsys, "baseline", "show", "quick", "--results", results)
    assert "handshake p99" in shown.out
    assert loadgen(capsys, "baseline", "show", path, "--json").document["baselines"][0]["scenario"] == "quick"


def test_no_baseline_ends_with_6(results: Path, capsys: Capture) -> None:
    done = loadgen(capsys, "compare", "--baseline", "--results", results, "--label", "slow")
    assert done.code == 6
    assert 'no baseline of the scenario "quick" for this machine' in done.err
    assert loadgen(capsys, "baseline", "show", "--results", results).code == 6
    listed = loadgen(capsys, "baseline", "list", "--results", results)
    assert (listed.code, listed.out) == (0, "")
    assert "No baseline" in listed.err


def test_baseline_of_another_machine_is_named_and_not_used(results: Path, capsys: Capture) -> None:
    loadgen(capsys, "baseline", "set", "--label", "base", "--results", results)
    (path,) = (results / "baselines").iterdir()
    change(results, "slow", environment={"cpu_model": "Another"})
    done = loadgen(capsys, "compare", "--baseline", "--results", results, "--label", "slow")
    assert done.code == 6
    assert f"There is one of another machine: {path} is of A processor." in done.err
    refused = loadgen(capsys, "compare", path, results / "*-slow-*")
    assert refused.code == 2
    assert "machine: processor differs" in refused.err


def test_weak_and_impossible_baselines(results: Path, capsys: Capture) -> None:
    two = sorted(results.glob("*-base-*"))[:2]
    for runs, counted in ((two, "2 runs are"), (two[:1], "1 run is")):
        done = loadgen(capsys, "baseline", "set", *runs, "--results", results)
        assert f"warning: {counted} too few for verdicts" in done.err
    bad = msgspec.structs.replace(made_record(9999), validity=Validity(verdict="invalid"))
    path = write(results, bad)
    assert loadgen(capsys, "baseline", "set", *two, path, "--results", results).code == 2
    change(results, "slow", scenario={"rate_per_s": 400})
    mixed = loadgen(capsys, "baseline", "set", "--label", "base", "--label", "slow", "--results", results)
    assert mixed.code == 2


@pytest.mark.parametrize("content", ["{", '{"schema": "loadgen/baseline/9"}', '{"schema": "loadgen/baseline/1"}'])
def test_damaged_or_newer_baselines_end_with_2(content: str, results: Path, capsys: Capture) -> None:
    path = results / "baselines" / "quick-0.json"
    path.parent.mkdir()
    path.write_text(content)
    done = loadgen(capsys, "compare", path, results / "*-slow-*")
    assert done.code == 2
    assert str(path) in done.err
    assert loadgen(capsys, "baseline", "list", "--results", results).code == 2


def test_crypto_benchmarks_compare_the_same_way(tmp_path: Path, capsys: Capture) -> None:
    for index in range(6):
        write_crypto_record(tmp_path, msgspec.structs.replace(benchmark(index), label="base"))
        write_crypto_record(tmp_path, msgspec.structs.replace(benchmark(50 + index, 1.2), label="new"))
    sides = [tmp_path / "*-base-*", tmp_path / "*-new-*"]
    done = loadgen(capsys, "compare", *sides, "--fail-if", "slower", "--json")
    assert (done.code, done.document["family"]) == (4, ["unwrap_key openssl x16 cpu"])
    assert loadgen(capsys, "baseline", "set", "--label", "base", "--results", tmp_path).code == 0
    against = loadgen(capsys, "compare", "--baseline", "--label", "new", "--results", tmp_path, "--fail-if", "slower")
    assert against.code == 4
    run = write(tmp_path, made_record(1))
    mixed = loadgen(capsys, "compare", run, tmp_path / "*-new-*")
    assert mixed.code == 2
    assert "schema differs: loadgen/run/1 in base, loadgen/crypto/1 in new" in mixed.err
    assert loadgen(capsys, "compare", tmp_path / "*-new-*").code == 2
