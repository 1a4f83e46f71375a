"""Every backend of this installation against the conformance kit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from loadgen.crypto.base import CryptoBackend, LaneBackend
from loadgen.crypto.openssl import OpenSSLBackend
from loadgen.protocol.events import BatchedRequest, DecryptNonce, EncryptNonce, UnwrapKey, WrapKey
from tests.crypto.conformance import BackendConformance

BREAK_EVEN: Mapping[type[BatchedRequest], int] = {EncryptNonce: 2, UnwrapKey: 3, DecryptNonce: 5, WrapKey: 9}
"""So that every mixture of lanes and OpenSSL occurs: small rests, large rests, and an operation without lanes."""


@pytest.fixture(
    scope="module",
    params=[
        "openssl",
        pytest.param("avx512ifma", marks=pytest.mark.ifma),
        pytest.param("avx512ifma and openssl", marks=pytest.mark.ifma),
        "portable",
    ],
)
def backend(request: pytest.FixtureRequest) -> Iterator[CryptoBackend]:
    isa, _, mixed = request.param.partition(" and ")
    if isa == "openssl":
        yield OpenSSLBackend()
        return
    kernel = pytest.importorskip("loadgen._native", reason="the native extension is not built")
    if isa == "avx512ifma" and not kernel.features() >= {"avx512f", "avx512ifma"}:
        pytest.skip("this CPU has no AVX-512 IFMA")
    from loadgen.crypto.native import NativeBackend

    kernel.force_isa(isa)
    try:
        yield NativeBackend(BREAK_EVEN if mixed else None)
    finally:
        kernel.force_isa(None)


class TestConformance(BackendConformance):
    """The kit, once for each backend."""

    def test_tells_its_lanes(self, backend: CryptoBackend) -> None:
        assert isinstance(backend, LaneBackend) == (backend.lanes > 1)
