"""The command line from outside: errors, exit codes, streams."""

from __future__ import annotations

import errno
import io
import json
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

import loadgen.cli
from loadgen import __version__
from loadgen.__main__ import run
from loadgen.cli import COMMANDS, main
from loadgen.cli.messages import show_error, show_warning
from loadgen.cli.output import write_lines
from loadgen.config.bench import packaged_bench_text
from loadgen.errors import ExitCode, UsageError


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let the whole command line do nothing but fail."""

    def fail(**_: Any) -> None:
        raise error

    monkeypatch.setattr(loadgen.cli.cli, "main", fail)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"loadgen, version {__version__}\n"


@pytest.mark.parametrize("name", [None, *COMMANDS])
def test_help(name: str | None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"] if name else ["-h"]) == 0
    assert "Usage: loadgen" in capsys.readouterr().out


@pytest.mark.parametrize("group", [[], ["fleet"], ["dct"], ["devicelog"], ["baseline"], ["demo"]])
def test_the_list_of_commands_cuts_no_sentence_off(
    group: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert main([*group, "--help"]) == 0
    listed = capsys.readouterr().out.partition("Commands:\n")[2].partition("\n\n")[0]
    assert "..." not in listed
    sentences = re.split(r"\n  (?=\S)", listed.rstrip())
    assert len(sentences) > 1 or group == ["demo"]
    assert all(sentence.endswith(".") for sentence in sentences)


def test_results_are_broken_between_words_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("COLUMNS", "50")
    sentence = "fleet.sqlite: devices: 10,000, distinct keys: 64, with the cloud's private key"
    for stream, text in (
        (Screen(), "fleet.sqlite: devices: 10,000, distinct keys: 64,\n  with the cloud's private key\n"),
        (io.StringIO(), f"{sentence}\n"),
    ):
        monkeypatch.setattr(sys, "stdout", stream)
        write_lines([sentence])
        assert stream.getvalue() == text


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["runn"], "No such command 'runn'"),
        (["run", "--rat", "5"], "No such option"),
        (["run", "--rate"], "requires an argument"),
        (["run", "surplus"], "unexpected extra argument"),
        (["fleet", "export"], "Missing argument"),
    ],
)
def test_wrong_words(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.err.startswith("error: ")
    assert "--help`" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize(
    ("arguments", "command"),
    [(["run", "--rate"], "loadgen run"), (["dct", "show", "--copy"], "loadgen dct show"), (["runn"], "loadgen")],
)
def test_wrong_words_point_to_the_help_of_their_command(
    arguments: list[str], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == ExitCode.USAGE
    assert capsys.readouterr().err.endswith(f"See `{command} --help`.\n")


class _Interrupted(ModuleType):
    """A module in whose loading Ctrl-C is pressed."""

    def __getattr__(self, name: str) -> object:
        raise KeyboardInterrupt(name)


def test_a_ctrl_c_while_the_program_loads_shows_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "loadgen.cli", _Interrupted("loadgen.cli"))
    assert run() == ExitCode.INTERRUPTED
    assert capsys.readouterr() == ("", "")


def test_an_error_is_what_where_remedy(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--scenario", "quik"]) == ExitCode.USAGE
    assert capsys.readouterr().err == (
        'error: bench.toml of the package: no scenario "quik"\n'
        '  Did you mean "quick"? There are: quick, steady, ci, ceiling, calibrate.\n'
    )


def test_an_internal_error_has_a_traceback_only_on_demand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, ZeroDivisionError("oops"))
    assert main([]) == ExitCode.INTERNAL
    text = capsys.readouterr().err
    assert text.startswith("error: internal error: ZeroDivisionError: oops\n")
    assert "Traceback" not in text
    monkeypatch.setenv("LOADGEN_DEBUG", "1")
    main([])
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("error", [KeyboardInterrupt(), click.Abort()])
def test_interruptions(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    raising(monkeypatch, error)
    assert main([]) == ExitCode.INTERRUPTED
    assert capsys.readouterr().err == ""


def test_a_command_alone_and_a_group_alone_show_their_help(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in ([], "Usage: loadgen [OPTIONS]"), (["fleet"], "Usage: loadgen fleet [OPTIONS]"):
        assert main(arguments) == ExitCode.USAGE
        assert capsys.readouterr().err.startswith(words)


class BrokenStream(io.StringIO):
    """A stream that cannot be written."""

    encoding = "utf-8"

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def write(self, _text: str, /) -> int:
        raise self._error


def test_a_reader_that_has_gone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdout", BrokenStream(BrokenPipeError()))
    assert main(["run", "--dry-run"]) == ExitCode.OK
    assert capsys.readouterr().err == ""


def test_a_stdout_that_is_full(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdout", BrokenStream(OSError(errno.ENOSPC, "No space left on device")))
    assert main(["run", "--dry-run"]) == ExitCode.INTERNAL
    assert capsys.readouterr().err.startswith("error: standard output: the results cannot be written: No space left")


def test_streams_that_were_closed_before_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert main(["run", "--dry-run"]) == ExitCode.OK
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["run", "--rate", "0"]) == ExitCode.USAGE


def test_words_that_cannot_be_written_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", BrokenStream(OSError(errno.ENOSPC, "No space left on device")))
    assert main(["run", "--rate", "0"]) == ExitCode.USAGE


def test_messages_are_coloured_on_terminals_only(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        encoding = "ascii"

        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    stream = Terminal()
    show_warning("two\nlines µ\x1b[2J", stream)
    assert stream.getvalue() == "\x1b[33mwarning:\x1b[0m two\n  lines u\\x1b[2J\n"
    monkeypatch.setenv("NO_COLOR", "1")
    stream = Terminal()
    assert show_error(UsageError("wrong"), stream) == ExitCode.USAGE
    assert stream.getvalue() == "error: wrong\n"


def test_init_writes_the_scenarios_and_overwrites_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init"]) == 0
    written = tmp_path / "bench.toml"
    assert written.read_text(encoding="utf-8") == packaged_bench_text()
    written.write_text("mine", encoding="utf-8")
    capsys.readouterr()
    assert main(["init"]) == ExitCode.USAGE
    assert "not overwritten" in capsys.readouterr().err
    assert written.read_text(encoding="utf-8") == "mine"


def test_init_leaves_no_half_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Path, "open", lambda path, *_, **__: path.touch() or BrokenStream(OSError(28, "No space left")))
    assert main(["init"]) == ExitCode.USAGE
    assert "bench.toml: cannot be written: No space left" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def dry_run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert main(["run", "--dry-run", "--json", *arguments]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    document: dict[str, Any] = json.loads(captured.out)
    return document


def test_options_win_over_the_environment_over_the_scenario(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = '[scenario.quick]\nrate = "10/s"\nduration = "10s"\nhold = "1s"\nlabel = "file"\n'
    (tmp_path / "bench.toml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("LOADGEN_RUN_HOLD", "2s")
    monkeypatch.setenv("LOADGEN_RUN_LABEL", "environment")
    document = dry_run(capsys, "--label", "option")
    assert (document["rate_per_s"], document["hold_ns"], document["label"]) == (10, 2_000_000_000, "option")
    assert document["source"] == "bench.toml"


def test_scenario_and_config_come_from_the_environment_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "other.toml").write_text("[scenario.mine]\nconcurrency = 5\ncount = 9\n", encoding="utf-8")
    monkeypatch.setenv("LOADGEN_RUN_CONFIG", "other.toml")
    monkeypatch.setenv("LOADGEN_RUN_SCENARIO", "mine")
    monkeypatch.setenv("LOADGEN_RUN_TIMEOUT", "hello=3s key=1s")
    document = dry_run(capsys)
    assert (document["name"], document["mode"], document["count"]) == ("mine", "closed", 9)
    assert document["timeouts_ns"]["hello"] == 3_000_000_000
    assert document["timeouts_ns"]["key"] == 1_000_000_000


def test_a_calibration_has_a_scenario_of_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    assert dry_run(capsys, "--calibrate")["name"] == "calibrate"
    assert dry_run(capsys, "--calibrate", "--scenario", "steady")["name"] == "steady"


def test_a_dry_run_for_people_can_be_pasted_into_bench_toml(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--rate", "90/m", "--count", "7", "--server-key", 'a"b', "--timeout", "key=1500ms", "--seed", "5"]
    before = dry_run(capsys, *options)
    assert main(["run", "--dry-run", *options]) == 0
    (tmp_path / "bench.toml").write_text(capsys.readouterr().out, encoding="utf-8")
    assert dry_run(capsys) == before | {"source": "bench.toml"}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "device.spark.io"], "production name"),
        (["--target", "8.8.8.8"], "public address"),
        (["--target", "169.254.0.1"], "link-local"),
        (["--target", "10.0.0.1", "--rate", "10001"], "10,001/s is more than"),
        (["--target", "10.0.0.1", "--concurrency", "20001"], "20,001 handshakes in flight"),
        (["--timeout", "hello"], "no STAGE=DURATION"),
        (["--rate", "1", "--concurrency", "1"], "exclude each other"),
        (
            ["--calibrate", "--scenario", "quick", "--target", "10.0.0.1"],
            "--calibrate: only the run's own mock cloud writes down",
        ),
    ],
)
def test_refused_before_anything_happens(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", *arguments]) == ExitCode.USAGE
    assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_vendor_name_in_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LOADGEN_RUN_TARGET", "Particle.IO.")
    monkeypatch.setenv("LOADGEN_RUN_ALLOW_PUBLIC_TARGET", "1")
    assert main(["run"]) == ExitCode.USAGE
    assert "LOADGEN_RUN_TARGET: particle.io. is a production name" in capsys.readouterr().err


def test_a_results_folder_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["run", "--out", "file"]) == ExitCode.USAGE
    assert "file: the results folder cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--limit", "0"], "--limit"),
        (["--listen", "host:99999"], "--listen"),
        (["--mode", "fast"], "--mode"),
        (["--registry", "shut"], "--registry"),
        (["--workers", "0"], "--workers"),
        (["--duration", "5"], "--duration"),
        (["--server-key", "missing.pem"], "missing.pem"),
        (["--registry-keys", "."], "no private key for the cloud"),
    ],
)
def test_wrong_options_of_cloud(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cloud", *arguments]) == ExitCode.USAGE
    assert not Path(".loadgen").exists(), "no fleet is made for a command that cannot run"
    assert words in capsys.readouterr().err


def test_a_fleet_is_made_shown_and_exported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "generate", "--devices", "3", "--keys", "1", "--fleet", "f.sqlite", "-q"]) == 0
    captured = capsys.readouterr()
    assert captured.out == "f.sqlite: devices: 3, distinct keys: 1, with the cloud's private key\n"
    assert captured.err == ""
    assert main(["fleet", "show", "--fleet", "f.sqlite", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["devices"] == 3
    assert main(["fleet", "export", "keys", "--fleet", "f.sqlite"]) == 0
    assert capsys.readouterr().out == "keys: public, devices: 3, 3 files written\n"
    assert len(list((tmp_path / "keys").glob("*.pub.pem"))) == 3
    assert main(["fleet", "export", "keys", "--fleet", "f.sqlite", "-q"]) == 0
    assert "3 were there already" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["generate", "--devices", "0"],
        ["generate", "--devices", "1", "--keys", "2"],
        ["generate", "--devices", "many"],
        ["show"],
        ["show", "--fleet", ""],
        ["export", "keys"],
    ],
)
def test_wrong_options_of_fleet(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", *arguments]) == ExitCode.USAGE
    assert capsys.readouterr().err.startswith("error: ")
    assert list(tmp_path.iterdir()) == []
