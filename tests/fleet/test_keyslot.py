"""What a device makes of its key slot."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from loadgen.fleet.identity import public_key_of
from loadgen.fleet.keyslot import KeySlot, SlotKind, fingerprint, presented_by_mistake, read_key_slot
from loadgen.protocol.wire import modulus_of_device_spki
from tests.fleet.keys import good_keys, odd_keys

PKCS8, TRADITIONAL = PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL


def as_pkcs8(der: bytes, password: bytes | None = None) -> bytes:
    key = load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
    encryption = NoEncryption() if password is None else BestAvailableEncryption(password)
    return key.private_bytes(Encoding.DER, PKCS8, encryption)


def curve(form: PrivateFormat) -> bytes:
    return ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.DER, form, NoEncryption())


@pytest.mark.parametrize("number", range(len(odd_keys())))
def test_judges_every_recorded_key_as_the_firmware_does(number: int) -> None:
    key = odd_keys()[number]
    slot = read_key_slot(bytes.fromhex(key["private_key_der"]))
    assert slot.kind is SlotKind.PKCS1
    assert [reading.name for reading in slot.misreads] == key["misread"]
    assert slot.is_usable == key["firmware_reads_it"]
    assert (slot.bits, slot.exponent) == (1024, 65537)
    assert slot.presented == public_key_of(bytes.fromhex(key["private_key_der"]))  # right even where it cannot decrypt


def test_says_where_the_firmware_reads_instead() -> None:
    """The recorded key has a DQ of 63 bytes: an odd length, which the firmware takes for a leading zero byte."""
    der = bytes.fromhex(odd_keys()[0]["private_key_der"])
    dq, qp = read_key_slot(der).misreads
    assert (dq.name, dq.end - dq.begin) == ("DQ", 63)
    assert der[dq.begin - 2 : dq.begin].hex() == "023f"
    assert (dq.read_begin, dq.read_end) == (dq.begin + 1, dq.begin + 65)
    assert (qp.name, qp.read_begin - qp.begin) == ("QP", 2)  # what follows is shifted


def test_a_copy_of_the_slot_has_leftovers_behind_the_key() -> None:
    der = good_keys()[0]
    for tail in (b"", b"\xff" * (612 - len(der)), b"leftovers", b"\0" * 1000):
        slot = read_key_slot(der + tail)
        assert slot.is_usable
        assert slot.size == len(der)


def test_pkcs8_in_the_slot_presents_its_own_header() -> None:
    der = as_pkcs8(good_keys()[0])
    slot = read_key_slot(der)
    assert (slot.kind, slot.size, slot.is_usable) == (SlotKind.PKCS8, len(der), False)
    assert slot.presented[29:].startswith(bytes.fromhex("2a864886f70d01010105000482"))
    assert der[11:139] in slot.presented
    assert presented_by_mistake(slot.presented) is SlotKind.PKCS8


@pytest.mark.parametrize("form", [PKCS8, TRADITIONAL])
def test_an_elliptic_curve_key_in_the_slot(form: PrivateFormat) -> None:
    slot = read_key_slot(curve(form))
    assert (slot.kind, slot.is_usable) == (SlotKind.CURVE, False)
    assert presented_by_mistake(slot.presented) is SlotKind.CURVE


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (lambda: b"", SlotKind.BLANK),
        (lambda: b"\xff" * 612, SlotKind.BLANK),
        (lambda: as_pkcs8(good_keys()[0], b"secret"), SlotKind.ENCRYPTED),
        (lambda: b"-----BEGIN RSA PRIVATE KEY-----\n", SlotKind.OTHER),
        (lambda: good_keys()[0][:300], SlotKind.OTHER),
        (lambda: b"\x30", SlotKind.OTHER),
    ],
)
def test_everything_else_has_a_name_too(data: Callable[[], bytes], kind: SlotKind) -> None:
    slot = read_key_slot(data())
    assert (slot.kind, slot.is_usable, slot.misreads) == (kind, False, ())
    assert (slot.bits, slot.exponent) == (None, None)
    assert len(slot.presented) == 162


def test_a_blank_slot_presents_erased_flash() -> None:
    assert presented_by_mistake(read_key_slot(b"").presented) is SlotKind.BLANK


@pytest.mark.parametrize(("exponent", "bits"), [(65537, 2048), (3, 1024)])
def test_a_key_of_another_size_or_exponent_is_not_usable(exponent: int, bits: int) -> None:
    key = rsa.generate_private_key(exponent, bits)
    slot: KeySlot = read_key_slot(key.private_bytes(Encoding.DER, TRADITIONAL, NoEncryption()))
    assert (slot.kind, slot.bits, slot.exponent, slot.is_usable) == (SlotKind.PKCS1, bits, exponent, False)


def test_a_good_public_key_is_not_suspicious() -> None:
    for der in good_keys():
        assert presented_by_mistake(public_key_of(der)) is None


def test_the_fingerprint_is_that_of_the_der() -> None:
    spki = public_key_of(good_keys()[0])
    assert fingerprint(spki) == hashlib.sha256(spki).hexdigest()
    assert len(modulus_of_device_spki(spki)) == 128
