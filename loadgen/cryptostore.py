"""Records of the crypto benchmark on disk: a folder with ``crypto.json``, written whole and put in place by rename."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

import msgspec

from loadgen.errors import LocalResourceError, UsageError
from loadgen.recording.crypto_record import CRYPTO_SCHEMA, CryptoRecord

CRYPTO_FILE: Final = "crypto.json"
"""Not the name of a run's file, so that whatever gathers runs passes over the folder."""


def encode_crypto_record(record: CryptoRecord) -> bytes:
    """``crypto.json`` as it stands in the folder."""
    return msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n"


def write_crypto_record(parent: Path, record: CryptoRecord) -> Path:
    """Write ``record`` into a folder of its own; returns the folder.

    Args:
        parent: folder of the records; made when missing.
        record: complete. Its label must be fit for a file name.

    Raises:
        LocalResourceError: it cannot be written.
    """
    time = re.sub(r"[-:]|\.\d+", "", record.started_at)
    folder = parent / "-".join(part for part in (time, "crypto", record.label or "", record.id) if part)
    beside = folder / f"{CRYPTO_FILE}.new"
    try:
        folder.mkdir(parents=True)
        with beside.open("wb") as file:
            file.write(encode_crypto_record(record))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(folder / CRYPTO_FILE)
    except OSError as error:
        raise LocalResourceError(
            f"the record cannot be written: {error.strerror}",
            where=str(folder),
            remedy="Free some space or choose another folder with --out.",
        ) from error
    return folder


def load_crypto_record(path: Path) -> CryptoRecord:
    """Read a record.

    Args:
        path: the record's folder, or its ``crypto.json``.

    Raises:
        UsageError: there is none, it is damaged, of something else, or of a newer loadgen.
    """
    file = path / CRYPTO_FILE if path.is_dir() else path
    remedy = "Give the folder that `loadgen crypto` has left under its results folder."
    try:
        document = msgspec.json.decode(file.read_bytes())
    except OSError as error:
        what = f"there is no record that can be read: {error.strerror}"
        raise UsageError(what, where=str(file), remedy=remedy) from error
    except msgspec.DecodeError as error:
        raise UsageError(f"the file is no JSON: {error}", where=str(file), remedy=remedy) from error
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != CRYPTO_SCHEMA:
        what = f"the file holds {schema!r}; this loadgen reads {CRYPTO_SCHEMA!r} here"
        raise UsageError(what, where=str(file), remedy=remedy)
    try:
        return msgspec.convert(document, CryptoRecord)
    except msgspec.ValidationError as error:
        raise UsageError(f"the record is damaged: {error}", where=str(file), remedy=remedy) from error
