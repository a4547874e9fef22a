"""mAP50-95 against what a model costs, the models that none other beats in both joined by a line."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.transforms import Bbox

from kdyolo.language import ENGLISH, Language
from kdyolo.report.numbers import number
from kdyolo.report.svg import COLOURS, INK, MARKERS, Line, draw_svg

_REACHES = (7.0, 13.0, 21.0, 32.0, 46.0, 64.0)
# Right, left, above, below, and between: direction of the label, and what share of it lies left of and below its end.
_SIDES = (
    *((1.0, 0.0, 0.0, 0.5), (-1.0, 0.0, 1.0, 0.5), (0.0, 1.0, 0.5, 0.0), (0.0, -1.0, 0.5, 1.0)),
    *((0.7, 0.7, 0.0, 0.0), (-0.7, 0.7, 1.0, 0.0), (0.7, -0.7, 0.0, 1.0), (-0.7, -0.7, 1.0, 1.0)),
)
_NEAR = 7.0
_STEPS = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)


@dataclass(frozen=True)
class Point:
    """One model.

    Attributes:
        arm: teacher, student, control or longer.
        label: What stands beside it.
        cost: Milliseconds an image or megabytes, above 0.
        score: mAP50-95 in [0, 1].
        spread: Standard deviation of the score over trainings; None for a single one.
    """

    arm: str
    label: str
    cost: float
    score: float
    spread: float | None = None


def front(points: Sequence[Point]) -> list[Point]:
    """The points that no other one beats in score without costing more, cheapest first."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (p.cost, -p.score)):
        if not kept or point.score > kept[-1].score:
            kept.append(point)
    return kept


def pareto_plot(points: Sequence[Point], title: str, axis: str, unit: str, language: Language = ENGLISH) -> str:
    """The plot as ``<svg>``.

    Args:
        points: At least one.
        title: One that no other plot of the page has.
        axis: What the cost is.
        unit: Its unit.
        language: Of the numbers and of what is not given; `title`, `axis` and labels are in it already.
    """

    def draw(axes: Any) -> list[Line]:
        best = front(points)
        axes.plot([p.cost for p in best], [p.score for p in best], color=INK, lw=1.2, ls=(0, (2, 2)), alpha=0.7)
        for p in points:
            axes.scatter(p.cost, p.score, s=46, color=COLOURS[p.arm], marker=MARKERS[p.arm], linewidth=0, zorder=3)
            if p.spread:
                axes.errorbar(p.cost, p.score, p.spread, color=COLOURS[p.arm], lw=1, capsize=2.5)
        _scale(axes, points, language)
        axes.set_xlabel(language.gettext("%(axis)s (%(unit)s, log scale)", axis=axis, unit=unit))
        axes.set_ylabel(language.gettext("mAP50-95 on test"))
        place_labels(axes, points)
        return [_readable([p for p in points if p.arm == arm], unit, language) for arm in COLOURS]

    return draw_svg(title, (6.6, 4.4), draw, language)


def _readable(points: Sequence[Point], unit: str, language: Language) -> Line:
    points = sorted(points, key=lambda p: (p.cost, p.score))
    values = [(p.label, number(p.cost, 1, language), number(p.score, 3, language)) for p in points]
    return Line(f"{{0}}: {{1}} {unit}, mAP50-95 {{2}}", [p.cost for p in points], [p.score for p in points], values)


def _scale(axes: Any, points: Sequence[Point], language: Language = ENGLISH) -> None:
    costs, scores = [p.cost for p in points], [p.score for p in points]
    low, high = min(costs) / 1.7, max(costs) * 1.7
    ticks = [step * 10.0**power for power in range(-3, 7) for step in _STEPS if low <= step * 10.0**power <= high]
    axes.set(xscale="log", xlim=(low, high))
    axes.set_xticks(ticks[:: 1 + len(ticks) // 9])
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda value, position: language.digits(f"{value:g}"))
    margin = max(0.02, 0.25 * (max(scores) - min(scores)))
    axes.set_ylim(max(0.0, min(scores) - margin), min(1.0, max(scores) + margin))


def place_labels(axes: Any, points: Sequence[Point]) -> list[Bbox]:
    """Write each label where it covers no marker, no other label, not the front, and nothing outside the axes.

    The first points choose first; a label without a place is left out.

    Returns:
        The boxes of the written labels, in pixels.
    """
    axes.figure.draw_without_rendering()  # settles where the axes are
    scale = axes.figure.dpi / 72
    spots = [axes.transData.transform((p.cost, p.score)) for p in points]
    taken = [Bbox.from_bounds(x - 5 * scale, y - 5 * scale, 10 * scale, 10 * scale) for x, y in spots]
    taken += _along([axes.transData.transform((p.cost, p.score)) for p in front(points)], scale)
    before, inside = len(taken), axes.get_window_extent()
    for point, spot in zip(points, spots, strict=True):
        label = axes.annotate(
            point.label, (point.cost, point.score), (0, 0), textcoords="offset points", color=COLOURS[point.arm],
            fontsize=8.5, ha="left", va="bottom", in_layout=False,
        )  # fmt: skip
        size = label.get_window_extent()
        found = _room(spot, size.width, size.height, scale, taken, inside)
        if found is None:
            label.remove()
            continue
        box, reach = found
        taken.append(box)
        label.xyann = (box.x0 - spot[0]) / scale, (box.y0 - spot[1]) / scale
        if reach > _NEAR:
            ends = axes.transData.inverted().transform([spot, _nearest(spot, box)])
            axes.plot(*ends.T, color=COLOURS[point.arm], lw=0.6, alpha=0.6, zorder=1.5, scalex=False, scaley=False)
    return taken[before:]


def _along(corners: Sequence[Sequence[float]], scale: float) -> list[Bbox]:
    """Small boxes on the lines between corners, so that nothing is written over them."""
    side, boxes = 3 * scale, []
    for (x0, y0), (x1, y1) in itertools.pairwise(corners):
        steps = math.ceil(math.hypot(x1 - x0, y1 - y0) / side)
        spots = [(x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps) for i in range(1, steps)]
        boxes += [Bbox.from_bounds(x - side / 2, y - side / 2, side, side) for x, y in spots]
    return boxes


def _room(
    spot: Sequence[float], width: float, height: float, scale: float, taken: Sequence[Bbox], inside: Bbox
) -> tuple[Bbox, float] | None:
    """The first free box near a spot, and how far it is away (points)."""
    for reach in _REACHES:
        for across, up, left, below in _SIDES:
            x = spot[0] + scale * reach * across - width * left
            y = spot[1] + scale * reach * up - height * below
            box = Bbox.from_bounds(x, y, width, height)
            fits = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
            if fits and not any(box.overlaps(other) for other in taken):
                return box, reach
    return None


def _nearest(spot: Sequence[float], box: Bbox) -> tuple[float, float]:
    return min(max(spot[0], box.x0), box.x1), min(max(spot[1], box.y0), box.y1)
