"""``loadgen demo``: what is refused before anything is played."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.cli import main
from loadgen.errors import ExitCode


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")


def taken(name: str) -> None:
    Path(name).mkdir()
    (Path(name) / "mine.txt").write_text("mine", encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--keep", "taken"], "taken: there is something there already, and nothing is overwritten"),
        (["--keep", "file"], "file: there is something there already"),
        (["--keep", "file/story"], "file/story: a folder cannot be made: "),
        (["--keep", ""], "--keep"),
        (["--cause", "wifi"], "'wifi' is not one of 'server-key', 'device-key'"),
    ],
)
def test_mistakes(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    taken("taken")
    Path("file").write_text("mine", encoding="utf-8")
    assert main(["demo", "minus-19", *arguments]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""
    assert sorted(path.name for path in Path().rglob("*")) == ["file", "mine.txt", "taken"]


def test_options_of_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    taken("taken")
    monkeypatch.setenv("LOADGEN_DEMO_MINUS_19_KEEP", "taken")
    assert main(["demo", "minus-19"]) == ExitCode.USAGE
    assert "taken: there is something there already" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["minus-19", "--help"]])
def test_help(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", *arguments]) == 0
    assert "minus-19" in capsys.readouterr().out
