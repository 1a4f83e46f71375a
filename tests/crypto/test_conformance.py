"""Every backend of this installation against the conformance kit."""

from __future__ import annotations

import pytest

from loadgen.crypto.base import CryptoBackend
from loadgen.crypto.openssl import OpenSSLBackend
from tests.crypto.conformance import BackendConformance


@pytest.fixture(scope="module", params=[OpenSSLBackend], ids=["openssl"])
def backend(request: pytest.FixtureRequest) -> CryptoBackend:
    made: CryptoBackend = request.param()
    return made


class TestConformance(BackendConformance):
    """The kit, once for each backend."""
