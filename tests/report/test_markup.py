"""HTML as values: nothing that is not markup becomes part of a page."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadgen.report.markup import Markup, element, json_for_script, table

HOSTILE = "</script><script>alert(1)</script><!--&\"'\u2028\u2029\u202e"


class Seen(HTMLParser):
    """Elements and texts of a piece of HTML."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(st.characters(exclude_categories=["Cc", "Cf", "Cs", "Zl", "Zp"])))
def test_text_and_attributes_come_back_as_they_were(text: str) -> None:
    seen = Seen(element("p", text, title=text or "x"))
    assert seen.elements == [("p", {"title": text or "x"})]
    assert seen.text == text


def test_direction_marks_and_line_separators_are_shown_as_escapes() -> None:
    assert element("p", "a\u202eb\u2028") == r"<p>a\u202eb\u2028</p>"


@given(st.text(st.characters(codec="utf-8")))
def test_json_comes_back_and_cannot_leave_its_script(text: str) -> None:
    shown = json_for_script({"name": text + HOSTILE})
    assert json.loads(shown) == {"name": text + HOSTILE}
    assert not set(shown) & set("<>&\u2028\u2029")


def test_markup_is_left_as_it_is_and_void_elements_have_no_end() -> None:
    assert element("div", Markup("<b>x</b>"), "<b>") == "<div><b>x</b>&lt;b&gt;</div>"
    assert element("meta", charset="utf-8") == '<meta charset="utf-8">'
    assert element("a", "x", class_="y", aria_label="z", hidden=True, id="") == (
        '<a class="y" aria-label="z" hidden>x</a>'
    )


def test_a_table_has_heads_of_columns_and_rows_and_takes_the_focus() -> None:
    seen = Seen(table(("a", "b"), [("<1>", "2")], title="numbers"))
    words = Seen(table(("a", "b", "c"), [("1", "2", "a sentence")], title="words", text=("c",)))
    assert [attributes.get("class") for name, attributes in words.elements if name == "td"] == ["number", "text"]
    assert ("div", {"class": "scroll", "role": "group", "tabindex": "0", "aria-label": "numbers"}) in seen.elements
    assert [attributes.get("scope") for name, attributes in seen.elements if name == "th"] == ["col", "col", "row"]
    assert seen.text == "ab<1>2"


def test_a_row_of_another_length_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="zip"):
        table(("a", "b"), [("1", "2", "3")], title="numbers")
