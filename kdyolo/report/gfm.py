"""The ground of every Markdown file: GitHub-flavoured templates that escape each text, tables and code blocks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from kdyolo.language import ENGLISH, Language
from kdyolo.report import numbers
from kdyolo.report.pages import filters

_LONGEST_CELL = 160
_MOST_ROWS = 100

_APART = "&#8203;"  # a blank of no width: what GitHub would link or replace it then takes for text
# In this order: line starts; HTML, cells, code and formulas; emphasis and links; GitHub's references; bare addresses.
_SPECIAL = re.compile(
    r"^(?P<start>[-+=]+(?=\s|$)|\d+(?=[.)](?:\s|$)))|(?P<entity>[&<>|$`\\])|(?P<mark>[*_\[\]~])"
    r"|(?P<apart>[#@]|:(?=//)|:(?=[\w+-]+:)|(?<=\bGH)-(?=\d))|(?P<before>(?<=\bwww)\.)",
    re.IGNORECASE,
)


class Ready(str):
    """Markdown made by this package, whose texts are escaped already."""

    __slots__ = ()


class _Message(Ready):
    """A sentence of this package, into which texts from outside are put escaped."""

    __slots__ = ()

    def __mod__(self, values: Any) -> Ready:
        return Ready(str.__mod__(self, {k: v if isinstance(v, Ready) else escape(str(v)) for k, v in values.items()}))


def escape(text: str) -> Ready:
    """A text from outside as Markdown that shows it: no markup, HTML, link, mention or new line comes of it.

    Source: GitHub Flavored Markdown Spec, sections 2.4, 6.9 and 6.11.
    """
    return Ready(_SPECIAL.sub(_escape, re.sub(r"\s+", " ", text)))


def _escape(match: re.Match[str]) -> str:
    text = match[0]
    match match.lastgroup:
        case "start":
            return f"{text}\\" if text[0].isdigit() else f"\\{text}"
        case "entity":
            return f"&#{ord(text)};"
        case "mark":
            return f"\\{text}"
        case "before":
            return f"{_APART}{text}"
    return f"&#{ord(text)};{_APART}" if text == "#" else f"{text}{_APART}"


def table(
    head: Sequence[str],
    rows: Sequence[Sequence[Any]],
    texts: int = 1,
    file: str = "",
    language: Language = ENGLISH,
) -> Ready:
    """A table of which the first `texts` columns stand left and the others right; very long ones end early.

    Args:
        head: Names of the columns.
        rows: As many cells each; None is n/a.
        texts: Number of columns of text.
        file: Where the rest stands, named if there is one.
        language: Of numbers and of what says that there are more rows.
    """
    lines = [_line(head, language), _line([Ready("---" if i < texts else "---:") for i in range(len(head))], language)]
    lines += [_line(row, language) for row in rows[:_MOST_ROWS]]
    if left := len(rows) - _MOST_ROWS if len(rows) > _MOST_ROWS else 0:
        say = language.gettext
        lines += [
            "",
            say("%(left)s more in `%(file)s`.", left=left, file=file) if file else say("%(left)s more.", left=left),
        ]
    return Ready("\n".join(lines))


def _line(cells: Sequence[Any], language: Language) -> str:
    return f"| {' | '.join(_cell(cell, language) for cell in cells)} |"


def _cell(value: Any, language: Language) -> str:
    if isinstance(value, Ready):
        return value
    return escape(numbers.shorten(numbers.plain(value, language).strip(), _LONGEST_CELL))


def code(text: str, language: str = "") -> Ready:
    """A block of code, fenced with more backticks than the text has in a row."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return Ready(f"{fence}{language}\n{text}\n{fence}")


def render(template: str, context: dict[str, Any], language: Language = ENGLISH) -> str:
    """A template of this package filled in; whatever it puts out is escaped, but `Ready` texts."""
    made = Environment(
        loader=PackageLoader("kdyolo.report"),
        autoescape=False,  # noqa: S701 - that would be HTML's; finalize escapes everything for Markdown
        finalize=lambda value: value if isinstance(value, Ready) else escape(str(value)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.i18n"],
    )
    said = language.translations
    made.install_gettext_callables(  # type: ignore[attr-defined]
        lambda message: _Message(said.gettext(message)),
        lambda one, several, number: _Message(said.ngettext(one, several, number)),
        newstyle=True,
    )
    made.filters |= filters(language)
    made.filters["code"] = code
    made.globals["table"] = partial(table, language=language)
    text = made.get_template(template).render(context)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"
