"""The facts of a case in sentences, before anything is concluded from them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from loadgen.diagnosis.clues import attempt_moments, times
from loadgen.diagnosis.evidence import Attempt, Evidence, Later, LogFacts
from loadgen.diagnosis.wireclues import count
from loadgen.fleet.address import is_ipv4
from loadgen.protocol.error_numbers import LIGHTSSL, Table
from loadgen.protocol.moments import Moment
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.protocol.system_errors import DEVICE_CODES
from loadgen.protocol.topics import span
from loadgen.units import format_ns


def findings(evidence: Evidence) -> Iterator[str]:
    """Sentences with a full stop, in the order in which things happened."""
    if evidence.log is not None:
        yield from _of_log(evidence.log)
    if evidence.attempt is not None and evidence.attempt.reason is not None:
        yield from _of_attempt(evidence.attempt)
    elif evidence.attempt is not None and evidence.attempt.held_ns is not None:
        yield f"The session was held for {format_ns(evidence.attempt.held_ns)}, and the cloud kept it."
    if evidence.control is not None:
        yield _of_control(evidence.control)
    device = evidence.device
    if device.device_fingerprint is not None:
        yield f"The device presents the public key with the SHA-256 {device.device_fingerprint}."
    if device.server_fingerprint is not None:
        whose = " (the vendor's)" if device.has_vendor_key else ""
        yield f"Its server key has the SHA-256 {device.server_fingerprint}{whose}."
    if device.address is not None:
        yield f"It goes to {device.address}, by its table."
    if evidence.log is not None and device.from_dump and device.address is not None:
        yield from _of_two_times(evidence.log, device.address)
    if device.from_dump and device.slot is not None and device.slot.is_self_made:
        yield (
            "It has made its key itself, as devices do before they are delivered and whenever the slot is erased: if "
            "it did so since it was registered, the cloud has another key on record."
        )
    for trouble in device.troubles:
        why = f" {trouble.why}" if trouble.why else ""
        yield f"{trouble.what[:1].upper()}{trouble.what[1:]}.{why}"


def _of_two_times(log: LogFacts, address: str) -> Iterator[str]:
    """Where log and dump cannot be of one device at one time, by its address."""
    is_numeric = is_ipv4(address.rpartition(":")[0])
    if log.is_address_erased:
        logged = "an erased address"
    elif log.address_type is not None and (log.address_type == 0) is not is_numeric:
        logged = "a numeric address" if log.address_type == 0 else "a name"
    else:
        return
    yield (
        f"By its log the device has {logged}, by its dump {address}: they are of two devices, or the record was "
        "written between them. What the device does now, a new log tells."
    )


def _of_log(log: LogFacts) -> Iterator[str]:
    because = f', by its wording, such as "{log.because}"' if log.because else ""
    generation = ""
    if log.before <= LIGHTSSL:
        generation = " (the sparkprotocol generation)"
    elif log.since >= LIGHTSSL:
        generation = " (the lightssl generation)"
    yield f"The log was written by firmware {span(log.since, log.before)}{generation}{because}."
    if log.address_type is not None and log.address_type not in (0, 1):
        yield (
            f"type:{log.address_type} means that the server address in flash is erased, so the device calls the "
            "vendor's device.spark.io. It is erased together with the key, or by writing a bare server key padded to "
            "512 bytes; the key can be good all the same."
        )
    if log.address_restored:
        yield "The server address was blank, so that the device calls the vendor's device.spark.io."
    if log.internet is False:
        yield "The device's own test did not reach the Internet after the failure."
    elif log.internet:
        yield "The device's own test reached the Internet after the failure, so its network is up."
    if log.key_restored:
        yield "The server key was blank; the built-in one of the vendor is used, in RAM only."


_AFTER = {Stage.NONCE: "the connection", Stage.KEY: "the 256 bytes", Stage.HELLO: "the device's Hello"}


def _of_attempt(attempt: Attempt) -> Iterator[str]:
    code = "" if attempt.device_code is None else f", device code {attempt.device_code}"
    where = "in the session" if attempt.in_session else f"at {attempt.stage}"
    yield f"It ended {where}: {attempt.reason}{code}."
    for known in DEVICE_CODES:
        if known.table is Table.LIBRARY and known.value == attempt.library_code:
            yield f"The device's RSA library said {known.value} ({known.name}): {known.meaning}."
    if attempt.elapsed_ns is None:
        return
    if attempt.in_session:
        yield f"The session ended {format_ns(attempt.elapsed_ns)} after the cloud's Hello."
    elif attempt.stage in _AFTER:
        yield from _of_the_end(attempt, _AFTER[attempt.stage])


def _of_the_end(attempt: Attempt, after: str) -> Iterator[str]:
    """When it ended, and what had come by then."""
    took, _, network = times(attempt).partition("; ")
    size = len(attempt.seen.part)
    if attempt.reason is Reason.TIMEOUT:
        came = f"Only {count(size)}" if size else "Nothing more"
        yield f"{came} came within {took} after {after}, {_patience(attempt)}."
        if attempt.later is not None:
            yield _of_later(attempt.later, after)
    elif size and attempt.reason is Reason.SHORT:
        yield f"The end came {took} after {after} ({network}), when {count(size)} of the answer had come."
    elif attempt.seen.left_early:
        yield "The other side had closed the connection before the device sent its 256 bytes."
    elif Moment.AT_ONCE in attempt_moments(attempt):
        yield f"The end came at once after {after} ({times(attempt)})."
    elif Moment.ROUND_TRIP in attempt_moments(attempt) and attempt.uncertain_ns:
        yield (
            f"The end came {took} after the connection ({network}), which is what two round trips and the device's own "
            "RSA take, so the cloud rejected at once."
        )
    elif Moment.ROUND_TRIP in attempt_moments(attempt):
        yield (
            f"The end came one round trip after {after} ({times(attempt)}), so the cloud rejected at once, "
            "without waiting for anything."
        )
    else:
        yield f"The end came {took} after {after}{f' ({network})' if network else ''}."


def _patience(attempt: Attempt) -> str:
    limit_ns, patience_ns = attempt.device_limit_ns, attempt.patience_ns
    if limit_ns is None or patience_ns is None or limit_ns >= patience_ns:
        return "all that the device waits"
    return f"as long as --wait allows; a real device waits {format_ns(patience_ns)}"


def _of_later(later: Later, after: str) -> str:
    if later.size:
        return f"{count(later.size)} came late, within {format_ns(later.held_ns)} after {after}."
    if later.reason is None:
        return f"The other side stayed silent for {format_ns(later.held_ns)} after {after}, and kept the connection."
    return f"The other side ended the connection {format_ns(later.held_ns)} after {after}: {later.reason}."


def _of_control(control: Attempt) -> str:
    if control.is_complete:
        return "A device that is known to be good completes the handshake with the same cloud."
    return f"A device that is known to be good fails as well: {control.stage}/{control.reason}."
