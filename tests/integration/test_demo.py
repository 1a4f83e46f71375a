"""The story of -19, played with real processes and sockets; every command that it names, run; and its page."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from loadgen.cli import main
from loadgen.demo import minus19
from loadgen.errors import ExitCode
from loadgen.mockcloud.settings import CloudSettings, RegistryPolicy

ROOT = Path(__file__).parents[2]
PROGRAM = [sys.executable, "-m", "loadgen"]
COMMAND = re.compile(r"^    (loadgen .*?)(?:   # exit code (\d+))?$", re.MULTILINE)
SMALL_PIPE = 4096


@dataclass(frozen=True)
class Told:
    """A story that was played, with its files."""

    cause: str
    folder: Path
    """In which the story's own folder is."""
    out: str
    err: str
    exit_code: int


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOADGEN_")}
    return kept | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "80"} | more


@pytest.fixture(scope="module", params=["server-key", "device-key"])
def story(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """A story with kept files, played without a terminal; one of them where there is nothing but ASCII."""
    folder = tmp_path_factory.mktemp("demo")
    more = {"PYTHONIOENCODING": "ascii"} if request.param == "device-key" else {}
    done = subprocess.run(
        [*PROGRAM, "demo", "minus-19", "--cause", request.param, "--keep", "kept/story"],
        cwd=folder,
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Told(request.param, folder, done.stdout, done.stderr, done.returncode)


@contextmanager
def serving(command: list[str], folder: Path) -> Iterator[None]:
    """A cloud in the background, from when it listens."""
    with subprocess.Popen([*PROGRAM, *command], cwd=folder, env=environment(), stderr=subprocess.PIPE, text=True) as it:
        assert it.stderr is not None
        try:
            assert "Listening" in it.stderr.readline()
            yield
        finally:
            it.send_signal(signal.SIGINT)
            it.stderr.read()
    assert it.returncode == 0


def test_it_ends_well(story: Told) -> None:
    assert (story.exit_code, story.err) == (0, "")
    heads = re.findall(r"^(\d)\. ", story.out, re.MULTILINE)
    assert heads == list("12345678")
    assert story.out.count("ERROR: Unable to receive key -19\n") == 1
    assert "Read Server Address = type:255,defaulting to device.spark.io\n" in story.out
    verdicts = re.findall(r"^(HEALTHY|UNDECIDED|FAULT)  ", story.out, re.MULTILINE)
    assert verdicts == ["HEALTHY", "UNDECIDED", "FAULT", "HEALTHY"]
    flowing = " ".join(story.out.split())
    assert "Cannot be told apart: blank-server-key, new-device-key" in flowing
    certain, refused, other = {
        "server-key": ("blank-server-key", r"[1-5] refused \(key/bad_(ciphertext|nonce)\)", "new-device-key (certain)"),
        "device-key": ("new-device-key", r"[1-5] refused \(key/key_mismatch\)", "blank-server-key (certain)"),
    }[story.cause]
    assert f"{certain} (certain)" in flowing
    assert other not in flowing
    assert re.search(refused, flowing)
    assert "\x1b" not in story.out
    assert story.out.isascii() or story.cause == "server-key"


def test_it_fits_a_narrow_terminal(story: Told) -> None:
    unbroken = re.compile(r"    |  \d{10} |  Or give the cloud")  # to be copied or compared
    assert [line for line in story.out.splitlines() if len(line) > 80 and not unbroken.match(line)] == []


def test_it_keeps_its_files_private(story: Told) -> None:
    folder = story.folder / "kept" / "story"
    modes = {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()}
    private = {"good.bin", "bad.bin", "mended.bin", "fleet.sqlite"}
    private |= {"new-device.der"} if story.cause == "device-key" else set()
    assert modes == dict.fromkeys(private, 0o600) | {"serial.log": 0o644}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in folder.parent.iterdir()] == ["story"]


def test_every_command_that_it_names_does_what_it_did(
    story: Told, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(story.folder)
    monkeypatch.setenv("NO_COLOR", "1")
    before = {path: path.read_bytes() for path in Path("kept/story").iterdir()}
    commands = [(shlex.split(text)[1:], int(code or 0)) for text, code in COMMAND.findall(story.out)]
    assert len(commands) >= 15
    cloud = next(command for command, _ in commands if command[0] == "cloud")
    with serving(cloud, story.folder):
        for command, code in commands:
            if command is not cloud:
                assert main(command) == code, f"{shlex.join(command)}\n{capsys.readouterr()}"
    assert {path: path.read_bytes() for path in Path("kept/story").iterdir()} == before
    assert Path("mended.bin").read_bytes() == before[Path("kept/story/mended.bin")]


def test_a_bad_device_is_still_bad(story: Told, capsys: pytest.CaptureFixture[str]) -> None:
    """The kept dump is what the doctor makes of it, not what the story says of it."""
    dump = story.folder / "kept" / "story" / "bad.bin"
    assert main(["dct", "show", str(dump), "--json"]) == 0
    codes = {trouble["code"] for trouble in json.loads(capsys.readouterr().out)["troubles"]}
    assert "no_address" in codes
    assert ("no_server_key" in codes) == (story.cause == "server-key")


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "minus-19", "--cause", "device-key", "--json"]) == 0
    captured = capsys.readouterr()
    document: dict[str, Any] = json.loads(captured.out)
    assert captured.err == ""
    assert (document["schema"], document["cause"], document["folder"]) == ("loadgen/demo/1", "device-key", None)
    steps = document["steps"]
    assert [step["number"] for step in steps] == list(range(1, 9))
    assert steps[2]["lines"][-4].endswith("ERROR: Unable to receive key -19")
    assert steps[3]["diagnosis"]["indistinguishable"] == ["blank-server-key", "new-device-key"]
    assert steps[4]["diagnosis"]["causes"][0]["id"] == "new-device-key"
    assert steps[5]["comparison"]["can_break"]
    key, address = steps[6]["writes"]
    assert (key["offset"], key["size"], key["begin"]) == (34, 1216, None)
    assert (address["offset"], address["size"], address["begin"]) == (2466, 128, "00047f000001ffff")
    assert steps[7]["diagnosis"]["verdict"] == "healthy"
    assert {command["exit_code"] for step in steps for command in step["commands"]} == {0, 3, 5}


def test_a_step_that_ends_otherwise_ends_the_story(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a cloud that lets everybody in, a new device key harms nobody."""

    def lenient(**settings: Any) -> CloudSettings:
        return CloudSettings(**settings | {"registry": RegistryPolicy.OPEN})

    monkeypatch.setattr(minus19, "CloudSettings", lenient)
    kept = tmp_path / "story"
    assert main(["demo", "minus-19", "--cause", "device-key", "--keep", str(kept)]) == ExitCode.INTERNAL
    captured = capsys.readouterr()
    assert "error: What happens to it: the handshake was completed" in captured.err
    assert "2. A device that connects" in captured.out
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing_behind(tmp_path: Path) -> None:
    command = [*PROGRAM, "demo", "minus-19", "--keep", "story"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        # Nobody reads more than the beginning, so that the story is not over when it is interrupted.
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, SMALL_PIPE)
        assert process.stdout.read(1) == b"1"
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == ExitCode.INTERRUPTED
    assert list(tmp_path.iterdir()) == []
    assert children
    assert not any(Path(f"/proc/{pid}").exists() for pid in children)
