"""Plots of how sure a comparison is, of what its models get wrong and of what their scores mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kdyolo.report.load import Arm, Results
from kdyolo.report.numbers import number, shorten
from kdyolo.report.plots import grouped_bars, score_line
from kdyolo.report.proof import METRICS, error_costs, student_against_control
from kdyolo.report.svg import COLOURS, DASHES, INK, MARKERS, Line, draw_svg

_MAX_CLASSES = 30
_EVERY = 5
_CURVES = {
    "Precision against confidence": "precision_at_confidence",
    "Recall against confidence": "recall_at_confidence",
    "F1 against confidence": "f1",
}


class _Bar(NamedTuple):
    """One interval, all in mAP points; `few`: it is of a class with few boxes."""

    label: str
    estimate: float
    low: float
    high: float
    few: bool = False


def intervals(results: Results) -> str | None:
    """Student minus control with its intervals: the means over classes, then each class; None where not measured."""
    pair = student_against_control(results)
    means = pair.get("difference", {})
    bars = [_bar(title, means[name]) for name, title in METRICS.items() if means.get(name)]
    if not bars:
        return None
    rare = set(results.uncertainty.get("rare_classes", []))
    rows = sorted((r for r in pair.get("per_class", []) if r["difference"]), key=lambda row: -row["boxes"])
    bars += [
        _bar(f"{shorten(r['class'], 24)} ({number(r['boxes'])})", r["difference"], r["class"] in rare)
        for r in rows[:_MAX_CLASSES]
    ]
    effect = float(results.measured.get("min_effect") or 0)

    def draw(axes: Any) -> list[Line]:
        axes.axvspan(-effect, effect, color=INK, alpha=0.1, linewidth=0)
        axes.axvline(0, color=INK, linewidth=0.8)
        for y, bar in enumerate(reversed(bars)):
            colour, face = COLOURS["student"], "none" if bar.few else COLOURS["student"]
            axes.plot((bar.low, bar.high), (y, y), color=colour, ls=":" if bar.few else "-", solid_capstyle="butt")
            axes.plot(bar.estimate, y, "o", color=colour, markerfacecolor=face, markersize=6)
        axes.set_yticks(range(len(bars)), [bar.label for bar in reversed(bars)])
        axes.set_ylim(-0.7, len(bars) - 0.3)
        axes.set_xlabel("student minus control, points\nclasses by mAP50-95, their boxes in brackets")
        axes.grid(visible=False, axis="y")
        return [_interval_line(bars)]

    return draw_svg("Difference and its 95 % interval", (5.0, 1.25 + 0.25 * len(bars)), draw)


def _interval_line(bars: Sequence[_Bar]) -> Line:
    """The intervals, the uppermost first."""
    values = [(bar.label, f"{bar.estimate:+.2f}", f"{bar.low:+.2f}", f"{bar.high:+.2f}") for bar in bars]
    text = "{0}: {1} points, 95 % interval {2} to {3}"
    heights = range(len(bars) - 1, -1, -1)
    return Line(text, [bar.estimate for bar in bars], heights, values, [(bar.low, bar.high) for bar in bars])


def _bar(label: str, interval: Mapping[str, float], few: bool = False) -> _Bar:
    return _Bar(label, 100 * interval["estimate"], 100 * interval["low"], 100 * interval["high"], few)


def error_bars(arms: Mapping[str, Arm]) -> str | None:
    """mAP50 points lost by each kind of error, a bar for each arm; None where not measured."""
    costs = error_costs(arms)
    if not costs:
        return None
    names = list(costs)[::-1]
    longest = max((value for by_arm in costs.values() for value in by_arm.values()), default=0.0)

    def draw(axes: Any) -> list[Line]:
        lines = grouped_bars(axes, {arm: [costs[name].get(arm, 0.0) for name in names] for arm in arms}, names, 1)
        axes.set_yticks(range(len(names)), names)
        axes.set(
            xlim=(min(0.0, *axes.get_xlim()), 1.12 * longest or 1), xlabel="mAP50 points, each kind repaired alone"
        )
        axes.grid(visible=False, axis="y")
        axes.legend(loc="best")
        return lines

    return draw_svg("What each kind of error costs", (5.0, 1.0 + len(names) * 0.15 * (len(arms) + 0.6)), draw)


def reliability(arms: Mapping[str, Arm]) -> str | None:
    """Share of right boxes against score, larger markers for more boxes; None where not measured."""
    bins = {name: [b for b in arm.calibration.get("bins", []) if b.get("count")] for name, arm in arms.items()}
    drawn = {name: rows for name, rows in bins.items() if rows}
    if not drawn:
        return None
    most = max(row["count"] for rows in drawn.values() for row in rows)

    def draw(axes: Any) -> list[Line]:
        axes.plot((0, 1), (0, 1), color=INK, linewidth=0.8, ls=":")
        for name, rows in drawn.items():
            x, y = [row["confidence"] for row in rows], [row["precision"] for row in rows]
            label = f"{name} (error {number(arms[name].calibration.get('error'), 3)})"
            axes.plot(x, y, color=COLOURS[name], ls=DASHES[name], linewidth=1.3, label=label)
            areas = [12 + 90 * row["count"] / most for row in rows]
            axes.scatter(x, y, s=areas, color=COLOURS[name], marker=MARKERS[name], alpha=0.75, linewidth=0)
        axes.set(xlabel="score", ylabel="share of boxes that are right", xlim=(0, 1.01), ylim=(0, 1.03))
        axes.legend(loc="upper left")
        return [_calibration_line(name, rows) for name, rows in drawn.items()]

    return draw_svg("Are scores what they say?", (5.0, 3.6), draw)


def _calibration_line(arm: str, rows: Sequence[Mapping[str, float]]) -> Line:
    x, y = [row["confidence"] for row in rows], [row["precision"] for row in rows]
    values = [(number(a, 3), number(b, 3), number(row["count"])) for a, b, row in zip(x, y, rows, strict=True)]
    return Line(f"{arm}: of {{2}} boxes with a mean score of {{0}}, a share of {{1}} is right", x, y, values)


def confidence_curves(arms: Mapping[str, Arm]) -> list[str]:
    """Mean precision, recall and F1 at IoU 0.5 against confidence, a dot where the arm's F1 is best."""
    return [plot for title, name in _CURVES.items() if (plot := _confidence_curve(arms, title, name))]


def _confidence_curve(arms: Mapping[str, Arm], title: str, name: str) -> str | None:
    lines = {n: (arm.curves.confidence, getattr(arm.curves, name).get("all")) for n, arm in arms.items()}
    drawn = {n: (x, y) for n, (x, y) in lines.items() if y and len(x) == len(y)}
    if not drawn:
        return None

    def draw(axes: Any) -> list[Line]:
        for arm, (x, y) in drawn.items():
            axes.plot(x[::_EVERY], y[::_EVERY], color=COLOURS[arm], ls=DASHES[arm], label=arm)
            if (best := arms[arm].confidence) is not None:
                nearest = _nearest(x, best)
                axes.plot(x[nearest], y[nearest], MARKERS[arm], color=COLOURS[arm], markersize=6)
        axes.set(xlabel="confidence", xlim=(0, 1.01), ylim=(0, 1.03))
        axes.legend(loc="best")
        what = title.partition(" ")[0]
        return [
            score_line(f"{arm}: {what} {{1}} at confidence {{0}}", x[::_EVERY], y[::_EVERY])
            for arm, (x, y) in drawn.items()
        ]

    return draw_svg(title, (4.4, 3.1), draw)


def _nearest(values: Sequence[float], value: float) -> int:
    return min(range(len(values)), key=lambda i: abs(values[i] - value))
