"""The text of ``--fail-if``: ``handshake p99 +10%``, or ``slower``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from loadgen.analysis.thresholds import ThresholdError

SLOWER: Final = "slower"
"""The condition that any metric of the family got a verdict for the worse."""

_CHANGE: Final = re.compile(r"(?P<metric>.*?)\s*(?P<sign>[+\-−]?)\s*(?P<number>[0-9]+(?:\.[0-9]+)?)\s*%\s*")
_OF: Final = re.compile(r"p\(?([0-9.]+)\)? of (\w+)")


@dataclass(frozen=True, slots=True)
class Condition:
    """What a comparison is judged by.

    Attributes:
        text: as it was written.
        metric: the metric; empty for :data:`SLOWER`.
        limit: change of it that is a regression, 0.1 for +10 %, below 0 for a fall; 0 for :data:`SLOWER`.
    """

    text: str
    metric: str
    limit: float

    def reached(self, change: float) -> bool:
        """Whether a change is as large as the limit, or larger."""
        return change >= self.limit if self.limit > 0 else change <= self.limit


def parse_condition(text: str, metrics: Collection[str]) -> Condition:
    """Read a condition.

    Args:
        text: what the user wrote.
        metrics: every metric there can be.

    Raises:
        ThresholdError: it is none; with the position and what would be right.
    """
    shown = re.sub(r"\s", " ", text)
    if shown.strip().lower() == SLOWER:
        return Condition(shown.strip(), "", 0.0)
    example = "Write for example: handshake p99 +10%"
    match = _CHANGE.fullmatch(shown)
    if match is None:
        raise ThresholdError(shown, _change_position(shown), "the change is missing", example)
    metric = " ".join(match["metric"].split())
    if metric not in metrics:
        start = len(shown) - len(shown.lstrip())
        problem = f"{metric!r} is no metric" if metric else "the metric is missing"
        raise ThresholdError(shown, start, problem, _metric_remedy(metric, metrics))
    if not match["sign"]:
        raise ThresholdError(
            shown, match.start("number"), "the direction is missing", f"Write {metric} +{match['number']}% or -…%."
        )
    limit = float(match["number"]) / 100
    if not limit:
        raise ThresholdError(shown, match.start("number"), "a change of 0 % is none", example)
    return Condition(shown.strip(), metric, limit if match["sign"] == "+" else -limit)


def _change_position(text: str) -> int:
    """Where the change should stand: behind the last word that is part of no number."""
    sign = re.search(r"[+\-−]\s*\S*\s*$", text)
    return sign.start() if sign else len(text.rstrip())


def _metric_remedy(wrong: str, metrics: Collection[str]) -> str:
    turned = _OF.fullmatch(wrong)
    if turned and f"{turned[2]} p{turned[1]}" in metrics:
        return f'Did you mean "{turned[2]} p{turned[1]}"?'
    near = difflib.get_close_matches(wrong, list(metrics), n=3)
    if near:
        return "Did you mean " + ", ".join(f'"{name}"' for name in near) + "?"
    return "A metric is a stage and a statistic, such as handshake p99, or failures rate."
