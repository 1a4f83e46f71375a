"""Tables of the crypto benchmark, against golden files; ``LOADGEN_GOLDEN=write`` writes them anew."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from loadgen.report.crypto import summarise_crypto, write_crypto
from tests.report.crypto_samples import full_record, openssl_record
from tests.report.test_terminal import Stream

GOLDEN = Path(__file__).parent / "golden"
RECORDS = {"full": full_record, "openssl": openssl_record}
PATH = "results/20250102T030405Z-crypto-1a2b3c4d"


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def rendered(name: str, width: int, *, terminal: bool = False, encoding: str = "utf-8") -> str:
    stream = Stream(encoding, terminal=terminal)
    write_crypto(summarise_crypto(RECORDS[name](), PATH), stream, width)
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 200])
@pytest.mark.parametrize("name", list(RECORDS))
def test_golden(name: str, width: int) -> None:
    text = rendered(name, width)
    golden = GOLDEN / f"crypto-{name}-{width}.txt"
    if os.environ.get("LOADGEN_GOLDEN") == "write":
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("width", [80, 120, 200])
@pytest.mark.parametrize("name", list(RECORDS))
def test_nothing_is_wider_than_the_terminal(name: str, width: int) -> None:
    for line in rendered(name, width).splitlines():
        assert len(line) <= width


def test_what_is_faster_is_green_on_a_terminal() -> None:
    coloured = rendered("full", 80, terminal=True)
    assert "\x1b[32m" in coloured
    assert "\x1b" not in rendered("full", 80)
    assert "\x1b[32m" not in rendered("openssl", 80, terminal=True)


def test_a_terminal_that_knows_only_ascii_is_served() -> None:
    text = rendered("full", 80, encoding="ascii")
    assert text.isascii()
    assert "us of CPU time" in text


def test_a_record_of_nothing_is_a_headline() -> None:
    record = openssl_record()
    record.operations, record.threads = [], []
    summary = summarise_crypto(record, PATH)
    assert summary.tables == ()
    assert "interrupted" in summary.headline
