from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

from loadgen.errors import ExitCode, UsageError
from loadgen.fleet import keyfiles
from loadgen.fleet.identity import firmware_misreads, public_key_of
from loadgen.protocol.wire import is_server_spki
from tests.fleet.keys import good_keys, server_pem, server_spki

SPKI = PublicFormat.SubjectPublicKeyInfo
ID = "0123456789abcdef01234567"


def server_key() -> rsa.RSAPrivateKey:
    key = load_pem_private_key(server_pem(), None)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def private(encoding: Encoding, form: PrivateFormat, password: bytes | None = None) -> bytes:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return server_key().private_bytes(encoding, form, encryption)


def public(encoding: Encoding, form: PublicFormat) -> bytes:
    return server_key().public_key().public_bytes(encoding, form)


def curve_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def exponent_three() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(3, 2048)


def file(tmp_path: Path, data: bytes, name: str = "given.key") -> Path:
    path = tmp_path / name
    path.write_bytes(data)
    return path


def padded(address: bytes) -> bytes:
    """A server key file as particle-cli writes it to a device."""
    return (server_spki().ljust(384, b"\xff") + address).ljust(512, b"\xff")


# --- a server's public key


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(lambda: public(Encoding.PEM, SPKI), id="SPKI PEM"),
        pytest.param(lambda: public(Encoding.DER, SPKI), id="SPKI DER"),
        pytest.param(lambda: public(Encoding.PEM, PublicFormat.PKCS1), id="PKCS#1 PEM"),
        pytest.param(lambda: public(Encoding.DER, PublicFormat.PKCS1), id="PKCS#1 DER"),
        pytest.param(lambda: public(Encoding.PEM, SPKI).replace(b"\n", b"\r\n"), id="PEM from Windows"),
        pytest.param(lambda: padded(b""), id="padded, no address"),
        pytest.param(lambda: padded(bytes.fromhex("0004c0a8010a")), id="padded, IPv4 address"),
        pytest.param(lambda: padded(b"\x01\x0fdevice.spark.io"), id="padded, name"),
    ],
)
def test_reads_every_form_of_a_server_public_key(tmp_path: Path, data: Callable[[], bytes]) -> None:
    assert keyfiles.load_server_public_key_file(file(tmp_path, data())) == server_spki()


@pytest.mark.parametrize(
    ("data", "what", "remedy"),
    [
        pytest.param(server_pem, "this is a private key", "given.pub.pem", id="private PEM"),
        pytest.param(
            lambda: private(Encoding.DER, PrivateFormat.PKCS8), "this is a private key", "openssl pkey", id="PKCS#8 DER"
        ),
        pytest.param(
            lambda: private(Encoding.PEM, PrivateFormat.PKCS8, b"secret"),
            "this is a private key",
            "given.pub.pem",
            id="encrypted PEM",
        ),
        pytest.param(
            lambda: private(Encoding.DER, PrivateFormat.PKCS8, b"secret"),
            "this is a private key",
            "given.pub.pem",
            id="encrypted DER",
        ),
        pytest.param(
            lambda: public_key_of(good_keys()[0]),
            "this key has 1024 bits; a server's key has 2048",
            "This looks like a device's key.",
            id="a device's",
        ),
        pytest.param(
            lambda: exponent_three().public_key().public_bytes(Encoding.PEM, SPKI),
            "this key has the public exponent 3; devices always use 65537",
            "genrsa",
            id="exponent 3",
        ),
        pytest.param(
            lambda: curve_key().public_key().public_bytes(Encoding.PEM, SPKI),
            "this is no RSA key",
            "RSA-2048",
            id="elliptic curve",
        ),
        pytest.param(
            lambda: b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n",
            "this is a certificate",
            "openssl x509",
            id="certificate",
        ),
        pytest.param(lambda: b"\xff" * 512, "this is no public key", "default_key.pub.pem", id="an empty slot"),
        pytest.param(lambda: b"garbage", "this is no public key", "default_key.pub.pem", id="garbage"),
        pytest.param(lambda: server_spki()[:-1], "this is no public key", "PEM or DER", id="cut off"),
        pytest.param(lambda: public(Encoding.PEM, SPKI)[:200], "this is no public key", "PEM or DER", id="PEM cut off"),
        pytest.param(lambda: b"", "the key file is empty", "PEM or DER", id="empty"),
        pytest.param(lambda: bytes(70_000), "the file is too large for a key", "PEM or DER", id="too large"),
    ],
)
def test_says_what_is_wrong_with_a_server_public_key(
    tmp_path: Path, data: Callable[[], bytes], what: str, remedy: str
) -> None:
    path = file(tmp_path, data())
    with pytest.raises(UsageError) as caught:
        keyfiles.load_server_public_key_file(path)
    assert caught.value.what.startswith(what)
    assert caught.value.where == str(path)
    assert caught.value.remedy is not None
    assert remedy in caught.value.remedy
    assert caught.value.exit_code == ExitCode.USAGE


@pytest.mark.parametrize("load", [keyfiles.load_server_public_key_file, keyfiles.load_server_private_key_file])
def test_says_why_a_key_file_cannot_be_read(tmp_path: Path, load: Callable[[Path], bytes]) -> None:
    with pytest.raises(UsageError, match="No such file"):
        load(tmp_path / "missing.pem")
    with pytest.raises(UsageError, match="Is a directory"):
        load(tmp_path)


# --- a server's private key


@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("form", [PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8])
def test_reads_every_form_of_a_server_private_key(tmp_path: Path, encoding: Encoding, form: PrivateFormat) -> None:
    der = keyfiles.load_server_private_key_file(file(tmp_path, private(encoding, form)))
    assert der == private(Encoding.DER, PrivateFormat.TraditionalOpenSSL)
    assert keyfiles.public_half(der) == server_spki()


@pytest.mark.parametrize(
    ("data", "what", "remedy"),
    [
        pytest.param(
            lambda: private(Encoding.PEM, PrivateFormat.PKCS8, b"secret"),
            "this private key is encrypted",
            "openssl pkey",
            id="PKCS#8",
        ),
        pytest.param(
            lambda: private(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, b"secret"),
            "this private key is encrypted",
            "openssl pkey",
            id="PKCS#1",
        ),
        pytest.param(
            lambda: public(Encoding.PEM, SPKI), "this is a public key", "default_key.pem", id="a public one in PEM"
        ),
        pytest.param(
            lambda: public(Encoding.DER, SPKI), "this is a public key", "default_key.pem", id="a public one in DER"
        ),
        pytest.param(lambda: padded(b""), "this is a public key", "default_key.pem", id="a padded public one"),
        pytest.param(lambda: good_keys()[0], "this key has 1024 bits", "This looks like a device's key.", id="1024"),
        pytest.param(
            lambda: exponent_three().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "this key has the public exponent 3",
            "65537",
            id="exponent 3",
        ),
        pytest.param(
            lambda: curve_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "this is no RSA key",
            "RSA-2048",
            id="elliptic curve",
        ),
        pytest.param(lambda: b"garbage", "this is no private key", "default_key.pem", id="garbage"),
        pytest.param(lambda: server_pem()[:500], "this is no private key", "default_key.pem", id="cut off"),
    ],
)
def test_says_what_is_wrong_with_a_server_private_key(
    tmp_path: Path, data: Callable[[], bytes], what: str, remedy: str
) -> None:
    path = file(tmp_path, data())
    with pytest.raises(UsageError) as caught:
        keyfiles.load_server_private_key_file(path)
    assert caught.value.what.startswith(what)
    assert caught.value.where == str(path)
    assert caught.value.remedy is not None
    assert remedy in caught.value.remedy


# --- making keys


def test_makes_device_keys_that_the_firmware_reads() -> None:
    first, second = keyfiles.new_device_key(), keyfiles.new_device_key()
    assert first != second
    assert firmware_misreads(first) == firmware_misreads(second) == ()
    assert len(public_key_of(first)) == 162


def test_throws_keys_away_that_the_firmware_misreads(monkeypatch: pytest.MonkeyPatch) -> None:
    verdicts = iter([("QP",), ("D", "P"), ()])
    monkeypatch.setattr(keyfiles, "firmware_misreads", lambda _: next(verdicts))
    assert keyfiles.new_device_key()
    assert list(verdicts) == []


def test_makes_a_server_key() -> None:
    assert is_server_spki(keyfiles.public_half(keyfiles.new_server_key()))


# --- public keys as PEM


def test_writes_pem_that_reads_back() -> None:
    pem = keyfiles.public_key_pem(server_spki())
    assert pem == public(Encoding.PEM, SPKI)


# --- a folder of device keys


def test_reads_a_folder_as_servers_keep_it(tmp_path: Path) -> None:
    first, second = (public_key_of(der) for der in good_keys()[:2])
    file(tmp_path, keyfiles.public_key_pem(first), f"{ID}.pub.pem")
    key = load_der_public_key(second)
    file(tmp_path, key.public_bytes(Encoding.PEM, PublicFormat.PKCS1), f"{'AB' * 12}.pub.pem")
    for other in ("default_key.pem", f"{ID}_handshake.pub.pem", f"{ID}.json", f"{ID}0.pub.pem"):
        file(tmp_path, b"anything", other)
    found = keyfiles.load_public_key_directory(tmp_path)
    assert found.keys == {ID: first, "ab" * 12: second}
    assert found.ignored == 4
    assert found.problems == []


def test_reports_the_keys_of_a_folder_that_no_device_has(tmp_path: Path) -> None:
    good = public_key_of(good_keys()[0])
    file(tmp_path, keyfiles.public_key_pem(good), f"{ID}.pub.pem")
    file(tmp_path, keyfiles.public_key_pem(server_spki()), f"{'a' * 24}.pub.pem")
    file(tmp_path, b"garbage", f"{'b' * 24}.pub.pem")
    file(tmp_path, curve_key().public_key().public_bytes(Encoding.PEM, SPKI), f"{'c' * 24}.pub.pem")
    found = keyfiles.load_public_key_directory(tmp_path)
    assert found.keys == {ID: good}
    assert found.problems == [
        f"{tmp_path / ('a' * 24)}.pub.pem: this key has 2048 bits; a device's key has 1024",
        f"{tmp_path / ('b' * 24)}.pub.pem: this is no public key that can be read",
        f"{tmp_path / ('c' * 24)}.pub.pem: this is no RSA key, and a P1 knows nothing else",
    ]


def test_a_folder_that_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="folder of device keys"):
        keyfiles.load_public_key_directory(tmp_path / "missing")
