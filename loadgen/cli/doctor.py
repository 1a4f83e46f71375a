"""``loadgen doctor``: why a device does not connect."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import click

from loadgen.cli.doctor_sources import Patient, cloud_facts, cloud_key, patient_of
from loadgen.cli.doctor_text import Told, diagnosis_document, write_diagnosis
from loadgen.cli.messages import show_note, show_warning
from loadgen.cli.options import json_option, quiet_option
from loadgen.cli.output import results, write_json
from loadgen.config.guard import ResolvedTarget, resolve
from loadgen.config.target import parse_host_port
from loadgen.config.values import read_firmware, read_path
from loadgen.crypto.backends import select_backend
from loadgen.crypto.base import CryptoBackend
from loadgen.diagnosis.devicelog import read_device_log
from loadgen.diagnosis.doctor import Verdict, diagnose
from loadgen.diagnosis.evidence import BUILT_IN_SINCE, DeviceFacts, Evidence
from loadgen.diagnosis.handshake import Handshake, Subject, ask_in_http, ask_in_tls, shake_hands
from loadgen.diagnosis.logevidence import log_story
from loadgen.diagnosis.narration import narrate
from loadgen.errors import ExitCode, UnreachableError, UsageError
from loadgen.fleet.identity import Identity
from loadgen.fleet.keystore import FleetStore
from loadgen.protocol.firmware import P1_0_7_0, FirmwareProfile
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.units import parse_duration_ns

EXIT_CODES: Final = {
    Verdict.HEALTHY: ExitCode.OK,
    Verdict.FAULT: ExitCode.THRESHOLD_FAILED,
    Verdict.UNDECIDED: ExitCode.INCONCLUSIVE,
    Verdict.NO_CONNECTION: ExitCode.UNREACHABLE,
}
_PROBE_WAIT_NS: Final = 2_000_000_000
_LONGEST_HOLD_NS: Final = 600_000_000_000
_SILENT: Final = (Reason.TIMEOUT, Reason.CLOSED)


@click.command("doctor")
@click.option("--target", metavar="HOST[:PORT]", help="The cloud to shake hands with once. Port 5683 if left out.")
@click.option("--dct", metavar="DUMP", help="A flash dump of the device; alone, it is judged without a connection.")
@click.option("--log", metavar="FILE", help="A serial log of the device; alone or with its dump, without a connection.")
@click.option("--device-key", metavar="FILE", help="The device's private key, PEM or DER, instead of a dump.")
@click.option("--id", metavar="ID", help="The device's id, 24 hexadecimal digits.")
@click.option("--fleet", metavar="FILE", help="Take the device and the cloud's key from a fleet instead.")
@click.option("--device", metavar="N|ID", help="Which device of the fleet, by number or id. [0]")
@click.option("--server-key", metavar="FILE", help="The cloud's public key that the device has. [the dump's]")
@click.option("--firmware", metavar="NAME", help=f"Firmware to play and to quote. [{P1_0_7_0.name}]")
@click.option("--cloud-key", metavar="FILE", help="The public key that the cloud really has, to compare with.")
@click.option("--registered", metavar="FILE|DIR|FLEET",
              help="The device's key on record at the cloud, or all of them, to compare with.")  # fmt: skip
@click.option("--good-fleet", metavar="FILE", help="After a failure, try once with the first device of this fleet.")
@click.option("--probe", is_flag=True, help="If the port says nothing, greet it in HTTP and in TLS.")
@click.option("--wait", metavar="D", help="Wait so long at each stage at most. [as the firmware, up to 20s]")
@click.option("--hold", metavar="D", help="Hold the session so long, or a connection that the device would give up.")
@click.option("--allow-public-target", is_flag=True, help="As for `loadgen run`.")
@quiet_option
@json_option
def command(**values: Any) -> ExitCode:
    """Find out why a device does not connect: shake hands once, or judge its flash dump or log.

    The handshake is told in the firmware's own log lines; then come the causes that fit, what speaks for and against
    each, what would decide, and the remedies, with DFU, by ST-Link and without. Exits 0 if all is well, 3 if the fault
    was found, 5 if several causes fit, 7 without a connection.
    """
    if all(values[name] is None for name in ("target", "dct", "log", "device_key")):
        raise UsageError(
            "there is nothing to look at",
            where="doctor",
            remedy="Name a cloud with --target, a dump with --dct or a serial log with --log.",
        )
    if values["hold"] is not None and values["target"] is None:
        raise UsageError("there is no connection to hold", where="--hold", remedy="Name a cloud with --target.")
    if values["log"] is not None and values["target"] is not None:
        raise UsageError(
            "a log and a handshake are two attempts", where="--log", remedy="Judge them one after the other."
        )
    patient = patient_of(values)
    evidence = Evidence(device=patient.facts, cloud=cloud_facts(values, patient.device_id))
    told = None
    if values["log"] is not None:
        story = log_story(read_device_log(Path(read_path(values["log"], "--log"))))
        evidence = replace(evidence, attempt=story.attempt, log=story.facts, unresolved=story.unresolved)
    if values["target"] is not None:
        evidence, told = _examine(values, patient, evidence)
    diagnosis = diagnose(evidence)
    if values["as_json"]:
        write_json(diagnosis_document(evidence, diagnosis, told))
    else:
        with results() as stream:
            write_diagnosis(diagnosis, told, stream)
    return EXIT_CODES[diagnosis.verdict]


def _examine(values: Mapping[str, Any], patient: Patient, evidence: Evidence) -> tuple[Evidence, Told | None]:
    """Shake hands, as far as the patient can, and try what is allowed."""
    profile = P1_0_7_0 if values["firmware"] is None else read_firmware(values["firmware"], "--firmware")
    waits_ns, hold_ns = _waits(values["wait"], profile), _hold(values["hold"])
    try:
        host_port = parse_host_port(values["target"])
    except ValueError as error:
        raise UsageError(str(error), where="--target") from None
    try:
        target = resolve(host_port, allow_public=values["allow_public_target"])
    except UnreachableError as error:
        told = Told(f"No handshake with {host_port}: {error.what}")
        return replace(evidence, unresolved=host_port.host, target=str(host_port), is_live=True), told
    server_key = _server_key(patient, profile)
    if patient.identity is None or server_key is None:
        _cannot_play(patient, profile)
        return evidence, None
    backend, warnings = select_backend("auto")
    if not values["quiet"]:
        for text in warnings:
            show_note(text)
    try:
        subject = _subject(patient.identity, server_key, backend, cloud_key(values))
    except ValueError as error:
        show_warning(f"The device cannot be played: {error}. It is judged by its keys alone.")
        return evidence, None
    address = target.socket_address
    handshake = shake_hands(subject, address, profile, backend, waits_ns, hold_ns=hold_ns)
    found = replace(
        evidence,
        attempt=handshake.attempt,
        is_live=True,
        target=str(host_port),
        target_addresses=tuple(map(str, target.addresses)),
    )
    found = _experiments(values, found, patient.server_key, target, (profile, waits_ns, backend))
    return found, _told(handshake, target, profile, patient)


def _experiments(
    values: Mapping[str, Any],
    found: Evidence,
    server_key: bytes | None,
    target: ResolvedTarget,
    tools: tuple[FirmwareProfile, Mapping[Stage, int], CryptoBackend],
) -> Evidence:
    """What the user has allowed, where it can tell something.

    A good device uses the server key that the patient has, so that it speaks for or against that key; where the
    patient has none (``server_key`` is None), the one of its own fleet.
    """
    attempt = found.attempt
    address = target.socket_address
    if attempt is None or attempt.is_complete or attempt.stage is Stage.CONNECT:
        return found
    if values["probe"] and attempt.stage is Stage.NONCE and attempt.reason in _SILENT and not attempt.heard:
        wait_ns = min(_PROBE_WAIT_NS, tools[1][Stage.NONCE])
        found = replace(found, probe=ask_in_http(address, wait_ns))
        if not found.probe:
            found = replace(found, probe_tls=ask_in_tls(address, wait_ns))
    if values["good_fleet"] is not None:
        with FleetStore.open(Path(read_path(values["good_fleet"], "--good-fleet"))) as store:
            identity, key = next(store.identities(0, 1, 1)), server_key or store.server_public_key
        if key is None:
            show_warning("No handshake by a good device: neither this device nor that fleet has the cloud's key.")
            return found
        profile, waits_ns, backend = tools
        control = shake_hands(_subject(identity, key, backend), address, profile, backend, waits_ns)
        found = replace(found, control=control.attempt)
    return found


def _subject(identity: Identity, server_key: bytes, backend: CryptoBackend, cloud_spki: bytes | None = None) -> Subject:
    device_key = backend.load_device_key(identity.private_key_der)
    return Subject(identity, device_key, backend.load_server_public_key(server_key), server_key, cloud_spki)


def _server_key(patient: Patient, profile: FirmwareProfile) -> bytes | None:
    """The cloud's key that the device encrypts with: the one of the options, or what this firmware makes of its own."""
    if patient.server_key is not None or patient.dct is None:
        return patient.server_key
    return patient.dct.server_key_in_use(built_in=profile.version >= BUILT_IN_SINCE)


def _cannot_play(patient: Patient, profile: FirmwareProfile) -> None:
    """Say why there is no handshake, and go on where keys can be judged all the same."""
    why = patient.why_not
    if patient.identity is not None:
        why = "Name the public key of the cloud with --server-key"
        if patient.dct is not None and profile.version >= BUILT_IN_SINCE:
            why = (
                f"{profile.name} uses the vendor's built-in key in place of an erased one, and loadgen does not have "
                "it. With --firmware p1@0.6.4 the erased key is used as it stands; --server-key names another"
            )
    if patient.facts == DeviceFacts() or not (patient.facts.errors or patient.facts.from_dump):
        raise UsageError(
            "the device is not known well enough for a handshake",
            where="--target",
            remedy=f"{why or 'Name it with --dct, with --device-key and --id, or with --fleet'}.",
        )
    show_warning(f"No handshake: {why}\nThe device is judged by its keys alone.")


def _waits(text: str | None, profile: FirmwareProfile) -> dict[Stage, int]:
    if text is None:
        return dict(profile.timeouts_ns)
    try:
        most_ns = parse_duration_ns(text)
    except ValueError as error:
        raise UsageError(str(error), where="--wait") from None
    if most_ns <= 0:
        raise UsageError("nothing can happen in no time", where="--wait", remedy="Write for example 5s.")
    return {stage: min(wait_ns, most_ns) for stage, wait_ns in profile.timeouts_ns.items()}


def _hold(text: str | None) -> int:
    """How long to hold, ns."""
    if text is None:
        return 0
    try:
        hold_ns = parse_duration_ns(text)
    except ValueError as error:
        raise UsageError(str(error), where="--hold") from None
    if not 0 < hold_ns <= _LONGEST_HOLD_NS:
        raise UsageError("a connection is held for up to 10m", where="--hold", remedy="Write for example 35s.")
    return hold_ns


def _told(handshake: Handshake, target: ResolvedTarget, profile: FirmwareProfile, patient: Patient) -> Told:
    address = target.socket_address
    lines = tuple(narrate(handshake, address, profile, patient.dct))
    assert patient.identity is not None
    title = f"One handshake with {target.name} as {profile.name}, device {patient.identity.hex_id}"
    return Told(title, lines, tuple(handshake.stages_ns.items()))
