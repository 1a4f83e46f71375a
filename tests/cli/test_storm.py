"""Who was online when."""

from __future__ import annotations

import numpy as np

from loadgen.cli.storm import StormWatch
from loadgen.clock import NS_PER_S
from loadgen.protocol.stages import Point
from loadgen.recording.record import Storm
from loadgen.recording.rows import FLAG_ONLINE, FLAGS_COLUMN, ROW_FIELDS, Rows


def online(*times_s: float, flag: int = FLAG_ONLINE) -> Rows:
    rows = np.zeros((len(times_s), len(ROW_FIELDS)), dtype=np.int64)
    rows[:, Point.HELLO_IN] = [int((5 + time) * NS_PER_S) for time in times_s]
    rows[:, FLAGS_COLUMN] = flag
    return rows


def test_shares_of_the_fleet() -> None:
    watch = StormWatch(20, 5 * NS_PER_S)
    watch.add(online(*[20.0 - number for number in range(10)]))
    watch.add(online(1.0, 1.0, flag=0))
    assert not watch.complete
    assert watch.facts() == Storm(devices=20, online=10, online_50_s=20.0)
    watch.add(online(*[10.0 - number for number in range(10)]))
    assert watch.complete
    assert watch.facts() == Storm(
        devices=20, online=20, online_50_s=10.0, online_95_s=19.0, online_99_s=20.0, online_100_s=20.0
    )


def test_nobody_at_all() -> None:
    assert StormWatch(0, 0).facts() == Storm()
    assert StormWatch(3, 0).facts() == Storm(devices=3)
