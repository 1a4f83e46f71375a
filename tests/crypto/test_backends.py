from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import pytest

from loadgen.crypto import backends
from loadgen.crypto.backends import CHOICES, Kernel, available, kernel, select_backend
from loadgen.errors import ExitCode, UsageError
from loadgen.protocol.events import DecryptNonce, EncryptNonce, UnwrapKey, WrapKey


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """The kernel is looked for anew, before and after."""
    caches = (kernel, backends.break_even)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()


@pytest.fixture
def without_extension(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backends, "_import_error", ImportError("No module named 'loadgen._native'"))


needs_extension = pytest.mark.skipif(backends._import_error is not None, reason="the native extension is not built")


def usage_error_of(choice: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        select_backend(choice)
    assert caught.value.exit_code == ExitCode.USAGE
    assert caught.value.where == "--crypto"
    return caught.value


def test_openssl_is_always_there() -> None:
    backend, warnings = select_backend("openssl")
    assert (backend.name, backend.lanes, warnings) == ("openssl", 1, [])
    assert available()[0] == "openssl"


@pytest.mark.ifma
def test_with_a_kernel_every_choice_is_there() -> None:
    if kernel().problem is not None:
        pytest.skip("the native kernel cannot be used here")
    assert sorted(available()) == sorted(CHOICES)
    for choice, name in (("native", "native"), ("auto", "native+openssl")):
        backend, warnings = select_backend(choice)
        assert (backend.name, backend.lanes, warnings) == (name, 8, [])


def test_an_unknown_backend_is_a_usage_error_that_names_the_choices() -> None:
    assert usage_error_of("opensl").remedy == "Did you mean openssl? Use one of: auto, openssl, native."
    assert usage_error_of("x").remedy == "Use one of: auto, openssl, native."


def test_without_the_extension_auto_is_openssl_and_says_so(without_extension: None) -> None:
    backend, warnings = select_backend("auto")
    assert backend.name == "openssl"
    (warning,) = warnings
    assert warning == (
        "All crypto runs on OpenSSL: the native extension is not built. "
        "Install a C compiler and the headers of Python, and install loadgen again."
    )
    assert available() == ["openssl"]


def test_without_the_extension_native_is_a_usage_error(without_extension: None) -> None:
    error = usage_error_of("native")
    assert error.what == "the native crypto backend cannot be used: the native extension is not built"
    assert error.remedy is not None
    assert "compiler" in error.remedy
    assert error.remedy.endswith("Or use --crypto openssl.")


def test_an_impossible_forced_implementation_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(backends.ISA_VARIABLE, "avx1024")
    monkeypatch.setattr(
        backends, "_import_error", ImportError(f"{backends.ISA_VARIABLE}: unknown implementation 'avx1024'")
    )
    assert "unknown implementation 'avx1024'" in usage_error_of("native").what
    _, (warning,) = select_backend("auto")
    assert warning.endswith("unknown implementation 'avx1024'. Leave LOADGEN_NATIVE_ISA unset.")


@needs_extension
@pytest.mark.parametrize(
    ("offered", "missing"),
    [
        (set(), "avx512f, avx512ifma"),
        ({"avx512f", "aesni"}, "avx512ifma"),
        ({"avx512ifma", "shani"}, "avx512f"),
    ],
)
def test_missing_features_are_named(monkeypatch: pytest.MonkeyPatch, offered: set[str], missing: str) -> None:
    from loadgen import _native

    monkeypatch.setattr(_native, "features", lambda: offered)
    monkeypatch.setattr(_native, "isa", lambda: "portable")
    reason = f"this CPU or its operating system does not offer {missing}"
    assert usage_error_of("native").what == f"the native crypto backend cannot be used: {reason}"
    assert select_backend("auto")[1] == [f"All crypto runs on OpenSSL: {reason}."]
    assert available() == ["openssl"]


@needs_extension
def test_the_portable_implementation_has_to_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from loadgen import _native

    _native.force_isa("portable")
    try:
        assert kernel().problem is not None
        kernel.cache_clear()
        monkeypatch.setenv(backends.ISA_VARIABLE, "portable")
        assert kernel() == Kernel()
        assert select_backend("native")[0].name == "native"
    finally:
        _native.force_isa(None)


@needs_extension
def test_a_kernel_that_disagrees_is_disabled_with_a_warning(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from loadgen import _native
    from loadgen.crypto import selftest

    monkeypatch.setattr(selftest, "find_fault", lambda backend: "wrong results of wrap_key")
    monkeypatch.setattr(_native, "isa", lambda: "avx512ifma")
    monkeypatch.setattr(_native, "features", lambda: {"avx512f", "avx512ifma"})
    backend, (warning,) = select_backend("auto")
    assert backend.name == "openssl"
    assert "disagrees with OpenSSL: wrong results of wrap_key. " in warning
    assert "report" in warning
    assert kernel().is_faulty
    assert "wrong results of wrap_key" in usage_error_of("native").what


@needs_extension
@pytest.mark.parametrize(("lanes_win", "name"), [(True, "native+openssl"), (False, "openssl")])
def test_auto_uses_lanes_only_where_they_win(monkeypatch: pytest.MonkeyPatch, lanes_win: bool, name: str) -> None:
    sizes = dict.fromkeys((EncryptNonce, UnwrapKey, DecryptNonce, WrapKey), 9)
    if lanes_win:
        sizes[UnwrapKey] = 8
    monkeypatch.setattr(backends, "kernel", Kernel)
    monkeypatch.setattr(backends, "break_even", cache(lambda: sizes))
    backend, warnings = select_backend("auto")
    assert backend.name == name
    assert len(warnings) == (0 if lanes_win else 1)
