"""The index of a results folder."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

from loadgen.cryptostore import write_crypto_record
from loadgen.errors import UsageError
from loadgen.history import INDEX_FILE, Group, HistoryIndex, Refreshed
from loadgen.store import RUN_FILE, encode_record
from tests.analysis.runs import made_record, write, write_set
from tests.report.crypto_samples import full_record


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder with three runs of `quick`."""
    write_set(tmp_path, "base", 3)
    return tmp_path


def read(results: Path, *, rebuild: bool = False) -> tuple[Refreshed, list[Group]]:
    """Open, bring up to date, close."""
    with closing(HistoryIndex(results, rebuild=rebuild)) as index:
        return index.refresh(), index.groups()


def folders(results: Path, *labels: str, limit: int | None = None) -> list[str]:
    """Folders of the only group."""
    with closing(HistoryIndex(results)) as index:
        index.refresh()
        (group,) = index.groups(labels=labels)
        return [row.folder for row in index.rows(group, labels, limit)]


def test_only_what_has_changed_is_read(results: Path) -> None:
    assert read(results)[0].read == 3
    assert read(results)[0].read == 0
    folder = write(results, made_record(7))
    assert read(results)[0].read == 1
    (folder / RUN_FILE).write_bytes(encode_record(made_record(7, 2.0)))
    assert read(results)[0].read == 1
    assert read(results, rebuild=True)[0].read == 4


def test_progress_counts_what_is_read(results: Path) -> None:
    seen: list[tuple[int, int]] = []
    with closing(HistoryIndex(results)) as index:
        index.refresh(lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_record_that_is_gone_is_forgotten(results: Path) -> None:
    (_, (group,)) = read(results)
    assert group.total == 3
    gone = next(folder for folder in results.iterdir() if folder.is_dir())
    gone.rename(results.parent / "gone")
    (_, (group,)) = read(results)
    assert group.total == 2
    assert gone.name not in folders(results)


def test_rows_come_the_oldest_first_and_the_newest_are_kept(results: Path) -> None:
    names = folders(results)
    assert names == sorted(names)
    assert folders(results, limit=2) == names[1:]


def test_values_are_those_of_the_record(results: Path) -> None:
    record = made_record(9, 1.5)
    write(results, record)
    with closing(HistoryIndex(results)) as index:
        index.refresh()
        (group,) = index.groups()
        row = index.rows(group)[-1]
    assert row.values.values["handshake p99"] == record.stages["handshake"].p99_us
    assert (row.values.id, row.status) == (record.id, "complete")


def test_labels_choose(results: Path) -> None:
    write_set(results, "new", 2)
    assert len(folders(results, "new")) == 2
    assert len(folders(results, "new", "base")) == 5
    with closing(HistoryIndex(results)) as index:
        index.refresh()
        assert index.labels() == ["base", "new"]


def test_scenarios_and_machines_are_apart(results: Path) -> None:
    other = made_record(50)
    other.environment = msgspec.structs.replace(other.environment, cores=other.environment.cores + 1)
    other.started_at = "2027-01-01T00:00:00.000Z"
    write(results, other)
    storm = made_record(51)
    storm.scenario = {**storm.scenario, "name": "storm"}
    write(results, storm)
    groups = read(results)[1]
    assert [(group.scenario, group.total) for group in groups] == [("quick", 1), ("quick", 3), ("storm", 1)]


def test_a_crypto_benchmark_is_a_history_of_its_own(results: Path) -> None:
    write_crypto_record(results, full_record())
    assert [group.scenario for group in read(results)[1]] == ["crypto", "quick"]


def test_what_cannot_be_read_is_remembered_with_its_reason(results: Path) -> None:
    for name, text in {"cut": '{"schema": "loadgen/run/1", "id', "newer": '{"schema": "loadgen/run/9"}'}.items():
        (results / name).mkdir()
        (results / name / RUN_FILE).write_text(text)
    for expected in (5, 0):
        refreshed, (group,) = read(results)
        assert (refreshed.read, group.total) == (expected, 3)
        assert "no JSON" in refreshed.unreadable["cut"]
        assert "loadgen/run/9" in refreshed.unreadable["newer"]


def test_a_running_record_is_never_kept(results: Path) -> None:
    record = made_record(60)
    record.status = "running"
    folder = write(results, record)
    for _ in range(2):
        refreshed, (group,) = read(results)
        assert (refreshed.running, group.total) == ([folder.name], 3)
    record.status = "complete"
    (folder / RUN_FILE).write_bytes(encode_record(record))
    refreshed, (group,) = read(results)
    assert (refreshed.running, group.total) == ([], 4)


@pytest.mark.parametrize("damage", ["text", "cut", "version"])
def test_a_damaged_index_is_made_anew(damage: str, results: Path) -> None:
    read(results)
    file = results / INDEX_FILE
    if damage == "version":
        with closing(sqlite3.connect(file)) as database:
            database.execute("PRAGMA user_version = 99")
    else:
        file.write_bytes(b"not a database, however long it is" * 40 if damage == "text" else file.read_bytes()[:5000])
    refreshed, (group,) = read(results)
    assert (refreshed.read, refreshed.in_memory, group.total) == (3, False, 3)
    assert read(results)[0].read == 0


def test_without_a_writable_place_everything_is_read_each_time(results: Path) -> None:
    (results / INDEX_FILE).mkdir()  # works for root too, whom permissions do not stop
    for _ in range(2):
        refreshed, (group,) = read(results)
        assert (refreshed.read, refreshed.in_memory, group.total) == (3, True, 3)


def test_an_index_that_another_process_holds_is_done_without(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read(results)
    with closing(sqlite3.connect(results / INDEX_FILE, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr("loadgen.history.LOCK_WAIT_S", 0.01)
        refreshed, (group,) = read(results)
    assert (refreshed.in_memory, group.total) == (True, 3)


def test_files_beside_the_records_do_not_matter(results: Path) -> None:
    (results / "README.md").write_text("text")
    (results / "baselines").mkdir()
    (results / "loop").symlink_to(results)
    assert read(results)[0].read == 3


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        HistoryIndex(tmp_path / "none")
