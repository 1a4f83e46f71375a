from __future__ import annotations

import json

import pytest

from loadgen.fleet.identity import INTEGER_NAMES, Identity, firmware_misreads, public_key_of
from loadgen.protocol.pkcs1 import private_key_integers
from tests.fleet.keys import VECTORS, good_keys, odd_keys, recording


@pytest.mark.parametrize("number", range(len(odd_keys())))
def test_agrees_with_the_firmwares_own_parser(number: int) -> None:
    key = odd_keys()[number]
    misread = firmware_misreads(bytes.fromhex(key["private_key_der"]))
    assert misread == tuple(key["misread"])
    assert (not misread) == key["firmware_reads_it"]


def test_the_length_rule_gives_the_same_verdict() -> None:
    """Fewer than 128 bytes of d, or than 64 of a prime's integers, counting a leading zero byte."""
    for key in odd_keys():
        integers = private_key_integers(bytes.fromhex(key["private_key_der"]))
        short = (integers.p, integers.q, integers.dp, integers.dq, integers.qp)
        assert key["firmware_reads_it"] == (len(integers.d) >= 128 and all(len(value) >= 64 for value in short))


def test_reads_the_published_odd_key_as_the_firmware_does() -> None:
    misread = json.loads((VECTORS / "handshake.json").read_text(encoding="utf-8"))["misread_key"]
    assert firmware_misreads(bytes.fromhex(misread["der"])) == ("QP",)


def test_a_key_made_on_the_device_is_read() -> None:
    """Its generator writes a leading zero byte always."""
    device = json.loads((VECTORS / "handshake.json").read_text(encoding="utf-8"))["device"]
    der = bytes.fromhex(device["private_der_device_style"])
    assert firmware_misreads(der) == ()
    assert public_key_of(der).hex() == device["spki_der"]


def test_a_copy_of_the_whole_slot_is_judged_by_the_key_in_it() -> None:
    der = good_keys()[0]
    assert firmware_misreads(der.ljust(612, b"\xff")) == ()
    assert public_key_of(der.ljust(612, b"\xff")) == public_key_of(der)


def test_presents_the_recorded_public_key() -> None:
    der = bytes.fromhex(recording()["device_private_key_der"])
    assert public_key_of(der).hex() == recording()["device_public_key_der"]


@pytest.mark.parametrize("der", [b"", b"\xff" * 612, b"\x30\x82\x02\x5f", bytes.fromhex("3003020100")])
def test_what_is_no_key_is_refused(der: bytes) -> None:
    with pytest.raises(ValueError, match="PKCS"):
        firmware_misreads(der)
    with pytest.raises(ValueError, match="PKCS"):
        public_key_of(der)


def test_an_identity_spells_its_id_in_lower_case() -> None:
    identity = Identity(bytes.fromhex("3A0042000647343232363230"), b"", b"")
    assert identity.hex_id == "3a0042000647343232363230"


def test_names_every_integer() -> None:
    assert INTEGER_NAMES == ("N", "D", "P", "Q", "DP", "DQ", "QP")
