from __future__ import annotations

import random
import zlib

import pytest

from loadgen.errors import UsageError
from loadgen.fleet.dct import find_troubles, read_dct
from loadgen.fleet.flash import Checksum, CopyState, ImageKind, examine
from tests.fleet.dumps import copy, flash, module, section, with_record
from tests.fleet.keys import good_keys, server_spki

BLANK = b"\xff" * 16384
OTHER = section(good_keys()[1])


def test_a_raw_copy_has_the_device_key_at_1d9e_and_the_server_key_at_259e() -> None:
    data = copy()
    image = examine(data)
    assert image.kind is ImageKind.COPY
    assert data[0x1D9E : 0x1D9E + 4] == image.section.data[34:38] == good_keys()[0][:4]
    assert data.startswith(server_spki(), 0x259E)
    assert image.section.offset == 0x1D7C
    assert image.section.address is None


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (copy(), ImageKind.COPY),
        (copy() + BLANK, ImageKind.BOTH),
        (BLANK + copy(), ImageKind.BOTH),
        (flash(copy(), BLANK), ImageKind.FLASH),
        (section(), ImageKind.SECTION),
        (section()[:3000], ImageKind.SECTION),
        (section() + copy()[:7548], ImageKind.SECTION),
        (section(b"\xff"), ImageKind.SECTION),
        (section(server=b"\xff", address=b"\xff"), ImageKind.SECTION),
        (copy(magic=b"\0\0\0\0"), ImageKind.COPY),
        (flash(copy(), BLANK)[:0x8000], ImageKind.FLASH),
        (flash(BLANK, copy(magic=b"\0\0\0\0")), ImageKind.FLASH),
        (flash(BLANK, BLANK, {0x20000: module(0x08020000, version=108)}), ImageKind.FLASH),
    ],
)
def test_recognises_what_a_file_is(data: bytes, kind: ImageKind) -> None:
    assert examine(data).kind is kind


def test_a_dfu_dump_of_16_kb_shows_which_copy_is_current() -> None:
    """DFU reads on into the next sector, which begins with the header of DCT2 if DCT1 is current."""
    assert examine(section() + copy()[:7548]).section.address == 0x08004000 + 7548
    assert examine(section() + BLANK[:7548]).section.address is None


@pytest.mark.parametrize(
    ("first", "second", "current"),
    [
        (copy(), BLANK, 1),
        (copy(current=0), copy(), 2),
        (copy(), copy(current=0), 1),
        (copy(), copy(), 1),
        (copy(incomplete=1), copy(), 2),
        (copy(magic=b"XXXX"), copy(), 2),
        (copy(incomplete=0xFF, current=1), copy(), 2),
        (copy(current=0), copy(incomplete=1), None),
        (BLANK, BLANK[:-1] + b"\0", None),
        (copy(magic=b"XXXX"), copy(magic=b"YYYY"), None),
    ],
)
def test_chooses_the_current_copy_as_firmware_before_0_7_0(first: bytes, second: bytes, current: int | None) -> None:
    image = examine(flash(first, second, {0x20000: module(0x08020000, version=108)}))
    assert (image.current.number if image.current else None) == current
    assert image.is_trusted == (current is not None)


@pytest.mark.parametrize(
    ("first", "second", "current"),
    [
        (with_record(copy(), sequence=4), with_record(copy(OTHER), sequence=5), 2),
        (with_record(copy(), sequence=6), with_record(copy(OTHER), sequence=5), 1),
        (with_record(copy(), sequence=5, crc=1), with_record(copy(OTHER), sequence=4), 2),  # newer, but damaged
        (with_record(copy(), sequence=1, initial=1, crc=0), copy(current=0), 1),
        (copy(current=0), with_record(copy(OTHER), sequence=1), 2),  # the first write by 0.7.0
        (with_record(copy(incomplete=1), sequence=9), with_record(copy(OTHER), sequence=8), 2),
        (with_record(copy(), sequence=255)[:9] + b"\0" + with_record(copy(), sequence=255)[10:],
         with_record(copy(OTHER), sequence=0), 2),  # the counter began anew
    ],
)  # fmt: skip
def test_chooses_the_current_copy_as_firmware_from_0_7_0(first: bytes, second: bytes, current: int) -> None:
    image = examine(first + second)
    assert image.current is not None
    assert image.current.number == current


def test_the_installed_firmware_decides_which_rule_holds() -> None:
    first, second = with_record(copy(), sequence=9), with_record(copy(OTHER, current=0), sequence=1)
    superseded = first[:9] + b"\0" + first[10:]
    cases = {108: (second[:9] + b"\x01" + second[10:], 2), 207: (second, 1)}
    for version, (other, current) in cases.items():
        parts = {0x20000: module(0x08020000, version=version)}
        image = examine(flash(superseded if version == 108 else first, other, parts))
        assert image.current is not None
        assert image.current.number == current


def test_a_superseded_copy_fails_its_checksum() -> None:
    """The word "current" is cleared after the checksum was made."""
    old = with_record(copy(), sequence=3)
    cleared = old[:9] + b"\0" + old[10:]
    image = examine(cleared + with_record(copy(), sequence=4))
    records = [part.version for part in image.copies]
    assert [record.checksum for record in records if record] == [Checksum.UNCONFIRMED, Checksum.CONFIRMED]


def test_confirms_the_checksum_that_the_vendors_shim_makes() -> None:
    """``crc32`` of ``dct_hal.c`` joins chunks by exclusive-or; header, middle by 128 bytes, record."""
    data = with_record(copy(), sequence=1, crc=0)
    middle = data[388:16368]
    chunks = [data[:388], *(middle[at : at + 128] for at in range(0, len(middle), 128)), data[16368:]]
    crc = 0xFFFFFFFF
    for chunk in chunks:
        crc = (zlib.crc32(chunk) ^ 0xFFFFFFFF) ^ crc
    record = examine(with_record(copy(), sequence=1, crc=crc)).copies[0].version
    assert record is not None
    assert record.checksum is Checksum.CONFIRMED


@pytest.mark.parametrize("sdk", [0, 0xFFFF, 0x7FFF, 0x0500])
def test_a_record_without_a_sensible_version_is_none(sdk: int) -> None:
    assert examine(with_record(copy(), sequence=1, sdk=sdk)).copies[0].version is None


def test_two_damaged_copies_are_shown_and_marked() -> None:
    image = examine(copy(magic=b"\0\0\0\0") + BLANK)
    assert not image.is_trusted
    assert image.shown is not None
    assert image.shown.number == 1
    assert image.section.data.startswith(good_keys()[0], 34)
    assert [part.state for part in image.copies] == [CopyState.DAMAGED, CopyState.BLANK]
    assert "no_valid_copy" in {trouble.code for trouble in find_troubles(read_dct(image))}


def test_looks_at_the_copy_that_is_asked_for() -> None:
    image = examine(copy() + copy(OTHER, current=0)).with_copy(2)
    assert image.section.data.startswith(good_keys()[1], 34)
    with pytest.raises(UsageError, match="no DCT1"):
        examine(copy()).with_copy(1)


def test_finds_the_parts_of_the_firmware() -> None:
    parts = {
        0x20000: module(0x08020000, version=207),
        0x60000: module(0x08060000, version=207, index=2, vectors=0),
        0xA0000: module(0x080A0000, version=4, function=5, vectors=0),
        0xE0000: module(0x080A0000, version=3, function=5, vectors=0),
    }
    found = examine(flash(copy(), BLANK, parts)).modules
    assert [(part.name, part.version, part.release, part.platform_name, part.is_intact) for part in found] == [
        ("system part 1", 207, "0.7.0", "P1", True),
        ("system part 2", 207, "0.7.0", "P1", True),
        ("application", 4, None, "P1", True),
        ("application", 3, None, "P1", True),
    ]
    assert [part.is_installed for part in found] == [True, True, True, False]


def test_a_damaged_part_and_a_half_update_are_reported() -> None:
    broken = bytearray(module(0x08020000, version=108))
    broken[1000] ^= 1
    parts = {0x20000: bytes(broken), 0x60000: module(0x08060000, version=207, index=2, vectors=0)}
    codes = {trouble.code for trouble in find_troubles(read_dct(examine(flash(copy(), BLANK, parts))))}
    assert {"damaged_firmware", "mixed_firmware"} <= codes


@pytest.mark.parametrize("size", [20, 5000, 8000, 12000, 16383])
def test_a_cut_off_copy_is_shown_as_far_as_it_goes(size: int) -> None:
    image = examine(copy()[:size])
    assert image.kind is ImageKind.COPY
    assert any("cut off" in note for note in image.notes)
    assert read_dct(image).claimed is (True if size > 7548 + 1825 else None)


def swapped(data: bytes, size: int) -> bytes:
    """As a tool writes it that takes words for numbers with the high byte first."""
    return b"".join(data[at : at + size][::-1] for at in range(0, len(data), size))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (BLANK, "nothing but FF"),
        (bytes(16384), "nothing but 00"),
        (b"0000005346 [system] INFO: Cloud: connecting\r\n" * 20, "text file"),
        (b":020000040800F2\n:10400000000000000000000000010100", "Intel HEX"),
        (b"-----BEGIN RSA PRIVATE KEY-----\n", "PEM"),
        (b"\x7fELF" + bytes(5000), "ELF"),
        (good_keys()[0].ljust(612, b"\xff"), "key in DER"),
        (server_spki().ljust(512, b"\xff"), "server's public key"),
        (flash(BLANK, BLANK, {0x20000: module(0x08020000, version=108, platform=10)}), "Electron"),
        (flash(BLANK, BLANK, {0x20000: module(0x08020000, version=108, platform=88)}), "RedBear Duo"),
        (bytes.fromhex("9a271c1e005ea1ed").ljust(16384, b"\xff"), "Electron"),
        (b"\xff" * 0x1000 + b"\x30\x82" + b"\x11" * 0xFFE + b"\x30\x82" + b"\x22" * 0x1000, "Core"),
        (b"\xe9\x03\x02\x20" + b"\x55" * 100_000, "ESP"),
        (bytes.fromhex("999996963fcc66fc") + b"\x55" * 100_000, "RTL872x"),
        (swapped(copy(), 4), "every 32-bit word swapped"),
        (swapped(copy(), 2), "every 16-bit word swapped"),
        (swapped(flash(copy(), BLANK), 4), "every 32-bit word swapped"),
        (bytes(100) + copy(), "begins at byte 100 of this file"),
        (b"\xff" * 4096 + copy() + copy(), "begins at byte 4,096 of this file"),
        (copy()[16:], "application's section began at byte 7,532"),
        (copy() + bytes(range(256)) * 400, "one copy of a P1's table begins this file"),
        (copy(current=0) + BLANK * 3, "one copy of a P1's table begins this file"),
        (random.Random(5).randbytes(1_048_576), "no flash dump"),
        (random.Random(6).randbytes(16384), "no flash dump"),
    ],
)
def test_says_what_is_no_dump(data: bytes, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        examine(data, "file.bin")
    assert caught.value.where == "file.bin"
    assert caught.value.remedy


def test_a_dump_that_goes_on_behind_both_copies_is_read() -> None:
    data = copy(current=0) + copy() + bytes(range(256)) * 400
    image = examine(data)
    assert (image.kind, image.current is not None and image.current.number) == (ImageKind.BOTH, 2)


def test_no_bytes_whatever_give_anything_but_a_finding() -> None:
    """Damage anywhere in a dump is survived."""
    source = random.Random(1)
    whole = copy() + with_record(copy(OTHER), sequence=2)
    for _ in range(150):
        data = bytearray(whole[: source.randrange(len(whole))])
        for _ in range(source.randrange(40) if data else 0):
            at = source.randrange(len(data))
            data[at : at + 8] = source.randbytes(min(8, len(data) - at))
        try:
            dct = read_dct(examine(bytes(data)))
        except UsageError:
            continue
        assert find_troubles(dct) is not None
