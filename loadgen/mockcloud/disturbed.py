"""A connection that commits faults, holds answers back and notes their times.

It is the ordinary connection in all but the way its answers go out: whatever the core wants to send passes through
``_write``, which knows whose answer it is, holds it until it is due, and does with it what the plan says. What is sent
after a held answer waits behind it, and the handshake is complete when the cloud's Hello has really gone.
"""

from __future__ import annotations

import socket
from typing import Final

from loadgen.kernel import LINGER_RST
from loadgen.mockcloud.connection import CloudHost, Connection, discard
from loadgen.mockcloud.disturbance import Disturbance
from loadgen.mockcloud.faults import Fault, FaultKind, FaultStage
from loadgen.protocol import coap
from loadgen.protocol.cloud import CloudConnection
from loadgen.protocol.events import CryptoNeeded, DecryptNonce, DeviceIdentified, Seal
from loadgen.protocol.reasons import Reason
from loadgen.protocol.states import CloudState
from loadgen.protocol.wire import LENGTH_SIZE, pad

_NEVER_NS: Final = 1 << 62
_CIPHERTEXT_AT: Final = 64
"""A byte within the 128 of the encrypted session key; not the first, so that the value stays below the modulus."""
_SIGNATURE_AT: Final = 128 + 64
_WRONG_HELLO: Final = pad(coap.encode(coap.Message(coap.ACK, coap.Code.CHANGED, 0)))
_MUTE_AFTER: Final = frozenset({FaultKind.BAD_FRAME, FaultKind.BAD_PADDING, FaultKind.WRONG_HELLO})
"""After these the cloud says nothing more and waits for the device to leave."""


class _Answer:
    """One answer on its way out."""

    __slots__ = ("data", "due_ns", "fault", "is_glued", "next_byte", "received_ns", "stage")

    def __init__(self, stage: FaultStage, fault: Fault | None, data: bytes, received_ns: int) -> None:
        self.stage = stage
        self.fault = fault
        self.data = data
        self.received_ns = received_ns
        self.due_ns = received_ns
        self.is_glued = False
        self.next_byte = 0

    def has(self, kind: FaultKind) -> bool:
        """Whether its fault is of this kind."""
        return self.fault is not None and self.fault.kind is kind


class DisturbedConnection(Connection):
    """One device's connection, disturbed as the worker's plans say.

    Args:
        host: the worker.
        core: the protocol.
        sock: non-blocking.
        deadline_ns: as for the ordinary connection; what the cloud itself holds an answer for comes on top.
        disturbance: the worker's plans and notes.
        accepted_ns: when the connection was accepted.
    """

    __slots__ = (
        "_arrived_ns",
        "_behind",
        "_disturbance",
        "_faults",
        "_has_hung_up",
        "_is_mute",
        "_next_stage",
        "_number",
        "_out",
        "_owes_completion",
    )

    def __init__(
        self,
        host: CloudHost,
        core: CloudConnection,
        sock: socket.socket,
        deadline_ns: int,
        *,
        disturbance: Disturbance,
        accepted_ns: int,
    ) -> None:
        super().__init__(host, core, sock, deadline_ns)
        self._disturbance = disturbance
        self._number = disturbance.take_number()
        self._faults = disturbance.faults.at(self._number)
        self._arrived_ns = accepted_ns
        self._next_stage: FaultStage | None = FaultStage.NONCE
        self._out: _Answer | None = None
        self._behind: list[bytes] = []
        self._is_mute = False
        self._has_hung_up = False
        self._owes_completion = False

    # --- what happens to the connection

    def on_readable(self) -> None:
        """Read what has come and go on; a mute cloud only looks whether the device has left."""
        if not self._is_mute:
            super().on_readable()
            return
        sock = self._socket
        if sock is None:
            return
        try:
            data, _ = self._disturbance.receive(sock)
        except BlockingIOError:
            return
        except OSError:
            self._left(was_reset=True)
            return
        if not data:
            self._left(was_reset=False)

    def on_due(self) -> None:
        """Go on with the answer that was held back until now."""
        answer = self._out
        if self._socket is None or answer is None:  # ended meanwhile
            return
        if answer.next_byte:
            self._dribble(answer)
        else:
            self._give(answer)

    # --- between the core and the socket

    def _receive(self, sock: socket.socket) -> bytes:
        data, arrived_ns = self._disturbance.receive(sock)
        if data:
            self._arrived_ns = arrived_ns
        return data

    def _compute(self, event: CryptoNeeded) -> bool:
        request = event.request
        if isinstance(request, Seal):
            if self._core.state is CloudState.SEAL_HELLO:
                self._spoil_hello(request)
        elif isinstance(request, DecryptNonce):
            fault = self._faults.get(FaultStage.KEY)
            if fault is not None and fault.kind is FaultKind.WRONG_NONCE:
                self._disturbance.commit(fault)
        return super()._compute(event)

    def _spoil_hello(self, request: Seal) -> None:
        fault = self._faults.get(FaultStage.HELLO)
        if fault is None:
            return
        if fault.kind is FaultKind.WRONG_HELLO:
            request.padded = _WRONG_HELLO
        elif fault.kind is FaultKind.BAD_PADDING:
            request.padded = request.padded[:-1] + b"\0"

    def _identify(self, event: DeviceIdentified) -> None:
        fault = self._faults.get(FaultStage.KEY)
        if fault is not None and fault.kind is FaultKind.FORGET:
            self._disturbance.commit(fault)
            self._core.refuse(Reason.UNKNOWN_DEVICE)
        else:
            super()._identify(event)

    def _completed(self) -> None:
        if self._is_mute:
            return
        if self._out is None:
            super()._completed()
        else:
            self._owes_completion = True

    def _write(self, data: bytes) -> None:
        if self._is_mute:
            return
        out = self._out
        if out is None:
            self._answer_or_message(data)
        elif out.has(FaultKind.COALESCE) and not out.is_glued:
            out.is_glued = True
            out.data += data
            self._schedule(out)
        else:
            self._behind.append(data)

    def _answer_or_message(self, data: bytes) -> None:
        """Pass on what is no answer of a stage: pings before Hello, and the session after its first message."""
        stage = self._next_stage
        if stage is None or (stage is FaultStage.HELLO and self._core.state is not CloudState.SESSION):
            super()._write(data)
            return
        self._next_stage = _FOLLOWING[stage]
        answer = _Answer(stage, self._faults.get(stage), data, self._arrived_ns)
        if stage is FaultStage.NONCE and self._checks_another_nonce():
            answer.data = _flipped(data, 0)
        if answer.has(FaultKind.COALESCE):
            self._out = answer
            self._core.send_message(coap.ping())  # the pump brings it here next
        else:
            self._schedule(answer)

    def _checks_another_nonce(self) -> bool:
        fault = self._faults.get(FaultStage.KEY)
        return fault is not None and fault.kind is FaultKind.WRONG_NONCE

    # --- giving an answer

    def _schedule(self, answer: _Answer) -> None:
        """Give the answer, now or when it is due."""
        disturbance, fault = self._disturbance, answer.fault
        answer.due_ns += disturbance.delays.delay_ns(answer.stage, self._number)
        now_ns = disturbance.now()
        if fault is not None and fault.kind is FaultKind.DELAY:
            assert fault.argument is not None
            answer.due_ns = max(answer.due_ns, now_ns) + fault.argument
        if answer.due_ns <= now_ns:
            self._give(answer)
            return
        self._out = answer
        self.deadline_ns += answer.due_ns - now_ns
        disturbance.wake(answer.due_ns, self)

    def _give(self, answer: _Answer) -> None:
        """Do with the answer what its fault says."""
        fault = answer.fault
        if fault is None:
            self._send(answer)
            return
        self._disturbance.commit(fault)
        kind, size = fault.kind, fault.argument
        if kind is FaultKind.CLOSE:
            self._hang_up()
        elif kind is FaultKind.RESET:
            self._reset()
        elif kind is FaultKind.TRUNCATE:
            super()._write(answer.data[:size])
            self._hang_up()
        elif kind is FaultKind.STALL:
            if size:
                super()._write(answer.data[:size])
            self._fall_mute()
        elif kind is FaultKind.DRIBBLE:
            answer.due_ns = max(answer.due_ns, self._disturbance.now())
            self._dribble(answer)
        else:
            answer.data = _spoilt(kind, answer.data)
            self._send(answer)

    def _send(self, answer: _Answer) -> None:
        sent_ns = self._disturbance.now()
        super()._write(answer.data)
        if self._socket is not None:
            self._sent(answer, sent_ns)

    def _dribble(self, answer: _Answer) -> None:
        """Send one more byte of the answer."""
        disturbance, at = self._disturbance, answer.next_byte
        sent_ns = disturbance.now()
        super()._write(answer.data[at : at + 1])
        if self._socket is None:
            return
        answer.next_byte = at + 1
        if answer.next_byte == len(answer.data):
            self._sent(answer, sent_ns)
            return
        assert answer.fault is not None
        pause_ns = answer.fault.argument
        assert pause_ns is not None
        self._out = answer
        answer.due_ns += pause_ns
        self.deadline_ns += pause_ns
        disturbance.wake(answer.due_ns, self)

    def _sent(self, answer: _Answer, sent_ns: int) -> None:
        """The whole answer has gone: note it, and let go what waited behind it."""
        log = self._disturbance.log
        if log is not None and answer.stage is not FaultStage.SESSION:
            log.add(answer.stage, self._number, answer.received_ns, answer.due_ns, sent_ns)
        self._out = None
        if answer.fault is not None and answer.fault.kind in _MUTE_AFTER:
            self._fall_mute()
            return
        behind, self._behind = self._behind, []
        for data in behind:
            if self._socket is not None:
                super()._write(data)
        if self._owes_completion and self._socket is not None:
            self._owes_completion = False
            super()._completed()

    # --- ends

    def _fall_mute(self) -> None:
        """Say nothing more, and wait for the device to leave, however long that takes."""
        self._is_mute = True
        self._out = None
        self._behind.clear()
        self.deadline_ns = _NEVER_NS

    def _hang_up(self) -> None:
        """Close with a FIN.

        A device in session sends without being asked: after a whole close its next message would be answered by an
        RST, which can overtake the FIN. So there only our direction is closed, and the rest once the device has left.
        """
        sock = self._socket
        if sock is None:
            return
        if not self.in_session:
            discard(sock)
            self.end(None)
            return
        self._has_hung_up = True
        self._fall_mute()
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            self.end(None)

    def _reset(self) -> None:
        if self._socket is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RST)
            self.end(None)

    def _left(self, *, was_reset: bool) -> None:
        """The device has left a mute cloud."""
        if self.in_session and not self._has_hung_up:
            counts = self._host.counts
            counts.reset_by_device += was_reset
            counts.closed_by_device += not was_reset
        self.end(None)


_FOLLOWING: Final = {
    FaultStage.NONCE: FaultStage.KEY,
    FaultStage.KEY: FaultStage.HELLO,
    FaultStage.HELLO: FaultStage.SESSION,
    FaultStage.SESSION: None,
}


def _spoilt(kind: FaultKind, data: bytes) -> bytes:
    """The answer with this fault, where that shows in its bytes and is not there yet."""
    if kind is FaultKind.CORRUPT_CIPHERTEXT:
        return _flipped(data, _CIPHERTEXT_AT)
    if kind is FaultKind.CORRUPT_SIGNATURE:
        return _flipped(data, _SIGNATURE_AT)
    if kind is FaultKind.BAD_FRAME:
        return bytes(LENGTH_SIZE) + data[LENGTH_SIZE:]
    return data


def _flipped(data: bytes, at: int) -> bytes:
    """``data`` with one bit of the byte at ``at`` changed."""
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]
