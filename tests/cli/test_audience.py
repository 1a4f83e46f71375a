"""Who looks at a run: where they may be, and what is said when something is wrong with that."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest

from loadgen.cli import audience, main
from loadgen.cli.audience import NOBODY
from loadgen.config.target import HostPort


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.mark.parametrize("option", ["--dashboard", "--prometheus"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("8089", "Write :8089"),
        ("localhost", "names no port"),
        ("::1", "names no port"),
        (":", "has no port from 0 to 65535"),
        (":65536", "has no port from 0 to 65535"),
        (":-1", "has no port from 0 to 65535"),
        ("http://127.0.0.1:8089/", "is a URL, not an address"),
        ("192.0.2.1:8089", "The address is none of this machine"),
        ("no such host:1", "is no host name or address"),
    ],
)
def test_addresses_that_cannot_be_listened_on(
    option: str, text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", option, text]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("error: ")
    assert said in err
    assert not list(tmp_path.glob("results/*")), "nothing was started"


@pytest.mark.parametrize(("option", "example"), [("--dashboard", ":8089"), ("--prometheus", ":9464")])
def test_the_example_is_the_usual_port_of_the_option(
    option: str, example: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", option, "foo"]) == 2
    err = capsys.readouterr().err
    assert f"Write for example {example}," in err
    assert f"0.0.0.0{example}" in err


def test_the_environment_names_an_address(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LOADGEN_RUN_DASHBOARD", "8089")
    assert main(["run"]) == 2
    assert "Write :8089" in capsys.readouterr().err


def test_both_cannot_be_at_one_port(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert main(["run", "--prometheus", f":{port}", "--dashboard", f":{port}"]) == 2
    assert f"127.0.0.1:{port}: cannot listen (Address already in use)" in capsys.readouterr().err


def test_nothing_listens_in_a_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["run", "--dry-run", "--dashboard", f":{taken.getsockname()[1]}"]) == 0
    assert "Live page" not in capsys.readouterr().err


class FakePage:
    """A page that has gone wrong."""

    url = "http://127.0.0.1:8089/"
    is_open = True

    def __init__(self, *_: Any) -> None:
        self.closed = False

    def close(self) -> str:
        """Say so."""
        self.closed = True
        return "it has missed 3 seconds"


def test_a_page_that_was_not_whole_is_said_whatever_happens(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> None:
        with audience.audience(None, HostPort("127.0.0.1", 8089), quiet=False) as told:
            assert told.of_run() is not None
            raise KeyboardInterrupt

    monkeypatch.setattr(audience, "Dashboard", FakePage)
    with pytest.raises(KeyboardInterrupt):
        interrupted()
    err = capsys.readouterr().err
    assert "Live page: http://127.0.0.1:8089/ (open to the network, without a password)" in err
    assert "warning: The live page was not whole: it has missed 3 seconds. The record is." in err


def test_nobody_costs_nothing() -> None:
    assert NOBODY.of_run(1, 2, "base") is None
