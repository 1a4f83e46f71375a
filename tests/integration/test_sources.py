"""Connections come from the addresses that were named."""

from __future__ import annotations

import socket

import pytest

from loadgen.engine.plan import Target
from loadgen.engine.sockets import SocketSet


class Nobody:
    """Does nothing with a socket."""

    def on_ready(self, mask: int) -> None: ...


def peers(sources: tuple[str, ...], family: socket.AddressFamily, host: str) -> list[str]:
    with socket.socket(family) as listener:
        try:
            listener.bind((host, 0))
        except OSError:
            pytest.skip(f"this machine has no {host}")
        listener.listen()
        listener.settimeout(5)
        sockets = SocketSet(Target(host, listener.getsockname()[1]), kernel_stamps=False, sources=sources)
        made = [sockets.connect(Nobody()) for _ in range(4)]
        found = []
        for _ in made:
            accepted, address = listener.accept()
            found.append(address[0])
            accepted.close()
        for sock in made:
            sockets.close(sock, reset=True)
        sockets.close_set()
    return found


def test_several_addresses_in_turn() -> None:
    sources = ("127.0.0.5", "127.8.9.10")
    assert sorted(peers(sources, socket.AF_INET, "127.0.0.1")) == sorted(sources * 2)


def test_without_sources_the_system_chooses() -> None:
    assert set(peers((), socket.AF_INET, "127.0.0.1")) == {"127.0.0.1"}


def test_ipv6() -> None:
    assert set(peers(("::1",), socket.AF_INET6, "::1")) == {"::1"}
