"""Whether a threshold leaves a run room to vary: one that lies within the noise fails by chance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from loadgen.analysis.compare import NOISE_FACTOR, Caution, narrow_limit
from loadgen.analysis.runvalues import RunValues
from loadgen.analysis.statistics import median, noise_of
from loadgen.analysis.thresholds import Threshold


def narrow_thresholds(thresholds: Iterable[Threshold], runs: Sequence[RunValues]) -> list[Caution]:
    """Thresholds nearer to the median of these runs than three times their noise.

    Only those that hold for whole runs and all firmwares are looked at, and only with 3 runs or more.
    """
    found = []
    for threshold in thresholds:
        metric = _metric(threshold)
        values = [run.values[metric] for run in runs if metric in run.values]
        noise = noise_of(values)
        if noise is None or threshold.window_s is not None or threshold.firmware is not None:
            continue
        room = abs(threshold.limit - median(values)) / abs(median(values)) if median(values) else math.inf
        if narrow_limit(room, noise):
            found.append(
                Caution(
                    code="narrow_gate",
                    text=f"{threshold.text}: the limit is {room * 100:.2g} % from the median of these runs, less than "
                    f"three times their noise ({noise * 100:.2g} %), so chance decides.",
                    remedy=f"Leave at least {math.ceil(noise * NOISE_FACTOR * 100)} %, or make runs quieter: longer, "
                    "on a machine of their own.",
                )
            )
    return found


def _metric(threshold: Threshold) -> str:
    """The metric of a comparison that the threshold is about; empty if there is none."""
    if threshold.kind == "percentile" and threshold.quantile is not None:
        return f"{threshold.stage} p{float(threshold.quantile * 100):g}"
    if threshold.kind in ("mean", "max"):
        return f"{threshold.stage} {threshold.kind}"
    return "failures rate" if threshold.kind == "failure_rate" else ""
