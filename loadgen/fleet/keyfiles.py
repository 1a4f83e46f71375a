"""Key files: those that people have, and those that clouds want. The only module here that uses ``cryptography``.

A server key of a real cloud comes as PEM or DER, as SubjectPublicKeyInfo or PKCS#1, or as the 512-byte file
that particle-cli writes to a device (the key, FF, and the server's address at 384). Whatever a P1 could not
work with is refused with what is wrong and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from loadgen.errors import UsageError
from loadgen.fleet.identity import firmware_misreads
from loadgen.fleet.keydata import pem
from loadgen.protocol.wire import SERVER_SPKI_SIZE, is_server_spki

PUBLIC_EXPONENT: Final = 65537
DEVICE_KEY_BITS: Final = 1024
SERVER_KEY_BITS: Final = 2048
MAX_KEY_FILE: Final = 65536
"""Bytes; no key file is nearly as large."""

_PADDED_UNTIL: Final = 384  # in particle-cli's server key file FF reach from the key to the address
_PUBLIC_KEY_FILE = re.compile(r"([0-9a-fA-F]{24})\.pub\.pem")
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm)

Progress = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclass(frozen=True)
class KeyDirectory:
    """What a folder of device keys holds, as spark-server and its relatives keep them."""

    keys: dict[str, bytes] = field(default_factory=dict)
    """Device id (24 lower-case hexadecimal digits) → public key, 162 bytes."""
    ignored: int = 0
    """Files of other names."""
    problems: list[str] = field(default_factory=list)
    """A sentence for each device key file that cannot be used."""


# --- making keys


def new_device_key() -> bytes:
    """A new RSA-1024 key in PKCS#1 DER that a real P1 can read. About 7 ms; releases the GIL."""
    while True:
        key = rsa.generate_private_key(PUBLIC_EXPONENT, DEVICE_KEY_BITS)
        der = key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        if not firmware_misreads(der):
            return der


def new_server_key() -> bytes:
    """A new RSA-2048 key in PKCS#1 DER."""
    key = rsa.generate_private_key(PUBLIC_EXPONENT, SERVER_KEY_BITS)
    return key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def public_half(server_key_der: bytes) -> bytes:
    """The 294-byte SubjectPublicKeyInfo that belongs to a server's private key in DER.

    Raises :class:`ValueError` where that is no RSA key.
    """
    key = load_der_private_key(server_key_der, None, unsafe_skip_rsa_key_validation=True)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise ValueError("the server's private key is no RSA key")
    return _spki(key.public_key())


# --- a server's keys


def load_server_public_key_file(path: Path) -> bytes:
    """The public key of a cloud as 294-byte SubjectPublicKeyInfo.

    Raises:
        UsageError: unreadable, a private key, not RSA-2048, another exponent than 65537.
    """
    data = _read(path)
    if is_server_spki(data[:SERVER_SPKI_SIZE]) and not data[SERVER_SPKI_SIZE:_PADDED_UNTIL].strip(b"\xff"):
        return data[:SERVER_SPKI_SIZE]
    if _is_private(data):
        raise UsageError(
            "this is a private key; the public key of the server is wanted here",
            where=str(path),
            remedy=f"Give the public key, usually {_public_name(path)} beside it; {_make_public(path)}.",
        )
    if b"BEGIN CERTIFICATE" in data:
        raise UsageError(
            "this is a certificate, not a public key",
            where=str(path),
            remedy=f"Take the key out with: openssl x509 -in {path} -noout -pubkey",
        )
    load = load_pem_public_key if _is_pem(data) else load_der_public_key
    try:
        key = load(data)
    except _UNREADABLE:
        raise UsageError(
            "this is no public key that can be read",
            where=str(path),
            remedy="Give an RSA-2048 public key in PEM or DER, such as the default_key.pub.pem of a server.",
        ) from None
    return _spki(_checked(key, path, SERVER_KEY_BITS, "server"))


def load_server_private_key_file(path: Path) -> bytes:
    """The private key of a cloud as PKCS#1 DER; the file may be PKCS#1 or PKCS#8, PEM or DER.

    Raises:
        UsageError: unreadable, encrypted, a public key, not RSA-2048, another exponent than 65537.
    """
    data = _read(path)
    load = load_pem_private_key if _is_pem(data) else load_der_private_key
    try:
        key = load(data, None)
    except TypeError:
        raise UsageError(
            "this private key is encrypted",
            where=str(path),
            remedy=f"Take the password off with: openssl pkey -in {path} -out decrypted.pem",
        ) from None
    except (ValueError, UnsupportedAlgorithm):
        public = not _is_private(data) and _is_public(data)
        raise UsageError(
            "this is a public key; the private key of the server is wanted here"
            if public
            else "this is no private key that can be read",
            where=str(path),
            remedy="Give the RSA-2048 private key in PEM or DER, such as the default_key.pem of a server.",
        ) from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise _not_rsa(path, "server", SERVER_KEY_BITS)
    _checked(key.public_key(), path, SERVER_KEY_BITS, "server")
    return key.private_bytes(Encoding.DER, PrivateFormat.TraditionalOpenSSL, NoEncryption())


# --- devices' public keys


def load_public_key_directory(directory: Path) -> KeyDirectory:
    """Read every ``<24 hexadecimal digits>.pub.pem`` of a folder.

    Raises:
        UsageError: the folder cannot be read.
    """
    result: dict[str, bytes] = {}
    problems: list[str] = []
    ignored = 0
    try:
        paths = sorted(directory.iterdir())
    except OSError as error:
        raise UsageError(
            f"the folder of device keys cannot be read: {error.strerror}",
            where=str(directory),
            remedy="Give a folder of <device id>.pub.pem files, or a fleet file.",
        ) from None
    for path in paths:
        match = _PUBLIC_KEY_FILE.fullmatch(path.name)
        if match is None:
            ignored += 1
            continue
        try:
            result[match[1].lower()] = load_device_public_key_file(path)
        except UsageError as error:
            problems.append(f"{error.where}: {error.what}")
    return KeyDirectory(result, ignored, problems)


def public_key_pem(spki: bytes) -> bytes:
    """A SubjectPublicKeyInfo as PEM (RFC 7468)."""
    return pem("PUBLIC KEY", spki)


# --- parts


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_FILE + 1)
    except OSError as error:
        raise UsageError(
            f"the key file cannot be read: {error.strerror}",
            where=str(path),
            remedy="Check the name and the permissions of the file.",
        ) from None
    if not data or len(data) > MAX_KEY_FILE:
        raise UsageError(
            "the key file is empty" if not data else "the file is too large for a key",
            where=str(path),
            remedy="Give a key in PEM or DER.",
        )
    return data


def load_device_public_key_file(path: Path) -> bytes:
    """A device's public key in PEM or DER as 162 bytes."""
    data = _read(path)
    load = load_pem_public_key if _is_pem(data) else load_der_public_key
    try:
        key = load(data)
    except _UNREADABLE:
        raise UsageError(
            "this is no public key that can be read",
            where=str(path),
            remedy="Give a device's RSA-1024 public key in PEM or DER, such as ID.pub.pem.",
        ) from None
    return _spki(_checked(key, path, DEVICE_KEY_BITS, "device"))


def _checked(key: object, path: Path, bits: int, owner: str) -> rsa.RSAPublicKey:
    """``key`` if it is RSA with ``bits`` and the one exponent that the firmware knows."""
    if not isinstance(key, rsa.RSAPublicKey):
        raise _not_rsa(path, owner, bits)
    if key.key_size != bits:
        hint = ""
        if owner == "server" and key.key_size == DEVICE_KEY_BITS:
            hint = "This looks like a device's key. "
        elif owner == "device" and key.key_size == SERVER_KEY_BITS:
            hint = "This looks like a server's key. "
        raise UsageError(
            f"this key has {key.key_size} bits; a {owner}'s key has {bits}",
            where=str(path),
            remedy=f"{hint}Give the {owner}'s RSA-{bits} key.",
        )
    exponent = key.public_numbers().e
    if exponent != PUBLIC_EXPONENT:
        raise UsageError(
            f"this key has the public exponent {exponent}; devices always use {PUBLIC_EXPONENT}",
            where=str(path),
            remedy=f"Make a new key pair with the exponent {PUBLIC_EXPONENT}, the default of openssl genrsa.",
        )
    return key


def _not_rsa(path: Path, owner: str, bits: int) -> UsageError:
    return UsageError(
        "this is no RSA key, and a P1 knows nothing else",
        where=str(path),
        remedy=f"Give the {owner}'s RSA-{bits} key.",
    )


def _is_pem(data: bytes) -> bool:
    return b"-----BEGIN " in data


def _is_private(data: bytes) -> bool:
    """Whether ``data`` is a private key of any kind, encrypted ones included."""
    if _is_pem(data):
        return b"PRIVATE KEY-----" in data
    try:
        load_der_private_key(data, None, unsafe_skip_rsa_key_validation=True)
    except TypeError:  # encrypted
        return True
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


def _is_public(data: bytes) -> bool:
    try:
        (load_pem_public_key if _is_pem(data) else load_der_public_key)(data[:MAX_KEY_FILE])
    except _UNREADABLE:
        return is_server_spki(data[:SERVER_SPKI_SIZE])
    return True


def _spki(key: rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _public_name(path: Path) -> str:
    return f"{path.stem}.pub.pem"


def _make_public(path: Path) -> str:
    return f"or make it with: openssl pkey -in {path} -pubout -out {path.with_name(_public_name(path))}"
