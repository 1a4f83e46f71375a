"""A TCP proxy that holds a cloud's answers back and says what it did: ``python -m tests.integration.delaying_proxy``.

It shares no code with loadgen and knows of the protocol only how long the three answers are. Arguments: the cloud's
port, a seed, the connection with which a stall begins (0: none) and the stall's length in ms. It prints its own port;
when its standard input ends it prints, as JSON, for each answer of each connection: which one, and on CLOCK_MONOTONIC
in ns when what it answers had come and when it was sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time

MEANS_S = {"nonce": 0.010, "key": 0.030, "hello": 0.015}
SIZES = {"nonce": 40, "key": 384}


class Proxy:
    """One listening port in front of one cloud."""

    def __init__(self, upstream: int, seed: int, stall_at: int, stall_ms: int) -> None:
        self.upstream = upstream
        self.random = random.Random(seed)
        self.stall_at = stall_at
        self.stall_ms = stall_ms
        self.stall_ns = (0, 0)
        self.connections = 0
        self.answers: list[tuple[str, int, int]] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection, until either side has gone."""
        came = [time.monotonic_ns()]
        self.connections += 1
        if self.connections == self.stall_at:
            self.stall_ns = (came[0], came[0] + self.stall_ms * 1_000_000)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            cloud_reader, cloud_writer = await asyncio.open_connection("127.0.0.1", self.upstream)
            forth = asyncio.create_task(self._forth(reader, cloud_writer, came))
            try:
                await self._back(cloud_reader, writer, came)
                await forth
            finally:
                forth.cancel()
                cloud_writer.close()
        writer.close()

    async def _forth(self, reader: asyncio.StreamReader, cloud: asyncio.StreamWriter, came: list[int]) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(4096):
                came[0] = time.monotonic_ns()
                cloud.write(data)

    async def _back(self, cloud: asyncio.StreamReader, writer: asyncio.StreamWriter, came: list[int]) -> None:
        for name, mean_s in MEANS_S.items():
            delay_s = self.random.expovariate(1 / mean_s)
            if name in SIZES:
                data = await cloud.readexactly(SIZES[name])
            else:
                head = await cloud.readexactly(2)
                data = head + await cloud.readexactly(int.from_bytes(head))
            begun_ns = came[0]
            await asyncio.sleep(delay_s)
            begin_ns, end_ns = self.stall_ns
            now_ns = time.monotonic_ns()
            if begin_ns <= now_ns < end_ns:
                await asyncio.sleep((end_ns - now_ns) / 1e9)
            self.answers.append((name, begun_ns, time.monotonic_ns()))
            writer.write(data)


async def main() -> None:
    """Serve until standard input ends."""
    proxy = Proxy(*map(int, sys.argv[1:5]))
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, backlog=1_000)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    server.close()
    print(json.dumps({"stall": proxy.stall_ns, "answers": proxy.answers}), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
