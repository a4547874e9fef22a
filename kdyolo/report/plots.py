"""Plots of a comparison: training curves, precision and recall, speed, classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pandas as pd

from kdyolo.language import ENGLISH, Language
from kdyolo.report.arms import name as arm_name
from kdyolo.report.load import Arm
from kdyolo.report.numbers import number, plain, shorten
from kdyolo.report.svg import COLOURS, DASHES, MARKERS, Line, draw_svg

_MAX_CLASSES = 30


def line_plots(
    epochs: Mapping[str, pd.DataFrame],
    columns: Mapping[str, tuple[str, str | None]],
    inches: tuple[float, float] = (4.4, 3.1),
    language: Language = ENGLISH,
) -> list[str]:
    """One plot for each of `columns` against epochs, a line for each arm.

    Args:
        epochs: Arm -> its training, ultralytics' column names.
        columns: Title -> the column of the solid line and that of the dotted one, if any.
        inches: Width and height; letters stay the same, so a wider plot has smaller ones on the page.
        language: Of the words and numbers.
    """
    plots = []
    for title, (solid, dotted) in columns.items():
        drawn = {arm: t for arm, t in epochs.items() if solid in t and t[solid].notna().any()}
        if drawn:
            draw = partial(_lines, epochs=drawn, solid=solid, dotted=dotted, language=language)
            plots.append(draw_svg(language.gettext(title), inches, draw, language))
    return plots


def _lines(
    axes: Any, epochs: Mapping[str, pd.DataFrame], solid: str, dotted: str | None, language: Language
) -> list[Line]:
    lines = []
    say = language.gettext
    for arm, table in epochs.items():
        marker = "." if len(table) < 3 else None
        name = arm_name(arm, language)
        axes.plot(table["epoch"], table[solid], color=COLOURS[arm], ls=DASHES[arm], marker=marker, label=name)
        lines.append(_epoch_line(say("%(arm)s, epoch {0}: {1}", arm=name), table, solid, language))
        if dotted and dotted in table:
            axes.plot(table["epoch"], table[dotted], color=COLOURS[arm], ls=":", lw=1.3)
            lines.append(_epoch_line(say("%(arm)s, epoch {0}, validation: {1}", arm=name), table, dotted, language))
    axes.set_xlabel(say("epoch"))
    axes.set_ylim(bottom=min(0.0, *(float(table[solid].min()) for table in epochs.values())))
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.legend()
    return lines


def _epoch_line(text: str, table: pd.DataFrame, column: str, language: Language) -> Line:
    x, y = table["epoch"].tolist(), table[column].tolist()
    values = [(number(epoch, 0, language), _figure(value, language)) for epoch, value in zip(x, y, strict=True)]
    return Line(text, x, y, values)


def _figure(value: float, language: Language) -> str:
    """Four digits, and no exponent."""
    return number(value, 5, language) if abs(value) < 0.001 else plain(float(value), language)


def precision_recall(arms: Mapping[str, Arm], language: Language = ENGLISH) -> str | None:
    """Mean precision against recall at IoU 0.5; None where no arm has a curve."""
    curves = {name: (arm.curves.recall, arm.curves.precision.get("all")) for name, arm in arms.items()}
    drawn = {name: (r, p) for name, (r, p) in curves.items() if p and len(r) == len(p)}
    if not drawn:
        return None

    def draw(axes: Any) -> list[Line]:
        for name, (recall, precision) in drawn.items():
            score = number(arms[name].mAP50, 3, language)
            label = language.gettext("%(arm)s (mAP50 %(score)s)", arm=arm_name(name, language), score=score)
            axes.plot(recall, precision, color=COLOURS[name], ls=DASHES[name], label=label)
        axes.set(xlabel=language.gettext("recall"), xlim=(0, 1.01), ylim=(0, 1.03))
        axes.set_ylabel(language.gettext("precision"))
        axes.legend(loc="lower left")
        return [
            score_line(
                language.gettext("%(arm)s: precision {1} at recall {0}", arm=arm_name(name, language)), r, p, language
            )
            for name, (r, p) in drawn.items()
        ]

    return draw_svg(language.gettext("Precision and recall at IoU 0.5"), (5.0, 3.6), draw, language)


def score_line(text: str, x: Sequence[float], y: Sequence[float], language: Language = ENGLISH) -> Line:
    """A line of scores in [0, 1]."""
    return Line(text, x, y, [(number(a, 3, language), number(b, 3, language)) for a, b in zip(x, y, strict=True)])


def speed_accuracy(arms: Mapping[str, Arm], language: Language = ENGLISH) -> str | None:
    """mAP50-95 against median milliseconds an image, the marker's area in proportion to the file's size."""
    drawn = {
        n: (a, a.latency_ms.p50, a.mAP50_95) for n, a in arms.items() if a.latency_ms.p50 and a.mAP50_95 is not None
    }
    if not drawn:
        return None
    times, scores = [float(ms) for _, ms, _ in drawn.values()], [float(score) for _, _, score in drawn.values()]

    def draw(axes: Any) -> list[Line]:
        _markers(axes, drawn, language)
        low, high = min(times) / 2.5, max(times) * 2.5
        axes.set(xscale="log", xlim=(low, high), ylabel="mAP50-95")
        axes.set_xlabel(language.gettext("median ms per image (log scale)"))
        axes.set_xticks(
            [t for power in range(-2, 6) for t in (10**power, 2 * 10**power, 5 * 10**power) if low <= t <= high]
        )
        axes.minorticks_off()
        axes.xaxis.set_major_formatter(lambda value, position: language.digits(f"{value:g}"))
        margin = max(0.05, 0.35 * (max(scores) - min(scores)))
        axes.set_ylim(max(0, min(scores) - margin), min(1.05, max(scores) + margin))
        text = "{}: {{0}} ms, mAP50-95 {{1}}, {{2}} MB"
        return [
            Line(text.format(arm_name(name, language)), [ms], [score], [_figures(arm, language)])
            for name, (arm, ms, score) in drawn.items()
        ]

    return draw_svg(language.gettext("Speed against accuracy"), (5.0, 3.6), draw, language)


def _figures(arm: Arm, language: Language) -> tuple[str, str, str]:
    return number(arm.latency_ms.p50, 1, language), number(arm.mAP50_95, 3, language), number(arm.size_mb, 1, language)


def _markers(axes: Any, drawn: Mapping[str, tuple[Arm, float, float]], language: Language) -> None:
    largest = max(arm.size_mb or 0 for arm, _, _ in drawn.values()) or 1
    small = [score for name, (_, _, score) in drawn.items() if name != "teacher"]
    for name, (arm, ms, score) in drawn.items():
        area = max(1100 * (arm.size_mb or 0) / largest, 26)
        colour = COLOURS[name]
        axes.scatter(ms, score, s=area, color=colour, alpha=0.8, marker=MARKERS[name], linewidth=0)
        # Student and control are equally fast, so the label of the lower one goes below it.
        below = name in ("control", "longer") if len(set(small)) < 2 else name != "teacher" and score == min(small)
        reach = 5 + area**0.5 / 2
        axes.annotate(
            f"{arm_name(name, language)}, {number(arm.size_mb, 1, language)} MB",
            (ms, score),
            (0, -reach if below else reach),
            textcoords="offset points",
            ha="center",
            va="top" if below else "bottom",
            color=colour,
            weight="bold",
        )


def label_curve(budgets: Sequence[tuple[float, Mapping[str, float | None]]], language: Language = ENGLISH) -> str:
    """mAP50-95 of each arm against the share of labelled images.

    Args:
        budgets: (share in (0, 1], arm -> mAP50-95), smallest share first.
        language: Of the words and numbers.
    """
    shares = [share for share, _ in budgets]

    def draw(axes: Any) -> list[Line]:
        lines = []
        for arm, colour in COLOURS.items():
            known = [(share, scores[arm]) for share, scores in budgets if scores.get(arm) is not None]
            if known:
                x, y = zip(*known, strict=True)
                axes.plot(
                    x, y, color=colour, ls=DASHES[arm], marker=MARKERS[arm], markersize=6, label=arm_name(arm, language)
                )
                values = [(language.digits(f"{100 * share:.4g}"), number(score, 3, language)) for share, score in known]
                text = language.gettext("%(arm)s with {0} %% of the labels: {1}", arm=arm_name(arm, language))
                lines.append(Line(text, x, y, values))
        axes.set_xscale("log", base=2)
        axes.set_xticks(shares, [language.digits(f"{100 * share:.4g} %") for share in shares])
        axes.minorticks_off()
        axes.set_xlabel(language.gettext("training images that keep their labels"))
        axes.set_ylabel(language.gettext("mAP50-95 on test"))
        axes.set_ylim(bottom=0)
        axes.legend(loc="lower right")
        return lines

    return draw_svg(language.gettext("mAP50-95 against labels"), (5.4, 3.6), draw, language)


def class_bars(arms: Mapping[str, Arm], classes: Sequence[str], language: Language = ENGLISH) -> str | None:
    """mAP50-95 of each class, a bar for each arm; the classes with most boxes where there are too many to show."""
    tables = {name: {row.name: row for row in arm.per_class} for name, arm in arms.items() if arm.per_class}
    boxes = {c: max((t[c].boxes or 0 for t in tables.values() if c in t), default=0) for c in classes}
    largest = sorted((c for c in classes if boxes[c]), key=lambda c: -boxes[c])[:_MAX_CLASSES]
    shown = [c for c in classes if c in largest][::-1]
    if not shown or not tables:
        return None

    def draw(axes: Any) -> list[Line]:
        lengths = {n: [(t[c].mAP50_95 or 0.0) if c in t else 0.0 for c in shown] for n, t in tables.items()}
        lines = grouped_bars(axes, lengths, shown, 3, language)
        axes.set_yticks(range(len(shown)), [f"{shorten(c, 24)} ({boxes[c]})" for c in shown])
        axes.set(xlim=(0, 1), xlabel=language.gettext("mAP50-95 (boxes of the class in brackets)"))
        axes.grid(visible=False, axis="y")
        axes.figure.legend(loc="outside lower center", ncols=len(tables))
        return lines

    height = 1.35 + len(shown) * 0.2 * (len(tables) + 0.6)
    return draw_svg(language.gettext("Each class"), (5.0, height), draw, language)


def grouped_bars(
    axes: Any,
    lengths: Mapping[str, Sequence[float]],
    names: Sequence[str],
    decimals: int,
    language: Language = ENGLISH,
) -> list[Line]:
    """Horizontal bars with their lengths beside them.

    Args:
        axes: To draw on.
        lengths: Arm -> one for each of `names`.
        names: What the groups of bars stand for, from below.
        decimals: Of the lengths as shown.
        language: Of the names of the arms and the lengths.
    """
    thickness = 0.8 / len(lengths)
    longest = max((value for row in lengths.values() for value in row), default=0.0)
    lines = []
    for place, (arm, row) in enumerate(lengths.items()):
        at = [y + 0.4 - thickness * (place + 0.5) for y in range(len(names))]
        axes.barh(at, row, height=thickness * 0.9, color=COLOURS[arm], label=arm_name(arm, language))
        texts = [number(length, decimals, language) for length in row]
        for y, length, text in zip(at, row, texts, strict=True):
            axes.text(max(length, 0) + 0.012 * longest, y, text, va="center", fontsize=7.5)
        values = [*zip(names, texts, strict=True)][::-1]
        spans = [(0.0, end) for end in row[::-1]]
        lines.append(Line(f"{arm_name(arm, language)}, {{0}}: {{1}}", row[::-1], at[::-1], values, spans))
    return lines
