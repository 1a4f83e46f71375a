"""From the steps of one boot to attempts to connect: their moments, how each ended, and why.

Pure. An attempt begins with "Cloud: connecting", or with the first later step where that line is missing (a release
build before 0.6.0 prints errors only, and a log may begin anywhere). A step that cannot follow the last one begins a
new attempt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from loadgen.diagnosis.loglines import Span, Step, meet
from loadgen.protocol.error_numbers import LIGHTSSL
from loadgen.protocol.firmware import PROFILES
from loadgen.protocol.firmware_log import LogEvent, Recognised
from loadgen.protocol.reasons import Reason
from loadgen.protocol.stages import STAGE_BOUNDS, Point, Stage

_E = LogEvent


class Outcome(StrEnum):
    """How an attempt ended."""

    COMPLETED = "completed"
    FAILED = "failed"
    UNFINISHED = "unfinished"
    """The log does not say: it ends, the device restarted, or the lines are missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerAddress:
    """What the log says about where the device goes. None: it does not say."""

    type: int | None = None
    """Of the address record: 0 IPv4, 1 name, 255 erased."""
    host: str | None = None
    """Name or address from the record, or the name that was looked up."""
    resolved: str | None = None
    """Address that the name has."""
    port: int | None = None
    not_resolved: bool = False
    """The name could not be looked up."""
    key_restored: bool = False
    """The server key was blank; the firmware used its built-in one."""
    address_restored: bool = False
    """The address was blank; the firmware used its built-in one."""

    @property
    def is_erased(self) -> bool:
        """Whether the address record is known to be erased."""
        return self.type == 255 or self.address_restored

    @property
    def text(self) -> str:
        """``host:port`` as far as it is known, else empty."""
        host = self.host or self.resolved or ""
        return f"{host}:{self.port}" if host and self.port else host


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One attempt to connect. Times in ms of the device's clock since its boot; None where the log does not tell."""

    number: int
    """In the log, from 1."""
    boot: int
    """Number of the boot that it belongs to."""
    first_line: int
    last_line: int
    begun_ms: int | None
    """Stamp of its first line."""
    ended_ms: int | None
    """Stamp of the line that tells how it ended."""
    points_ms: Mapping[Point, int]
    """Clock points that are known."""
    dns_ms: int | None
    """Time that the name took to look up."""
    nonce_wait_ms: int | None
    """From the line that begins the wait for the nonce to the nonce: without the device's own printing before it."""
    outcome: Outcome
    stage: Stage | None
    """Where it failed; None where it did not, or where the log does not say."""
    reason: Reason | None
    device_code: int | None
    """The code of the failure: ``code=`` of the summary, without that line the number of the error."""
    socket_code: int | None
    """Number of the error line where it is the socket's, such as -19."""
    library_code: int | None
    """Number of the RSA library."""
    waited_ms: int | None
    """Of a failure: from the last thing that the cloud was given (or from the connection) to the error."""
    address: ServerAddress
    session_reason: Reason | None
    """Why the session after it ended badly; None where it did not, or where the log does not say."""
    session_code: int | None
    session_ms: int | None
    """How long the session lasted, where its end is in the log."""
    pause_ms: int | None
    """From its end to the begin of the next attempt of the same boot."""
    steps: tuple[Step, ...]
    """Its lines."""

    @property
    def stages_ms(self) -> dict[Stage, int]:
        """Durations of the stages whose two points are known; never below 0."""
        points = self.points_ms
        return {
            stage: max(points[end] - points[begin], 0)
            for stage, (begin, end) in STAGE_BOUNDS.items()
            if begin in points and end in points
        }

    @property
    def handshake_ms(self) -> int | None:
        """From the begin of the connection to the cloud's Hello."""
        points = self.points_ms
        if Point.STARTED not in points or Point.HELLO_IN not in points:
            return None
        return max(points[Point.HELLO_IN] - points[Point.STARTED], 0)

    @property
    def round_trip_ms(self) -> int | None:
        """One network round trip, as far as the attempt shows it: the shorter of connect and wait for the nonce."""
        times = (self.stages_ms.get(Stage.CONNECT), self.nonce_wait_ms)
        return min((time for time in times if time is not None), default=None)

    @property
    def failed_line(self) -> Step | None:
        """The first error of the attempt."""
        return next((step for step in self.steps if step.readings[0].event in _FAILURES), None)


_FAILURES: Final = frozenset(
    (_E.NOT_RESOLVED, _E.NO_SERVER_ADDRESS, _E.CONNECT_FAILED, _E.SOCKET_FAILED, _E.NONCE_FAILED, _E.ENCRYPT_FAILED,
     _E.KEY_FAILED, _E.DECRYPT_FAILED, _E.SIGNATURE_FAILED, _E.SET_KEY_FAILED, _E.SEND_HELLO_FAILED, _E.HELLO_FAILED,
     _E.PROTOCOL_FAILED, _E.HANDSHAKE_FAILED)
)  # fmt: skip
_RANKS: Final[dict[LogEvent, int]] = {
    _E.CONNECTING: 0,
    **dict.fromkeys(
        (_E.ADDRESS_IP, _E.ADDRESS_NAME, _E.ADDRESS_DEFAULT, _E.ADDRESS_RESTORED, _E.RESOLVING, _E.RESOLVED,
         _E.NOT_RESOLVED, _E.NO_SERVER_ADDRESS, _E.CONNECTION_ATTEMPT, _E.CONNECT_FAILED), 1,
    ),
    _E.CONNECTED: 2,
    _E.SOCKET_CONNECTED: 3,
    _E.HANDSHAKE_BEGUN: 4,
    _E.SECURE_BEGUN: 5,
    _E.NONCE: 6,
    _E.NONCE_FAILED: 6,
    _E.ENCRYPT: 7,
    _E.ENCRYPT_FAILED: 7,
    _E.SEND_NONCE: 8,
    _E.KEY: 9,
    _E.KEY_FAILED: 9,
    _E.SET_KEY: 10,
    _E.DECRYPT_FAILED: 10,
    _E.SIGNATURE_FAILED: 10,
    _E.SET_KEY_FAILED: 10,
    _E.KEY_DONE: 11,
    _E.SEND_HELLO: 12,
    _E.SEND_HELLO_FAILED: 12,
    _E.HELLO: 13,
    _E.HELLO_FAILED: 13,
    _E.HANDSHAKE_DONE: 14,
    _E.SOCKET_FAILED: 15,
    _E.PROTOCOL_FAILED: 15,
    _E.HANDSHAKE_FAILED: 16,
    _E.CLOUD_CONNECTED: 16,
}  # fmt: skip
"""Order within an attempt; steps of one rank may follow each other. Events without a rank are not in it."""
_REPEATED: Final = 1
"""Rank whose events may come several times: addresses, and attempts to reach them."""
_OVER: Final = 16

_POINTS: Final[dict[LogEvent, Point]] = {
    _E.CONNECTED: Point.CONNECTED,
    _E.ENCRYPT: Point.NONCE_IN,
    _E.KEY: Point.CIPHERTEXT_OUT,
    _E.SET_KEY: Point.KEY_IN,
    _E.HELLO: Point.HELLO_OUT,
    _E.HANDSHAKE_DONE: Point.HELLO_IN,
}
_STARTS: Final = frozenset(
    (_E.CONNECTING, _E.ADDRESS_IP, _E.ADDRESS_NAME, _E.ADDRESS_DEFAULT, _E.ADDRESS_RESTORED, _E.RESOLVED,
     _E.CONNECTION_ATTEMPT)
)  # fmt: skip
"""The last of these before "connected" is the begin of the connection."""

_SOCKET_REASONS: Final = {-19: Reason.CLOSED, -2: Reason.TIMEOUT, -14: Reason.UNREACHABLE}
_FRAME_REASONS: Final = {
    1: Reason.PING_TIMEOUT,
    4: Reason.BAD_FRAME,
    10: Reason.TIMEOUT,
    23: Reason.SHORT,
    24: Reason.CLOSED,
    28: Reason.BAD_HELLO,
}
"""Protocol errors from 0.8.0 on."""
_SUMMARIES: Final[dict[int, tuple[Stage, Reason]]] = {
    25: (Stage.NONCE, Reason.CLOSED),
    26: (Stage.KEY, Reason.CLOSED),
    **dict.fromkeys((1, 6, -240), (Stage.UNWRAP, Reason.BAD_KEY)),
    **dict.fromkeys((2, 8, -130), (Stage.UNWRAP, Reason.BAD_SIGNATURE)),
    **dict.fromkeys((10, -160), (Stage.HELLO, Reason.TIMEOUT)),
    24: (Stage.HELLO, Reason.CLOSED),
}
"""What a summary says that stands alone."""
_WAITS: Final = ((Point.HELLO_OUT, Stage.HELLO), (Point.CIPHERTEXT_OUT, Stage.KEY), (Point.CONNECTED, Stage.NONCE))
_LIMIT_SLACK_MS: Final = 300
_DEVICE_LIMITS_MS: Final = {Stage.CONNECT: 5_000, Stage.NONCE: 20_000, Stage.KEY: 20_000, Stage.HELLO: 2_000}
"""The shortest of all versions."""


def device_limit_ms(stage: Stage, spans: Sequence[Span]) -> int | None:
    """How long a device of these versions waits at a stage, ms: the shortest; None where it does not wait."""
    limits = [
        profile.timeouts_ns[stage] // 1_000_000
        for profile in PROFILES.values()
        if stage in profile.timeouts_ns and any(since <= profile.version < before for since, before in spans)
    ]
    return min(limits, default=_DEVICE_LIMITS_MS.get(stage))


class AttemptReader:
    """Puts the steps of one boot together.

    Args:
        boot: its number.
        first_number: of its first attempt.
    """

    def __init__(self, boot: int, first_number: int) -> None:
        self._boot = boot
        self._next_number = first_number
        self._attempts: list[_Draft] = []
        self._open: _Draft | None = None
        self._key_restored = False

    def add(self, step: Step, elapsed_ms: int | None, spans: Sequence[Span]) -> None:
        """Take the next step.

        Args:
            step: of this boot.
            elapsed_ms: since the boot, counted on where the clock has wrapped; None without a stamp.
            spans: versions that can have written the boot; they decide between the readings of a line.
        """
        found = _chosen(step.readings, spans)
        step = step._replace(readings=(found,))
        event = found.event
        if event is _E.KEY_RESTORED:  # printed before the first attempt
            self._key_restored = True
        rank = _RANKS.get(event)
        draft = self._open
        if rank is not None and (draft is None or draft.is_followed_by_new(event, rank)):
            draft = self._open = _Draft(self._next_number, self._boot, spans)
            draft.address["key_restored"] = self._key_restored
            self._next_number += 1
            self._attempts.append(draft)
        if draft is not None:
            draft.add(step, found, elapsed_ms, rank)

    def close(self) -> list[Attempt]:
        """The attempts of the boot."""
        drafts = self._attempts
        return [draft.finish(after) for draft, after in zip(drafts, [*drafts[1:], None], strict=False)]


def _chosen(readings: Sequence[Recognised], spans: Sequence[Span]) -> Recognised:
    possible = (found for found in readings if meet(spans, ((found.since, found.before),)))
    return next(possible, readings[0]) if len(readings) > 1 else readings[0]


@dataclass(slots=True)
class _Draft:
    """An attempt that is still being read."""

    number: int
    boot: int
    spans: Sequence[Span]
    steps: list[Step] = field(default_factory=list)
    rank: int = -1
    first_ms: int | None = None
    ended_ms: int | None = None
    points: dict[Point, int] = field(default_factory=dict)
    address: dict[str, int | str | bool | None] = field(default_factory=dict)
    resolving_ms: int | None = None
    dns_ms: int | None = None
    waiting_ms: int | None = None
    nonce_wait_ms: int | None = None
    completed: bool = False
    failure: tuple[Stage, Reason] | None = None
    failed_ms: int | None = None
    summary: int | None = None
    line_code: int | None = None
    socket_code: int | None = None
    library_code: int | None = None
    hint: Reason | None = None
    session_reason: Reason | None = None
    session_code: int | None = None
    session_ended_ms: int | None = None

    def is_followed_by_new(self, event: LogEvent, rank: int) -> bool:
        """Whether a step with this rank belongs to the next attempt."""
        if rank == self.rank:
            return rank != _REPEATED and (rank == 0 or event in {step.readings[0].event for step in self.steps[-2:]})
        if event is _E.KEY_FAILED or event in (_E.DECRYPT_FAILED, _E.SET_KEY_FAILED):
            return rank < self.rank
        if self.rank >= _OVER:
            return True
        if self.completed:
            return rank < _OVER
        return rank < self.rank

    def add(self, step: Step, found: Recognised, elapsed_ms: int | None, rank: int | None) -> None:
        """Take a step of this attempt, or of the session behind it."""
        self.steps.append(step)
        event, values = found.event, found.values
        if rank is not None:
            self.rank = max(self.rank, rank)
        if elapsed_ms is not None:
            if self.first_ms is None:
                self.first_ms = elapsed_ms
            self._note_moment(event, elapsed_ms)
        self._note_address(event, values, elapsed_ms)
        code = next((value for value in reversed(values) if isinstance(value, int)), None)
        if event in _FAILURES:
            self._note_failure(event, code, elapsed_ms)
        elif event in (_E.HANDSHAKE_DONE, _E.CLOUD_CONNECTED):
            self.completed, self.failure = True, None
            if self.ended_ms is None:
                self.ended_ms = elapsed_ms
        else:
            self._note_session(event, code, elapsed_ms)

    def _note_moment(self, event: LogEvent, elapsed_ms: int) -> None:
        if event in _STARTS and Point.CONNECTED not in self.points:
            self.points[Point.STARTED] = elapsed_ms
        point = _POINTS.get(event)
        if point is not None:
            self.points.setdefault(point, elapsed_ms)
        if event is _E.SOCKET_CONNECTED:
            self.points.setdefault(Point.CONNECTED, elapsed_ms)
        elif event is _E.NONCE:
            self.waiting_ms = elapsed_ms
        elif event is _E.ENCRYPT and self.waiting_ms is not None:
            self.nonce_wait_ms = max(elapsed_ms - self.waiting_ms, 0)

    def _note_address(self, event: LogEvent, values: Sequence[int | str], elapsed_ms: int | None) -> None:
        address = self.address
        if event in (_E.ADDRESS_DEFAULT, _E.ADDRESS_NAME, _E.ADDRESS_IP):
            address["type"] = next((value for value in values if isinstance(value, int)), None)
            if event is _E.ADDRESS_NAME and len(values) > 1:
                address["host"] = str(values[1])
            elif event is _E.ADDRESS_IP and len(values) == 7:
                address |= {"resolved": ".".join(map(str, values[2:6])), "port": int(values[6])}
            self.resolving_ms = elapsed_ms
        elif event is _E.RESOLVING:
            self.resolving_ms = elapsed_ms
        elif event in (_E.RESOLVED, _E.NOT_RESOLVED):
            names = [str(value) for value in values if isinstance(value, str)]
            address |= dict(zip(("host", "resolved"), names, strict=False))
            address["not_resolved"] = event is _E.NOT_RESOLVED
            if elapsed_ms is not None and self.resolving_ms is not None:
                self.dns_ms = max(elapsed_ms - self.resolving_ms, 0)
        elif event is _E.CONNECTED and len(values) >= 2:
            address |= {"resolved": ".".join(map(str, values[:-1])), "port": int(values[-1])}
        elif event is _E.ADDRESS_RESTORED:
            address["address_restored"] = True
        elif event is _E.KEY_RESTORED:
            address["key_restored"] = True

    def _note_failure(self, event: LogEvent, code: int | None, elapsed_ms: int | None) -> None:
        if self.failed_ms is None:
            self.failed_ms = elapsed_ms
        self.ended_ms = elapsed_ms if elapsed_ms is not None else self.ended_ms
        if event is _E.HANDSHAKE_FAILED:
            self.summary, self.completed = code, False
            if self.failure is None:
                self.failure = self._of_summary(code)
            return
        if event is _E.PROTOCOL_FAILED:
            self.line_code = code if self.line_code is None else self.line_code
            return
        waited_ms = self._waited_ms()
        if event in (_E.DECRYPT_FAILED, _E.SIGNATURE_FAILED):
            self.library_code = code
            self.hint = Reason.BAD_KEY if event is _E.DECRYPT_FAILED else Reason.BAD_SIGNATURE
            self.failure = Stage.UNWRAP, self.hint
        elif event is _E.SET_KEY_FAILED:
            light = all(since >= LIGHTSSL for since, _ in self.spans)
            self.line_code = code if light else None  # before 0.8.0 the number is whatever stood in a register
            self.failure = Stage.UNWRAP, self.hint or (Reason.BAD_SIGNATURE if light and code == 8 else Reason.BAD_KEY)
        elif event is _E.ENCRYPT_FAILED:
            self.library_code = self.line_code = code
            self.failure = Stage.ENCRYPT, Reason.LOCAL_RESOURCE
        elif event is _E.HELLO_FAILED:
            self.line_code = code
            self.failure = Stage.HELLO, self._hello_reason(code, waited_ms)
        else:
            self.socket_code = self.line_code = code
            self.failure = self._of_socket(event, code, waited_ms)

    def _of_socket(self, event: LogEvent, code: int | None, waited_ms: int | None) -> tuple[Stage, Reason]:
        stage = {_E.NONCE_FAILED: Stage.NONCE, _E.KEY_FAILED: Stage.KEY, _E.SEND_HELLO_FAILED: Stage.HELLO}.get(
            event, Stage.CONNECT
        )
        if event in (_E.NOT_RESOLVED, _E.NO_SERVER_ADDRESS):
            return stage, Reason.UNREACHABLE
        if event is _E.SOCKET_FAILED and self.failure is not None:
            return self.failure
        limit_ms = device_limit_ms(stage, self.spans) or 0
        if code == -1 and (waited_ms is None or waited_ms >= limit_ms - _LIMIT_SLACK_MS):
            return stage, Reason.TIMEOUT
        reason = _SOCKET_REASONS.get(code or 0)
        if stage is Stage.CONNECT:
            return stage, reason if reason in (Reason.TIMEOUT, Reason.UNREACHABLE) else Reason.REFUSED
        return stage, reason or Reason.RESET

    def _hello_reason(self, code: int | None, waited_ms: int | None) -> Reason:
        if self.hint is not None:
            return self.hint
        if code is not None:
            return _FRAME_REASONS.get(code, Reason.BAD_HELLO)
        limit_ms = device_limit_ms(Stage.HELLO, self.spans) or 0
        is_short = waited_ms is not None and waited_ms < limit_ms - _LIMIT_SLACK_MS
        return Reason.CLOSED if is_short else Reason.TIMEOUT

    def _of_summary(self, code: int | None) -> tuple[Stage, Reason] | None:
        """Of a summary without an error line: by its code, and by how far the attempt had come."""
        known = _SUMMARIES.get(code or 0)
        if known is not None:
            return known
        stage = next((stage for point, stage in _WAITS if point in self.points), None)
        return None if stage is None else (stage, _SOCKET_REASONS.get(code or 0, Reason.RESET))

    def _note_session(self, event: LogEvent, code: int | None, elapsed_ms: int | None) -> None:
        reason = None
        if event is _E.RECEIVE_ERROR:
            reason = Reason.CLOSED if code == -19 else Reason.RESET
        elif event is _E.NO_PONG:
            reason = Reason.PING_TIMEOUT
        elif event is _E.UNKNOWN_MESSAGE:
            reason = Reason.BAD_HELLO
        elif event is _E.LOOP_ERROR:
            reason = _FRAME_REASONS.get(code or 0)
        if not self.completed:
            self.hint = self.hint or (reason if self.rank >= _RANKS[_E.SEND_HELLO] else None)
            return
        if reason is not None:
            self.session_reason = self.session_reason or reason
            if self.session_code is None or event is _E.LOOP_ERROR:  # the socket's number comes before the protocol's
                self.session_code = code
        if reason is not None or event in (_E.SESSION_ENDED, _E.INACTIVE, _E.DISCONNECTING):
            self.session_ended_ms = elapsed_ms if self.session_ended_ms is None else self.session_ended_ms

    def _waited_ms(self) -> int | None:
        """From the last thing given to the other side to the error."""
        given = next(
            (self.points[point] for point, _ in _WAITS if point in self.points), self.points.get(Point.STARTED)
        )
        return None if given is None or self.failed_ms is None else max(self.failed_ms - given, 0)

    def finish(self, after: _Draft | None) -> Attempt:
        """The attempt as a value; ``after`` is the next one of the same boot."""
        outcome = Outcome.COMPLETED if self.completed else Outcome.UNFINISHED
        if not self.completed and (self.failure is not None or self.summary is not None):
            outcome = Outcome.FAILED
        failed = outcome is Outcome.FAILED
        stage, reason = self.failure or (None, None)
        over_ms = self.session_ended_ms or self.ended_ms
        code = self.summary if self.summary is not None else self.line_code
        return Attempt(
            number=self.number,
            boot=self.boot,
            first_line=self.steps[0].number,
            last_line=self.steps[-1].number,
            begun_ms=self.first_ms,
            ended_ms=self.ended_ms,
            points_ms=self.points,
            dns_ms=self.dns_ms,
            nonce_wait_ms=self.nonce_wait_ms,
            outcome=outcome,
            stage=stage if failed else None,
            reason=self._reason(reason) if failed else None,
            device_code=code if failed else None,
            socket_code=self.socket_code if failed else None,
            library_code=self.library_code if failed else None,
            waited_ms=self._waited_ms() if failed else None,
            address=ServerAddress(**self.address),  # type: ignore[arg-type]  # the keys have their types
            session_reason=self.session_reason,
            session_code=self.session_code,
            session_ms=_between(self.ended_ms, self.session_ended_ms) if self.completed else None,
            pause_ms=None if after is None else _between(over_ms, after.first_ms),
            steps=tuple(self.steps),
        )

    def _reason(self, reason: Reason | None) -> Reason | None:
        """The summary tells a wrong signature from a wrong key where the line before it does not."""
        if reason is Reason.BAD_KEY and self.hint is None and self.summary in (2, 8, -130):
            return Reason.BAD_SIGNATURE
        return reason


def _between(begin_ms: int | None, end_ms: int | None) -> int | None:
    return None if begin_ms is None or end_ms is None else max(end_ms - begin_ms, 0)
