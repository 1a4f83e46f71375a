"""``loadgen fleet import``, ``export`` and ``verify`` from outside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadgen.cli import fleet_files, main
from loadgen.errors import ExitCode
from loadgen.fleet.exporting import ExportFormat
from loadgen.fleet.identity import public_key_of
from loadgen.fleet.keydata import private_key_pem
from loadgen.fleet.keyfiles import public_key_pem
from loadgen.fleet.keystore import FleetStore
from tests.fleet.keys import good_keys, odd_keys, server_pem, server_spki

ID = "0123456789abcdef01234567"
GOOD = good_keys()
BAD = [bytes.fromhex(key["private_key_der"]) for key in odd_keys() if not key["firmware_reads_it"]]


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")


@pytest.fixture
def keys() -> Path:
    folder = Path("keys")
    folder.mkdir()
    for number, der in enumerate(GOOD[:3]):
        (folder / f"{number:024x}.der").write_bytes(der)
    (folder / "default_key.pem").write_bytes(server_pem())
    return folder


def document(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    captured = capsys.readouterr()
    found: dict[str, Any] = json.loads(captured.out)
    return found


def test_keys_are_imported_and_the_format_is_said(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "import", "keys", "--fleet", "f.sqlite"]) == 0
    captured = capsys.readouterr()
    assert captured.out == (
        "keys: der, files: 4, devices with a private key: 3, with a public key only: 0\n"
        "keys/default_key.pem: the server's private key\n"
        "f.sqlite: devices: 3, distinct keys: 3\n"
    )
    assert captured.err == "Reading key files …\nReading key files: done\n"
    assert main(["fleet", "import", "keys", "--fleet", "f.sqlite", "-q"]) == 0
    captured = capsys.readouterr()
    assert "f.sqlite: devices: 3, distinct keys: 3, there already and the same\n" in captured.out
    assert captured.err == ""


def test_public_keys_alone_are_said_not_to_be_playable(capsys: pytest.CaptureFixture[str]) -> None:
    Path("core_keys").mkdir()
    Path("core_keys", f"{ID}.pub.pem").write_bytes(public_key_pem(public_key_of(GOOD[0])))
    assert main(["fleet", "import", "core_keys", "--fleet", "f.sqlite", "-q"]) == 0
    assert capsys.readouterr().out == (
        "core_keys: spark-server, files: 1, devices with a private key: 0, with a public key only: 1\n"
        "f.sqlite: devices: 0, distinct keys: 0\n"
        "1 devices have a public key only: they can be registered with a cloud, not be played.\n"
        "No server key was among the files: the fleet has a new pair for a cloud of its own.\n"
    )
    assert main(["fleet", "show", "--fleet", "f.sqlite", "--json"]) == 0
    assert document(capsys)["public_only"] == 1
    assert main(["fleet", "show", "--fleet", "f.sqlite"]) == 0
    assert "1 devices with a public key only, which cannot be played" in capsys.readouterr().out
    assert main(["run", "--fleet", "f.sqlite", "-q"]) == ExitCode.USAGE
    assert "no device of the fleet has a private key" in capsys.readouterr().err
    assert main(["fleet", "verify", "f.sqlite", "-q"]) == 0
    assert "whether a P1 can read its private one they do not tell" in capsys.readouterr().out


def test_an_import_with_errors_takes_the_rest(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (keys / f"{ID}.pem").write_text("hello")
    assert main(["fleet", "import", "keys", "--fleet", "f.sqlite", "--json"]) == ExitCode.THRESHOLD_FAILED
    found = document(capsys)
    assert found["schema"] == "loadgen/fleet-import/1"
    assert found["report"] == {
        "devices": 3,
        "distinct_keys": 3,
        "public_only": 0,
        "attributes": 0,
        "server_key": "private",
        "is_new": True,
    }
    assert found["counts"] == {"error": 1, "warning": 0, "note": 0}
    assert found["codes"] == {"not_a_key": 1}
    assert found["findings"][0]["where"] == f"keys/{ID}.pem"
    assert found["findings_left_out"] == 0


def test_of_many_errors_the_first_are_shown(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(100, 125):
        (keys / f"{number:024x}.pem").touch()
    assert main(["fleet", "import", "keys", "--fleet", "f.sqlite", "-q"]) == ExitCode.THRESHOLD_FAILED
    captured = capsys.readouterr()
    assert captured.err.count("the file is empty") == 10
    assert "warning: 15 more errors; --json has them all.\n" in captured.err
    assert main(["fleet", "verify", "keys", "-q"]) == ExitCode.THRESHOLD_FAILED
    captured = capsys.readouterr()
    assert captured.out.count("the file is empty") == 10
    assert "error: 15 more; --json has them all\n" in captured.out
    assert main(["fleet", "verify", "keys", "-q", "--json"]) == ExitCode.THRESHOLD_FAILED
    assert len(document(capsys)["findings"]) == 25


@pytest.mark.parametrize("form", list(ExportFormat))
def test_every_format_is_exported(form: str, keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "import", "keys", "--fleet", "f.sqlite", "-q"]) == 0
    assert main(["fleet", "export", "out", "--format", form, "--fleet", "f.sqlite", "-q"]) == 0
    assert f"out: {form}, devices: 3, " in capsys.readouterr().out
    assert main(["fleet", "export", "out", "--format", form, "--fleet", "f.sqlite", "-q"]) == 0
    assert "0 files written" in capsys.readouterr().out


def test_a_server_key_file_with_an_address(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "import", "keys", "--fleet", "f.sqlite", "-q"]) == 0
    command = ["fleet", "export", "out", "--format", "particle-cli", "--fleet", "f.sqlite", "-q"]
    assert main([*command, "--address", "10.0.0.7:5684"]) == 0
    data = Path("out", "default_key.pub-10_0_0_7-rsa.der").read_bytes()
    assert (data[:294], data[384:390].hex(), data[450:452].hex()) == (server_spki(), "00040a000007", "1634")
    assert main([*command, "--address", "cloud.example"]) == 0
    data = Path("out", "default_key.pub-cloud_example-rsa.der").read_bytes()
    assert data[450:452].hex() == "ffff"


def test_good_keys_are_verified(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fleet", "verify", "keys", "-q"]) == 0
    assert capsys.readouterr().out.endswith("Every key works on a real P1 (warnings: 0, notes: 0)\n")
    assert main(["fleet", "import", "keys", "-q"]) == 0
    capsys.readouterr()
    assert main(["fleet", "verify", "-q"]) == 0, "the default fleet"
    assert capsys.readouterr().out == (
        ".loadgen/fleet.sqlite: fleet, devices: 3, distinct keys: 3\n"
        "Every key works on a real P1 (warnings: 0, notes: 0)\n"
    )


def test_a_key_that_a_p1_misreads_is_found_everywhere(keys: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (keys / f"{ID}.pem").write_bytes(private_key_pem(BAD[0]))
    assert main(["fleet", "verify", "keys", "-q"]) == ExitCode.THRESHOLD_FAILED
    captured = capsys.readouterr().out
    assert captured.startswith(f"error: keys/{ID}.pem: a P1 misreads this key: DQ stands in bytes ")
    assert "Could not set key" in captured
    assert captured.endswith("Errors: 1 (warnings: 0, notes: 0)\n")
    assert main(["fleet", "import", "keys", "--fleet", "f.sqlite", "-q"]) == ExitCode.THRESHOLD_FAILED
    capsys.readouterr()
    assert main(["fleet", "verify", "f.sqlite", f"keys/{ID}.pem", "-q", "--json"]) == ExitCode.THRESHOLD_FAILED
    found = document(capsys)
    assert (found["schema"], found["verdict"]) == ("loadgen/fleet-verify/1", "would_fail")
    assert found["fleets"] == [{"fleet": "f.sqlite", "devices": 4, "distinct_keys": 4, "public_only": 0}]
    assert [(each["code"], each["device_id"]) for each in found["findings"]] == [("misread", ID)] * 2
    assert {each["where"] for each in found["findings"]} == {f"device {ID}", f"keys/{ID}.pem"}


def test_an_option_may_come_from_the_environment(
    keys: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOADGEN_FLEET_IMPORT_FLEET", "g.sqlite")
    monkeypatch.setenv("LOADGEN_FLEET_IMPORT_FORMAT", "der")
    assert main(["fleet", "import", "keys", "-q"]) == 0
    with FleetStore.open(Path("g.sqlite")) as store:
        assert store.devices == 3
    assert "(1 ignored)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["import"], "Missing argument"),
        (["import", "missing"], "cannot be read: No such file"),
        (["import", ""], "is no path"),
        (["import", "empty"], "no device key that can be used"),
        (["import", "empty", "--format", "particl-cli"], 'Did you mean "particle-cli"?'),
        (["export", "out", "--format", "perticle-cli"], 'Did you mean "particle-cli"?'),
        (["export", "out", "--address", "a"], "only particle-cli's"),
        (["export", "out", "--format", "particle-cli", "--address", "::1"], "no name of a host"),
        (["export", "out", "--format", "particle-cli", "--address", "1.2.3"], "no IPv4 address"),
        (["export", "out", "--format", "particle-cli", "--address", "a b"], "--address"),
        (["verify", "missing"], "cannot be read: No such file"),
        (["verify", "empty"], "there is no key"),
        (["verify", "empty", "--format", "x"], 'unknown value "x"'),
        (["verify"], "there is no such fleet"),
    ],
)
def test_wrong_words(arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("empty").mkdir()
    assert main(["fleet", *arguments]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("import keys", "nothing was written, the same command begins again"),
        ("export out", "what is written stays, the same command goes on"),
    ],
)
def test_an_interruption_says_what_it_leaves(
    command: str, words: str, keys: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    assert main(["fleet", "import", "keys", "-q"]) == 0
    monkeypatch.setattr(fleet_files, f"{command.split(maxsplit=1)[0]}_fleet", interrupt)
    assert main(["fleet", *command.split()]) == ExitCode.INTERRUPTED
    assert words in capsys.readouterr().err


def test_an_interrupted_generation_says_that_it_goes_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("loadgen.cli.fleet.generate", interrupt)
    assert main(["fleet", "generate"]) == ExitCode.INTERRUPTED
    assert "Interrupted: what is made is kept, the same command goes on." in capsys.readouterr().err
