"""Several firmwares in one run, against a real cloud: equal ones look equal, one that is 5 ms slower does not."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadgen.analysis.blocks import BlockChange, compare_blocks
from loadgen.cli import main
from loadgen.clock import NS_PER_MS, NS_PER_S
from loadgen.engine.arrival import Segment
from loadgen.engine.plan import Pace, Target
from loadgen.errors import ExitCode
from loadgen.fleet.keystore import FleetStore
from loadgen.mockcloud.cloud import MockCloud
from loadgen.mockcloud.settings import CloudSettings
from loadgen.protocol.firmware import firmware
from loadgen.protocol.stages import Point, Stage
from loadgen.recording.histogram import Histogram
from loadgen.recording.recorder import Recorder
from loadgen.recording.rows import FIRMWARE_COLUMN, Rows
from tests.engine.fakes import firmware_plan
from tests.integration.test_pool import Gathered, plan

SLOW = Pace(encrypt_ns=20 * NS_PER_MS)
SLOWER = Pace(encrypt_ns=25 * NS_PER_MS)
NAMES = ("p1@0.6.4", "p1@0.7.0", "p1@0.5.5")
"""The first two are paced alike, the third is 5 ms slower; their handshakes have the same bytes."""
PACES = dict(zip(NAMES, (SLOW, SLOW, SLOWER), strict=True))
SECONDS = 3
BLOCK_NS = 200 * NS_PER_MS
"""Of a run of seconds; a record has blocks of whole seconds."""


def blocks_of(rows: Rows, index: int, begin_ns: int) -> dict[int, Histogram]:
    """Handshakes of one firmware by block, as the recorder counts them."""
    found = {}
    numbers = (rows[:, Point.HELLO_IN] - begin_ns) // BLOCK_NS
    for number in range(SECONDS * NS_PER_S // BLOCK_NS):
        recorder = Recorder(NAMES, begin_ns)
        recorder.add_rows(rows[(numbers == number) & (rows[:, FIRMWARE_COLUMN] == index)])
        found[number] = recorder.histogram(Stage.HANDSHAKE)
    return found


def test_equal_firmwares_look_equal_and_five_milliseconds_show(fleet: FleetStore) -> None:
    assert fleet.server_key_der is not None
    mix = tuple(firmware_plan(firmware(name), pace=PACES[name]) for name in NAMES)
    poisson = (Segment("poisson", SECONDS * NS_PER_S, (150, 1), (150, 1)),)
    with MockCloud(CloudSettings(server_key=fleet.server_key_der, port=0, workers=1)) as cloud:
        load = plan(
            fleet,
            Target(*cloud.start()),
            firmwares=mix,
            segments=poisson,
            rate_numerator=0,
            count=None,
            duration_ns=SECONDS * NS_PER_S,
            seed=5,
        )
        run = Gathered(load, 2)
    started = run.pool.counts.started_of
    assert sum(started) == run.pool.counts.started == len(run.rows)
    assert Counter(run.rows[:, FIRMWARE_COLUMN].tolist()) == dict(enumerate(started))
    assert max(started) - min(started) < 30, "thirds of some 450"
    sides = [blocks_of(run.rows, index, run.begin_ns) for index in range(len(NAMES))]
    equal, slower = (_change(sides[0], other) for other in sides[1:])
    # Twice and more the intervals' half widths: by chance alone less than once in ten thousand runs.
    assert equal.change < 2.2 * (equal.high - equal.change)
    assert equal.change > 2.2 * (equal.low - equal.change)
    assert slower.low > 0
    assert slower.p < 0.01
    base_ms, slower_ms = (_median_ms(sides[index]) for index in (0, 2))
    assert slower_ms - base_ms == pytest.approx(5, abs=1.5)


def _change(base: dict[int, Histogram], new: dict[int, Histogram]) -> BlockChange:
    return compare_blocks([base], [new], [0.5], np.random.default_rng(1), paired=True)[0.5]


def _median_ms(blocks: dict[int, Histogram]) -> float:
    median_ns = Histogram.merge(blocks.values()).quantile_ns(0.5)
    assert median_ns is not None
    return median_ns / NS_PER_MS


def document(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """What a command prints as JSON."""
    assert main([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_mix_from_the_command_line_to_its_report(
    fleet_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mix = ["--firmware", "p1@0.6.4=25%,p1@0.7.0", "--device-pace", "encrypt=15ms,unwrap=10ms,rtt=5ms"]
    load = ["--fleet", str(fleet_path), "--rate", "100/s", "--duration", "2s", "-q"]
    run = document(capsys, "run", *mix, *load, "--out", str(tmp_path), "--product-id", "77")
    assert [(facts["name"], facts["weight"]) for facts in run["firmware"]] == [("p1@0.6.4", 0.25), ("p1@0.7.0", 0.75)]
    counts = [facts["counts"] for facts in run["firmware"]]
    assert sum(count["started"] for count in counts) == run["counts"]["started"] == 200
    assert [count["started"] for count in counts] == pytest.approx([50, 150], abs=4)
    for count, facts in zip(counts, run["firmware"], strict=True):
        assert count["completed"] == facts["stages"]["key"]["count"] == count["started"]
        assert facts["stages"]["encrypt"]["min_us"] >= 20_000
        assert facts["stages"]["unwrap"]["min_us"] >= 15_000
    assert run["scenario"]["product_id"] == 77
    assert run["scenario"]["device_pace"] == ["encrypt=15ms,unwrap=10ms,rtt=5ms"]
    assert main(["report", run["path"]]) == 0
    shown = capsys.readouterr().out
    assert "p1@0.6.4  handshake" in shown
    assert f"loadgen compare {run['path']}" in shown
    passing, failing = "p(50) of handshake[p1@0.7.0] > 35ms", "p(50) of handshake[p1@0.6.4] < 20ms"
    assert main(["gate", run["path"], "--threshold", passing]) == 0
    assert main(["gate", run["path"], "--threshold", failing]) == ExitCode.THRESHOLD_FAILED


@pytest.mark.long
def test_a_comparison_within_a_run_of_the_command_line(
    fleet_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paces = [part for name in NAMES for part in ("--device-pace", f"{name}:encrypt={PACES[name].encrypt_ns}ns")]
    # With the delay a busy machine's late starts are small beside the cloud's median: the run stays valid.
    load = [
        "--fleet",
        str(fleet_path),
        "--phase",
        "poisson 150/s for 40s",
        "--delay",
        "nonce:constant=20ms",
        "--seed",
        "9",
        "-q",
    ]
    run = document(capsys, "run", "--firmware", ",".join(NAMES), *paces, *load, "--out", str(tmp_path))
    verdicts = {}
    for other in NAMES[1:]:
        chosen = ["--firmware", NAMES[0], "--firmware", other]
        rows = document(capsys, "compare", run["path"], *chosen)["rows"]
        verdicts[other] = {row["metric"]: row["verdict"] for row in rows}
        code = ExitCode.OK if other == NAMES[1] else ExitCode.REGRESSION
        document(capsys, "compare", run["path"], *chosen, "--fail-if", "handshake p50 +10%", code=code)
    assert verdicts[NAMES[1]]["handshake p50"] == "none"
    assert verdicts[NAMES[2]]["handshake p50"] == "slower"
    assert verdicts[NAMES[2]]["cloud p50"] == "none"
