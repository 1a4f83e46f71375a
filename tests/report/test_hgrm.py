"""The percentile text against what Java's HdrHistogram 2.2.2 prints.

``golden/java-record-1-handshake.hgrm`` is the output of ``HistogramLogProcessor -i histograms.hlog -tag handshake
-outputValueUnitRatio 1000000`` on ``tests/fixtures/record-1``, without its own two lines at the top.
"""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram
from loadgen.report.hgrm import fixed, write_hgrm
from loadgen.store import read_histograms

JAVA = Path(__file__).parent / "golden" / "java-record-1-handshake.hgrm"
RECORD = Path(__file__).parents[1] / "fixtures" / "record-1"


def text(histogram: Histogram, unit_ns: float = 1e6) -> str:
    stream = io.StringIO()
    write_hgrm(histogram, stream, unit_ns)
    return stream.getvalue()


def test_text_is_that_of_java() -> None:
    assert text(read_histograms(RECORD)[Stage.HANDSHAKE, None]) == JAVA.read_text(encoding="utf-8")


def test_one_sample() -> None:
    lines = text(Histogram.of_values([5]), 1.0).splitlines()
    assert lines[2:4] == [
        "       5.000 0.000000000000          1           1.00",
        "       5.000 1.000000000000          1",
    ]
    assert lines[-1] == "#[Buckets =           32, SubBuckets     =         2048]"


def test_no_samples() -> None:
    lines = text(Histogram.empty()).splitlines()
    assert len(lines) == 5
    assert "Total count    =            0" in lines[3]


@pytest.mark.parametrize(("value", "shown"), [(1_000_500, "1.001"), (62_500, "0.063"), (1_000_499, "1.000")])
def test_halves_are_rounded_up_as_in_java(value: int, shown: str) -> None:
    assert fixed(value / 1e6, 3, 12) == shown.rjust(12)
