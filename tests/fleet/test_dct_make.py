from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from loadgen.errors import UsageError
from loadgen.fleet.dct import Dct, identity_from_dct, read_dct
from loadgen.fleet.dct_extract import ITEMS, extract
from loadgen.fleet.dct_make import Layout, Maker, Part, as_pkcs8, as_self_made, base_of, blank_base
from loadgen.fleet.flash import ImageKind, examine
from loadgen.fleet.keydata import read_key
from loadgen.fleet.keyslot import read_key_slot
from tests.fleet.dumps import ADDRESS, DEVICE_ID, copy, flash, public_of, section, with_record
from tests.fleet.keys import good_keys, server_pem, server_spki

KEY = good_keys()[0]


def maker() -> Maker:
    made = Maker(blank_base())
    made.device(KEY, public_of(KEY), DEVICE_ID)
    made.server_key(server_spki())
    made.address(ADDRESS)
    made.claim(claimed=True, code=None)
    return made


def dct(data: bytes) -> Dct:
    return read_dct(examine(data))


def test_puts_everything_where_the_firmware_looks() -> None:
    assert maker().image(Layout.COPY) == copy()
    assert maker().image(Layout.DFU) == section()
    assert maker().image(Layout.BOTH) == copy() + b"\xff" * 16384
    made = maker().image(Layout.FLASH)
    assert made[8:] == flash(copy(), b"\xff" * 16384)[8:]  # but for the bootloader's vectors


@pytest.mark.parametrize("layout", list(Layout))
def test_an_image_round_trips_byte_for_byte(layout: Layout) -> None:
    data = maker().image(layout)
    assert Maker(base_of(examine(data))).image(layout) == data
    found = identity_from_dct(data)
    assert found.identity is not None
    again = Maker(blank_base())
    again.device(found.identity.private_key_der, found.identity.public_key, found.identity.device_id)
    assert found.dct.server_key is not None
    again.server_key(found.dct.server_key)
    again.address(found.dct.address_record)
    again.claim(claimed=found.dct.claimed, code=None)
    assert again.image(layout) == data


def test_a_base_keeps_what_is_not_changed_but_the_record_of_newer_firmware() -> None:
    source = with_record(copy(section(changes={1858: b"version"})), sequence=7)
    made = Maker(base_of(examine(source))).image(Layout.COPY)
    assert made == source[:16368] + b"\xff" * 16


def test_a_superseded_base_becomes_current() -> None:
    made = Maker(base_of(examine(copy(current=0, incomplete=1)))).image(Layout.COPY)
    assert made == copy()


def test_keeping_the_old_table_is_what_a_write_by_firmware_leaves() -> None:
    made = Maker(base_of(examine(copy())))
    made.erase(Part.SERVER_AREA)
    image = examine(made.image(Layout.BOTH, keep_old=True))
    assert image.kind is ImageKind.BOTH
    assert image.current is not None
    assert image.current.number == 2
    assert read_dct(image).server_key is None
    assert read_dct(image.with_copy(1)).server_key == server_spki()


@pytest.mark.parametrize(
    ("part", "lost"),
    [
        (Part.DEVICE_KEY, (34, 1250)),
        (Part.SERVER_KEY, (2082, 2376)),
        (Part.ADDRESS, (2466, 2594)),
        (Part.SERVER_AREA, (2082, 2594)),
    ],
)
def test_erases_a_part_and_nothing_else(part: Part, lost: tuple[int, int]) -> None:
    made = maker()
    made.erase(part)
    begin, end = lost
    expected = section()[:begin] + b"\xff" * (end - begin) + section()[end:]
    assert made.image(Layout.DFU) == expected


def test_pkcs8_is_what_the_library_writes() -> None:
    key = load_der_private_key(KEY, None)
    assert as_pkcs8(KEY) == key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())


def test_a_self_made_key_is_what_the_firmware_writes(handshake_vector: Any) -> None:
    written = bytes.fromhex(handshake_vector["device"]["private_der_device_style"])
    assert as_self_made(written) == written
    for key in good_keys():
        made = as_self_made(key)
        slot = read_key_slot(made)
        assert (len(made), slot.is_usable, slot.presented) == (611, True, public_of(key))
        assert slot.is_self_made or made == key
        assert not read_key_slot(key).is_self_made


def test_a_key_of_another_size_cannot_be_self_made() -> None:
    with pytest.raises(ValueError, match="the integer n"):
        as_self_made(read_key(server_pem()).private_der or b"")


def test_extracts_keys_into_files_of_their_own(tmp_path: Path) -> None:
    done = extract(dct(copy()), tmp_path / "keys")
    assert sorted(path.name for path in done.written) == [
        "device.der",
        "device.pem",
        "device.pub.der",
        "device.pub.pem",
        "server.der",
        "server.pub.der",
        "server.pub.pem",
    ]
    assert (tmp_path / "keys/device.der").read_bytes() == KEY
    assert (tmp_path / "keys/server.der").read_bytes() == server_spki().ljust(384, b"\xff") + ADDRESS
    for path in done.written:
        private = path.name in ("device.der", "device.pem")
        assert path.stat().st_mode & 0o777 == (0o600 if private else 0o644)


def test_takes_a_key_out_of_pkcs8_as_devices_can_read_it(tmp_path: Path) -> None:
    done = extract(dct(copy(section(as_pkcs8(KEY)))), tmp_path, ("device-key", "device-public-key"))
    assert not done.absent
    assert (tmp_path / "device.der").read_bytes() == KEY
    assert (tmp_path / "device.pub.der").read_bytes() == public_of(KEY)


def test_computes_a_damaged_key_again(tmp_path: Path) -> None:
    done = extract(dct(copy(section(KEY[:-1] + bytes([KEY[-1] ^ 1])))), tmp_path, ("repaired-key",))
    assert done.written == (tmp_path / "device-repaired.der",)
    assert done.written[0].read_bytes() == KEY
    assert done.written[0].stat().st_mode & 0o777 == 0o600


def test_takes_no_public_key_out_of_a_slot_without_a_private_one(tmp_path: Path) -> None:
    done = extract(dct(copy(section(public_of(KEY)))), tmp_path, ("device-key", "device-public-key"))
    assert len(done.absent) == 2
    assert not list(tmp_path.iterdir())


def test_extracts_areas_as_they_stand(tmp_path: Path) -> None:
    data = section(as_pkcs8(KEY), server=b"\xff" * 294)
    extract(dct(copy(data)), tmp_path, ("device-slot", "server-slot", "address-record"))
    assert (tmp_path / "device-slot.bin").read_bytes() == data[34:1250]
    assert (tmp_path / "server-slot.bin").read_bytes() == data[2082:2594]
    assert (tmp_path / "address-record.bin").read_bytes() == data[2466:2594]


def test_overwrites_nothing(tmp_path: Path) -> None:
    first = extract(dct(copy()), tmp_path)
    again = extract(dct(copy()), tmp_path)
    assert again.unchanged == first.written
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / "device.pem").unlink()
    with pytest.raises(UsageError, match="not overwritten"):
        extract(dct(copy(section(good_keys()[1]))), tmp_path)
    assert not (tmp_path / "device.pem").exists()  # nothing is written where one file is in the way
    del before["device.pem"]
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("item", list(ITEMS))
def test_says_what_a_dump_does_not_have(item: str, tmp_path: Path) -> None:
    done = extract(dct(copy()[:7600]), tmp_path, (item,))
    assert not done.written
    assert done.absent == (f"{item}: the dump is cut off before it",)


def test_the_library_reads_what_is_extracted(tmp_path: Path) -> None:
    extract(dct(copy()), tmp_path)
    private = load_pem_private_key((tmp_path / "device.pem").read_bytes(), None)
    public = load_pem_public_key((tmp_path / "device.pub.pem").read_bytes())
    assert private.public_key() == public
    server = load_pem_public_key((tmp_path / "server.pub.pem").read_bytes())
    assert server == load_der_public_key(server_spki())
