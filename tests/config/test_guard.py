"""Who may be put under load."""

from __future__ import annotations

import socket
from fractions import Fraction
from typing import Any

import pytest

from loadgen.config.guard import (
    MAX_IN_FLIGHT,
    MAX_RATE_PER_S,
    AddressKind,
    ResolvedTarget,
    address_kind,
    check_load,
    resolve,
)
from loadgen.config.target import HostPort
from loadgen.errors import ExitCode, LoadgenError, UnreachableError, UsageError
from loadgen.fleet.address import is_vendor_name


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("127.0.0.1", AddressKind.LOOPBACK),
        ("127.255.255.254", AddressKind.LOOPBACK),
        ("::1", AddressKind.LOOPBACK),
        ("::ffff:127.0.0.1", AddressKind.LOOPBACK),
        ("10.255.255.255", AddressKind.PRIVATE),
        ("172.16.0.1", AddressKind.PRIVATE),
        ("172.31.255.255", AddressKind.PRIVATE),
        ("192.168.0.1", AddressKind.PRIVATE),
        ("::ffff:10.0.0.1", AddressKind.PRIVATE),
        ("fc00::1", AddressKind.PRIVATE),
        ("fdff:ffff::1", AddressKind.PRIVATE),
        ("11.0.0.0", AddressKind.PUBLIC),
        ("172.15.255.255", AddressKind.PUBLIC),
        ("172.32.0.0", AddressKind.PUBLIC),
        ("192.169.0.1", AddressKind.PUBLIC),
        ("8.8.8.8", AddressKind.PUBLIC),
        ("::ffff:8.8.8.8", AddressKind.PUBLIC),
        ("2001:db8::1", AddressKind.PUBLIC),
        ("fe00::1", AddressKind.PUBLIC),
        ("192.0.2.1", AddressKind.PUBLIC),
        ("198.18.0.1", AddressKind.PUBLIC),
        ("255.255.255.255", AddressKind.PUBLIC),
        ("0.1.2.3", AddressKind.PUBLIC),
        ("::127.0.0.1", AddressKind.PUBLIC),
        ("64:ff9b::7f00:1", AddressKind.PUBLIC),
        ("2002:7f00:1::", AddressKind.PUBLIC),
        ("169.254.1.1", AddressKind.LINK_LOCAL),
        ("::ffff:169.254.1.1", AddressKind.LINK_LOCAL),
        ("fe80::1", AddressKind.LINK_LOCAL),
        ("fe80::1%2", AddressKind.LINK_LOCAL),
        ("100.64.0.1", AddressKind.SHARED),
        ("100.127.255.255", AddressKind.SHARED),
        ("100.128.0.0", AddressKind.PUBLIC),
        ("100.63.255.255", AddressKind.PUBLIC),
        ("224.0.0.1", AddressKind.MULTICAST),
        ("ff02::1", AddressKind.MULTICAST),
        ("0.0.0.0", AddressKind.UNSPECIFIED),
        ("::", AddressKind.UNSPECIFIED),
        ("::ffff:0.0.0.0", AddressKind.UNSPECIFIED),
    ],
)
def test_address_kinds(address: str, kind: AddressKind) -> None:
    assert address_kind(address) is kind


@pytest.mark.parametrize(
    "name",
    ["particle.io", "device.spark.io", "DEVICE.Spark.IO", "spark.io.", "a.b.particle.io..", " udp.particle.io "],
)
def test_vendor_names(name: str) -> None:
    assert is_vendor_name(name)


@pytest.mark.parametrize("name", ["notparticle.io", "particle.io.example", "sparkfun.com", "io", "particle", ""])
def test_other_names(name: str) -> None:
    assert not is_vendor_name(name)


class Resolver:
    """Answers every look-up with the same addresses and counts them."""

    def __init__(self, *addresses: str, canonical: str = "") -> None:
        self.addresses = addresses
        self.canonical = canonical
        self.asked: list[str] = []

    def __call__(self, host: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        self.asked.append(host)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, self.canonical, (address, port, 0, 0))
            if ":" in address
            else (socket.AF_INET, socket.SOCK_STREAM, 6, self.canonical, (address, port))
            for address in self.addresses
        ]


def refusal(host: str, resolver: Resolver, *, allow_public: bool = False) -> LoadgenError:
    with pytest.raises(LoadgenError) as caught:
        resolve(HostPort(host, 5683), allow_public=allow_public, lookup=resolver)
    return caught.value


def test_a_name_is_resolved_once_and_gives_all_its_addresses() -> None:
    resolver = Resolver("10.0.0.1", "fd00::1", "10.0.0.1")
    target = resolve(HostPort("cloud", 99), allow_public=False, lookup=resolver)
    assert resolver.asked == ["cloud"]
    assert target.addresses == (HostPort("10.0.0.1", 99), HostPort("fd00::1", 99))
    assert target.name == "cloud:99"
    assert not target.loopback


def test_loopback_only_if_every_address_is() -> None:
    assert resolve(HostPort("a", 1), allow_public=False, lookup=Resolver("::1", "127.0.0.1")).loopback
    assert not resolve(HostPort("a", 1), allow_public=False, lookup=Resolver("::1", "10.0.0.1")).loopback


def test_one_public_address_among_private_ones_is_refused() -> None:
    error = refusal("cloud", Resolver("10.0.0.1", "8.8.8.8"))
    assert isinstance(error, UsageError)
    assert error.exit_code == ExitCode.USAGE
    assert "cloud has the address 8.8.8.8" in error.what
    assert error.remedy is not None
    assert "--allow-public-target" in error.remedy


def test_a_number_is_named_once() -> None:
    assert refusal("100.64.0.1", Resolver("100.64.0.1")).what == (
        "100.64.0.1 is in the address space that providers share (100.64.0.0/10), neither loopback nor private"
    )


def test_public_targets_with_permission() -> None:
    target = resolve(HostPort("a", 1), allow_public=True, lookup=Resolver("8.8.8.8"))
    assert target.addresses == (HostPort("8.8.8.8", 1),)


def test_vendor_names_are_refused_unasked_and_whatever_is_allowed() -> None:
    resolver = Resolver("127.0.0.1")
    error = refusal("Device.SPARK.io.", resolver, allow_public=True)
    assert isinstance(error, UsageError)
    assert resolver.asked == []


def test_an_alias_of_a_vendor_name_is_refused() -> None:
    error = refusal("mine.example", Resolver("127.0.0.1", canonical="device.spark.io"), allow_public=True)
    assert isinstance(error, UsageError)
    assert error.where == "--target: mine.example is an alias"


def test_a_link_local_address_keeps_its_scope() -> None:
    def lookup(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("fe80::1", 1, 0, 3))]

    target = resolve(HostPort("a", 1), allow_public=True, lookup=lookup)
    assert target.addresses[0].host == "fe80::1%3"


def test_a_name_that_does_not_resolve() -> None:
    def lookup(*_: Any, **__: Any) -> list[tuple[Any, ...]]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.raises(UnreachableError, match="nowhere cannot be resolved: Name or service not known"):
        resolve(HostPort("nowhere", 1), allow_public=False, lookup=lookup)


def test_a_name_without_addresses() -> None:
    assert isinstance(refusal("empty", Resolver()), UnreachableError)


PRIVATE = ResolvedTarget("10.0.0.1:5683", (HostPort("10.0.0.1", 5683),), loopback=False)
LOOPBACK = ResolvedTarget("[::1]:5683", (HostPort("::1", 5683),), loopback=True)


def test_load_within_bounds() -> None:
    check_load(PRIVATE, rate_per_s=Fraction(MAX_RATE_PER_S), in_flight=MAX_IN_FLIGHT, allow_public=False)


@pytest.mark.parametrize(
    ("rate_per_s", "in_flight", "what"),
    [
        (Fraction(MAX_RATE_PER_S) + Fraction(1, 3), 1, "10,000/s"),
        (None, MAX_IN_FLIGHT + 1, "20,001 handshakes in flight"),
    ],
)
def test_more_needs_permission_outside_this_machine(rate_per_s: Fraction | None, in_flight: int, what: str) -> None:
    with pytest.raises(UsageError, match=what) as caught:
        check_load(PRIVATE, rate_per_s=rate_per_s, in_flight=in_flight, allow_public=False)
    assert "--allow-public-target" in str(caught.value)
    check_load(PRIVATE, rate_per_s=rate_per_s, in_flight=in_flight, allow_public=True)
    check_load(LOOPBACK, rate_per_s=rate_per_s, in_flight=in_flight, allow_public=False)
