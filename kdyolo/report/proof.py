"""How sure the figures are and what the student inherited, as rows of text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kdyolo.report.load import Arm, Results
from kdyolo.report.numbers import NA, number, percent

METRICS = {"mAP50_95": "mAP50-95", "mAP50": "mAP50", "mAP75": "mAP75"}
_KINDS = {
    "missed": "objects missed",
    "wrong_class": "objects of the wrong class",
    "loose": "objects with a loose box",
    "false_box": "boxes on nothing",
}
NOTHING = "nothing"
"""What a missed object is taken for, and what a box on nothing truly is."""
_MOST_CLASSES = 12
_MOST_MIX_UPS = 15
_LOST = {
    "classification": "wrong class",
    "localisation": "loose box",
    "both": "wrong class and loose box",
    "duplicate": "second box on one object",
    "background": "box on nothing",
    "missed": "object missed",
}
_INHERITED = {
    "teacher": "Teacher",
    "copied": "Student copied",
    "control_copied": "Control copied",
    "copied_beyond_control": "Student alone copied",
    "fixed": "Student fixed",
    "control_fixed": "Control fixed",
    "added": "Student added",
    "control_added": "Control added",
}
INHERITED_HEAD = ("Error", *_INHERITED.values())
GROUPS = {
    "fixed": ("Distillation fixed", "the student is right where the control is wrong", "fixed"),
    "broke": ("Distillation broke", "the student is wrong where the control is right", "broken"),
    "inherited": ("Inherited", "student and teacher share an error that the control does not make", "inherited"),
}
"""Groups of images worth a look -> heading, what it means, and what happened to a box."""


def student_against_control(results: Results) -> dict[str, Any]:
    """The pair that answers whether distillation helped, as `Bootstrap.to_json` writes it; empty if not measured."""
    return _pair(results, "student", "control")


def differences(results: Results) -> list[list[str]]:
    """One row a pair of arms and figure: what, difference and interval in mAP points, resamples above 0."""
    rows = []
    for pair in results.uncertainty.get("pairs", []):
        found = pair.get("difference", {})
        rows += [[f"{pair['a']} - {pair['b']}", title, *_interval(found.get(name))] for name, title in METRICS.items()]
    return rows


def class_differences(results: Results) -> list[list[str]]:
    """One row a class: student minus control in mAP50-95 points, and whether the class has too few boxes to say."""
    rare = rare_classes(results)
    return [
        [
            row["class"],
            number(row["boxes"]),
            *_interval(row["difference"]),
            "few boxes" if row["class"] in rare else "",
        ]
        for row in student_against_control(results).get("per_class", [])
    ]


def difference(results: Results, a: str, b: str) -> dict[str, float]:
    """mAP50-95 of arm `a` minus arm `b` as `Interval.to_json` writes it; empty if not measured."""
    return _pair(results, a, b).get("difference", {}).get("mAP50_95") or {}


def class_intervals(results: Results, a: str, b: str) -> dict[str, dict[str, float]]:
    """Class name -> mAP50-95 of arm `a` minus arm `b`, of those that were measured."""
    return {row["class"]: row["difference"] for row in _pair(results, a, b).get("per_class", []) if row["difference"]}


def by_seed(arms: Mapping[str, Arm]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of mAP50-95 by seed, of the arms that were trained more than once."""
    several = {name: {row["seed"]: row["mAP50_95"] for row in arm.seeds} for name, arm in arms.items() if arm.seeds}
    seeds = list(dict.fromkeys(seed for found in several.values() for seed in found))
    return ["Seed", *several], [[str(s), *(number(found.get(s), 3) for found in several.values())] for s in seeds]


def rare_classes(results: Results) -> list[str]:
    """Classes with too few truth boxes to say much about; empty where it was not looked at."""
    return list(results.uncertainty.get("rare_classes", []))


def kept(results: Results, arm: str = "student") -> str:
    """Interval of the share of the teacher's mAP50-95 that an arm has, as ``88 to 97 %``; empty if not measured."""
    interval = _pair(results, arm, "teacher").get("ratio", {}).get("mAP50_95")
    return f"{number(100 * interval['low'])} to {percent(interval['high'])}" if interval else ""


def _pair(results: Results, a: str, b: str) -> dict[str, Any]:
    pairs: list[dict[str, Any]] = results.uncertainty.get("pairs", [])
    return next((pair for pair in pairs if (pair["a"], pair["b"]) == (a, b)), {})


def _interval(interval: dict[str, float] | None) -> list[str]:
    if not interval:
        return [NA, NA, NA]
    estimate, low, high = (f"{round(100 * interval[name], 2) + 0.0:+.2f}" for name in ("estimate", "low", "high"))
    return [estimate, f"{low} to {high}", percent(interval["probability_positive"])]


def inherited(results: Results) -> list[list[str]]:
    """One row a kind of error under `INHERITED_HEAD`."""
    return [
        [_KINDS.get(kind, kind), *(number(counts[name]) for name in _INHERITED)]
        for kind, counts in results.inheritance.get("errors", {}).items()
    ]


def copied(results: Results) -> str:
    """Which part of the teacher's errors student and control make as well; empty where it was not looked at."""
    errors = results.inheritance.get("errors", {}).values()
    of_teacher = sum(counts["teacher"] for counts in errors)
    if not of_teacher:
        return ""
    student, control = (sum(counts[name] for counts in errors) / of_teacher for name in ("copied", "control_copied"))
    return (
        f"Of all {number(of_teacher)} errors of the teacher, the student makes {percent(student)} too, and the "
        f"control, which never heard the teacher, {percent(control)}."
    )


def fidelity(results: Results) -> str:
    """How much student and control agree with the teacher, in a sentence; empty where it was not measured."""
    found = results.inheritance.get("fidelity")
    if not found:
        return ""
    student, control = (found[arm].get("f1") for arm in ("student", "control"))
    return (
        f"Taken as truth, the teacher's boxes are found by the student with F1 {number(student, 3)} and by the "
        f"control with {number(control, 3)}."
    )


def error_costs(arms: Mapping[str, Arm]) -> dict[str, dict[str, float]]:
    """Kind of error -> arm -> mAP50 points that it loses by it; empty where not measured."""
    lost = {name: arm.error_budget["lost"] for name, arm in arms.items() if arm.error_budget.get("lost")}
    return {
        words: {name: 100 * costs[kind] for name, costs in lost.items() if kind in costs}
        for kind, words in _LOST.items()
        if any(kind in costs for costs in lost.values())
    }


def sizes(arms: dict[str, Arm]) -> list[list[str]]:
    """One row a size of objects: number of boxes, and each arm's mAP50-95."""
    first: dict[str, Any] = next((arm.sizes for arm in arms.values() if arm.sizes), {})
    of = {size: [(arm.sizes.get(size) or {}).get("mAP50_95") for arm in arms.values()] for size in first}
    return [[size, number(first[size]["boxes"]), *(number(value, 3) for value in of[size])] for size in first]


def calibration(arms: dict[str, Arm]) -> list[list[str]]:
    """One row an arm: expected calibration error, mean score and precision of its detections."""
    return [
        [name, *(number(arm.calibration.get(key), 3) for key in ("error", "confidence", "precision"))]
        for name, arm in arms.items()
        if arm.calibration
    ]


@dataclass(frozen=True)
class Confusion:
    """What each true class was taken for by one arm, at its operating point.

    Attributes:
        arm: The model.
        confidence: Its operating point.
        names: Classes, and `NOTHING` last.
        rows: Of each true class, and of nothing: boxes taken for each of `names`.
        shares: The same in [0, 1] of their row.
    """

    arm: str
    confidence: float
    names: list[str]
    rows: list[list[int]]
    shares: list[list[float]]

    @property
    def is_small(self) -> bool:
        """Whether it can be shown as a table."""
        return len(self.names) <= _MOST_CLASSES + 1

    @property
    def mix_ups(self) -> list[list[str]]:
        """The most frequent mistakes: true class, what it was taken for, boxes."""
        cells = [(n, i, j) for i, row in enumerate(self.rows) for j, n in enumerate(row) if i != j and n]
        cells.sort(key=lambda cell: (-cell[0], cell[1], cell[2]))
        return [[self.names[i], self.names[j], number(n)] for n, i, j in cells[:_MOST_MIX_UPS]]


def confusions(arms: Mapping[str, Arm]) -> list[Confusion]:
    """One for each arm that was looked at."""
    found = []
    for arm, measured in arms.items():
        if table := measured.errors.get("confusion"):
            rows = table["rows_truth_columns_found"]
            names = [name or NOTHING for name in table["classes"]]
            shares = [[n / sum(row) if n else 0.0 for n in row] for row in rows]
            found.append(Confusion(arm, measured.errors["confidence"], names, rows, shares))
    return found
