"""Brewskey's spark-server from the npm registry, started on the loopback address with a fleet's keys.

The folder, the overrides and the settings are those of ``docs/real-servers.md``, which is read for them, so that the
page stays true.
"""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "real-servers.md"
_START_S = 60.0
_TRY_EVERY_S = 0.2


def block(language: str, index: int = 0) -> str:
    """A block of the page."""
    found: list[str] = re.findall(
        rf"^```{language}\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )
    return found[index]


def install(folder: Path) -> None:
    """Install the server into ``folder`` as the page says; without its tools the test is skipped."""
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    (folder / "package.json").write_text(block("json"), encoding="utf-8")
    (folder / "loopback.js").write_text(block("js"), encoding="utf-8")
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode and re.search("ENOTFOUND|ECONNREFUSED|ETIMEDOUT|EAI_AGAIN", done.stderr):
        pytest.skip("the npm registry cannot be reached")
    assert done.returncode == 0, done.stderr


def free_port() -> int:
    """A port of the loopback address that nobody has at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A running server."""

    def __init__(self, port: int, log: Path) -> None:
        self.port = port
        self._log = log

    def messages(self) -> list[dict[str, Any]]:
        """What it has logged: bunyan's objects."""
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]

    def said(self, text: str) -> int:
        """How many messages have this text, as message or as error."""
        return sum(text in f"{entry.get('msg')} {entry.get('err', {}).get('message')}" for entry in self.messages())


@contextmanager
def running(packages: Path, folder: Path) -> Iterator[Server]:
    """Start the server in ``folder``, which has its keys, and stop it at the end."""
    settings = json.loads(block("json", 1))
    port = free_port()
    settings["TCP_DEVICE_SERVER_CONFIG"]["PORT"] = port
    settings["EXPRESS_SERVER_CONFIG"]["PORT"] = free_port()
    (folder / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    log = folder / "server.log"
    main = packages / "node_modules" / "@brewskey" / "spark-server" / "dist" / "main.js"
    command = ["node", "-r", str(packages / "loopback.js"), str(main)]
    with log.open("wb") as file, subprocess.Popen(command, cwd=folder, stdout=file, stderr=file) as process:
        try:
            _wait_until_it_listens(process, port, log)
            yield Server(port, log)
        finally:
            process.kill()


def _wait_until_it_listens(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            probe.settimeout(1)
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(_TRY_EVERY_S)
    pytest.fail(f"the server did not start: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
