"""How sure the figures are and what the student inherited, as rows of text."""

from __future__ import annotations

from typing import Any

from kdyolo.report.load import Arm, Results
from kdyolo.report.numbers import NA, number, percent

_WHAT = {"mAP50_95": "mAP50-95", "mAP50": "mAP50", "mAP75": "mAP75"}
_KINDS = {
    "missed": "objects missed",
    "wrong_class": "objects of the wrong class",
    "loose": "objects with a loose box",
    "false_box": "boxes on nothing",
}
_LOST = {
    "classification": "wrong class",
    "localisation": "loose box",
    "both": "both",
    "duplicate": "second box",
    "background": "on nothing",
    "missed": "missed",
}


def differences(results: Results) -> list[list[str]]:
    """One row a pair of arms and figure: what, difference with its interval in mAP points, chance of being above 0."""
    rows = []
    for pair in results.uncertainty.get("pairs", []):
        for metric, interval in pair.get("difference", {}).items():
            what = f"{pair['a']} - {pair['b']}"
            rows.append([what, _WHAT.get(metric, metric), *_interval(interval, 100)])
    return rows


def class_differences(results: Results) -> list[list[str]]:
    """One row a class: student minus control in mAP50-95 points, and whether the class has too few boxes to say."""
    pairs = results.uncertainty.get("pairs", [])
    found = [row for p in pairs if (p["a"], p["b"]) == ("student", "control") for row in p.get("per_class", [])]
    rare = set(results.uncertainty.get("rare_classes", []))
    return [
        [
            row["class"],
            number(row["boxes"]),
            *_interval(row["difference"], 100),
            "few boxes" if row["class"] in rare else "",
        ]
        for row in found
    ]


def _interval(interval: dict[str, float] | None, scale: float) -> list[str]:
    if not interval:
        return [NA, NA, NA]
    low, high = (f"{scale * interval[name]:+.1f}" for name in ("low", "high"))
    return [f"{scale * interval['estimate']:+.1f}", f"{low} to {high}", percent(interval["probability_positive"])]


def inherited(results: Results) -> list[list[str]]:
    """One row a kind of error: the teacher's, and what student and control copied, fixed and added."""
    rows = []
    for kind, counts in results.inheritance.get("errors", {}).items():
        cells = [number(counts[name]) for name in ("teacher", "copied", "control_copied", "fixed", "control_fixed")]
        rows.append([_KINDS.get(kind, kind), *cells, number(counts["added"]), number(counts["control_added"])])
    return rows


def fidelity(results: Results) -> str:
    """How much student and control agree with the teacher, in a sentence; empty where it was not measured."""
    found = results.inheritance.get("fidelity")
    if not found:
        return ""
    student, control = (found[arm].get("f1") for arm in ("student", "control"))
    return (
        f"Taken as truth, the teacher's boxes are found by the student with F1 {number(student, 3)} and by the "
        f"control, which never heard it, with {number(control, 3)}."
    )


def lost(arms: dict[str, Arm]) -> list[list[str]]:
    """One row a kind of error: the mAP50 points that each arm loses by it."""
    names = [name for name in _LOST if any(name in _budget(arm) for arm in arms.values())]
    return [[_LOST[name], *(number(_points(_budget(arm).get(name)), 1) for arm in arms.values())] for name in names]


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


def _budget(arm: Arm) -> dict[str, Any]:
    return arm.error_budget.get("lost", arm.error_budget) if arm.error_budget else {}


def _points(share: float | None) -> float | None:
    return None if share is None else 100 * share
