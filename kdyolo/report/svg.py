"""One plot as an inline ``<svg>`` whose colours follow the page, light or dark; drawn without a display.

Beside its shapes it carries the values that were drawn and where, for the page's script to show them.
"""

from __future__ import annotations

import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import matplotlib
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import escape
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import ScalarFormatter

from kdyolo.language import ENGLISH, Language

# matplotlib knows no CSS variables: it draws in these colours, and they are replaced in the SVG text.
INK, LINE = "#010203", "#040506"
COLOURS = {"teacher": "#070809", "student": "#0a0b0c", "control": "#0d0e0f", "longer": "#101112"}
_CSS = {INK: "var(--ink)", LINE: "var(--line)"} | {colour: f"var(--{arm})" for arm, colour in COLOURS.items()}
DASHES = {"teacher": "-", "student": "-", "control": (0, (4, 1.5)), "longer": (0, (1.5, 1.5))}
MARKERS = {"teacher": "s", "student": "o", "control": "D", "longer": "^"}

_DPI = 72
"""With which matplotlib writes SVG: its units are those of the viewBox."""
_STYLE = {
    "svg.fonttype": "none",
    "text.parse_math": False,  # a class may be called "$x$"
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": LINE,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


class Line(NamedTuple):
    """What can be read off a plot: a line, or bars that belong together.

    Attributes:
        text: A sentence about a point, in which ``{0}``, ``{1}`` ... stand for its values.
        x, y: Of the points, in units of the axes; what is not finite is left out.
        values: Texts of the points.
        spans: From where to where in x the bar of each point goes; None: there are no bars.
    """

    text: str
    x: Sequence[float]
    y: Sequence[float]
    values: Sequence[Sequence[str]]
    spans: Sequence[tuple[float, float]] | None = None


def draw_svg(
    title: str,
    inches: tuple[float, float],
    draw: Callable[[Any], Sequence[Line]],
    language: Language = ENGLISH,
) -> str:
    """Draw on axes and return the ``<svg>`` element; the same input gives the same text, byte for byte.

    Args:
        title: Of the plot, and its name for those who cannot see it.
        inches: Width and height.
        draw: Draws on axes and returns what can be read off them.
        language: Of the numbers along the axes.
    """
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the browser has the letters that matplotlib's font lacks
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": title})
        figure = Figure(figsize=inches, dpi=_DPI, layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title)
        lines = draw(axes)
        if language != ENGLISH:
            _translate_ticks(axes, language)
        text = io.StringIO()
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(text, metadata=metadata)
        values = [found for line in lines if (found := _located(axes, _DPI * inches[1], line))["points"]]
    return _inline(text.getvalue(), title, htmlsafe_json_dumps(values, separators=(",", ":"), ensure_ascii=False))


class _Ticks(ScalarFormatter):
    """Numbers along an axis with the marks of a language."""

    def __init__(self, language: Language) -> None:
        super().__init__()
        self._language = language

    def __call__(self, x: float, pos: int | None = None) -> str:
        return self._language.digits(super().__call__(x, pos))


def _translate_ticks(axes: Any, language: Language) -> None:
    """Numbers that matplotlib itself writes along the axes, in a language."""
    for axis in (axes.xaxis, axes.yaxis):
        if type(axis.get_major_formatter()) is ScalarFormatter:
            axis.set_major_formatter(_Ticks(language))


def _located(axes: Any, height: float, line: Line) -> dict[str, Any]:
    """A line with points ``[x, y, value, ...]`` in units of the viewBox; the axes have been drawn."""

    def place(x: float, y: float) -> tuple[float, float]:
        across, up = axes.transData.transform((x, y))
        return round(float(across), 1), round(float(height - up), 1)

    shown = [i for i, (x, y) in enumerate(zip(line.x, line.y, strict=True)) if math.isfinite(x) and math.isfinite(y)]
    found: dict[str, Any] = {"text": line.text}
    found["points"] = [[*place(line.x[i], line.y[i]), *line.values[i]] for i in shown]
    if line.spans is not None:
        found["spans"] = [sorted(place(x, line.y[i])[0] for x in line.spans[i]) for i in shown]
    return found


def _inline(document: str, title: str, values: str) -> str:
    """An SVG file as an element of a page: page colours, ids of its own, described for those who cannot see it."""
    svg = document[document.index("<svg") :]
    for colour, variable in _CSS.items():
        svg = svg.replace(colour, variable)
    prefix = re.sub(r"\W+", "-", title.lower())
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(
        r'<svg [^>]*?viewBox="([^"]+)"[^>]*>',
        rf'<svg viewBox="\1" role="img" aria-label="{escape(title)}">',
        svg,
        count=1,
    )
    # Last, for a value may read like what is replaced above.
    return svg.replace("xlink:href", "href").replace("<svg ", f"<svg data-values='{values}' ", 1)
