"""HTML as values: what is not markup is text and is escaped, so that no name can become part of a page. Pure."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from loadgen.report.terminal import plain_text

_VOID: Final = frozenset({"meta", "br", "hr"})
_IN_SCRIPT: Final[dict[str, str | int | None]] = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}
"""Characters that could end a script element, open a comment or end a line in it; JSON reads the escapes back."""


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def escape(text: str) -> Markup:
    """Text that stands for itself in an element and in a quoted attribute.

    Characters that would change the direction of text or are invisible are shown as escapes, as on a terminal.
    """
    return text if isinstance(text, Markup) else Markup(html.escape(plain_text(text), quote=True))


def element(name: str, /, *children: str, **attributes: str | bool) -> Markup:
    """An element. Children that are no :class:`Markup` are escaped, and so is every attribute.

    Args:
        name: of the element.
        children: what it holds.
        attributes: by name; ``_`` stands for ``-``, a last ``_`` is left out (``class_``). True: without a value;
            False or empty: left out.
    """
    parts = [name]
    for key, value in attributes.items():
        attribute = key.rstrip("_").replace("_", "-")
        if value is True:
            parts.append(attribute)
        elif value:
            parts.append(f'{attribute}="{escape(str(value))}"')
    opening = f"<{' '.join(parts)}>"
    return Markup(opening) if name in _VOID else Markup(f"{opening}{join(children)}</{name}>")


def join(children: Iterable[str]) -> Markup:
    """Elements and texts, one after the other."""
    return Markup("".join(map(escape, children)))


def scrolling(shown: Markup, title: str) -> Markup:
    """A table that scrolls within itself where it is too wide; it takes the focus for that.

    A group rather than a region: a page of many tables would have too many landmarks to find one's way by.
    """
    return element("div", shown, class_="scroll", role="group", tabindex="0", aria_label=title)


def table(
    head: Sequence[str], rows: Iterable[Sequence[str]], *, title: str, left: int = 1, text: Sequence[str] = ()
) -> Markup:
    """A table, :func:`scrolling`.

    Args:
        head: names of the columns.
        rows: cells; the first one of each row is its heading.
        title: said by screen readers.
        left: columns from the left that are words; the rest are numbers.
        text: heads of other columns that are words; these may be sentences and wrap.
    """
    marks = ["text" if name in text else "" if column < left else "number" for column, name in enumerate(head)]
    top = element(
        "tr", *(element("th", cell, scope="col", class_=mark) for cell, mark in zip(head, marks, strict=True))
    )
    body = [
        element(
            "tr",
            element("th", row[0], scope="row", class_=marks[0]),
            *(element("td", cell, class_=mark) for cell, mark in zip(row[1:], marks[1:], strict=True)),
        )
        for row in rows
    ]
    shown = element("table", element("thead", top), element("tbody", *body))
    return scrolling(shown, title)


def json_for_script(document: Any) -> Markup:
    """A document as JSON that may stand in a ``<script>`` element.

    Raises:
        TypeError: it holds something that JSON does not know.
    """
    text = msgspec.json.encode(document).decode()
    return Markup(text.translate(str.maketrans(_IN_SCRIPT)))
