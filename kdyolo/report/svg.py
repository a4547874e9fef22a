"""One plot as an inline ``<svg>`` whose colours follow the page, light or dark; drawn without a display."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

# matplotlib knows no CSS variables: it draws in these colours, and they are replaced in the SVG text.
INK, LINE = "#010203", "#040506"
COLOURS = {"teacher": "#070809", "student": "#0a0b0c", "control": "#0d0e0f"}
_CSS = {INK: "var(--ink)", LINE: "var(--line)"} | {colour: f"var(--{arm})" for arm, colour in COLOURS.items()}
DASHES = {"teacher": "-", "student": "-", "control": (0, (4, 1.5))}
MARKERS = {"teacher": "s", "student": "o", "control": "D"}

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


def draw_svg(title: str, inches: tuple[float, float], draw: Callable[[Any], None]) -> str:
    """Draw on axes and return the ``<svg>`` element; the same input gives the same text, byte for byte."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the browser has the letters that matplotlib's font lacks
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**_STYLE, "svg.hashsalt": title})
        figure = Figure(figsize=inches, layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(title)
        draw(axes)
        text = io.StringIO()
        metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        FigureCanvasSVG(figure).print_svg(text, metadata=metadata)
    return _inline(text.getvalue(), title)


def _inline(document: str, title: str) -> str:
    """An SVG file as an element of a page: page colours, ids of its own, described for those who cannot see it."""
    svg = document[document.index("<svg") :]
    for colour, variable in _CSS.items():
        svg = svg.replace(colour, variable)
    prefix = re.sub(r"\W+", "-", title.lower())
    svg = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{prefix}-", svg)
    svg = re.sub(
        r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', rf'<svg viewBox="\1" role="img" aria-label="{title}">', svg, count=1
    )
    return svg.replace("xlink:href", "href")
