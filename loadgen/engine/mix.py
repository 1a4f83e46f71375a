"""Which device of the fleet runs which firmware of a mix. Pure.

A device keeps its firmware, and devices start in the order of their numbers, so the assignment decides what is
measured side by side. It is a randomised block design: each run of devices as long as the smallest in which every
share is a whole number has exactly these shares, in an order drawn from the seed. A strict alternation would give
one of two workers all devices of one firmware; here neither worker, nor key, nor moment goes with a firmware.
"""

from __future__ import annotations

from collections.abc import Sequence

from loadgen.engine.draws import uniform


def assign(parts: Sequence[int], devices: int, seed: int) -> list[int]:
    """The position of each device's firmware, by the device's number; the same for any number of workers.

    Args:
        parts: shares of the firmwares in their smallest whole numbers, such as 3 and 7 for 30 % and 70 %.
        devices: size of the fleet.
        seed: of the order within each block.
    """
    if len(parts) == 1:
        return [0] * devices
    size = sum(parts)
    assigned: list[int] = []
    for begin in range(0, devices, size):
        numbers = range(begin, min(begin + size, devices))
        shuffled = sorted(numbers, key=lambda number: uniform(seed, number, "firmware"))
        block = dict(zip(shuffled, _positions(parts, len(numbers)), strict=True))
        assigned.extend(block[number] for number in numbers)
    return assigned


def sizes(parts: Sequence[int], devices: int) -> list[int]:
    """How many of the devices get each firmware."""
    blocks, rest = divmod(devices, sum(parts))
    return [blocks * part + more for part, more in zip(parts, _apportioned(parts, rest), strict=True)]


def _positions(parts: Sequence[int], length: int) -> list[int]:
    """Positions of the firmwares in a block, in order: each as often as its share wants."""
    return [position for position, count in enumerate(_apportioned(parts, length)) for _ in range(count)]


def _apportioned(parts: Sequence[int], seats: int) -> list[int]:
    """``seats`` divided in proportion to ``parts``, by the largest remainder; the last block may be a short one."""
    size = sum(parts)
    given = [seats * part // size for part in parts]
    by_remainder = sorted(range(len(parts)), key=lambda position: -(seats * parts[position] % size))
    for position in by_remainder[: seats - sum(given)]:
        given[position] += 1
    return given
