"""Exit codes by precedence."""

from __future__ import annotations

import pytest

from loadgen.cli.result import exit_code
from loadgen.errors import ExitCode
from loadgen.recording.record import Outcome
from tests.report.samples import bad_record, calibrated_record, empty_record, good_record


@pytest.mark.parametrize(
    ("completed", "invalid", "interrupted", "failed", "code"),
    [
        (True, False, False, False, ExitCode.OK),
        (True, True, False, False, ExitCode.INCONCLUSIVE),
        (False, True, False, False, ExitCode.UNREACHABLE),
        (False, True, False, True, ExitCode.INTERNAL),
        (False, True, True, True, ExitCode.INTERRUPTED),
    ],
)
def test_precedence(completed: bool, invalid: bool, interrupted: bool, failed: bool, code: ExitCode) -> None:
    record = good_record() if completed else empty_record()
    if invalid:
        record.validity = bad_record().validity
    assert exit_code(record, interrupted=interrupted, failed=failed) == code


@pytest.mark.parametrize(
    ("outcome", "code"),
    [("pass", ExitCode.OK), ("fail", ExitCode.THRESHOLD_FAILED), ("no_data", ExitCode.INCONCLUSIVE)],
)
def test_a_calibration_has_a_code_of_its_own_unless_the_run_is_invalid(outcome: Outcome, code: ExitCode) -> None:
    record = calibrated_record()
    assert record.calibration is not None
    record.calibration.outcome = outcome
    assert exit_code(record, interrupted=False, failed=False) == code
    record.validity = bad_record().validity
    assert exit_code(record, interrupted=False, failed=False) == ExitCode.INCONCLUSIVE
