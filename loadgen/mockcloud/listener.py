"""The listening socket of a mock cloud, and what can go wrong with an address."""

from __future__ import annotations

import errno
import socket

from loadgen.errors import LoadgenError, LocalResourceError, UsageError

_BACKLOG = 65_535
"""The kernel cuts this to net.core.somaxconn."""

_REMEDIES = {
    errno.EADDRINUSE: "Another program listens there: stop it, or choose another port.",
    errno.EACCES: "Ports below 1024 need a privilege; choose a higher port.",
    errno.EADDRNOTAVAIL: "The address is none of this machine; use 127.0.0.1, 0.0.0.0 or an address of its own.",
}


def describe(host: str, port: int) -> str:
    """``host:port``, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def bind(host: str, port: int) -> socket.socket:
    """A non-blocking socket that listens on ``host:port``; port 0 lets the system choose.

    Raises:
        UsageError: the name is unknown, or the address cannot be bound.
    """
    where = describe(host, port)
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:  # the latter for names that no encoding of names can express
        raise UsageError(
            f"the address is unknown ({_text(error)})", where=where, remedy="Use an address of this machine."
        ) from error
    try:
        return _listen(socket.socket(family, kind, protocol), address)
    except OSError as error:
        raise _cannot_listen(error, where) from error


def _listen(sock: socket.socket, address: tuple[str | int | bytes, ...]) -> socket.socket:
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # inherited by what is accepted
        sock.bind(address)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def _cannot_listen(error: OSError, where: str) -> LoadgenError:
    if error.errno in {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}:
        return LocalResourceError(f"cannot listen ({_text(error)})", where=where, remedy="Free descriptors or memory.")
    remedy = _REMEDIES.get(error.errno or 0, "Choose another address or port.")
    return UsageError(f"cannot listen ({_text(error)})", where=where, remedy=remedy)


def _text(error: Exception) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)
