"""Whether the devices of a run were those that were asked for: their pace, and the shares of a mix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from loadgen.engine.plan import FirmwarePlan
from loadgen.protocol.stages import Stage
from loadgen.recording.record import Finding
from loadgen.recording.recorder import Recorder
from loadgen.units import format_ns, format_percent

_SHARE_TOLERANCE: Final = 0.02
"""Shares of the starts may differ by so much from those of the devices."""
_FEWEST_STARTS: Final = 1_000
"""Below, the order in which devices come back can make as much of a difference."""
_PACE_TOLERANCE: Final = 1.1
"""A device's answer may be so much later than its pace says."""


def share_findings(firmwares: Sequence[FirmwarePlan], started: Sequence[int]) -> list[Finding]:
    """Where one firmware of a mix has started more often than its share: then they did not see the same moments.

    Args:
        firmwares: of the plan.
        started: handshakes of each; empty where one firmware ran.
    """
    parts = [part.parts for part in firmwares]
    if sum(started) < _FEWEST_STARTS:
        return []
    shares = [(count / sum(started), part / sum(parts)) for count, part in zip(started, parts, strict=True)]
    observed, wanted = max(shares, key=lambda share: abs(share[0] - share[1]))
    if abs(observed - wanted) <= _SHARE_TOLERANCE:
        return []
    name = firmwares[shares.index((observed, wanted))].name
    return [
        Finding(
            code="firmware_shares",
            level="warn",
            observed=round(observed, 4),
            limit=round(wanted, 4),
            text=f"{name} made {format_percent(observed, 1)} of the starts with {format_percent(wanted, 1)} of the "
            "devices.",
            remedy="Use a larger fleet, so that devices which wait for a timeout are not missed.",
        )
    ]


def pace_findings(firmwares: Sequence[FirmwarePlan], recorder: Recorder) -> list[Finding]:
    """Where the generator took longer than the devices that it plays."""
    findings = []
    for part in firmwares:
        if part.pace is None:
            continue
        for stage, own_ns in ((Stage.ENCRYPT, part.pace.encrypt_ns), (Stage.UNWRAP, part.pace.unwrap_ns)):
            pace_ns = own_ns + part.pace.rtt_ns
            took_ns = recorder.histogram(stage, part.name).quantile_ns(0.99)
            if took_ns is None or not pace_ns or took_ns <= pace_ns * _PACE_TOLERANCE:
                continue
            findings.append(
                Finding(
                    code="device_pace",
                    level="warn",
                    observed=round(took_ns / pace_ns, 3),
                    limit=_PACE_TOLERANCE,
                    text=f"{part.name} was slower than its pace: {stage} took {format_ns(took_ns)} at p99, "
                    f"{format_ns(pace_ns)} was wanted.",
                    remedy="Lower the rate, or give a pace that this machine's RSA can keep.",
                )
            )
    return findings
