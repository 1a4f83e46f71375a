"""The story of a P1 that stops at "Unable to receive key -19".

Strategy. A mock cloud that knows its devices serves on loopback. A device shakes hands with it from a good dump of its
table, loses keys, fails, is diagnosed from its log and from its dump, is mended and connects again. Nothing but the
order is written down beforehand: log lines, findings, differences and bytes are what the other rooms make of what
really happens, and a step that ends otherwise than its words say ends the story with an error.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Generator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from loadgen.crypto.backends import select_backend
from loadgen.demo.story import Command, Judged, Step, StoryError, Told, Write
from loadgen.diagnosis.clues import attempt_moments
from loadgen.diagnosis.devicelog import parse_device_log
from loadgen.diagnosis.doctor import Standing, Verdict, diagnose
from loadgen.diagnosis.evidence import BUILT_IN_SINCE, CloudFacts, Evidence, facts_of_dump
from loadgen.diagnosis.handshake import Handshake, Subject, shake_hands
from loadgen.diagnosis.logevidence import log_story
from loadgen.diagnosis.narration import narrate
from loadgen.errors import ExitCode
from loadgen.fleet.address import ServerAddress, address_record
from loadgen.fleet.dct import Dct, DumpIdentity, identity_from_dct
from loadgen.fleet.dct_diff import Comparison, Mend, compare_dumps
from loadgen.fleet.dct_extract import write_new_file
from loadgen.fleet.dct_layout import ADDRESS_AT, PRIVATE_KEY_AT, SERVER_KEY_AT
from loadgen.fleet.dct_make import Layout, Maker, Part, as_self_made, base_of, blank_base
from loadgen.fleet.generate import generate
from loadgen.fleet.identity import Identity, public_key_of
from loadgen.fleet.keyfiles import new_device_key
from loadgen.fleet.keyslot import fingerprint, read_key_slot
from loadgen.mockcloud.cloud import MockCloud
from loadgen.mockcloud.report import CloudReport
from loadgen.mockcloud.settings import CloudSettings, RegistryPolicy
from loadgen.protocol.firmware import PROFILES
from loadgen.protocol.firmware_log import LINE_END
from loadgen.protocol.moments import Moment
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage

FIRMWARE: Final = PROFILES["p1@0.6.4"]
"""The last firmware that uses an erased server key as it stands and says "type:255"."""

FLEET_FILE: Final = "fleet.sqlite"
GOOD_FILE, BAD_FILE, MENDED_FILE = "good.bin", "bad.bin", "mended.bin"
NEW_KEY_FILE: Final = "new-device.der"
LOG_FILE: Final = "serial.log"

_DEVICES: Final = 3
_TRIES: Final = 5
"""Where a machine is so busy that a refusal comes too late to look like one."""
_BEGIN_SHOWN: Final = 8
"""Bytes of what is written that are shown."""


class Mishap(StrEnum):
    """What the device loses, beside its cloud's address."""

    SERVER_KEY = "server-key"
    """The cloud's key is erased, and used as it stands."""
    DEVICE_KEY = "device-key"
    """The device's own key is erased, so that it makes itself a new one."""


@dataclass(frozen=True, slots=True)
class _Plot:
    """What a mishap does, and what has to come of it."""

    words: str
    erase: tuple[Part, ...]
    options: str
    """Of ``dct make``, for the same."""
    cause: str
    """What the diagnosis has to find."""
    changed: frozenset[str]
    """Fields whose difference can break the handshake."""
    refusals: frozenset[Reason]
    """What the cloud, which knows, may count."""
    afterword: str
    """Behind the diagnosis by log and dump."""


_PLOTS: Final = {
    Mishap.SERVER_KEY: _Plot(
        "Its system firmware is updated and then downgraded. On the way the cloud's key "
        f"(offset {SERVER_KEY_AT}) and the cloud's address behind it ({ADDRESS_AT}) are erased: {BAD_FILE}, a dump of "
        "the same table, has FF there. The device starts, uses the erased key as it stands, and prints:",
        (Part.SERVER_AREA,),
        "--erase server-area",
        "blank-server-key",
        frozenset({"server_public_key", "server_address"}),
        frozenset({Reason.BAD_CIPHERTEXT, Reason.BAD_NONCE}),
        "The address is erased, too, and is mended with the key.",
    ),
    Mishap.DEVICE_KEY: _Plot(
        "Its system firmware is updated and then downgraded. On the way the device's own key "
        f"(offset {PRIVATE_KEY_AT}) and the cloud's address ({ADDRESS_AT}) are erased. The device starts, finds FF "
        f"where its key should be and makes itself a new one: {BAD_FILE} is a dump of the same table after that. The "
        "device prints:",
        (Part.ADDRESS,),
        "--device-key {new_key} --erase address",
        "new-device-key",
        frozenset({"device_private_key", "server_address"}),
        frozenset({Reason.KEY_MISMATCH}),
        "Both are true and both are mended: here the device has reached its own cloud under the vendor's name, and is "
        "refused for its new key; in another network it would not even reach it.",
    ),
}
_CAUSES: Final = {plot.cause for plot in _PLOTS.values()}


def play(folder: Path, mishap: Mishap, shown: str) -> Generator[Step]:
    """Play the story. Close the iterator to end it early; the mock cloud ends with it.

    Args:
        folder: an empty one. It gets the dumps, the log, and the fleet with the cloud's key; private files with 0600.
        mishap: what the device loses.
        shown: the folder's name in commands.

    Raises:
        StoryError: a step did not end as the story says.
        LoadgenError: no port, no process, no disk.
    """
    return _Story(folder, mishap, shown).steps()


class _Story:
    """The story in the making."""

    def __init__(self, folder: Path, mishap: Mishap, shown: str) -> None:
        self._folder = folder
        self._shown = shown
        self._plot = _PLOTS[mishap]
        self._mishap = mishap
        self._backend, _ = select_backend("openssl")
        self._address = ("", 0)

    def steps(self) -> Generator[Step]:
        """Step after step, while the mock cloud serves."""
        with generate(self._folder / FLEET_FILE, devices=_DEVICES, keys=_DEVICES) as store:
            devices = list(store.identities())
            private, public = store.server_key_der, store.server_public_key
        assert private is not None
        assert public is not None
        settings = CloudSettings(server_key=private, port=0, workers=1, registry=RegistryPolicy.STRICT)
        with MockCloud(settings, [(device.device_id, device.public_key) for device in devices]) as cloud:
            host, _, port = cloud.address.rpartition(":")
            self._address = host, int(port)
            yield self._cloud_step()
            good = self._good_dump(devices[0], public)
            yield self._healthy_step(good)
            bad = self._bad_dump(good)
            yield self._failing_step(bad)
            yield self._log_step()
            yield self._dump_step(bad, devices[0])
            comparison = self._compared(good, bad, BAD_FILE)
            yield self._difference_step(comparison)
            mended = self._mended(good, bad, comparison)
            yield self._mend_step(good, bad, mended, comparison)
            yield self._last_step(mended, cloud)

    # --- the steps

    def _cloud_step(self) -> Step:
        fleet = self._file(FLEET_FILE)
        return Step(
            title="A cloud and its devices",
            says=(
                (
                    f"{_DEVICES} devices, each with a key of its own, and a mock cloud on {self._target} that knows "
                    "the public half of each and lets nobody else in."
                ),
                (
                    "A device without an address in its flash calls device.spark.io. In this story that name leads to "
                    "the mock cloud, as it can in a network with a DNS of its own."
                ),
                "The second command below serves until Ctrl-C. Later ones need it, so leave it running.",
            ),
            commands=(
                Command(f"loadgen fleet generate --devices {_DEVICES} --keys {_DEVICES} --fleet {fleet}"),
                Command(f"loadgen cloud --listen {self._target} --registry strict --registry-keys {fleet}"),
            ),
        )

    def _healthy_step(self, good: DumpIdentity) -> Step:
        title = "A device that connects"
        told, judged = self._healthy(title, good)
        fleet, file = self._file(FLEET_FILE), self._file(GOOD_FILE)
        make = f"--device 0 --address {self._target} --claimed --layout both --output {file}"
        return Step(
            title=title,
            says=(
                (
                    f"{GOOD_FILE} is a dump of the first device's table while all is well: its own key, the cloud's "
                    f"key, the cloud's address. With Device OS {FIRMWARE.version} the device prints:"
                ),
            ),
            told=told,
            judged=judged,
            commands=(Command(f"loadgen dct make --fleet {fleet} {make}"), self._live_doctor(GOOD_FILE, ExitCode.OK)),
        )

    def _failing_step(self, bad: DumpIdentity) -> Step:
        title = "What happens to it"
        made = self._shake_hands(bad)
        told = self._told(bad, made)
        attempt = made.attempt
        ending = "was completed" if attempt.is_complete else f"failed with {attempt.stage}/{attempt.reason}"
        _expect(title, attempt.ending == (Stage.KEY, Reason.CLOSED), f"the handshake {ending}")
        _expect(title, attempt.device_code == -19, f"the device printed the code {attempt.device_code}")
        _expect(
            title, Moment.ROUND_TRIP in attempt_moments(attempt), "the cloud's refusal came late; this machine is busy"
        )
        self._keep(LOG_FILE, "".join(line + LINE_END for line in told.lines).encode())
        options = self._plot.options.format(new_key=self._file(NEW_KEY_FILE))
        base, file = self._file(GOOD_FILE), self._file(BAD_FILE)
        return Step(
            title=title,
            says=(self._plot.words,),
            told=told,
            closing=(f"This is {LOG_FILE}. Of the cloud's 384 bytes not one has come: it has hung up.",),
            commands=(
                Command(f"loadgen dct make --base {base} {options} --layout both --output {file}"),
                self._live_doctor(BAD_FILE, ExitCode.THRESHOLD_FAILED),
            ),
        )

    def _log_step(self) -> Step:
        title = "What the log says, and what it cannot say"
        judged = _judged(self._of_log())
        found = judged.diagnosis
        _expect(title, found.verdict is Verdict.UNDECIDED, f"the log alone was found to say: {found.headline}")
        _expect(
            title, set(found.indistinct) == _CAUSES, f"the log alone leaves {', '.join(found.indistinct) or 'nothing'}"
        )
        return Step(
            title=title,
            says=(
                (
                    "From the device's log alone. On one machine a round trip takes less than the millisecond that "
                    "stamps count in; in the log of a real device it is as long as the wait for the nonce."
                ),
            ),
            judged=judged,
            commands=(Command(f"loadgen doctor --log {self._file(LOG_FILE)}", ExitCode.INCONCLUSIVE),),
        )

    def _dump_step(self, bad: DumpIdentity, device: Identity) -> Step:
        title = "What the dump decides"
        evidence = self._of_log()
        cloud = CloudFacts(knows_registry=True, registered_fingerprint=fingerprint(device.public_key))
        judged = _judged(Evidence(attempt=evidence.attempt, log=evidence.log, device=facts_of_dump(bad), cloud=cloud))
        found = judged.diagnosis
        certain = {each.cause.id for each in found.suspects if each.standing is Standing.CERTAIN}
        _expect(title, certain & _CAUSES == {self._plot.cause}, f"log and dump were found to say: {found.headline}")
        files = f"--dct {self._file(BAD_FILE)} --registered {self._file(FLEET_FILE)}"
        command = f"loadgen doctor --log {self._file(LOG_FILE)} {files}"
        return Step(
            title=title,
            says=(f"With {BAD_FILE} and the keys that the cloud has on record:",),
            judged=judged,
            closing=(self._plot.afterword,),
            commands=(Command(command, ExitCode.THRESHOLD_FAILED),),
        )

    def _difference_step(self, comparison: Comparison) -> Step:
        title = "What has changed"
        changed = {change.name for change in comparison.changes if change.can_break}
        _expect(title, changed == self._plot.changed, f"the dumps differ in {', '.join(sorted(changed)) or 'nothing'}")
        good, bad = self._file(GOOD_FILE), self._file(BAD_FILE)
        return Step(
            title=title,
            says=("The good dump and the bad one, field by field:",),
            comparison=comparison,
            files=(self._name(GOOD_FILE), self._name(BAD_FILE)),
            commands=(Command(f"loadgen dct diff {good} {bad}", ExitCode.THRESHOLD_FAILED),),
        )

    def _mend_step(self, good: DumpIdentity, bad: DumpIdentity, mended: DumpIdentity, comparison: Comparison) -> Step:
        title = "The mend"
        left = self._compared(good, mended, MENDED_FILE)
        _expect(title, not left.can_break, "the mended table still differs where it matters")
        put_right = compare_dumps(bad.dct, mended.dct, BAD_FILE, MENDED_FILE).changes
        fields = ", ".join(f"{change.name} ({change.offset})" for change in put_right)
        writes = tuple(_write(good.dct, mend) for mend in _mends(comparison))
        make = next(command for command in comparison.without_dfu if command.startswith("loadgen "))
        make = make.replace(f"--output {MENDED_FILE}", f"--output {self._file(MENDED_FILE)}")
        return Step(
            title=title,
            says=(
                (
                    "By DFU these bytes alone are written, by the commands above. An ST-Link has to erase a whole "
                    f"sector, so it writes {MENDED_FILE}, the bad table with these bytes in it."
                ),
                (
                    f"Fields of {MENDED_FILE} that differ from {BAD_FILE}: {fields}. Fields that differ from "
                    f"{GOOD_FILE} and can break the handshake: none."
                ),
            ),
            writes=writes,
            by_hand=tuple(command for command in comparison.without_dfu if not command.startswith("loadgen ")),
            commands=(Command(make), Command(f"loadgen dct diff {self._file(GOOD_FILE)} {self._file(MENDED_FILE)}")),
        )

    def _last_step(self, mended: DumpIdentity, cloud: MockCloud) -> Step:
        title = "The device connects again"
        told, judged = self._healthy(title, mended)
        report = cloud.stop()
        refusals = {failure.reason for failure in report.failures}
        _expect(title, bool(refusals) and refusals <= self._plot.refusals, f"the cloud counted {_account(report)}")
        return Step(
            title=title,
            says=(f"From {MENDED_FILE}, with the same cloud:",),
            told=told,
            judged=judged,
            closing=(f"The cloud, which says nothing to a device that it refuses, has counted: {_account(report)}.",),
            commands=(self._live_doctor(MENDED_FILE, ExitCode.OK),),
        )

    # --- what happens in them

    def _healthy(self, title: str, dump: DumpIdentity) -> tuple[Told, Judged]:
        """A handshake that has to be completed."""
        made = self._shake_hands(dump)
        target = self._target
        judged = _judged(
            Evidence(
                attempt=made.attempt,
                is_live=True,
                target=target,
                target_addresses=(target,),
                device=facts_of_dump(dump),
            )
        )
        _expect(
            title,
            judged.diagnosis.verdict is Verdict.HEALTHY,
            f"a good device was found ill: {judged.diagnosis.headline}",
        )
        return self._told(dump, made), judged

    def _shake_hands(self, dump: DumpIdentity) -> Handshake:
        """One handshake of the device of a dump, by the rules of its firmware."""
        identity = dump.identity
        key = dump.dct.server_key_in_use(built_in=FIRMWARE.version >= BUILT_IN_SINCE)
        if identity is None or key is None:
            raise StoryError("the device of the dump cannot be played")
        backend = self._backend
        device_key = backend.load_device_key(identity.private_key_der)
        subject = Subject(identity, device_key, backend.load_server_public_key(key), key)
        for _ in range(_TRIES):
            made = shake_hands(subject, self._address, FIRMWARE, backend)
            if made.attempt.is_complete or Moment.ROUND_TRIP in attempt_moments(made.attempt):
                break
        return made

    def _told(self, dump: DumpIdentity, made: Handshake) -> Told:
        assert dump.identity is not None
        lines = tuple(narrate(made, self._address, FIRMWARE, dump.dct))
        return Told(dump.identity.hex_id, FIRMWARE.name, lines, made.stages_ns)

    def _of_log(self) -> Evidence:
        """What the kept log tells."""
        story = log_story(parse_device_log((self._folder / LOG_FILE).read_bytes(), LOG_FILE))
        return Evidence(attempt=story.attempt, log=story.facts, unresolved=story.unresolved)

    # --- dumps

    def _good_dump(self, device: Identity, server_key: bytes) -> DumpIdentity:
        maker = Maker(blank_base())
        maker.device(device.private_key_der, device.public_key, device.device_id)
        maker.server_key(server_key)
        maker.address(address_record(ServerAddress(*self._address)))
        maker.claim(claimed=True, code=None)
        return self._dump(GOOD_FILE, maker)

    def _bad_dump(self, good: DumpIdentity) -> DumpIdentity:
        maker = Maker(base_of(good.dct.image))
        if self._mishap is Mishap.DEVICE_KEY:
            key = _self_made_key()
            self._keep(NEW_KEY_FILE, key)
            maker.device(key, public_key_of(key), None)
        for part in self._plot.erase:
            maker.erase(part)
        return self._dump(BAD_FILE, maker)

    def _mended(self, good: DumpIdentity, bad: DumpIdentity, comparison: Comparison) -> DumpIdentity:
        """The bad table with all that can break the handshake taken from the good one, as ``dct make`` does it."""
        maker, dct = Maker(base_of(bad.dct.image)), good.dct
        for change in comparison.changes:
            option = "" if change.mend is None else change.mend.option.partition(" ")[0]
            if option == "--device-from":
                maker.device(dct.private_area, dct.stored_public_key, dct.device_id)
            elif option == "--server-from":
                maker.server_key(dct.server_area)
            if option in ("--server-from", "--address-from"):
                maker.address(dct.address_record)
        return self._dump(MENDED_FILE, maker)

    def _dump(self, name: str, maker: Maker) -> DumpIdentity:
        data = maker.image(Layout.BOTH)
        self._keep(name, data)
        return identity_from_dct(data, where=name)

    def _compared(self, good: DumpIdentity, other: DumpIdentity, file: str) -> Comparison:
        return compare_dumps(good.dct, other.dct, self._name(GOOD_FILE), self._name(file))

    # --- names

    @property
    def _target(self) -> str:
        return f"{self._address[0]}:{self._address[1]}"

    def _name(self, file: str) -> str:
        return f"{self._shown}/{file}"

    def _file(self, file: str) -> str:
        """A file of the folder as a word of a command."""
        return shlex.quote(self._name(file))

    def _keep(self, file: str, data: bytes) -> None:
        write_new_file(self._folder / file, data, is_private=file != LOG_FILE)

    def _live_doctor(self, file: str, exit_code: ExitCode) -> Command:
        text = f"loadgen doctor --target {self._target} --dct {self._file(file)} --firmware {FIRMWARE.name}"
        return Command(text, exit_code)


def _expect(title: str, is_so: bool, otherwise: str) -> None:
    """End the story where a step did not end as it says."""
    if not is_so:
        raise StoryError(
            otherwise,
            where=title,
            remedy="The story ends here, since that is not what it tells. Try again; if it stays, please report it.",
        )


def _judged(evidence: Evidence) -> Judged:
    return Judged(evidence, diagnose(evidence))


def _account(report: CloudReport) -> str:
    """What a cloud has counted, in words."""
    failed = "".join(f", {each.count} refused ({each.stage}/{each.reason})" for each in report.failures)
    return f"{report.handshakes} completed{failed}"


def _self_made_key() -> bytes:
    """A new key as the firmware writes one that it makes, and not one that could be somebody else's."""
    while True:
        key = as_self_made(new_device_key())
        if read_key_slot(key).is_self_made:
            return key


def _mends(comparison: Comparison) -> list[Mend]:
    """What is to be written, without what is within something else."""
    mends = [change.mend for change in comparison.changes if change.mend is not None]

    def holds(outer: Mend, inner: Mend) -> bool:
        end = outer.offset + outer.size
        return outer is not inner and outer.offset <= inner.offset and inner.offset + inner.size <= end

    return [mend for mend in mends if not any(holds(other, mend) for other in mends)]


def _bytes_of(dct: Dct, mend: Mend) -> bytes:
    return dct.image.section.data[mend.offset : mend.offset + mend.size]


def _write(good: Dct, mend: Mend) -> Write:
    data = _bytes_of(good, mend)
    begin = None if mend.offset == PRIVATE_KEY_AT else data[:_BEGIN_SHOWN]
    return Write(mend, begin, hashlib.sha256(data).hexdigest())
