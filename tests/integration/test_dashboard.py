"""The live page on real sockets: clients that behave, that do not read, that do not speak, and that are too many."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from loadgen.errors import UsageError
from loadgen.report.dashboard.feed import Dashboard
from loadgen.report.dashboard.http import MAX_HEAD
from loadgen.report.dashboard.server import Limits
from loadgen.store import load_record
from tests.report.dashboard.made import ToldBrowser, update_of
from tests.report.dashboard.serving import Serving, Stream, read_all
from tests.report.samples import good_record

QUICK = Limits(
    viewers=3,
    connections=6,
    waiting=4_096,
    stalled_s=0.3,
    socket_buffer=4_096,
    farewell_s=0.3,
)


@pytest.fixture
def serving() -> Iterator[Serving]:
    """A page with three seconds."""
    with Serving(QUICK) as found:
        for second in range(3):
            found.take(update_of(second))
        yield found


def test_a_viewer_hears_every_second_and_the_end(serving: Serving) -> None:
    stream = Stream(serving.follow())
    browser = ToldBrowser(stream.next())
    for second in range(3, 6):
        serving.take(update_of(second))
        browser.hear(stream.next())
    points = next(plot for plot in browser.plots.values() if plot["kind"] == "time")["data"]["lines"][0]["points"]
    assert [at for at, _ in points] == list(range(6)), "the history, and what came"
    serving.take(update_of(None, record=good_record(), phase="complete"))
    last = stream.next()
    assert last["status"]["state"] == "ended"
    assert "VALID" in last["main"]
    stream.close()


def test_a_viewer_that_was_away_for_a_moment_gets_what_it_has_missed(serving: Serving) -> None:
    stream = Stream(serving.follow())
    other = Stream(serving.follow())
    stream.next()
    stream.close()
    for second in (3, 4):
        serving.take(update_of(second))
    host = f"Host: 127.0.0.1:{serving.port}"
    again = Stream(serving.connect("GET /events HTTP/1.1", host, f"Last-Event-ID: {stream.ids[-1]}"))
    assert ["whole" in again.next() for _ in range(2)] == [False, False]
    again.close()
    for stranger in ("0badcafe-1", stream.ids[-1] + "0", "x", "-", f"{stream.ids[-1].partition('-')[0]}-{'9' * 30}"):
        new = Stream(serving.connect("GET /events HTTP/1.1", host, f"Last-Event-ID: {stranger}"))
        assert new.next()["whole"], "of another run, or of none"
        new.close()
    other.close()


def test_a_viewer_that_never_reads_costs_nothing_and_is_left(serving: Serving) -> None:
    silent = serving.follow()
    reading = Stream(serving.follow())
    reading.next()
    serving.until(2)
    begin = time.monotonic()
    for second in range(3, 200):
        serving.take(update_of(second))
        reading.next()
        if serving.do(lambda: serving.server.viewers) == 1:
            break
        time.sleep(0.005)
    serving.until(1)
    assert time.monotonic() - begin < 20
    silent.close()
    reading.close()


def test_a_viewer_that_was_slow_gets_the_whole_page_again() -> None:
    with Serving(replace(QUICK, stalled_s=60.0)) as serving:
        serving.take(update_of(0))
        slow = serving.follow()
        serving.until(1)
        second = 1
        while not serving.do(lambda: serving.server.behind):
            serving.take(update_of(second))
            second += 1
            assert second < 2_000
        stream = Stream(slow)
        browser, heard = ToldBrowser(stream.next()), 1
        while heard < second:
            serving.take(update_of(second))
            second += 1
            event = stream.next()
            browser.hear(event)
            heard += 1
            if event.get("whole"):
                break
        assert heard < second, "events were left out"
        assert event["whole"]
        lines = next(plot for plot in browser.plots.values() if plot["kind"] == "time")["data"]["lines"]
        seconds = [at for at, _ in lines[0]["points"]]
        assert seconds == list(range(len(seconds))), "and none is missing now"
        assert len(seconds) > heard
        stream.close()


def test_no_more_viewers_than_there_is_room_for(serving: Serving) -> None:
    streams = [Stream(serving.follow()) for _ in range(QUICK.viewers)]
    host = f"Host: 127.0.0.1:{serving.port}"
    refused = serving.ask("GET /events HTTP/1.1", host)
    assert refused.startswith(b"HTTP/1.1 503 ")
    assert b"close one of them" in refused
    assert serving.ask("GET / HTTP/1.1", host).startswith(b"HTTP/1.1 200 "), "the page itself is still there"
    streams.pop().close()
    serving.until(QUICK.viewers - 1)
    Stream(serving.follow()).close()
    for stream in streams:
        stream.close()


def test_no_more_connections_than_there_is_room_for() -> None:
    with Serving(replace(QUICK, head_s=2.0)) as serving:
        silent = [serving.connect() for _ in range(QUICK.connections)]
        serving.until_connections(QUICK.connections)
        assert serving.ask("GET / HTTP/1.1", f"Host: 127.0.0.1:{serving.port}").startswith(b"HTTP/1.1 503 ")
        assert [read_all(client) for client in silent] == [b""] * len(silent), "they are left after a while"
        serving.until_connections(0)
        assert serving.ask("GET / HTTP/1.1", f"Host: 127.0.0.1:{serving.port}").startswith(b"HTTP/1.1 200 ")
        for client in silent:
            client.close()


def test_a_flood_of_connections_is_turned_away_without_a_word() -> None:
    with Serving(replace(QUICK, head_s=2.0)) as serving:
        flood = [serving.connect() for _ in range(3 * QUICK.connections)]
        answers = [read_all(client) for client in flood]
        assert answers[-1] == b"", "nothing is kept for it"
        assert any(answer.startswith(b"HTTP/1.1 503 ") for answer in answers)
        for client in flood:
            client.close()
        serving.until_connections(0)
        answer = serving.ask("GET / HTTP/1.1", f"Host: 127.0.0.1:{serving.port}")
        assert answer.startswith(b"HTTP/1.1 200 "), "it serves again"


def drip(client: socket.socket) -> None:
    """Send a head that does not end, byte by byte for up to 20 s."""
    client.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ")
    for _ in range(1_000):
        client.sendall(b"y")
        time.sleep(0.02)


def test_a_head_that_drips_is_left() -> None:
    with Serving(replace(QUICK, head_s=0.3)) as serving, serving.connect() as client, pytest.raises(ConnectionError):
        drip(client)


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (["GET / HTTP/1.1", "Host: evil.example:{port}"], 421),
        (["GET /events HTTP/1.1", "Host: evil.example:{port}"], 421),
        (["GET / HTTP/1.1"], 421),
        (["GET / HTTP/1.1", "Host: 127.0.0.1"], 421),
        (["GET / HTTP/1.1", "Host: localhost:{port}"], 200),
        (["GET / HTTP/1.0", "Host: [::1]:{port}"], 200),
        (["POST / HTTP/1.1", "Host: localhost:{port}", "Content-Length: 3", "", "abc"], 405),
        (["GET /nothing HTTP/1.1", "Host: localhost:{port}"], 404),
        (["GET /tables/plot-77 HTTP/1.1", "Host: localhost:{port}"], 404),
        (["GET /../../etc/passwd HTTP/1.1", "Host: localhost:{port}"], 404),
        (["GET /favicon.ico HTTP/1.1", "Host: localhost:{port}"], 204),
        (["GET /events HTTP/1.1", "Host: localhost:{port}", "Sec-Fetch-Site: cross-site"], 403),
        (["GET / HTTP/1.1", "X: " + "y" * MAX_HEAD, "Host: localhost:{port}"], 431),
        (["GET /" + "y" * 2 * MAX_HEAD + " HTTP/1.1", "Host: localhost:{port}"], 431),
    ],
)
def test_what_is_answered(serving: Serving, lines: list[str], status: int) -> None:
    answer = serving.ask(*(line.replace("{port}", str(serving.port)) for line in lines))
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


def test_head_is_get_without_its_body(serving: Serving) -> None:
    host = f"Host: 127.0.0.1:{serving.port}"
    for path in ("/", "/page.js", "/tables/plot-0"):
        head, _, body = serving.ask(f"GET {path} HTTP/1.1", host).partition(b"\r\n\r\n")
        assert f"Content-Length: {len(body)}".encode() in head
        assert serving.ask(f"HEAD {path} HTTP/1.1", host) == head + b"\r\n\r\n"
    assert serving.ask("HEAD /events HTTP/1.1", host).endswith(b"\r\n\r\n")


def test_scripts_are_not_sent_again(serving: Serving) -> None:
    host = f"Host: 127.0.0.1:{serving.port}"
    answer = serving.ask("GET /echarts.min.js HTTP/1.1", host)
    assert len(answer) > 1_000_000
    tag = next(line for line in answer.split(b"\r\n") if line.startswith(b"ETag: ")).decode().removeprefix("ETag: ")
    again = serving.ask("GET /echarts.min.js HTTP/1.1", host, f"If-None-Match: {tag}")
    assert again.startswith(b"HTTP/1.1 304 ")
    assert again.endswith(b"\r\n\r\n")


def test_a_client_that_does_not_read_its_answer_is_left() -> None:
    with Serving(replace(QUICK, answer_s=0.5)) as serving:
        host = f"Host: 127.0.0.1:{serving.port}"
        with serving.connect("GET /echarts.min.js HTTP/1.1", host) as client:
            assert client.recv(1, socket.MSG_PEEK), "the answer has begun"
            serving.until_connections(0)
            assert len(read_all(client)) < 1_000_000


def test_fifty_viewers() -> None:
    with Serving() as serving:
        serving.take(update_of(0))
        streams = [Stream(serving.follow()) for _ in range(50)]
        assert all(stream.next()["whole"] for stream in streams)
        begin = time.monotonic()
        for second in range(1, 6):
            serving.take(update_of(second))
        for stream in streams:
            assert [len(stream.next()["grown"]) for _ in range(5)] == [4] * 5
        assert time.monotonic() - begin < 20
        for stream in streams:
            stream.close()


# --- the process, and a run


def get(url: str) -> str:
    """The body of an answer."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        found: str = answer.read().decode()
        return found


def test_a_process_of_its_own_serves_and_ends_with_the_run() -> None:
    dashboard = Dashboard("127.0.0.1", 0)
    try:
        assert "Waiting for the run to begin" in get(dashboard.url)
        port = urlsplit(dashboard.url).port
        assert port is not None
        with pytest.raises(UsageError, match="cannot listen") as error:
            Dashboard("127.0.0.1", port)
        assert error.value.exit_code == 2
        client = socket.create_connection(("127.0.0.1", port), 10)
        client.sendall(f"GET /events HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
        stream = Stream(client)
        assert stream.next()["status"]["state"] == "waiting"
        dashboard.publish(update_of(0))
        assert stream.next()["status"]["state"] == "running"
    finally:
        begin = time.monotonic()
        assert dashboard.close() == ""
        assert time.monotonic() - begin < 10
    assert stream.next()["status"]["state"] == "over"
    stream.close()
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", port), 10)


def test_an_address_for_everybody_has_the_names_of_this_machine() -> None:
    dashboard = Dashboard("0.0.0.0", 0)
    try:
        assert dashboard.is_open
        port = urlsplit(dashboard.url).port
        assert dashboard.url == f"http://127.0.0.1:{port}/"
        for host, status in (("192.0.2.7", 200), (socket.gethostname(), 200), ("evil.example", 421)):
            with socket.create_connection(("127.0.0.1", port), 10) as client:
                client.sendall(f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
                assert read_all(client).startswith(f"HTTP/1.1 {status} ".encode())
    finally:
        dashboard.close()


def test_a_page_whose_process_is_killed_does_not_hold_up_the_run() -> None:
    dashboard = Dashboard("127.0.0.1", 0)
    dashboard._process.kill()
    begin = time.monotonic()
    for second in range(300):
        dashboard.publish(update_of(second, completed=5))
    assert "-9" in dashboard.close()
    assert not dashboard._sender.is_alive()
    assert time.monotonic() - begin < 20


def test_a_page_whose_process_hangs_does_not_hold_up_the_run() -> None:
    dashboard = Dashboard("127.0.0.1", 0)
    os.kill(dashboard._process.pid, signal.SIGSTOP)
    begin = time.monotonic()
    update = update_of(1, completed=2_000)
    for _ in range(400):
        dashboard.publish(update)
        time.sleep(0.0005)  # so that what is in the queue cannot go on into the socket's buffer later
    assert time.monotonic() - begin < 20
    assert "-9" in dashboard.close()
    assert not dashboard._sender.is_alive(), "what nobody takes any more has been thrown away"


def run_command(fleet_path: Path, out: Path, *options: str) -> subprocess.Popen[str]:
    """``loadgen run`` as a user starts it."""
    command = [sys.executable, "-m", "loadgen", "run", "--fleet", str(fleet_path), "--out", str(out), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def url_of(process: subprocess.Popen[str]) -> str:
    """The address that a run prints."""
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("Live page: "):
            return line.removeprefix("Live page: ").strip()
    raise AssertionError("no address")


def is_listened_on(port: int | None) -> bool:
    """Whether somebody listens on a port of this machine."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except ConnectionRefusedError:
        return False
    return True


def followed(url: str) -> list[Any]:
    """Events of a run, to its end."""
    port = urlsplit(url).port
    client = socket.create_connection(("127.0.0.1", port), 30)
    client.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    stream = Stream(client)
    found: list[Any] = []
    while not found or found[-1]["status"]["state"] != "over":
        found.append(stream.next())
    stream.close()
    return found


def test_a_run_from_begin_to_end(fleet_path: Path, tmp_path: Path) -> None:
    process = run_command(fleet_path, tmp_path, "--rate", "50/s", "--duration", "1s", "--dashboard", ":0")
    events = followed(url_of(process))
    process.communicate(timeout=30)
    record = load_record(next(tmp_path.iterdir()))
    browser = ToldBrowser(events[0])
    for event in events[1:]:
        browser.hear(event)
    lines = next(plot for plot in browser.plots.values() if plot["kind"] == "time")["data"]["lines"]
    total = {line["name"]: sum(value for _, value in line["points"]) for line in lines}
    assert total["completed"] == record.counts.completed, "every second has come"
    assert record.validity.verdict.upper() in browser.main
    assert f"{record.counts.completed} handshakes completed" in browser.main


def test_an_interruption_ends_a_run_with_viewers_promptly(fleet_path: Path, tmp_path: Path) -> None:
    process = run_command(fleet_path, tmp_path, "--rate", "20/s", "--duration", "60s", "--dashboard", "127.0.0.1:0")
    url = url_of(process)
    port = urlsplit(url).port
    silent = socket.create_connection(("127.0.0.1", port), 30)
    silent.sendall(f"GET /events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
    events: list[Any] = []
    viewer = threading.Thread(target=lambda: events.extend(followed(url)))
    viewer.start()
    limit = time.monotonic() + 30
    while "RUNNING" not in get(url):
        assert time.monotonic() < limit
        time.sleep(0.2)
    begin = time.monotonic()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    viewer.join(10)
    assert process.returncode == 130
    assert time.monotonic() - begin < 20
    assert "was interrupted" in events[-1]["status"]["text"]
    silent.close()


def test_a_port_in_use_ends_the_command_before_anything_is_started(fleet_path: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        process = run_command(fleet_path, tmp_path / "out", "--duration", "1s", "--dashboard", address)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 2
    assert not out
    assert "cannot listen (Address already in use)" in err
    assert address in err
    assert "choose another port" in err
    assert "Traceback" not in err
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


@pytest.mark.long
def test_a_run_that_is_killed_leaves_no_process_and_is_not_said_to_have_ended(fleet_path: Path, tmp_path: Path) -> None:
    process = run_command(fleet_path, tmp_path, "--rate", "20/s", "--duration", "60s", "--dashboard", ":0")
    url = url_of(process)
    events: list[Any] = []
    viewer = threading.Thread(target=lambda: events.extend(followed(url)))
    viewer.start()
    limit = time.monotonic() + 30
    while "RUNNING" not in get(url):
        assert time.monotonic() < limit
        time.sleep(0.2)
    process.kill()
    process.communicate(timeout=30)
    viewer.join(10)
    assert events[-1]["status"]["text"].endswith("It has not come to its end.")
    limit = time.monotonic() + 10
    while is_listened_on(urlsplit(url).port):
        assert time.monotonic() < limit
        time.sleep(0.05)


@pytest.mark.long
def test_a_series_says_which_run_goes_on(fleet_path: Path, tmp_path: Path) -> None:
    options = ("--count", "20", "--rate", "50/s", "--repeat", "2", "--dashboard", ":0")
    process = run_command(fleet_path, tmp_path, *options)
    texts = [event["status"]["text"] for event in followed(url_of(process))]
    process.communicate(timeout=30)
    assert any(text.startswith("Run 1 of 2") and "has ended" in text for text in texts)
    assert texts[-1].startswith("Run 2 of 2 ")
