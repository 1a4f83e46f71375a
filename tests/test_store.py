"""Records on disk: what is written when, what is left after a death or a full disk, what readers are told."""

from __future__ import annotations

import io
import json
import os
import shutil
from pathlib import Path

import msgspec
import pytest

from loadgen.errors import ExitCode, LoadgenError, LocalResourceError, UsageError
from loadgen.protocol.stages import Stage
from loadgen.recording import record as types
from loadgen.recording.hlog import LogReader
from loadgen.recording.record import IntervalLine, RunRecord, stages_of
from loadgen.recording.rows import FLAG_NAMES
from loadgen.store import (
    HISTOGRAMS_FILE,
    INTERVALS_FILE,
    RUN_FILE,
    RunWriter,
    encode_record,
    environment,
    folder_name,
    load_record,
    new_id,
    read_histograms,
    read_intervals,
)
from tests.recording.made import (
    BASE_WALL_NS,
    FIRMWARES,
    ended_of,
    finished_record,
    made_recorder,
    second_facts,
    starting_record,
    write_record,
)

FIXTURE = Path(__file__).parent / "fixtures" / "record-1"
FORMAT = Path(__file__).parent.parent / "results" / "README.md"


def running(parent: Path, *, seconds: int = 3) -> RunWriter:
    """A record whose run has been going on for some seconds."""
    writer = RunWriter(parent, starting_record(), "quick")
    writer.begin(BASE_WALL_NS)
    for interval in made_recorder().take_all()[:seconds]:
        ended = ended_of(interval)
        writer.append(interval, second_facts(ended.total() + 1, [ended[FIRMWARES[0]] + 1, ended[FIRMWARES[1]]]))
    return writer


def left_running(parent: Path, *, seconds: int = 3) -> Path:
    """The folder of a record whose run was killed."""
    writer = running(parent, seconds=seconds)
    writer.close()
    return writer.path


# --- writing


def test_record_is_there_from_the_start(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path / "results", starting_record(), "quick")
    assert writer.path == tmp_path / "results" / "20260102T030404Z-quick-base-1a2b3c4d"
    assert sorted(path.name for path in writer.path.iterdir()) == [HISTOGRAMS_FILE, INTERVALS_FILE, RUN_FILE]
    assert json.loads((writer.path / RUN_FILE).read_bytes())["status"] == "running"
    writer.close()


def test_begin_of_the_recorded_window_is_noted(tmp_path: Path) -> None:
    writer = running(tmp_path, seconds=0)
    document = json.loads((writer.path / RUN_FILE).read_bytes())
    assert (document["status"], document["started_at"]) == ("running", "2026-01-02T03:04:05.678Z")
    writer.close()


def test_finished_record_reads_back_as_written(tmp_path: Path) -> None:
    recorder, record = made_recorder(), starting_record()
    expected = finished_record(record, recorder)
    writer = RunWriter(tmp_path, record, "quick")
    writer.begin(BASE_WALL_NS)
    assert writer.finish(expected)
    assert load_record(writer.path) == expected
    assert load_record(writer.path / RUN_FILE) == expected
    assert not (writer.path / f"{RUN_FILE}.new").exists()


def test_seconds_are_on_disk_as_soon_as_they_are_appended(tmp_path: Path) -> None:
    writer = running(tmp_path, seconds=1)
    (line,) = read_intervals(writer.path)
    assert (line.second, line.time) == (0, "2026-01-02T03:04:05.678Z")
    assert line.completed == sum(counts.completed for counts in line.firmware.values())
    assert line.failed == sum(failure.count for failure in line.failures)
    assert (line.in_flight, line.worker_cpu_s, line.mock_cloud_cpu_s) == (3, [0.3], [0.2, 0.15])
    assert {entry.start_s for entry in LogReader(writer.path / HISTOGRAMS_FILE)} == {0.0}
    writer.close()


def test_parts_that_a_run_did_not_have_are_left_out() -> None:
    document = json.loads(encode_record(starting_record()))
    assert "mock_cloud" not in document
    assert "storm" not in document
    assert document["thresholds"] == []
    assert document["failures"] == []


@pytest.mark.parametrize(
    ("scenario", "label", "name"),
    [
        ("quick", None, "20260102T030404Z-quick-1a2b3c4d"),
        ("quick", "base-7", "20260102T030404Z-quick-base-7-1a2b3c4d"),
        ("../../etc", "a b/c", "20260102T030404Z-etc-a_b_c-1a2b3c4d"),
        ("-", "..", "20260102T030404Z-1a2b3c4d"),
        ("x" * 200, None, f"20260102T030404Z-{'x' * 64}-1a2b3c4d"),
    ],
)
def test_folder_names_are_safe(scenario: str, label: str | None, name: str) -> None:
    assert folder_name(starting_record(label=label), scenario) == name


def test_ids_are_short_and_differ() -> None:
    ids = {new_id() for _ in range(50)}
    assert len(ids) == 50
    assert all(len(one) == 8 and int(one, 16) >= 0 for one in ids)


def test_unwritable_folder_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError) as caught:
        RunWriter(tmp_path / "file", starting_record(), "quick")
    assert caught.value.exit_code == ExitCode.USAGE
    assert "--out" in str(caught.value)
    assert str(tmp_path / "file") in str(caught.value)


# --- a disk that fails


def fill_disk(writer: RunWriter, name: str) -> None:
    writer._logs[name].close()
    writer._logs[name] = io.FileIO("/dev/full", "ab")


@pytest.mark.parametrize("name", [HISTOGRAMS_FILE, INTERVALS_FILE])
def test_full_disk_is_told_once_and_the_record_is_finished(tmp_path: Path, name: str) -> None:
    writer, recorder = running(tmp_path, seconds=1), made_recorder()
    fill_disk(writer, name)
    _, second, third = recorder.take_all()
    with pytest.raises(LocalResourceError) as caught:
        writer.append(second, second_facts(1))
    assert caught.value.exit_code == ExitCode.INTERNAL
    assert "No space left" in str(caught.value)
    before = (writer.path / INTERVALS_FILE).read_bytes()
    writer.append(third, second_facts(1))
    assert (writer.path / INTERVALS_FILE).read_bytes() == before
    expected = finished_record(starting_record(), recorder)
    assert writer.finish(expected)
    assert load_record(writer.path) == expected


def test_record_that_cannot_be_finished_is_told_once(tmp_path: Path) -> None:
    writer = running(tmp_path, seconds=1)
    shutil.rmtree(writer.path)
    finished = finished_record(starting_record(), made_recorder())
    with pytest.raises(LocalResourceError):
        writer.finish(finished)
    assert writer.finish(finished) is False


def test_full_disk_at_the_start_is_a_local_resource(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("loadgen.store.os.fsync", full)
    with pytest.raises(LocalResourceError, match="No space left"):
        RunWriter(tmp_path, starting_record(), "quick")


def test_full_disk_at_the_begin_is_told(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path, starting_record(), "quick")
    shutil.rmtree(writer.path)
    with pytest.raises(LocalResourceError):
        writer.begin(BASE_WALL_NS)
    writer.close()


# --- a record left running


def test_running_record_is_rebuilt(tmp_path: Path) -> None:
    writer, recorder = running(tmp_path), made_recorder()
    record = load_record(writer.path)
    assert (record.status, record.duration_s) == ("running", 3.0)
    assert record.counts == types.Counts(intended=612, started=612, completed=600, failed=9, aborted=3)
    assert record.rate.achieved_per_s == 204
    assert record.rate.completed_per_s == 200
    assert record.generator.cpu_s == pytest.approx(0.9)
    assert record.failures == types.failure_counts(recorder.failures)
    assert record.session_failures == types.failure_counts(recorder.session_failures, in_session=True)
    assert [finding.code for finding in record.validity.findings] == ["unfinished"]
    assert record.validity.verdict == "invalid"
    for name, expected in stages_of(recorder.histogram).items():
        found = record.stages[name]
        assert (found.count, found.p50_us, found.p90_us, found.p50_ci_us, found.max_us) == (
            expected.count,
            expected.p50_us,
            expected.p90_us,
            expected.p50_ci_us,
            expected.max_us,
        )
        assert found.mean_us == pytest.approx(expected.mean_us, rel=1e-3)
    for facts, name in zip(record.firmware, FIRMWARES, strict=True):
        assert facts.counts.completed == recorder.completed[name]
        assert facts.counts.aborted == (3 if name == FIRMWARES[0] else 0), "one more a second has begun than ended"
        assert facts.stages["key"].p50_us == types.stage_stats(recorder.histogram(Stage.KEY, name)).p50_us
    writer.close()


def test_record_killed_before_its_first_second(tmp_path: Path) -> None:
    folder = left_running(tmp_path, seconds=0)
    record = load_record(folder)
    assert record.counts == types.Counts()
    assert record.stages["key"].count == 0
    (folder / INTERVALS_FILE).unlink()
    (folder / HISTOGRAMS_FILE).unlink()
    assert load_record(folder) == record


def test_second_without_its_line_does_not_count(tmp_path: Path) -> None:
    """The line is written after the histograms: cut off, the second is in neither."""
    folder = left_running(tmp_path)
    intervals = folder / INTERVALS_FILE
    intervals.write_bytes(intervals.read_bytes()[:-30])
    record = load_record(folder)
    assert record.duration_s == 2.0
    assert record.stages["key"].count == record.counts.completed < 600


def test_histograms_cut_off_are_read_as_far_as_they_go(tmp_path: Path) -> None:
    folder = left_running(tmp_path)
    log = folder / HISTOGRAMS_FILE
    log.write_bytes(log.read_bytes()[:-100])
    assert load_record(folder).stages["handshake"].count == 600


def test_one_firmware_takes_the_histograms_of_all(tmp_path: Path) -> None:
    writer = RunWriter(tmp_path, starting_record(FIRMWARES[:1]), "quick")
    writer.begin(BASE_WALL_NS)
    for interval in made_recorder(FIRMWARES[:1]).take_all():
        writer.append(interval, second_facts(1))
    writer.close()
    record = load_record(writer.path)
    assert record.firmware[0].stages == record.stages
    assert record.counts.started == 609  # never fewer than have ended


def test_long_logs_are_merged_in_between(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = left_running(tmp_path)
    expected = read_histograms(folder)
    monkeypatch.setattr("loadgen.store._MERGE_EVERY", 2)
    assert read_histograms(folder) == expected


def test_foreign_tags_are_passed_over(tmp_path: Path) -> None:
    folder = left_running(tmp_path)
    expected = read_histograms(folder)
    log = folder / HISTOGRAMS_FILE
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join([*lines, lines[-1].replace("Tag=", "Tag=later_"), lines[-1].partition(",")[2]]))
    assert read_histograms(folder) == expected


def test_damage_in_the_histograms_is_told(tmp_path: Path) -> None:
    folder = left_running(tmp_path)
    log = folder / HISTOGRAMS_FILE
    log.write_text(log.read_text().replace("HISTF", "HISTA", 1))
    with pytest.raises(UsageError, match="damaged"):
        load_record(folder)


@pytest.mark.parametrize(("old", "new", "what"), [('"second"', '"sec"', "line 1"), ('"key"', '"quay"', "unknown")])
def test_damage_in_the_intervals_is_told(tmp_path: Path, old: str, new: str, what: str) -> None:
    folder = left_running(tmp_path)
    intervals = folder / INTERVALS_FILE
    intervals.write_text(intervals.read_text().replace(old, new, 1))
    with pytest.raises(UsageError, match=what) as caught:
        load_record(folder)
    assert str(intervals) in str(caught.value)


# --- reading


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "no record"),
        (b"", "no JSON"),
        (b'{"schema": "loadgen/run/1", "id": "1a', "no JSON"),
        (b"\xff\xfe", "no JSON"),
        (b"[]", "no record of loadgen"),
        (b'{"schema": 7}', "no record of loadgen"),
        (b'{"a": 1}', "no record of loadgen"),
        (b'{"schema": "loadgen/crypto/1"}', "not the record of a run"),
        (b'{"schema": "k6/summary/1"}', "not the record of a run"),
        (b'{"schema": "loadgen/run/2"}', "reads 'loadgen/run/1'"),
        (b'{"schema": "loadgen/run/1"}', "damaged"),
    ],
)
def test_what_is_no_record_is_told(tmp_path: Path, content: bytes | None, what: str) -> None:
    if content is not None:
        (tmp_path / RUN_FILE).write_bytes(content)
    with pytest.raises(LoadgenError, match=what) as caught:
        load_record(tmp_path)
    assert caught.value.exit_code == ExitCode.USAGE
    assert str(tmp_path / RUN_FILE) in str(caught.value)
    assert caught.value.remedy


def test_damaged_field_is_named(tmp_path: Path) -> None:
    document = json.loads(encode_record(starting_record()))
    document["counts"]["completed"] = "many"
    (tmp_path / RUN_FILE).write_text(json.dumps(document))
    with pytest.raises(UsageError, match=r"\$\.counts\.completed"):
        load_record(tmp_path)


def test_later_additions_are_passed_over(tmp_path: Path) -> None:
    document = json.loads(encode_record(finished_record(starting_record(), made_recorder())))
    expected = msgspec.convert(document, RunRecord)
    document["weather"] = "fine"
    document["counts"]["lost"] = 3
    document["stages"]["key"]["p42_us"] = 1.0
    (tmp_path / RUN_FILE).write_text(json.dumps(document))
    assert load_record(tmp_path) == expected


def test_fields_added_since_may_be_missing(tmp_path: Path) -> None:
    document = json.loads(encode_record(finished_record(starting_record(), made_recorder())))
    for added in ("recording", "workers", "thresholds"):
        del document[added]
    (tmp_path / RUN_FILE).write_text(json.dumps(document))
    assert load_record(tmp_path).workers == []


def test_stored_record_stays_readable() -> None:
    record = load_record(FIXTURE)
    assert (record.id, record.status, record.counts.completed) == ("1a2b3c4d", "complete", 600)
    assert record.stage(Stage.KEY).p50_us == 715.263
    assert record.stage(Stage.HANDSHAKE).p99_us is None
    assert [failure.reason for failure in record.failures[:1]] == ["local_resource"]
    assert record.storm is not None
    assert record.storm.online_100_s == 3.0
    assert record.mock_cloud is not None
    assert len(list(read_intervals(FIXTURE))) == 3


def test_stored_record_left_running_stays_readable(tmp_path: Path) -> None:
    shutil.copytree(FIXTURE, tmp_path, dirs_exist_ok=True)
    document = json.loads((tmp_path / RUN_FILE).read_bytes())
    (tmp_path / RUN_FILE).write_text(json.dumps(document | {"status": "running", "stages": {}}))
    stored, rebuilt = load_record(FIXTURE), load_record(tmp_path)
    assert rebuilt.counts.completed == stored.counts.completed
    assert rebuilt.stage(Stage.KEY).p50_us == stored.stage(Stage.KEY).p50_us


def test_records_are_written_as_the_stored_one_was(tmp_path: Path) -> None:
    """Another result here means that the format has changed: that takes a new fixture beside this one."""
    folder = write_record(tmp_path)
    assert (folder / INTERVALS_FILE).read_bytes() == (FIXTURE / INTERVALS_FILE).read_bytes()
    assert json.loads((folder / RUN_FILE).read_bytes()).keys() == json.loads((FIXTURE / RUN_FILE).read_bytes()).keys()
    assert read_histograms(folder) == read_histograms(FIXTURE)


# --- the format's description


def test_every_field_is_described() -> None:
    text = FORMAT.read_text()
    structs = [
        value
        for value in vars(types).values()
        if isinstance(value, type) and issubclass(value, msgspec.Struct) and value is not types.SecondFacts
    ]
    assert RunRecord in structs
    assert IntervalLine in structs
    fields = {name for struct in structs for name in struct.__struct_fields__}
    percentiles = {name for name in fields if name.startswith("p") and name.endswith("_us")}
    names = (fields - percentiles) | set(Stage) | set(FLAG_NAMES)
    assert [name for name in sorted(names) if f"`{name}`" not in text] == []


# --- the machine


def test_environment_describes_this_machine() -> None:
    facts = environment(openssl="OpenSSL 3", crypto_backend="openssl", timestamps="kernel", engine="uvloop")
    assert facts.cores >= 1
    assert facts.python.startswith("CPython 3.")
    assert facts.kernel
    assert facts.cpu_model
    assert (facts.openssl, facts.crypto_backend, facts.timestamps, facts.engine) == (
        "OpenSSL 3",
        "openssl",
        "kernel",
        "uvloop",
    )


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def commit_in(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str | None:
    monkeypatch.chdir(folder)
    return environment(openssl="", crypto_backend="", timestamps="", engine="").git


def test_commit_is_read_from_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git, below = tmp_path / ".git", tmp_path / "a" / "b"
    (git / "refs" / "heads").mkdir(parents=True)
    below.mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/main\n")
    assert commit_in(below, monkeypatch) is None  # no commit yet
    (git / "packed-refs").write_text(f"# pack-refs\n{COMMIT} refs/heads/main\n")
    assert commit_in(below, monkeypatch) == COMMIT
    (git / "refs" / "heads" / "main").write_text(f"{COMMIT[::-1]}\n")
    assert commit_in(below, monkeypatch) == COMMIT[::-1]
    (git / "HEAD").write_text(f"{COMMIT}\n")
    assert commit_in(below, monkeypatch) == COMMIT


def test_commit_is_read_from_a_worktree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git = tmp_path / "main" / ".git"
    (git / "refs" / "heads").mkdir(parents=True)
    (git / "refs" / "heads" / "topic").write_text(f"{COMMIT}\n")
    (git / "worktrees" / "w").mkdir(parents=True)
    (git / "worktrees" / "w" / "HEAD").write_text("ref: refs/heads/topic\n")
    (git / "worktrees" / "w" / "commondir").write_text("../..\n")
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / ".git").write_text(f"gitdir: {git / 'worktrees' / 'w'}\n")
    assert commit_in(tmp_path / "w", monkeypatch) == COMMIT


def test_checkout_that_cannot_be_read_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    assert commit_in(tmp_path, monkeypatch) is None
