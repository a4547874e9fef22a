"""What a comparison says in sentences, each from the figures behind it, so that it can be said in any language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdyolo.language import ENGLISH, Language

FEW_SEEDS = 5
"""Fewer trainings of each model show their spread only roughly."""


WARNINGS = ("no_box", "saw_test", "trained_elsewhere", "assistant")
"""What `warning` can say."""


def verdict(
    name: str,
    interval: Mapping[str, float],
    min_effect: float,
    seeds: int,
    needed: tuple[int | None, int | None] = (None, None),
    language: Language = ENGLISH,
) -> str:
    """What was found, the difference with its interval, and what would settle it.

    Args:
        name: ``gain``, ``loss``, ``no gain`` or ``inconclusive``.
        interval: ``estimate``, ``low`` and ``high`` of the difference in mAP as shares in [-1, 1], and its ``level``.
        min_effect: Smallest difference worth having, in mAP points.
        seeds: Trainings of each model.
        needed: Test images and trainings at which an inconclusive difference would be settled; None as in `Verdict`.
        language: Of the sentence.
    """
    words = [_finding(name, min_effect, language), _range(interval, language), _covered(seeds, language)]
    if name == "inconclusive":
        words.insert(2, _more(*needed, language))
    return " ".join(words)


def nothing(seeds: int, language: Language = ENGLISH) -> str:
    """That neither student nor control finds anything.

    Args:
        seeds: Trainings of each model.
        language: Of the sentence.
    """
    found = language.gettext("Inconclusive: neither student nor control finds anything on these images.")
    return f"{found} {_covered(seeds, language)}"


def _finding(name: str, min_effect: float, language: Language) -> str:
    say, points = language.gettext, language.digits(f"{min_effect:g}")
    if name == "gain":
        return say(
            "A gain over training without a teacher: the difference is above zero beyond the chance of this sample."
        )
    if name == "loss":
        return say(
            "A loss against training without a teacher: the difference is below zero beyond the chance of this sample."
        )
    if name == "no gain":
        return language.ngettext(
            "No gain: an improvement of %(points)s mAP points or more is excluded.",
            "No gain: an improvement of %(points)s mAP points or more is excluded.",
            int(min_effect),
            points=points,
        )
    return language.ngettext(
        "Inconclusive: neither a gain nor the absence of a gain of %(points)s mAP points is shown.",
        "Inconclusive: neither a gain nor the absence of a gain of %(points)s mAP points is shown.",
        int(min_effect),
        points=points,
    )


def _range(interval: Mapping[str, float], language: Language) -> str:
    estimate, low, high = (
        language.digits(f"{round(100 * interval[name], 2) + 0.0:+.2f}") for name in ("estimate", "low", "high")
    )
    return language.gettext(
        "The difference is %(estimate)s mAP points (%(level)s %% interval %(low)s to %(high)s).",
        estimate=estimate,
        level=language.digits(f"{100 * interval['level']:g}"),
        low=low,
        high=high,
    )


def _more(images: int | None, seeds: int | None, language: Language) -> str:
    if images is None:
        return language.gettext(
            "The estimate lies so near the boundary that no sensible number of test images would settle it: take the "
            "two as equal, or choose another smallest difference worth having."
        )
    count = language.digits(f"{images:,}")
    if seeds is None:
        return language.gettext(
            "About %(images)s test images would settle it, if the difference stays as it is.", images=count
        )
    return language.gettext(
        "About %(images)s test images and %(seeds)s trainings of each model would settle it, if the difference stays "
        "as it is.",
        images=count,
        seeds=seeds,
    )


def _covered(seeds: int, language: Language) -> str:
    if seeds == 1:
        return language.gettext(
            "One training each: only the choice of test images is covered, not the spread of trainings."
        )
    if seeds < FEW_SEEDS:
        return language.gettext(
            "%(seeds)s trainings each: the choice of test images and the spread of trainings are both covered, the "
            "latter roughly, for they are few.",
            seeds=seeds,
        )
    return language.gettext(
        "%(seeds)s trainings each: the choice of test images and the spread of trainings are both covered.",
        seeds=seeds,
    )


def bias(name: str, teacher: float, student: float, control: float, language: Language = ENGLISH) -> str:
    """A class at which teacher and student are worse than the control; mAP50-95 of each in [0, 1]."""
    return language.gettext(
        "%(name)s: the teacher (%(teacher)s) is worse than the control (%(control)s), and so is the student "
        "(%(student)s); it may have learned the teacher's weakness.",
        name=name,
        teacher=language.digits(f"{teacher:.3f}"),
        student=language.digits(f"{student:.3f}"),
        control=language.digits(f"{control:.3f}"),
    )


def warning(fact: Mapping[str, Any], language: Language = ENGLISH) -> str:
    """What the figures alone do not tell.

    Args:
        fact: ``of`` says which warning, the others are its values: ``no_box`` with ``classes``, ``saw_test`` with
            ``images``, ``trained_elsewhere``, ``assistant`` with ``model`` and ``teacher`` (None: an adopted one).
        language: Of the sentence.

    Raises:
        KeyError: There is no such warning, or a value is missing.
    """
    say, which = language.gettext, fact["of"]
    if which == "no_box":
        return say(
            "The test split has no box of %(classes)s: such classes are n/a, not zero.",
            classes=", ".join(fact["classes"]),
        )
    if which == "saw_test":
        return say(
            "The teacher was trained on %(images)s images of this test split: its figures, and those of a student "
            "that learned from it, are too good.",
            images=fact["images"],
        )
    if which == "trained_elsewhere":
        return say(
            "The teacher was trained elsewhere. If it has seen images of this test split, its figures, and those of a "
            "student that learned from it, are too good."
        )
    if which == "assistant":
        return _assistant(fact["model"], fact["teacher"], language)
    raise KeyError(which)


def _assistant(model: str, teacher: str | None, language: Language) -> str:
    if teacher is None:
        return language.gettext(
            "The teacher of this student is its assistant, a %(model)s that learned from an adopted teacher.",
            model=model,
        )
    return language.gettext(
        "The teacher of this student is its assistant, a %(model)s that learned from a %(teacher)s.",
        model=model,
        teacher=teacher,
    )
