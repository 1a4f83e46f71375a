"""The document that a browser loads first; everything behind it comes by events. Pure."""

from __future__ import annotations

from typing import Any, Final

from loadgen.report.html import DRAWING, LIBRARY, asset, document, footer
from loadgen.report.markup import Markup, element, json_for_script

EVENTS: Final = "/events"
"""Where the events are."""
TABLES: Final = "/tables/"
"""Where the tables behind the plots are, by the id of the plot."""
SCRIPTS: Final = {f"/{name.rpartition('/')[2]}": name for name in (LIBRARY, DRAWING, "live.js")}
"""Paths of the scripts in the order in which they run, and the assets that they are."""
POLICY: Final = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'unsafe-inline'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
"""Content security policy of everything that is served: scripts of this server only, and no script in a page."""


def first_page(whole: dict[str, Any], after: str) -> str:
    """The document with a page as it is now.

    Args:
        whole: everything, as :meth:`LivePage.whole` gives it.
        after: id of the last event that is in it.
    """
    status = whole["status"]
    top = element(
        "header",
        element("p", status["text"], id="status"),
        element("progress", max="1", id="share", aria_label="Share of the run that is over", hidden=True),
        element("p", id="connection", role="status"),
        class_="live",
    )
    content = [
        top,
        element("nav", Markup(whole["nav"]), aria_label="Parts of this page"),
        element("main", Markup(whole["main"]), id="report"),
        footer("This page changes every second as long as the run goes on, and asks nobody but loadgen."),
        element("noscript", element("p", "This page needs JavaScript to follow the run; reload it without.")),
        element("script", json_for_script(whole["plots"]), type="application/json", id="plots"),
        element("script", json_for_script(status), type="application/json", id="state"),
        *(element("script", Markup(), src=path, defer=True) for path in SCRIPTS),
    ]
    return document(whole["title"], Markup(), content, data_events=f"{EVENTS}?after={after}")


def script(path: str) -> bytes | None:
    """A script by its path; None where there is none."""
    name = SCRIPTS.get(path)
    return None if name is None else asset(name).encode()
