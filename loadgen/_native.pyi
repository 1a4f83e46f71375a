# ruff: noqa: A001, PYI021  the docstrings of an extension stand here, and `open` is the word of the protocol
"""The optional native kernel: one protocol step a lane, eight lanes at a time (sources in ``native/``).

The batch functions take parallel sequences of equal length and return a list with, for each lane, ``bytes`` or one of
the fault constants below (an ``int``; :class:`~loadgen.protocol.reasons.CryptoFault` has the same names). A lane's
fault never touches its neighbours. They release the GIL and may be called from any thread; keys are immutable.

Raises, all of them: ``TypeError`` for an item that is no ``bytes`` (or no key of the kind), ``ValueError`` for
sequences of different lengths, ``OSError`` where the system's random generator fails.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Self, TypeAlias

from typing_extensions import Buffer

Lane: TypeAlias = bytes | int

BAD_KEY: Final[int]
BAD_SIGNATURE: Final[int]
BAD_CIPHERTEXT: Final[int]
BAD_INPUT: Final[int]
FAULTY_RESULT: Final[int]
LANES: Final[int]
"""Lanes of one vector operation; batches of a multiple of this are the most efficient."""

class DeviceKey:
    """RSA-1024 private key of a device with e = 65537: big-endian integers, any number of leading zero bytes.

    The primes may differ from 512 bits by up to four. ``ValueError`` with one sentence where the key cannot be
    used. Exponents are not proved: a wrong one gives ``FAULTY_RESULT`` in use. Takes about 1 KB.
    """

    def __new__(cls, n: Buffer, p: Buffer, q: Buffer, dp: Buffer, dq: Buffer, qinv: Buffer) -> Self: ...
    @classmethod
    def from_der(cls, der: Buffer, /) -> Self:
        """From PKCS#1 or PKCS#8 DER; superfluous leading zeros of integers are accepted."""
    @property
    def modulus(self) -> bytes:
        """128 bytes, big-endian."""

class DevicePublicKey:
    """RSA-1024 modulus of a device, big-endian; e = 65537."""

    def __new__(cls, n: Buffer) -> Self: ...
    @property
    def modulus(self) -> bytes:
        """128 bytes, big-endian."""

class ServerKey:
    """RSA-2048 private key of a cloud with e = 65537; otherwise like :class:`DeviceKey`. Takes about 2 KB."""

    def __new__(cls, n: Buffer, p: Buffer, q: Buffer, dp: Buffer, dq: Buffer, qinv: Buffer) -> Self: ...
    @classmethod
    def from_der(cls, der: Buffer, /) -> Self:
        """From PKCS#1 or PKCS#8 DER; superfluous leading zeros of integers are accepted."""
    @property
    def modulus(self) -> bytes:
        """256 bytes, big-endian."""

class ServerPublicKey:
    """RSA-2048 modulus of a cloud, big-endian; e = 65537."""

    def __new__(cls, n: Buffer) -> Self: ...
    @property
    def modulus(self) -> bytes:
        """256 bytes, big-endian."""

def encrypt_nonce(
    keys: Sequence[ServerPublicKey], plaintexts: Sequence[bytes], paddings: Sequence[bytes] | None = None
) -> list[Lane]:
    """RSAES-PKCS1-v1_5 (RFC 8017, 7.2.1) of at most 245 bytes a lane → 256 bytes, or ``BAD_INPUT``.

    Args:
        paddings: for tests: 253 − len(plaintext) bytes a lane, none of them zero. Otherwise from getrandom(2).
    """

def unwrap_key(
    device_keys: Sequence[DeviceKey], server_keys: Sequence[ServerPublicKey], replies: Sequence[bytes]
) -> list[Lane]:
    """384 bytes a lane → the 40 bytes of session material, decrypted and verified.

    Faults, the first that applies: ``BAD_INPUT`` (length), ``BAD_KEY`` (not below the modulus, wrong padding, not
    exactly 40 bytes), ``FAULTY_RESULT``, ``BAD_SIGNATURE``.
    """

def decrypt_nonce(server_keys: Sequence[ServerKey], ciphertexts: Sequence[bytes]) -> list[Lane]:
    """256 bytes a lane → the plaintext, of any length.

    Faults: ``BAD_INPUT`` (length), ``BAD_CIPHERTEXT`` (not below the modulus, wrong padding), ``FAULTY_RESULT``.
    """

def wrap_key(
    server_keys: Sequence[ServerKey],
    device_public_keys: Sequence[DevicePublicKey],
    materials: Sequence[bytes],
    paddings: Sequence[bytes] | None = None,
) -> list[Lane]:
    """40 bytes a lane → 384: encrypted for the device, and the signed HMAC-SHA1.

    Faults: ``BAD_INPUT`` (length), ``FAULTY_RESULT``.

    Args:
        paddings: for tests: 85 bytes a lane, none of them zero.
    """

def seal_hello(keys: Sequence[bytes], ivs: Sequence[bytes], padded: Sequence[bytes]) -> list[Lane]:
    """AES-128-CBC encryption of one padded block a lane → 16 bytes, or ``BAD_INPUT``."""

def seal(key: Buffer, iv: Buffer, padded: Buffer, /) -> bytes:
    """AES-128-CBC encryption of whole blocks; ``ValueError`` for any other length. Keeps the GIL up to 4 KiB."""

def open(key: Buffer, iv: Buffer, ciphertext: Buffer, /) -> bytes:
    """AES-128-CBC decryption of whole blocks → padded plaintext; otherwise like :func:`seal`."""

def hmac_sha1(key: Buffer, message: Buffer, /) -> bytes:
    """HMAC-SHA1 with a key of at most 64 bytes → 20 bytes."""

def modexp_public(size: int, moduli: Sequence[bytes], bases: Sequence[bytes], /) -> list[Lane]:
    """base^65537 mod n a lane; ``size`` is 512, 1024 or 2048 bits.

    Bases have full length and are below their modulus, else ``BAD_INPUT``. The functions with moduli compute the
    Montgomery constants anew each time: for tests, and for timing only by differences.
    """

def private_raw(keys: Sequence[DeviceKey] | Sequence[ServerKey], inputs: Sequence[bytes], /) -> list[Lane]:
    """input^d mod n a lane by CRT, checked with e; keys of one kind. Faults: ``BAD_INPUT``, ``FAULTY_RESULT``."""

def mul_mod(
    size: int, moduli: Sequence[bytes], a: Sequence[bytes], b: Sequence[bytes], count: int = 1, /
) -> list[Lane]:
    """a·b^count mod n a lane, by ``count`` Montgomery multiplications and three more for the conversions."""

def sqr_mod(size: int, moduli: Sequence[bytes], a: Sequence[bytes], count: int = 1, /) -> list[Lane]:
    """a^(2^count) mod n a lane, by ``count`` Montgomery squarings and two multiplications for the conversions."""

def features() -> frozenset[str]:
    """What CPU and operating system offer: of ``avx512f``, ``avx512ifma``, ``aesni``, ``shani``."""

def isa() -> str:
    """The RSA implementation in use: ``avx512ifma`` or ``portable``.

    At import the environment variable ``LOADGEN_NATIVE_ISA`` (auto, portable, avx512ifma) decides; a value that cannot
    be had makes the import fail with ``ImportError``.
    """

def force_isa(name: str | None, /) -> None:
    """Use ``portable`` (no CPU feature at all), ``avx512ifma``, or None/``auto`` for the best.

    For the whole process; a batch that has begun keeps its choice. ``ValueError`` where the CPU does not offer it.
    """

def force_features(names: Iterable[str] | None, /) -> None:
    """Use none but these of the detected features, None for all. For the whole process."""
