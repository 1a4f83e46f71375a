"""A plain blocking device on a real socket, and waiting with a deadline."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from loadgen.protocol.coap import Message
from tests.mockcloud.peer import DEVICE_ID, Peer

PATIENCE_S = 10.0


def eventually(condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> bool:
    """Whether ``condition`` becomes true in time."""
    deadline = time.monotonic() + patience_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


class Client:
    """One device's connection to a cloud."""

    def __init__(
        self, address: tuple[str, int], device_id: bytes = DEVICE_ID, *, key: int = 0, presents: int | None = None
    ) -> None:
        self.peer = Peer(device_id, key=key, presents=presents)
        self.socket = socket.create_connection(address, timeout=PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def step(self) -> list[bytes]:
        """Read once; what the device wants to send then. Raises HandshakeError."""
        return self.peer.feed(self.socket.recv(4096))

    def run_until(self, done: Callable[[], bool]) -> None:
        """Read and answer until ``done``. Raises HandshakeError when the cloud ends it, TimeoutError after a while."""
        while not done():
            for data in self.step():
                self.socket.sendall(data)

    def handshake(self) -> Self:
        """The whole handshake; closed if it fails."""
        try:
            self.run_until(lambda: self.peer.completed)
        except BaseException:
            self.socket.close()
            raise
        return self

    def ask(self, message: Message, answers: int = 1) -> list[Message]:
        """Send ``message``; the next messages of the cloud."""
        before = len(self.peer.messages)
        for frame in self.peer.say(message):
            self.socket.sendall(frame)
        self.run_until(lambda: len(self.peer.messages) >= before + answers)
        return self.peer.messages[before:]
