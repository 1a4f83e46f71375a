"""The live page in a real browser: plots are drawn and grow, words follow, and the end is said."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loadgen.fleet.generate import generate
from loadgen.recording.record import Counts
from tests.report.dashboard.made import running_record, update_of
from tests.report.dashboard.serving import Serving
from tests.report.samples import good_record
from tests.report.test_browser import CHROMIUM, DESKTOP, DRIVER, PHONE, Browser
from tests.report.test_markup import HOSTILE

pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no chromium, or no chromedriver")

_LENGTHS = """
return Object.values(drawing.plots).map((plot) => plot.data.begins?.length ?? plot.data.lines?.[0].points?.length ?? 0);
"""
_MARKS = "return [...document.querySelectorAll('.plot')].map((plot) => plot.querySelectorAll('svg path').length);"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    found = Browser()
    yield found
    found.driver.quit()


def until(holds: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Wait for something that a browser does in its own time."""
    limit = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < limit, "it has not happened"
        time.sleep(0.05)
    return found


def text_of(browser: Browser, selector: str) -> str:
    """What stands in an element."""
    return str(browser.driver.execute_script("return document.querySelector(arguments[0]).textContent", selector))


def opened(browser: Browser, url: str, width: int = DESKTOP, scheme: str = "light") -> None:
    """Load a page from a server."""
    browser.open_url(url, width, scheme)
    browser.messages()


def url_of(serving: Serving) -> str:
    """Where its page is."""
    return f"http://127.0.0.1:{serving.port}/"


def check_drawn(browser: Browser, plots: int) -> Any:
    """Hold what is drawn against what every page has to be."""
    state = browser.state()
    assert state["page"] <= state["view"], "nothing scrolls sideways"
    assert len(state["drawn"]) == plots
    for plot in state["drawn"]:
        assert plot["marks"] > 3
        assert plot["wide"] <= plot["room"] + 1
    return state


def follow(browser: Browser, serving: Serving) -> None:
    """A run from its third second to its end, looked at."""
    lengths = browser.driver.execute_script(_LENGTHS)
    assert max(lengths) == 3
    before = browser.driver.execute_script(_MARKS)
    for second in range(3, 20):
        serving.take(update_of(second, kinds={"closed": 2}))
    until(lambda: max(browser.driver.execute_script(_LENGTHS)) == 20)
    until(lambda: browser.driver.execute_script(_MARKS) != before)
    until(lambda: "Running, 20s, 50 % of it" in text_of(browser, "#status"))
    assert "1,000 handshakes completed" in text_of(browser, "main .verdict")
    serving.take(update_of(None, record=good_record(), phase="complete"))
    until(lambda: "The run has ended" in text_of(browser, "#status"))
    assert text_of(browser, "main .verdict").startswith("VALID")


def test_a_run_is_followed_on_a_dark_phone_to_its_end(browser: Browser) -> None:
    with Serving() as serving:
        for second in range(3):
            serving.take(update_of(second, kinds={"closed": 2}))
        opened(browser, url_of(serving), PHONE, "dark")
        serving.until(1)
        assert check_drawn(browser, 7)["paper"] == "rgb(18, 22, 27)"
        follow(browser, serving)
        check_drawn(browser, 7)
    until(lambda: "nothing is loaded any more" in text_of(browser, "#connection"))
    browser.driver.execute_async_script("setTimeout(arguments[0], 2500)")  # longer than a browser waits to try again
    assert browser.messages() == []


@pytest.mark.long
@pytest.mark.parametrize("width", [PHONE, 768, DESKTOP])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_width_and_scheme(browser: Browser, width: int, scheme: str) -> None:
    with Serving() as serving:
        for second in range(3):
            serving.take(update_of(second, kinds={"closed": 2}))
        opened(browser, url_of(serving), width, scheme)
        check_drawn(browser, 7)
        follow(browser, serving)
        check_drawn(browser, 7)
    assert browser.messages() == []


@pytest.mark.long
def test_what_a_reader_has_chosen_stays(browser: Browser) -> None:
    with Serving() as serving:
        for second in range(30):
            serving.take(update_of(second))
        opened(browser, url_of(serving))
        check_drawn(browser, 6)
        driver = browser.driver
        holder = "echarts.getInstanceByDom(document.getElementById('plot-2'))"
        driver.execute_script(f"{holder}.dispatchAction({{ type: 'legendUnSelect', name: 'intended' }})")
        summary = driver.find_element("css selector", "details[data-table='plot-2'] summary")
        driver.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].focus()", summary)
        summary.send_keys(pytest.importorskip("selenium.webdriver.common.keys").Keys.ENTER)
        rows = "return document.querySelectorAll('details[data-table=plot-2] tbody tr').length"
        until(lambda: driver.execute_script(rows) == 30)
        for second in range(30, 41):
            serving.take(update_of(second))
        until(lambda: driver.execute_script(rows) == 40 + 1)
        assert driver.execute_script(f"return {holder}.getOption().legend[0].selected.intended") is False
        assert driver.execute_script("return document.activeElement.textContent") == "Table: Rates"
        assert browser.messages() == []


@pytest.mark.long
def test_a_connection_that_is_lost_is_said_and_made_again(browser: Browser) -> None:
    with Serving() as serving:
        serving.take(update_of(0))
        opened(browser, url_of(serving))
        serving.until(1)
        serving.do(serving.server.drop)
        until(lambda: "trying again" in text_of(browser, "#connection"))
        serving.until(1)
        serving.take(update_of(1))
        until(lambda: "Running, 2s" in text_of(browser, "#status"))
        assert text_of(browser, "#connection") == ""


@pytest.mark.long
def test_a_server_that_is_gone_is_given_up(browser: Browser) -> None:
    with Serving() as serving:
        serving.take(update_of(0))
        opened(browser, url_of(serving))
        serving.until(1)
        serving.do(serving.server.drop)
        serving.silence()
        until(lambda: "reload the page to try again" in text_of(browser, "#connection"), 60.0)
    count = len(browser.messages())
    browser.driver.execute_async_script("setTimeout(arguments[0], 3000)")
    assert not browser.messages(), f"after {count} errors it is quiet"


@pytest.mark.long
def test_hostile_names_are_text(browser: Browser) -> None:
    name = f"<img src=x onerror='window.alerted=true'>{HOSTILE}".replace("alert(1)", "window.alerted=true")
    with Serving() as serving:
        opened(browser, url_of(serving))
        serving.until(1)
        for second in range(12):
            target = msgspec.structs.replace(good_record().target, address=name, kind="remote")
            counts = Counts(intended=9, started=9, completed=9)
            record = running_record(label=name, scenario={"name": name}, target=target, counts=counts)
            serving.take(update_of(second, record=record))
        until(lambda: "onerror" in text_of(browser, "h1"))
        browser.state()
        assert browser.driver.execute_script("return window.alerted") is None
    assert browser.messages() == []


@pytest.mark.long
def test_a_real_run_is_followed(browser: Browser, tmp_path: Path) -> None:
    generate(tmp_path / "fleet", devices=50, keys=2).close()
    command = [sys.executable, "-m", "loadgen", "run", "--rate", "100/s", "--duration", "8s", "--dashboard", ":0",
               "--fleet", str(tmp_path / "fleet"), "--out", str(tmp_path / "results")]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        url = next(line for line in process.stderr if line.startswith("Live page: ")).split(": ", 1)[1].strip()
        opened(browser, url, PHONE, "dark")
        seen = set()
        while process.poll() is None:
            seen.add(max(browser.driver.execute_script(_LENGTHS), default=0))
            time.sleep(0.2)
    assert len(seen) > 3, "plots grow while the run goes on"
    until(lambda: "The run has ended" in text_of(browser, "#status"))
    check_drawn(browser, 6)
    assert browser.messages() == []
