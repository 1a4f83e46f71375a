"""Text and numbers of options and of ``bench.toml``, read with messages that name their place."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Literal

from loadgen.analysis.thresholds import Threshold, ThresholdError, parse_threshold
from loadgen.config.bench import suggestion
from loadgen.config.scenario import NAME_RULE, NAME_RULE_IN_WORDS
from loadgen.config.target import HostPort, parse_host_port
from loadgen.errors import UsageError
from loadgen.fleet.address import AddressError, ServerAddress, address_record
from loadgen.protocol.firmware import FirmwareProfile, firmware
from loadgen.units import parse_count, parse_duration_ns, parse_rate

MAX_SEED = 2**64 - 1
MAX_PROCESSES = 1024
MAX_UINT16 = 0xFFFF
LOOPBACK = "127.0.0.1"

_UINT16 = re.compile(r"[0-9]{1,5}|0x[0-9a-f]{1,4}")


def read_count(raw: Any, where: str, *, lowest: int = 1) -> int:
    """Read a count.

    Raises:
        UsageError: not a count, or below ``lowest``.
    """
    text = str(raw).strip()
    if text.startswith("-"):
        raise UsageError(f"{text} is negative", where=where, remedy=f"Give a count from {lowest}.")
    try:
        count = parse_count(text)
    except ValueError as error:
        raise UsageError(str(error), where=where) from None
    if count < lowest:
        raise UsageError(f"must be at least {lowest}, not {count}", where=where)
    return count


def read_rate(raw: Any, where: str) -> Fraction:
    """Read a rate as starts per second.

    Raises:
        UsageError: not a rate, or not above 0.
    """
    text = str(raw).strip()
    if text.startswith("-"):
        raise UsageError(f"{text} is negative", where=where, remedy="Give a rate above 0, such as 400/s.")
    try:
        return parse_rate(text)
    except ValueError as error:
        raise UsageError(str(error), where=where) from None


def read_duration(raw: Any, where: str, *, zero: bool) -> int:
    """Read a duration in ns.

    Args:
        raw: what the user wrote.
        where: its place.
        zero: whether ``0s`` makes sense here.

    Raises:
        UsageError: not a duration, negative, or an empty one where that makes no sense.
    """
    text = str(raw).strip()
    if text.startswith("-"):
        raise UsageError(f"{text} is negative", where=where, remedy="Give a duration such as 10s.")
    try:
        duration_ns = parse_duration_ns(text)
    except ValueError as error:
        raise UsageError(str(error), where=where) from None
    if duration_ns == 0 and not zero:
        raise UsageError("must be longer than nothing", where=where, remedy="Give a duration such as 10s.")
    return duration_ns


def read_choice(raw: str, where: str, allowed: Sequence[str]) -> Any:
    """Read one of ``allowed``.

    Raises:
        UsageError: another word; the nearest one is suggested.
    """
    if raw in allowed:
        return raw
    raise UsageError(
        f'unknown value "{raw}"',
        where=where,
        remedy=f"{suggestion(raw, allowed)}Allowed: {', '.join(allowed)}.",
    )


def read_processes(raw: Any, where: str) -> int | Literal["auto"]:
    """Read a number of processes, or ``auto``.

    Raises:
        UsageError: neither, or more than :data:`MAX_PROCESSES`.
    """
    if raw == "auto":
        return "auto"
    count = read_count(raw, where)
    if count > MAX_PROCESSES:
        raise UsageError(f"{count} processes are more than the {MAX_PROCESSES} possible", where=where)
    return count


def read_label(raw: str, where: str) -> str:
    """Read a label; it becomes part of a folder's name.

    Raises:
        UsageError: it could not stand in a folder's name.
    """
    if NAME_RULE.fullmatch(raw):
        return raw
    raise UsageError(f"{raw!r} is no label", where=where, remedy=f"Use {NAME_RULE_IN_WORDS}.")


def read_seed(raw: int | str, where: str) -> int:
    """Read a seed.

    Raises:
        UsageError: not a whole number, negative, or of more than 64 bits.
    """
    text = str(raw).strip()
    if text.isascii() and text.isdigit() and len(text) <= 20 and int(text) <= MAX_SEED:
        return int(text)
    raise UsageError(f"{text!r} is no whole number from 0 to 2^64 - 1", where=where)


def read_uint16(raw: Any, where: str) -> int:
    """Read a number that a device sends in two bytes, decimal or as ``0x…``.

    Raises:
        UsageError: not a whole number from 0 to 65535.
    """
    text = str(raw).strip().lower()
    if _UINT16.fullmatch(text):
        number = int(text, 16 if text.startswith("0x") else 10)
        if number <= MAX_UINT16:
            return number
    raise UsageError(f"{str(raw)!r} is no whole number from 0 to {MAX_UINT16}", where=where)


def read_firmware(raw: str, where: str) -> FirmwareProfile:
    """Look a firmware up by its name.

    Raises:
        UsageError: not known; the nearest name is suggested.
    """
    try:
        return firmware(raw.strip())
    except ValueError as error:
        raise UsageError(str(error), where=where) from None


def read_addresses(raw: Sequence[str], where: str) -> tuple[str, ...]:
    """Read addresses of this machine.

    Raises:
        UsageError: one is not numeric or could not be a source, is repeated, or they are of both families.
    """
    addresses = []
    for text in raw:
        try:
            address = ipaddress.ip_address(text.strip())
        except ValueError:
            raise UsageError(f"{text!r} is no numeric address", where=where) from None
        if address.is_unspecified or address.is_multicast:
            raise UsageError(f"{address} is no address that a connection can come from", where=where)
        addresses.append(address)
    if len(set(addresses)) < len(addresses):
        raise UsageError("an address is given twice", where=where)
    if len({address.version for address in addresses}) > 1:
        raise UsageError("IPv4 and IPv6 addresses cannot reach the same target", where=where)
    return tuple(str(address) for address in addresses)


def read_server_address(raw: str, where: str) -> ServerAddress:
    """``HOST`` or ``HOST:PORT`` as a device can keep it.

    Raises:
        UsageError: no address, or one that a device has no room for.
    """
    try:
        host = parse_host_port(raw, default_port=0)
        address = ServerAddress(host.host, host.port or None)
        address_record(address)
    except AddressError as error:
        raise UsageError(str(error), where=where, remedy="Give an IPv4 address or a name.") from None
    except ValueError as error:
        raise UsageError(str(error), where=where) from None
    return address


def read_listen_address(raw: str, where: str, usual_port: int) -> HostPort:
    """``[HOST]:PORT`` to listen on: loopback unless a host is given; port 0 is any free one.

    Args:
        raw: what the user wrote.
        where: its place, such as ``--prometheus``.
        usual_port: the port of the example that a message gives.

    Raises:
        UsageError: no address, or one without a port.
    """
    text = raw.strip()
    example = f":{usual_port}"
    remedy = (
        f"Write for example {example}, which is reached from this machine only, or 0.0.0.0{example} for every address."
    )
    if text.isdigit():
        raise UsageError(f"{raw!r} names no port", where=where, remedy=f"Write :{text}")
    bare = text.startswith(":") and not text.startswith("::")
    try:
        address = parse_host_port(f"{LOOPBACK}{text}" if bare else text, default_port=-1, any_port=True)
    except ValueError as error:
        raise UsageError(str(error), where=where) from None
    if address.port < 0:
        raise UsageError(f"{raw!r} names no port", where=where, remedy=remedy)
    return address


def read_path(raw: str, where: str) -> str:
    """Read a path.

    Raises:
        UsageError: empty, or no path at all.
    """
    if raw and "\0" not in raw:
        return raw
    raise UsageError("is no path", where=where, remedy="Give the path of a file or folder.")


def read_thresholds(texts: Sequence[str], where: str) -> list[Threshold]:
    """Read every threshold.

    Args:
        texts: what the user wrote.
        where: its place, such as ``--threshold`` or ``bench.toml: scenario.quick.thresholds``.

    Raises:
        UsageError: one of them cannot be read; with the position and what would be right.
    """
    found = []
    for text in texts:
        try:
            found.append(parse_threshold(text))
        except ThresholdError as error:
            raise text_error(error, where) from None
    return found


def text_error(error: ThresholdError, where: str) -> UsageError:
    """A text with a mistake, as a command says it."""
    what = f"{error.problem} (character {error.position + 1})\n{error.pointer}"
    return UsageError(what, where=where, remedy=error.remedy)
