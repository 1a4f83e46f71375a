"""``loadgen crypto``: options and errors; what it measures is tested elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loadgen.cli import main
from loadgen.crypto import backends
from loadgen.errors import ExitCode


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def without_extension(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(backends, "_import_error", ImportError("No module named 'loadgen._native'"))
    backends.kernel.cache_clear()
    yield
    backends.kernel.cache_clear()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--duration", "5"], "--duration: '5' is no duration without a unit"),
        (["--duration", "20ms"], "--duration: is too short for a measurement"),
        (["--sizing", "lots"], "--sizing: 'lots' is no rate"),
        (["--sizing", "0/s"], "--sizing: "),
        (["--threads", "0"], "--threads: "),
        (["--crypto", "nativ"], '--crypto: unknown value "nativ"'),
        (["--label", "a/b"], "--label: 'a/b' is no label"),
        (["--out", "file"], "file: the results folder cannot be written"),
    ],
)
def test_wrong_options(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("file").write_text("in the way")
    assert main(["crypto", *arguments]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""
    assert not Path("results").exists() or not list(Path("results").iterdir())


@pytest.mark.parametrize("command", ["crypto", "cloud"])
def test_native_without_the_extension_says_what_is_missing(
    command: str, without_extension: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([command, "--crypto", "native"]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert "the native extension is not built" in captured.err
    assert "Install a C compiler" in captured.err
    assert captured.out == ""
