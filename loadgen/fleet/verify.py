"""Judging every key of a fleet as the firmware would."""

from __future__ import annotations

from typing import Final

from loadgen.fleet.findings import Code, Findings, Level
from loadgen.fleet.judge import Judge
from loadgen.fleet.keydata import KeyDataError, read_key
from loadgen.fleet.keyfiles import Progress, public_half
from loadgen.fleet.keystore import FleetStore
from loadgen.fleet.names import Role

_PROGRESS_EVERY: Final = 100


def verify_store(store: FleetStore, findings: Findings, progress: Progress | None = None) -> None:
    """Look at the key of every device of a fleet, and at the server's pair.

    Args:
        store: the fleet; an unfinished one is judged as far as it goes.
        findings: gets what is wrong.
        progress: called now and then with (devices done, devices).
    """
    _verify_server(store, findings)
    done, total = 0, store.devices + store.public_only_devices
    for keys in (store.device_keys(), store.public_only()):
        for device_id, der in keys:
            judge = Judge(f"device {device_id.hex()}", Role.OTHER, device_id.hex())
            try:
                for finding in judge.device_key(read_key(der), der):
                    findings.add(finding)
            except KeyDataError as error:
                findings.add(judge.refused(error))
            done += 1
            if progress is not None and done % _PROGRESS_EVERY == 0:
                progress(done, total)
    if progress is not None:
        progress(total, total)


def _verify_server(store: FleetStore, findings: Findings) -> None:
    if not store.complete:
        judge = Judge(str(store.path), Role.OTHER)
        what = f"the fleet is unfinished: {store.keys_present} of {store.key_count} keys are made"
        findings.add(judge.finding(Level.WARNING, Code.UNFINISHED, what, f"Finish it with: {store.command}"))
    if store.server_key_der is None:
        return
    judge = Judge("the server's key", Role.OTHER)
    for finding in judge.server_key(read_key(store.server_key_der), store.server_key_der):
        findings.add(finding)
    if public_half(store.server_key_der) != store.server_public_key:
        what = "the public and the private key of the server do not belong together"
        findings.add(judge.finding(Level.ERROR, Code.PAIR_MISMATCH, what, "Import the server's pair again."))
