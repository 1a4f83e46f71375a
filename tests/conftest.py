"""Fixtures and settings for every test."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

VECTORS = Path(__file__).parent / "vectors"

settings.register_profile("deterministic", derandomize=True, database=None, deadline=None, max_examples=100)
settings.load_profile("deterministic")


@pytest.fixture(scope="session")
def handshake_vector() -> Any:
    """The content of ``vectors/handshake.json``."""
    return json.loads((VECTORS / "handshake.json").read_text(encoding="utf-8"))


def _unexpected_skips(reporter: Any) -> list[Any]:
    """Skipped tests, but for those of a CPU feature."""
    return [report for report in reporter.stats.get("skipped", ()) if not {"ifma", "namespace"} & set(report.keywords)]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With ``LOADGEN_FAIL_ON_SKIP`` set, where every tool is installed, a skipped test is a failure."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("LOADGEN_FAIL_ON_SKIP") and reporter is not None and _unexpected_skips(reporter):
        reporter.write_line("")
        reporter.write_line("LOADGEN_FAIL_ON_SKIP: tests were skipped for want of a tool", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
