"""Markup: text is escaped, markup is not."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from charon.adapters.bokeh.legend import Entry, legend
from charon.adapters.bokeh.markup import Html, element, join, merge_first, table


def test_text_is_escaped_and_markup_is_not():
    inner = element("b", "a < b & c")
    assert element("p", inner, "<i>") == "<p><b>a &lt; b &amp; c</b>&lt;i&gt;</p>"


@given(st.text())
def test_any_text_stays_text(text):
    html = element("p", text, title=text)
    assert html.count("<") == 2
    assert not html.removeprefix("<p").removesuffix("</p>").count("<script")
    assert isinstance(join([html]), Html)


def test_attributes_are_quoted_and_empty_ones_omitted():
    assert element("td", class_="number", data_title='a"b', id="") == '<td class="number" data-title="a&quot;b"></td>'


def test_a_table_aligns_numbers():
    html = table(["Name", "Rate"], [["<x>", "12"]], numeric=[1])
    assert '<th class="text">&lt;x&gt;</th><td class="number">12</td>' in html


def test_a_guide_repeats_its_titles_in_cells():
    assert 'data-title="Rate"' in table(["Name", "Rate"], [["x", "12"]], name="guide")
    assert "data-title" not in table(["Name", "Rate"], [["x", "12"]])


def test_repeated_first_cells_are_empty():
    assert merge_first([["a", "1"], ["a", "2"], ["b", "3"]]) == [["a", "1"], ["", "2"], ["b", "3"]]


def test_a_key_names_each_entry():
    html = legend([Entry("a & b", "#123456", "dashed"), Entry("c", "#abcdef")])
    assert html.count("<li>") == html.count("<svg") == 2
    assert "a &amp; b" in html
    assert 'stroke-dasharray="5 3"' in html
