"""Addresses as people write them: ``mock``, ``HOST``, ``HOST:PORT``, ``[::1]:5683``."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from loadgen.protocol.wire import DEFAULT_PORT

MOCK = "mock"
"""The target that stands for a mock cloud of one's own."""

_EXAMPLE = "write for example cloud.example:5683, 192.168.1.20 or [::1]:5683"
_FORBIDDEN = re.compile(r"[\s/@?#%\\\[\]\x00-\x1f\x7f]")
_MAX_NAME = 253  # a DNS name in text form (RFC 1035)


@dataclass(frozen=True, slots=True)
class HostPort:
    """A host, by name or by numeric address and in ASCII, with a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_host_port(text: str, *, default_port: int = DEFAULT_PORT, any_port: bool = False) -> HostPort:
    """Read ``HOST[:PORT]``. IPv6 addresses stand in brackets where a port follows.

    International names come out in their ASCII form, lower case, so that a name in full-width letters is
    judged as the name that would be looked up.

    Args:
        text: what the user wrote.
        default_port: taken where the text names none.
        any_port: also accept port 0, "any free port", which makes sense for listening only.

    Raises:
        ValueError: one sentence that names the text and shows what would have been right.
    """
    stripped = text.strip()
    if "://" in stripped:
        raise ValueError(f"{text!r} is a URL, not an address: {_EXAMPLE}")
    host, port_text = _split(stripped)
    port = default_port if port_text is None else _port(text, port_text, any_port=any_port)
    return HostPort(_host(text, host), port)


def _split(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or not _is_ipv6(host) or (rest and not rest.startswith(":")):
            raise ValueError(f"{text!r} is no IPv6 address in brackets: {_EXAMPLE}")
        return host, rest[1:] if rest else None
    if text.count(":") > 1:
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _port(text: str, port_text: str, *, any_port: bool) -> int:
    lowest = 0 if any_port else 1
    if not (port_text.isascii() and port_text.isdigit() and lowest <= int(port_text[:6]) <= 65535):
        raise ValueError(f"{text!r} has no port from {lowest} to 65535: {_EXAMPLE}")
    return int(port_text)


def _host(text: str, host: str) -> str:
    if _is_ipv6(host):
        return host.lower()
    if not host or ":" in host or _FORBIDDEN.search(host):
        raise ValueError(f"{text!r} is no host name or address: {_EXAMPLE}")
    try:
        name = host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        name = ""
    if not name or len(name) > _MAX_NAME or _FORBIDDEN.search(name):
        raise ValueError(f"{text!r} is no host name or address: {_EXAMPLE}")
    return name


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
