"""The sample of gaps is bounded and even."""

from __future__ import annotations

import numpy as np

from loadgen.engine.gaps import GapSample


def pairs(sample: GapSample) -> np.ndarray:
    return np.frombuffer(sample.tobytes(), dtype=np.int64).reshape(-1, 2)


def test_gaps_are_those_of_neighbours() -> None:
    sample = GapSample()
    for intended, started in ((10, 11), (20, 25), (50, 51)):
        sample.saw(intended, started)
    assert pairs(sample).tolist() == [[10, 14], [30, 26]]


def test_one_start_has_no_gap() -> None:
    sample = GapSample()
    sample.saw(0, 5)
    assert sample.tobytes() == b""


def test_a_long_run_is_sampled_evenly() -> None:
    sample = GapSample()
    at = 0
    for turn in range(100_000):
        at += turn  # the gap says where in the run it was
        sample.saw(at, at)
    kept = pairs(sample)
    assert 4_000 < len(kept) <= 8_192
    places = kept[:, 0]
    assert np.diff(places).min() >= 8
    assert np.diff(places).max() <= 32
    assert places[0] < 100
    assert places[-1] > 99_900
