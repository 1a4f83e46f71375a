"""The serial logs of a run's virtual devices: whose they are, and the files that they go to.

One device is one file, as a real device is one serial port: what reads the log of a real P1 reads these, and nothing in
them has to say whose line it is. Lines are made and written in the parent, where no event loop waits for them.
"""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import numpy as np

from loadgen.cli.dct_sources import read_device_id
from loadgen.cli.prepare import check_folder
from loadgen.clock import NS_PER_S
from loadgen.config.scenario import Scenario
from loadgen.config.values import read_count, read_path
from loadgen.diagnosis.narration import Narrator
from loadgen.engine.logged_device import MOMENT_FIELDS
from loadgen.engine.plan import LoadPlan
from loadgen.errors import LocalResourceError, UsageError
from loadgen.fleet.keystore import FleetStore
from loadgen.fleet.names import parse_device_id
from loadgen.protocol.firmware import FirmwareProfile, firmware
from loadgen.protocol.firmware_log import LINE_END, log_texts
from loadgen.protocol.stages import Point
from loadgen.store import write_all

MOST_DEVICES: Final = 100
"""Devices that can keep a log in one run."""
MOST_LINES: Final = 1_000_000
"""Of all logs of a run together, about 80 MB and 50,000 attempts; then they end."""
_LOG: Final = "--trace-log"
_DEVICES: Final = "--trace-devices"


@dataclass(frozen=True, slots=True)
class TraceRequest:
    """What somebody has asked for.

    Attributes:
        path: the file of one device, or the folder of several.
        devices: so many of each firmware, or the devices with these ids.
    """

    path: Path
    devices: int | tuple[bytes, ...]

    def most(self, names: Iterable[str]) -> int:
        """How many logs are asked for in a run of these firmwares; several go into a folder."""
        if not isinstance(self.devices, int):
            return len(self.devices)
        return self.devices * sum(_speaks(firmware(name)) for name in names)


@dataclass(frozen=True, slots=True)
class Logged:
    """A device that keeps a log: its number in the fleet, its id and what it runs."""

    number: int
    device_id: bytes
    firmware: FirmwareProfile


def read_trace(path: str | None, devices: str | None) -> TraceRequest | None:
    """Read the two options; None where no log is asked for.

    Raises:
        UsageError: one cannot be read, or stands alone.
    """
    if path is None:
        if devices is not None:
            raise UsageError("is about a log", where=_DEVICES, remedy="Say where it goes: --trace-log FILE.")
        return None
    return TraceRequest(Path(read_path(path, _LOG)), 1 if devices is None else _read_devices(devices))


def _read_devices(text: str) -> int | tuple[bytes, ...]:
    if "," not in text and parse_device_id(text) is None:
        return read_count(text, _DEVICES)
    return tuple(dict.fromkeys(read_device_id(part.strip(), _DEVICES) for part in text.split(",")))


def check_trace(request: TraceRequest, scenario: Scenario) -> None:
    """Find out before anything is made whether the logs could be written.

    Raises:
        UsageError: they could not, something is there, they are too many, or none of the firmwares would write any.
    """
    names = [share.name for share in scenario.firmware]
    most = request.most(names)
    if most > MOST_DEVICES:
        raise UsageError(
            f"{most:,} devices would keep a log; {MOST_DEVICES} can",
            where=_DEVICES,
            remedy="Choose fewer; of a mix of firmwares so many of each are taken.",
        )
    if not any(_speaks(firmware(name)) for name in names):
        raise _silent(names)
    path = request.path
    try:
        is_empty_folder = most > 1 and path.is_dir() and not any(path.iterdir())
        is_there = path.exists() and not is_empty_folder
    except OSError as error:
        raise UsageError(
            f"the log cannot be written: {error.strerror}", where=str(path), remedy="Choose another place."
        ) from None
    if is_there:
        what = "of several devices" if most > 1 else "of a device"
        raise UsageError(
            "exists already and is not overwritten",
            where=str(path),
            remedy=f"Name a new {'folder' if most > 1 else 'file'} for the log {what}, or move this one away first.",
        )
    check_folder(str(path if most > 1 else path.parent), "the log", "Choose another place.")


def _speaks(profile: FirmwareProfile) -> bool:
    return bool(log_texts(profile.version))


def _silent(names: Sequence[str]) -> UsageError:
    return UsageError(
        f"{', '.join(names)} prints nothing of its connection: there is no log to write",
        where=_LOG,
        remedy="Leave it out, or play 0.4.7 or newer.",
    )


def choose(request: TraceRequest, plan: LoadPlan, store: FleetStore) -> list[Logged]:
    """The devices that keep a log: of each firmware that prints anything the first so many, or those with the ids.

    Raises:
        UsageError: an id is not among the devices of the run, or its firmware prints nothing.
    """
    playing = plan.firmware_of_devices(store.devices)
    profiles = [firmware(part.name) for part in plan.firmwares]
    if isinstance(request.devices, int):
        numbers = _first_of_each(request.devices, playing, [_speaks(profile) for profile in profiles])
        ids = dict(zip(numbers, store.device_ids(numbers), strict=True))
    else:
        ids = {}
        for device_id in request.devices:
            number = store.number_of(device_id)
            if number is None or number >= len(playing):
                raise UsageError(
                    f"{device_id.hex()} is not among the {len(playing):,} devices of this run",
                    where=_DEVICES,
                    remedy="`loadgen fleet export` names its files by the ids of a fleet; or give a number of devices.",
                )
            profile = profiles[playing[number]]
            if not _speaks(profile):
                raise _silent([profile.name])
            ids[number] = device_id
    return [Logged(number, device_id, profiles[playing[number]]) for number, device_id in ids.items()]


def _first_of_each(count: int, playing: Sequence[int], speaks: Sequence[bool]) -> list[int]:
    """Numbers of the first ``count`` devices of each firmware that is to have any."""
    left = [count if speaking else 0 for speaking in speaks]
    numbers = []
    for number, position in enumerate(playing):
        if left[position]:
            left[position] -= 1
            numbers.append(number)
        elif not any(left):
            break
    return numbers


class TraceLog:
    """Writes the logs of one run. A context: it closes them, and takes away those that nothing was written to.

    Args:
        request: that was checked.
        plan: of the run.
        devices: that keep a log.
        most_lines: of all logs together.

    Raises:
        UsageError: a file cannot be made.
    """

    def __init__(
        self, request: TraceRequest, plan: LoadPlan, devices: Sequence[Logged], most_lines: int = MOST_LINES
    ) -> None:
        self._path = request.path
        self._devices = devices
        self._address = (plan.target.host, plan.target.port)
        self._most_lines = most_lines
        self._lines = self._attempts = self._begin_ns = 0
        self._spoke: set[int] = set()
        self._ended_ns: int | None = None
        self._narrators: dict[int, Narrator] = {}
        self._files: dict[int, io.FileIO] = {}
        self._paths: list[Path] = []
        try:
            self._make_files(is_folder=request.most(part.name for part in plan.firmwares) > 1)
        except OSError as error:
            self.close()
            raise UsageError(
                f"the log cannot be written: {error.strerror}", where=str(self._path), remedy="Choose another place."
            ) from error

    def _make_files(self, *, is_folder: bool) -> None:
        (self._path if is_folder else self._path.parent).mkdir(parents=True, exist_ok=True)
        for device in self._devices:
            path = self._path / f"{device.device_id.hex()}.log" if is_folder else self._path
            self._files[device.number] = path.open("xb", buffering=0)
            self._paths.append(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def begin(self, begin_ns: int) -> None:
        """The schedule begins at this instant of CLOCK_MONOTONIC: from here on the devices' stamps count."""
        self._begin_ns = begin_ns
        self._narrators = {
            device.number: Narrator(device.firmware, self._address, begin_ns) for device in self._devices
        }

    def add(self, moments: bytes) -> None:
        """Write what the devices have noted: rows as :mod:`loadgen.engine.logged_device` says, a device's in order.

        Raises:
            LocalResourceError: the disk is full, or fails.
        """
        texts: defaultdict[int, list[str]] = defaultdict(list)
        for device, at_ns, what, first, second in (
            np.frombuffer(moments, np.int64).reshape(-1, len(MOMENT_FIELDS)).tolist()
        ):
            if self._lines >= self._most_lines:
                self._ended_ns = at_ns if self._ended_ns is None else self._ended_ns
                break
            self._attempts += what == Point.STARTED
            lines = list(self._narrators[device].tell(at_ns, what, first, second))
            self._lines += len(lines)
            texts[device] += lines
        self._spoke |= texts.keys()
        for device, lines in texts.items():
            self._write(device, "".join(f"{line}{LINE_END}" for line in lines))

    def _write(self, device: int, text: str) -> None:
        try:
            write_all(self._files[device], text.encode())
        except OSError as error:
            raise LocalResourceError(
                f"the log of a device cannot be written any more: {error.strerror}",
                where=str(self._path),
                remedy="Free some space or choose another place; the record of the run is not concerned.",
            ) from error

    @property
    def is_cut(self) -> bool:
        """Whether there was more to write than may be."""
        return self._ended_ns is not None

    @property
    def summary(self) -> str:
        """What was written, a sentence or two for people."""
        if not self._attempts:
            return (
                f"Trace log: none was written, for no handshake of {_counted(len(self._devices), 'chosen device')} was "
                "begun. A run takes the devices of its fleet in turns; choose more, or use a smaller fleet."
            )
        who = _counted(len(self._spoke), "device")
        text = f"Trace log: {self._lines:,} lines of {who} about {_counted(self._attempts, 'attempt')} in {self._path}."
        if self._ended_ns is None:
            return text
        ended_s = (self._ended_ns - self._begin_ns) / NS_PER_S
        return f"{text} They end {ended_s:,.1f} s after the begin: no more than {self._most_lines:,} lines are written."

    def close(self) -> None:
        """Close the files; those of devices that were never started are removed."""
        files, self._files = self._files, {}
        for file, path in zip(files.values(), self._paths, strict=False):
            is_empty = file.tell() == 0
            file.close()
            if is_empty:
                path.unlink(missing_ok=True)


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
