"""Single seconds of an interval log."""

from __future__ import annotations

from pathlib import Path

import pytest

from loadgen.errors import UsageError
from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram
from loadgen.recording.seconds import read_seconds
from loadgen.store import HISTOGRAMS_FILE, read_histograms
from tests.recording.made import FIRMWARES, write_record


def test_seconds_are_those_of_the_tags(tmp_path: Path) -> None:
    folder = write_record(tmp_path)
    tags = ["key", f"hello@{FIRMWARES[1]}", "nothing"]
    found = read_seconds(folder / HISTOGRAMS_FILE, tags)
    assert list(found) == tags
    assert list(found["key"]) == [0, 1, 2]
    assert found["nothing"] == {}
    merged = read_histograms(folder)
    assert Histogram.merge(found["key"].values()).count == merged[Stage.KEY, None].count
    assert Histogram.merge(found[tags[1]].values()).count == merged[Stage.HELLO, FIRMWARES[1]].count


def test_lines_of_the_same_second_are_put_together(tmp_path: Path) -> None:
    log = write_record(tmp_path) / HISTOGRAMS_FILE
    log.write_text(log.read_text() * 2)
    once = read_seconds(write_record(tmp_path / "other") / HISTOGRAMS_FILE, ["key"])["key"][0].count
    assert read_seconds(log, ["key"])["key"][0].count == 2 * once


def test_log_that_was_cut_off_has_what_was_whole(tmp_path: Path) -> None:
    log = write_record(tmp_path) / HISTOGRAMS_FILE
    data = log.read_bytes()
    log.write_bytes(data[: len(data) // 2])
    assert 0 < len(read_seconds(log, ["connect"])["connect"]) < 3


def test_damaged_histogram_is_named(tmp_path: Path) -> None:
    log = write_record(tmp_path) / HISTOGRAMS_FILE
    log.write_text(log.read_text() + "Tag=key,3.000,1.000,1.000000,HISTFAAAAAAA\n")
    with pytest.raises(UsageError, match="the line of 3 s with the tag 'key' is damaged"):
        read_seconds(log, ["key"])
