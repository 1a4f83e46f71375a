"""The driver of one worker: starts virtual devices when they are due and accounts for how they end.

Knows nothing of processes and event loops: somebody calls :meth:`Driver.turn` when sockets or the alarm are
ready, :meth:`Driver.answer` when crypto is done and :meth:`Driver.tick` every so often.
"""

from __future__ import annotations

import errno
import heapq
from array import array
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from loadgen.crypto.base import CryptoBackend
from loadgen.crypto.executor import Completion
from loadgen.engine.arrival import share
from loadgen.engine.cohort import Cohort
from loadgen.engine.draws import Distribution
from loadgen.engine.gaps import GapSample
from loadgen.engine.logged_device import device_maker
from loadgen.engine.messages import Counts
from loadgen.engine.plan import FirmwarePlan, LoadPlan
from loadgen.engine.returns import Returns
from loadgen.engine.sessions import Sessions
from loadgen.engine.sockets import SocketSet, reason_of
from loadgen.engine.starts import Starts, returns_of, starts_of
from loadgen.engine.virtual_device import PING, PONG, VirtualDevice
from loadgen.errors import LocalResourceError
from loadgen.protocol.boot import FIRST_BOOT, RECONNECT, Boot
from loadgen.protocol.device import DeviceConnection
from loadgen.protocol.events import BatchedRequest, KeyHandle
from loadgen.protocol.firmware import FirmwareProfile
from loadgen.protocol.reasons import HandshakeError, Reason, Side
from loadgen.protocol.stages import Point, Stage
from loadgen.recording.rows import FLAG_ONLINE, NO_DEVICE_CODE, NOT_MEASURED, REASON_INDEX, STAGE_INDEX

_STARTS_PER_TURN = 32
"""A burst of starts must not keep answers that have arrived from being stamped."""

_ANSWERS_BETWEEN_STARTS = 8
"""Each goes on to the device's next message, so that a whole batch of them takes a millisecond."""

_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})
_NO_PORT = frozenset({errno.EADDRNOTAVAIL, errno.EADDRINUSE})


@dataclass(frozen=True, slots=True)
class LoadedIdentity:
    """A device of the fleet with its key parsed."""

    device_id: bytes
    public_key: bytes
    device_key: KeyHandle
    firmware: int = 0
    """Position of what it runs among the plan's firmwares."""


class Executor(Protocol):
    """Where RSA runs."""

    def submit(self, connection: object, token: int, request: BatchedRequest) -> None:
        """Take a request; cheap."""

    def flush(self) -> None:
        """Hand over what was submitted since the last flush."""


class Driver:
    """Drives the devices of one worker.

    Args:
        plan: the run.
        index, parts: this worker and how many there are.
        identities: this worker's devices.
        firmwares: the profiles of the plan's firmwares, in its order.
        server_key: the server's public key, parsed.
        backend: for the session's AES.
        executor: for RSA.
        sockets: the worker's sockets.
        now: CLOCK_MONOTONIC in ns.
        set_alarm: asks for a :meth:`turn` at an instant.
    """

    def __init__(
        self,
        plan: LoadPlan,
        index: int,
        parts: int,
        *,
        identities: Sequence[LoadedIdentity],
        firmwares: Sequence[FirmwareProfile],
        server_key: KeyHandle,
        backend: CryptoBackend,
        executor: Executor,
        sockets: SocketSet,
        now: Callable[[], int],
        set_alarm: Callable[[int], None],
    ) -> None:
        self.plan = plan
        self.backend = backend
        self.sockets = sockets
        self.now = now
        self.hold_ns = plan.hold_ns
        self.closing = False
        self.close_with_reset = plan.close == "rst"
        self.kernel_stamps = plan.kernel_stamps
        self.cohorts = _cohorts(plan, firmwares)
        self.counts = Counts()
        self.gaps = GapSample()
        self.rows = array("q")
        self.failures = array("q")
        self.session_failures = array("q")
        self.moments = array("q")
        self._index, self._parts = index, parts
        self._identities = identities
        self._free: deque[int] = deque(range(len(identities)))
        self._server_key = server_key
        self._executor = executor
        self.submit = executor.submit
        self._set_alarm = set_alarm
        self._room = share(plan.max_in_flight, index, parts)
        self._devices: set[VirtualDevice] = set()
        self._starts: Starts | None = None
        self._returns: Returns | None = None
        self._make_device = device_maker(plan.logged, index, parts, self.moments)
        hold = plan.hold or Distribution("constant", plan.hold_ns)
        self._sessions: Sessions[VirtualDevice] = Sessions(hold, plan.events, plan.seed)
        self._booted = bytearray([plan.storm is not None]) * len(identities)
        self._offline = set(range(len(identities))) if plan.storm is not None else None
        self._begin = 0
        self._record_from = 0
        self._stopped_at: int | None = None
        self._alarm_at = 0
        self._paced = any(part.pace is not None for part in plan.firmwares)
        self._held: list[tuple[int, int, Completion]] = []
        self._held_so_far = 0
        self._resting = False

    # --- control

    def begin(self, begin_ns: int) -> None:
        """Start the schedule at ``begin_ns``."""
        self._starts = starts_of(self.plan, self._index, self._parts, begin_ns)
        numbers = range(self._index, self._index + self._parts * len(self._identities), self._parts)
        self._returns = returns_of(self.plan, self._firmware_of, numbers, begin_ns)
        self._begin = begin_ns
        self._record_from = begin_ns + self.plan.warmup_ns
        self._wake_at(begin_ns)

    def stop(self, *, close_sessions: bool = True) -> None:
        """Start nothing more. Handshakes in flight go on; sessions are closed now, or after their hold time."""
        if self._stopped_at is None:
            self._stopped_at = self.now()
        if close_sessions:
            self.closing = True
            for device in [device for device in self._devices if device.in_session]:
                device.end(None)

    def abort(self) -> None:
        """End everything at once; handshakes in flight are counted as aborted."""
        self.stop()
        for device in list(self._devices):
            if not device.in_session and device.points[Point.INTENDED] >= self._record_from:
                self.counts.aborted += 1
            device.end(None)

    @property
    def finished(self) -> bool:
        """Nothing is in flight and nothing will start any more."""
        return self._stopped_at is not None and not self._devices

    # --- turns of the event loop

    def turn(self) -> None:
        """Serve ready sockets and paces, start what is due, then hand crypto over."""
        self._read()
        if self._held:
            self._hand_back_due()
        self._start_due()
        self._executor.flush()

    def answer(self, completions: Sequence[Completion]) -> None:
        """Give crypto results back to their devices; devices with a pace get theirs when they would have it.

        Starts that fall due meanwhile do not wait for all of them.
        """
        for number, done in enumerate(completions, 1):
            if isinstance(done.result, LocalResourceError):
                raise done.result
            device: VirtualDevice = done.connection  # type: ignore[assignment]
            if not (self._paced and self._hold_back(device, done)):
                device.on_crypto(done)
            if number % _ANSWERS_BETWEEN_STARTS == 0:
                self._start_due()
        self._start_due()
        self._executor.flush()

    def tick(self) -> None:
        """Expire deadlines; notice the end of the run. Called about every 50 ms."""
        now = self.now()
        for act, device in self._sessions.due(now):
            if act == "event":
                self.counts.events += 1
                device.send_event()
            else:
                device.leave()
        for cohort in self.cohorts:
            for kind, device in list(cohort.deadlines.pop_expired(now)):
                device.on_deadline(kind, now)
        self._resting = False
        if self._held:
            self._hand_back_due()
        self._start_due()
        self._executor.flush()
        if self._stopped_at is None and self._starts is not None:
            end_ns = self.plan.end_ns
            if end_ns is not None and now >= self._begin + end_ns:
                self.stop()
            elif self._starts.exhausted:
                self.stop(close_sessions=False)

    def snapshot(self, now: int) -> Counts:
        """The counts so far; those of the warm-up are apart from all others."""
        counts = self.counts
        until = now if self._stopped_at is None else self._stopped_at
        intended = self._starts.intended_until(until) if self._starts else 0
        if self._returns is not None:
            intended += self._returns.intended_until(until)
            counts.returned = self._returns.started
        counts.intended = max(counts.started, intended)
        in_session = sum(device.in_session for device in self._devices) if self.hold_ns else 0
        counts.sessions = in_session
        counts.in_flight = len(self._devices) - in_session
        if len(self.cohorts) > 1:
            counts.started_of = [cohort.started for cohort in self.cohorts]
        return counts

    # --- what virtual devices report

    def handshake_completed(self, device: VirtualDevice) -> None:
        """Keep the row of a completed handshake."""
        counts = self.counts
        if device.points[Point.INTENDED] < self._record_from:
            counts.warmup_completed += 1
            return
        counts.completed += 1
        if self._offline is not None and device.identity in self._offline:
            self._offline.remove(device.identity)
            device.flags |= FLAG_ONLINE
        lag_ns = NOT_MEASURED if device.wakeup_lag_ns is None else device.wakeup_lag_ns
        rows = self.rows
        rows.extend(device.points)
        rows.extend((lag_ns, device.crypto_wait_ns, device.crypto_run_ns, device.cohort.index, device.flags))

    def session_begun(self, device: VirtualDevice, now: int) -> None:
        """Hold it for as long as this device does this time."""
        number = self._index + self._parts * device.identity
        device.session = self._sessions.begin(device, number, now, device.cohort.profile.events_per_s)

    def boot_of(self, device: VirtualDevice) -> Boot:
        """A device boots once in a run: later connections of it, and all of a storm, are reconnections."""
        if self._booted[device.identity]:
            return RECONNECT
        self._booted[device.identity] = True
        return FIRST_BOOT

    def session_over(self, device: VirtualDevice) -> None:
        """Nothing more is due in it."""
        if device.session is not None:
            self._sessions.end(device.session)

    def ended(self, device: VirtualDevice, error: HandshakeError | None) -> None:
        """Take the device back and account for a failure."""
        self._devices.discard(device)
        now = self.now()
        if self._returns is None or not self._returns.ended(
            device.identity, now, failed=error is not None, in_session=device.in_session
        ):
            self._free.append(device.identity)
        assert self._starts is not None
        self._starts.slot_free(now)
        if error is not None:
            self._count_failure(device, error, now)

    def _count_failure(self, device: VirtualDevice, error: HandshakeError, now: int) -> None:
        if device.points[Point.INTENDED] < self._record_from:
            if not device.in_session:
                self.counts.warmup_failed += 1
            return
        code = device.cohort.profile.device_code(error.stage, error.reason, in_session=device.in_session)
        row = (
            device.points[Point.STARTED],
            now,
            STAGE_INDEX[error.stage],
            REASON_INDEX[error.reason],
            NO_DEVICE_CODE if code is None else code,
            device.cohort.index,
        )
        if device.in_session:
            self.counts.session_failed += 1
            self.session_failures.extend(row)
        else:
            self.counts.failed += 1
            self.failures.extend(row)

    # --- the pace of devices

    def _hold_back(self, device: VirtualDevice, done: Completion) -> bool:
        """Keep a result that a real device would not have yet; False where it would."""
        due_ns = device.cohort.answer_due_ns(done.request, device.points)
        if due_ns <= self.now():
            return False
        self._held_so_far += 1
        heapq.heappush(self._held, (due_ns, self._held_so_far, done))
        return True

    def _hand_back_due(self) -> None:
        """Give devices the results that they would have by now."""
        now, held = self.now(), self._held
        while held and held[0][0] <= now:
            done = heapq.heappop(held)[2]
            device: VirtualDevice = done.connection  # type: ignore[assignment]
            device.on_crypto(done)

    # --- starting

    def _read(self) -> None:
        """Serve ready sockets.

        With kernel stamps starts come first, and again between reads. Without them arrivals are stamped by the
        read, so whoever has something is read before anything else.
        """
        if self.kernel_stamps:
            self._start_due()
            self.sockets.dispatch(self._start_due)
        else:
            self.sockets.dispatch()

    def _start_due(self) -> None:
        """Start what is due, and set the alarm for what is due next."""
        wake_ns = self._start()
        if self._held:
            held_ns = self._held[0][0]
            wake_ns = held_ns if wake_ns is None else min(wake_ns, held_ns)
        if wake_ns is not None:
            self._wake_at(wake_ns)

    def _wake_at(self, at_ns: int) -> None:
        if at_ns != self._alarm_at:
            self._alarm_at = at_ns
            self._set_alarm(at_ns)

    def _start(self) -> int | None:
        """Start what is due and has a device, a slot and a descriptor; the rest waits, which is schedule lag.

        Returns:
            when there is something to start again; None where that does not depend on time.
        """
        starts = self._starts
        if starts is None or self._stopped_at is not None or self._resting:
            return None
        for _ in range(_STARTS_PER_TURN):
            now = self.now()
            intended = starts.next_intended(now)
            back = None if self._returns is None else self._returns.next_ns
            if back is not None and (intended is None or back <= now or back < intended):
                if back > now:
                    return back
                if not self._bring_back(back):
                    return None
                continue
            if intended is None or intended > now:
                return intended
            if not self._free or len(self._devices) >= self._room or self._resting:
                return None
            number = self._free.popleft()
            if not self._launch(intended, number):
                self._free.appendleft(number)
                return None
            starts.took()
        return self.now()

    def _bring_back(self, intended: int) -> bool:
        """Start the attempt of the device that comes back next and is due; False where it has to wait."""
        if len(self._devices) >= self._room or self._resting:
            return False
        assert self._returns is not None
        number = self._returns.take()
        if not self._launch(intended, number, returning=True):
            self._returns.put_back(intended, number)
            return False
        return True

    def _firmware_of(self, number: int) -> FirmwareProfile:
        return self.cohorts[self._identities[number].firmware].profile

    def _launch(self, intended: int, number: int, *, returning: bool = False) -> bool:
        """Start one attempt of a device; False where it has to wait for a descriptor."""
        identity = self._identities[number]
        cohort = self.cohorts[identity.firmware]
        core = DeviceConnection(
            device_id=identity.device_id,
            public_key=identity.public_key,
            device_key=identity.device_key,
            server_key=self._server_key,
            firmware=cohort.profile,
            product_id=self.plan.product_id,
            product_version=self.plan.product_version,
        )
        device = self._make_device(self, cohort, core, number, intended)
        try:
            device.start()
        except OSError as error:
            return self._could_not_start(device, error)
        self._devices.add(device)
        if intended >= self._record_from:
            self.counts.started += 1
            cohort.started += 1
            if not returning:
                self.gaps.saw(intended, device.points[Point.STARTED])
        return True

    def _could_not_start(self, device: VirtualDevice, error: OSError) -> bool:
        """Account for a connect that this machine refused; without a descriptor the start waits instead."""
        self._resting = True
        if error.errno in _NO_DESCRIPTOR:
            self.counts.descriptor_waits += 1
            return False
        if device.points[Point.INTENDED] >= self._record_from:
            self.counts.started += 1
            device.cohort.started += 1
            self.counts.port_failures += error.errno in _NO_PORT
        reason = reason_of(error)
        fault = Side.DEVICE if reason is Reason.LOCAL_RESOURCE else Side.CLOUD
        self.ended(device, HandshakeError(Stage.CONNECT, reason, fault))
        return True


def _cohorts(plan: LoadPlan, firmwares: Sequence[FirmwareProfile]) -> list[Cohort[VirtualDevice]]:
    return [
        Cohort(index, profile, part.timeouts_ns, _waits(part, profile), part.pace)
        for index, (part, profile) in enumerate(zip(plan.firmwares, firmwares, strict=True))
    ]


def _waits(plan: FirmwarePlan, profile: FirmwareProfile) -> dict[str, int]:
    """Every wait of a device of one firmware with its time.

    Whether a connection stands is asked when the shorter of the first two timeouts is over (see
    ``VirtualDevice._connect_overdue``), so that is the period of the connect wait.
    """
    timeouts = plan.timeouts_ns
    return {
        **timeouts,
        Stage.CONNECT: min(timeouts[Stage.CONNECT], timeouts[Stage.NONCE]),
        PING: profile.ping_after_ns,
        PONG: profile.ping_timeout_ns,
    }
