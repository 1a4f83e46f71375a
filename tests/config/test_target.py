"""Addresses as people write them."""

from __future__ import annotations

import pytest

from loadgen.config.target import HostPort, parse_host_port


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("localhost", "localhost", 5683),
        ("Cloud.Example:99", "cloud.example", 99),
        ("192.168.1.20:65535", "192.168.1.20", 65535),
        ("[::1]:5683", "::1", 5683),
        ("[::1]", "::1", 5683),
        ("::1", "::1", 5683),
        ("FE80::1", "fe80::1", 5683),
        ("  host:1 ", "host", 1),
        ("host.", "host.", 5683),
        ("bücher.example", "xn--bcher-kva.example", 5683),
        ("ＰＡＲＴＩＣＬＥ.io", "particle.io", 5683),
        ("particle。io", "particle.io", 5683),
        ("my_cloud", "my_cloud", 5683),
    ],
)
def test_reads(text: str, host: str, port: int) -> None:
    assert parse_host_port(text) == HostPort(host, port)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":5683",
        "host:",
        "host:0",
        "host:65536",
        "host:99999999999999999999",
        "host:５",
        "host:-1",
        "host:x",
        "[::1",
        "[::1]x",
        "[host]:1",
        "[]:1",
        "1:2:3",
        "a b",
        "user@host",
        "host/path",
        "tcp://host:1",
        "a..b",
        "x" * 64,
        ".".join(["x" * 60] * 5),
        "ho\nst",
        "ho\x00st",
    ],
)
def test_refuses_with_one_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="write for example") as caught:
        parse_host_port(text)
    assert "\n" not in str(caught.value)


def test_port_0_is_for_listening_only() -> None:
    assert parse_host_port("127.0.0.1:0", any_port=True).port == 0


@pytest.mark.parametrize("text", ["host:1", "[::1]:5683", "10.0.0.1:80"])
def test_written_as_read(text: str) -> None:
    assert str(parse_host_port(text)) == text
