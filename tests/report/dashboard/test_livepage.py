"""What browsers are told: by deltas they have at any time what a browser gets that comes new."""

from __future__ import annotations

import html
import re
from typing import Any

import msgspec
import pytest

from loadgen.recording.record import Counts, FailureCount, FirmwareFacts, RunRecord
from loadgen.report.dashboard.document import POLICY, SCRIPTS, first_page, script
from loadgen.report.dashboard.livepage import WORDS_AT_FIRST, WORDS_EVERY, LivePage
from loadgen.report.overtime import MOST_COLUMNS, MOST_POINTS
from tests.report.dashboard.made import ToldBrowser, running_record, update_of
from tests.report.samples import bad_record, good_record
from tests.report.test_markup import HOSTILE, Seen


def whole_of(page: LivePage) -> ToldBrowser:
    """A browser that comes new."""
    if not page.fresh:
        page.renewed()
    return ToldBrowser(page.whole())


def followed(seconds: int, **changes: Any) -> tuple[LivePage, ToldBrowser, list[Any]]:
    """A page, a browser that has followed from the begin, and the events."""
    page = LivePage()
    browser, events = ToldBrowser(page.whole()), []
    for second in range(seconds):
        page.take(update_of(second, completed=20, **changes))
        events.append(page.event())
        browser.hear(events[-1])
    return page, browser, events


def plain(plots: dict[str, Any]) -> dict[str, Any]:
    """Plots with the cells of their heat map in order."""
    for plot in plots.values():
        if plot["kind"] == "heat":
            plot["data"]["cells"].sort()
    return plots


@pytest.mark.parametrize("seconds", [1, WORDS_AT_FIRST + 1, WORDS_AT_FIRST + WORDS_EVERY, MOST_COLUMNS + 5])
def test_who_follows_has_what_who_comes_new_gets(seconds: int) -> None:
    page, browser, _ = followed(seconds, kinds={"closed": 2})
    page.take(update_of(seconds, kinds={"closed": 1}))
    browser.hear(page.renewed())
    assert plain(browser.plots) == plain(whole_of(page).plots)
    assert browser.main == whole_of(page).main


@pytest.mark.long
def test_the_same_after_a_run_that_was_made_coarser() -> None:
    page, browser, _ = followed(2 * MOST_POINTS + 7, kinds={"closed": 2})
    for second in range(10):
        page.take(update_of(2 * MOST_POINTS + 7 + second, completed=20))
        browser.hear(page.event())
        page.take(update_of(2 * MOST_POINTS + 7 + second, completed=20))
    browser.hear(page.renewed())
    assert plain(browser.plots) == plain(whole_of(page).plots)


def test_a_second_is_told_by_its_points_alone() -> None:
    _, _, events = followed(WORDS_AT_FIRST + WORDS_EVERY + 1)
    deltas = [event for event in events if "main" not in event]
    assert len(deltas) >= WORDS_EVERY - 1
    for event in deltas:
        assert set(event) == {"status", "verdict", "grown"}
        assert all(len(points) == 2 for new in event["grown"].values() for points in new.get("points", []))
        assert len(msgspec.json.encode(event)) < 4_000
    assert "RUNNING" in deltas[-1]["verdict"]


def test_events_do_not_grow_with_the_run() -> None:
    sizes = [len(msgspec.json.encode(event)) for event in followed(MOST_COLUMNS)[2] if "main" not in event]
    assert max(sizes[-20:]) < 1.5 * max(sizes[:20])


def test_seconds_that_nobody_was_told_come_with_the_next_whole() -> None:
    page, browser, _ = followed(WORDS_AT_FIRST + 1)
    for second in range(WORDS_AT_FIRST + 1, WORDS_AT_FIRST + 4):  # nobody looks
        page.take(update_of(second))
    browser.hear(page.renewed())
    assert plain(browser.plots) == plain(whole_of(page).plots)
    points = next(plot for plot in browser.plots.values() if plot["kind"] == "time")["data"]["lines"][0]["points"]
    assert len(points) == WORDS_AT_FIRST + 4


def test_a_page_before_in_and_after_a_run() -> None:
    page = LivePage()
    assert page.whole()["status"] == {"text": "The run has not begun yet.", "share": None, "state": "waiting"}
    page.take(update_of(None, phase="warm-up"))
    warm = page.event()
    assert warm["status"]["text"].startswith("Warming up, 1s, 50 % of it")
    assert "does not count" in warm["main"]
    page.take(update_of(0))
    assert page.event()["status"]["state"] == "running"
    page.take(update_of(None, record=good_record(), phase="complete"))
    last = page.event()
    assert last["status"] == {
        "text": "The run has ended. Its record: results/made", "share": None, "state": "ended",
    }  # fmt: skip
    assert "<strong>VALID</strong>" in last["main"]
    assert "data-table" not in last["main"], "what was asked for is part of the page now"
    page.end()
    assert page.event()["status"]["state"] == "over"


def test_a_run_that_stops_talking_is_not_said_to_have_ended_well() -> None:
    page, _, _ = followed(3)
    page.end()
    status = page.status()["status"]
    assert status["state"] == "over"
    assert status["text"].endswith("It has not come to its end.")


@pytest.mark.parametrize(
    ("record", "phase", "said"),
    [
        (good_record(), "complete", "<strong>VALID</strong>"),
        (bad_record(), "complete", "<strong>INVALID</strong>"),
        (msgspec.structs.replace(good_record(), status="interrupted"), "interrupted", "<strong>INTERRUPTED</strong>"),
    ],
)
def test_the_end_has_the_verdict_of_the_report(record: RunRecord, phase: str, said: str) -> None:
    page, _, _ = followed(2)
    page.take(update_of(None, record=record, phase=phase))
    assert said in page.event()["main"]


def test_a_run_that_is_spoilt_already_says_so_at_once() -> None:
    page = LivePage()
    record = msgspec.structs.replace(bad_record(), status="running", stages={})
    page.take(update_of(0, record=record))
    text = Seen(page.event()["main"]).text
    assert text.index("Do not use these numbers") < text.index("invalid")


def test_a_series_shows_the_run_that_goes_on_and_says_which_it_is() -> None:
    page = LivePage()
    page.take(update_of(0, run=1, runs=20))
    browser = whole_of(page)
    page.take(update_of(None, run=1, runs=20, record=good_record(), phase="complete"))
    assert page.event()["status"]["text"].startswith("Run 1 of 20 has ended.")
    page.take(update_of(0, run=2, runs=20))
    event = page.event()
    assert event["status"]["text"].startswith("Run 2 of 20: running")
    browser.hear(event)
    points = next(plot for plot in browser.plots.values() if plot["kind"] == "time")["data"]["lines"][0]["points"]
    assert len(points) == 1, "a new run begins with nothing"


def test_thresholds_as_they_stand() -> None:
    texts = [
        "p(99) of handshake < 1s", "p(50) of handshake < 1us", "count of handshake > 100",
        "p(50) of key < 1us over 2s windows",
    ]  # fmt: skip
    page = LivePage()
    for second in range(2):
        done = Counts(intended=20, started=20, completed=20)
        record = running_record(scenario={"name": "quick", "thresholds": texts}, counts=done)
        page.take(update_of(second, completed=20, record=record))
    pattern = r'<th scope="row">([^<]*)</th><td><span class="mark \w*">(.*?)</span></td>.*?<td class="text">(.*?)</td>'
    found = {
        html.unescape(text): (outcome, detail) for text, outcome, detail in re.findall(pattern, page.renewed()["main"])
    }
    assert found[texts[0]][0] == "no data", "too few samples"
    assert found[texts[1]][0] == "fail"
    assert found[texts[2]] == ("no data", "not reached so far; judged at the end")
    assert found[texts[3]] == ("fail", "window 0 s to 2 s")


def test_a_thousand_kinds_of_failures_are_bounded() -> None:
    record = running_record(counts=Counts(intended=1_000, started=1_000, failed=1_000))
    record.failures = [
        FailureCount(stage="key", reason=f"kind_{n}", device_code=None, firmware="p1@0.7.0", count=1, explanation="so")
        for n in range(1_000)
    ]
    page = LivePage()
    page.take(update_of(0, completed=0, record=record, kinds={f"kind_{n}": 1 for n in range(1_000)}))
    event = page.event()
    assert "and 970 more kinds" in event["main"]
    assert "kind_999" not in event["main"]
    lines = next(plot for plot in event["plots"].values() if plot["data"].get("stacked"))["data"]["lines"]
    assert len(lines) == 8
    assert len(msgspec.json.encode(event)) < 50_000


def test_firmwares_are_followed_side_by_side() -> None:
    names = ("p1@0.6.4", "p1@0.7.0")
    page = LivePage()
    for second in range(3):
        record = running_record(firmware=[FirmwareFacts(name=name, weight=0.5) for name in names])
        page.take(update_of(second, record=record, firmwares=names))
    text = page.renewed()["main"]
    assert "Handshake by firmware" in text
    assert all(f">{name}<" in text for name in names)


def test_hostile_names_stay_names() -> None:
    record = running_record(
        label=HOSTILE,
        scenario={"name": HOSTILE, "phases": [{"begin_ns": 0, "text": HOSTILE, "warmup": False}] * 2},
        target=msgspec.structs.replace(good_record().target, address=HOSTILE, kind="remote"),
    )
    page = LivePage()
    page.take(update_of(0, record=record))
    page.renewed()
    text = first_page(page.whole(), "abc-1")
    assert text.count("<script") == text.count("</script") == 2 + len(SCRIPTS)
    assert "alert(1)" in Seen(text).text
    assert "<!--" not in text


def test_the_document_brings_its_scripts_from_this_server_alone() -> None:
    page = LivePage()
    page.take(update_of(0))
    page.renewed()
    elements = Seen(first_page(page.whole(), "abc-7")).elements
    sources = [attributes["src"] for name, attributes in elements if name == "script" and "src" in attributes]
    assert sources == list(SCRIPTS)
    assert all(script(str(path)) for path in sources)
    assert script("/page.css") is None
    assert script("/../html.py") is None
    assert [attributes["data-events"] for name, attributes in elements if name == "body"] == ["/events?after=abc-7"]
    assert "default-src 'none'" in POLICY
    assert "unsafe" not in POLICY.replace("style-src 'unsafe-inline'", "")


def test_tables_behind_plots_are_given_by_name() -> None:
    page, _, _ = followed(2)
    assert "<table>" in str(page.table("plot-0"))
    assert page.table("plot-99") is None
    assert 'data-table="plot-0"' in page.whole()["main"]
    assert "table</caption" not in page.whole()["main"]
