"""``loadgen dct`` from outside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loadgen.cli import main
from loadgen.errors import ExitCode
from loadgen.fleet.dct_make import as_pkcs8
from loadgen.fleet.generate import generate
from tests.fleet.dumps import DEVICE_ID, copy, flash, public_of, section
from tests.fleet.keys import good_keys, odd_keys, server_spki

KEY = good_keys()[0]
BLANK = b"\xff" * 16384


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    Path("good.bin").write_bytes(copy() + BLANK)
    Path("bad.bin").write_bytes(copy(section(b"\xff", server=b"\xff" * 294, address=b"\xff" * 128)) + BLANK)


def document(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == code
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_show_names_every_field_with_its_offset(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dct", "show", "good.bin"]) == 0
    out = capsys.readouterr().out
    assert "both copies of the DCT, 32,768 bytes" in out
    assert "DCT1  0x08004000  complete, marked current" in out
    assert "    34  0x01d9e   1216  device_private_key " in out
    assert "  2466  0x0271e    128  server_address " in out
    assert "192.168.1.10, port 5683" in out
    assert "Nothing in this dump keeps the device from connecting." in out
    assert KEY.hex() not in out


def test_show_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "dct", "show", "bad.bin")
    assert found["schema"] == "loadgen/dct/1"
    assert found["current"] == 1
    assert found["device"]["fingerprint"] is None
    assert [trouble["code"] for trouble in found["troubles"]] == ["no_device_key", "no_server_key", "no_address"]
    assert found["troubles"][0]["file_offset"] == 0x1D9E
    assert found["troubles"][0]["address"] == 0x08005D9E
    assert {field["name"]: field["offset"] for field in found["fields"]}["device_private_key"] == 34


def test_show_gives_secrets_only_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    hidden = document(capsys, "dct", "show", "good.bin")
    assert KEY.hex() not in json.dumps(hidden)
    shown = document(capsys, "dct", "show", "good.bin", "--secrets")
    assert KEY.hex() in json.dumps(shown)


def test_show_looks_at_the_other_copy(capsys: pytest.CaptureFixture[str]) -> None:
    Path("both.bin").write_bytes(copy() + copy(section(good_keys()[1]), current=0))
    first = document(capsys, "dct", "show", "both.bin")
    second = document(capsys, "dct", "show", "both.bin", "--copy", "2")
    assert first["device"]["fingerprint"] != second["device"]["fingerprint"]
    assert main(["dct", "show", "both.bin", "--copy", "3"]) == 2


def test_a_damaged_dump_is_shown_and_marked(capsys: pytest.CaptureFixture[str]) -> None:
    Path("broken.bin").write_bytes(flash(copy(magic=b"\0\0\0\0"), BLANK))
    assert main(["dct", "show", "broken.bin"]) == 0
    out = capsys.readouterr().out
    assert "comes from a copy that the device does not use" in out
    assert "neither copy of the table is valid" in out
    assert "192.168.1.10" in out


@pytest.mark.parametrize("command", [["show"], ["extract", "keys"], ["diff", "good.bin"]])
@pytest.mark.parametrize("data", [b"", b"hello, world\n" * 50, b"\x7fELF", bytes(1000), b"\xff" * 1_048_576])
def test_what_is_no_dump_is_a_clear_error(
    command: list[str], data: bytes, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    Path("other.bin").write_bytes(data)
    name, *rest = command
    assert main(["dct", name, "other.bin", *rest]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: other.bin: ")
    assert "Traceback" not in captured.err
    assert not (tmp_path / "keys").exists()


def test_extract_writes_what_is_asked_for_and_overwrites_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dct", "extract", "good.bin", "keys", "--only", "device-key"]) == 0
    assert capsys.readouterr().out == "keys/device.der\nkeys/device.pem\n"
    Path("keys/device.pem").write_text("mine")
    Path("keys/device.der").unlink()
    assert main(["dct", "extract", "good.bin", "keys"]) == 2
    assert "not overwritten" in capsys.readouterr().err
    assert [path.name for path in Path("keys").iterdir()] == ["device.pem"]


def test_extract_says_what_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dct", "extract", "bad.bin", "keys"]) == 5
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "warning: device-key: the key slot holds no RSA key that can be read (blank)" in captured.err
    assert main(["dct", "extract", "good.bin", "keys", "--only", "nothing"]) == 2


def test_diff_ends_with_3_where_the_handshake_can_break(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dct", "diff", "good.bin", "good.bin"]) == 0
    assert "no difference" in capsys.readouterr().out
    assert main(["dct", "diff", "good.bin", "bad.bin"]) == 3
    out = capsys.readouterr().out
    assert "3 of which can break the handshake" in out
    assert "dfu-util -d 2b04:d008 -a 1 -s 34 -D mend/device-slot.bin" in out
    assert "st-flash write mended.bin 0x08004000" in out
    found = document(capsys, "dct", "diff", "good.bin", "bad.bin", code=3)
    assert [change["offset"] for change in found["changes"][:3]] == [34, 2082, 2466]


def test_what_the_diff_prints_mends_the_device(capsys: pytest.CaptureFixture[str]) -> None:
    """The commands of the diff are run as they stand, but for the flashing itself."""
    found = document(capsys, "dct", "diff", "good.bin", "bad.bin", code=3)
    make = found["without_dfu"][0].split()
    assert make[0] == "loadgen"
    assert main(make[1:]) == 0
    capsys.readouterr()
    assert main(["dct", "diff", "good.bin", "mended.bin"]) == 0
    table = bytearray(Path("bad.bin").read_bytes()[:16384][7548:])
    for change in found["changes"]:
        if change["mend"]:
            extract, write = (command.split() for command in change["mend"]["with_dfu"])
            assert main(extract[1:]) == 0
            data = Path(write[-1]).read_bytes()
            at = int(write[write.index("-s") + 1])
            table[at : at + len(data)] = data
    public = slice(1250, 1250 + 162)  # which the device itself rewrites
    table[public] = section()[public]
    assert bytes(table) == section()


def test_make_reproduces_a_device_of_a_fleet(capsys: pytest.CaptureFixture[str]) -> None:
    generate(Path("f.sqlite"), devices=2, keys=1, seed=1).close()
    arguments = ["dct", "make", "--fleet", "f.sqlite", "--device", "1", "--address", "10.0.0.1", "--claimed"]
    assert main([*arguments, "-o", "made.bin", "--layout", "flash"]) == 0
    capsys.readouterr()
    found = document(capsys, "dct", "show", "made.bin")
    assert found["kind"] == "flash"
    assert (found["server"]["host"], found["server"]["port"]) == ("10.0.0.1", 5683)
    assert found["claimed"] is True
    assert found["device"]["key"]["is_usable"]
    assert found["troubles"] == []
    again = document(capsys, *arguments, "-o", "made.bin", "--layout", "flash")
    assert again["device"] == found["device"]


def test_make_tells_the_stories(capsys: pytest.CaptureFixture[str]) -> None:
    Path("device.der").write_bytes(KEY)
    Path("server.der").write_bytes(server_spki())
    base = ["dct", "make", "--device-key", "device.der", "--id", DEVICE_ID.hex(), "--server-key", "server.der",
            "--address", "192.168.1.10:5683"]  # fmt: skip
    stories = {
        "pkcs8.bin": (["--key-format", "pkcs8"], ["pkcs8_in_slot"]),
        "erased.bin": (["--erase", "server-area"], ["no_server_key", "no_address"]),
        "new-key.bin": (["--erase", "device-key"], ["no_device_key"]),
        "vendor.bin": (["--address", "none"], ["private_key_vendor_address", "no_address"]),
    }
    for name, (options, codes) in stories.items():
        assert main([*base, *options, "-o", name]) == 0, name
        capsys.readouterr()
        found = document(capsys, "dct", "show", name)
        assert [trouble["code"] for trouble in found["troubles"] if trouble["level"] != "note"] == codes
    assert Path("pkcs8.bin").read_bytes()[0x1D9E:].startswith(as_pkcs8(KEY))
    assert Path("pkcs8.bin").read_bytes()[7548 + 1250 :].startswith(public_of(KEY))


def test_make_overwrites_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    before = Path("good.bin").read_bytes()
    assert main(["dct", "make", "--base", "bad.bin", "-o", "good.bin"]) == 2
    assert "not overwritten" in capsys.readouterr().err
    assert Path("good.bin").read_bytes() == before


def test_make_mends_with_no_damaged_key(capsys: pytest.CaptureFixture[str]) -> None:
    Path("damaged.der").write_bytes(KEY[:-1] + bytes([KEY[-1] ^ 1]))
    assert main(["dct", "make", "--device-key", "damaged.der", "-o", "mended.bin"]) == 2
    captured = capsys.readouterr()
    assert "damaged.der: this key is damaged" in captured.err
    assert "--device-from" in captured.err
    assert not Path("mended.bin").exists()


def test_make_warns_of_a_key_that_devices_misread(capsys: pytest.CaptureFixture[str]) -> None:
    odd = next(key for key in odd_keys() if not key["firmware_reads_it"])
    Path("odd.der").write_bytes(bytes.fromhex(odd["private_key_der"]))
    assert main(["dct", "make", "--device-key", "odd.der", "-o", "odd.bin"]) == 0
    assert "misreads this key" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options",
    [
        ["--device-key", "good.bin"],
        ["--device-key", "nothing.der"],
        ["--device-key", "a", "--device-from", "good.bin"],
        ["--server-key", "good.bin"],
        ["--server-key", "a", "--server-from", "good.bin"],
        ["--address", "300.1.1.1"],
        ["--address", "host:99999"],
        ["--address", "a", "--address-from", "good.bin"],
        ["--id", "12"],
        ["--claim-code", "x" * 64],
        ["--keep-old"],
        ["--layout", "sector"],
        ["--erase", "everything"],
        ["--fleet", "nothing.sqlite"],
        ["--device-from", "good.bin", "--key-format", "pkcs8"],
    ],
)
def test_make_refuses_what_cannot_be(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dct", "make", "-o", "made.bin", *options]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert "Traceback" not in captured.err
    assert not Path("made.bin").exists()


def test_options_come_from_the_environment_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOADGEN_DCT_SHOW_COPY", "2")
    assert main(["dct", "show", "good.bin"]) == 0
    assert "192.168.1.10" not in capsys.readouterr().out


def test_commands_are_never_wrapped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["dct", "diff", "good.bin", "bad.bin"]) == 3
    assert "--server-from good.bin --layout both --output mended.bin\n" in capsys.readouterr().out


def test_a_difference_that_a_cut_off_dump_leaves_open(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, cut = tmp_path / "good.bin", tmp_path / "cut.bin"
    good.write_bytes(copy())
    cut.write_bytes(copy()[:9000])
    assert main(["dct", "diff", str(good), str(cut)]) == ExitCode.INCONCLUSIVE
    out = " ".join(capsys.readouterr().out.split())
    assert "is cut off before server_public_key, server_address, so they are not compared" in out
    assert out.endswith("no difference in what both have.")
