from __future__ import annotations

import math

from loadgen.mockcloud.draws import _GAMMA, _MASK, Draws, _mix

COUNT = 20_000


def test_it_is_splitmix64() -> None:
    """The generator's first values from the seed 0, as its public reference implementation (splitmix64.c) gives."""
    values = [_mix(_GAMMA * turn & _MASK) for turn in (1, 2, 3)]
    assert values == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]


def test_the_values_of_a_seed_never_change() -> None:
    """Recorded runs name their seed: another function would make them irreproducible."""
    drawn = [Draws(7, "fault key").at(number) for number in range(3)]
    assert drawn == [0.37753813879195797, 0.7384815485919315, 0.44719083199529763]


def test_they_lie_within_the_open_interval_and_are_uniform() -> None:
    drawn = sorted(Draws(1, "x").at(number) for number in range(COUNT))
    assert 0 < drawn[0] < drawn[-1] < 1
    distance = max(abs(value - (rank + 0.5) / COUNT) for rank, value in enumerate(drawn))
    assert distance < 1.36 / math.sqrt(COUNT)  # Kolmogorov-Smirnov, 5 %


def test_purposes_seeds_and_neighbours_are_independent() -> None:
    first = [Draws(1, "fault key").at(number) for number in range(COUNT)]
    for other in (
        [Draws(1, "fault hello").at(number) for number in range(COUNT)],
        [Draws(2, "fault key").at(number) for number in range(COUNT)],
        [*first[1:], first[0]],
    ):
        correlation = 12 * sum((a - 0.5) * (b - 0.5) for a, b in zip(first, other, strict=True)) / COUNT
        assert abs(correlation) < 3 / math.sqrt(COUNT)


def test_the_largest_seed_and_number() -> None:
    assert 0 < Draws(2**64 - 1, "x").at(2**62) < 1
