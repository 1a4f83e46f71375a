"""Handshakes for the tests of the doctor: callers, a mock cloud, and one handshake of a caller with an address."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.crypto.openssl import OpenSSLBackend
from loadgen.diagnosis.evidence import Attempt, DeviceFacts
from loadgen.diagnosis.handshake import Handshake, Subject, shake_hands
from loadgen.fleet.dct_troubles import device_key_troubles
from loadgen.fleet.identity import Identity, public_key_of
from loadgen.fleet.keydata import read_key
from loadgen.fleet.keyfiles import public_half
from loadgen.fleet.keyslot import fingerprint, read_key_slot
from loadgen.mockcloud.cloud import MockCloud
from loadgen.mockcloud.faults import Fault
from loadgen.mockcloud.settings import CloudSettings, RegistryPolicy
from loadgen.protocol.firmware import P1_0_7_0, FirmwareProfile
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.protocol.wire import server_spki
from tests.fleet.keys import server_pem

BACKEND = OpenSSLBackend()
_KEY = read_key(server_pem())
assert _KEY.private_der is not None
SERVER_KEY = _KEY.private_der
SERVER_SPKI = public_half(SERVER_KEY)
OTHER_SPKI = server_spki((_KEY.modulus - 2).to_bytes(256))
"""A key that nobody has the private half of."""
SEED = 5
LATE_NS = 200 * NS_PER_MS
WAITS_NS = dict.fromkeys((Stage.CONNECT, Stage.NONCE, Stage.KEY, Stage.HELLO), 10 * NS_PER_S)

Address = tuple[str, int]


@dataclass(frozen=True)
class Caller:
    """Who shakes hands."""

    device_id: bytes
    der: bytes
    spki: bytes = SERVER_SPKI
    presented: bytes | None = None
    """The public key to present in place of the private one's."""

    @property
    def public_key(self) -> bytes:
        return public_key_of(self.der) if self.presented is None else self.presented


def shake(
    caller: Caller,
    address: Address,
    waits_ns: Mapping[Stage, int],
    hold_ns: int = 0,
    firmware: FirmwareProfile = P1_0_7_0,
) -> Handshake:
    subject = Subject(
        Identity(caller.device_id, caller.der, caller.public_key),
        BACKEND.load_device_key(caller.der),
        BACKEND.load_server_public_key(caller.spki),
        caller.spki,
    )
    return shake_hands(subject, address, firmware, BACKEND, waits_ns, hold_ns=hold_ns)


def facts_of(caller: Caller) -> DeviceFacts:
    """What the doctor knows of the keys in the caller's files."""
    slot = read_key_slot(caller.der)
    return DeviceFacts(
        troubles=tuple(device_key_troubles(slot, caller.der, None)),
        slot=slot,
        device_fingerprint=fingerprint(caller.public_key),
        server_fingerprint=fingerprint(caller.spki),
    )


def is_late(attempt: Attempt | None) -> bool:
    """Whether a cloud on a busy machine took so long that its close says nothing."""
    ends = (Reason.CLOSED, Reason.RESET, Reason.SHORT)
    return attempt is not None and attempt.reason in ends and (attempt.elapsed_ns or 0) > LATE_NS


@contextmanager
def cloud(
    policy: RegistryPolicy, faults: tuple[Fault, ...] = (), on_record: Iterable[tuple[bytes, bytes]] = ()
) -> Iterator[Address]:
    settings = CloudSettings(
        server_key=SERVER_KEY, port=0, workers=1, registry=policy, faults=faults, seed=SEED, crypto="openssl"
    )
    with MockCloud(settings, list(on_record)) as mock:
        host, _, port = mock.address.rpartition(":")
        yield host, int(port)
