"""The commands of ``docs/comparing-firmware.md`` are ones that the program takes."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from loadgen.cli import main

TEXT = (Path(__file__).parents[2] / "docs" / "comparing-firmware.md").read_text(encoding="utf-8")
SHELL = "".join(re.findall(r"^```sh\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)).replace("\\\n", " ")
RUNS = [shlex.split(line, comments=True)[1:] for line in SHELL.splitlines() if line.startswith("loadgen run")]
MIXES = re.findall(r"^    --firmware '(.*?)'", TEXT, re.MULTILINE)


def test_the_page_has_commands() -> None:
    assert len(RUNS) == 3
    assert len(MIXES) == 3


@pytest.mark.parametrize("arguments", RUNS, ids=" ".join)
def test_its_runs_are_understood(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "--dry-run"]) == 0, capsys.readouterr().err


@pytest.mark.parametrize("mix", MIXES)
def test_its_mixes_are_understood(mix: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--dry-run", "--firmware", mix]) == 0, capsys.readouterr().err
