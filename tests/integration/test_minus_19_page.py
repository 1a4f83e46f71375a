"""``docs/minus-19.md`` against the program: its outputs are what its commands print, its commands work."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

from loadgen.cli import main

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "minus-19.md").read_text(encoding="utf-8")
LOG = re.findall(r"^```\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)[0]
SHOWN = re.findall(r"^    \$ (loadgen .*)\n((?:(?:    (?!\$ ).*)?\n)*)", TEXT, re.MULTILINE)
INLINE = [
    command
    for command in re.findall(r"`(loadgen [^`]+)`", TEXT.replace("\n", " "))
    if not re.search(r"CLOUD|DIR|<|--keep", command) and (".bin" in command or "explain" in command)
]
BLANKS = (
    (r"[0-9a-f]{64}|[0-9a-f]{16}…", "SHA"),
    (r"127\.0\.0\.1:\d+", "ADDRESS"),
    (r"port \d+", "port N"),
    (r"\s+", " "),
)
"""What differs from story to story, and where lines end."""


def blanked(text: str) -> str:
    for pattern, instead in BLANKS:
        text = re.sub(pattern, instead, text)
    return text.strip()


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files of the page."""
    folder = tmp_path_factory.mktemp("page")
    (folder / "serial.log").write_text(LOG, encoding="utf-8")
    for cause in ("server-key", "device-key"):
        assert main(["demo", "minus-19", "--cause", cause, "--keep", str(folder / cause)]) == 0
    for name in ("good.bin", "bad.bin", "mended.bin"):
        shutil.copy(folder / "server-key" / name, folder)
    fleet = str(folder / "server-key" / "fleet.sqlite")
    assert main(["fleet", "export", str(folder / "keys"), "--fleet", fleet, "-q"]) == 0
    assert main(["dct", "extract", str(folder / "good.bin"), str(folder / "taken"), "--only", "server-key"]) == 0
    shutil.copy(folder / "taken" / "server.pub.pem", folder / "cloud.pub.pem")
    shutil.copy(folder / "mended.bin", folder / "after.bin")
    return folder


def test_its_log_is_the_published_one() -> None:
    published = (ROOT / "tests" / "vectors" / "device_logs" / "p1_minus_19.log").read_text(encoding="utf-8")
    assert set(LOG.splitlines()) < set(published.splitlines())


def test_it_shows_what_there_is_to_show() -> None:
    assert len(SHOWN) == 6
    assert len(INLINE) >= 6


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command for command, _ in SHOWN])
def test_its_outputs_are_real(
    command: str, output: str, played: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(played)
    monkeypatch.setenv("NO_COLOR", "1")
    assert main(shlex.split(command)[1:]) in (0, 3, 5)
    printed = blanked(capsys.readouterr().out)
    at = 0
    for part in map(blanked, output.split("…\n")):
        found = printed.find(part, at)
        assert found >= at, f"not printed, or not there:\n{part}\n\nprinted:\n{printed}"
        at = found + len(part)
    assert "…" in output or at == len(printed)


@pytest.mark.parametrize("command", INLINE)
def test_its_other_commands_work(
    command: str, played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if "--output mended.bin" in command:  # which is never overwritten
        command = command.replace("--output mended.bin", f"--output {shlex.quote(str(tmp_path / 'mended.bin'))}")
    monkeypatch.chdir(played)
    assert main(shlex.split(command)[1:]) in (0, 3), capsys.readouterr().err


def test_where_to_look_with_od(played: Path) -> None:
    """The places and the bytes that the page names, in dumps of both copies."""
    places = dict(re.findall(r"od -A x -t x1 -j (0x\w+) -N 8 .*?good is ([0-9a-f. ]+)\)?", TEXT))
    good = (played / "good.bin").read_bytes()
    for place, expected in places.items():
        shown = good[int(place, 16) : int(place, 16) + 8].hex(" ")
        assert re.fullmatch(expected.strip(), shown), (place, shown)
    assert len(places) == 2
    assert (played / "bad.bin").read_bytes()[0x259E:][:294] == b"\xff" * 294
