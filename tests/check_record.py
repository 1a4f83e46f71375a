"""Check the one record that a short run left: ``python check_record.py RESULTS``. Exits 1 with what is wrong."""

from __future__ import annotations

import sys
from pathlib import Path

from loadgen.store import load_record


def main(results: Path) -> None:
    """Read the only record below ``results`` and hold it against what a run of the mock cloud must give."""
    (folder,) = [path for path in results.iterdir() if path.is_dir()]
    record = load_record(folder)
    counts = record.counts
    wrong = []
    if record.status != "complete":
        wrong.append(f"status is {record.status}")
    if counts.failed or counts.completed < 100:
        wrong.append(f"{counts.completed} handshakes completed, {counts.failed} failed")
    if counts.started != counts.completed + counts.failed + counts.aborted:
        wrong.append(f"counts do not add up: {counts}")
    wrong += [
        f"stage {name} counts {stage.count}, not {counts.completed}"
        for name, stage in record.stages.items()
        if name != "failed" and stage.count != counts.completed
    ]
    if not (folder / "histograms.hlog").stat().st_size:
        wrong.append("histograms.hlog is empty")
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
