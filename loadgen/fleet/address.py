"""The address of a cloud as a device keeps it behind the cloud's key. Pure byte work.

A record of 128 bytes: the type (0 an IPv4 address, 1 a name), the length of what follows, the address itself, not
terminated, and at 66 the TCP port, big-endian; unused bytes are FF. Devices read it in ``parse_server_address.h`` of
particle-iot/device-os, particle-cli writes it in ``src/cmd/keys.js``. Firmware before 1.1.0 looks at nothing but type
and length; later firmware also refuses 0.0.0.0, 255.255.255.255, names of more than 63 bytes and names that cannot be
printed, and then uses the vendor's cloud. What one of them would not understand is neither read nor written here.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from loadgen.protocol.wire import DEFAULT_PORT, SERVER_SPKI_SIZE

ADDRESS_RECORD_SIZE: Final = 128
"""Bytes of the whole record."""
ADDRESS_OFFSET: Final = 384
"""Where the record begins, counted from the begin of the cloud's key; FF reach from the key to it."""
SERVER_KEY_FILE_SIZE: Final = ADDRESS_OFFSET + ADDRESS_RECORD_SIZE
"""512: what particle-cli writes to a device at once, key and record."""
MAX_NAME_SIZE: Final = 63
"""Bytes of a name. The record has room for one more, but firmware from 1.1.0 keeps that for a terminating zero byte."""
VENDOR_DOMAINS: Final = ("particle.io", "spark.io")
"""The vendor's production domains; neither they nor any name below them is ever put under load."""

_IPV4, _DOMAIN = 0, 1
_ADDRESS_AT: Final = 2
_PORT_AT: Final = 66
_NO_PORT: Final = 0xFFFF
_DIGITS_AND_DOTS = re.compile(r"[0-9.]*")  # particle-cli takes whatever matches for an IPv4 address
_REFUSED_NUMBERS: Final = ("0.0.0.0", "255.255.255.255")  # noqa: S104 - compared with, not listened on


class AddressError(ValueError):
    """An address that a device could not keep, or a record that it would not understand; one sentence."""


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """Where a device finds its cloud."""

    host: str
    """An IPv4 address in dotted form, or a name."""
    port: int | None = None
    """TCP port as it stands in the record; None where there is none (FFFF)."""

    @property
    def effective_port(self) -> int:
        """The port that the device connects to: 5683 where the record has none or 0.

        Firmware before 0.4.8-rc.2 does not look at the record and always takes 5683.
        """
        return self.port or DEFAULT_PORT

    def __str__(self) -> str:
        return f"{self.host}:{self.effective_port}"


def parse_address_record(record: bytes) -> ServerAddress | None:
    """The address in a record; None for an unset one, whose type is neither 0 nor 1 (normally FF, "type:255" in logs).

    Args:
        record: from the type byte on, at least up to the port (68 bytes); what follows is ignored.

    Raises:
        AddressError: cut off, or set to something that one firmware or another refuses.
    """
    if len(record) < _PORT_AT + 2:
        raise AddressError(f"the address record is cut off after {len(record)} bytes")
    kind, size = record[0], record[1]
    if kind not in (_IPV4, _DOMAIN):
        return None
    data = record[_ADDRESS_AT : _ADDRESS_AT + size]
    stored = int.from_bytes(record[_PORT_AT : _PORT_AT + 2])
    if kind == _IPV4:
        if size != 4:
            raise AddressError(f"the address record has an IPv4 address of {size} bytes instead of 4")
        host = ".".join(map(str, data))
        if host in _REFUSED_NUMBERS:
            raise AddressError(f"the address record has {host}, which is no cloud's address")
    else:
        host = _name(data)
    return ServerAddress(host, None if stored == _NO_PORT else stored)


def address_record(address: ServerAddress | None) -> bytes:
    """The 128 bytes for an address; of FF for None.

    Raises:
        AddressError: no firmware, or not every one, could use it: see :data:`MAX_NAME_SIZE`, IPv6, odd numbers.
    """
    if address is None:
        return b"\xff" * ADDRESS_RECORD_SIZE
    port = _NO_PORT if address.port is None else address.port
    if not 0 <= port <= _NO_PORT or address.port == _NO_PORT:
        raise AddressError(f"{address.port} is no port; a record has room for 1 to 65534")
    data = _encoded(address.host)
    head = bytes([_IPV4 if is_ipv4(address.host) else _DOMAIN, len(data)]) + data
    return (head.ljust(_PORT_AT, b"\xff") + port.to_bytes(2)).ljust(ADDRESS_RECORD_SIZE, b"\xff")


def server_key_file(spki: bytes, address: ServerAddress | None) -> bytes:
    """The 512 bytes that particle-cli writes to a device: key, FF, address record.

    Without an address they erase the one that the device has: "type:255" in its log, and the vendor's cloud.

    Args:
        spki: the cloud's public key, SubjectPublicKeyInfo of 294 bytes.
        address: where the device is to find the cloud.

    Raises:
        AddressError: as :func:`address_record`.
        ValueError: not 294 bytes.
    """
    if len(spki) != SERVER_SPKI_SIZE:
        raise ValueError(f"the server's key has {len(spki)} bytes instead of {SERVER_SPKI_SIZE}")
    return spki.ljust(ADDRESS_OFFSET, b"\xff") + address_record(address)


def server_key_file_name(stem: str, address: ServerAddress | None) -> str:
    """What particle-cli calls the file: ``<stem>-192_168_1_10-rsa.der``, without an address ``<stem>-padded.der``."""
    return f"{stem}-padded.der" if address is None else f"{stem}-{address.host.replace('.', '_')}-rsa.der"


def is_vendor_name(name: str) -> bool:
    """Whether ``name`` is a production name of the vendor, in any case, with or without a final dot."""
    plain = name.strip().lower().rstrip(".")
    return any(plain == domain or plain.endswith(f".{domain}") for domain in VENDOR_DOMAINS)


def is_ipv4(host: str) -> bool:
    """Whether devices and particle-cli take ``host`` for an IPv4 address: it is made of digits and dots."""
    return _DIGITS_AND_DOTS.fullmatch(host) is not None


def _encoded(host: str) -> bytes:
    if not is_ipv4(host):
        return _name(host.encode("ascii", "backslashreplace")).encode()
    try:
        packed = ipaddress.IPv4Address(host).packed
    except ValueError:
        raise AddressError(f"{host!r} is no IPv4 address") from None
    if host in _REFUSED_NUMBERS:
        raise AddressError(f"{host} is no cloud's address")
    return packed


def _name(data: bytes) -> str:
    """A name that every firmware understands."""
    if not 1 <= len(data) <= MAX_NAME_SIZE:
        raise AddressError(f"the name of the cloud has {len(data)} bytes; a device has room for 1 to {MAX_NAME_SIZE}")
    try:
        name = data.decode("ascii")
    except UnicodeDecodeError:
        name = ""
    if not name or re.search(r"[^!-~]|[:\\/]", name):
        raise AddressError("the name of the cloud is no name of a host: ASCII letters, digits, dots and hyphens are")
    return name
