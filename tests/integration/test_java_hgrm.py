"""Our percentile text against that of the original tool, where Java and the jar are on the machine."""

from __future__ import annotations

import io
from pathlib import Path

from loadgen.protocol.stages import Stage
from loadgen.report.hgrm import write_hgrm
from loadgen.store import HISTOGRAMS_FILE, read_histograms
from tests.integration.test_java_hlog import process, pytestmark
from tests.recording.made import write_record

__all__ = ["pytestmark"]


def test_every_stage_is_printed_as_java_prints_it(tmp_path: Path) -> None:
    folder = write_record(tmp_path)
    histograms = read_histograms(folder)
    for stage in (Stage.KEY, Stage.FAILED, Stage.CRYPTO_RUN):
        target = tmp_path / stage.value
        log = str(folder / HISTOGRAMS_FILE)
        process("-i", log, "-tag", stage.value, "-outputValueUnitRatio", "1000000", "-o", str(target))
        java = target.with_suffix(".hgrm").read_text().splitlines(keepends=True)
        ours = io.StringIO()
        write_hgrm(histograms[stage, None], ours)
        assert ours.getvalue() == "".join(java[2:])  # the tool puts two lines about the log before it
