"""What a run that goes on publishes each second: its record so far, as a value that nobody changes any more."""

from __future__ import annotations

from typing import Final

import msgspec

from loadgen.cli.result import Measured, fill_in_counts
from loadgen.clock import NS_PER_S
from loadgen.mockcloud.report import CloudStatus
from loadgen.recording.record import RunRecord, Validity, failure_counts
from loadgen.report.metrics import Snapshot, finished_snapshot, histograms_of

_JUDGED_AT_THE_END: Final = frozenset({"achieved_rate", "few_samples"})


def live_snapshot(record: RunRecord, measured: Measured, phase: str, cloud: CloudStatus | None) -> Snapshot:
    """How a run stands.

    Args:
        record: as it was before the run; not changed.
        measured: so far, with the window up to now.
        phase: what the run is doing.
        cloud: the run's own mock cloud.
    """
    so_far, meter = msgspec.structs.replace(record), measured.meter
    fill_in_counts(so_far, measured)
    so_far.counts.aborted = measured.counts.aborted  # what has started and not ended is in flight
    so_far.failures = failure_counts(measured.recorder.failures)
    so_far.session_failures = failure_counts(measured.recorder.session_failures, in_session=True)
    so_far.validity = _validity_so_far(so_far.validity)
    if not measured.window_ns:
        so_far.rate = record.rate
    so_far.generator.cpu_utilisation = meter.generator_cpu[-1] if meter.generator_cpu else 0.0
    if cloud is not None:
        so_far.mock_cloud = {
            "cpu_s": sum(worker.cpu_ns for worker in cloud.workers) / NS_PER_S,
            "cpu_utilisation": meter.mock_cloud_cpu[-1] if meter.mock_cloud_cpu else 0.0,
        }
    return Snapshot(
        record=so_far,
        phase=phase,
        in_flight=measured.counts.in_flight,
        histograms=histograms_of(so_far, measured.recorder.histogram),
    )


def _validity_so_far(judged: Validity) -> Validity:
    """Without what can be said of a whole run only: workers report in steps, which the rate of a short time shows."""
    findings = [finding for finding in judged.findings if finding.code not in _JUDGED_AT_THE_END]
    invalid = any(finding.level == "invalid" for finding in findings)
    return Validity(verdict="invalid" if invalid else "valid", findings=findings)


def last_snapshot(record: RunRecord, measured: Measured) -> Snapshot:
    """How a run ended; with the exact sums of the recorder."""
    return finished_snapshot(record, measured.recorder.histogram)
