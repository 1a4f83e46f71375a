"""The interval log in the original HdrHistogram tools, where Java and their jar are on the machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from loadgen.protocol.stages import Stage
from loadgen.store import HISTOGRAMS_FILE, read_histograms
from tests.recording.made import FIRMWARES, write_record


def find_jar() -> str | None:
    """``HDRHISTOGRAM_JAR``, else Debian's (libhdrhistogram-java), else the newest one that Maven has fetched."""
    debian = Path("/usr/share/java").glob("hdrhistogram.jar")
    fetched = Path.home().glob(".m2/repository/org/hdrhistogram/HdrHistogram/*/HdrHistogram-*.jar")
    found = [*map(str, debian), *sorted(map(str, fetched), reverse=True)]
    return os.environ.get("HDRHISTOGRAM_JAR") or next(iter(found), None)


JAR = find_jar()
pytestmark = pytest.mark.skipif(
    JAR is None or shutil.which("java") is None, reason="needs java and HdrHistogram.jar (HDRHISTOGRAM_JAR)"
)


def process(*arguments: str) -> str:
    """Output of the Java ``HistogramLogProcessor``."""
    command = ["java", "-cp", str(JAR), "org.HdrHistogram.HistogramLogProcessor", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert "Exception" not in done.stderr
    return done.stdout


def test_java_tools_read_the_log(tmp_path: Path) -> None:
    folder = write_record(tmp_path)
    log, histograms = str(folder / HISTOGRAMS_FILE), read_histograms(folder)
    tags = set(process("-i", log, "-listtags").split("\n")[1:]) - {""}
    assert tags == {stage if name is None else f"{stage}@{name}" for stage, name in histograms}
    assert f"key@{FIRMWARES[0]}" in tags

    process("-i", log, "-tag", "key", "-outputValueUnitRatio", "1", "-o", str(tmp_path / "out"))
    output = (tmp_path / "out").read_text()
    assert "#[StartTime: 1767323045.678 (seconds since epoch)" in output
    intervals = re.findall(r"^([0-9.]+): I:\d+ \(.*\) T:(\d+) \( ([0-9. ]+)\)$", output, re.MULTILINE)
    assert [ended for ended, _, _ in intervals] == ["1.000", "2.000", "3.000"]
    _, count, percentiles = intervals[-1]
    expected = histograms[Stage.KEY, None]
    assert int(count) == expected.count
    assert [float(value) for value in percentiles.split()[:4]] == [
        expected.quantile_ns(quantile) for quantile in (0.5, 0.9, 0.99, 0.999)
    ]
