"""In which order viewers hear things when one of them reads too slowly and catches up."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from loadgen.report.dashboard.http import Hosts
from loadgen.report.dashboard.livepage import WORDS_AT_FIRST, WORDS_EVERY, LivePage
from loadgen.report.dashboard.server import Limits, PageServer, _Viewer
from tests.report.dashboard.made import ToldBrowser, update_of

LIMITS = Limits(leave_s=0.0)


class Wire(asyncio.WriteTransport):
    """What a viewer is sent; how much of it waits is up to the test."""

    def __init__(self) -> None:
        super().__init__()
        self.waiting = 0
        self.numbers: list[int] = []
        self.events: list[Any] = []

    def get_write_buffer_size(self) -> int:
        """Bytes that are said to wait."""
        return self.waiting

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Keep an event and the number in its id."""
        identity, body = bytes(data).decode().rstrip().split("\n")
        self.numbers.append(int(identity.rpartition("-")[2]))
        self.events.append(json.loads(body.removeprefix("data: ")))

    def close(self) -> None:
        """Nothing is open."""


class Watched:
    """A page with two viewers, where seconds come as points alone; the viewer that is told first is behind."""

    def __init__(self) -> None:
        self.page = LivePage()
        self.begin = self.page.whole()
        self.server = PageServer(self.page, Hosts("127.0.0.1", 8089), LIMITS)
        wires = {_Viewer(wire, LIMITS): wire for wire in (Wire(), Wire())}
        self.server._viewers.update(wires)
        self.slow, self.steady = (wires[viewer] for viewer in self.server._viewers)
        self.second = 0
        for _ in range(WORDS_AT_FIRST + WORDS_EVERY + 1):
            self.next()
        self.slow.waiting = LIMITS.waiting + 1
        self.next()
        assert self.server.behind == 1
        self.heard = len(self.slow.events)

    def next(self) -> None:
        """One second of the run."""
        self.page.take(update_of(self.second))
        self.server.changed()
        self.second += 1

    def check(self) -> None:
        """Nothing was overtaken, and both have the page."""
        assert self.steady.numbers == list(range(1, len(self.steady.numbers) + 1))
        assert self.slow.numbers == sorted(set(self.slow.numbers))
        after = self.slow.events[self.heard :]
        assert [bool(event.get("whole")) for event in after] == [True] + [False] * (len(after) - 1)
        browsers = [ToldBrowser(self.begin), ToldBrowser(self.begin)]
        for browser, wire in zip(browsers, (self.slow, self.steady), strict=True):
            for event in wire.events:
                browser.hear(event)
        assert browsers[0].plots == browsers[1].plots
        assert browsers[0].main == browsers[1].main


@pytest.mark.parametrize("missed", range(WORDS_EVERY))
def test_who_catches_up_gets_the_whole_page_first_and_nobody_is_overtaken(missed: int) -> None:
    watched = Watched()
    for _ in range(missed):
        watched.next()
    watched.slow.waiting = 0
    watched.next()
    watched.check()
    watched.next()
    watched.check()


def test_the_same_when_the_run_has_ended_before_it_catches_up() -> None:
    watched = Watched()
    assert "main" not in watched.steady.events[-1], "the words are those of seconds ago"

    async def leave() -> None:
        watched.server._connections = 2
        farewell = asyncio.create_task(watched.server.farewell())
        await asyncio.sleep(0)
        assert len(watched.slow.events) == watched.heard
        watched.slow.waiting = 0
        await farewell

    asyncio.run(leave())
    watched.check()
    assert watched.slow.events[-1]["status"]["state"] == "over"
