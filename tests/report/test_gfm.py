"""Markdown from hostile texts: a reader sees the text, and nothing else comes of it."""

import html
import re

from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from kdyolo.report import gfm

WORDS = ["@all", "#1", "GH-7", "www.a.io", "http://a.io", ":smile:", "<b>", "</td>", "&lt;", "&amp;", "`x`", "$x$"]
WORDS += [
    "|",
    "\\",
    "\\|",
    "*a*",
    "__b__",
    "~~c~~",
    "[d](e)",
    "![f](g)",
    "<!--",
    "---",
    "===",
    "- ",
    "+ ",
    "1. ",
    "2) ",
]
TEXTS = st.lists(st.sampled_from([*WORDS, *"a_ .!>(){}\"'=\n\u2028\u00e4"]), max_size=8).map("".join)
PARSER = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def shown(rendered):
    """The text of HTML without the blanks that nobody sees."""
    return html.unescape(re.sub("<[^>]*>", "", rendered)).replace("\u200b", "").strip()


def flat(text):
    return re.sub(r"\s+", " ", text).strip()


@given(TEXTS)
def test_a_cell_shows_the_text_and_no_markup(text):
    rendered = PARSER.render(gfm.table(("head", "n"), [(text, 1), ("last", 2)]))
    cells = re.findall("<td[^>]*>(.*?)</td>", rendered, re.DOTALL)
    assert [shown(cell) for cell in cells] == [flat(text), "1", "last", "2"]
    assert not re.search("<(?!/?(table|thead|tbody|tr|th|td)[ >])", rendered)


@given(TEXTS)
def test_an_item_shows_the_text_and_no_markup(text):
    rendered = PARSER.render(f"- {gfm.escape(text.strip())}\n- last\n")
    assert [shown(item) for item in re.findall("<li>(.*?)</li>", rendered, re.DOTALL)] == [flat(text), "last"]
    assert not re.search("<(?!/?(ul|li)>)", rendered)


@given(TEXTS)
def test_github_finds_nothing_to_link_or_to_replace(text):
    seen = html.unescape(re.sub("<[^>]*>", "", PARSER.render(gfm.escape(text))))
    assert not re.search(r"@\w|#\w|\bGH-\d|://|\bwww\.|:[\w+-]+:", seen, re.IGNORECASE)
    assert "$" not in gfm.escape(text)


def test_plain_names_and_numbers_stay_as_they_are():
    for text in ("red blood cell", "-1.20 to +3.40", "95 %", "7.4×", "yolov5n", "Größe (m)"):
        assert gfm.escape(text) == text


@given(st.text(alphabet="`~a\n", max_size=30))
def test_no_text_ends_its_own_code_block(text):
    tokens = PARSER.parse(gfm.code(text) + "\n\nafter")
    assert tokens[0].type == "fence"
    assert tokens[0].content == text + "\n"
    assert tokens[2].content == "after"


def test_a_very_long_table_ends_early_and_says_so():
    made = gfm.table(("class",), [(f"c{i}",) for i in range(130)], file="per_class.csv")
    assert len([line for line in made.splitlines() if line.startswith("| c")]) == 101
    assert made.endswith("30 more in `per_class.csv`.")
