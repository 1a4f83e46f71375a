"""An installation on which the extension could not be built: everything runs on OpenSSL, and says so."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import pytest

from loadgen.errors import ExitCode

ROOT = Path(__file__).parents[2]
NOT_COPIED = shutil.ignore_patterns(
    ".venv", ".git", "build", "dist", "*.egg-info", "*.so", "__pycache__", ".*_cache", ".hypothesis", "tests", "results"
)
WITHOUT_EXTENSION = """
import sys
sys.modules["loadgen._native"] = None  # its import fails from now on
from loadgen.cli import main
sys.exit(main())
"""


def run(command: Sequence[str], folder: Path, expected: int = 0, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "NO_COLOR": "1", **more}
    done = subprocess.run(
        command, cwd=folder, env=environment, text=True, capture_output=True, timeout=300, check=False
    )
    assert done.returncode == expected, done.stdout + done.stderr
    return done


def test_an_extension_that_cannot_be_imported(tmp_path: Path) -> None:
    loadgen = [sys.executable, "-c", WITHOUT_EXTENSION]
    refused = run([*loadgen, "crypto", "--crypto", "native"], tmp_path, ExitCode.USAGE)
    assert refused.stderr.startswith("error: --crypto: the native crypto backend cannot be used: ")
    assert "the native extension is not built" in refused.stderr
    measured = run([*loadgen, "crypto", "--quick", "--json"], tmp_path)
    assert json.loads(measured.stdout)["backends"] == ["openssl"]
    assert "warning: Only OpenSSL is measured: the native extension is not built." in measured.stderr


def installed_without_compiler(folder: Path) -> str:
    """Build a wheel without a compiler and install it; gives the interpreter.

    Dependencies come from this environment, by a path only: so its own loadgen stays out of sight.
    """
    source, wheels, venv = (folder / name for name in ("source", "wheels", "venv"))
    shutil.copytree(ROOT, source, ignore=NOT_COPIED)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    isolation = ["--no-build-isolation"] if find_spec("setuptools") else []
    run([*pip, "wheel", *isolation, "--no-deps", "--wheel-dir", str(wheels), "."], source, CC="/bin/false")
    (wheel,) = wheels.iterdir()
    names = zipfile.ZipFile(wheel).namelist()
    assert "loadgen/crypto/native.py" in names
    assert not [name for name in names if name.endswith(".so")]
    run([sys.executable, "-m", "venv", "--without-pip", str(venv)], folder)
    python = str(venv / "bin" / "python")
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    run([*pip, "--python", python, "install", "--no-deps", "--no-index", str(wheel)], folder)
    found = run([python, "-c", "import loadgen; print(loadgen.__file__)"], folder)
    assert found.stdout.startswith(str(packages))
    return python


@pytest.mark.long
def test_an_installation_without_a_compiler(tmp_path: Path, fleet_path: Path) -> None:
    loadgen = [installed_without_compiler(tmp_path), "-m", "loadgen"]
    options = ["run", "--fleet", str(fleet_path), "--count", "5", "--rate", "50/s", "--json"]
    refused = run([*loadgen, *options, "--crypto", "native"], tmp_path, ExitCode.USAGE)
    assert "the native extension is not built" in refused.stderr
    done = run([*loadgen, *options], tmp_path)
    record = json.loads(done.stdout)
    assert record["counts"]["completed"] == 5
    assert record["environment"]["crypto_backend"] == "openssl"
    assert "All crypto runs on OpenSSL: the native extension is not built." in done.stderr
