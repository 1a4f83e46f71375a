"""What loadgen reports of a cloud behind a proxy, against what that proxy says it did: delays and a stall."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from loadgen.clock import NS_PER_MS
from loadgen.engine.plan import Target
from loadgen.fleet.keystore import FleetStore
from loadgen.kernel import has_kernel_stamps
from loadgen.protocol.stages import STAGE_BOUNDS, Point, Stage
from tests.integration.test_pool import Gathered, plan
from tests.integration.test_pool import target as target  # noqa: PLC0414 - a fixture

ROOT = Path(__file__).parents[2]
COUNT, RATE = 160, 80
STALL_AT, STALL_MS = 60, 400
"""As many as arrive in the stall have to fit into the fleet of fifty."""
SLACK_NS = NS_PER_MS // 10
"""Between the clocks of kernel stamps and of programs, and of a round-trip time given in µs."""


class Proxy:
    """The proxy's process."""

    def __init__(self, upstream: int, *options: int) -> None:
        command = [sys.executable, "-m", "tests.integration.delaying_proxy", str(upstream), *map(str, options)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=-1, stdout=-1, text=True)
        assert self._process.stdout is not None
        self.target = Target("127.0.0.1", int(self._process.stdout.readline()))

    def end(self) -> dict[str, Any]:
        """What it did."""
        out, _ = self._process.communicate("")
        document: dict[str, Any] = json.loads(out)
        return document


@pytest.fixture(scope="module")
def run(fleet: FleetStore, target: Target) -> tuple[Gathered, dict[str, Any]]:
    """A run through the proxy, which stalls once, and the proxy's own account."""
    proxy = Proxy(target.port, 7, STALL_AT, STALL_MS)
    load = plan(
        fleet,
        proxy.target,
        rate_numerator=RATE,
        count=COUNT,
        max_in_flight=COUNT,
        kernel_stamps=has_kernel_stamps(),
    )
    try:
        gathered = Gathered(load, 1)
    finally:
        account = proxy.end()
    return gathered, account


@pytest.mark.parametrize("stage", [Stage.NONCE, Stage.KEY, Stage.HELLO])
def test_stages_are_what_the_proxy_took(run: tuple[Gathered, dict[str, Any]], stage: Stage) -> None:
    gathered, account = run
    assert gathered.pool.counts.completed == COUNT
    begin, end = STAGE_BOUNDS[stage]
    measured = np.sort(gathered.rows[:, end] - gathered.rows[:, begin])
    truth = np.sort([sent - came for name, came, sent in account["answers"] if name == stage.value])
    assert len(truth) == COUNT
    # Every measured interval encloses the proxy's own, so that no rank of the one can lie below that of the other.
    assert (measured >= truth - SLACK_NS).all()
    for quantile in (0.5, 0.9):
        assert np.quantile(measured, quantile) - np.quantile(truth, quantile) < 25 * NS_PER_MS, "the proxy reads late"


def test_a_stall_is_the_clouds_and_not_the_generators(run: tuple[Gathered, dict[str, Any]]) -> None:
    gathered, account = run
    begin_ns, end_ns = account["stall"]
    assert end_ns - begin_ns == STALL_MS * NS_PER_MS
    intended, started = gathered.rows[:, Point.INTENDED], gathered.rows[:, Point.STARTED]
    stalled = (intended > begin_ns) & (intended < end_ns)
    assert stalled.sum() == pytest.approx(RATE * STALL_MS / 1_000, abs=2), "starts go on"
    assert np.median((started - intended)[stalled]) < 25 * NS_PER_MS
    response = gathered.rows[:, Point.HELLO_IN] - intended
    assert (response[stalled] >= (end_ns - intended)[stalled] - SLACK_NS).all()
    assert not ((gathered.rows[:, Point.NONCE_IN] > begin_ns + NS_PER_MS) & stalled &
                (gathered.rows[:, Point.NONCE_IN] < end_ns - SLACK_NS)).any()  # fmt: skip
