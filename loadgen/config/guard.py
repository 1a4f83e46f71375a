"""A load tester must not hurt strangers: which targets may be put under load, and how much.

Without ``--allow-public-target`` only loopback and private addresses are targets. A name is resolved once,
every address that it gives is judged, and one of exactly these is connected to, so a name that changes its
mind in between gains nothing. The vendor's production names are never targets.

The judgement is pure; :func:`resolve` is the one function that asks the resolver.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Any, Final, TypeAlias

from loadgen.config.target import HostPort
from loadgen.errors import UnreachableError, UsageError
from loadgen.fleet.address import is_vendor_name
from loadgen.units import format_count, format_rate

MAX_RATE_PER_S: Final = 10_000
"""Highest offered rate against a target outside loopback, unless public targets are allowed."""

MAX_IN_FLIGHT: Final = 20_000
"""Most handshakes in flight against a target outside loopback, unless public targets are allowed."""


class AddressKind(StrEnum):
    """What an address is for, as far as the guard is concerned."""

    LOOPBACK = "loopback"
    PRIVATE = "private"
    LINK_LOCAL = "link-local"
    SHARED = "shared"
    """Behind a provider's address translation (100.64.0.0/10), so many strangers'."""
    MULTICAST = "multicast"
    UNSPECIFIED = "unspecified"
    PUBLIC = "public"


IPAddress: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

# Python's own is_private also covers documentation, benchmark and reserved ranges, so the ranges stand here.
_RANGES: Final = tuple(
    (kind, ipaddress.ip_network(network))
    for kind, network in (
        (AddressKind.LOOPBACK, "127.0.0.0/8"),
        (AddressKind.LOOPBACK, "::1/128"),
        (AddressKind.PRIVATE, "10.0.0.0/8"),  # RFC 1918
        (AddressKind.PRIVATE, "172.16.0.0/12"),
        (AddressKind.PRIVATE, "192.168.0.0/16"),
        (AddressKind.PRIVATE, "fc00::/7"),  # RFC 4193
        (AddressKind.LINK_LOCAL, "169.254.0.0/16"),
        (AddressKind.LINK_LOCAL, "fe80::/10"),
        (AddressKind.SHARED, "100.64.0.0/10"),  # RFC 6598
        (AddressKind.MULTICAST, "224.0.0.0/4"),
        (AddressKind.MULTICAST, "ff00::/8"),
        (AddressKind.UNSPECIFIED, "0.0.0.0/32"),
        (AddressKind.UNSPECIFIED, "::/128"),
    )
)

_KIND_IN_WORDS: Final = {
    AddressKind.LINK_LOCAL: "a link-local address",
    AddressKind.SHARED: "in the address space that providers share (100.64.0.0/10)",
    AddressKind.MULTICAST: "a multicast address",
    AddressKind.UNSPECIFIED: "the unspecified address",
    AddressKind.PUBLIC: "a public address",
}

Lookup: TypeAlias = Callable[..., list[tuple[Any, ...]]]
"""``socket.getaddrinfo``, or what stands for it in a test."""


@dataclass(frozen=True, slots=True)
class ResolvedTarget:
    """A target that has passed the guard.

    ``addresses`` are numeric, in the resolver's order and without repetitions; never empty.
    """

    name: str
    addresses: tuple[HostPort, ...]
    loopback: bool
    """Whether every address is on this machine; bounds on the load hold elsewhere."""

    @property
    def socket_address(self) -> tuple[str, int]:
        """The first address as sockets take it."""
        return self.addresses[0].host, self.addresses[0].port


def address_kind(address: str) -> AddressKind:
    """Judge a numeric address. An IPv4 address mapped into IPv6 is judged as IPv4.

    Raises:
        ValueError: not a numeric address.
    """
    ip: IPAddress = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    for kind, network in _RANGES:
        if ip.version == network.version and ip in network:
            return kind
    return AddressKind.PUBLIC


def refuse_vendor_name(name: str, *, where: str) -> None:
    """Raise where ``name`` belongs to the vendor.

    Raises:
        UsageError: always for such a name; no option allows it.
    """
    if is_vendor_name(name):
        raise UsageError(
            f"{name} is a production name of the device vendor, which is never put under load",
            where=where,
            remedy="Test a cloud of your own, or the built-in one with --target mock.",
        )


def check_addresses(name: str, addresses: tuple[str, ...], *, allow_public: bool, where: str) -> None:
    """Raise unless every one of ``addresses`` may be put under load.

    Raises:
        UsageError: one of them is neither loopback nor private, and public targets are not allowed.
    """
    if allow_public:
        return
    for address in addresses:
        kind = address_kind(address)
        if kind in (AddressKind.LOOPBACK, AddressKind.PRIVATE):
            continue
        shown = address if address == name else f"{name} has the address {address}, which"
        raise UsageError(
            f"{shown} is {_KIND_IN_WORDS[kind]}, neither loopback nor private",
            where=where,
            remedy="Add --allow-public-target if its owner has agreed to this load.",
        )


def check_load(
    target: ResolvedTarget,
    *,
    rate_per_s: Fraction | None,
    in_flight: int,
    allow_public: bool,
) -> None:
    """Raise where more is asked for than a target outside loopback gets without an explicit permission.

    Raises:
        UsageError: the rate is above :data:`MAX_RATE_PER_S` or ``in_flight`` above :data:`MAX_IN_FLIGHT`.
    """
    if allow_public or target.loopback:
        return
    remedy = "Add --allow-public-target if the owner of the target has agreed to more."
    if rate_per_s is not None and rate_per_s > MAX_RATE_PER_S:
        raise UsageError(
            f"{format_rate(rate_per_s)} is more than the {format_rate(Fraction(MAX_RATE_PER_S))} "
            "that a target outside this machine gets by default",
            where=target.name,
            remedy=remedy,
        )
    if in_flight > MAX_IN_FLIGHT:
        raise UsageError(
            f"{format_count(in_flight)} handshakes in flight are more than the {format_count(MAX_IN_FLIGHT)} "
            "that a target outside this machine gets by default",
            where=target.name,
            remedy=remedy,
        )


def resolve(
    target: HostPort, *, allow_public: bool, where: str = "--target", lookup: Lookup = socket.getaddrinfo
) -> ResolvedTarget:
    """Look ``target`` up once and pass all its addresses through the guard.

    Args:
        target: host by name or address, and port.
        allow_public: whether the user has allowed targets that are neither loopback nor private.
        where: where the user has named the target, for messages.
        lookup: the resolver.

    Raises:
        UsageError: refused.
        UnreachableError: the name cannot be resolved.
    """
    refuse_vendor_name(target.host, where=where)
    try:
        answers = lookup(
            target.host,
            target.port,
            type=socket.SOCK_STREAM,
            proto=socket.IPPROTO_TCP,
            flags=socket.AI_CANONNAME,
        )
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnreachableError(
            f"the name {target.host} cannot be resolved: {reason}",
            where=where,
            remedy="Check the spelling and the name server, or give a numeric address.",
        ) from None
    for answer in answers:
        refuse_vendor_name(str(answer[3]), where=f"{where}: {target.host} is an alias")
    addresses = tuple(dict.fromkeys(_numeric(answer[4]) for answer in answers))
    if not addresses:
        raise UnreachableError(f"the name {target.host} has no address", where=where)
    check_addresses(target.host, addresses, allow_public=allow_public, where=where)
    return ResolvedTarget(
        name=str(target),
        addresses=tuple(HostPort(address, target.port) for address in addresses),
        loopback=all(address_kind(address) is AddressKind.LOOPBACK for address in addresses),
    )


def _numeric(sockaddr: tuple[Any, ...]) -> str:
    """The address of a socket address, with the scope that a link-local one needs."""
    host = str(sockaddr[0])
    scope = sockaddr[3] if len(sockaddr) == 4 else 0
    return f"{host}%{scope}" if scope and "%" not in host else host
