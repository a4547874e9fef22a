"""Small line plots made of Braille characters, each of which is two dots wide and four high."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from rich.text import Text

_BLANK = 0x2800
# Bit of each dot: two columns of four, from above; the Unicode Standard, "Braille Patterns".
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))

Curve = tuple[str, bool, Sequence[float]]
"""Rich style, whether its points are joined, and a value for each epoch; NaN where there is none."""


def plot(title: str, curves: Sequence[Curve], epochs: int, width: int, height: int = 6) -> Text:
    """Curves over epochs, with the range of their values on the left.

    Args:
        title: What is plotted.
        curves: They are told apart without colours if some are joined; the later ones cover the earlier.
        epochs: Where the axis of epochs ends, 1 or more.
        width: Of the whole, in characters.
        height: Of the plot without title and axis, in lines.
    """
    values = [value for _, _, points in curves for value in points if math.isfinite(value)]
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    labels = (_number(high), _number(low))
    margin = max(map(len, labels))
    cells = _draw(curves, epochs, low, high, max(width - margin - 2, 4), height)
    text = Text(no_wrap=True)
    text.append(title[:width].ljust(width), "bold")
    for i, row in enumerate(cells):
        label = labels[0] if i == 0 else labels[1] if i == height - 1 else ""
        text.append(f"\n{label:>{margin}} ", "dim").append("│", "dim")
        for dots, curve in row:
            text.append(chr(_BLANK + dots) if dots else " ", curves[curve][0] if dots else "")
    last = str(epochs)
    text.append(f"\n{'':{margin}} └1{last:>{max(width - margin - 3, 1)}}", "dim")
    return text


def _draw(
    curves: Sequence[Curve], epochs: int, low: float, high: float, width: int, height: int
) -> list[list[tuple[int, int]]]:
    """Dots and the number of the curve they are of, for each character of each line."""
    cells = [[(0, 0)] * width for _ in range(height)]
    across, down = 2 * width - 1, 4 * height - 1
    for number, (_, is_joined, points) in enumerate(curves):
        known = [(i / max(epochs - 1, 1), v) for i, v in enumerate(points) if math.isfinite(v)]
        dots = [(round(min(x, 1.0) * across), round((high - v) / ((high - low) or 1.0) * down)) for x, v in known]
        for x, y in _joined(dots) if is_joined else dots:
            dots_there, _ = cells[y // 4][x // 2]
            cells[y // 4][x // 2] = dots_there | _DOTS[x % 2][y % 4], number
    return cells


def _joined(dots: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Dots, and those on the straight lines between neighbours."""
    found = list(dots[:1])
    for (x0, y0), (x1, y1) in itertools.pairwise(dots):
        steps = max(abs(x1 - x0), abs(y1 - y0), 1)
        found += [(x0 + round((x1 - x0) * i / steps), y0 + round((y1 - y0) * i / steps)) for i in range(1, steps + 1)]
    return found


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
