"""Running the commands of verdicts as a shell would."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import pytest

from loadgen import cli


class Done(NamedTuple):
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def words(self) -> str:
        """Its output without line ends and indentation."""
        return " ".join(self.out.split())

    @property
    def document(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)


def loadgen(capsys: pytest.CaptureFixture[str], *arguments: object) -> Done:
    """Run ``loadgen`` with these arguments."""
    code = cli.main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return Done(int(code), captured.out, captured.err)
