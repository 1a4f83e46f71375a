"""Traces: exact times, and refusals that name file and line."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest

from loadgen.clock import NS_PER_S
from loadgen.engine.trace import TraceFacts, open_trace, pack_trace
from loadgen.errors import UsageError


def packed(tmp_path: Path, text: str | bytes) -> tuple[TraceFacts, list[int]]:
    source = tmp_path / "arrivals.csv"
    source.write_bytes(text.encode() if isinstance(text, str) else text)
    with tempfile.NamedTemporaryFile() as file:
        facts = pack_trace(source, file, "--trace")
        times: list[int] = open_trace(Path(file.name)).times_ns.tolist()
    return facts, times


def test_times_are_exact_and_other_columns_are_passed_over(tmp_path: Path) -> None:
    facts, times = packed(tmp_path, 'time,device\n# a comment\n\n0.000000001,a\n"0.1",b\n0.1\n 3 ,c\r\n4.\n')
    assert times == [1, NS_PER_S // 10, NS_PER_S // 10, 3 * NS_PER_S, 4 * NS_PER_S]
    assert facts == TraceFacts(starts=5, last_ns=4 * NS_PER_S, peak_per_s=3)


def test_a_long_trace_is_packed_in_pieces(tmp_path: Path) -> None:
    facts, times = packed(tmp_path, "".join(f"{i // 1000}.{i % 1000:03}\n" for i in range(150_000)))
    assert facts == TraceFacts(starts=150_000, last_ns=149_999_000_000, peak_per_s=1000)
    assert times[70_001] == 70_001_000_000


@pytest.mark.parametrize(
    ("text", "where", "what"),
    [
        ("1.5\n0.5\n", "arrivals.csv: line 2", "goes back in time"),
        ("time\n1\nsoon\n", "arrivals.csv: line 3", "'soon' is no time"),
        ("-1\n", "arrivals.csv: line 1", "'-1' is no time"),
        ("1e3\n", "arrivals.csv: line 1", "no time"),
        ("0.1234567891\n", "arrivals.csv: line 1", "no time"),
        ("time\nother\n", "arrivals.csv: line 2", "no time"),
        ("1700000000.5\n", "arrivals.csv: line 1", "more than 30 days"),
        ("time\n", "--trace", "no arrival times"),
        ("", "--trace", "no arrival times"),
        (b"\xff\xfe\x00", "--trace", "no text"),
    ],
)
def test_what_is_no_trace_is_refused(tmp_path: Path, text: str | bytes, where: str, what: str) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        packed(tmp_path, text)
    assert caught.value.where is not None
    assert caught.value.where.startswith("--trace")
    assert caught.value.where.endswith(where)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with tempfile.NamedTemporaryFile() as file, pytest.raises(UsageError, match=r"none\.csv cannot be read"):
        pack_trace(tmp_path / "none.csv", file, "--trace")
