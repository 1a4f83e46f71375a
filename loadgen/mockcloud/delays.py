"""Delays of a mock cloud, exactly known and seeded, and stalls of the whole cloud. Pure.

A delay is written ``stage:distribution=arguments``, such as ``key:exponential=20ms``. The answer leaves so long after
the message that it answers has come (the nonce: after the connection was accepted), or when it is ready, if that is
later. Which delay handshake number n gets is a function of the seed, the stage and n.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from statistics import NormalDist
from typing import Final, TypeAlias

import msgspec

from loadgen.mockcloud.draws import Draws
from loadgen.mockcloud.faults import FaultStage, parse_probability
from loadgen.units import format_duration, parse_duration_ns

DELAYED_STAGES: Final = (FaultStage.NONCE, FaultStage.KEY, FaultStage.HELLO)
"""Answers that can be delayed by a distribution, and whose times are written down."""

MAX_DELAY_NS: Final = 3_600_000_000_000
"""No delay is longer: the tail of a distribution is cut here."""

MAX_VALUES: Final = 1_000
"""Most values of a list."""

_NORMAL: Final = NormalDist()


class Constant(msgspec.Struct, frozen=True, tag="constant"):
    """Always the same."""

    ns: int

    def delay_ns(self, drawn: float, number: int) -> int:  # noqa: ARG002
        """The delay of handshake ``number``, whose draw is in (0, 1)."""
        return self.ns

    def __str__(self) -> str:
        return f"constant={format_duration(self.ns)}"


class Uniform(msgspec.Struct, frozen=True, tag="uniform"):
    """Anything from ``low_ns`` to ``high_ns``."""

    low_ns: int
    high_ns: int

    def delay_ns(self, drawn: float, number: int) -> int:  # noqa: ARG002
        """The delay of handshake ``number``, whose draw is in (0, 1)."""
        return self.low_ns + int(drawn * (self.high_ns - self.low_ns))

    def __str__(self) -> str:
        return f"uniform={format_duration(self.low_ns)},{format_duration(self.high_ns)}"


class Exponential(msgspec.Struct, frozen=True, tag="exponential"):
    """Memoryless, with this mean."""

    mean_ns: int

    def delay_ns(self, drawn: float, number: int) -> int:  # noqa: ARG002
        """The delay of handshake ``number``, whose draw is in (0, 1)."""
        return min(MAX_DELAY_NS, int(-self.mean_ns * math.log1p(-drawn)))

    def __str__(self) -> str:
        return f"exponential={format_duration(self.mean_ns)}"


class LogNormal(msgspec.Struct, frozen=True, tag="lognormal"):
    """The logarithm is normal: ``median_ns`` · exp(``sigma`` · z)."""

    median_ns: int
    sigma: float

    def delay_ns(self, drawn: float, number: int) -> int:  # noqa: ARG002
        """The delay of handshake ``number``, whose draw is in (0, 1)."""
        return min(MAX_DELAY_NS, int(self.median_ns * math.exp(self.sigma * _NORMAL.inv_cdf(drawn))))

    def __str__(self) -> str:
        return f"lognormal={format_duration(self.median_ns)},{self.sigma:g}"


class Bimodal(msgspec.Struct, frozen=True, tag="bimodal"):
    """``high_ns`` with the probability ``share``, else ``low_ns``."""

    low_ns: int
    high_ns: int
    share: float

    def delay_ns(self, drawn: float, number: int) -> int:  # noqa: ARG002
        """The delay of handshake ``number``, whose draw is in (0, 1)."""
        return self.high_ns if drawn >= 1 - self.share else self.low_ns

    def __str__(self) -> str:
        return f"bimodal={format_duration(self.low_ns)},{format_duration(self.high_ns)},{self.share * 100:.12g}%"


class Listed(msgspec.Struct, frozen=True, tag="list"):
    """These values in turn, for ever; the first is that of handshake 0."""

    values_ns: tuple[int, ...]

    def delay_ns(self, drawn: float, number: int) -> int:  # noqa: ARG002
        """The delay of handshake ``number``."""
        return self.values_ns[number % len(self.values_ns)]

    def __str__(self) -> str:
        return f"list={','.join(map(format_duration, self.values_ns))}"


Distribution: TypeAlias = Constant | Uniform | Exponential | LogNormal | Bimodal | Listed


class Delay(msgspec.Struct, frozen=True):
    """The delay of one stage's answers."""

    stage: FaultStage
    distribution: Distribution

    def __str__(self) -> str:
        return f"{self.stage}:{self.distribution}"


class Stall(msgspec.Struct, frozen=True):
    """The whole cloud does nothing for a while: it accepts, reads and sends nothing."""

    after_ns: int
    """From the start."""
    for_ns: int

    def __str__(self) -> str:
        return f"{format_duration(self.after_ns)}:{format_duration(self.for_ns)}"


_FORMS: Final = {
    "constant": "constant=20ms",
    "uniform": "uniform=10ms,30ms",
    "exponential": "exponential=20ms (the mean)",
    "lognormal": "lognormal=20ms,0.5 (the median and the sigma of the logarithm)",
    "bimodal": "bimodal=5ms,100ms,10% (the last is the share of the second)",
    "list": "list=5ms,10ms,15ms",
}
_FORM: Final = "stage:distribution=arguments, such as key:exponential=20ms"
_STALL_FORM: Final = "AFTER:FOR, such as 10s:1s"
_MAX_SIGMA: Final = 5.0
_MAX_SHOWN: Final = 60


def parse_delay(text: str) -> Delay:
    """Read ``stage:distribution=arguments``.

    Raises:
        ValueError: one sentence with the text and what is allowed.
    """
    stage, colon, rest = text.partition(":")
    name, equals, arguments = rest.partition("=")
    stage, name = stage.strip(), name.strip()
    if not colon or not equals:
        raise ValueError(f"{_shown(text)} is no delay: write {_FORM}")
    if stage not in DELAYED_STAGES:
        raise ValueError(f"{_shown(text)}: unknown stage {_shown(stage)}. Allowed: {', '.join(DELAYED_STAGES)}")
    if name not in _FORMS:
        raise ValueError(f"{_shown(text)}: unknown distribution {_shown(name)}. Allowed: {', '.join(_FORMS)}")
    try:
        return Delay(FaultStage(stage), _distribution(name, arguments.split(",")))
    except ValueError as error:
        raise ValueError(f"{_shown(text)}: {error}; write for example {stage}:{_FORMS[name]}") from None


def check_delays(delays: Sequence[Delay]) -> None:
    """Refuse two delays of one stage. Raises :class:`ValueError`."""
    for stage in DELAYED_STAGES:
        if sum(delay.stage is stage for delay in delays) > 1:
            raise ValueError(f"'{stage}' has more than one delay")


def parse_stall(text: str) -> Stall:
    """Read ``AFTER:FOR``: two durations, from the start to the stall and of the stall.

    Raises:
        ValueError: one sentence with the text and what would have been right.
    """
    after, colon, time = text.partition(":")
    if not colon:
        raise ValueError(f"{_shown(text)} is no stall: write {_STALL_FORM}")
    stall = Stall(parse_duration_ns(after), parse_duration_ns(time))
    if stall.for_ns <= 0:
        raise ValueError(f"{_shown(text)} stalls for no time: write {_STALL_FORM}")
    return stall


def check_stalls(stalls: Sequence[Stall]) -> None:
    """Refuse stalls that overlap. Raises :class:`ValueError`."""
    ordered = sorted(stalls, key=lambda stall: stall.after_ns)
    for first, second in pairwise(ordered):
        if second.after_ns < first.after_ns + first.for_ns:
            raise ValueError(f"the stalls '{first}' and '{second}' overlap")


class DelayPlan:
    """Which delay each answer gets.

    Args:
        delays: at most one for a stage.
        seed: 0 … 2^64 - 1.
    """

    __slots__ = ("_stages",)

    def __init__(self, delays: Iterable[Delay], seed: int) -> None:
        self._stages = {delay.stage: (delay.distribution, Draws(seed, f"delay {delay.stage}")) for delay in delays}

    def delay_ns(self, stage: FaultStage, number: int) -> int:
        """The delay of the answer of ``stage`` in handshake ``number``; 0 where none is planned."""
        planned = self._stages.get(stage)
        if planned is None:
            return 0
        distribution, draws = planned
        return distribution.delay_ns(draws.at(number), number)


# --- reading


def _distribution(name: str, arguments: list[str]) -> Distribution:
    if name == "list":
        if len(arguments) > MAX_VALUES:
            raise ValueError(f"{len(arguments)} values are more than the {MAX_VALUES} possible")
        return Listed(tuple(map(_time, arguments)))
    wanted = {"constant": 1, "uniform": 2, "exponential": 1, "lognormal": 2, "bimodal": 3}[name]
    if len(arguments) != wanted:
        raise ValueError(f"{name!r} takes {wanted} argument{'s' * (wanted > 1)}, not {len(arguments)}")
    first = _time(arguments[0])
    if name == "constant":
        return Constant(first)
    if name == "exponential":
        return Exponential(first)
    if name == "lognormal":
        return LogNormal(first, _sigma(arguments[1]))
    second = _time(arguments[1])
    if second < first:
        raise ValueError("the second time is shorter than the first")
    return Uniform(first, second) if name == "uniform" else Bimodal(first, second, parse_probability(arguments[2]))


def _time(text: str) -> int:
    time_ns = parse_duration_ns(text)
    if time_ns > MAX_DELAY_NS:
        raise ValueError(f"{text.strip()!r} is longer than {format_duration(MAX_DELAY_NS)}")
    return time_ns


def _sigma(text: str) -> float:
    try:
        sigma = float(text)
    except ValueError:
        sigma = math.nan
    if not 0 < sigma <= _MAX_SIGMA:
        raise ValueError(f"the sigma {text.strip()!r} is no number above 0 and at most {_MAX_SIGMA:g}")
    return sigma


def _shown(text: str) -> str:
    return repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…")
