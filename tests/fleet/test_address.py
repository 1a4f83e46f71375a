"""The address record, byte for byte."""

from __future__ import annotations

import pytest

from loadgen.fleet.address import (
    ADDRESS_OFFSET,
    AddressError,
    ServerAddress,
    address_record,
    parse_address_record,
    server_key_file,
    server_key_file_name,
)
from tests.fleet.keys import server_spki


def record(head: str, port: str = "ffff") -> bytes:
    return (bytes.fromhex(head).ljust(66, b"\xff") + bytes.fromhex(port)).ljust(128, b"\xff")


KNOWN = [
    # the record in the factory image and in assets/keys/rsa.pub.der of particle-cli
    (ServerAddress("device.spark.io"), record("010f6465766963652e737061726b2e696f")),
    (ServerAddress("192.168.1.10", 5683), record("0004c0a8010a", "1633")),
    (ServerAddress("10.0.0.1"), record("00040a000001")),
    (ServerAddress("cloud.example", 0), record("010d636c6f75642e6578616d706c65", "0000")),
    (ServerAddress("a" * 63, 65534), record("013f" + "61" * 63, "fffe")),
]


@pytest.mark.parametrize(("address", "data"), KNOWN)
def test_writes_and_reads_the_record(address: ServerAddress, data: bytes) -> None:
    assert address_record(address) == data
    assert parse_address_record(data) == address
    assert parse_address_record(data[:68]) == address


@pytest.mark.parametrize("kind", [2, 0x7F, 0xFF])
def test_any_other_type_is_an_unset_record(kind: int) -> None:
    assert parse_address_record(bytes([kind]) + record("0004c0a8010a")[1:]) is None


def test_an_unset_record_is_written_as_erased_flash() -> None:
    assert address_record(None) == b"\xff" * 128
    assert parse_address_record(address_record(None)) is None


@pytest.mark.parametrize(("port", "effective"), [(None, 5683), (0, 5683), (5683, 5683), (1234, 1234)])
def test_the_port_that_a_device_connects_to(port: int | None, effective: int) -> None:
    address = ServerAddress("cloud.example", port)
    assert address.effective_port == effective
    assert str(address) == f"cloud.example:{effective}"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "cut off after 0 bytes"),
        (record("0004c0a8010a")[:67], "cut off after 67 bytes"),
        (record("0005c0a8010a"), "IPv4 address of 5 bytes"),
        (record("000400000000"), "0.0.0.0"),
        (record("0004ffffffff"), "255.255.255.255"),
        (record("0100"), "0 bytes"),
        (record("0140" + "61" * 64), "64 bytes"),
        (record("0103610062"), "no name of a host"),
        (record("0103616220"), "no name of a host"),
        (record("0102c3bc"), "no name of a host"),
    ],
)
def test_a_record_that_some_firmware_refuses_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(AddressError, match=words):
        parse_address_record(data)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        (ServerAddress(""), "no IPv4 address"),
        (ServerAddress("1.2.3"), "no IPv4 address"),
        (ServerAddress("1.2.3.256"), "no IPv4 address"),
        (ServerAddress("0.0.0.0"), "no cloud's address"),
        (ServerAddress("::1"), "no name of a host"),
        (ServerAddress("bücher.example"), "no name of a host"),
        (ServerAddress("a b"), "no name of a host"),
        (ServerAddress("http://a"), "no name of a host"),
        (ServerAddress("a" * 64), "64 bytes"),
        (ServerAddress("a", -1), "no port"),
        (ServerAddress("a", 65535), "no port"),
        (ServerAddress("a", 65536), "no port"),
    ],
)
def test_an_address_that_no_device_could_keep_is_refused(address: ServerAddress, words: str) -> None:
    with pytest.raises(AddressError, match=words):
        address_record(address)


def test_the_key_file_has_the_record_at_its_offset() -> None:
    data = server_key_file(server_spki(), ServerAddress("192.168.1.10", 5684))
    assert len(data) == 512
    assert data[:294] == server_spki()
    assert data[294:384] == b"\xff" * 90
    assert data[384:390].hex() == "0004c0a8010a"
    assert data[450:452].hex() == "1634"
    assert set(data[390:450] + data[452:]) == {0xFF}
    assert parse_address_record(data[ADDRESS_OFFSET:]) == ServerAddress("192.168.1.10", 5684)


def test_without_an_address_the_file_erases_the_devices_own() -> None:
    assert server_key_file(server_spki(), None) == server_spki().ljust(512, b"\xff")


def test_only_a_servers_key_is_written() -> None:
    with pytest.raises(ValueError, match="162 bytes instead of 294"):
        server_key_file(bytes(162), None)


def test_the_file_has_the_name_that_particle_cli_gives_it() -> None:
    stem = "default_key.pub"
    assert server_key_file_name(stem, ServerAddress("192.168.1.10")) == "default_key.pub-192_168_1_10-rsa.der"
    assert server_key_file_name(stem, ServerAddress("cloud.example")) == "default_key.pub-cloud_example-rsa.der"
    assert server_key_file_name(stem, None) == "default_key.pub-padded.der"
