"""The interval log: its text, that ``hdrh`` reads it, and what is left of it after a kill."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from loadgen.errors import UsageError
from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import HIGHEST_NS, Histogram
from loadgen.recording.hlog import LogEntry, LogFormatter, LogReader, PayloadEncoder, decode_payload
from tests.recording.made import BASE_WALL_NS, FIRMWARES, made_recorder

VALUES = np.random.default_rng(2).lognormal(15, 1, 300).astype(np.int64)


def write_log(path: Path) -> dict[str, list[Histogram]]:
    """A log of 3 s; returns its histograms by tag."""
    formatter, expected = LogFormatter(), dict[str, list[Histogram]]()
    text = formatter.header(BASE_WALL_NS)
    for interval in made_recorder().take_all():
        text += formatter.interval(interval)
        for tag, histogram in interval.tagged():
            expected.setdefault(tag, []).append(histogram)
    path.write_text(text)
    return expected


def test_header_is_as_the_java_tools_write_it() -> None:
    assert LogFormatter.header(BASE_WALL_NS).splitlines() == [
        "#[Logged with loadgen: values in ns, one line a second of completion and tag]",
        "#[Histogram log format version 1.3]",
        "#[StartTime: 1767323045.678 (seconds since epoch), 2026-01-02 03:04:05.678+00:00]",
        "#[BaseTime: 1767323045.678 (seconds since epoch)]",
        "#[MaxValueDivisor: 1000000.0 (Interval_Max is in ms)]",
        '"StartTimestamp","Interval_Length","Interval_Max","Interval_Compressed_Histogram"',
    ]


def test_line_has_tag_times_and_maximum() -> None:
    line = LogFormatter().line("key@p1@0.7.0", 12, 1.0, Histogram.of_values([5, 48_291_007]))
    assert line.startswith("Tag=key@p1@0.7.0,12.000,1.000,48.291007,HIST")
    assert line.endswith("\n")


@pytest.mark.parametrize("tag", ["", "a,b", "a b", "a\nb"])
def test_tag_that_would_break_the_line_is_refused(tag: str) -> None:
    with pytest.raises(ValueError, match="tag"):
        LogFormatter().line(tag, 0, 1.0, Histogram.empty())


@pytest.mark.parametrize("values", [VALUES, [0], [1], [HIGHEST_NS], [0, 0, 7, 2047, 2048, HIGHEST_NS], []])
def test_payload_is_what_hdrh_writes_and_reads(values: list[int]) -> None:
    reference = HdrHistogram(1, HIGHEST_NS, 3)
    for value in values:
        reference.record_value(int(value))
    histogram = Histogram.of_values(values)
    encoded = PayloadEncoder().encode(histogram)
    assert encoded == reference.encode().decode()
    indexes, counts = decode_payload(encoded)
    assert np.array_equal(indexes, histogram.indexes)
    assert np.array_equal(counts, histogram.counts)


def test_encoder_keeps_nothing_of_the_histogram_before() -> None:
    encoder = PayloadEncoder()
    encoder.encode(Histogram.of_values(VALUES))
    assert encoder.encode(Histogram.of_values([3])) == PayloadEncoder().encode(Histogram.of_values([3]))


def test_large_counts_survive() -> None:
    histogram = Histogram.of_counts(np.array([5, 9_000]), np.array([1 << 40, 3]))
    assert decode_payload(PayloadEncoder().encode(histogram))[1].tolist() == [1 << 40, 3]


@pytest.mark.parametrize("text", ["", "HIST", "not base64!", PayloadEncoder().encode(Histogram.of_values([7]))[:-8]])
def test_damaged_payload_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no histogram that can be read"):
        decode_payload(text)


def test_payload_of_another_layout_is_refused() -> None:
    other = HdrHistogram(1_000, HIGHEST_NS, 3)
    other.record_value(5_000)
    with pytest.raises(ValueError, match="another layout"):
        decode_payload(other.encode().decode())


def test_log_reads_back_as_written(tmp_path: Path) -> None:
    expected = write_log(tmp_path / "a.hlog")
    reader = LogReader(tmp_path / "a.hlog")
    found: dict[str | None, list[Histogram]] = {}
    for entry in reader:
        assert entry.length_s == 1.0
        found.setdefault(entry.tag, []).append(entry.histogram())
    assert found.keys() == expected.keys()
    assert {stage.value for stage in Stage} <= expected.keys()
    assert f"key@{FIRMWARES[1]}" in expected
    for tag, histograms in expected.items():
        for read, written in zip(found[tag], histograms, strict=True):
            assert np.array_equal(read.indexes, written.indexes)
            assert np.array_equal(read.counts, written.counts)
            assert read.max_ns == written.max_ns  # exact; the rest is that of the buckets
            assert read.mean_ns == pytest.approx(written.mean_ns, rel=1e-3)
            assert read.quantile_ns(0.5) == written.quantile_ns(0.5)
    assert (reader.start_time_s, reader.base_time_s) == (1767323045.678, 1767323045.678)
    assert not reader.truncated


def test_hdrh_reads_the_log(tmp_path: Path) -> None:
    expected = write_log(tmp_path / "a.hlog")
    reader = HistogramLogReader(str(tmp_path / "a.hlog"), HdrHistogram(1, HIGHEST_NS, 3))
    found: dict[str, int] = {}
    while (histogram := reader.get_next_interval_histogram()) is not None:
        found[histogram.get_tag()] = found.get(histogram.get_tag(), 0) + histogram.get_total_count()
    reader.close()
    assert found == {tag: sum(part.count for part in parts) for tag, parts in expected.items()}


@pytest.mark.parametrize("cut", [1, 2, 10, 200])
def test_last_line_cut_off_ends_the_log(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "a.hlog"
    write_log(path)
    whole = path.read_bytes()
    entries = list(LogReader(path))
    path.write_bytes(whole[:-cut])
    reader = LogReader(path)
    left = list(reader)
    assert reader.truncated is (cut > 1)  # without its line end alone the line is whole
    assert left == (entries if cut == 1 else entries[:-1])


def test_every_cut_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "a.hlog"
    formatter = LogFormatter()
    head, first = formatter.header(BASE_WALL_NS), formatter.line("key", 0, 1.0, Histogram.of_values([7]))
    last = formatter.line("key", 1, 1.0, Histogram.of_values([9, 2_000]))
    for cut in range(len(last)):
        path.write_text(head + first + last[:cut])
        assert [entry.start_s for entry in LogReader(path)][:1] == [0.0]


def test_lines_without_a_tag_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.hlog"
    payload = PayloadEncoder().encode(Histogram.of_values([7]))
    path.write_text(f"0.127,1.007,0.000007,{payload}\r\n\n")
    assert list(LogReader(path)) == [LogEntry(None, 0.127, 1.007, 7, payload)]


@pytest.mark.parametrize(
    "line", ["rubbish", "Tag=a b,0.0,1.0,2.0,HIST", "Tag=a,0.0,1.0,HIST", "Tag=a,1.2.3,1.0,2.0,HIST"]
)
def test_damage_in_the_middle_is_told(tmp_path: Path, line: str) -> None:
    path = tmp_path / "a.hlog"
    path.write_text(f"#[BaseTime: 1.0 (seconds since epoch)]\n{line}\n#\n")
    with pytest.raises(UsageError, match="line 2 is no line"):
        list(LogReader(path))


def test_missing_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        list(LogReader(tmp_path / "none.hlog"))
