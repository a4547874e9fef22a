"""What the reader of a report must know before trusting its figures."""

from __future__ import annotations

from typing import Any

from kdyolo.evaluation import sentences
from kdyolo.language import ENGLISH, Language, mark
from kdyolo.report.load import Arm, Results
from kdyolo.report.numbers import number, points, signed
from kdyolo.report.proof import class_intervals, difference, rare_classes

_NOTHING = 0.005
_FEW_IMAGES = 30


def warnings(results: Results, language: Language = ENGLISH) -> list[str]:
    """What the reader must know before trusting the figures: the comparison's own warnings, and what they imply."""
    say = language.gettext
    student, control = results.arms.get("student"), results.arms.get("control")
    found = [*_told(results, language), *_biases(results, language)]
    if rare := rare_classes(results):
        found.append(say("Too few boxes on these images to say much about %(classes)s.", classes=", ".join(rare)))
    scores = [arm.mAP50_95 for arm in results.arms.values() if arm.mAP50_95 is not None]
    if scores and max(scores) < _NOTHING:
        found.append(
            say(
                "No model finds anything on these images, so there is nothing to compare: train longer, or look at the "
                "labels with `kdyolo audit`."
            )
        )
    if results.images is not None and results.images < _FEW_IMAGES:
        images = number(results.images, 0, language)
        found.append(say("%(images)s test images are too few to tell two models apart.", images=images))
    if results.same_start is False:
        found.append(say("Student and control did not begin from the same weights, so not only their labels differ."))
    if student and control:
        found += _unequal_training(student, control, language)
    found += _of_longer(results, language)
    if results.verdict.get("name") == "loss":
        found.append(say("On these images, training without the teacher gave the better model."))
    return list(dict.fromkeys([*found, *_of_teacher(results, language)]))


def _told(results: Results, language: Language) -> list[str]:
    """The comparison's own warnings; in English where what they were made from was not kept."""
    if language == ENGLISH or len(results.warning_facts) != len(results.warnings):
        return results.warnings
    return [
        sentences.warning(fact, language) if fact.get("of") in sentences.WARNINGS else text
        for fact, text in zip(results.warning_facts, results.warnings, strict=True)
    ]


def _of_teacher(results: Results, language: Language) -> list[str]:
    """Whether there was something to learn."""
    teacher, control = results.arms.get("teacher"), results.arms.get("control")
    if not teacher or not control or teacher.mAP50_95 is None or control.mAP50_95 is None:
        return []
    scores = {"teacher": points(teacher.mAP50_95, language), "control": points(control.mAP50_95, language)}
    if teacher.mAP50_95 <= control.mAP50_95:
        text = language.gettext(
            "The teacher (%(teacher)s mAP50-95 points) is no better than the small model trained without it "
            "(%(control)s): there was little to learn from it.",
            **scores,
        )
        return [text]
    if difference(results, "control", "teacher").get("high", -1) < 0:
        return []
    text = language.gettext(
        "That the teacher (%(teacher)s mAP50-95 points) is better than the small model trained without it "
        "(%(control)s) may be chance: there may have been little to learn from it.",
        **scores,
    )
    return [text]


def _of_longer(results: Results, language: Language) -> list[str]:
    """What the control with the student's computation says of the gain, if that is not what the other control says."""
    found, scores = difference(results, "student", "longer"), [arm.mAP50_95 or 0 for arm in results.arms.values()]
    if not found or found["low"] > 0 or max(scores) < _NOTHING:
        return []
    control, longer = results.arms.get("control"), results.arms["longer"]
    if control is not None and longer.epochs == control.epochs:  # distilling took hardly any computation
        return []
    points = signed(100 * found["estimate"], 1, language)
    if found["high"] < 0:
        text = language.gettext(
            "The computation that distilling took was better spent on training longer without a teacher (student minus "
            "longer control: %(points)s mAP50-95 points).",
            points=points,
        )
        return [text]
    text = language.gettext(
        "Training longer without a teacher, with the same computation, may be as good (student minus longer control: "
        "%(points)s mAP50-95 points).",
        points=points,
    )
    return [text]


def _biases(results: Results, language: Language) -> list[str]:
    """What the comparison says of inherited weaknesses, with a caution where the images do not prove them."""
    proven = {name for name, interval in class_intervals(results, "control", "teacher").items() if interval["low"] > 0}
    chance = " " + language.gettext("With so few images that may be chance.")
    return [
        _bias(bias, language) + ("" if bias["class"] in proven else chance)
        for bias in results.inheritance.get("biases", [])
    ]


def _bias(bias: dict[str, Any], language: Language) -> str:
    if language == ENGLISH or not {"teacher", "student", "control"} <= bias.keys():
        return str(bias["sentence"])
    return sentences.bias(bias["class"], bias["teacher"], bias["student"], bias["control"], language)


def _unequal_training(student: Arm, control: Arm, language: Language) -> list[str]:
    counts = _unequal_counts(student, control, language)
    elsewhere = student.trained_on.items() - control.trained_on.items()
    if not student.trained_on or not control.trained_on or not elsewhere:
        return counts
    what = ", ".join(
        language.gettext("%(name)s %(mine)s, not %(other)s", name=name, mine=value, other=control.trained_on.get(name))
        for name, value in sorted(elsewhere)
    )
    return [
        language.gettext("Student and control were not trained alike: the student on %(what)s.", what=what),
        *counts,
    ]


_COUNTS = {
    "optimizer_steps": mark("Student and control were not trained alike: %(mine)s against %(other)s optimiser steps."),
    "epochs": mark("Student and control were not trained alike: %(mine)s against %(other)s epochs."),
    "imgsz": mark("Student and control were not trained alike: %(mine)s against %(other)s pixels of image size."),
}


def _unequal_counts(student: Arm, control: Arm, language: Language) -> list[str]:
    return [
        language.gettext(text, mine=number(mine, 0, language), other=number(other, 0, language))
        for name, text in _COUNTS.items()
        if (mine := getattr(student, name)) != (other := getattr(control, name)) and None not in (mine, other)
    ]
