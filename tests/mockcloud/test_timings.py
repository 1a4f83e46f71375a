from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from loadgen.errors import LocalResourceError
from loadgen.mockcloud.faults import FaultStage
from loadgen.mockcloud.timings import TimingLog, read_timings, summarize


@pytest.fixture
def descriptor() -> Iterator[int]:
    opened = os.memfd_create("timings")
    yield opened
    os.close(opened)


def test_what_is_written_can_be_read(descriptor: int) -> None:
    log = TimingLog(descriptor)
    log.add(FaultStage.NONCE, 0, 10, 20, 21)
    log.flush()
    log.flush()
    log.add(FaultStage.HELLO, 1, 1 << 60, 20, 21)
    log.flush()
    assert read_timings(descriptor).tolist() == [[0, 0, 10, 20, 21], [2, 1, 1 << 60, 20, 21]]


def test_a_row_that_was_cut_off_does_not_count(descriptor: int) -> None:
    log = TimingLog(descriptor)
    log.add(FaultStage.KEY, 0, 10, 20, 21)
    log.flush()
    os.write(descriptor, bytes(17))
    assert len(read_timings(descriptor)) == 1


def test_it_is_bounded(descriptor: int) -> None:
    log = TimingLog(descriptor, most=2)
    for number in range(5):
        log.add(FaultStage.KEY, number, 0, 0, 0)
        log.flush()
    assert len(read_timings(descriptor)) == 2
    assert log.omitted == 3


def test_nothing_at_all(descriptor: int) -> None:
    assert read_timings(descriptor).shape == (0, 5)
    assert summarize(read_timings(descriptor)) == []


def test_a_file_that_cannot_be_written() -> None:
    reader, writer = os.pipe()
    os.close(writer)
    log = TimingLog(reader)
    log.add(FaultStage.KEY, 0, 0, 0, 0)
    with pytest.raises(LocalResourceError):
        log.flush()
    os.close(reader)


def test_summary(descriptor: int) -> None:
    log = TimingLog(descriptor)
    for number in range(100):
        log.add(FaultStage.KEY, number, 0, 10_000, 10_000 + number * 1_000)
    log.flush()
    (key,) = summarize(read_timings(descriptor))
    assert (key.stage, key.answers) == ("key", 100)
    assert (key.late_p50_us, key.late_p99_us, key.late_max_us) == (49, 98, 99)
    assert (key.took_p50_us, key.took_max_us) == (59, 109)
