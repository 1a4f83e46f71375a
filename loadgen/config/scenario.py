"""What a run is: the table that people write and the value that it is resolved to."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Any, Final, Literal

import msgspec

from loadgen.engine.arrival import Segment
from loadgen.engine.draws import Distribution
from loadgen.engine.plan import Pace

NAME_RULE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
"""Names of scenarios and labels; they become part of a folder's name."""

NAME_RULE_IN_WORDS: Final = "letters, digits, '.', '_' and '-', at most 64 of them, not starting with a sign"


class ScenarioTable(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A ``[scenario.NAME]`` table as written; the same keys as options or environment variables.

    None means that this layer says nothing. Quantities are still text or bare numbers here.
    """

    target: str | None = None
    server_key: str | None = None
    fleet: str | None = None
    devices: int | str | None = None
    keys: int | str | None = None
    firmware: str | list[str] | dict[str, str | int | float] | None = None
    product_id: int | str | None = None
    product_version: int | str | None = None
    device_pace: str | list[str] | None = None
    rate: int | float | str | None = None
    phases: list[str] | None = None
    trace: str | None = None
    storm: str | None = None
    concurrency: int | str | None = None
    max_in_flight: int | str | None = None
    source_ip: list[str] | None = None
    duration: str | None = None
    count: int | str | None = None
    warmup: str | None = None
    workers: int | str | None = None
    crypto: str | None = None
    timestamps: str | None = None
    timeout: dict[str, str] | None = None
    close: str | None = None
    hold: str | None = None
    events: int | float | str | None = None
    reconnect: bool | None = None
    cloud_mode: str | None = None
    cloud_workers: int | str | None = None
    registry: str | None = None
    fault: list[str] | None = None
    delay: list[str] | None = None
    stall: list[str] | None = None
    thresholds: list[str] | None = None
    out: str | None = None
    label: str | None = None
    seed: int | str | None = None


KEYS: Final[tuple[str, ...]] = ScenarioTable.__struct_fields__
"""Every key that may stand in a scenario."""

EXPECTED: Final[dict[str, str]] = {
    "target": 'text: "mock" or an address such as "192.168.1.20:5683"',
    "server_key": "text: the path of a key file",
    "fleet": "text: the path of a fleet file",
    "devices": 'a count such as 500 or "10k"',
    "keys": 'a count such as 64 or "1k"',
    "firmware": 'text such as "p1@0.7.0" or "p1@0.6.4=30%,p1@0.7.0=70%"',
    "product_id": "a whole number from 0 to 65535",
    "product_version": "a whole number from 0 to 65535",
    "device_pace": 'text such as "p1" or "encrypt=83ms,unwrap=400ms,rtt=60ms", or a list of such texts',
    "rate": 'a rate such as "400/s" or 400',
    "phases": 'a list of phases such as ["warmup 100/s for 5s", "poisson 200/s for 10s"]',
    "trace": "text: the path of a CSV file of arrival times",
    "storm": 'text: "fin", "silent" or a time such as "uniform 0s..10s"',
    "concurrency": 'a count such as 64 or "1k"',
    "max_in_flight": 'a count such as 1000 or "20k"',
    "source_ip": 'a list of addresses such as ["10.0.0.5", "10.0.0.6"]',
    "duration": 'text with a unit such as "10s" or "2m"',
    "count": 'a count such as 1000 or "10k"',
    "warmup": 'text with a unit such as "2s"',
    "workers": 'a number such as 2, or "auto"',
    "crypto": 'text: "auto", "openssl" or "native"',
    "timestamps": 'text: "auto", "kernel" or "user"',
    "timeout": 'a table of stages and times such as { key = "20s", hello = "2s" }',
    "close": 'text: "rst" or "fin"',
    "hold": 'text with a unit such as "0s" or "uniform 1m..5m"',
    "events": 'a rate such as "2/m" or "uniform 1/m..10/m"',
    "reconnect": "true or false",
    "cloud_mode": 'text: "full" or "replay"',
    "cloud_workers": 'a number such as 2, or "auto"',
    "registry": 'text: "open", "strict", "stored" or "first-seen"',
    "fault": 'a list of faults such as ["key:close:0.5%"]',
    "delay": 'a list of delays such as ["key:exponential=5ms"]',
    "stall": 'a list of stalls such as ["10s:1s"]',
    "thresholds": 'a list of thresholds such as ["p(99) of handshake < 250ms"]',
    "out": "text: the path of a folder",
    "label": f"text: {NAME_RULE_IN_WORDS}",
    "seed": "a whole number such as 1",
}
"""What a key's value has to be, for messages."""


FLAGS: Final = {"phases": "--phase", "thresholds": "--threshold"}
"""Options that are not called like their key, because they are given one by one."""


def flag(key: str) -> str:
    """The option that says ``key``: ``--rate``."""
    return FLAGS.get(key) or f"--{key.replace('_', '-')}"


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """One phase. ``begin_ns`` counts from the begin of the run; a warm-up is run and not recorded."""

    text: str
    begin_ns: int
    duration_ns: int
    warmup: bool
    segments: tuple[Segment, ...]

    @property
    def end_ns(self) -> int:
        """Where the next phase may begin."""
        return self.begin_ns + self.duration_ns


class FirmwareShare(msgspec.Struct, frozen=True):
    """One firmware of a run and its share of the devices; the shares of a run add up to 1."""

    name: str
    weight: Fraction = Fraction(1)
    timeouts_ns: dict[str, int] = {}
    """Stage → how long these devices wait there: as the firmware does, or as somebody has said."""
    pace: Pace | None = None
    """How slow these devices are on purpose; None: as fast as they can."""


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """A resolved scenario: what will be done, every default filled in. It goes into the record.

    Rates are exact numbers per second, durations integer ns. Exactly one of ``rate_per_s``, ``phases``, ``trace``,
    ``storm`` (open loop) and ``concurrency`` (closed loop) is set, and at least one of ``duration_ns`` and
    ``count``, but for a trace, which ends by itself.
    """

    name: str
    source: str
    """The file that the scenario comes from, as the user knows it."""
    target: str
    """``mock``, or ``HOST:PORT``."""
    server_key: str | None
    """A file with the cloud's public key, instead of the one in the fleet."""
    fleet: str
    """The fleet's file."""
    devices: int
    """Devices of the fleet that is made when ``fleet`` is missing."""
    keys: int
    """Distinct keys of that fleet."""
    firmware: tuple[FirmwareShare, ...]
    product_id: int | None = None
    """In Hello; None: the platform's, as in a stock build."""
    product_version: int | None = None
    """In Hello; None: the firmware's."""
    device_pace: tuple[str, ...] = ()
    """How slow devices are on purpose, ``[firmware:]encrypt=…,unwrap=…,rtt=…`` each; none: as fast as they can."""
    mode: Literal["open", "closed"]
    rate_per_s: Fraction | None
    """Offered starts per second, where they are the same all the time."""
    phases: tuple[Phase, ...] = ()
    """Parts of the run that start handshakes each in its own way."""
    trace: str | None = None
    """A file of arrival times to be replayed."""
    storm: Distribution | None = None
    """The whole fleet loses its sessions at the begin; how long devices take to notice, ns."""
    storm_devices: int | None = None
    """How many devices that fleet has; None: all that there are."""
    concurrency: int | None
    """Handshakes kept in flight."""
    max_in_flight: int
    """Upper bound of connections at one time; a start beyond it waits."""
    source_ip: tuple[str, ...]
    """Addresses of this machine that connections come from in turn; none: the system chooses."""
    duration_ns: int | None
    """Starts are intended for so long after the warm-up."""
    count: int | None
    """So many starts after the warm-up."""
    warmup_ns: int
    """Handshakes intended in this first part are made and not recorded."""
    workers: int | Literal["auto"]
    """Processes of the generator."""
    crypto: str
    timestamps: Literal["auto", "kernel", "user"]
    """Who says when bytes arrived: the kernel, or the moment after the read; auto takes the kernel where it can."""
    timeouts_ns: dict[str, int]
    """Stage → time that the device gives the other side, where it is not the firmware's."""
    close: Literal["rst", "fin"]
    """How a device leaves after the handshake."""
    hold_ns: int
    """Time that a session is held after the handshake; the mean where ``hold`` says how it varies."""
    hold: Distribution | None = None
    """How that time varies between sessions, ns."""
    events: Distribution | None = None
    """Events per second of a session."""
    reconnect: bool = False
    """Whether a device that loses its session comes back."""
    cloud_mode: Literal["full", "replay"]
    """What the mock cloud does; of another target, what it is known to do."""
    cloud_workers: int | Literal["auto"]
    """Processes of the mock cloud."""
    registry: Literal["open", "strict", "stored", "first-seen"]
    """What the mock cloud makes of a device's key."""
    fault: tuple[str, ...] = ()
    """What the mock cloud does wrong, ``stage:kind[=argument]:probability`` each."""
    delay: tuple[str, ...] = ()
    """How long the mock cloud's answers are held back, ``stage:distribution`` each."""
    stall: tuple[str, ...] = ()
    """When the mock cloud stops answering and for how long, ``after:for`` each."""
    thresholds: tuple[str, ...] = ()
    """What the run is held against (:mod:`loadgen.analysis.thresholds`)."""
    out: str
    """The folder that gets the record's folder."""
    label: str | None
    seed: int | None
    """None: the run draws one and records it."""
    dct: str | None = None
    """The flash dump whose device is played; ``fleet`` then is a file for the time of the run."""
    places: dict[str, str] = {}
    """Key → where somebody has said it, as for messages; not in the record."""

    @property
    def fleet_name(self) -> str:
        """Where the devices come from, as the user named it."""
        return self.dct or self.fleet

    def place(self, key: str) -> str:
        """Where the user finds ``key``: the place that has said it, else the option that could."""
        return self.places.get(key) or flag(key)


def document(scenario: Scenario) -> dict[str, Any]:
    """``scenario`` as a JSON object, without its places. An exact rate becomes a JSON number."""
    built: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(scenario, enc_hook=_encode))
    del built["dct"], built["places"]
    return built | {"fleet": scenario.fleet_name}


def _encode(value: Any) -> int | float:
    if isinstance(value, Fraction):
        return value.numerator if value.denominator == 1 else float(value)
    raise NotImplementedError(f"no JSON for {type(value).__name__}")
