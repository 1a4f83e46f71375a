"""The table of causes and registry policies: what is injected into a real mock cloud is what the doctor finds, exactly.

Every cell is one live handshake, and says either the one cause that the doctor has to find or the whole set that its
evidence cannot tell apart. One mock cloud serves a column: its seeded plan says which connection meets which fault,
and the connections without one are those of the rows about keys.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest

from loadgen.clock import NS_PER_MS
from loadgen.diagnosis.causes import DECIDES, DOCTOR_CAUSES
from loadgen.diagnosis.doctor import Diagnosis, Standing, Verdict, diagnose
from loadgen.diagnosis.evidence import CloudFacts, DeviceFacts, Evidence
from loadgen.fleet.dct_troubles import device_key_troubles, server_key_troubles
from loadgen.fleet.identity import public_key_of
from loadgen.fleet.keyslot import fingerprint, read_key_slot
from loadgen.mockcloud.faults import Fault, FaultKind, FaultPlan, FaultStage, parse_fault
from loadgen.mockcloud.settings import RegistryPolicy
from loadgen.protocol.pkcs1 import private_key_places
from loadgen.protocol.stages import Stage
from loadgen.protocol.wire import server_spki
from tests.fleet.keys import good_keys, odd_keys
from tests.integration.doctor_bench import (
    OTHER_SPKI,
    SERVER_SPKI,
    WAITS_NS,
    Address,
    Caller,
    cloud,
    facts_of,
    is_late,
    shake,
)

OPEN, STRICT, STORED, FIRST_SEEN = RegistryPolicy
SEED = 5
MOST_CONNECTIONS = 600
HOLD_NS = 150 * NS_PER_MS
WAIT_NS = 40 * NS_PER_MS

Causes = frozenset[str]
Cells = dict[RegistryPolicy, Causes]


def cell(*names: str) -> Causes:
    return frozenset(names)


def everywhere(*names: str) -> Cells:
    return dict.fromkeys(RegistryPolicy, cell(*names))


HEALTHY = cell()
REFUSALS = cell("wrong-server-key", "unknown-device", "other-key-on-record", "cloud-cannot-decrypt")
"""What a close after one round trip leaves open."""

# --- faults of the cloud

FAULTS: dict[str, Cells] = {
    "nonce:close": everywhere("no-backend", "connection-limit", "not-this-protocol"),
    "nonce:reset": everywhere("cloud-crashed", "connection-limit", "firewall"),
    "nonce:truncate": everywhere("cloud-crashed", "not-this-protocol"),
    "nonce:stall": everywhere("cloud-overloaded", "not-this-protocol", "connection-limit", "firewall"),
    "key:close": everywhere(*REFUSALS),
    "key:reset": everywhere(
        "wrong-server-key", "unknown-device", "other-key-on-record", "cloud-crashed", "firewall"
    ),
    "key:truncate": everywhere("short-answer"),
    "key:stall": everywhere("cloud-overloaded", "not-this-protocol", "firewall", "network-down"),
    "key:corrupt-ciphertext": everywhere("damaged-answer", "old-key-used"),
    "key:corrupt-signature": everywhere("two-server-keys", "damaged-answer"),
    "key:wrong-nonce": everywhere(*REFUSALS),
    "key:forget": everywhere(*REFUSALS),
    "hello:close": everywhere("session-key-differs", "cloud-crashed"),
    "hello:reset": everywhere("cloud-crashed", "firewall"),
    "hello:truncate": everywhere("cloud-crashed"),
    "hello:stall": everywhere("cloud-overloaded", "slow-hello", "session-key-differs"),
    "hello:bad-frame": everywhere("bad-framing"),
    "hello:bad-padding": everywhere("bad-padding"),
    "hello:wrong-hello": everywhere("coded-acknowledgement"),
    "session:close": everywhere("attributes-missing", "message-id"),
    "session:reset": everywhere("cloud-crashed", "firewall"),
    "session:bad-frame": everywhere("bad-framing"),
}  # fmt: skip
"""Fault → what the doctor says, from the bytes and the keys of the device alone."""
SHARES = {FaultStage.NONCE: 10, FaultStage.KEY: 7, FaultStage.HELLO: 8, FaultStage.SESSION: 15}
DECIDED = {
    "key:corrupt-ciphertext": cell("damaged-answer"),
    "key:close": cell("cloud-cannot-decrypt", "split-ciphertext", "cloud-crashed"),
}
"""The same where the keys on record and the cloud's key are known, and are right."""

# --- faults of the device and of its registration


@dataclass(frozen=True)
class Row:
    """A device with something wrong about it, and what is to be found."""

    caller: Caller
    alone: Cells
    """With the bytes and the device's keys."""
    informed: Cells | None = None
    """With the cloud's key and the keys on record as well; None where nothing changes."""
    on_record: bytes | None = None
    """PKCS#1 key whose public half the cloud has for this device."""
    facts: Callable[[DeviceFacts], DeviceFacts] = lambda facts: facts


FIRST, SECOND = good_keys()[:2]
MISREAD = next(bytes.fromhex(key["private_key_der"]) for key in odd_keys() if not key["firmware_reads_it"])
PKCS8_HEAD = bytes.fromhex("30820277020100300d06092a864886f70d0101010500048202")
PKCS8 = PKCS8_HEAD[:-2] + b"\x04\x82" + len(FIRST).to_bytes(2) + FIRST
CURVE = bytes.fromhex("30770201010420") + bytes(range(1, 33)) + bytes.fromhex("a00a06082a8648ce3d030107a14403420004")
SLOT_SIZE = 612


def device_made(der: bytes) -> bytes:
    """The same key as a device writes it: every integer with a leading zero byte, 611 bytes."""
    n, e, *rest = (der[begin:end].lstrip(b"\0") for begin, end in private_key_places(der))
    sizes = (129, 3, 129, 65, 65, 65, 65, 65)
    body = b"\x02\x01\x00"
    for size, value in zip(sizes, (n, e, *rest), strict=True):
        head = b"\x02\x81" if size > 127 else b"\x02"
        body += head + bytes([size]) + value.rjust(size, b"\0")
    return b"\x30\x82" + len(body).to_bytes(2) + body


def with_wrong_dp(der: bytes) -> bytes:
    _, end = private_key_places(der)[5]
    return der[: end - 1] + bytes([der[end - 1] ^ 2]) + der[end:]


def own_slot(slot: bytes) -> Callable[[DeviceFacts], DeviceFacts]:
    """The device holds these bytes where its key belongs."""
    read = read_key_slot(slot)

    def put(facts: DeviceFacts) -> DeviceFacts:
        troubles = tuple(device_key_troubles(read, slot.ljust(SLOT_SIZE, b"\xff"), None))
        return replace(facts, slot=read, troubles=troubles, device_fingerprint=fingerprint(read.presented))

    return put


def erased_server_key(facts: DeviceFacts) -> DeviceFacts:
    troubles = tuple(server_key_troubles(b"\xff" * 384, built_in=False))
    return replace(facts, troubles=troubles, server_fingerprint=None, from_dump=True)


def from_dump(facts: DeviceFacts) -> DeviceFacts:
    return replace(facts, from_dump=True)


def going_elsewhere(facts: DeviceFacts) -> DeviceFacts:
    return replace(facts, from_dump=True, address="192.168.1.10:5683")


def named(number: int) -> bytes:
    return bytes([number]) * 12


ROWS: dict[str, Row] = {
    "nothing": Row(Caller(named(1), FIRST), everywhere(), on_record=FIRST),
    "wrong server key": Row(
        Caller(named(2), FIRST, spki=OTHER_SPKI),
        everywhere(*REFUSALS),
        everywhere("wrong-server-key"),
        on_record=FIRST,
    ),
    "erased server key, used as it stands": Row(
        Caller(named(3), FIRST, spki=server_spki(b"\xff" * 256)),
        everywhere("blank-server-key"),
        on_record=FIRST,
        facts=erased_server_key,
    ),
    "unregistered device": Row(
        Caller(named(4), SECOND),
        {OPEN: HEALTHY, FIRST_SEEN: HEALTHY, STRICT: REFUSALS, STORED: REFUSALS},
        {OPEN: HEALTHY, FIRST_SEEN: HEALTHY, STRICT: cell("unknown-device"), STORED: cell("unknown-device")},
    ),
    "other device key": Row(
        Caller(named(5), SECOND),
        {OPEN: HEALTHY, STORED: cell("old-key-used", "damaged-answer"), STRICT: REFUSALS, FIRST_SEEN: REFUSALS},
        {
            OPEN: HEALTHY,
            STORED: cell("old-key-used"),
            STRICT: cell("other-key-on-record"),
            FIRST_SEEN: cell("other-key-on-record"),
        },
        on_record=FIRST,
    ),
    "key that the device has made anew": Row(
        Caller(named(6), device_made(SECOND)),
        {
            OPEN: HEALTHY,
            STORED: cell("old-key-used", "damaged-answer", "new-device-key"),
            STRICT: REFUSALS | {"new-device-key"},
            FIRST_SEEN: REFUSALS | {"new-device-key"},
        },
        {
            OPEN: HEALTHY,
            STORED: cell("old-key-used"),
            STRICT: cell("other-key-on-record"),
            FIRST_SEEN: cell("other-key-on-record"),
        },
        on_record=FIRST,
        facts=from_dump,
    ),
    "key that the firmware misreads": Row(
        Caller(named(7), MISREAD), everywhere("misread-private-key"), on_record=MISREAD
    ),
    "damaged CRT part": Row(
        Caller(named(8), FIRST),
        everywhere("damaged-private-key"),
        on_record=FIRST,
        facts=own_slot(with_wrong_dp(FIRST)),
    ),
    "PKCS#8 in the slot": Row(
        Caller(named(9), FIRST, presented=read_key_slot(PKCS8).presented),
        everywhere("pkcs8-in-slot"),
        on_record=FIRST,
        facts=own_slot(PKCS8),
    ),
    "elliptic-curve key in the slot": Row(
        Caller(named(10), FIRST, presented=read_key_slot(CURVE).presented),
        everywhere("damaged-private-key"),
        on_record=FIRST,
        facts=own_slot(CURVE),
    ),
    "no key in the slot": Row(
        Caller(named(11), FIRST, presented=read_key_slot(bytes(SLOT_SIZE)).presented),
        everywhere("damaged-private-key"),
        on_record=FIRST,
        facts=own_slot(bytes(SLOT_SIZE)),
    ),
    "address of another cloud": Row(
        Caller(named(12), FIRST), everywhere("wrong-address"), on_record=FIRST, facts=going_elsewhere
    ),
}


# --- playing it


@dataclass
class Played:
    """Evidence of every row of one column."""

    policy: RegistryPolicy
    faults: dict[str, Evidence]
    rows: dict[str, Evidence]


@pytest.fixture(scope="module", params=list(RegistryPolicy))
def column(request: pytest.FixtureRequest) -> Iterator[Played]:
    policy: RegistryPolicy = request.param
    faults = tuple(parse_fault(f"{key}:{SHARES[FaultStage(key.partition(':')[0])]}%") for key in FAULTS)
    on_record = [
        (row.caller.device_id, public_key_of(row.on_record)) for row in ROWS.values() if row.on_record is not None
    ]
    with cloud(policy, faults, on_record) as address:
        yield _play(policy, address, FaultPlan(faults, SEED))


def _play(policy: RegistryPolicy, address: Address, plan: FaultPlan) -> Played:
    played = Played(policy, {}, {})
    waiting = list(ROWS)
    for number in range(MOST_CONNECTIONS):
        if not waiting and len(played.faults) == len(FAULTS):
            return played
        at = plan.at(number)
        hit = next((at[stage] for stage in FaultStage if stage in at), None)
        if not waiting if hit is None else hit.key in played.faults:
            socket.create_connection(address).close()  # nobody needs this one
            continue
        name = waiting[0] if hit is None else "nothing"
        evidence = _seen(ROWS[name], address, hit)
        if is_late(evidence.attempt):
            continue
        if hit is not None:
            played.faults[hit.key] = evidence
        else:
            played.rows[waiting.pop(0)] = evidence
    pytest.fail(f"never played: {waiting}, {set(FAULTS) - set(played.faults)}")


def _seen(row: Row, address: Address, fault: Fault | None = None) -> Evidence:
    waits_ns, hold_ns = WAITS_NS, 0
    if fault is not None and fault.kind is FaultKind.STALL:
        waits_ns = {**WAITS_NS, Stage(fault.stage): WAIT_NS}
    if fault is not None and fault.stage is FaultStage.SESSION:
        hold_ns = HOLD_NS
    made = shake(row.caller, address, waits_ns, hold_ns)
    facts = row.facts(facts_of(row.caller))
    return Evidence(attempt=made.attempt, is_live=True, target="cloud:5683", device=facts)


def informed(evidence: Evidence, on_record: bytes | None) -> Evidence:
    key = None if on_record is None else fingerprint(public_key_of(on_record))
    known = CloudFacts(server_fingerprint=fingerprint(SERVER_SPKI), knows_registry=True, registered_fingerprint=key)
    return replace(evidence, cloud=known)


def found_in(diagnosis: Diagnosis) -> Causes:
    """The causes that are found, or cannot be told apart; none for a healthy device."""
    if diagnosis.indistinct:
        assert diagnosis.verdict is Verdict.UNDECIDED
        assert dict(diagnosis.decides).keys() == set(diagnosis.indistinct) & DECIDES.keys()
        return frozenset(diagnosis.indistinct)
    found = (Standing.CERTAIN, Standing.LIKELY)
    causes = frozenset(each.cause.id for each in diagnosis.suspects if each.standing in found)
    assert diagnosis.verdict is (Verdict.FAULT if causes else Verdict.HEALTHY)
    return causes


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_of_the_cloud(column: Played, name: str) -> None:
    evidence = column.faults[name]
    assert found_in(diagnose(evidence)) == FAULTS[name][column.policy]
    if name in DECIDED:
        assert found_in(diagnose(informed(evidence, FIRST))) == DECIDED[name]


@pytest.mark.parametrize("name", ROWS)
def test_a_fault_of_the_device(column: Played, name: str) -> None:
    row, evidence = ROWS[name], column.rows[name]
    assert found_in(diagnose(evidence)) == row.alone[column.policy]
    expected = row.alone if row.informed is None else row.informed
    assert found_in(diagnose(informed(evidence, row.on_record))) == expected[column.policy]


def test_the_table_is_large_enough_and_names_causes_that_exist() -> None:
    cells = [*FAULTS.values(), *(row.alone for row in ROWS.values()), *(row.informed or {} for row in ROWS.values())]
    named_causes = {name for each in cells for causes in each.values() for name in causes}
    assert named_causes <= set(DOCTOR_CAUSES)
    assert len(FAULTS) + len(ROWS) - 1 >= 20
