"""HTML pages in a real browser: the console stays empty, plots are drawn, at every width and in both schemes."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from loadgen.report.html import CryptoData, page
from loadgen.report.plots import RunData
from tests.report.crypto_samples import full_record
from tests.report.made_logs import write_logged
from tests.report.samples import bad_record, empty_record
from tests.report.test_markup import HOSTILE
from tests.report.test_plots import FIXTURE, GATES, data_of

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM = shutil.which("chromium")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no chromium, or no chromedriver")

DESKTOP: Final = 1_280
PHONE: Final = 390
_OPTIONS: Final = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage")
_DRAW_ALL: Final = "for (const plot of document.querySelectorAll('.plot')) plot.scrollIntoView();"
_STATE: Final = """
const drawn = [...document.querySelectorAll('.plot')].map((plot) => ({
  marks: plot.querySelectorAll('svg path').length,
  texts: plot.querySelectorAll('svg text').length,
  wide: plot.querySelector('svg') === null ? 0 : plot.querySelector('svg').getBoundingClientRect().width,
  room: plot.clientWidth,
}));
return {
  drawn, page: document.documentElement.scrollWidth, view: document.documentElement.clientWidth,
  paper: getComputedStyle(document.body).backgroundColor, ink: getComputedStyle(document.body).color,
  requests: performance.getEntriesByType('resource').length, alerted: window.alerted === true,
};
"""
_CONTRAST: Final = """
const token = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
return Object.fromEntries(arguments[0].map((name) => [name, token(name)]));
"""


class Browser:
    """A headless Chromium."""

    def __init__(self) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for option in _OPTIONS:
            options.add_argument(option)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        service = webdriver.ChromeService(executable_path=str(DRIVER))
        self.driver: Any = webdriver.Chrome(options=options, service=service)

    def open(self, path: Path, width: int, scheme: str) -> None:
        """Load a page at this width, with the colour scheme ``light`` or ``dark``."""
        self.open_url(path.as_uri(), width, scheme)

    def open_url(self, url: str, width: int, scheme: str) -> None:
        """The same of a page that a server has."""
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = [{"name": "prefers-color-scheme", "value": scheme}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.get(url)

    def state(self) -> Any:
        """What stands on the page; every plot has been in sight before."""
        self.driver.execute_script(_DRAW_ALL)
        self.driver.execute_async_script(
            "const done = arguments[0]; requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(done)))"
        )
        self.driver.execute_script("dispatchEvent(new Event('beforeprint')); dispatchEvent(new Event('afterprint'))")
        return self.driver.execute_script(_STATE)

    def messages(self) -> list[Any]:
        """What the console has got since the last call."""
        found: list[Any] = self.driver.get_log("browser")
        return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    found = Browser()
    yield found
    found.driver.quit()


def check(browser: Browser, path: Path, width: int, scheme: str) -> Any:
    """Open a page, and hold it against what every page has to be."""
    browser.open(path, width, scheme)
    state = browser.state()
    assert browser.messages() == []
    assert state["page"] <= state["view"], "nothing scrolls sideways"
    assert state["requests"] == 0
    assert not state["alerted"]
    for plot in state["drawn"]:
        assert plot["marks"] > 3
        assert plot["texts"] > 3
        assert plot["wide"] <= plot["room"] + 1
    return state


def written(path: Path, text: str) -> Path:
    """Write a page."""
    path.write_text(text, encoding="utf-8")
    return path


def test_a_run_is_drawn_on_a_dark_phone_and_a_light_desktop(browser: Browser, tmp_path: Path) -> None:
    path = written(tmp_path / "report.html", page([data_of(FIXTURE)]))
    light = check(browser, path, DESKTOP, "light")
    dark = check(browser, path, PHONE, "dark")
    assert len(light["drawn"]) == len(dark["drawn"]) == 8
    assert (light["paper"], dark["paper"]) == ("rgb(255, 255, 255)", "rgb(18, 22, 27)")


def hostile(folder: Path) -> RunData:
    """A run whose every name tries to leave its place."""
    run = data_of(folder)
    name = f"<img src=x onerror='window.alerted=true'>{HOSTILE}".replace("alert(1)", "window.alerted=true")
    record = msgspec.structs.replace(
        run.record,
        label=name,
        scenario={"name": name},
        target=msgspec.structs.replace(run.record.target, address=name, kind="remote"),
    )
    return RunData(record, name, GATES, run.seconds, run.intervals, [name])


@pytest.mark.long
@pytest.mark.parametrize("width", [PHONE, 768, DESKTOP])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_kind_of_page(browser: Browser, tmp_path: Path, width: int, scheme: str) -> None:
    write_logged(tmp_path / "long", seconds=600, per_second=200)
    runs = [data_of(tmp_path / "long"), hostile(FIXTURE), data_of(FIXTURE)]
    runs += [RunData(record, "results/run", GATES) for record in (bad_record(), empty_record())]
    crypto = CryptoData(full_record(), "results/crypto")
    for number, text in enumerate([page(runs, [crypto]), *(page([run]) for run in runs), page([], [crypto])]):
        check(browser, written(tmp_path / f"{number}.html", text), width, scheme)


@pytest.mark.long
def test_names_in_tooltips_are_text(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path / "two.html", page([hostile(FIXTURE), data_of(FIXTURE)])), DESKTOP, "light")
    browser.state()
    plot = browser.driver.find_element("id", "plot-0")
    browser.driver.execute_script("arguments[0].scrollIntoView({block: 'center'})", plot)
    webdriver.ActionChains(browser.driver).move_to_element(plot).perform()
    assert "onerror" in plot.text or "onerror" in plot.get_attribute("textContent")
    assert browser.driver.execute_script("return window.alerted") is None
    assert browser.messages() == []


@pytest.mark.long
def test_printing_draws_every_plot_on_white(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path / "run.html", page([data_of(FIXTURE)] * 3)), DESKTOP, "dark")
    count = "return [...document.querySelectorAll('.plot')].filter((plot) => plot.querySelector('svg')).length"
    browser.driver.execute_script(
        "addEventListener('beforeprint', () => { window.printed = getComputedStyle(document.body).backgroundColor; })"
    )
    before = browser.driver.execute_script(count)
    pdf = browser.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": True})
    assert len(pdf["data"]) > 50_000
    assert before < browser.driver.execute_script(count) == 27
    assert browser.driver.execute_script("return window.printed") == "rgb(255, 255, 255)"
    assert browser.driver.execute_script("return document.documentElement.dataset.scheme") is None


_NAMED: Final = """
dispatchEvent(new Event('beforeprint'));
const names = [...document.querySelectorAll('#plot-0 text')].map((text) => text.textContent);
return names.filter((name) => name.includes('('));
"""


@pytest.mark.long
def test_on_paper_every_run_is_named(browser: Browser, tmp_path: Path) -> None:
    run = data_of(FIXTURE)
    ids = [f"{number:08}" for number in range(8)]
    runs = [replace(run, record=msgspec.structs.replace(run.record, id=name)) for name in ids]
    browser.open(written(tmp_path / "eight.html", page(runs)), DESKTOP, "light")
    assert browser.driver.execute_script(_NAMED) == [f"base ({name})" for name in ids]


_OUTSIDE: Final = """
const view = document.documentElement.clientWidth;
const needed = [...document.querySelectorAll('td.why, .failures th, caption'),
  ...[...document.querySelectorAll('th')].filter((head) => ['p50', 'observed', 'verdict'].includes(head.textContent))];
const outside = needed.filter((cell) => cell.getBoundingClientRect().right > view);
return [needed.length, outside.map((cell) => cell.textContent)];
"""


@pytest.mark.long
def test_a_phone_shows_what_is_read_first_without_scrolling_a_table(browser: Browser, tmp_path: Path) -> None:
    failing = RunData(bad_record(), "results/run", GATES)
    browser.open(written(tmp_path / "two.html", page([data_of(FIXTURE), failing])), PHONE, "light")
    count, outside = browser.driver.execute_script(_OUTSIDE)
    assert count > 10
    assert outside == []


@pytest.mark.long
def test_the_keyboard_reaches_links_tables_and_what_unfolds(browser: Browser, tmp_path: Path) -> None:
    browser.open(written(tmp_path / "run.html", page([data_of(FIXTURE)])), PHONE, "light")
    reached = set()
    keys = pytest.importorskip("selenium.webdriver.common.keys").Keys
    for _ in range(40):
        browser.driver.switch_to.active_element.send_keys(keys.TAB)
        reached.add(
            browser.driver.execute_script("return document.activeElement.tagName + document.activeElement.className")
        )
    assert {"A", "Askip", "SUMMARY", "DIVscroll"} <= reached
    summary = browser.driver.find_element("css selector", "figure summary")
    browser.driver.execute_script("arguments[0].focus()", summary)
    summary.send_keys(keys.ENTER)
    assert browser.driver.find_element("css selector", "figure table").is_displayed()


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    """Contrast of two ``#rrggbb`` colours by WCAG 2, 1 to 21."""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.long
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast(browser: Browser, tmp_path: Path, scheme: str) -> None:
    """WCAG 2 AA: 4.5 for text, 3 for lines of plots; one handshake in the heat map, which a table names, is seen."""
    browser.open(written(tmp_path / "run.html", page([data_of(FIXTURE)])), DESKTOP, scheme)
    texts = [("--ink", "--paper"), ("--ink", "--panel"), ("--soft", "--paper"), ("--soft", "--panel")]
    texts += [("--link", "--paper"), ("--link", "--panel")]
    texts += [(f"--{name}", f"--{name}-paper") for name in ("good", "bad", "open")]
    texts += [("--ink", f"--{name}-paper") for name in ("good", "bad", "open")]
    lines = [(f"--c{number}", "--panel") for number in range(8)]
    heat = [("--heat-low", "--panel")]
    names = sorted({name for pair in texts + lines + heat for name in pair})
    tokens = browser.driver.execute_script(_CONTRAST, names)
    assert all(re.fullmatch("#[0-9a-f]{6}", token) for token in tokens.values())
    for least, pairs in ((4.5, texts), (3.0, lines), (1.8, heat)):
        assert all(contrast(tokens[one], tokens[other]) >= least for one, other in pairs)
