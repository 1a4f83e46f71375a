"""Exit codes by precedence."""

from __future__ import annotations

import pytest

from loadgen.cli.result import exit_code
from loadgen.errors import ExitCode
from tests.report.samples import bad_record, empty_record, good_record


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
