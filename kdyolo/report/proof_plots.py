"""Plots of how sure a comparison is, of what its models get wrong and of what their scores mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from kdyolo.language import ENGLISH, Language, mark
from kdyolo.report.arms import name as arm_name
from kdyolo.report.load import Arm, Results
from kdyolo.report.numbers import number, shorten
from kdyolo.report.plots import grouped_bars, score_line
from kdyolo.report.proof import METRICS, error_costs, student_against_control
from kdyolo.report.svg import COLOURS, DASHES, INK, MARKERS, Line, draw_svg

_MAX_CLASSES = 30
_EVERY = 5
_CURVES = {
    mark("Precision against confidence"): (
        "precision_at_confidence",
        mark("%(arm)s: Precision {1} at confidence {0}"),
    ),
    mark("Recall against confidence"): ("recall_at_confidence", mark("%(arm)s: Recall {1} at confidence {0}")),
    mark("F1 against confidence"): ("f1", mark("%(arm)s: F1 {1} at confidence {0}")),
}
"""Title -> column of `Curves`, and what a point says."""


class _Bar(NamedTuple):
    """One interval, all in mAP points; `few`: it is of a class with few boxes."""

    label: str
    estimate: float
    low: float
    high: float
    few: bool = False


def intervals(results: Results, language: Language = ENGLISH) -> str | None:
    """Student minus control with its intervals: the means over classes, then each class; None where not measured."""
    pair = student_against_control(results)
    means = pair.get("difference", {})
    bars = [_bar(title, means[name]) for name, title in METRICS.items() if means.get(name)]
    if not bars:
        return None
    rare = set(results.uncertainty.get("rare_classes", []))
    rows = sorted((r for r in pair.get("per_class", []) if r["difference"]), key=lambda row: -row["boxes"])
    bars += [
        _bar(f"{shorten(r['class'], 24)} ({number(r['boxes'], 0, language)})", r["difference"], r["class"] in rare)
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
        axes.set_xlabel(
            "\n".join(
                (
                    language.gettext("student minus control, points"),
                    language.gettext("classes by mAP50-95, their boxes in brackets"),
                )
            )
        )
        axes.grid(visible=False, axis="y")
        return [_interval_line(bars, language)]

    return draw_svg(
        language.gettext("Difference and its 95 %% interval"), (5.0, 1.25 + 0.25 * len(bars)), draw, language
    )


def _interval_line(bars: Sequence[_Bar], language: Language) -> Line:
    """The intervals, the uppermost first."""
    values = [(b.label, *(language.digits(f"{v:+.2f}") for v in (b.estimate, b.low, b.high))) for b in bars]
    text = language.gettext("{0}: {1} points, 95 %% interval {2} to {3}")
    heights = range(len(bars) - 1, -1, -1)
    return Line(text, [bar.estimate for bar in bars], heights, values, [(bar.low, bar.high) for bar in bars])


def _bar(label: str, interval: Mapping[str, float], few: bool = False) -> _Bar:
    return _Bar(label, 100 * interval["estimate"], 100 * interval["low"], 100 * interval["high"], few)


def error_bars(arms: Mapping[str, Arm], language: Language = ENGLISH) -> str | None:
    """mAP50 points lost by each kind of error, a bar for each arm; None where not measured."""
    costs = error_costs(arms, language)
    if not costs:
        return None
    names = list(costs)[::-1]
    longest = max((value for by_arm in costs.values() for value in by_arm.values()), default=0.0)

    def draw(axes: Any) -> list[Line]:
        lengths = {arm: [costs[name].get(arm, 0.0) for name in names] for arm in arms}
        lines = grouped_bars(axes, lengths, names, 1, language)
        axes.set_yticks(range(len(names)), names)
        axes.set(xlim=(min(0.0, *axes.get_xlim()), 1.12 * longest or 1))
        axes.set_xlabel(language.gettext("mAP50 points, each kind repaired alone"))
        axes.grid(visible=False, axis="y")
        axes.legend(loc="best")
        return lines

    return draw_svg(
        language.gettext("What each kind of error costs"),
        (5.0, 1.0 + len(names) * 0.15 * (len(arms) + 0.6)),
        draw,
        language,
    )


def reliability(arms: Mapping[str, Arm], language: Language = ENGLISH) -> str | None:
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
            error = number(arms[name].calibration.get("error"), 3, language)
            label = language.gettext("%(arm)s (error %(error)s)", arm=arm_name(name, language), error=error)
            axes.plot(x, y, color=COLOURS[name], ls=DASHES[name], linewidth=1.3, label=label)
            areas = [12 + 90 * row["count"] / most for row in rows]
            axes.scatter(x, y, s=areas, color=COLOURS[name], marker=MARKERS[name], alpha=0.75, linewidth=0)
        axes.set(xlabel=language.gettext("score"), xlim=(0, 1.01), ylim=(0, 1.03))
        axes.set_ylabel(language.gettext("share of boxes that are right"))
        axes.legend(loc="upper left")
        return [_calibration_line(name, rows, language) for name, rows in drawn.items()]

    return draw_svg(language.gettext("Are scores what they say?"), (5.0, 3.6), draw, language)


def _calibration_line(arm: str, rows: Sequence[Mapping[str, float]], language: Language) -> Line:
    x, y = [row["confidence"] for row in rows], [row["precision"] for row in rows]
    values = [
        (number(a, 3, language), number(b, 3, language), number(row["count"], 0, language))
        for a, b, row in zip(x, y, rows, strict=True)
    ]
    text = language.gettext(
        "%(arm)s: of {2} boxes with a mean score of {0}, a share of {1} is right", arm=arm_name(arm, language)
    )
    return Line(text, x, y, values)


def confidence_curves(arms: Mapping[str, Arm], language: Language = ENGLISH) -> list[str]:
    """Mean precision, recall and F1 at IoU 0.5 against confidence, a dot at the arm's operating point."""
    plots = (_confidence_curve(arms, title, name, point, language) for title, (name, point) in _CURVES.items())
    return [plot for plot in plots if plot]


def _confidence_curve(arms: Mapping[str, Arm], title: str, name: str, point: str, language: Language) -> str | None:
    lines = {n: (arm.curves.confidence, getattr(arm.curves, name).get("all")) for n, arm in arms.items()}
    drawn = {n: (x, y) for n, (x, y) in lines.items() if y and len(x) == len(y)}
    if not drawn:
        return None

    def draw(axes: Any) -> list[Line]:
        for arm, (x, y) in drawn.items():
            axes.plot(x[::_EVERY], y[::_EVERY], color=COLOURS[arm], ls=DASHES[arm], label=arm_name(arm, language))
            if (best := arms[arm].confidence) is not None:
                nearest = _nearest(x, best)
                axes.plot(x[nearest], y[nearest], MARKERS[arm], color=COLOURS[arm], markersize=6)
        axes.set(xlabel=language.gettext("confidence"), xlim=(0, 1.01), ylim=(0, 1.03))
        axes.legend(loc="best")
        return [
            score_line(language.gettext(point, arm=arm_name(arm, language)), x[::_EVERY], y[::_EVERY], language)
            for arm, (x, y) in drawn.items()
        ]

    return draw_svg(language.gettext(title), (4.4, 3.1), draw, language)


def _nearest(values: Sequence[float], value: float) -> int:
    return min(range(len(values)), key=lambda i: abs(values[i] - value))
