"""What loadgen reports against what its mock cloud did: the error of every stage's percentiles. Pure.

The two sides share nothing but the wire and the clock. A handshake is found again in the cloud's notes by its times
alone, so that nothing has to be added to what is measured: its ciphertext and its Hello cannot have come before they
were sent, its answers cannot have left after they arrived, and of the handshakes that fit the one whose two messages
came soonest is its own. How late the generator believes an answer to have come plays no part.

Truth is, for ``key`` and ``hello``, the time from the arrival of the message at the cloud to the begin of the answer's
send, and for ``nonce`` the time from the connection's establishment to that: the cloud hears of a connection only
when it accepts it, so the begin is the device's. The error is then the way through the kernel twice, and whatever
the generator does wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen.clock import NS_PER_US
from loadgen.mockcloud.timings import TIMED_STAGES, TIMING_FIELDS, Timings
from loadgen.protocol.stages import Point, Stage
from loadgen.recording.histogram import Histogram, exact_fraction
from loadgen.recording.record import PERCENTILES, CalibratedPercentile, Calibration, Outcome, microseconds
from loadgen.recording.rows import Rows

CALIBRATED: Final = tuple(Stage(stage.value) for stage in TIMED_STAGES)
"""Stages that are judged: those in which the cloud answers."""
QUANTILES: Final = {name: PERCENTILES[name] for name in ("p50", "p90", "p99", "p999")}
"""Percentiles that are judged."""
ERROR_FLOOR_NS: Final = 100_000
"""An error up to this is allowed whatever the truth."""
ERROR_SHARE: Final = 0.01
"""Share of the truth that the error may reach where that is more."""
MISSING_SHARE: Final = 0.01
"""Handshakes that were not found may be so many of those above a percentile, or it is not judged."""

_SLACK_NS: Final = 1_000
"""How wrong a kernel's stamp may be, which is moved from another clock. More would mix up messages sent in one go: a
process sends the next one some 15 µs later."""
_CANDIDATES: Final = 32
"""So many handshakes are compared with each: those whose ciphertexts came to the cloud next."""
_BLOCK: Final = 8_192
_NEVER: Final = -1

_Ints = NDArray[np.int64]
_NONCE, _KEY, _HELLO = range(3)


@dataclass(frozen=True, slots=True)
class Journeys:
    """Handshakes as the cloud saw them, by the arrival of their ciphertext. ``received`` and ``sent`` are instants on
    CLOCK_MONOTONIC in ns, shape (3, n), one row for each of :data:`CALIBRATED`."""

    received: _Ints
    sent: _Ints


def journeys(timings: Timings) -> Journeys:
    """The handshakes of which every answer was sent.

    Args:
        timings: int64 of shape (n, 5), columns as in :data:`loadgen.mockcloud.timings.TIMING_FIELDS`, in any order.
    """
    stage, number, received, _, sent = (timings[:, column] for column in range(len(TIMING_FIELDS)))
    numbers, position = np.unique(number, return_inverse=True)
    table = np.full((2, len(CALIBRATED), len(numbers)), _NEVER, dtype=np.int64)
    table[0, stage, position.ravel()] = received
    table[1, stage, position.ravel()] = sent
    table = table[:, :, (table[1] != _NEVER).all(axis=0)]
    table = table[:, :, np.argsort(table[0, _KEY], kind="stable")]
    return Journeys(table[0], table[1])


def match(rows: Rows, seen: Journeys) -> _Ints:
    """For each handshake its position in ``seen``, or -1 where none fits.

    Args:
        rows: completed handshakes as the generator recorded them, int64 of shape (n, 8 or more), the first eight
            columns as :class:`~loadgen.protocol.stages.Point` orders them.
        seen: the cloud's side.
    """
    found = np.full(len(rows), _NEVER, dtype=np.int64)
    free = np.ones(seen.sent.shape[1], dtype=bool)
    if not free.size:
        return found
    order = np.argsort(rows[:, Point.CIPHERTEXT_OUT], kind="stable")
    for begin in range(0, len(order), _BLOCK):
        block = order[begin : begin + _BLOCK]
        candidates, distance = _distances(rows[block], seen)
        _assign(block, candidates, distance, found, free)
    return found


def _distances(rows: Rows, seen: Journeys) -> tuple[_Ints, NDArray[np.float64]]:
    """Candidates of each handshake and how far each is from it in ns, infinite where it cannot be the same one."""
    count = seen.sent.shape[1]  # at least one
    first = np.searchsorted(seen.received[_KEY], rows[:, Point.CIPHERTEXT_OUT] - _SLACK_NS)
    candidates = first[:, np.newaxis] + np.arange(min(_CANDIDATES, count))
    exists = candidates < count
    candidates = np.where(exists, candidates, 0)
    distance = np.zeros(candidates.shape)
    for stage, begin, end in ((_KEY, Point.CIPHERTEXT_OUT, Point.KEY_IN), (_HELLO, Point.HELLO_OUT, Point.HELLO_IN)):
        there = seen.received[stage][candidates] - rows[:, begin, np.newaxis]
        back = rows[:, end, np.newaxis] - seen.sent[stage][candidates]
        exists &= (there >= -_SLACK_NS) & (back >= -_SLACK_NS)
        distance += np.abs(there)
    distance[~exists] = np.inf
    return candidates, distance


def _assign(
    block: _Ints, candidates: _Ints, distance: NDArray[np.float64], found: _Ints, free: NDArray[np.bool_]
) -> None:
    """Give each handshake of the block the nearest candidate that no nearer handshake wants."""
    waiting = np.arange(len(block))
    while waiting.size:
        reachable = np.where(free[candidates[waiting]], distance[waiting], np.inf)
        choice = np.argmin(reachable, axis=1)
        length = reachable[np.arange(len(waiting)), choice]
        possible = np.isfinite(length)
        waiting, choice, length = waiting[possible], choice[possible], length[possible]
        wanted = candidates[waiting, choice]
        nearest = np.argsort(length, kind="stable")
        taken, at = np.unique(wanted[nearest], return_index=True)
        winners = nearest[at]
        found[block[waiting[winners]]] = taken
        free[taken] = False
        waiting = np.delete(waiting, winners)


def truths(rows: Rows, seen: Journeys, found: _Ints) -> dict[Stage, _Ints]:
    """How long the answers of the handshakes that were found really took, ns, by stage."""
    rows, at = rows[found != _NEVER], found[found != _NEVER]
    took = seen.sent[:, at] - seen.received[:, at]
    took[_NONCE] = np.maximum(seen.sent[_NONCE, at] - rows[:, Point.CONNECTED], 0)
    return dict(zip(CALIBRATED, took, strict=True))


def calibrate(rows: Rows, timings: Timings, histogram_of: Callable[[Stage], Histogram]) -> Calibration:
    """Hold what a run reports against what its mock cloud wrote down.

    Args:
        rows: every completed handshake of the recorded window, as for :func:`match`.
        timings: the cloud's notes, as for :func:`journeys`.
        histogram_of: the run's histogram of a stage, the one that its record is made from.
    """
    seen = journeys(timings)
    found = match(rows, seen)
    missing = int(np.count_nonzero(found == _NEVER))
    judged = [
        _judge(stage, name, histogram_of(stage), truth, missing)
        for stage, truth in truths(rows, seen, found).items()
        for name in QUANTILES
    ]
    return Calibration(
        outcome=_worst(each.outcome for each in judged),
        handshakes=len(rows),
        found=len(rows) - missing,
        percentiles=judged,
    )


def _judge(stage: Stage, name: str, measured: Histogram, truth: _Ints, missing: int) -> CalibratedPercentile:
    """One percentile of one stage: the value of the record against the same rank of the truth."""
    quantile = QUANTILES[name]
    value_ns = measured.percentile_ns(quantile)
    above = float(1 - exact_fraction(quantile)) * measured.count
    if value_ns is None or not truth.size or missing > MISSING_SHARE * above:
        return CalibratedPercentile(stage=stage.value, percentile=name, outcome="no_data")
    rank = max(1, math.ceil(exact_fraction(quantile) * truth.size))
    truth_ns = int(np.partition(truth, rank - 1)[rank - 1])
    limit_ns = max(ERROR_FLOOR_NS, ERROR_SHARE * truth_ns)
    return CalibratedPercentile(
        stage=stage.value,
        percentile=name,
        truth_us=microseconds(truth_ns),
        measured_us=microseconds(value_ns),
        error_us=microseconds(value_ns - truth_ns),
        limit_us=limit_ns / NS_PER_US,
        outcome="pass" if abs(value_ns - truth_ns) <= limit_ns else "fail",
    )


def _worst(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome of all together: no data is not a pass."""
    found = set(outcomes)
    return "fail" if "fail" in found else "pass" if found == {"pass"} else "no_data"
