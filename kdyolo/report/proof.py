"""How sure the figures are and what the student inherited, as rows of text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kdyolo.language import ENGLISH, Language, mark, mark_plural
from kdyolo.report.arms import name as arm_name
from kdyolo.report.load import Arm, Results
from kdyolo.report.numbers import NA, number, percent, signed

METRICS = {"mAP50_95": "mAP50-95", "mAP50": "mAP50", "mAP75": "mAP75"}
_KINDS = {
    "missed": mark("objects missed"),
    "wrong_class": mark("objects of the wrong class"),
    "loose": mark("objects with a loose box"),
    "false_box": mark("boxes on nothing"),
}
NOTHING = mark("nothing")
"""What a missed object is taken for, and what a box on nothing truly is."""
_MOST_CLASSES = 12
_MOST_MIX_UPS = 15
_LOST = {
    "classification": mark("wrong class"),
    "localisation": mark("loose box"),
    "both": mark("wrong class and loose box"),
    "duplicate": mark("second box on one object"),
    "background": mark("box on nothing"),
    "missed": mark("object missed"),
}
_INHERITED = {
    "teacher": mark("Teacher"),
    "copied": mark("Student copied"),
    "control_copied": mark("Control copied"),
    "copied_beyond_control": mark("Student alone copied"),
    "fixed": mark("Student fixed"),
    "control_fixed": mark("Control fixed"),
    "added": mark("Student added"),
    "control_added": mark("Control added"),
}
INHERITED_HEAD = (mark("Error"), *_INHERITED.values())
GROUPS = {
    "fixed": (
        mark("Distillation fixed"),
        mark("the student is right where the control is wrong"),
        mark_plural("%(number)s box fixed", "%(number)s boxes fixed"),
    ),
    "broke": (
        mark("Distillation broke"),
        mark("the student is wrong where the control is right"),
        mark_plural("%(number)s box broken", "%(number)s boxes broken"),
    ),
    "inherited": (
        mark("Inherited"),
        mark("student and teacher share an error that the control does not make"),
        mark_plural("%(number)s box inherited", "%(number)s boxes inherited"),
    ),
}
"""Groups of images worth a look -> heading, what it means, and what happened to a box and to several."""
_SIZES = {"small": mark("small"), "medium": mark("medium"), "large": mark("large")}


def student_against_control(results: Results) -> dict[str, Any]:
    """The pair that answers whether distillation helped, as `Bootstrap.to_json` writes it; empty if not measured."""
    return _pair(results, "student", "control")


def differences(results: Results, language: Language = ENGLISH) -> list[list[str]]:
    """One row a pair of arms and figure: what, difference and interval in mAP points, resamples above 0."""
    rows = []
    for pair in results.uncertainty.get("pairs", []):
        found = pair.get("difference", {})
        both = " - ".join(arm_name(pair[place], language) for place in ("a", "b"))
        rows += [[both, title, *_interval(found.get(name), language)] for name, title in METRICS.items()]
    return rows


def class_differences(results: Results, language: Language = ENGLISH) -> list[list[str]]:
    """One row a class: student minus control in mAP50-95 points, and whether the class has too few boxes to say."""
    rare = rare_classes(results)
    return [
        [
            row["class"],
            number(row["boxes"], 0, language),
            *_interval(row["difference"], language),
            language.gettext("few boxes") if row["class"] in rare else "",
        ]
        for row in student_against_control(results).get("per_class", [])
    ]


def difference(results: Results, a: str, b: str) -> dict[str, float]:
    """mAP50-95 of arm `a` minus arm `b` as `Interval.to_json` writes it; empty if not measured."""
    return _pair(results, a, b).get("difference", {}).get("mAP50_95") or {}


def class_intervals(results: Results, a: str, b: str) -> dict[str, dict[str, float]]:
    """Class name -> mAP50-95 of arm `a` minus arm `b`, of those that were measured."""
    return {row["class"]: row["difference"] for row in _pair(results, a, b).get("per_class", []) if row["difference"]}


def by_seed(arms: Mapping[str, Arm], language: Language = ENGLISH) -> tuple[list[str], list[list[str]]]:
    """Head and rows of mAP50-95 by seed, of the arms that were trained more than once."""
    several = {name: {row["seed"]: row["mAP50_95"] for row in arm.seeds} for name, arm in arms.items() if arm.seeds}
    seeds = list(dict.fromkeys(seed for found in several.values() for seed in found))
    head = [language.gettext("Seed"), *(arm_name(arm, language) for arm in several)]
    return head, [[str(s), *(number(found.get(s), 3, language) for found in several.values())] for s in seeds]


def rare_classes(results: Results) -> list[str]:
    """Classes with too few truth boxes to say much about; empty where it was not looked at."""
    return list(results.uncertainty.get("rare_classes", []))


def kept(results: Results, arm: str = "student", language: Language = ENGLISH) -> str:
    """Interval of the share of the teacher's mAP50-95 that an arm has, as ``88 to 97 %``; empty if not measured."""
    interval = _pair(results, arm, "teacher").get("ratio", {}).get("mAP50_95")
    if not interval:
        return ""
    return _from_to(number(100 * interval["low"], 0, language), percent(interval["high"], language), language)


def keeps(results: Results, language: Language = ENGLISH) -> str:
    """Which part of the teacher's mAP50-95 student and control have, in a sentence; empty where not measured."""
    student, control = (kept(results, arm, language) for arm in ("student", "control"))
    if student and control:
        return language.gettext(
            "Of the teacher's mAP50-95, the student keeps %(student)s and the control keeps %(control)s.",
            student=student,
            control=control,
        )
    if student:
        return language.gettext("Of the teacher's mAP50-95, the student keeps %(student)s.", student=student)
    if control:
        return language.gettext("Of the teacher's mAP50-95, the control keeps %(control)s.", control=control)
    return ""


def _pair(results: Results, a: str, b: str) -> dict[str, Any]:
    pairs: list[dict[str, Any]] = results.uncertainty.get("pairs", [])
    return next((pair for pair in pairs if (pair["a"], pair["b"]) == (a, b)), {})


def _interval(interval: dict[str, float] | None, language: Language) -> list[str]:
    if not interval:
        return [language.word(NA)] * 3
    estimate, low, high = (signed(100 * interval[name], 2, language) for name in ("estimate", "low", "high"))
    return [estimate, _from_to(low, high, language), percent(interval["probability_positive"], language)]


def _from_to(low: str, high: str, language: Language) -> str:
    return language.gettext("%(low)s to %(high)s", low=low, high=high)


def inherited_head(language: Language = ENGLISH) -> list[str]:
    """`INHERITED_HEAD` in this language."""
    return [language.word(title) for title in INHERITED_HEAD]


def inherited(results: Results, language: Language = ENGLISH) -> list[list[str]]:
    """One row a kind of error under `INHERITED_HEAD`."""
    return [
        [language.word(_KINDS.get(kind, kind)), *(number(counts[name], 0, language) for name in _INHERITED)]
        for kind, counts in results.inheritance.get("errors", {}).items()
    ]


def copied(results: Results, language: Language = ENGLISH) -> str:
    """Which part of the teacher's errors student and control make as well; empty where it was not looked at."""
    errors = results.inheritance.get("errors", {}).values()
    of_teacher = sum(counts["teacher"] for counts in errors)
    if not of_teacher:
        return ""
    student, control = (sum(counts[name] for counts in errors) / of_teacher for name in ("copied", "control_copied"))
    return language.gettext(
        "Of %(errors)s errors of the teacher (objects not found as they are, and boxes on nothing; second boxes on an "
        "object aside) the student makes %(student)s too, and the control, which never heard the teacher, %(control)s.",
        errors=number(of_teacher, 0, language),
        student=percent(student, language),
        control=percent(control, language),
    )


def fidelity(results: Results, language: Language = ENGLISH) -> str:
    """How much student and control agree with the teacher, in a sentence; empty where it was not measured."""
    found = results.inheritance.get("fidelity")
    if not found:
        return ""
    student, control = (found[arm].get("f1") for arm in ("student", "control"))
    return language.gettext(
        "Taken as truth, the teacher's boxes are found by the student with F1 %(student)s and by the control with "
        "%(control)s.",
        student=number(student, 3, language),
        control=number(control, 3, language),
    )


def error_costs(arms: Mapping[str, Arm], language: Language = ENGLISH) -> dict[str, dict[str, float]]:
    """Kind of error -> arm -> mAP50 points that it loses by it; empty where not measured."""
    lost = {name: arm.error_budget["lost"] for name, arm in arms.items() if arm.error_budget.get("lost")}
    return {
        language.word(words): {name: 100 * costs[kind] for name, costs in lost.items() if kind in costs}
        for kind, words in _LOST.items()
        if any(kind in costs for costs in lost.values())
    }


def sizes(arms: dict[str, Arm], language: Language = ENGLISH) -> list[list[str]]:
    """One row a size of objects: number of boxes, and each arm's mAP50-95."""
    first: dict[str, Any] = next((arm.sizes for arm in arms.values() if arm.sizes), {})
    of = {size: [(arm.sizes.get(size) or {}).get("mAP50_95") for arm in arms.values()] for size in first}
    return [
        [
            language.word(_SIZES.get(size, size)),
            number(first[size]["boxes"], 0, language),
            *(number(value, 3, language) for value in of[size]),
        ]
        for size in first
    ]


def calibration(arms: dict[str, Arm], language: Language = ENGLISH) -> list[list[str]]:
    """One row an arm: expected calibration error, mean score and precision of its detections."""
    return [
        [
            arm_name(name, language),
            *(number(arm.calibration.get(key), 3, language) for key in ("error", "confidence", "precision")),
        ]
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
        language: Of the numbers.
    """

    arm: str
    confidence: float
    names: list[str]
    rows: list[list[int]]
    shares: list[list[float]]
    language: Language = ENGLISH

    @property
    def is_small(self) -> bool:
        """Whether it can be shown as a table."""
        return len(self.names) <= _MOST_CLASSES + 1

    @property
    def mix_ups(self) -> list[list[str]]:
        """The most frequent mistakes: true class, what it was taken for, boxes."""
        cells = [(n, i, j) for i, row in enumerate(self.rows) for j, n in enumerate(row) if i != j and n]
        cells.sort(key=lambda cell: (-cell[0], cell[1], cell[2]))
        return [[self.names[i], self.names[j], number(n, 0, self.language)] for n, i, j in cells[:_MOST_MIX_UPS]]


def confusions(arms: Mapping[str, Arm], language: Language = ENGLISH) -> list[Confusion]:
    """One for each arm that was looked at."""
    found = []
    for arm, measured in arms.items():
        if table := measured.errors.get("confusion"):
            rows = table["rows_truth_columns_found"]
            names = [name or language.word(NOTHING) for name in table["classes"]]
            shares = [[n / sum(row) if n else 0.0 for n in row] for row in rows]
            found.append(Confusion(arm, measured.errors["confidence"], names, rows, shares, language))
    return found
