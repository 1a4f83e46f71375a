"""What is certain of a threshold before its run begins: that it cannot pass, for want of data.

Only upper bounds are used, so a threshold that is named here is one that no luck could have decided. Where the load has
no bound, as in the closed loop without a count, nothing is said of samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from loadgen.analysis.gates import ALMOST_S, too_few_for_share
from loadgen.analysis.thresholds import Threshold
from loadgen.recording.histogram import samples_needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Prospect:
    """What a run is going to be, as far as that is certain.

    Attributes:
        offered: whether a rate is offered, which a run could fall behind.
        duration_s: length of the recorded window; None where a count alone ends the run.
        most_starts: handshakes that the recorded window can have at most; None without a bound.
    """

    offered: bool
    duration_s: float | None
    most_starts: int | None


def hopeless(threshold: Threshold, run: Prospect) -> str:
    """Why a threshold cannot pass in such a run for want of data, without a full stop; empty if it may."""
    if threshold.kind == "achieved_rate" and not run.offered:
        return "no rate is offered, as in a closed loop"
    windows = 1
    if threshold.window_s is not None and run.duration_s is not None:
        windows = int((run.duration_s + ALMOST_S) // threshold.window_s)
        if not windows:
            return f"a run of {run.duration_s:g} s has no full window of {threshold.window_s} s"
    if run.most_starts is None:
        return ""
    return _too_few(threshold, run.most_starts // windows, "window" if windows > 1 else "run")


def _too_few(threshold: Threshold, most: int, where: str) -> str:
    """``most``: where each of several windows has more samples than that, there are more than the run can make."""
    if threshold.kind == "percentile" and threshold.quantile is not None:
        needed = samples_needed(float(threshold.quantile))
        name = f"p{float(threshold.quantile * 100):g}"
        return "" if most >= needed else f"{name} takes {needed:,} samples, and a {where} makes {most:,} at most"
    if threshold.kind == "failure_rate" and threshold.upper and threshold.limit > 0 and most * threshold.limit < 1:
        return f"{too_few_for_share(threshold)}, and a {where} makes {most:,} at most"
    return ""


def starts_at_most(per_s: float, duration_s: float) -> int:
    """Starts at a constant rate that can fall into so many seconds."""
    return math.ceil(per_s * duration_s)
