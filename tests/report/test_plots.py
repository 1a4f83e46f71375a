"""What plots show: numbers in their unit, from records and their logs."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from loadgen.analysis.gates import view_of_record
from loadgen.cli.records import load_run
from loadgen.protocol.stages import Stage
from loadgen.recording.histogram import Histogram
from loadgen.recording.record import FailureTally, IntervalLine
from loadgen.report import overtime, plots
from loadgen.report.detail import LADDER_STAGES
from loadgen.report.plots import RunData
from loadgen.report.verdicts import summarise_gates
from loadgen.store import read_intervals
from tests.report.crypto_samples import full_record
from tests.report.made_logs import write_logged
from tests.report.samples import bad_record, empty_record, good_record

FIXTURE = Path(__file__).parents[1] / "fixtures" / "record-1"
GATES = summarise_gates(good_record(), "results/run", [], view_of_record(good_record(), lambda *_: None, list))


def data_of(folder: Path) -> RunData:
    """A record with its logs."""
    run = load_run(folder)
    wanted: list[tuple[Stage, str | None]] = [(stage, None) for stage in LADDER_STAGES]
    wanted += [(Stage.HANDSHAKE, facts.name) for facts in run.record.firmware if len(run.record.firmware) > 1]
    return RunData(run.record, run.shown, GATES, run.read_seconds(wanted), list(read_intervals(folder)))


def line(second: int, *, completed: int = 0, kinds: dict[str, int] | None = None) -> IntervalLine:
    """A second with failures ``{reason: count}``."""
    failures = [
        FailureTally(stage="key", reason=reason, device_code=None, firmware="p1@0.7.0", count=count)
        for reason, count in (kinds or {}).items()
    ]
    return IntervalLine(
        second=second,
        time="",
        intended=completed,
        started=completed,
        completed=completed,
        failed=sum(failure.count for failure in failures),
        aborted=0,
        session_failed=0,
        in_flight=second,
        waiting=0,
        firmware={},
        failures=failures,
        session_failures=[],
        worker_cpu_s=[0.5, 0.25],
        mock_cloud_cpu_s=[],
    )


def test_spectrum_is_that_of_the_log_and_thin_where_samples_are_few() -> None:
    run = data_of(FIXTURE)
    plot = plots.spectrum(run)
    assert plot is not None
    shown = plot.data["lines"][0]
    assert [found["name"] for found in plot.data["lines"]] == [stage.value for stage in LADDER_STAGES]
    histogram = run.histogram(Stage.HANDSHAKE)
    assert histogram.count == 600
    median = next(y for x, y in shown["solid"] if x >= 2)
    assert median == pytest.approx((histogram.quantile_ns(0.5) or 0) / 1e6, rel=1e-3)
    assert all(x <= 60 for x, _ in shown["solid"])
    assert shown["thin"][0] == shown["solid"][-1]
    assert shown["thin"][-1][1] == pytest.approx((histogram.quantile_ns(1.0) or 0) / 1e6, rel=1e-3)
    for found in (shown["solid"], shown["thin"]):
        assert all(left <= right for left, right in pairwise(found))


def test_spectrum_of_a_record_without_its_log_has_the_percentiles_of_the_record() -> None:
    plot = plots.spectrum(RunData(good_record(), "results/run", GATES))
    assert plot is not None
    assert plot.data["lines"][0]["solid"][0] == [2.0, 1.902]
    assert plots.spectrum(RunData(empty_record(), "results/run", GATES)) is None


def test_waterfall_adds_up() -> None:
    plot = plots.stage_waterfall(data_of(FIXTURE))
    assert plot is not None
    bars = plot.data["bars"]
    for before, after in pairwise(bars):
        assert after["begin"] == pytest.approx(before["begin"] + before["length"], rel=1e-3)
    assert {bar["side"] for bar in bars} == {"ours", "cloud"}


def test_heat_map_holds_every_handshake_once(tmp_path: Path) -> None:
    write_logged(tmp_path / "run", seconds=130, per_second=40)
    plot = overtime.heat_map(data_of(tmp_path / "run"))
    assert plot is not None
    cells = plot.data["cells"]
    assert sum(count for _, _, count in cells) == 130 * 40
    assert len(plot.data["times"]) == 65, "columns of two seconds"
    assert max(column for column, _, _ in cells) == 64
    assert max(row for _, row, _ in cells) <= len(plot.data["rows"]) - 2
    assert plot.data["most"] == max(count for _, _, count in cells)
    assert sum(int(row[1].replace(",", "")) for row in plot.table.rows) == 130 * 40
    assert len(plot.table.rows) <= overtime.MOST_ROWS


@pytest.mark.parametrize("values", [[1], [0], [1_000], [999, 1_000], [1, 3_600_000_000_000], [5_000_000] * 3])
def test_bounds_enclose_every_value(values: list[int]) -> None:
    histogram = Histogram.of_values(np.array(values))
    bounds = overtime.bucket_bounds_ns([histogram])
    assert 2 <= len(bounds) <= 41
    assert bounds[0] <= max(min(values), 1) * 1.001
    assert bounds[-1] > max(values)


def test_lines_over_time_are_means_of_their_columns() -> None:
    lines = [line(second, completed=10 * second) for second in range(5)]
    run = RunData(good_record(), "results/run", GATES, intervals=lines)
    rates = overtime.over_time(run, points=2)[0]
    assert rates.data["width"] == 3
    completed = next(found for found in rates.data["lines"] if found["name"] == "completed")
    assert completed["points"] == [[0, 10.0], [3, 35.0]], "the last column has two seconds"
    in_flight = overtime.over_time(run, points=2)[1].data["lines"][0]
    assert in_flight["points"] == [[0, 2], [3, 4]]


def test_many_kinds_of_failures_are_all_in_the_sum() -> None:
    kinds = {f"kind_{number}": number for number in range(1, 1_001)}
    run = RunData(good_record(), "results/run", GATES, intervals=[line(0, kinds=kinds)])
    plot = next(found for found in overtime.over_time(run) if found.title == "Failures")
    assert [found["name"] for found in plot.data["lines"]][:2] == ["key/kind_1000", "key/kind_999"]
    assert plot.data["lines"][-1]["name"] == overtime.OTHER_KINDS
    total = sum(found["points"][0][1] for found in plot.data["lines"])
    assert total == pytest.approx(sum(kinds.values()), rel=1e-3)


def test_nothing_is_drawn_without_logs() -> None:
    run = RunData(empty_record(), "results/run", GATES)
    assert overtime.over_time(run) == []
    assert overtime.heat_map(run) is None
    assert plots.stage_waterfall(run) is None
    assert plots.compared_spectrum([run, run]) is None
    assert plots.compared_stages([run, run]) is None
    assert overtime.compared_rates([run, run]) is None


def test_firmwares_have_a_line_each_from_their_own_histograms() -> None:
    plot = plots.firmware_spectrum(data_of(FIXTURE))
    assert plot is not None
    assert [found["name"] for found in plot.data["lines"]] == ["p1@0.7.0", "photon@0.6.3"]
    assert plots.firmware_spectrum(RunData(good_record(), "results/run", GATES)) is None
    assert plots.firmware_spectrum(RunData(bad_record(), "results/run", GATES)) is not None


def test_crypto_plots_have_a_line_for_each_side_and_backend() -> None:
    found = list(plots.crypto_plots(full_record()))
    assert [len(plot.data["lines"]) for plot in found] == [4, 4]
    for plot in found:
        assert all(len(entry["values"]) == len(plot.data["steps"]) for entry in plot.data["lines"])


def test_runs_share_the_points_of_a_line() -> None:
    assert overtime.points_for(1) == 600
    assert overtime.points_for(4) == 150
    assert overtime.points_for(1_000) == 60
