from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from loadgen.errors import UsageError
from loadgen.fleet.address import ServerAddress
from loadgen.fleet.dct import find_troubles, identity_from_dct, read_dct, read_dump
from loadgen.fleet.dct_make import as_pkcs8
from loadgen.fleet.dct_values import HIDDEN, section_values, system_values
from loadgen.fleet.findings import Level
from loadgen.fleet.flash import examine
from tests.fleet.dumps import ADDRESS, DEVICE_ID, copy, flash, module, public_of, section, with_record
from tests.fleet.keys import good_keys, odd_keys, server_spki

KEY = good_keys()[0]
CURVE = bytes.fromhex("30770201010420").ljust(121, b"\x5a")
BUILT_IN = bytes.fromhex("30820122300d")


def codes(data: bytes) -> list[str]:
    return [trouble.code for trouble in find_troubles(read_dct(examine(data)))]


def damaged(key: bytes) -> bytes:
    """One bit of the last integer is wrong."""
    return key[:-1] + bytes([key[-1] ^ 1])


def misread() -> bytes:
    return next(bytes.fromhex(key["private_key_der"]) for key in odd_keys() if not key["firmware_reads_it"])


def even_modulus(spki: bytes) -> bytes:
    """One bit of the modulus is another."""
    return spki[:288] + bytes([spki[288] ^ 1]) + spki[289:]


@pytest.mark.parametrize("record", [b"\x00\x05" + ADDRESS[2:], b"\x01\x50" + b"a" * 126, b"\x01\x00" + b"\xff" * 126])
def test_an_address_that_cannot_be_read_is_not_the_vendors(record: bytes) -> None:
    assert codes(copy(section(address=record))) == ["bad_address"]


def test_what_a_slot_holds_that_is_no_key_is_said() -> None:
    found = find_troubles(read_dct(examine(copy(section(KEY[:300])))))
    assert f"the begin of a key of {len(KEY)} bytes, whose rest is cut off or damaged" in found[0].what


def test_a_good_dump_has_no_troubles() -> None:
    assert codes(copy()) == []


@pytest.mark.parametrize(
    ("data", "code", "level"),
    [
        (section(b"\xff"), "no_device_key", Level.ERROR),
        (section(as_pkcs8(KEY)), "pkcs8_in_slot", Level.ERROR),
        (section(CURVE), "curve_key_in_slot", Level.ERROR),
        (section(b"-----BEGIN RSA PRIVATE KEY-----\n"), "no_key_in_slot", Level.ERROR),
        (section(bytes(600)), "no_key_in_slot", Level.ERROR),
        (section(misread()), "misread_key", Level.ERROR),
        (section(damaged(KEY)), "damaged_key", Level.ERROR),
        (section(server=b"\xff" * 294), "no_server_key", Level.ERROR),
        (section(server=server_spki()[:-1] + b"\x03"), "wrong_server_key", Level.ERROR),
        (section(server=b"-----BEGIN PUBLIC KEY-----\n"), "wrong_server_key", Level.ERROR),
        (section(server=public_of(KEY)), "wrong_server_key", Level.ERROR),
        (section(server=server_spki()[24:]), "wrong_server_key", Level.ERROR),
        (section(address=b"\xff" * 128), "no_address", Level.WARNING),
        (section(address=b"\x00\x05" + ADDRESS[2:]), "bad_address", Level.ERROR),
        (section(address=b"\x01\x0fdevice.spark.io".ljust(128, b"\xff")), "private_key_vendor_address", Level.ERROR),
        (section(address=b"\x00\x04" + bytes(4) + ADDRESS[6:]), "bad_address", Level.ERROR),
        (section(address=b"\x01\x05cloud.example.org".ljust(128, b"\xff")), "address_cut_off", Level.WARNING),
        (section(address=ADDRESS[:66] + b"\x33\x16" + ADDRESS[68:]), "address_swapped", Level.WARNING),
        (section(address=b"\x00\x04\x0a\x01\xa8\xc0" + ADDRESS[6:]), "address_swapped", Level.WARNING),
        (section(public_of(KEY)), "public_key_in_slot", Level.ERROR),
        (section(KEY[:300]), "no_key_in_slot", Level.ERROR),
        (section(server=even_modulus(server_spki())), "damaged_server_key", Level.ERROR),
        (section(changes={1250: public_of(good_keys()[1])}), "public_key_differs", Level.WARNING),
        (section(changes={2082 + 294: b"left"}), "bytes_behind_server_key", Level.NOTE),
    ],
)  # fmt: skip
def test_names_what_keeps_a_device_from_connecting(data: bytes, code: str, level: Level) -> None:
    troubles = {trouble.code: trouble for trouble in find_troubles(read_dct(examine(copy(data))))}
    assert troubles[code].level is level
    assert troubles[code].why


@pytest.mark.parametrize("key", [as_pkcs8(KEY), CURVE, public_of(KEY)])
def test_what_is_presented_for_another_encoding_is_not_offered_for_registering(key: bytes) -> None:
    slot = copy(section(key, changes={1250: public_of(KEY)}))
    assert read_dct(examine(slot)).stored_public_key == public_of(KEY)
    assert "public_key_differs" not in codes(slot)


def test_what_an_erased_key_means_depends_on_the_firmware() -> None:
    erased = section(server=b"\xff" * 294, address=b"\xff" * 128)

    def why(data: bytes) -> str:
        found = find_troubles(read_dct(examine(data)))
        return next(trouble.why for trouble in found if trouble.code == "no_server_key")

    blank = b"\xff" * 16384
    old = why(flash(copy(erased), blank, {0x20000: module(0x08020000, version=108)}))
    new = why(flash(copy(erased), blank, {0x20000: module(0x08020000, version=207)}))
    assert "as it stands" in old
    assert "built-in" not in old
    assert "built-in" in new
    assert "as it stands" not in new
    assert why(with_record(copy(erased), sequence=1)) == new
    assert why(copy(erased)) == f"{old} {new}"


@pytest.mark.parametrize(
    ("server", "built_in", "modulus"),
    [
        (server_spki(), False, server_spki()[33:289]),
        (server_spki(), True, server_spki()[33:289]),
        (b"\xff" * 294, False, b"\xff" * 256),
        (b"\xff" * 294, True, None),
        (b"-----BEGIN PUBLIC KEY-----".ljust(33, b"A") + b"\x81" * 256, True, b"\x81" * 256),
        (b"\xff" * 288 + b"\xfe", False, None),
        (bytes(294), False, None),
    ],
)
def test_the_firmware_takes_what_stands_there_for_the_servers_key(
    server: bytes, built_in: bool, modulus: bytes | None
) -> None:
    found = read_dct(examine(copy(section(server=server)))).server_key_in_use(built_in=built_in)
    assert found == (None if modulus is None else server_spki()[:33] + modulus + server_spki()[289:])


def test_the_vendors_key_at_a_private_address_is_an_error() -> None:
    """Firmware from 0.7.0 on fills an erased key in, and keeps the private address."""
    data = with_record(copy(section(server=b"\xff" * 294)), sequence=1)
    assert "vendor_key_private_address" in codes(data)


def test_a_record_that_older_firmware_has_copied_along_is_pointed_out() -> None:
    stale = with_record(copy(), sequence=1, crc=1)
    parts = {0x20000: module(0x08020000, version=108)}
    assert codes(flash(stale, b"\xff" * 16384, parts)) == ["downgraded"]
    assert codes(stale) == ["checksum"]
    erased = with_record(copy(section(server=b"\xff" * 294)), sequence=1, crc=1)
    assert read_dct(examine(erased)).uses_built_in_key is None


def test_fingerprints_are_those_of_the_public_keys() -> None:
    dct = read_dct(examine(copy()))
    assert dct.device_fingerprint == hashlib.sha256(public_of(KEY)).hexdigest()
    assert dct.server_fingerprint == hashlib.sha256(server_spki()).hexdigest()
    assert dct.address == ServerAddress("192.168.1.10", 5683)


@pytest.mark.parametrize(("byte", "claimed"), [(b"1", True), (b"\x01", False), (b"\0", False), (b"\xff", False)])
def test_claimed_is_the_digit_1(byte: bytes, claimed: bool) -> None:
    assert read_dct(examine(copy(section(claimed=byte)))).claimed is claimed


@pytest.mark.parametrize("data", [copy(), section(), copy() + copy(current=0), flash(copy(), b"\xff" * 16384)])
def test_takes_the_identity_out_of_every_kind_of_dump(data: bytes) -> None:
    found = identity_from_dct(data)
    assert found.identity is not None
    assert found.identity.device_id == DEVICE_ID
    assert found.identity.private_key_der == KEY
    assert found.identity.public_key == public_of(KEY)
    assert found.troubles == ()


def test_a_dump_without_an_id_takes_one() -> None:
    data = copy(section(device_id=b"\xff" * 12))
    nameless = identity_from_dct(data)
    assert nameless.identity is None
    assert [trouble.code for trouble in nameless.troubles] == ["no_device_id"]
    named = identity_from_dct(data, device_id=DEVICE_ID)
    assert named.identity is not None
    assert named.identity.device_id == DEVICE_ID


@pytest.mark.parametrize("key", [b"\xff", as_pkcs8(KEY), CURVE])
def test_a_key_that_cannot_be_played_is_no_identity(key: bytes) -> None:
    assert identity_from_dct(copy(section(key))).identity is None


def values(data: bytes, *, secrets: bool = False) -> dict[str, str]:
    image = examine(data)
    fields = (*section_values(image), *system_values(image))
    return {value.field.name: value.text(secrets=secrets) for value in fields}


def wifi(data: bytes) -> bytes:
    """The copy with an access point, at the offsets that the packed structure has."""
    entry = b"\x04home".ljust(33, b"\0") + bytes.fromhex("aabbccddeeff") + (-50).to_bytes(2, "little", signed=True)
    entry += (54000).to_bytes(4, "little") + b"\x01" + (0x00400006).to_bytes(4, "little") + b"\x06\x01" + bytes(4)
    entry += b"\x0bpassphrase!".ljust(65, b"\0")
    assert len(entry) == 121
    return data[:6704] + b"\x01" + entry + data[6704 + 122 :]


def test_reads_the_stored_access_points() -> None:
    found = values(wifi(copy()), secrets=True)
    assert found["wifi.device_configured"] == "1"
    assert found["wifi.stored_ap[0].ssid"] == '"home"'
    assert found["wifi.stored_ap[0].bssid"] == "aa:bb:cc:dd:ee:ff"
    assert found["wifi.stored_ap[0].security"] == "WPA2, mixed"
    assert found["wifi.stored_ap[0].security_key"] == '"passphrase!"'


def test_secrets_are_hidden_unless_asked_for() -> None:
    data = wifi(copy(section(changes={1762: b"CLAIMCODE123\0", 8119: b"device secret !", 3106: CURVE})))
    hidden = " ".join(values(data).values())
    for secret in (KEY.hex(), KEY[20:60].hex(), "passphrase", "CLAIMCODE", b"device secret !".hex(), CURVE[:30].hex()):
        assert secret not in hidden
    shown = values(data, secrets=True)
    assert shown["device_private_key"].endswith(KEY.hex())
    assert shown["claim_code"] == '"CLAIMCODE123"'
    assert shown["device_secret"] == b"device secret !".hex()
    assert values(data)["claim_code"] == HIDDEN


def test_an_empty_secret_is_said_to_be_empty() -> None:
    assert values(copy(section(changes={1762: bytes(63)})))["claim_code"] == "empty"


def test_reads_a_dump_and_refuses_what_is_none(tmp_path: Path) -> None:
    path = tmp_path / "dump.bin"
    with pytest.raises(UsageError, match="cannot be read"):
        read_dump(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_dump(tmp_path)
    path.write_bytes(bytes(5 * 1024 * 1024))
    with pytest.raises(UsageError, match="too large"):
        read_dump(path)
