"""The text of a threshold, read with a position and a suggestion for what is wrong in it.

::

    threshold = metric op value ["over" duration "windows"]
    metric    = ("p(" N ")" | "mean" | "max" | "min" | "med" | "count") "of" STAGE ["[" FIRMWARE "]"]
              | "rate of failures" | "achieved rate" | "failures[" STAGE "/" REASON "]"
    op        = "<" | "<=" | ">" | ">=" | "=="

A value is a duration with a unit where the metric is a time, a percentage or a fraction where it is a share, and
a whole number where it is a count.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Literal

from loadgen.clock import NS_PER_S, NS_PER_US
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Stage
from loadgen.units import format_count, format_duration, parse_count, parse_duration_ns

Kind = Literal["percentile", "mean", "max", "min", "count", "failure_rate", "achieved_rate", "failures"]
Operator = Literal["<", "<=", ">", ">=", "=="]
Unit = Literal["us", "share", "count"]

OPERATORS: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": lambda observed, limit: observed < limit,
    "<=": lambda observed, limit: observed <= limit,
    ">": lambda observed, limit: observed > limit,
    ">=": lambda observed, limit: observed >= limit,
    "==": lambda observed, limit: observed == limit,
}

FAILING_STAGES: Final = ("connect", "nonce", "encrypt", "key", "unwrap", "hello")
"""Stages that a handshake can fail in."""

EXAMPLES: Final = (
    "p(99) of handshake < 250ms",
    "rate of failures < 0.1%",
    "p(99.9) of response < 2s over 10s windows",
    "failures[key/closed] == 0",
)

_STATISTICS: Final[dict[str, Kind]] = {"mean": "mean", "max": "max", "min": "min", "count": "count"}
_FIRST_WORDS: Final = ("mean", "max", "min", "med", "count", "rate", "achieved", "failures")
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<percentile>[pP]\s*\(\s*(?P<number>[^)\s]*)\s*\))|(?P<bracket>\[[^\]]*\])"
    r"|(?P<operator>[<>=!]+)|(?P<word>[^\s\[<>=!]+))"
)
_WORD_BOUND: Final = re.compile(r"\s+(?=over\b)")


class ThresholdError(ValueError):
    """A threshold that cannot be read.

    Attributes:
        text: the whole threshold.
        position: where it goes wrong, counted from 0.
        problem: what is wrong there.
        remedy: what would be right.
    """

    def __init__(self, text: str, position: int, problem: str, remedy: str) -> None:
        super().__init__(text, position, problem, remedy)
        self.text = text
        self.position = position
        self.problem = problem
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{self.problem} at character {self.position + 1} of the threshold\n{self.pointer}\n{self.remedy}"

    @property
    def pointer(self) -> str:
        """The text, and below it a mark at the position."""
        return f"{self.text}\n{' ' * self.position}^"


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold that was understood.

    Attributes:
        text: as it was written.
        kind: what is looked at.
        stage: of a time or a count; the stage of ``failures[…]``.
        quantile: of a percentile, 0.99 for p99; exact as it was written.
        reason: of ``failures[…]``.
        firmware: of one firmware only.
        operator: what has to hold between the observed value and the limit.
        limit: in µs for times, a fraction for shares, a number for counts.
        window_s: length of the windows that it must hold in, None for the whole run.
    """

    text: str
    kind: Kind
    stage: Stage | None
    quantile: Fraction | None
    reason: Reason | None
    firmware: str | None
    operator: Operator
    limit: float
    window_s: int | None

    @property
    def unit(self) -> Unit:
        """Unit of the limit and of what is observed."""
        return _unit(self.kind)

    @property
    def upper(self) -> bool:
        """Whether the value must stay below the limit."""
        return self.operator in ("<", "<=")

    def holds(self, observed: float) -> bool:
        """Whether an observed value is within the limit."""
        return OPERATORS[self.operator](observed, self.limit)


def parse_threshold(text: str) -> Threshold:
    """Read a threshold.

    Raises:
        ThresholdError: it is no threshold; with the position and what would be right.
    """
    return _Reader(text).threshold()


def _unit(kind: Kind) -> Unit:
    if kind in ("failure_rate", "achieved_rate"):
        return "share"
    return "count" if kind in ("count", "failures") else "us"


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    position: int
    number: str = ""


@dataclass(frozen=True, slots=True)
class _Metric:
    kind: Kind
    stage: Stage | None = None
    quantile: Fraction | None = None
    reason: Reason | None = None
    firmware: str | None = None


class _Reader:
    """Reads one text from left to right."""

    def __init__(self, text: str) -> None:
        self.text = re.sub(r"\s", " ", text)  # one line, so that the mark below it stands right
        self.position = 0

    def threshold(self) -> Threshold:
        if not self.text.strip():
            raise self.error(0, "there is nothing", f"Write for example: {EXAMPLES[0]}")
        metric = self.metric()
        operator = self.operator()
        limit = self.value(metric.kind)
        window_s = self.windows()
        return Threshold(
            text=self.text.strip(),
            kind=metric.kind,
            stage=metric.stage,
            quantile=metric.quantile,
            reason=metric.reason,
            firmware=metric.firmware,
            operator=operator,
            limit=limit,
            window_s=window_s,
        )

    # --- metric

    def metric(self) -> _Metric:
        first = self.next("a metric")
        if first.kind == "percentile":
            return self.of_stage("percentile", self.quantile(first))
        word = first.text.lower()
        if word == "med":
            return self.of_stage("percentile", Fraction(1, 2))
        if word in _STATISTICS:
            return self.of_stage(_STATISTICS[word])
        if word == "rate":
            self.expect("of")
            self.expect("failures")
            return _Metric("failure_rate")
        if word == "achieved":
            self.expect("rate")
            return _Metric("achieved_rate")
        if word == "failures":
            return self.failures()
        raise self.error(first.position, f"{first.text!r} is no metric", self.metric_remedy(first.text))

    def metric_remedy(self, wrong: str) -> str:
        shape = re.fullmatch(r"[pP]_?\(?([0-9]+(?:\.[0-9]+)?)", wrong)
        if shape:
            return f'Did you mean "p({shape[1]})"? Percentiles are written p(99).'
        near = _nearest(wrong, (*_FIRST_WORDS, *(stage.value for stage in Stage)))
        if near in set(Stage):
            return f'A stage comes after "of": p(99) of {near} < 250ms'
        return (
            _suggest(wrong, _FIRST_WORDS)
            + "Metrics: p(N), mean, max, min, med or count of a stage, "
            + ('"rate of failures", "achieved rate", failures[STAGE/REASON].')
        )

    def quantile(self, token: _Token) -> Fraction:
        if re.fullmatch(r"[0-9]{1,3}(?:\.[0-9]{1,9})?", token.number):
            percent = Fraction(token.number)
            if 0 < percent <= 100:
                return percent / 100
        position = self.text.index("(", token.position) + 1
        what = f"{token.number!r} is no percentile" if token.number else "the percentile is missing"
        raise self.error(position, what, "Write a number above 0 and up to 100: p(50), p(99), p(99.9).")

    def of_stage(self, kind: Kind, quantile: Fraction | None = None) -> _Metric:
        self.expect("of")
        token = self.next("a stage")
        stage = self.one_of(token, [stage.value for stage in Stage], "stage")
        bracket = self.peek()
        firmware = None
        if bracket is not None and bracket.kind == "bracket":
            self.next("a firmware")
            firmware = bracket.text[1:-1].strip()
            if not firmware:
                raise self.error(bracket.position + 1, "the firmware is missing", "Write for example [p1@0.7.0].")
        return _Metric(kind, Stage(stage), quantile, firmware=firmware)

    def failures(self) -> _Metric:
        bracket = self.peek()
        if bracket is None or bracket.kind != "bracket":
            position = bracket.position if bracket else len(self.text.rstrip())
            raise self.error(
                position,
                "which failures is missing",
                'Write failures[STAGE/REASON], such as failures[key/closed], or "rate of failures".',
            )
        self.next("a failure")
        stage, slash, reason = bracket.text[1:-1].partition("/")
        start = bracket.position + 1
        known = self.one_of(_Token("word", stage.strip(), start), FAILING_STAGES, "stage that a handshake fails in")
        if not slash:
            raise self.error(start + len(stage), "the reason is missing", "Write for example failures[key/closed].")
        reasons = [reason.value for reason in Reason]
        found = self.one_of(_Token("word", reason.strip(), start + len(stage) + 1), reasons, "reason")
        return _Metric("failures", Stage(known), reason=Reason(found))

    # --- operator, value, windows

    def operator(self) -> Operator:
        token = self.next("<, <=, >, >= or ==")
        if token.kind == "operator" and token.text in OPERATORS:
            return token.text  # type: ignore[return-value]
        if token.text.startswith("["):
            raise self.error(token.position, "the bracket is not closed", "Write for example [p1@0.7.0].")
        remedy = {
            "=": "Write == to compare for equality.",
            "=<": "Write <=.",
            "=>": "Write >=.",
            "!=": "There is no !=: write what must hold, such as == 0 or > 0.",
        }.get(token.text, "Write one of <, <=, >, >= and ==.")
        raise self.error(token.position, f"{token.text!r} is no comparison", remedy)

    def value(self, kind: Kind) -> float:
        unit = _unit(kind)
        start = self.skip_blanks()
        rest = self.text[start:]
        bound = _WORD_BOUND.search(rest)
        raw = (rest[: bound.start()] if bound else rest).rstrip()
        examples = {"us": "250ms or 1.5s", "share": "0.1% or 0.001", "count": "0 or 10k"}
        if not raw:
            raise self.error(start, "the limit is missing", f"Write for example {examples[unit]}.")
        readers = {"us": _microseconds, "share": _share, "count": _count}
        try:
            limit = readers[unit](raw)
        except ValueError as error:
            raise self.error(start, *self.value_problem(raw, unit, str(error), examples[unit])) from None
        if unit == "share":
            self.check_share(kind, raw, limit, start)
        self.position = start + len(raw)
        return limit

    def value_problem(self, raw: str, unit: Unit, problem: str, examples: str) -> tuple[str, str]:
        strays = re.match(r"(\S+)\s+(\S+)", raw)
        if strays and _reads(strays[1], unit):
            return f"{strays[2]!r} does not belong behind the limit", 'Only "over 10s windows" may follow it.'
        kinds = {"us": "a time", "share": "a share", "count": "a count"}
        what = problem.split(":", maxsplit=1)[0] if unit == "us" else f"{raw!r} is no limit for {kinds[unit]}"
        return what, f"This metric is {kinds[unit]}: write for example {examples}."

    def check_share(self, kind: Kind, raw: str, limit: float, start: int) -> None:
        """Refuse a percentage without its sign, and a limit that no rate of failures could break."""
        bare = "%" not in raw
        if bare and (limit > 1 or (limit == 1 and kind == "failure_rate")):
            what = f"{raw} without a percent sign is {format_value(limit, 'share')}"
            raise self.error(start, what, f'Did you mean "{raw}%"? A fraction is written 0.001.')
        if kind == "failure_rate" and limit > 1:
            raise self.error(start, f"a rate of failures is never above {raw}", "Write for example 0.1%.")

    def windows(self) -> int | None:
        token = self.peek()
        if token is None:
            return None
        self.expect("over")
        length = self.next("the length of the windows")
        try:
            length_ns = parse_duration_ns(length.text)
        except ValueError as error:
            problem, _, remedy = str(error).partition(": ")
            raise self.error(length.position, problem, f"{remedy.capitalize()}.") from None
        if length_ns % NS_PER_S or not length_ns:
            raise self.error(
                length.position,
                f"windows of {format_duration(length_ns)} are no whole seconds",
                "A record has one histogram a second: write for example 10s.",
            )
        self.expect("windows")
        extra = self.peek()
        if extra is not None:
            raise self.error(extra.position, f"{extra.text!r} is too much", 'A threshold ends after "windows".')
        return length_ns // NS_PER_S

    # --- words

    def skip_blanks(self) -> int:
        while self.position < len(self.text) and self.text[self.position].isspace():
            self.position += 1
        return self.position

    def peek(self) -> _Token | None:
        start = self.skip_blanks()
        if start == len(self.text):
            return None
        match = _TOKEN.match(self.text, start)
        if match is None or match.lastgroup is None:
            return _Token("word", self.text[start], start)  # a lone bracket
        kind = next(name for name in ("percentile", "bracket", "operator", "word") if match[name] is not None)
        return _Token(kind, match[kind], match.start(kind), match["number"] or "")

    def next(self, wanted: str) -> _Token:
        token = self.peek()
        if token is None:
            end = len(self.text.rstrip())
            raise self.error(end, f"the text ends where {wanted} should stand", f"Write for example: {EXAMPLES[0]}")
        self.position = token.position + len(token.text)
        return token

    def expect(self, word: str) -> None:
        token = self.next(f'"{word}"')
        if token.text.lower() != word:
            raise self.error(token.position, f'{token.text!r} stands where "{word}" should', self.expect_remedy(word))

    def expect_remedy(self, word: str) -> str:
        return {
            "of": "Write for example: p(99) of handshake < 250ms",
            "failures": "Write: rate of failures < 0.1%",
            "rate": "Write: achieved rate >= 95%",
        }.get(word, "Write for example: p(99.9) of response < 2s over 10s windows")

    def one_of(self, token: _Token, allowed: Iterable[str], what: str) -> str:
        names = list(allowed)
        word = token.text.lower()
        if token.kind == "word" and word in names:
            return word
        problem = f"{token.text!r} is no {what}" if token.text else f"the {what} is missing"
        raise self.error(token.position, problem, f"{_suggest(word, names)}There are: {', '.join(names)}.")

    def error(self, position: int, problem: str, remedy: str) -> ThresholdError:
        return ThresholdError(self.text, position, problem, remedy)


def _nearest(wrong: str, known: Iterable[str]) -> str | None:
    return next(iter(difflib.get_close_matches(wrong.lower(), list(known), n=1)), None)


def _suggest(wrong: str, known: Iterable[str]) -> str:
    near = _nearest(wrong, known)
    return f'Did you mean "{near}"? ' if near else ""


def _microseconds(raw: str) -> float:
    return parse_duration_ns(raw) / NS_PER_US


def _share(raw: str) -> float:
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,12})?)\s*(%?)", raw)
    if match is None:
        raise ValueError("no share")
    return float(Fraction(match[1]) / (100 if match[2] else 1))


def _count(raw: str) -> float:
    return parse_count(raw)


def _reads(raw: str, unit: Unit) -> bool:
    try:
        {"us": _microseconds, "share": _share, "count": _count}[unit](raw)
    except ValueError:
        return False
    return True


def format_value(value: float | None, unit: Unit) -> str:
    """A limit or an observed value for people: ``250 ms``, ``0.12 %``, ``1,234``."""
    if value is None:
        return "–"
    if unit == "us":
        return _time(value)
    if unit == "share":
        return f"{value * 100:,.0f} %" if value >= 10 else f"{value * 100:.3g} %"
    return format_count(int(value)) if value == int(value) else f"{value:,.1f}"


def _time(value_us: float) -> str:
    """Four significant digits: limits and values that nearly meet must be told apart."""
    for unit, factor in (("s", 1e6), ("ms", 1e3), ("µs", 1.0)):
        if abs(value_us) >= factor:
            return f"{_four_digits(value_us / factor)} {unit}"
    return f"{value_us * 1e3:.4g} ns"


def _four_digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
