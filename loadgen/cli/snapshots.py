"""What a run that goes on publishes each second: its record so far, as a value that nobody changes any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from loadgen.cli.result import Measured, fill_in_counts
from loadgen.clock import NS_PER_S
from loadgen.mockcloud.report import CloudStatus
from loadgen.recording.record import RunRecord, SecondFacts, Validity, failure_counts
from loadgen.recording.recorder import Interval, Recorder
from loadgen.report.dashboard.messages import Update, pack_second
from loadgen.report.metrics import Snapshot, histograms_of
from loadgen.store import interval_line

_JUDGED_AT_THE_END: Final = frozenset({"achieved_rate", "few_samples"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a run stands. What costs something is made by whoever wants it, at once: the recorder goes on.

    Attributes:
        record: so far; of a run that has ended its record.
        phase: one of :data:`loadgen.report.metrics.PHASES`.
        elapsed_s: since the begin of the warm-up.
        share: how much of the run is over, None where nobody knows.
        step: the phase of its schedule; empty where there are none.
        in_flight: handshakes in flight.
        second: of the recorded window, what ended with this; None in the warm-up and at the end.
    """

    record: RunRecord
    phase: str
    elapsed_s: float
    share: float | None
    step: str
    in_flight: int
    second: tuple[Interval, SecondFacts] | None
    recorder: Recorder

    @property
    def has_ended(self) -> bool:
        """Nothing more will come of this run."""
        return self.record.status != "running"

    def snapshot(self) -> Snapshot:
        """As metrics. Sums are the recorder's to the end: those of the record are rounded, and counters never fall."""
        return Snapshot(
            record=self.record,
            phase=self.phase,
            in_flight=0 if self.has_ended else self.in_flight,
            histograms=histograms_of(self.record, self.recorder.histogram),
        )

    def update(self, *, run: int, runs: int, name: str, path: str) -> Update:
        """As the live page takes it.

        Args:
            run: which run of a series, from 1.
            runs: how many that has.
            name: what tells it from the others.
            path: folder of the record, as the user should read it.
        """
        return Update(
            run=run,
            runs=runs,
            name=name,
            phase=self.phase,
            elapsed_s=self.elapsed_s,
            share=self.share,
            step=self.step,
            in_flight=self.in_flight,
            record=self.record,
            path=path,
            line=None if self.second is None else interval_line(*self.second, 0),
            histograms=[] if self.second is None else pack_second(self.second[0]),
        )


def record_so_far(record: RunRecord, measured: Measured, cloud: CloudStatus | None) -> RunRecord:
    """What is known of a run that goes on, without the statistics of its stages.

    Args:
        record: as it was before the run; not changed.
        measured: so far, with the window up to now.
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
    return so_far


def _validity_so_far(judged: Validity) -> Validity:
    """Without what can be said of a whole run only: workers report in steps, which the rate of a short time shows."""
    findings = [finding for finding in judged.findings if finding.code not in _JUDGED_AT_THE_END]
    invalid = any(finding.level == "invalid" for finding in findings)
    return Validity(verdict="invalid" if invalid else "valid", findings=findings)
