"""Medians of the cloud by worker."""

from __future__ import annotations

import pytest

from loadgen.cli.medians import WorkerMedians
from loadgen.clock import NS_PER_MS
from loadgen.recording.rows import rows_from_bytes
from tests.cli.fakes import row


def test_workers_are_kept_apart_and_few_handshakes_have_no_median() -> None:
    medians = WorkerMedians()
    for worker, took_ms, count in ((0, 6, 30), (1, 12, 30), (2, 6, 3)):
        for _ in range(2):
            rows = rows_from_bytes(row(10**9, took_ms * NS_PER_MS) * count)
            medians.add(worker, rows)
    # The six stages are equally long; four of them are the cloud's.
    assert medians.medians_ns() == pytest.approx([4 * NS_PER_MS, 8 * NS_PER_MS], rel=0.001)
