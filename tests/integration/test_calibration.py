"""A small calibration: the program against its own mock cloud. How good it is depends on the machine: not judged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from loadgen.cli import main
from loadgen.errors import ExitCode
from loadgen.kernel import has_kernel_stamps


@pytest.mark.parametrize(
    "stamps",
    [
        "user",
        pytest.param(
            "kernel",
            marks=pytest.mark.skipif(not has_kernel_stamps(), reason="this kernel does not stamp what sockets receive"),
        ),
    ],
)
def test_every_handshake_is_found_in_the_clouds_notes(
    stamps: str, fleet_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--rate", "300/s", "--warmup", "200ms", "--count", "300", "--workers", "2", "--fault", "key:close:5%"]
    places = ["--fleet", str(fleet_path), "--out", str(tmp_path)]
    code = main(["run", "--calibrate", *options, *places, "--timestamps", stamps, "--seed", "4", "--json", "-q"])
    document = json.loads(capsys.readouterr().out)
    assert code in {ExitCode.INCONCLUSIVE, ExitCode.THRESHOLD_FAILED}, "300 are too few for p99.9"
    calibration = document["calibration"]
    assert document["counts"]["failed"] > 0
    assert calibration["found"] == calibration["handshakes"] == document["counts"]["completed"]
    judged = {(each["stage"], each["percentile"]): each for each in calibration["percentiles"]}
    for stage in ("nonce", "key", "hello"):
        assert judged[stage, "p50"]["truth_us"] > 0
        assert judged[stage, "p50"]["measured_us"] == document["stages"][stage]["p50_us"]
        assert judged[stage, "p999"]["outcome"] == "no_data"
    assert document["environment"]["timestamps"] == stamps
