from __future__ import annotations

import pytest

from loadgen.fleet.dct import read_dct
from loadgen.fleet.dct_diff import Comparison, compare_dumps
from loadgen.fleet.dct_make import as_self_made
from loadgen.fleet.flash import examine
from tests.fleet.dumps import ADDRESS, copy, flash, module, public_of, section
from tests.fleet.keys import good_keys, server_spki

KEY = good_keys()[0]
BLANK = b"\xff" * 16384


def compare(good: bytes, bad: bytes) -> Comparison:
    return compare_dumps(read_dct(examine(good)), read_dct(examine(bad)), "good.bin", "bad.bin")


def names(comparison: Comparison) -> dict[str, bool]:
    return {change.name: change.can_break for change in comparison.changes}


def test_equal_dumps_do_not_differ() -> None:
    comparison = compare(copy(), copy())
    assert comparison.changes == ()
    assert not comparison.can_break
    assert comparison.without_dfu == ()


def test_dumps_of_different_kinds_are_compared_by_what_both_have() -> None:
    assert compare(flash(copy(), BLANK), section()).changes == ()


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        (section(b"\xff", changes={1250: public_of(KEY)}), {"device_private_key": True}),
        (section(good_keys()[1]), {"device_private_key": True, "device_public_key": False}),
        (section(server=b"\xff" * 294), {"server_public_key": True}),
        (section(address=b"\xff" * 128), {"server_address": True}),
        (section(address=ADDRESS[:66] + (5684).to_bytes(2, "big") + ADDRESS[68:]), {"server_address": True}),
        (section(address=ADDRESS[:66] + b"\xff\xff" + ADDRESS[68:]), {"server_address": False}),  # 5683 either way
        (section(claimed=b"\xff"), {"claimed": False}),
        (section(changes={34 + len(KEY): b"left of an older key"}), {"device_private_key": False}),
        (section(changes={2082 + 300: b"\0"}), {"server_public_key": False}),
        (section(changes={1762: b"CODE"}), {"claim_code": False}),
        (section(changes={1700: b"?"}), {"unused": False}),
    ],
)
def test_tells_what_can_break_the_handshake(bad: bytes, expected: dict[str, bool]) -> None:
    comparison = compare(copy(), copy(bad))
    assert names(comparison) == expected
    assert comparison.can_break is any(expected.values())


DAMAGED = KEY[:-1] + bytes([KEY[-1] ^ 1])
"""Presents the right public key, and decrypts nothing."""


def test_a_damaged_key_is_no_new_one_to_be_registered() -> None:
    (change,) = compare(copy(), copy(section(DAMAGED))).changes
    assert change.can_break
    assert "damaged" in change.why
    assert change.mend is not None
    assert change.mend.otherwise == ""


@pytest.mark.parametrize("good", [DAMAGED, b"\xff"])
def test_nothing_is_taken_over_from_a_good_dump_with_a_key_that_is_none(good: bytes) -> None:
    (change,) = compare(copy(section(good, changes={1250: public_of(KEY)})), copy()).changes
    assert not change.can_break
    assert change.mend is None
    assert "good.bin" in change.why


def test_the_same_key_written_in_another_way_breaks_nothing() -> None:
    comparison = compare(copy(), copy(section(as_self_made(KEY))))
    assert names(comparison) == {"device_private_key": False}


def test_names_the_bytes_and_the_commands_that_mend() -> None:
    comparison = compare(copy(), BLANK + copy(section(b"\xff", server=b"\xff" * 294, address=b"\xff" * 128)))
    mends = {change.name: change.mend for change in comparison.changes}
    key = mends["device_private_key"]
    assert key is not None
    assert (key.offset, key.size, key.address) == (34, 1216, 0x08008000 + 0x1D9E)
    assert key.with_dfu[-1] == "dfu-util -d 2b04:d008 -a 1 -s 34 -D mend/device-slot.bin"
    server, address = mends["server_public_key"], mends["server_address"]
    assert server is not None
    assert address is not None
    assert (server.offset, server.address, address.offset) == (2082, 0x0800A59E, 2466)
    assert comparison.without_dfu[0] == (
        "loadgen dct make --base bad.bin --device-from good.bin --server-from good.bin "
        "--layout both --output mended.bin"
    )
    assert comparison.without_dfu[1] == "st-flash write mended.bin 0x08004000"


def test_a_dfu_dump_has_to_be_completed_before_a_sector_is_written() -> None:
    commands = compare(section(), section(b"\xff")).without_dfu
    assert commands[0] == "st-flash read both.bin 0x08004000 0x8000"
    assert "--base both.bin" in commands[1]


def test_a_new_key_can_be_made_known_to_the_cloud_instead() -> None:
    change = compare(copy(), copy(section(good_keys()[1]))).changes[0]
    assert change.mend is not None
    assert "device-public-key" in change.mend.otherwise


def test_file_names_are_quoted_for_a_shell() -> None:
    good, bad = (read_dct(examine(copy(part))) for part in (section(), section(b"\xff")))
    comparison = compare_dumps(good, bad, "good one.bin", "bad; rm.bin")
    assert "--base 'bad; rm.bin' --device-from 'good one.bin'" in comparison.without_dfu[0]


def test_a_downgrade_counts_where_the_servers_key_is_erased() -> None:
    def dump(version: int, server: bytes) -> bytes:
        return flash(copy(section(server=server)), BLANK, {0x20000: module(0x08020000, version=version)})

    erased = b"\xff" * 294
    assert names(compare(dump(207, server_spki()), dump(108, server_spki()))) == {"firmware": False}
    assert names(compare(dump(207, erased), dump(108, erased))) == {"firmware": True}
    assert names(compare(dump(108, erased), dump(109, erased))) == {"firmware": False}


def test_losing_both_copies_breaks_everything() -> None:
    comparison = compare(copy() + BLANK, copy(magic=b"XXXX") + BLANK)
    assert names(comparison)["copies"]


def test_hidden_values_stay_hidden() -> None:
    codes = (section(changes={1762: b"FIRSTCODE"}), section(changes={1762: b"SECONDCODE"}))
    texts = [
        text for change in compare(copy(codes[0]), copy(codes[1])).changes for text in (change.before, change.after)
    ]
    assert texts
    assert not any("CODE" in text for text in texts)
    assert texts[0] != texts[1]


def test_fields_of_one_dump_only_are_named() -> None:
    comparison = compare(copy(), copy()[:12000])
    assert "device_id" not in comparison.missing
    assert "device_secret" in comparison.missing
