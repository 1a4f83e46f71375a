"""Requests that are understood, refused and mistaken; who is meant by a Host header; how events are written."""

from __future__ import annotations

from http import HTTPStatus

import pytest

from loadgen.report.dashboard import http
from loadgen.report.dashboard.http import Hosts, RefusedError, Request, parse


def request(*lines: str) -> bytes:
    """A head."""
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def test_a_request_is_taken_apart() -> None:
    found = parse(request("GET /events?after=ab-3&x HTTP/1.1", "Host: 127.0.0.1:8089", "Last-Event-ID:  ab-9 "))
    assert found == Request("GET", "/events", {"after": "ab-3"}, {"host": "127.0.0.1:8089", "last-event-id": "ab-9"})


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["GET /"], 400),
        (["GET / HTTP/2"], 400),
        (["GET  / HTTP/1.1"], 400),
        (["GET http://other/ HTTP/1.1"], 400),
        (["\x16\x03\x01\x02"], 400),
        (["GET / HTTP/1.1", "no header"], 400),
        (["GET / HTTP/1.1", " folded: x"], 400),
        (["GET / HTTP/1.1", "Host : x"], 400),
        (["GET / HTTP/1.1", "Host: a", "Host: b"], 400),
        (["POST / HTTP/1.1"], 405),
        (["OPTIONS / HTTP/1.1"], 405),
        (["get / HTTP/1.1"], 405),
    ],
)
def test_what_is_no_request_for_a_page(lines: list[str], status: int) -> None:
    with pytest.raises(RefusedError) as refused:
        parse(request(*lines))
    assert refused.value.status == status
    head, body = http.refusal(refused.value)
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert (b"Allow: GET, HEAD\r\n" in head) == (status == 405)
    assert body.endswith(b"\n")


@pytest.mark.parametrize(
    ("bound", "given", "accepted"),
    [
        ("127.0.0.1", "127.0.0.1:8089", True),
        ("127.0.0.1", "localhost:8089", True),
        ("127.0.0.1", "LOCALHOST.:8089", True),
        ("127.0.0.1", "[::1]:8089", True),
        ("127.0.0.1", "127.0.0.1:8090", False),
        ("127.0.0.1", "127.0.0.1", False),
        ("127.0.0.1", "localhost", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "evil.example:8089", False),
        ("127.0.0.1", "localhost.evil.example:8089", False),
        ("127.0.0.1", "127.0.0.1.nip.io:8089", False),
        ("127.0.0.1", "10.0.0.5:8089", False),
        ("127.0.0.1", "2130706433:8089", False),
        ("127.0.0.1", "localhost:8089:8089", False),
        ("127.0.0.1", "localhost:+8089", False),
        ("127.0.0.1", "[::1:8089", False),
        ("127.0.0.1", "[::1]x:8089", False),
        ("::1", "[::1]:8089", True),
        ("::1", "127.0.0.1:8089", True),
        ("10.0.0.5", "10.0.0.5:8089", True),
        ("10.0.0.5", "10.0.0.6:8089", False),
        ("10.0.0.5", "0.0.0.0:8089", False),
        ("10.0.0.5", "box.example:8089", True),
        ("10.0.0.5", "other.example:8089", False),
        ("0.0.0.0", "10.0.0.5:8089", True),
        ("0.0.0.0", "[fe80::1]:8089", True),
        ("0.0.0.0", "0.0.0.0:8089", True),
        ("0.0.0.0", "box.example:8089", True),
        ("0.0.0.0", "evil.example:8089", False),
        ("::", "[2001:db8::7]:8089", True),
    ],
)
def test_who_is_meant(bound: str, given: str, accepted: bool) -> None:
    hosts = Hosts(bound, 8089, () if bound in ("127.0.0.1", "::1") else ("box.example", ""))
    assert hosts.accepts(given) == accepted
    asked = Request("GET", "/", {}, {"host": given})
    if accepted:
        hosts.check(asked)
    else:
        with pytest.raises(RefusedError, match="ask for the address"):
            hosts.check(asked)


def test_a_port_of_80_may_be_left_out() -> None:
    hosts = Hosts("127.0.0.1", 80)
    assert hosts.accepts("localhost")
    assert hosts.accepts("[::1]")


def test_every_answer_is_closed_to_other_pages() -> None:
    for head in (http.content("text/html", b"x"), http.refusal(RefusedError(HTTPStatus.NOT_FOUND, "no"))[0]):
        text = head.decode()
        assert text.endswith("\r\n\r\n")
        for header in ("Content-Security-Policy: default-src 'none'; ", "X-Content-Type-Options: nosniff\r\n",
                       "Cross-Origin-Resource-Policy: same-origin\r\n", "Referrer-Policy: no-referrer\r\n",
                       "X-Frame-Options: DENY\r\n", "Cache-Control: no-store\r\n",
                       "Connection: close\r\n"):  # fmt: skip
            assert header in text


def test_events_are_framed() -> None:
    assert http.framed(b'{"a":"\\n"}', "ab-1") == b'id: ab-1\ndata: {"a":"\\n"}\n\n'
    assert http.retry(2_000) == b"retry: 2000\n\n"
    assert http.PING.startswith(b":")
