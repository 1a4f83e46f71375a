"""HTTP as far as a live page needs it: what is accepted of a request, and the heads of answers. Pure.

One request a connection: a browser that reloads opens a new one. What a head may be is bounded here, how long it may
take by whoever reads it.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from loadgen.report.dashboard.document import POLICY

MAX_HEAD: Final = 8_192
"""Bytes of a request's line and headers together."""
END_OF_HEAD: Final = b"\r\n\r\n"

_METHODS: Final = ("GET", "HEAD")
_SECURE: Final = {
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class RefusedError(Exception):
    """A request that is not served.

    Attributes:
        status: of the answer.
        text: one sentence for whoever reads it.
    """

    def __init__(self, status: HTTPStatus, text: str) -> None:
        super().__init__(status, text)
        self.status = status
        self.text = text


@dataclass(frozen=True, slots=True)
class Request:
    """A request that was understood. Names of headers are in lower case."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]


def parse(head: bytes) -> Request:
    """Read a request's line and headers, up to and with the empty line.

    Raises:
        RefusedError: it is none of HTTP/1, or of another method than GET and HEAD.
    """
    lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    parts = lines[0].split(" ")
    if len(parts) != 3 or parts[2] not in ("HTTP/1.1", "HTTP/1.0"):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "This is no request of HTTP/1.")
    method, target, _ = parts
    headers = _headers(lines[1:])
    if method not in _METHODS:
        raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, "Pages can be read here, nothing else: GET or HEAD.")
    path, _, query = target.partition("?")
    if not path.startswith("/"):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "The target of a request is a path.")
    found = parse_qs(query, max_num_fields=8) if query.count("&") < 8 else {}
    return Request(method, path, {name: values[0] for name, values in found.items()}, headers)


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or not name or name != name.strip() or (name == "host" and name in headers):
            raise RefusedError(HTTPStatus.BAD_REQUEST, "A header of the request cannot be read.")
        headers[name] = value.strip()
    return headers


# --- who is meant


class Hosts:
    """Which ``Host`` headers are accepted, so that no page of somebody else's can read this one by giving its own name
    the address of this machine (DNS rebinding).

    A numeric address can only be what the browser has connected to, so any one is accepted that the socket listens on;
    of names ``localhost`` and those that are given. On loopback no name of the network leads here.

    Args:
        address: that the socket is bound to.
        port: of the socket.
        names: further names of this server, such as the one that a user has asked it to listen on.
    """

    def __init__(self, address: str, port: int, names: tuple[str, ...] = ()) -> None:
        self._bound = _numeric(address)
        self._port = port
        self._names = {"localhost", *(name.lower().rstrip(".") for name in names if name)}

    def check(self, request: Request) -> None:
        """Refuse a request that is meant for another name.

        Raises:
            RefusedError: with the name.
        """
        given = request.headers.get("host", "")
        if not self.accepts(given):
            text = f"This server is not {given[:100]!a}: ask for the address that loadgen has printed."
            raise RefusedError(HTTPStatus.MISDIRECTED_REQUEST, text)

    def accepts(self, given: str) -> bool:
        """Whether this ``Host`` header means this server."""
        host, port = _split(given)
        if port != self._port:
            return False
        address = _numeric(host)
        if address is None:
            return host.lower().rstrip(".") in self._names
        if self._bound is None or self._bound.is_unspecified:
            return True
        return address == self._bound or (self._bound.is_loopback and address.is_loopback)


def _split(given: str) -> tuple[str, int | None]:
    """Host and port; 80 where none is named, None where it is no number."""
    if given.startswith("["):
        host, bracket, rest = given[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            return "", None
        port = rest[1:] if rest else "80"
    else:
        host, colon, port = given.partition(":")
        port = port if colon else "80"
    return host, int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else None


def _numeric(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


# --- answers


def answer(status: HTTPStatus, headers: Mapping[str, str]) -> bytes:
    """The head of an answer. Nothing of it is kept by anybody unless the headers say so."""
    lines = [f"HTTP/1.1 {status.value} {status.phrase}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in ({"Cache-Control": "no-store"} | _SECURE | dict(headers)).items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def content(kind: str, body: bytes, **more: str) -> bytes:
    """The head of an answer with a body of a known length.

    Args:
        kind: the content type.
        body: what follows.
        more: further headers; ``_`` stands for ``-``.
    """
    headers = {"Content-Type": kind, "Content-Length": str(len(body))}
    return answer(HTTPStatus.OK, headers | {name.replace("_", "-"): value for name, value in more.items()})


def refusal(refused: RefusedError) -> tuple[bytes, bytes]:
    """Head and body of the answer to a request that is not served."""
    body = f"{refused.text}\n".encode()
    headers = {"Content-Type": "text/plain; charset=utf-8", "Content-Length": str(len(body))}
    if refused.status is HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_METHODS)
    if refused.status is HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "5"
    return answer(refused.status, headers), body


def framed(data: bytes, event_id: str) -> bytes:
    """One server-sent event (HTML living standard, 9.2). The data is JSON on one line."""
    return b"id: %s\ndata: %s\n\n" % (event_id.encode(), data)


def retry(milliseconds: int) -> bytes:
    """Tells a browser how long to wait before it connects again."""
    return b"retry: %d\n\n" % milliseconds


PING: Final = b":\n\n"
"""A comment, so that either side notices when the other is gone."""
EVENT_STREAM: Final = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
