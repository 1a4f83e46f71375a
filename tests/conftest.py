"""Fixtures and settings for every test."""

from __future__ import annotations

import json
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
