"""The extension is optional: the package builds where there is no compiler, and then simply has none."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
COMMAND = "from setuptools import setup; setup()"


@pytest.mark.long
@pytest.mark.parametrize("compiler", ["/bin/false", "/nonexistent/cc", None])
def test_the_package_builds_without_a_compiler(tmp_path: Path, compiler: str | None) -> None:
    pytest.importorskip("setuptools", reason="setuptools is not installed here")
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tmp_path)
    for folder in ("native", "loadgen"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    environment = {**os.environ, "CC": compiler} if compiler else dict(os.environ)
    arguments = ["-q", "build", "--build-base", "built"]
    command = [sys.executable, "-W", "ignore", "-c", COMMAND, *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    built = {path.name.split(".")[0] for path in (tmp_path / "built").rglob("*") if path.suffix in {".so", ".py"}}
    assert "clock" in built
    if compiler is None and shutil.which("cc") is None:
        pytest.skip("no C compiler")
    assert ("_native" in built) == (compiler is None)
