"""Reading bench.toml: strict, and with messages that help."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.config.bench import load_bench, packaged_bench_text, parse_bench
from loadgen.config.resolve import file_layer, resolve_scenario
from loadgen.config.scenario import EXPECTED, KEYS
from loadgen.errors import UsageError

ROOT = Path(__file__).parents[2]


def refusal(text: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        parse_bench(text, "bench.toml")
    return caught.value


def test_the_copy_users_see_is_the_one_in_the_package() -> None:
    assert (ROOT / "bench.toml").read_text(encoding="utf-8") == packaged_bench_text()


def test_every_scenario_of_the_package_resolves() -> None:
    bench = parse_bench(packaged_bench_text(), "bench.toml")
    assert list(bench.scenarios) == ["quick", "steady", "ci", "ceiling", "calibrate"]
    for name in bench.scenarios:
        assert resolve_scenario(name, bench.shown, [file_layer(bench, name)]).target == "mock"


def test_everything_that_the_comments_offer_is_accepted() -> None:
    lines = packaged_bench_text().partition("with its default:\n#\n")[2].splitlines()
    text = "[scenario.all]\nrate = 1\n" + "\n".join(line.removeprefix("# ") for line in lines)
    bench = parse_bench(text, "bench.toml")
    resolve_scenario("all", bench.shown, [file_layer(bench, "all")])
    written = {line.removeprefix("# ").split(" =")[0] for line in lines}
    in_scenarios = {"target", "devices", "keys", "firmware", "rate", "concurrency", "duration", "warmup", "cloud_mode"}
    assert written | in_scenarios | LOAD_MODELS == set(KEYS)


LOAD_MODELS = {"phases", "trace", "storm"}


def test_every_load_model_that_the_comments_offer_is_accepted() -> None:
    block = packaged_bench_text().partition("how long they are:\n#\n")[2].partition("\n#\n")[0]
    lines = [line.removeprefix("# ") for line in block.splitlines()]
    assert {line.split(" =")[0] for line in lines} == LOAD_MODELS
    for line in lines:
        bench = parse_bench(f"[scenario.one]\n{line}\n", "bench.toml")
        assert resolve_scenario("one", bench.shown, [file_layer(bench, "one")]).mode == "open"


def test_every_key_says_what_it_expects() -> None:
    assert tuple(EXPECTED) == KEYS


def test_an_unknown_scenario_names_the_nearest_and_all() -> None:
    bench = parse_bench("[scenario.quick]\n[scenario.steady]\n", "bench.toml")
    with pytest.raises(UsageError) as caught:
        bench.scenario("quik")
    assert str(caught.value) == ('bench.toml: no scenario "quik"\nDid you mean "quick"? There are: quick, steady.')


def test_an_empty_file_has_no_scenario() -> None:
    with pytest.raises(UsageError, match="There are: none at all"):
        parse_bench("", "bench.toml").scenario("quick")


def test_an_unknown_key_names_the_nearest_and_all() -> None:
    error = refusal('[scenario.quick]\nrats = "1/s"\n')
    assert error.where == "bench.toml: scenario.quick"
    assert error.what == 'unknown key "rats"'
    assert error.remedy is not None
    assert error.remedy.startswith('Did you mean "rate"? Allowed: target, server_key, ')


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("rate = []", 'must be a rate such as "400/s" or 400, not a list'),
        ("rate = true", 'must be a rate such as "400/s" or 400, not true'),
        ("duration = 10", 'must be text with a unit such as "10s" or "2m", not the number 10'),
        ("label = 2024-01-01", "not a date or time"),
        ("target = {}", "not a table"),
        ("timeout.key = 20", 'must be text with a unit such as "20s", not the number 20'),
        ('timeout = "20s"', "not the text '20s'"),
        ("count = 1.5", "not the number 1.5"),
    ],
)
def test_a_wrong_type_names_the_key_path(line: str, what: str) -> None:
    error = refusal(f"[scenario.quick]\n{line}\n")
    key = line.split(" ", maxsplit=1)[0]
    assert error.where == f"bench.toml: scenario.quick.{key}"
    assert what in error.what


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("[scenario.quick]\nrate 5\n", "bench.toml: line 2, column 6"),
        ('a = "', "bench.toml: end of document"),
        ("a = 1\na = 2\n", "bench.toml: line 2, column 6"),
    ],
)
def test_a_syntax_error_names_line_and_column(text: str, where: str) -> None:
    error = refusal(text)
    assert error.where == where
    assert error.what.startswith("is no valid TOML: ")
    assert "(at" not in error.what


def test_syntax_that_breaks_the_parser_in_other_ways() -> None:
    assert "is no valid TOML" in refusal("a = " + "1" * 5000).what
    assert "is no valid TOML" in refusal("a = " + "[" * 20_000).what


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[scenarios.quick]\n", 'Did you mean "scenario"?'),
        ("rate = 5\n", "Allowed at the top"),
        ("scenario = 5\n", "must be tables"),
        ("scenario = [1]\n", "not a list"),
        ("[scenario]\nrate = 5\n", "below its [scenario.NAME]"),
        ('[scenario."a b"]\n', "is no name for a scenario"),
        ('[scenario."../x"]\n', "is no name for a scenario"),
        ("[[scenario.quick]]\n", "must be a table [scenario.quick], not a list"),
    ],
)
def test_wrong_structure(text: str, words: str) -> None:
    assert words in str(refusal(text))


def test_looked_up_in_config_then_here_then_in_the_package(tmp_path: Path) -> None:
    assert load_bench(None, tmp_path).shown == "bench.toml of the package"
    (tmp_path / "bench.toml").write_text("[scenario.here]\n", encoding="utf-8")
    assert list(load_bench(None, tmp_path).scenarios) == ["here"]
    other = tmp_path / "other.toml"
    other.write_text("\ufeff[scenario.other]\n", encoding="utf-8")
    bench = load_bench(other, tmp_path)
    assert (bench.shown, list(bench.scenarios)) == (str(other), ["other"])


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: No such file"):
        load_bench(tmp_path / "missing.toml", tmp_path)
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        load_bench(tmp_path, tmp_path)
    latin = tmp_path / "latin.toml"
    latin.write_bytes(b"# caf\xe9\n")
    with pytest.raises(UsageError, match=r"is not UTF-8 text \(byte 5\)"):
        load_bench(latin, tmp_path)
