"""Which crypto backend a command uses, and whether the native kernel may be used at all.

``auto`` takes the best that works: the kernel for batches that are large enough, OpenSSL for smaller ones. The
kernel is tried once a process: it has to be built, find its CPU features, and agree with OpenSSL.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Final

from loadgen.crypto.base import CryptoBackend
from loadgen.crypto.openssl import OpenSSLBackend
from loadgen.errors import UsageError
from loadgen.protocol.events import BatchedRequest

_import_error: ImportError | None = None
try:
    from loadgen import _native
    from loadgen.crypto import native, selftest
except ImportError as error:  # without a compiler the extension is not built
    _import_error = error

CHOICES: Final = ("auto", "openssl", "native")
"""What ``--crypto`` takes."""

ISA_VARIABLE: Final = "LOADGEN_NATIVE_ISA"
"""Forces the kernel's implementation; with ``portable`` it runs, slowly, on every CPU."""

_VECTOR_ISA: Final = "avx512ifma"
_VECTOR_FEATURES: Final = ("avx512f", "avx512ifma")


@dataclass(frozen=True)
class Kernel:
    """What is known of the native kernel in this process.

    Attributes:
        problem: why it is not used, a sentence without its full stop; None where it can be.
        remedy: what could be done about that, a sentence; may be empty.
        is_faulty: it is there, but disagrees with OpenSSL.
    """

    problem: str | None = None
    remedy: str = ""
    is_faulty: bool = False


@cache
def kernel() -> Kernel:
    """Find the native kernel and test it; once a process, about 20 ms."""
    if _import_error is not None:
        return _not_importable(_import_error)
    missing = [name for name in _VECTOR_FEATURES if name not in _native.features()]
    if _native.isa() != _VECTOR_ISA and os.environ.get(ISA_VARIABLE) != _native.isa():
        what = ", ".join(missing) or _VECTOR_ISA
        return Kernel(f"this CPU or its operating system does not offer {what}")
    fault = selftest.find_fault(native.NativeBackend())
    if fault is not None:
        return Kernel(
            f"the native kernel disagrees with OpenSSL: {fault}",
            "This is a fault of loadgen or of this machine's CPU; please report it with this message.",
            is_faulty=True,
        )
    return Kernel()


def _not_importable(error: ImportError) -> Kernel:
    if ISA_VARIABLE in os.environ and ISA_VARIABLE in str(error):
        return Kernel(str(error), f"Leave {ISA_VARIABLE} unset.")
    return Kernel(
        "the native extension is not built",
        "Install a C compiler and the headers of Python, and install loadgen again.",
    )


@cache
def break_even() -> Mapping[type[BatchedRequest], int]:
    """Batch sizes from which on the kernel is faster than OpenSSL; measured once a process, about 20 ms.

    Only where :func:`kernel` has no problem.
    """
    return selftest.measure_break_even(native.NativeBackend())


def available() -> list[str]:
    """Choices of ``--crypto`` that make a difference here, ``openssl`` first."""
    return ["openssl"] if kernel().problem is not None else ["openssl", "native", "auto"]


def select_backend(choice: str, where: str = "--crypto") -> tuple[CryptoBackend, list[str]]:
    """The backend for ``choice`` and warnings about it, each a sentence for the user and the record.

    Args:
        choice: one of :data:`CHOICES`.
        where: the setting that has chosen it, for messages.

    Raises:
        UsageError: no backend has that name, or this installation or CPU cannot run it.
    """
    if choice not in CHOICES:
        nearest = difflib.get_close_matches(choice, CHOICES, n=1)
        hint = f"Did you mean {nearest[0]}? " if nearest else ""
        raise UsageError(
            f"there is no crypto backend {choice!r}",
            where=where,
            remedy=f"{hint}Use one of: {', '.join(CHOICES)}.",
        )
    if choice == "openssl":
        return OpenSSLBackend(), []
    found = kernel()
    if choice == "native":
        return _native_backend(found, where), []
    if found.problem is not None:
        return OpenSSLBackend(), [_without(found)]
    return _best_backend()


def _native_backend(found: Kernel, where: str) -> CryptoBackend:
    if found.problem is not None:
        raise UsageError(
            f"the native crypto backend cannot be used: {found.problem}",
            where=where,
            remedy=f"{found.remedy} Or use --crypto openssl.".strip(),
        )
    return native.NativeBackend()


def _best_backend() -> tuple[CryptoBackend, list[str]]:
    sizes = break_even()
    if min(sizes.values()) > native.LANES:
        return OpenSSLBackend(), ["All crypto runs on OpenSSL: it is faster here than the native kernel."]
    return native.NativeBackend(sizes, "native+openssl"), []


def _without(found: Kernel) -> str:
    """The line that says that there are no lanes, and what could be done about it."""
    return f"All crypto runs on OpenSSL: {found.problem}. {found.remedy}".rstrip()
