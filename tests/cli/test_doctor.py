"""``loadgen doctor`` as a user sees it."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from loadgen.cli import main
from loadgen.errors import ExitCode
from loadgen.fleet.identity import public_key_of
from loadgen.fleet.keyfiles import public_key_pem
from tests.fleet import dumps
from tests.fleet.keys import good_keys, server_spki

MINUS_19 = Path(__file__).parent.parent / "vectors" / "device_logs" / "p1_minus_19.log"
ERASED = b"\xff" * 128


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(tmp_path)


def dump(name: str, application: bytes) -> str:
    Path(name).write_bytes(dumps.copy(application))
    return name


def test_a_good_dump(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--dct", dump("good.bin", dumps.section())]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("HEALTHY  Nothing in these files keeps the device from connecting.\n")


def test_an_erased_server_key(capsys: pytest.CaptureFixture[str]) -> None:
    bad = dump("bad.bin", dumps.section(server=b"\xff" * 294, address=ERASED))
    assert main(["doctor", "--dct", bad]) == ExitCode.THRESHOLD_FAILED
    out = capsys.readouterr().out
    for part in ("FAULT", "blank-server-key (certain)", "offset 2082", "by ST-Link: ", "st-flash write mended.bin"):
        assert part in out


def test_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--dct", dump("bad.bin", dumps.section(b"\xff" * 611)), "--json"]) == 3
    captured = capsys.readouterr()
    document = json.loads(captured.out)
    assert (document["schema"], document["verdict"]) == ("loadgen/diagnosis/1", "fault")
    first = document["causes"][0]
    assert (first["id"], first["standing"]) == ("new-device-key", "certain")
    assert "0x1d9e" in first["decides"]
    assert captured.err == ""


def test_a_dump_that_goes_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    good = dump("good.bin", dumps.section())
    assert main(["doctor", "--dct", good, "--target", f"127.0.0.1:{port}", "-q"]) == ExitCode.UNREACHABLE
    assert "the device itself goes to 192.168.1.10:5683, by its dump" in " ".join(capsys.readouterr().out.split())


def test_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    Path("device.der").write_bytes(good_keys()[0])
    Path("cloud.der").write_bytes(server_spki())
    who = ["--device-key", "device.der", "--id", "3a" * 12, "--server-key", "cloud.der"]
    assert main(["doctor", *who, "--target", f"127.0.0.1:{port}", "-q"]) == ExitCode.UNREACHABLE
    out = capsys.readouterr().out
    assert f"[system] ERROR: connection failed to 127.0.0.1:{port}, code=" in out
    assert "nothing-listens (likely)" in out


def test_an_erased_server_key_is_played_as_old_firmware_does(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    bad = dump("bad.bin", dumps.section(server=b"\xff" * 294, address=ERASED))
    live = ["doctor", "--dct", bad, "--target", f"127.0.0.1:{port}"]
    assert main([*live, "-q", "--firmware", "p1@0.6.4"]) == ExitCode.UNREACHABLE
    out = capsys.readouterr().out
    assert "[system] WARN: Read Server Address = type:255,defaulting to device.spark.io\n" in out
    assert f"[system] ERROR: connection failed to 127.0.0.1:{port}, code=" in out
    assert main(live) == ExitCode.THRESHOLD_FAILED
    assert "With --firmware p1@0.6.4 the erased key is used as it stands" in capsys.readouterr().err


def test_a_log_alone_and_with_a_dump(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--log", str(MINUS_19)]) == ExitCode.INCONCLUSIVE
    out = " ".join(capsys.readouterr().out.split())
    for part in (
        "firmware 0.6.2 to 0.6.4 (the sparkprotocol generation)",
        "one round trip after the 256 bytes (264 ms; a round trip takes 253 ms)",
        "type:255 means that the server address in flash is erased",
        "padded to 512 bytes; the key can be good all the same",
        "Cannot be told apart: blank-server-key, new-device-key",
        "blank-server-key: the 294 bytes at 9630 (0x259e)",
        "new-device-key: the key at 7582 (0x1d9e)",
        "by ST-Link: ",
    ):
        assert part in out
    for application, cause in (
        (dumps.section(server=b"\xff" * 294, address=ERASED), "blank-server-key"),
        (dumps.section(b"\xff" * 611, address=ERASED), "new-device-key"),
    ):
        bad = dump("bad.bin", application)
        assert main(["doctor", "--log", str(MINUS_19), "--dct", bad, "--json"]) == ExitCode.THRESHOLD_FAILED
        first = json.loads(capsys.readouterr().out)["causes"][0]
        assert (first["id"], first["standing"]) == (cause, "certain")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "nothing to look at"),
        (["--target", "device.spark.io"], "never put under load"),
        (["--target", "8.8.8.8"], "neither loopback nor private"),
        (["--target", "127.0.0.1:1"], "not known well enough"),
        (["--dct", "none.bin"], "cannot be read"),
        (["--log", "none.log"], "cannot be read"),
        (["--log", "a", "--target", "127.0.0.1"], "two attempts"),
        (["--dct", "a", "--device-key", "b"], "name two devices"),
        (["--target", "127.0.0.1", "--id", "12"], "is no device id"),
        (["--target", "127.0.0.1", "--device", "1"], "belongs to a fleet"),
        (["--dct", "a", "--hold", "30s"], "no connection to hold"),
        (["--target", "127.0.0.1", "--hold", "0s"], "held for up to 10m"),
        (["--target", "127.0.0.1", "--hold", "11m"], "held for up to 10m"),
        (["--target", "127.0.0.1", "--hold", "soon"], "soon"),
    ],
)
def test_mistakes(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *arguments]) == ExitCode.USAGE
    captured = capsys.readouterr()
    assert words in captured.err
    assert captured.out == ""


def test_a_cloud_without_a_key(capsys: pytest.CaptureFixture[str]) -> None:
    Path("device.der").write_bytes(good_keys()[0])
    who = ["--device-key", "device.der", "--id", "3a" * 12]
    assert main(["doctor", *who, "--target", "127.0.0.1:1"]) == ExitCode.USAGE
    assert "Name the public key of the cloud with --server-key." in capsys.readouterr().err


def test_options_of_the_environment(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("LOADGEN_DOCTOR_DCT", dump("good.bin", dumps.section()))
    assert main(["doctor"]) == ExitCode.OK
    assert "HEALTHY" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["3a" * 12 + ".pub.pem", "presented.pem"])
def test_one_key_on_record(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A file with the one key, whatever its name; no id is needed for it."""
    good = dump("good.bin", dumps.section())
    Path(name).write_bytes(public_key_pem(public_key_of(good_keys()[1])))
    assert main(["doctor", "--dct", good, "--registered", name, "--json"]) == ExitCode.THRESHOLD_FAILED
    first = json.loads(capsys.readouterr().out)["causes"][0]
    assert (first["id"], first["standing"]) == ("other-key-on-record", "likely")
    Path(name).write_bytes(public_key_pem(public_key_of(good_keys()[0])))
    assert main(["doctor", "--dct", good, "--registered", name]) == ExitCode.OK
    capsys.readouterr()
    assert main(["doctor", "--dct", good, "--registered", good]) == ExitCode.USAGE
    assert "no public key that can be read" in capsys.readouterr().err


def test_keys_on_record_that_cannot_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    good = dump("good.bin", dumps.section())
    assert main(["doctor", "--dct", good, "--registered", "x" * 300]) == ExitCode.USAGE
    assert "the keys on record cannot be read: File name too long" in capsys.readouterr().err
