"""``loadgen demo``: what is refused before anything is played."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from loadgen.cli import demo, main
from loadgen.demo.minus19 import Mishap
from loadgen.demo.story import Step, StoryError
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


def short_story(folder: Path, mishap: Mishap, shown: str) -> Generator[Step]:
    """One step, and one file."""
    (folder / "good.bin").write_bytes(mishap.value.encode())
    yield Step(title="All of it", says=(f"The file is {shown}/good.bin.",))
    if mishap is Mishap.DEVICE_KEY:
        raise StoryError("nothing went well")


@pytest.mark.parametrize("keep", [".", "made", "made/in/between/"])
def test_files_are_kept_in_a_new_or_an_empty_folder(
    keep: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "play", short_story)
    assert main(["demo", "minus-19", "--keep", keep]) == 0
    shown = keep.rstrip("/")
    assert capsys.readouterr().out.endswith(f"The files of these commands are in {shown}/\n")
    assert [path.name for path in Path(keep).iterdir()] == ["good.bin"]
    assert (Path(keep) / "good.bin").read_bytes() == b"server-key"


@pytest.mark.parametrize("is_there", [False, True])
def test_nothing_is_kept_of_a_story_that_fails(
    is_there: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "play", short_story)
    if is_there:
        Path("made").mkdir()
    assert main(["demo", "minus-19", "--cause", "device-key", "--keep", "made"]) == ExitCode.INTERNAL
    captured = capsys.readouterr()
    assert captured.out.startswith("1. All of it\nThe file is made/good.bin.\n")
    assert captured.err == "error: nothing went well\n"
    assert [path.name for path in Path().rglob("*")] == (["made"] if is_there else [])
