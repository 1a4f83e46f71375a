"""The rows in which handshakes travel from the workers to the recorder.

A row is a fixed number of signed 64-bit integers. A worker appends them to an ``array('q')`` and ships its
bytes; the recorder sees an ``int64`` array of shape (n, columns). Enumerations travel as their position in
the tuples below. The same code runs at both ends, so positions never leave a run.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import Point, Stage

Rows = NDArray[np.int64]

ROW_FIELDS: Final = (
    "intended",
    "started",
    "connected",
    "nonce_in",
    "ciphertext_out",
    "key_in",
    "hello_out",
    "hello_in",
    "wakeup_lag",
    "crypto_wait",
    "crypto_run",
    "firmware",
    "flags",
)
"""Columns of a completed handshake.

The first eight are the clock points in the order of :class:`~loadgen.protocol.stages.Point`, ns on
CLOCK_MONOTONIC, :data:`NOT_MEASURED` for a missing one. ``wakeup_lag``, ``crypto_wait`` and ``crypto_run``
are durations in ns, :data:`NOT_MEASURED` where they were not taken. ``firmware`` is the position in the run's
list of firmwares, ``flags`` a sum of ``FLAG_…``.
"""

FAILURE_FIELDS: Final = ("started", "failed_at", "stage", "reason", "device_code", "firmware")
"""Columns of a failed handshake or session.

``started`` and ``failed_at`` in ns on CLOCK_MONOTONIC, ``stage`` and ``reason`` as :data:`STAGE_INDEX` and
:data:`REASON_INDEX` number them, ``device_code`` what a real device prints or :data:`NO_DEVICE_CODE`,
``firmware`` as in :data:`ROW_FIELDS`.
"""

POINT_COLUMNS: Final = len(Point)
FIRMWARE_COLUMN: Final = ROW_FIELDS.index("firmware")
FLAGS_COLUMN: Final = ROW_FIELDS.index("flags")

NOT_MEASURED: Final = -1
NO_DEVICE_CODE: Final = -(1 << 31)
"""Stands for "the device prints no code"; real codes are small integers of either sign."""

FLAG_CONNECTED_FALLBACK: Final = 1 << 0
"""``connected`` is not started + ``tcpi_rtt`` but the earlier of the writable event and ``nonce_in``."""
FLAG_NONCE_UNSTAMPED: Final = 1 << 1
"""Kernel stamps were asked for, but ``nonce_in`` is the moment after the read."""
FLAG_KEY_UNSTAMPED: Final = 1 << 2
"""Kernel stamps were asked for, but ``key_in`` is the moment after the read."""
FLAG_HELLO_UNSTAMPED: Final = 1 << 3
"""Kernel stamps were asked for, but ``hello_in`` is the moment after the read."""
FLAG_HELLO_MERGED: Final = 1 << 4
"""More bytes came in the read that completed Hello: a kernel stamp is then the last segment's."""
FLAG_ONLINE: Final = 1 << 5
"""In a storm: the first handshake that this device completed."""

FLAG_SYN_REPEATED: Final = 1 << 6
"""TCP had to repeat the SYN, after a second or more; ``connected`` is then good to a few ms."""

FLAG_NAMES: Final = {
    "connected_fallback": FLAG_CONNECTED_FALLBACK,
    "nonce_unstamped": FLAG_NONCE_UNSTAMPED,
    "key_unstamped": FLAG_KEY_UNSTAMPED,
    "hello_unstamped": FLAG_HELLO_UNSTAMPED,
    "hello_merged": FLAG_HELLO_MERGED,
    "syn_repeated": FLAG_SYN_REPEATED,
}
"""Names in a record of the flags that say what is missing or less exact."""

STAGES: Final = tuple(Stage)
"""Position → stage."""
STAGE_INDEX: Final = {stage: index for index, stage in enumerate(STAGES)}
"""Stage → position."""
REASONS: Final = tuple(Reason)
"""Position → reason."""
REASON_INDEX: Final = {reason: index for index, reason in enumerate(REASONS)}
"""Reason → position."""


def rows_from_bytes(data: bytes) -> Rows:
    """Completed handshakes as a worker shipped them, shape (n, 13), not copied.

    Raises:
        ValueError: the length is not a whole number of rows.
    """
    return np.frombuffer(data, dtype=np.int64).reshape(-1, len(ROW_FIELDS))


def failures_from_bytes(data: bytes) -> Rows:
    """Failed handshakes as a worker shipped them, shape (n, 6), not copied.

    Raises:
        ValueError: the length is not a whole number of rows.
    """
    return np.frombuffer(data, dtype=np.int64).reshape(-1, len(FAILURE_FIELDS))
