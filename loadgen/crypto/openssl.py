"""The crypto backend on OpenSSL, by way of ``cryptography``.

Strategy. A key is parsed once into a handle that holds the bound methods of the library's key object, so that
an operation is one call with ready-made padding objects. The library releases the GIL within an operation.

Fault reporting agrees with the other backends and with the device. OpenSSL ≥ 3.2 answers a failed PKCS#1
v1.5 decryption with random bytes of random length ("implicit rejection", openssl/openssl pull request
13817). Of those answers 0.8 % have 40 bytes, and the fault would look like a bad signature. So after a
failed verification, and on that path only, the decryption is repeated with plain integers and its padding
checked.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Final

from cryptography import __version__ as cryptography_version
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.backends.openssl import backend as openssl
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.utils import NoDigestInfo
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from loadgen.crypto.base import LaneResult
from loadgen.protocol.events import DecryptNonce, EncryptNonce, KeyHandle, Open, Seal, UnwrapKey, WrapKey
from loadgen.protocol.pkcs1 import private_key_integers
from loadgen.protocol.reasons import CryptoFault
from loadgen.protocol.wire import (
    BARE_PLAINTEXT_SIZE,
    CIPHERTEXT_SIZE,
    DEVICE_SPKI_SIZE,
    KEY_BLOCK_SIZE,
    MATERIAL_SIZE,
    PLAINTEXT_SIZE,
    REPLY_SIZE,
    SERVER_SPKI_SIZE,
    device_spki,
)

PUBLIC_EXPONENT: Final = 65537
DEVICE_KEY_BITS: Final = 1024
SERVER_KEY_BITS: Final = 2048
_PLAINTEXT_SIZES: Final = frozenset({PLAINTEXT_SIZE, BARE_PLAINTEXT_SIZE})
_DEVICE_MODULUS: Final = slice(29, 29 + KEY_BLOCK_SIZE)

_PADDING: Final = PKCS1v15()
_NO_DIGEST_INFO: Final = NoDigestInfo()

_BAD_INPUT: Final = CryptoFault.BAD_INPUT
_BAD_KEY: Final = CryptoFault.BAD_KEY
_BAD_SIGNATURE: Final = CryptoFault.BAD_SIGNATURE
_BAD_CIPHERTEXT: Final = CryptoFault.BAD_CIPHERTEXT


def library_version() -> str:
    """The OpenSSL in use and the package that brings it, such as ``OpenSSL 3.5.4 …, cryptography 47.0``."""
    return f"{openssl.openssl_version_text()}, cryptography {cryptography_version}"


class DeviceKey:
    """An RSA-1024 private key of a device, ready for use."""

    __slots__ = ("_crt", "_key", "decrypt", "sign")

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self._key = key
        self._crt: tuple[int, int, int, int, int, int] | None = None
        self.decrypt = key.decrypt
        self.sign = key.sign

    def has_good_padding(self, ciphertext: bytes) -> bool:
        """Whether ``ciphertext`` (128 bytes) decrypts to ``00 02``, 85 non-zero bytes, ``00`` and 40 bytes.

        With plain integers, about a millisecond: for the fault path only. RFC 8017 sections 5.1.2 and 7.2.2.
        """
        if self._crt is None:
            numbers = self._key.private_numbers()
            self._crt = (
                numbers.p,
                numbers.q,
                numbers.dmp1,
                numbers.dmq1,
                numbers.iqmp,
                numbers.public_numbers.n,
            )
        p, q, dp, dq, q_inverse, n = self._crt
        c = int.from_bytes(ciphertext)
        if c >= n:
            return False
        m1 = pow(c, dp, p)
        m2 = pow(c, dq, q)
        block = (m2 + (m1 - m2) * q_inverse % p * q).to_bytes(KEY_BLOCK_SIZE)
        separator = KEY_BLOCK_SIZE - MATERIAL_SIZE - 1
        return block[:2] == b"\0\2" and block.find(0, 2) == separator


class DevicePublicKey:
    """An RSA-1024 public key as a device presents it, ready for use."""

    __slots__ = ("encrypt",)

    def __init__(self, key: rsa.RSAPublicKey) -> None:
        self.encrypt = key.encrypt


class ServerPublicKey:
    """An RSA-2048 public key of a cloud, ready for use."""

    __slots__ = ("encrypt", "recover")

    def __init__(self, key: rsa.RSAPublicKey) -> None:
        self.encrypt = key.encrypt
        self.recover = key.recover_data_from_signature


class ServerKey:
    """An RSA-2048 private key of a cloud, ready for use."""

    __slots__ = ("decrypt", "sign")

    def __init__(self, key: rsa.RSAPrivateKey) -> None:
        self.decrypt = key.decrypt
        self.sign = key.sign


class OpenSSLBackend:
    """Every operation on OpenSSL, lane after lane. See :class:`loadgen.crypto.base.CryptoBackend`."""

    name = "openssl"
    lanes = 1

    def load_device_key(self, der: bytes) -> KeyHandle:
        """Parse a PKCS#1 RSA-1024 private key (DER) of this program's own fleet.

        Superfluous leading zero bytes, as the firmware's own generator writes them, are accepted. The
        consistency of the numbers is not checked (that takes 5 ms a key): a fleet's keys are its own.
        """
        try:
            key = _load_private(der, validate=False)
        except ValueError:
            key = _load_device_style(der)
        _check_key(key.public_key(), DEVICE_KEY_BITS)
        return DeviceKey(key)

    def load_device_public_key(self, spki: bytes) -> KeyHandle:
        """Parse a 162-byte SubjectPublicKeyInfo as a device presents it.

        A device with a damaged key slot presents 128 arbitrary bytes as modulus. What can be encrypted to is
        accepted, as a genuine cloud does; the device then fails to decrypt.
        """
        if len(spki) != DEVICE_SPKI_SIZE:
            raise ValueError(f"a device's public key has {DEVICE_SPKI_SIZE} bytes, not {len(spki)}")
        block = spki[_DEVICE_MODULUS]
        if device_spki(block) != spki:
            raise ValueError("the device's public key is no SubjectPublicKeyInfo of an RSA-1024 key with e = 65537")
        modulus = int.from_bytes(block)
        if modulus % 2 == 0 or modulus.bit_length() <= DEVICE_KEY_BITS - 8:
            raise ValueError("the device's public key has an even or too small modulus")
        return DevicePublicKey(rsa.RSAPublicNumbers(PUBLIC_EXPONENT, modulus).public_key())

    def load_server_public_key(self, spki: bytes) -> KeyHandle:
        """Parse a 294-byte SubjectPublicKeyInfo of an RSA-2048 key with e = 65537."""
        if len(spki) != SERVER_SPKI_SIZE:
            raise ValueError(f"a server's public key has {SERVER_SPKI_SIZE} bytes, not {len(spki)}")
        try:
            key = load_der_public_key(spki)
        except (ValueError, UnsupportedAlgorithm):
            raise ValueError("the server's public key is no SubjectPublicKeyInfo in DER") from None
        if not isinstance(key, rsa.RSAPublicKey):
            raise ValueError("the server's public key is no RSA key")
        _check_key(key, SERVER_KEY_BITS)
        return ServerPublicKey(key)

    def load_server_key(self, der: bytes) -> KeyHandle:
        """Parse an RSA-2048 private key (PKCS#1 or PKCS#8 DER) with e = 65537; its numbers are checked."""
        key = _load_private(der, validate=True)
        _check_key(key.public_key(), SERVER_KEY_BITS)
        return ServerKey(key)

    def encrypt_nonce(self, batch: Sequence[EncryptNonce]) -> list[LaneResult]:
        """Do the device's encryption for each lane."""
        results: list[LaneResult] = []
        for request in batch:
            key = request.server_key
            plaintext = request.plaintext
            if type(key) is ServerPublicKey and len(plaintext) in _PLAINTEXT_SIZES:
                results.append(key.encrypt(plaintext, _PADDING))
            else:
                results.append(_BAD_INPUT)
        return results

    def unwrap_key(self, batch: Sequence[UnwrapKey]) -> list[LaneResult]:
        """Decrypt and verify the session material for each lane."""
        return [_unwrap(request.device_key, request.server_key, request.reply) for request in batch]

    def decrypt_nonce(self, batch: Sequence[DecryptNonce]) -> list[LaneResult]:
        """Do the cloud's decryption for each lane. Wrong padding gives random bytes: the nonce decides."""
        results: list[LaneResult] = []
        for request in batch:
            key = request.server_key
            ciphertext = request.ciphertext
            if type(key) is not ServerKey or len(ciphertext) != CIPHERTEXT_SIZE:
                results.append(_BAD_INPUT)
                continue
            try:
                results.append(key.decrypt(ciphertext, _PADDING))
            except ValueError:  # not below the modulus
                results.append(_BAD_CIPHERTEXT)
        return results

    def wrap_key(self, batch: Sequence[WrapKey]) -> list[LaneResult]:
        """Encrypt and sign the session material for each lane."""
        results: list[LaneResult] = []
        for request in batch:
            server_key = request.server_key
            device_key = request.device_public_key
            material = request.material
            if (
                type(server_key) is not ServerKey
                or type(device_key) is not DevicePublicKey
                or len(material) != MATERIAL_SIZE
            ):
                results.append(_BAD_INPUT)
                continue
            try:
                ciphertext = device_key.encrypt(material, _PADDING)
            except ValueError:  # a presented modulus that the library cannot compute with
                results.append(_BAD_INPUT)
                continue
            mac = hmac.digest(material, ciphertext, "sha1")
            results.append(ciphertext + server_key.sign(mac, _PADDING, _NO_DIGEST_INFO))
        return results

    def sign(self, keys: Sequence[KeyHandle], macs: Sequence[bytes]) -> list[LaneResult]:
        """PKCS#1 v1.5 signatures of 20 bytes each, without DigestInfo. For benchmarks."""
        return [key.sign(mac, _PADDING, _NO_DIGEST_INFO) for key, mac in zip(keys, macs, strict=True)]

    def seal(self, request: Seal) -> bytes:
        """AES-128-CBC encrypt whole blocks.

        Raises:
            ValueError: a length is wrong.
        """
        if len(request.padded) % 16:
            raise ValueError("AES-CBC takes whole blocks of 16 bytes")
        return Cipher(AES128(request.key), CBC(request.iv)).encryptor().update(request.padded)

    def open(self, request: Open) -> bytes:
        """AES-128-CBC decrypt whole blocks.

        Raises:
            ValueError: a length is wrong.
        """
        if len(request.ciphertext) % 16:
            raise ValueError("AES-CBC takes whole blocks of 16 bytes")
        return Cipher(AES128(request.key), CBC(request.iv)).decryptor().update(request.ciphertext)


def keys_of_primes(p: int, q: int) -> tuple[KeyHandle, KeyHandle]:
    """(private, public) handles of the RSA key of two primes of 512 or of 1024 bits, unchecked.

    For keys that are made on the spot: to check a key of 2048 bits would take 40 ms.
    """
    d = pow(PUBLIC_EXPONENT, -1, (p - 1) * (q - 1))
    public = rsa.RSAPublicNumbers(PUBLIC_EXPONENT, p * q)
    crt = (rsa.rsa_crt_dmp1(d, p), rsa.rsa_crt_dmq1(d, q), rsa.rsa_crt_iqmp(p, q))
    key = rsa.RSAPrivateNumbers(p, q, d, *crt, public).private_key(unsafe_skip_rsa_key_validation=True)
    if key.key_size == DEVICE_KEY_BITS:
        return DeviceKey(key), DevicePublicKey(key.public_key())
    return ServerKey(key), ServerPublicKey(key.public_key())


def _unwrap(device_key: KeyHandle, server_key: KeyHandle, reply: bytes) -> LaneResult:
    """Decrypt and verify one lane."""
    if len(reply) != REPLY_SIZE or type(device_key) is not DeviceKey or type(server_key) is not ServerPublicKey:
        return _BAD_INPUT
    ciphertext = reply[:KEY_BLOCK_SIZE]
    try:
        material = device_key.decrypt(ciphertext, _PADDING)
    except ValueError:  # not below the modulus, or padding refused by an OpenSSL without implicit rejection
        return _BAD_KEY
    if len(material) != MATERIAL_SIZE:
        return _BAD_KEY
    try:
        mac = server_key.recover(reply[KEY_BLOCK_SIZE:], _PADDING, None)
    except InvalidSignature:
        mac = b""
    if hmac.compare_digest(mac, hmac.digest(material, ciphertext, "sha1")):
        return material
    return _BAD_SIGNATURE if device_key.has_good_padding(ciphertext) else _BAD_KEY


def _load_private(der: bytes, *, validate: bool) -> rsa.RSAPrivateKey:
    try:
        key = load_der_private_key(der, None, unsafe_skip_rsa_key_validation=not validate)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("the private key is no usable RSA key in PKCS#1 or PKCS#8 DER") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("the private key is no RSA key")
    return key


def _load_device_style(der: bytes) -> rsa.RSAPrivateKey:
    """Read a key whose integers the library refuses for their leading zero bytes."""
    n, e, d, p, q, dp, dq, qp = (int.from_bytes(value) for value in private_key_integers(der))
    public = rsa.RSAPublicNumbers(e, n)
    numbers = rsa.RSAPrivateNumbers(p, q, d, dp, dq, qp, public)
    return numbers.private_key(unsafe_skip_rsa_key_validation=True)


def _check_key(key: rsa.RSAPublicKey, bits: int) -> None:
    """Raise ValueError unless ``key`` has ``bits`` and the exponent that the firmware assumes."""
    if key.key_size != bits:
        raise ValueError(f"the key has {key.key_size} bits, not {bits}")
    exponent = key.public_numbers().e
    if exponent != PUBLIC_EXPONENT:
        raise ValueError(f"the key has the public exponent {exponent}, not {PUBLIC_EXPONENT}")
