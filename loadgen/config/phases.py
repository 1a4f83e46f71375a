"""Phases of a load as people write them, and the segments of a schedule that they stand for.

    [warmup] [poisson|regular] [constant|ramp|steps|spike] RATE[..RATE] [in N] for D [at D]

A phase begins where the one before it ends, or at its own ``at``, counted from the begin of the run.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from typing import Final

from loadgen.config.bench import suggestion
from loadgen.config.scenario import Phase
from loadgen.config.values import read_count, read_duration, read_rate
from loadgen.engine.arrival import Process, Segment
from loadgen.errors import UsageError
from loadgen.units import format_duration

SHAPES: Final = ("constant", "ramp", "steps", "spike")
PROCESSES: Final = ("regular", "poisson")

_WORDS: Final = ("warmup", *PROCESSES, *SHAPES)
_MAX_STEPS: Final = 1000
_EXAMPLE: Final = (
    "Write for example 'poisson 200/s for 10s', 'ramp 200/s..800/s for 30s', 'steps 100/s..400/s in 4 for 40s' "
    "or 'warmup 100/s for 5s'."
)
_PHASE: Final = re.compile(
    r"(?P<words>(?:[a-z]+\s+)*)(?P<first>[^\s.]\S*?)(?:\s*\.\.\s*(?P<last>\S+))?"
    r"(?:\s+in\s+(?P<steps>\S+))?\s+for\s+(?P<duration>\S+)(?:\s+at\s+(?P<at>\S+))?"
)


def read_phases(texts: Sequence[str], where: str) -> tuple[Phase, ...]:
    """Read the phases of a run.

    Raises:
        UsageError: none at all, one that cannot be read or is empty, phases that overlap, a warm-up behind a
            recorded phase, or nothing but warm-ups. The place names the phase by its number.
    """
    phases: list[Phase] = []
    for number, text in enumerate(texts, 1):
        place = f"{where} [{number}]"
        begin_ns = phases[-1].end_ns if phases else 0
        phase = _read_phase(text, place, begin_ns)
        if phase.begin_ns < begin_ns:
            raise UsageError(
                f"begins at {format_duration(phase.begin_ns)}, before the phase before it ends at "
                f"{format_duration(begin_ns)}",
                where=place,
                remedy="Phases follow one another: leave `at` out, or choose a later one.",
            )
        if phase.warmup and phases and not phases[-1].warmup:
            raise UsageError("a warm-up comes before everything that is recorded", where=place)
        phases.append(phase)
    if not phases or phases[-1].warmup:
        raise UsageError("there is no phase to record", where=where, remedy=_EXAMPLE)
    return tuple(phases)


def segments_of(phases: Sequence[Phase]) -> tuple[Segment, ...]:
    """The whole schedule: the phases' segments, and silence between phases that do not touch."""
    segments: list[Segment] = []
    end_ns = 0
    for phase in phases:
        if phase.begin_ns > end_ns:
            segments.append(Segment("silent", phase.begin_ns - end_ns))
        segments += phase.segments
        end_ns = phase.end_ns
    return tuple(segments)


def warmup_ns_of(phases: Sequence[Phase]) -> int:
    """Where the recorded part begins: at the end of the last warm-up."""
    return max((phase.end_ns for phase in phases if phase.warmup), default=0)


def _read_phase(text: str, place: str, begin_ns: int) -> Phase:
    match = _PHASE.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"{text[:80]!r} is no phase", where=place, remedy=_EXAMPLE)
    shape, process, warmup = _read_words(match["words"].split(), place)
    rates = _read_rates(match, place)
    duration_ns = read_duration(match["duration"], place, zero=False)
    shape = shape or ("ramp" if len(rates) == 2 else "constant")
    if (shape == "constant") != (len(rates) == 1):
        wanted = "one rate" if shape == "constant" else "two rates, such as 200/s..800/s"
        raise UsageError(f"a phase of the shape {shape} has {wanted}", where=place, remedy=_EXAMPLE)
    if (shape == "steps") != (match["steps"] is not None):
        raise UsageError("steps, and only they, say into how many", where=place, remedy=_EXAMPLE)
    count = 1 if match["steps"] is None else read_count(match["steps"], place, lowest=2)
    if count > min(_MAX_STEPS, duration_ns):
        raise UsageError(f"{count} steps are more than the {_MAX_STEPS} possible", where=place)
    return Phase(
        text=" ".join(text.split()),
        begin_ns=begin_ns if match["at"] is None else read_duration(match["at"], place, zero=True),
        duration_ns=duration_ns,
        warmup=warmup,
        segments=_segments(shape, process, rates, duration_ns, count),
    )


def _read_words(words: Sequence[str], place: str) -> tuple[str, Process, bool]:
    for word in words:
        if word not in _WORDS:
            raise UsageError(f'unknown word "{word}"', where=place, remedy=f"{suggestion(word, _WORDS)}{_EXAMPLE}")
    shapes = [word for word in words if word in SHAPES]
    processes = [word for word in words if word in PROCESSES]
    if len(shapes) > 1 or len(processes) > 1 or len(set(words)) < len(words):
        raise UsageError(f'"{" ".join(words)}" contradicts itself', where=place, remedy=_EXAMPLE)
    return "".join(shapes), "poisson" if "poisson" in processes else "regular", "warmup" in words


def _read_rates(match: re.Match[str], place: str) -> list[Fraction]:
    """One rate or two; of two, one may be 0."""
    texts = [text for text in (match["first"], match["last"]) if text is not None]
    zeros = [re.fullmatch(r"0+(\.0*)?\s*(/.*)?", text) is not None for text in texts]
    if all(zeros):
        raise UsageError(
            "a rate of 0 starts nothing", where=place, remedy="For a pause, give the next phase an `at`."
        )  # fmt: skip
    return [Fraction(0) if zero else read_rate(text, place) for text, zero in zip(texts, zeros, strict=True)]


def _segments(
    shape: str, process: Process, rates: Sequence[Fraction], duration_ns: int, count: int
) -> tuple[Segment, ...]:
    first, last = rates[0], rates[-1]
    if shape in {"constant", "ramp"}:
        return (_segment(process, duration_ns, first, last),)
    if shape == "spike":
        half_ns = max(duration_ns // 2, 1)
        return tuple(
            _segment(process, length_ns, begin, end)
            for length_ns, begin, end in ((half_ns, first, last), (duration_ns - half_ns, last, first))
            if length_ns
        )
    bounds = [duration_ns * step // count for step in range(count + 1)]
    steps = [first + (last - first) * step / (count - 1) for step in range(count)]
    return tuple(
        _segment(process, end - begin, rate, rate)
        for begin, end, rate in zip(bounds, bounds[1:], steps, strict=False)
    )  # fmt: skip


def _segment(process: Process, duration_ns: int, first: Fraction, last: Fraction) -> Segment:
    kind: Process = process if first or last else "silent"
    return Segment(kind, duration_ns, first.as_integer_ratio(), last.as_integer_ratio())
