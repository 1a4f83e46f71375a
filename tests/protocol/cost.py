"""What the protocol cores cost: µs of Python a handshake, bytes a connection. Crypto and sockets are left out.

Run from the root of the repository: ``python -m tests.protocol.cost``
"""

from __future__ import annotations

import sys
import tracemalloc
from collections.abc import Callable

from loadgen.clock import process_cpu_ns
from loadgen.protocol.cloud import CloudConnection
from loadgen.protocol.device import DeviceConnection
from loadgen.protocol.events import NEED_DATA, CryptoNeeded, DeviceIdentified, HandshakeCompleted
from loadgen.protocol.wire import pad
from tests.fakes import MATERIAL, NONCE, make_cloud, make_device, pull
from tests.protocol.scripted import CLOUD_HELLO, DEVICE_HELLO, PLAINTEXT, Sealer, ciphertext, reply

ROUNDS = 5
HANDSHAKES = 10_000
CONNECTIONS = 1_000

_CIPHERTEXT, _REPLY = ciphertext(), reply()
_DEVICE_FRAME, _CLOUD_FRAME = Sealer().frame(DEVICE_HELLO), Sealer().frame(CLOUD_HELLO)


def shake(connection: DeviceConnection | CloudConnection, reads: list[bytes], results: list[bytes]) -> None:
    """One handshake, every answer at hand (the last one first)."""
    while True:
        event = connection.next_event()
        if event is NEED_DATA:
            connection.receive_data(reads.pop())
        elif isinstance(event, CryptoNeeded):
            connection.answer(event.token, results.pop())
        elif isinstance(event, DeviceIdentified) and isinstance(connection, CloudConnection):
            connection.admit(None)
        elif isinstance(event, HandshakeCompleted):
            return


def device() -> None:
    """The device's side, from construction to the cloud's Hello."""
    results = [pad(CLOUD_HELLO), _DEVICE_FRAME[2:], MATERIAL, _CIPHERTEXT]
    shake(make_device(), [_CLOUD_FRAME, _REPLY, NONCE], results)


def cloud() -> None:
    """The cloud's side with full crypto."""
    results = [_CLOUD_FRAME[2:], pad(DEVICE_HELLO), _REPLY, PLAINTEXT]
    shake(make_cloud(), [_DEVICE_FRAME, _CIPHERTEXT], results)


def prepared_cloud() -> None:
    """The cloud's side with a prepared reply."""
    results = [_CLOUD_FRAME[2:], pad(DEVICE_HELLO)]
    shake(make_cloud(prepared=_REPLY), [_DEVICE_FRAME, _CIPHERTEXT], results)


def us_per_call(function: Callable[[], None]) -> float:
    """CPU time of a call, the best of some rounds."""
    best = sys.maxsize
    for _ in range(ROUNDS):
        begun = process_cpu_ns()
        for _ in range(HANDSHAKES):
            function()
        best = min(best, process_cpu_ns() - begun)
    return best / HANDSHAKES / 1000


def bytes_per_device() -> int:
    """Memory of a device that waits for the cloud's Hello: its state, session and buffers, without its keys."""
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    devices = [make_device() for _ in range(CONNECTIONS)]
    for connection in devices:
        connection.receive_data(bytes(bytearray(NONCE)))
        pull(connection)
        connection.receive_data(bytes(bytearray(_REPLY)))
        pull(connection)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return used // len(devices)


def main() -> None:
    """Print one line a figure."""
    for function in (device, cloud, prepared_cloud):
        print(f"{function.__name__:15} {us_per_call(function):6.1f} µs a handshake")
    print(f"{'device':15} {bytes_per_device():6} bytes while it waits for Hello")


if __name__ == "__main__":
    main()
