"""Key files as the openssl program writes them, by the commands that particle-cli runs."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from loadgen.fleet.collection import Collection
from loadgen.fleet.exporting import ExportFormat, export_fleet
from loadgen.fleet.findings import Code, Findings, Level
from loadgen.fleet.importing import import_fleet
from loadgen.fleet.keyslot import SlotKind, read_key_slot
from loadgen.fleet.keystore import FleetStore
from tests.fleet.keys import good_keys

OPENSSL = shutil.which("openssl")
pytestmark = pytest.mark.skipif(OPENSSL is None, reason="there is no openssl program")

ID = "0123456789abcdef01234567"


def openssl(*arguments: str | Path) -> bytes:
    assert OPENSSL is not None
    return subprocess.run([OPENSSL, *map(str, arguments)], check=True, capture_output=True).stdout


def new_key(stem: Path) -> None:
    """``particle keys new`` with the option that OpenSSL 3 wants for it: PKCS#1 in every file."""
    pem, der = stem.with_suffix(".pem"), stem.with_suffix(".der")
    openssl("genrsa", "-traditional", "-out", pem, "1024")
    openssl("rsa", "-in", pem, "-pubout", "-out", stem.with_suffix(".pub.pem"))
    openssl("rsa", "-in", pem, "-traditional", "-outform", "DER", "-out", der)


def collected(folder: Path) -> Collection:
    collection = Collection(Findings())
    collection.add([folder])
    return collection


def test_the_files_of_openssl_survive_a_round_trip(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    folder.mkdir()
    for number in range(3):
        new_key(folder / f"{number:024x}")
    with collected(folder) as collection:
        assert {finding.code for finding in collection.findings} <= {Code.MISREAD}
        import_fleet(collection, tmp_path / "fleet")
    with FleetStore.open(tmp_path / "fleet") as store:
        export_fleet(store, tmp_path / "again", ExportFormat.PARTICLE_CLI)
    for path in folder.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes(), path.name


def test_openssl_reads_what_is_exported(tmp_path: Path) -> None:
    with FleetStore.create(tmp_path / "fleet", devices=1, keys=1) as store:
        store.add_keys([(0, good_keys()[0])])
        export_fleet(store, tmp_path, ExportFormat.PARTICLE_CLI)
        export_fleet(store, tmp_path, ExportFormat.SPARK_SERVER)
        name = next(store.identities()).hex_id
    assert b"RSA key ok" in openssl("rsa", "-in", tmp_path / f"{name}.pem", "-check", "-noout")
    assert b"RSA key ok" in openssl("rsa", "-inform", "DER", "-in", tmp_path / f"{name}.der", "-check", "-noout")
    modulus = openssl("rsa", "-in", tmp_path / f"{name}.pem", "-modulus", "-noout")
    for path in (tmp_path / f"{name}.pub.pem", tmp_path / "core_keys" / f"{name}.pub.pem"):
        assert openssl("rsa", "-pubin", "-in", path, "-modulus", "-noout") == modulus
    server = openssl("rsa", "-in", tmp_path / "default_key.pem", "-modulus", "-noout")
    assert openssl("rsa", "-pubin", "-in", tmp_path / "default_key.pub.pem", "-modulus", "-noout") == server
    der = openssl("rsa", "-pubin", "-in", tmp_path / "default_key.pub.pem", "-outform", "DER")
    assert (tmp_path / "default_key.pub.der").read_bytes() == der


def test_what_openssl_3_makes_of_the_old_command_is_recognised(tmp_path: Path) -> None:
    """Without -traditional it writes PKCS#8, which older versions did not."""
    openssl("genrsa", "-out", tmp_path / f"{ID}.pem", "1024")
    openssl("rsa", "-in", tmp_path / f"{ID}.pem", "-outform", "DER", "-out", tmp_path / f"{ID}.der")
    kind = read_key_slot((tmp_path / f"{ID}.der").read_bytes()).kind
    with collected(tmp_path) as collection:
        found = [finding.code for finding in collection.findings if finding.code is not Code.MISREAD]
        assert found == ([] if kind is SlotKind.PKCS1 else [Code.PKCS8_IN_SLOT])
        assert collection.counts() == (1, 0)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["genrsa", "-traditional", "-aes128", "-passout", "pass:x", "1024"], Code.ENCRYPTED),
        (["genrsa", "-aes128", "-passout", "pass:x", "1024"], Code.ENCRYPTED),
        (["genrsa", "-traditional", "2048"], Code.KEY_SIZE),
        (["genrsa", "-3", "1024"], Code.EXPONENT),
        (["ecparam", "-name", "prime256v1", "-genkey"], Code.CURVE_KEY),
    ],
)
def test_keys_that_no_p1_can_use(tmp_path: Path, arguments: list[str], code: Code) -> None:
    (tmp_path / f"{ID}.pem").write_bytes(openssl(*arguments))
    with collected(tmp_path) as collection:
        assert [(finding.level, finding.code) for finding in collection.findings] == [(Level.ERROR, code)]
        assert collection.counts() == (0, 0)


def test_an_interrupted_export_goes_on(tmp_path: Path) -> None:
    """A real process, ended by Ctrl-C between two files; then the same command again."""
    with FleetStore.create(tmp_path / "fleet", devices=400, keys=4) as store:
        store.add_keys(enumerate(good_keys()[:4]))
    program = (
        "import os, signal, sys\n"
        "from loadgen.cli import main\n"
        "from loadgen.fleet import exporting\n"
        "write, made = exporting.write_new_file, []\n"
        "def counting(*values, **options):\n"
        "    made.append(None)\n"
        "    if len(made) == 150: os.kill(os.getpid(), signal.SIGINT)\n"
        "    return write(*values, **options)\n"
        "if sys.argv[1] == 'interrupt': exporting.write_new_file = counting\n"
        "sys.exit(main(['fleet', 'export', 'out', '--fleet', 'fleet']))\n"
    )
    run = [sys.executable, "-c", program]
    first = subprocess.run([*run, "interrupt"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (first.returncode, signal.SIGINT.value) == (130, 2)
    assert "the same command goes on" in first.stderr
    assert "Traceback" not in first.stderr
    assert len(list((tmp_path / "out").iterdir())) == 149
    second = subprocess.run([*run, "go on"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "251 files written, 149 were there already" in second.stdout
