"""A small fleet on disk and a mock cloud that knows it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loadgen.fleet.generate import generate
from loadgen.fleet.keystore import FleetStore


@pytest.fixture(scope="session")
def fleet_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifty devices that share two keys."""
    path = tmp_path_factory.mktemp("fleet") / "fleet.sqlite"
    generate(path, devices=50, keys=2).close()
    return path


@pytest.fixture(scope="session")
def fleet(fleet_path: Path) -> Iterator[FleetStore]:
    """The store of :func:`fleet_path`, open."""
    with FleetStore.open(fleet_path) as store:
        yield store
