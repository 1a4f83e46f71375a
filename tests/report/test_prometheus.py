"""The endpoint on a real socket of this machine."""

from __future__ import annotations

import gzip
import socket
import urllib.error
import urllib.request
from urllib.parse import urlsplit

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_text

from loadgen.errors import UsageError
from loadgen.report.prometheus import MAX_CONNECTIONS, PrometheusEndpoint
from tests.report.samples import bad_record, good_record
from tests.report.test_metrics import snapshot_of


def get(url: str, **headers: str) -> tuple[str, bytes]:
    """Content type and body."""
    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read()


def test_every_format_of_the_last_snapshot() -> None:
    with PrometheusEndpoint("127.0.0.1", 0) as endpoint:
        assert get(endpoint.url)[1] == b"", "nothing was published yet"
        endpoint.publish(snapshot_of(bad_record()))
        assert 'mode="closed"' in get(endpoint.url)[1].decode()
        endpoint.publish(snapshot_of(good_record()))
        kind, text = get(endpoint.url)
        assert kind.startswith("text/plain; version=0.0.4")
        assert 'mode="open"' in text.decode()
        assert gzip.decompress(get(endpoint.url, Accept_Encoding="gzip")[1]) == text
        kind, strict = get(endpoint.url, Accept="application/openmetrics-text;version=1.0.0")
        assert kind.startswith("application/openmetrics-text")
        families = list(read_openmetrics(strict.decode()))  # type: ignore[no-untyped-call]
        assert len(families) == len(list(read_text(text.decode())))
        assert b"/metrics" in get(endpoint.url.removesuffix("metrics"))[1]
        with pytest.raises(urllib.error.HTTPError, match="404"):
            get(f"{endpoint.url}/other")


def test_a_port_in_use() -> None:
    with PrometheusEndpoint("127.0.0.1", 0) as endpoint:
        port = urlsplit(endpoint.url).port
        assert port is not None
        with pytest.raises(UsageError, match="cannot listen") as error:
            PrometheusEndpoint("127.0.0.1", port)
    assert error.value.exit_code == 2


def test_clients_that_say_nothing_do_not_keep_others_out_for_ever() -> None:
    with PrometheusEndpoint("127.0.0.1", 0) as endpoint:
        address = urlsplit(endpoint.url)
        silent = [socket.create_connection((address.hostname, address.port), 10) for _ in range(MAX_CONNECTIONS)]
        turned_away = socket.create_connection((address.hostname, address.port), 10)
        assert turned_away.recv(1) == b""
        for connection in (*silent, turned_away):
            connection.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((address.hostname, address.port), 10)
