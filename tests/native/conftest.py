"""Fixtures of the kernel's tests: one implementation after the other, and always back to the best one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest


@pytest.fixture
def native() -> Iterator[Any]:
    """The extension, on its best implementation before and after the test."""
    module = pytest.importorskip("loadgen._native", reason="the native extension is not built")
    module.force_isa(None)
    yield module
    module.force_isa(None)


@pytest.fixture(params=["portable", pytest.param("avx512ifma", marks=pytest.mark.ifma)])
def kernel(request: pytest.FixtureRequest, native: Any) -> Any:
    """The extension, forced to one implementation."""
    if request.param == "avx512ifma" and not native.features() >= {"avx512f", "avx512ifma"}:
        pytest.skip("this CPU has no AVX-512 IFMA")
    native.force_isa(request.param)
    assert native.isa() == request.param
    return native
