"""What is known about a device that does not connect: values only, whoever found them.

An attempt comes from a live handshake or from a device's log, the state of keys and address from a flash dump or from
key files. Nothing here decides anything; :mod:`loadgen.diagnosis.doctor` does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

from loadgen.diagnosis.reply import Reply
from loadgen.fleet.dct import DumpIdentity
from loadgen.fleet.dct_troubles import VENDOR_KEY_SHA256, Trouble
from loadgen.fleet.findings import Level
from loadgen.fleet.keyslot import KeySlot
from loadgen.protocol.error_numbers import END, FIRST
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.protocol.versions import Version
from loadgen.protocol.wire import NONCE_SIZE

BUILT_IN_SINCE: Final = Version.parse("0.7.0-rc.1")
"""The first version with the vendor's key and address built in, for where they are erased in flash."""
_STALE: Final = ("not_current", "copy_missing")
_LACKING: Final = (*_STALE, "key_missing", "server_key_missing", "address_missing")
_EQUAL_BYTES: Final = 4
_TEXT_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What a live attempt saw of the other side beside its end; nothing of it is in a log."""

    behind_nonce: int = 0
    """Bytes behind the 40 of the nonce that came before the device had answered."""
    left_early: bool = False
    """The other side had closed before the 256 bytes were sent to it."""
    part: bytes = b""
    """What had come of an answer that is not whole."""
    reply: Reply | None = None
    """How the 384 bytes read that the device could not use."""
    message: bytes | None = None
    """The first message of the session, decrypted, where it is not the Hello that it should be; with its padding where
    that is wrong. None where no whole frame came."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Later:
    """What came after the device had given up, where the connection was held all the same."""

    held_ns: int
    """From the last thing that the other side was given to its end, or to the end of the holding."""
    reason: Reason | None = None
    """How it ended; None where it did not."""
    size: int = 0
    """Bytes that came late."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """How one handshake went. Times in ns; None where they are not known."""

    stage: Stage | None
    """Where it ended; None where it was completed."""
    reason: Reason | None
    device_code: int | None = None
    """What the firmware prints for it."""
    library_code: int | None = None
    """What the device's RSA library said, where its log has it."""
    elapsed_ns: int | None = None
    """From the last thing that the other side was given (or from the connection) to the end."""
    round_trip_ns: int | None = None
    """Of the network, as far as the attempt shows it."""
    device_limit_ns: int | None = None
    """How long was waited at this stage at most."""
    patience_ns: int | None = None
    """How long a real device waits at this stage; None where that is not known."""
    uncertain_ns: int = 0
    """By so much the end may have come sooner than :attr:`elapsed_ns` says: a log without the line to count from."""
    heard: bytes = b""
    """The first bytes of what came and was not understood; at the nonce also a whole nonce."""
    slowest: tuple[Stage, int, int] | None = None
    """Of a completed handshake: the stage of the cloud that came nearest to the device's limit, its time and that
    limit."""
    in_session: bool = False
    """The end came after the cloud's Hello; :attr:`elapsed_ns` then counts from that."""
    connected_ns: int | None = None
    """Of a session: from the connection to the end."""
    was_asked: bool = False
    """Of a session: the cloud asked for the device's description, and got it."""
    held_ns: int | None = None
    """How long a session was held; None where it was left at once."""
    seen: Seen = Seen()
    later: Later | None = None
    """What came after the device's own limit; None where nobody waited for it."""
    detail: str = ""
    """What the operating system or the protocol core said, for people."""

    @property
    def is_complete(self) -> bool:
        """Whether the handshake was completed, and nothing ended it afterwards."""
        return self.reason is None

    @property
    def ending(self) -> tuple[Stage | None, Reason | None]:
        """Stage and reason, as a key."""
        return self.stage, self.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class LogFacts:
    """What a device's log says beside the attempt."""

    since: Version = FIRST
    """The oldest version that prints all of these lines."""
    before: Version = END
    """The first newer one that does not."""
    because: str = ""
    """A line that not every version prints."""
    address_type: int | None = None
    """Type of the address record, where the log names it."""
    address: str | None = None
    """Name or numeric address that the device read from its record or looked up."""
    key_restored: bool = False
    """The log says that the server key was blank."""
    address_restored: bool = False
    """The log says that the address was blank."""
    internet: bool | None = None
    """Whether the device's own test reached the Internet after it had failed; None where it says nothing of it."""
    lines: int = 0
    """Lines of the device in the log, understood or not."""
    understood: int = 0
    """Lines that tell something about the connection."""
    attempts: int = 0
    """Connections that were tried."""

    @property
    def is_address_erased(self) -> bool:
        """Whether the device has no address of its own, so that it calls the vendor's cloud."""
        return self.address_restored or self.address_type not in (None, 0, 1)

    @property
    def uses_erased_key(self) -> bool | None:
        """Whether this firmware uses an erased server key as it stands (to 0.6.4); None if it may be either."""
        if self.before <= BUILT_IN_SINCE:
            return True
        return False if self.since >= BUILT_IN_SINCE else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """Keys and address of the device, from a dump or from files."""

    troubles: tuple[Trouble, ...] = ()
    """What was found wrong with them."""
    slot: KeySlot | None = None
    """The private key as the firmware sees it; None where it is not known."""
    device_fingerprint: str | None = None
    """SHA-256 of the public key that the device presents."""
    server_fingerprint: str | None = None
    """SHA-256 of the server key on the device; None where there is none, or where nobody has looked."""
    address: str | None = None
    """``host:port`` that the device goes to; None where it is unset or not known."""
    from_dump: bool = False
    """A dump was read, so what it does not show is not there."""

    @property
    def errors(self) -> tuple[Trouble, ...]:
        """The troubles with which no handshake can be completed."""
        return tuple(trouble for trouble in self.troubles if trouble.level is Level.ERROR)

    @property
    def lacks(self) -> Trouble | None:
        """Why the dump does not show everything that the device uses now; None where it does."""
        return next((trouble for trouble in self.troubles if trouble.code in _LACKING), None)

    @property
    def is_stale(self) -> bool:
        """Whether what the dump shows is of a copy that the device does not use."""
        return any(trouble.code in _STALE for trouble in self.troubles)

    @property
    def has_vendor_key(self) -> bool:
        """Whether the server key is the vendor's."""
        return self.server_fingerprint == VENDOR_KEY_SHA256


def facts_of_dump(found: DumpIdentity) -> DeviceFacts:
    """What a dump says about its device."""
    dct = found.dct
    return DeviceFacts(
        troubles=found.troubles,
        slot=dct.slot,
        device_fingerprint=dct.device_fingerprint,
        server_fingerprint=dct.server_fingerprint,
        address=None if dct.address is None else str(dct.address),
        from_dump=True,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudFacts:
    """What the cloud's owner knows."""

    server_fingerprint: str | None = None
    """SHA-256 of the cloud's own public key."""
    knows_registry: bool = False
    """The registered keys were given, so a device that is not among them is not registered."""
    registered_fingerprint: str | None = None
    """SHA-256 of the public key on record for the device; None where there is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Everything that there is to judge."""

    attempt: Attempt | None = None
    is_live: bool = False
    """The attempt was made by loadgen; otherwise it is in a log."""
    unresolved: str | None = None
    """The name of the cloud that could not be resolved."""
    target: str | None = None
    """``host:port`` of a live attempt."""
    target_addresses: tuple[str, ...] = ()
    """``host:port`` of every address that the target's name has."""
    control: Attempt | None = None
    """The same handshake by a device that is known to be good."""
    probe: bytes | None = None
    """What the port answered to a line of HTTP; None where nobody has asked."""
    probe_tls: bytes = b""
    """What it answered to the greeting of a TLS client, where it had said nothing to HTTP."""
    device: DeviceFacts = field(default_factory=DeviceFacts)
    cloud: CloudFacts = field(default_factory=CloudFacts)
    log: LogFacts | None = None


def looks_random(data: bytes) -> bool:
    """Whether ``data`` may be a nonce: neither four equal bytes in a row nor sixteen characters of text.

    In 40 random bytes the first comes once in 450,000, the second once in 300,000.
    """
    run, text = 1, 0
    for last, byte in pairwise(data):
        run = run + 1 if byte == last else 1
        text = text + 1 if 32 <= byte < 127 else 0
        if run == _EQUAL_BYTES or text == _TEXT_BYTES:
            return False
    return True


def spoken(data: bytes) -> str | None:
    """Which other protocol ``data`` is the beginning of: ``tls``, ``http`` or ``text``; None if it may be random.

    Fewer than four bytes are taken for chance. A nonce of 40 random bytes is printable once in 10^17.
    """
    if len(data) >= 3 and data[0] in (0x14, 0x15, 0x16, 0x17) and data[1] == 3 and data[2] <= 4:
        return "tls"
    head = data[:NONCE_SIZE]
    if head.startswith((b"HTTP/", b"<!DOCTYPE", b"<html")):
        return "http"
    is_text = len(head) >= 4 and all(32 <= byte < 127 or byte in b"\r\n\t" for byte in head)
    return "text" if is_text else None
