"""Keys in every encoding."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from loadgen.fleet import keydata
from loadgen.fleet.findings import Code
from loadgen.fleet.keydata import KeyDataError, belongs_together, private_key_pem, read_key, repaired_key
from loadgen.protocol.pkcs1 import private_key_integers, private_key_places
from tests.fleet.keys import good_keys, odd_keys, recording

DER, PEM = Encoding.DER, Encoding.PEM
PKCS1, PKCS8 = PrivateFormat.TraditionalOpenSSL, PrivateFormat.PKCS8
SPKI, PKCS1_PUBLIC = PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1
DEVICE = good_keys()[0]


def device() -> rsa.RSAPrivateKey:
    key = load_der_private_key(DEVICE, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(key, rsa.RSAPrivateKey)
    return key


def private(encoding: Encoding, form: PrivateFormat, password: bytes | None = None) -> bytes:
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return device().private_bytes(encoding, form, encryption)


def public(encoding: Encoding, form: PublicFormat) -> bytes:
    return device().public_key().public_bytes(encoding, form)


def curve(encoding: Encoding, form: PrivateFormat) -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(encoding, form, NoEncryption())


@pytest.mark.parametrize("encoding", [DER, PEM])
@pytest.mark.parametrize(("form", "name"), [(PKCS1, "PKCS#1"), (PKCS8, "PKCS#8")])
def test_reads_private_keys(encoding: Encoding, form: PrivateFormat, name: str) -> None:
    key = read_key(private(encoding, form))
    assert key.private_der == DEVICE
    assert (key.encoding, key.is_pem, key.is_private) == (name, encoding is PEM, True)
    assert (key.bits, key.exponent, key.trailing) == (1024, 65537, b"")
    assert key.modulus == device().public_key().public_numbers().n


@pytest.mark.parametrize("encoding", [DER, PEM])
@pytest.mark.parametrize(("form", "name"), [(SPKI, "SubjectPublicKeyInfo"), (PKCS1_PUBLIC, "PKCS#1 public")])
def test_reads_public_keys(encoding: Encoding, form: PublicFormat, name: str) -> None:
    key = read_key(public(encoding, form))
    assert (key.encoding, key.is_pem, key.private_der) == (name, encoding is PEM, None)
    assert key.modulus == device().public_key().public_numbers().n


def test_reads_what_the_generator_in_the_firmware_writes() -> None:
    """Leading zero bytes always: strict readers refuse it."""
    der = bytes.fromhex(recording()["device_private_key_der"])
    assert read_key(der).private_der == der
    for key in odd_keys():
        der = bytes.fromhex(key["private_key_der"])
        assert read_key(der).private_der == der


@pytest.mark.parametrize("tail", [b"\xff" * 9, b"rest of an older key", b"\0"])
@pytest.mark.parametrize(
    "data", [lambda: DEVICE, lambda: private(DER, PKCS8), lambda: public(DER, SPKI)], ids=["PKCS#1", "PKCS#8", "public"]
)
def test_keeps_what_follows_the_key_apart(data: Callable[[], bytes], tail: bytes) -> None:
    key = read_key(data() + tail)
    assert key.trailing == tail
    assert key.modulus == read_key(data()).modulus
    assert key.private_der in (None, DEVICE)


@pytest.mark.parametrize(
    ("change", "mark", "crlf", "trailing"),
    [
        pytest.param(lambda text: text.replace(b"\n", b"\r\n"), False, True, b"", id="Windows"),
        pytest.param(lambda text: b"\xef\xbb\xbf" + text, True, False, b"", id="byte order mark"),
        pytest.param(lambda text: b"a comment\n" + text + b"\n\n", False, False, b"", id="text before"),
        pytest.param(lambda text: text + b"a comment\n", False, False, b"a comment", id="text behind"),
        pytest.param(lambda text: text.rstrip(), False, False, b"", id="no line end"),
    ],
)
def test_says_what_is_odd_about_pem(change: Callable[[bytes], bytes], mark: bool, crlf: bool, trailing: bytes) -> None:
    key = read_key(change(private(PEM, PKCS1)))
    assert key.private_der == DEVICE
    assert (key.has_byte_order_mark, key.has_crlf, key.trailing) == (mark, crlf, trailing)


def test_takes_the_key_behind_the_parameters_of_a_curve() -> None:
    text = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    with pytest.raises(KeyDataError) as caught:
        read_key(text + curve(PEM, PKCS1))
    assert caught.value.code is Code.CURVE_KEY


@pytest.mark.parametrize(
    ("data", "code"),
    [
        pytest.param(lambda: b"", Code.EMPTY, id="empty"),
        pytest.param(lambda: b"\xff" * 612, Code.NOT_A_KEY, id="erased flash"),
        pytest.param(lambda: b"hello", Code.NOT_A_KEY, id="text"),
        pytest.param(lambda: b"\0" * 70, Code.NOT_A_KEY, id="zeros"),
        pytest.param(lambda: DEVICE[:300], Code.CUT_OFF, id="cut off"),
        pytest.param(lambda: private(DER, PKCS8)[:-1], Code.CUT_OFF, id="PKCS#8 cut off"),
        pytest.param(lambda: private(PEM, PKCS1)[:300], Code.CUT_OFF, id="PEM cut off"),
        pytest.param(lambda: private(PEM, PKCS1).replace(b"MII", b"M!I"), Code.NOT_A_KEY, id="PEM damaged"),
        pytest.param(lambda: private(PEM, PKCS8, b"x"), Code.ENCRYPTED, id="encrypted PEM"),
        pytest.param(lambda: private(DER, PKCS8, b"x"), Code.ENCRYPTED, id="encrypted DER"),
        pytest.param(lambda: private(PEM, PKCS1, b"x"), Code.ENCRYPTED, id="encrypted traditional PEM"),
        pytest.param(lambda: curve(PEM, PKCS8), Code.CURVE_KEY, id="curve in PKCS#8 PEM"),
        pytest.param(lambda: curve(DER, PKCS8), Code.CURVE_KEY, id="curve in PKCS#8"),
        pytest.param(lambda: curve(DER, PKCS1), Code.CURVE_KEY, id="curve"),
        pytest.param(lambda: curve(PEM, PKCS1), Code.CURVE_KEY, id="curve PEM"),
        pytest.param(
            lambda: ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(DER, SPKI),
            Code.CURVE_KEY,
            id="public curve",
        ),
        pytest.param(lambda: keydata.pem("CERTIFICATE", b"\x30\x03\x02\x01\x00"), Code.NOT_A_KEY, id="certificate"),
    ],
)
def test_what_is_no_rsa_key_has_a_name(data: Callable[[], bytes], code: Code) -> None:
    with pytest.raises(KeyDataError) as caught:
        read_key(data())
    assert caught.value.code is code
    assert str(caught.value)


def test_never_raises_anything_else() -> None:
    """Every cut and many damages of every form of a key."""
    for data in (DEVICE, private(DER, PKCS8), public(DER, SPKI), private(PEM, PKCS8), curve(DER, PKCS8)):
        for size in range(len(data)):
            for changed in (data[:size], data[:size] + bytes([data[size] ^ 0x81]) + data[size + 1 :]):
                try:
                    key = read_key(changed)
                except KeyDataError:
                    continue
                assert key.modulus >= 0


def test_pem_is_what_openssl_writes() -> None:
    assert private_key_pem(DEVICE) == private(PEM, PKCS1)
    assert base64.b64decode(b"".join(private_key_pem(DEVICE).splitlines()[1:-1])) == DEVICE


def test_good_and_misread_keys_belong_together() -> None:
    for key in odd_keys():
        assert belongs_together(bytes.fromhex(key["private_key_der"]))


@pytest.mark.parametrize("name", ["n", "d", "p", "q", "dp", "dq", "qp"])
def test_a_changed_integer_does_not_belong(name: str) -> None:
    value = getattr(private_key_integers(DEVICE), name)
    at = DEVICE.index(value) + len(value) - 1
    changed = DEVICE[:at] + bytes([DEVICE[at] ^ 0x02]) + DEVICE[at + 1 :]
    assert not belongs_together(changed)


def test_primes_of_nothing_do_not_belong() -> None:
    integers = private_key_integers(DEVICE)
    changed = DEVICE.replace(integers.p, bytes(len(integers.p)))
    assert not belongs_together(changed)


@pytest.mark.parametrize("number", [0, 2, 3, 4, 5, 6, 7])
def test_a_key_with_one_wrong_integer_becomes_what_it_was(number: int) -> None:
    key = good_keys()[0]
    begin, end = private_key_places(key)[number]
    middle = (begin + end) // 2
    damaged = key[:middle] + bytes([key[middle] ^ 0x10]) + key[middle + 1 :]
    assert not belongs_together(damaged)
    repaired = repaired_key(damaged + b"\xff" * 20)
    assert repaired is not None
    assert belongs_together(repaired)
    same = [index for index in range(8) if private_key_integers(repaired)[index] == private_key_integers(key)[index]]
    assert set(same) >= {*range(8)} - {2}  # more than one d fits
    assert repaired == key or number == 2


def test_a_key_without_a_whole_prime_stays_damaged() -> None:
    key = bytearray(good_keys()[0])
    for begin, end in private_key_places(bytes(key))[2:5]:
        key[(begin + end) // 2] ^= 0x10
    assert repaired_key(bytes(key)) is None
