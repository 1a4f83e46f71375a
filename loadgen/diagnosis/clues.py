"""What each piece of evidence says about each cause. Pure; one rule a piece of evidence.

A rule yields clues: a cause, a weight and the sentence for people. :data:`CERTAIN` and :data:`RULED_OUT` decide; a
cause that is both has been seen, so it is certain.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from loadgen.clock import NS_PER_MS
from loadgen.diagnosis.causes import DOCTOR_CAUSES
from loadgen.diagnosis.clue import CERTAIN, FAIR, RULED_OUT, STRONG, WEAK, Clue
from loadgen.diagnosis.evidence import Attempt, Evidence, spoken
from loadgen.diagnosis.wireclues import RULES, SPEAKS, more_candidates, other_protocol, shown
from loadgen.fleet.findings import Level
from loadgen.fleet.keyslot import SELF_MADE_SIZE, SlotKind
from loadgen.protocol.endings import ENDING_TABLE, SESSION_ENDING_TABLE
from loadgen.protocol.moments import MOMENT_TEXT, Moment, moments_of
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.units import format_ns

_NEAR_LIMIT: Final = 0.5
"""Share of the device's wait from which a completed stage is called slow."""

KEY_REFUSED: Final = ((Stage.KEY, Reason.CLOSED), (Stage.KEY, Reason.RESET))
"""How a cloud refuses a device."""
_UNREADABLE: Final = (Stage.UNWRAP, Reason.BAD_KEY)
_MORE: Final[dict[tuple[Stage | None, Reason | None], tuple[str, ...]]] = {
    (Stage.NONCE, Reason.CLOSED): ("proxy-idle-limit",),
    (Stage.KEY, Reason.CLOSED): ("new-device-key",),
    (Stage.KEY, Reason.RESET): ("new-device-key", "device-radio"),
    _UNREADABLE: ("new-device-key", "pkcs8-in-slot", "damaged-answer"),
    (Stage.UNWRAP, Reason.BAD_SIGNATURE): ("damaged-answer",),
}
"""Candidates beside those that :mod:`loadgen.protocol.endings` names."""

_OF_THE_DEVICE: Final = frozenset({
    "unknown-device", "other-key-on-record", "new-device-key", "old-key-used", "misread-private-key",
    "damaged-private-key", "pkcs8-in-slot", "blank-server-key", "address-erased", "wrong-address", "same-id-twice",
})  # fmt: skip
"""Causes that concern this device and not the others of the same cloud."""
_PASSING: Final = frozenset({"cloud-crashed", "cloud-overloaded", "connection-limit", "damaged-answer"})
"""Causes that may be gone a moment later."""
_REGISTRATION: Final = ("unknown-device", "other-key-on-record", "new-device-key", "old-key-used")
_PRIVATE_KEY: Final = ("misread-private-key", "damaged-private-key", "pkcs8-in-slot")

_TROUBLE_CAUSES: Final[dict[str, str]] = {
    "no_device_key": "new-device-key",
    "pkcs8_in_slot": "pkcs8-in-slot",
    "misread_key": "misread-private-key",
    **dict.fromkeys(
        (
            "public_key_in_slot",
            "curve_key_in_slot",
            "encrypted_key_in_slot",
            "no_key_in_slot",
            "unsuitable_key",
            "damaged_key",
        ),
        "damaged-private-key",
    ),
    "public_key_differs": "other-key-on-record",
    "no_server_key": "blank-server-key",
    "wrong_server_key": "wrong-server-key",
    "vendor_key_private_address": "wrong-server-key",
    "private_key_vendor_address": "wrong-address",
    "damaged_server_key": "wrong-server-key",
    "bad_address": "damaged-address",
    **dict.fromkeys(("address_cut_off", "address_swapped"), "wrong-address"),
    "no_valid_copy": "lost-table",
    "damaged_firmware": "firmware-fault",
}
"""Code of a trouble → the cause that it is."""


def candidates(evidence: Evidence) -> tuple[str, ...]:
    """The causes with which an attempt can end in this way, the usual ones first; none for a completed one."""
    if evidence.unresolved is not None:
        return ("name-not-resolved", "network-down")
    attempt = evidence.attempt
    if attempt is None or attempt.reason is None:
        return ()
    if attempt.in_session:
        return (*SESSION_ENDING_TABLE[attempt.reason].causes, *more_candidates(attempt))
    assert attempt.stage is not None
    named = ENDING_TABLE[attempt.stage, attempt.reason].causes
    return tuple(dict.fromkeys((*named, *_MORE.get(attempt.ending, ()), *more_candidates(attempt))))


def gather(evidence: Evidence) -> list[Clue]:
    """The clues of every rule."""
    rules = [rule for rule in _RULES if rule not in _OF_THE_DUMP or not evidence.device.is_stale]
    return [clue for rule in rules for clue in rule(evidence)]


# --- the attempt itself


def _moment(evidence: Evidence) -> Iterator[Clue]:
    attempt = evidence.attempt
    if attempt is None or attempt.in_session or attempt.stage in (Stage.CONNECT, Stage.UNWRAP):
        return
    if attempt.elapsed_ns is None:
        return
    found = attempt_moments(attempt)
    if not found:
        return
    text = f"the end came {' or '.join(MOMENT_TEXT[moment] for moment in sorted(found))} ({times(attempt)})"
    for name in candidates(evidence):
        moments = DOCTOR_CAUSES[name].moments
        if name == "cloud-time-limit" and attempt.later is not None:
            continue  # the device's own limit came first; the later end tells of the cloud's
        if found & set(moments):
            # Hardly anything but a cloud's own limit takes exactly so long.
            yield Clue(name, FAIR if Moment.CLOUD_LIMIT in found else WEAK, text)
        elif Moment.ANY not in moments:
            yield Clue(name, RULED_OUT, f"{text}; with this it would come {_expected(moments)}")


def attempt_moments(attempt: Attempt) -> frozenset[Moment]:
    """Which particular moments the end of an attempt may be of; none where that is not known."""
    if attempt.reason is Reason.TIMEOUT:
        return frozenset({Moment.DEVICE_LIMIT})
    if attempt.elapsed_ns is None or attempt.round_trip_ns is None:
        return frozenset()
    limit_ns = 20_000 * NS_PER_MS if attempt.device_limit_ns is None else attempt.device_limit_ns
    elapsed_ns = max(attempt.elapsed_ns - attempt.uncertain_ns, 0)
    found = moments_of(elapsed_ns, attempt.round_trip_ns, limit_ns) - {Moment.ANY}
    # Nearby, a connect that was slow by chance makes a round trip look longer than it is.
    return found | {Moment.ROUND_TRIP} if Moment.AT_ONCE in found else found


def times(attempt: Attempt) -> str:
    """How long the end took, and the network, in words."""
    assert attempt.elapsed_ns is not None
    network = "" if attempt.round_trip_ns is None else f"; a round trip takes {_time(attempt.round_trip_ns)}"
    return f"{_time(attempt.elapsed_ns)}{network}"


def _time(ns: int) -> str:
    """A time; none at all comes from a log, whose stamps are whole milliseconds."""
    return format_ns(ns) if ns else "less than 1 ms"


def _expected(moments: tuple[Moment, ...]) -> str:
    return " or ".join(MOMENT_TEXT[moment] for moment in moments)


def _usual(evidence: Evidence) -> Iterator[Clue]:
    attempt = evidence.attempt
    if evidence.unresolved is not None:
        yield Clue("name-not-resolved", STRONG, f"the resolver has no answer for {evidence.unresolved}")
    elif attempt is not None and attempt.ending == (Stage.CONNECT, Reason.REFUSED):
        yield Clue("nothing-listens", STRONG, "a machine answered, and refused: that is what it does without listener")
    elif attempt is not None and attempt.ending == (Stage.KEY, Reason.RESET):
        for name in ("cloud-crashed", "firewall"):
            yield Clue(
                name, WEAK, "public clouds reject with a close; a reset is what a crash or a box on the way makes"
            )
    elif attempt is not None and attempt.ending == (Stage.CONNECT, Reason.UNREACHABLE):
        yield Clue("network-down", STRONG, f"the system says: {attempt.detail or 'no route'}")


def _probed(evidence: Evidence) -> Iterator[Clue]:
    if evidence.probe is None:
        return
    for answer, asked in ((evidence.probe, "a line of HTTP"), (evidence.probe_tls, "the greeting of a TLS client")):
        kind = spoken(answer)
        if kind is not None:
            yield from other_protocol(SPEAKS[kind][0], f"to {asked} the port answers {shown(answer)}")
            return
    strange = evidence.probe or evidence.probe_tls
    if strange:
        yield Clue("not-this-protocol", WEAK, f"asked in HTTP or TLS it answers what is neither: {shown(strange)}")
        return
    yield Clue("not-this-protocol", -WEAK, "it said nothing to a line of HTTP either, nor to a TLS client")


def _slow(evidence: Evidence) -> Iterator[Clue]:
    attempt = evidence.attempt
    if attempt is not None and attempt.is_complete and attempt.slowest is not None:
        stage, took_ns, limit_ns = attempt.slowest
        if took_ns >= _NEAR_LIMIT * limit_ns:
            text = f"{stage} took {format_ns(took_ns)}, and the device gives up after {format_ns(limit_ns)}"
            yield Clue("slow-cloud", CERTAIN, text)


def _live(evidence: Evidence) -> Iterator[Clue]:
    if not evidence.is_live:
        return
    for name in ("address-erased", "wrong-address"):
        yield Clue(name, RULED_OUT, f"loadgen went to {evidence.target} itself")
    yield Clue("split-ciphertext", -WEAK, "the 256 bytes went out in one piece")
    yield Clue("device-radio", RULED_OUT, "loadgen made the connection, and no device took part")
    if not evidence.device.from_dump:
        yield Clue("new-device-key", RULED_OUT, "the key of the file was presented, not one that a device has made")
    yield Clue("same-id-twice", -WEAK, "loadgen made this one connection with the id")


def _control(evidence: Evidence) -> Iterator[Clue]:
    control, attempt = evidence.control, evidence.attempt
    if control is None or attempt is None:
        return
    if control.is_complete:
        for name in candidates(evidence):
            if name in _OF_THE_DEVICE:
                yield Clue(name, WEAK, "another device completed the same handshake just after")
            else:
                weight = -WEAK if name in _PASSING else RULED_OUT
                yield Clue(name, weight, "another device completed the same handshake just after")
    elif control.ending == attempt.ending:
        for name in candidates(evidence):
            if name in _OF_THE_DEVICE:
                yield Clue(name, -STRONG, "a device that is known to be good fails in the same way")


# --- keys and address


def _troubles(evidence: Evidence) -> Iterator[Clue]:
    device = evidence.device
    for trouble in device.troubles:
        cause = _TROUBLE_CAUSES.get(trouble.code)
        if cause == "wrong-address" and device.address is None:
            cause = "address-erased"
        place = "" if trouble.offset is None else f" (offset {trouble.offset} of the application's section)"
        if device.is_stale:
            place += ", in a copy that the device does not use"
        if cause is not None:
            weight = CERTAIN if trouble.level is Level.ERROR else STRONG
            yield Clue(cause, WEAK if device.is_stale else weight, f"{trouble.what}{place}")
        elif trouble.code == "no_address" and evidence.is_live:
            text = f"{trouble.what}, and not to {evidence.target}"
            yield Clue("address-erased", CERTAIN, text)


def _private_key(evidence: Evidence) -> Iterator[Clue]:
    device = evidence.device
    codes = {trouble.code for trouble in device.errors}
    if device.slot is None:
        return
    if device.slot.is_usable and "damaged_key" not in codes:
        for name in _PRIVATE_KEY:
            yield Clue(name, RULED_OUT, "the device's key is one that the firmware reads, and its integers fit")
    if device.from_dump and device.slot.size is not None and device.slot.size != SELF_MADE_SIZE:
        text = f"the key at 34 has {device.slot.size} bytes; one that a device has made itself has {SELF_MADE_SIZE}"
        yield Clue("new-device-key", RULED_OUT, text)


def _server_key(evidence: Evidence) -> Iterator[Clue]:
    device, cloud = evidence.device, evidence.cloud
    if device.server_fingerprint is None:
        return
    yield Clue("blank-server-key", RULED_OUT, "there is a server key on the device")
    if cloud.server_fingerprint is not None:
        if device.server_fingerprint == cloud.server_fingerprint:
            yield Clue("wrong-server-key", RULED_OUT, "the device's server key is the cloud's, by SHA-256")
        else:
            text = (
                f"the device's server key (SHA-256 {device.server_fingerprint[:16]}…) is not the cloud's "
                f"({cloud.server_fingerprint[:16]}…)"
            )
            yield Clue("wrong-server-key", CERTAIN, text)
    elif device.has_vendor_key and _goes_to_vendor(evidence):
        yield Clue("wrong-server-key", RULED_OUT, "it is the vendor's key, and the device goes to the vendor's cloud")
    elif device.has_vendor_key and evidence.is_live:
        yield Clue("wrong-server-key", STRONG, "it is the vendor's key, and this is not the vendor's cloud")


def _goes_to_vendor(evidence: Evidence) -> bool:
    """Whether the device of a dump or a log calls the vendor's cloud for want of an address."""
    if evidence.is_live:
        return False
    by_log = evidence.log is not None and evidence.log.is_address_erased
    return by_log or (evidence.device.from_dump and evidence.device.address is None)


def _was_erased(evidence: Evidence) -> bool:
    """Whether the address or the server key, which stand beside the device's key in flash, are known to be erased."""
    by_log = evidence.log is not None and evidence.log.is_address_erased
    return by_log or any(trouble.code in ("no_address", "no_server_key") for trouble in evidence.device.troubles)


def _address(evidence: Evidence) -> Iterator[Clue]:
    device = evidence.device
    if not device.from_dump or device.address is None:
        return
    if not evidence.is_live:
        yield Clue("address-erased", RULED_OUT, f"the dump has the address {device.address}")
    elif device.address not in (evidence.target, *evidence.target_addresses) and device.address[:1].isdigit():
        text = f"the device itself goes to {device.address}, by its dump, and not to {evidence.target}"
        yield Clue("wrong-address", CERTAIN, text)


def _registry(evidence: Evidence) -> Iterator[Clue]:
    device, cloud, attempt = evidence.device, evidence.cloud, evidence.attempt
    if not cloud.knows_registry or device.device_fingerprint is None:
        return
    is_refused = attempt is not None and attempt.ending in KEY_REFUSED
    if cloud.registered_fingerprint is None:
        weight = CERTAIN if is_refused else STRONG
        if attempt is None or is_refused:
            yield Clue("unknown-device", weight, "the keys on record have none for this device")
        for name in ("other-key-on-record", "old-key-used"):
            yield Clue(name, RULED_OUT, "the keys on record have none for this device")
    elif cloud.registered_fingerprint == device.device_fingerprint:
        for name in _REGISTRATION:
            yield Clue(name, RULED_OUT, "the key on record is the one that the device presents, by SHA-256")
    else:
        text = (
            f"the key on record (SHA-256 {cloud.registered_fingerprint[:16]}…) is not the one that the device presents "
            f"({device.device_fingerprint[:16]}…)"
        )
        yield Clue("unknown-device", RULED_OUT, "there is a key on record for it")
        if device.slot is not None and device.slot.kind is not SlotKind.PKCS1:
            for name in ("other-key-on-record", "old-key-used"):
                yield Clue(
                    name, RULED_OUT, "the device presents no key at all, so that of the cloud may be the right one"
                )
            return
        if attempt is not None and attempt.ending == _UNREADABLE:
            yield Clue("old-key-used", CERTAIN, text)
        elif is_refused or attempt is None:
            name = "other-key-on-record"
            if device.slot is not None and device.slot.is_self_made and _was_erased(evidence):
                name = "new-device-key"
                text += ", which the device has made itself; what stood beside it in flash was erased"
            yield Clue(name, CERTAIN if is_refused else STRONG, text)


# --- a device's log


def _erased_by_log(evidence: Evidence) -> Iterator[Clue]:
    log, attempt = evidence.log, evidence.attempt
    if log is None or attempt is None or attempt.ending not in KEY_REFUSED:
        return
    if log.address_type not in (None, 0, 1):
        erased = f"the address next to it in flash is erased (type:{log.address_type})"
        if log.uses_erased_key is not False:
            uses = "this firmware uses" if log.uses_erased_key else "firmware to 0.6.4 uses"
            text = f"{erased}, and {uses} an erased key as it stands: no cloud can decrypt what it sends"
            yield Clue("blank-server-key", STRONG, text)
        text = "what erased the address may have erased the device's key, too (FF at 34): it has made a new one then"
        yield Clue("new-device-key", STRONG, text)
        text = "a bare server key that is written padded to 512 bytes erases the address, and may be another cloud's"
        yield Clue("wrong-server-key", WEAK, text)
        yield Clue("address-erased", WEAK, f"Read Server Address = type:{log.address_type}")
        yield Clue("cloud-cannot-decrypt", -WEAK, "the device has gone to the vendor's cloud, which serves others")


def _address_in_log(evidence: Evidence) -> Iterator[Clue]:
    """What the device itself says of its address and of its network."""
    log = evidence.log
    if log is None:
        return
    if log.address_type in (0, 1) and not log.address_restored:
        address = f": {log.address}" if log.address else ""
        yield Clue("address-erased", RULED_OUT, f"the log says that there is an address in flash{address}")
    if log.uses_erased_key is False and not log.key_restored and log.address_type is not None:
        text = 'this firmware would say "Public Server Key was blank, restoring." at its start; the log does not'
        yield Clue("blank-server-key", -WEAK, text)
    if log.internet is False:
        yield Clue("network-down", STRONG, "the device's own test did not reach the Internet either")
    elif log.internet:
        yield Clue("network-down", RULED_OUT, "the device's own test reached the Internet")


def _restored_by_log(evidence: Evidence) -> Iterator[Clue]:
    log = evidence.log
    if log is None:
        return
    if log.address_restored:
        yield Clue("address-erased", STRONG, 'the log says "Public Server Address was blank, restoring."')
    if log.key_restored:
        text = 'the log says "Public Server Key was blank, restoring."'
        if _goes_to_vendor(evidence):
            yield Clue(
                "blank-server-key", RULED_OUT, f"{text}, and the device goes to the vendor's cloud with that key"
            )
        else:
            yield Clue("blank-server-key", CERTAIN, f"{text}: the vendor's key is used at a cloud that is not its own")


_OF_THE_DUMP: Final = (_private_key, _server_key, _address)
"""Rules that rule causes out by what a dump shows."""
_RULES: Final = (
    _usual, _probed, _moment, _slow, _live, _control, _troubles, _private_key, _server_key, _address, _registry,
    _erased_by_log, _address_in_log, _restored_by_log, *RULES,
)  # fmt: skip
