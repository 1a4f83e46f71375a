"""What anybody would write first: a closed-loop client on uvloop and OpenSSL, as a yardstick for the engine.

It does the whole handshake with all checks, one RSA operation at a time on the event loop, and nothing else: no
recording, no timeouts, no accounting of failures, no stages, no second thread.

Usage: ``python naive_client.py HOST PORT FLEET CONCURRENCY SECONDS`` prints one JSON line.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import socket
import struct
import sys
import time
from pathlib import Path

import uvloop
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.serialization import load_der_private_key, load_der_public_key

from loadgen.fleet.keystore import FleetStore

PKCS1 = padding.PKCS1v15()
LINGER_RST = struct.pack("ii", 1, 0)


class NaiveDevice(asyncio.Protocol):
    """One handshake after another; ``done`` counts the complete ones."""

    done = 0
    failed = 0
    deadline = 0.0
    server: rsa.RSAPublicKey
    key: rsa.RSAPrivateKey
    prefix: bytes

    def __init__(self, finished: asyncio.Event) -> None:
        self.finished = finished

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RST)
        self.buffer = b""
        self.state = 0

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        if self.state == 0 and len(self.buffer) >= 40:
            plain = self.buffer[:40] + os.urandom(12) + self.prefix
            self.buffer = self.buffer[40:]
            self.state = 1
            self.transport.write(self.server.encrypt(plain, PKCS1))  # type: ignore[attr-defined]
        elif self.state == 1 and len(self.buffer) >= 384:
            reply, self.buffer = self.buffer[:384], self.buffer[384:]
            material = self.key.decrypt(reply[:128], PKCS1)
            mac = hmac.digest(material, reply[:128], "sha1")
            if self.server.recover_data_from_signature(reply[128:], PKCS1, None) != mac:
                raise ValueError("signature")
            self.cipher = Cipher(algorithms.AES(material[:16]), modes.CBC(material[16:32]))
            message_id = (int.from_bytes(material[32:34], "big") + 1) & 0xFFFF
            hello = b"\x50\x02" + message_id.to_bytes(2, "big") + bytes.fromhex("b168ff0008ffff00000008") + b"\x01"
            self.state = 2
            self.transport.write(b"\x00\x10" + self.cipher.encryptor().update(hello))  # type: ignore[attr-defined]
        elif self.state == 2 and len(self.buffer) >= 18:
            plain = self.cipher.decryptor().update(self.buffer[2:18])
            if plain[1] != 2 or b"\xb1h" not in plain:
                raise ValueError("hello")
            type(self).done += 1
            self.transport.abort()  # type: ignore[attr-defined]

    def connection_lost(self, exc: Exception | None) -> None:
        if self.state != 2:
            type(self).failed += 1
        self.finished.set()


async def slot(host: str, port: int, deadline: float) -> None:
    """One closed-loop slot."""
    loop = asyncio.get_running_loop()
    while time.monotonic() < deadline:
        finished = asyncio.Event()
        await loop.create_connection(lambda event=finished: NaiveDevice(event), host, port)  # type: ignore[misc]
        await finished.wait()


async def run(host: str, port: int, concurrency: int, seconds: float) -> None:
    """Keep ``concurrency`` slots busy for ``seconds``."""
    deadline = time.monotonic() + seconds
    await asyncio.gather(*(slot(host, port, deadline) for _ in range(concurrency)))


def main() -> None:
    host, port, fleet, concurrency, seconds = sys.argv[1:6]
    with FleetStore.open(Path(fleet)) as store:
        identity = next(store.identities(0, 1, 1))
        assert store.server_public_key is not None
        server = load_der_public_key(store.server_public_key)
    key = load_der_private_key(identity.private_key_der, None, unsafe_skip_rsa_key_validation=True)
    assert isinstance(server, rsa.RSAPublicKey)
    assert isinstance(key, rsa.RSAPrivateKey)
    NaiveDevice.server, NaiveDevice.key, NaiveDevice.prefix = server, key, identity.public_key
    cpu, wall = time.process_time(), time.monotonic()
    uvloop.run(run(host, int(port), int(concurrency), float(seconds)))
    cpu, wall = time.process_time() - cpu, time.monotonic() - wall
    result = {"completed": NaiveDevice.done, "failed": NaiveDevice.failed, "cpu_s": cpu, "wall_s": wall}
    sys.stdout.write(json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
