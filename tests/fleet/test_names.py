"""What file names say."""

from __future__ import annotations

import pytest

from loadgen.fleet.names import Role, parse_device_id, read_name

ID = "0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("name", "role"),
    [
        (f"{ID}.pem", Role.PRIVATE_PEM),
        (f"{ID}.der", Role.DER),
        (f"{ID}.pub.pem", Role.PUBLIC_PEM),
        (f"{ID}.pub.der", Role.PUBLIC_DER),
        (f"{ID}_rsa_new.der", Role.DER),
        (f"{ID}_rsa_new.pub.pem", Role.PUBLIC_PEM),
        (f"{ID}_new.pem", Role.PRIVATE_PEM),
        (f"{ID}.PEM", Role.PRIVATE_PEM),
        (f"backup_rsa_{ID}_rsa_new.der", Role.BACKUP),
        (f"backup_rsa_{ID}.pub.pem", Role.BACKUP),
        (f"pre_{ID}_new.der", Role.BACKUP),
        (f"{ID}_handshake.pub.pem", Role.CANDIDATE),
        (f"{ID}.json", Role.ATTRIBUTES),
    ],
)
def test_files_of_a_device(name: str, role: Role) -> None:
    found = read_name(name)
    assert (found.role, found.device_id, found.spelling) == (role, ID, None)


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("default_key.pem", Role.NAMED_KEY),
        ("default_key.pub.pem", Role.NAMED_KEY),
        ("default_key.pub-192_168_1_10-rsa.der", Role.NAMED_KEY),
        ("device.der", Role.NAMED_KEY),
        ("deviceKeys.db", Role.DATABASE),
        ("settings.json", Role.OTHER),
        ("README.md", Role.OTHER),
        (ID, Role.OTHER),
        ("flash.bin", Role.DUMP),
        ("", Role.OTHER),
        ("line\nbreak.pem", Role.NAMED_KEY),
    ],
)
def test_files_of_no_device(name: str, role: Role) -> None:
    found = read_name(name)
    assert (found.role, found.device_id, found.spelling) == (role, None, None)


def test_capitals_are_read_and_said() -> None:
    found = read_name(f"{ID.upper()}.pub.pem")
    assert found.device_id == ID
    assert found.spelling is not None
    assert "capitals" in found.spelling


@pytest.mark.parametrize(
    ("stem", "words"),
    [
        (ID[:-1], "23 digits instead of 24"),
        (f"{ID}0", "25 digits instead of 24"),
        (f"{ID[:-1]}g", "'g' is no hexadecimal digit"),
        (f"{ID[:-1]}O", "'O' is no hexadecimal digit"),
        (":".join(ID[at : at + 2] for at in range(0, 24, 2)), "':' is no hexadecimal digit"),
        (f"0x{ID}", "'x' is no hexadecimal digit"),
    ],
)
def test_what_was_meant_to_be_an_id_is_told(stem: str, words: str) -> None:
    found = read_name(f"{stem}.der")
    assert (found.role, found.device_id) == (Role.NAMED_KEY, None)
    assert found.spelling is not None
    assert words in found.spelling


@pytest.mark.parametrize(
    ("text", "device_id"), [(ID, bytes.fromhex(ID)), (ID.upper(), bytes.fromhex(ID)), (ID[1:], None)]
)
def test_device_ids(text: str, device_id: bytes | None) -> None:
    assert parse_device_id(text) == device_id
    assert parse_device_id("") is None
    assert parse_device_id("٠" * 24) is None
