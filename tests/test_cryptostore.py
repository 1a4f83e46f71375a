from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadgen.cryptostore import CRYPTO_FILE, encode_crypto_record, load_crypto_record, write_crypto_record
from loadgen.errors import ExitCode, LocalResourceError, UsageError
from tests.report.crypto_samples import full_record, openssl_record


def test_a_record_comes_back_as_it_was_written(tmp_path: Path) -> None:
    record = full_record()
    folder = write_crypto_record(tmp_path / "new" / "results", record)
    assert folder.name == "20250102T030405Z-crypto-zen4-1a2b3c4d"
    assert [file.name for file in folder.iterdir()] == [CRYPTO_FILE]
    assert load_crypto_record(folder) == load_crypto_record(folder / CRYPTO_FILE) == record
    document = json.loads((folder / CRYPTO_FILE).read_text())
    assert document["schema"] == "loadgen/crypto/1"
    assert (folder / CRYPTO_FILE).read_bytes() == encode_crypto_record(record)


def test_a_record_without_a_label_has_none_in_its_name(tmp_path: Path) -> None:
    assert write_crypto_record(tmp_path, openssl_record()).name == "20250102T030405Z-crypto-1a2b3c4d"


def test_a_folder_that_cannot_be_made_is_an_error_with_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file")
    with pytest.raises(LocalResourceError, match="--out") as caught:
        write_crypto_record(tmp_path / "results", full_record())
    assert caught.value.exit_code == ExitCode.INTERNAL


def test_what_a_later_version_has_added_is_passed_over(tmp_path: Path) -> None:
    folder = write_crypto_record(tmp_path, full_record())
    document = json.loads((folder / CRYPTO_FILE).read_text())
    document["new"] = document["kernel"]["new"] = 1
    (folder / CRYPTO_FILE).write_text(json.dumps(document))
    assert load_crypto_record(folder) == full_record()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "No such file"),
        ("{", "no JSON"),
        ("[]", "holds None"),
        ('{"schema": "loadgen/run/1"}', "holds 'loadgen/run/1'; this loadgen reads 'loadgen/crypto/1' here"),
        ('{"schema": "loadgen/crypto/2"}', "holds 'loadgen/crypto/2'"),
        ('{"schema": "loadgen/crypto/1"}', "damaged"),
    ],
)
def test_anything_else_is_a_usage_error(tmp_path: Path, content: str | None, words: str) -> None:
    if content is not None:
        (tmp_path / CRYPTO_FILE).write_text(content)
    with pytest.raises(UsageError, match=words):
        load_crypto_record(tmp_path)
