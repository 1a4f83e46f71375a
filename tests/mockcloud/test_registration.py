from __future__ import annotations

import base64
from pathlib import Path

import pytest

from loadgen.errors import UsageError
from loadgen.fleet.generate import generate
from loadgen.mockcloud.registration import registered_devices
from tests.mockcloud.peer import DEVICE_ID, device_spki, server_spki


def write_key(folder: Path, name: str, key: bytes) -> Path:
    file = folder / name
    text = base64.encodebytes(key).decode()
    file.write_text(f"-----BEGIN PUBLIC KEY-----\n{text}-----END PUBLIC KEY-----\n")
    return file


def test_a_fleet_store(tmp_path: Path) -> None:
    with generate(tmp_path / "fleet.sqlite", devices=3, keys=1, workers=1, server_public_key=server_spki()) as store:
        expected = {identity.device_id: identity.public_key for identity in store.identities()}
    devices, warnings = registered_devices(tmp_path / "fleet.sqlite")
    assert devices == expected
    assert len(devices) == 3
    assert warnings == []


def test_a_folder_of_public_keys(tmp_path: Path) -> None:
    write_key(tmp_path, f"{DEVICE_ID.hex()}.pub.pem", device_spki(0))
    write_key(tmp_path, f"{bytes(12).hex()}.pub.pem", device_spki(1))
    write_key(tmp_path, "server_key.pub.pem", server_spki())
    (tmp_path / "notes.txt").write_text("not a key")
    assert registered_devices(tmp_path) == ({DEVICE_ID: device_spki(0), bytes(12): device_spki(1)}, [])


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    write_key(tmp_path, f"{DEVICE_ID.hex()}.pub.pem", device_spki(0))
    for number in range(1, 9):
        write_key(tmp_path, f"{number:024x}.pub.pem", server_spki())
    devices, warnings = registered_devices(tmp_path)
    assert devices == {DEVICE_ID: device_spki(0)}
    assert f"{1:024x}.pub.pem" in warnings[0]
    assert len(warnings) == 6
    assert "3 more" in warnings[-1]


@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"-----BEGIN PUBLIC KEY-----\n=x\n"])
def test_a_folder_without_a_usable_key(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / f"{DEVICE_ID.hex()}.pub.pem").write_bytes(content)
    with pytest.raises(UsageError, match="no usable device key") as caught:
        registered_devices(tmp_path)
    assert str(tmp_path) in str(caught.value.where)


def test_a_path_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        registered_devices(tmp_path / "missing")
    assert caught.value.where == str(tmp_path / "missing")
    assert caught.value.remedy
