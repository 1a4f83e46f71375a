"""A device goes from a fleet into a flash image and from there to a cloud."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from loadgen.cli import main
from loadgen.fleet.generate import generate


def test_the_device_of_a_dump_shakes_hands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    generate(Path("f.sqlite"), devices=1, keys=1, seed=1).close()
    make = ["dct", "make", "--fleet", "f.sqlite", "--address", "127.0.0.1", "--layout", "flash", "-o", "flash.bin"]
    assert main(make) == 0
    capsys.readouterr()
    assert main(["run", "--dct", "flash.bin", "--registry", "first-seen", "--count", "3", "--json", "-q"]) in (0, 5)
    record = msgspec.json.decode(capsys.readouterr().out)
    assert record["counts"]["completed"] == 3
    assert record["fleet"] == {"devices": 1, "distinct_keys": 1}
    assert record["scenario"]["fleet"] == "flash.bin"
