"""Plots of how sure a comparison is, of what its models get wrong and of what their scores mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kdyolo.report.load import Arm, Results
from kdyolo.report.numbers import number, shorten
from kdyolo.report.proof import METRICS, error_costs, student_against_control
from kdyolo.report.svg import COLOURS, DASHES, INK, MARKERS, draw_svg

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

    def draw(axes: Any) -> None:
        axes.axvspan(-effect, effect, color=INK, alpha=0.1, linewidth=0)
        axes.axvline(0, color=INK, linewidth=0.8)
        for y, bar in enumerate(reversed(bars)):
            colour, face = COLOURS["student"], "none" if bar.few else COLOURS["student"]
            axes.plot((bar.low, bar.high), (y, y), color=colour, ls=":" if bar.few else "-", solid_capstyle="butt")
            axes.plot(bar.estimate, y, "o", color=colour, markerfacecolor=face, markersize=6)
        axes.set_yticks(range(len(bars)), [bar.label for bar in reversed(bars)])
        axes.set_ylim(-0.7, len(bars) - 0.3)
        axes.set_xlabel("student minus control, points; classes by mAP50-95 (boxes in brackets)")
        axes.grid(visible=False, axis="y")

    return draw_svg("Difference and its 95 % interval", (5.6, 1.1 + 0.25 * len(bars)), draw)


def _bar(label: str, interval: Mapping[str, float], few: bool = False) -> _Bar:
    return _Bar(label, 100 * interval["estimate"], 100 * interval["low"], 100 * interval["high"], few)


def error_bars(arms: Mapping[str, Arm]) -> str | None:
    """mAP50 points lost by each kind of error, a bar for each arm; None where not measured."""
    costs = error_costs(arms)
    if not costs:
        return None
    names = list(costs)[::-1]
    thickness = 0.8 / len(arms)
    longest = max((value for by_arm in costs.values() for value in by_arm.values()), default=0.0)

    def draw(axes: Any) -> None:
        for place, arm in enumerate(arms):
            at = [y + 0.4 - thickness * (place + 0.5) for y in range(len(names))]
            lengths = [costs[name].get(arm, 0.0) for name in names]
            axes.barh(at, lengths, height=thickness * 0.9, color=COLOURS[arm], label=arm)
            for y, length in zip(at, lengths, strict=True):
                axes.text(max(length, 0) + 0.012 * longest, y, number(length, 1), va="center", fontsize=7.5)
        axes.set_yticks(range(len(names)), names)
        axes.set(
            xlim=(min(0.0, *axes.get_xlim()), 1.12 * longest or 1), xlabel="mAP50 points, each kind repaired alone"
        )
        axes.grid(visible=False, axis="y")
        axes.legend(loc="best")

    return draw_svg("What each kind of error costs", (5.6, 1.0 + len(names) * 0.15 * (len(arms) + 0.6)), draw)


def reliability(arms: Mapping[str, Arm]) -> str | None:
    """Share of right boxes against score, larger markers for more boxes; None where not measured."""
    bins = {name: [b for b in arm.calibration.get("bins", []) if b.get("count")] for name, arm in arms.items()}
    drawn = {name: rows for name, rows in bins.items() if rows}
    if not drawn:
        return None
    most = max(row["count"] for rows in drawn.values() for row in rows)

    def draw(axes: Any) -> None:
        axes.plot((0, 1), (0, 1), color=INK, linewidth=0.8, ls=":")
        for name, rows in drawn.items():
            x, y = [row["confidence"] for row in rows], [row["precision"] for row in rows]
            label = f"{name} (error {number(arms[name].calibration.get('error'), 3)})"
            axes.plot(x, y, color=COLOURS[name], ls=DASHES[name], linewidth=1.3, label=label)
            areas = [12 + 90 * row["count"] / most for row in rows]
            axes.scatter(x, y, s=areas, color=COLOURS[name], marker=MARKERS[name], alpha=0.75, linewidth=0)
        axes.set(xlabel="score", ylabel="share of boxes that are right", xlim=(0, 1.01), ylim=(0, 1.03))
        axes.legend(loc="upper left")

    return draw_svg("Are scores what they say?", (5.6, 3.9), draw)


def confidence_curves(arms: Mapping[str, Arm]) -> list[str]:
    """Mean precision, recall and F1 at IoU 0.5 against confidence, a dot where the arm's F1 is best."""
    return [plot for title, name in _CURVES.items() if (plot := _confidence_curve(arms, title, name))]


def _confidence_curve(arms: Mapping[str, Arm], title: str, name: str) -> str | None:
    lines = {n: (arm.curves.confidence, getattr(arm.curves, name).get("all")) for n, arm in arms.items()}
    drawn = {n: (x, y) for n, (x, y) in lines.items() if y and len(x) == len(y)}
    if not drawn:
        return None

    def draw(axes: Any) -> None:
        for arm, (x, y) in drawn.items():
            axes.plot(x[::_EVERY], y[::_EVERY], color=COLOURS[arm], ls=DASHES[arm], label=arm)
            if (best := arms[arm].confidence) is not None:
                nearest = _nearest(x, best)
                axes.plot(x[nearest], y[nearest], MARKERS[arm], color=COLOURS[arm], markersize=6)
        axes.set(xlabel="confidence", xlim=(0, 1.01), ylim=(0, 1.03))
        axes.legend(loc="best")

    return draw_svg(title, (4.4, 3.1), draw)


def _nearest(values: Sequence[float], value: float) -> int:
    return min(range(len(values)), key=lambda i: abs(values[i] - value))
