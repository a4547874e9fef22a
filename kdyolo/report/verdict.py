"""What the figures mean, in sentences that claim no more than they show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kdyolo.report.load import Arm, Results
from kdyolo.report.numbers import NA, duration, number, percent, points, ratio
from kdyolo.report.proof import class_intervals, difference, kept, rare_classes

_NOTHING = 0.005
_FEW_IMAGES = 30


@dataclass(frozen=True)
class Figure:
    """One of the large figures at the top of the page."""

    title: str
    value: str
    note: str


def verdict(results: Results) -> str:
    """Did distillation help? What the resampled test images say, and the two figures; see `evaluation.verdicts`."""
    student, control = results.arms.get("student"), results.arms.get("control")
    if student is None:
        return "This run has no student, so there is nothing to compare."
    model, where = student.model or "student", f"on {number(results.images)} {results.split} images"
    if _is_plain(student):
        return f"Nothing was distilled in this run: the {model} student learned the data set's own labels, {where}."
    if control is None:
        return (
            f"The distilled {model} reaches {points(student.mAP50_95)} mAP50-95 points {where}; whether distillation "
            "helped is unknown, because no control was trained without the teacher."
        )
    mine, others = _mean(results, "student"), _mean(results, "control")
    if mine is None or others is None:
        return f"The distilled {model} and its control cannot be compared: mAP50-95 could not be measured {where}."
    seeds = results.uncertainty.get("seeds", 1)
    if seeds > 1:
        where += f", the mean of {seeds} trainings each"
    other = "the same model" if control.model == student.model else f"a {control.model}"
    other += " trained without a teacher"
    reached = f"{points(mine)} mAP50-95 points against {points(others)} of {other}, {where}."
    sentence = results.verdict.get("sentence")
    if sentence:
        return f"{sentence} The distilled {model} reaches {reached}"
    return f"The distilled {model} reaches {reached} Whether that is chance, `kdyolo compare --resume` measures."


def _mean(results: Results, arm: str) -> float | None:
    """mAP50-95 of an arm, the mean over its trainings."""
    of_seeds: float | None = results.uncertainty.get("arms", {}).get(arm, {}).get("mAP50_95")
    return results.arms[arm].mAP50_95 if of_seeds is None else of_seeds


def warnings(results: Results) -> list[str]:
    """What the reader must know before trusting the figures: the comparison's own warnings, and what they imply."""
    student, control, teacher = (results.arms.get(name) for name in ("student", "control", "teacher"))
    found = [*results.warnings, *_biases(results)]
    if rare := rare_classes(results):
        found.append(f"Too few boxes on these images to say much about {', '.join(rare)}.")
    scores = [arm.mAP50_95 for arm in results.arms.values() if arm.mAP50_95 is not None]
    if scores and max(scores) < _NOTHING:
        found.append(
            "No model finds anything on these images, so there is nothing to compare: train longer, or look at the "
            "labels with `kdyolo audit`."
        )
    if results.images is not None and results.images < _FEW_IMAGES:
        found.append(f"{number(results.images)} test images are too few to tell two models apart.")
    if results.same_start is False:
        found.append("Student and control did not begin from the same weights, so not only their labels differ.")
    if student and control:
        found += _unequal_training(student, control)
    found += _of_longer(results)
    if results.verdict.get("name") == "loss":
        found.append("On these images, training without the teacher gave the better model.")
    if teacher and control and teacher.mAP50_95 is not None and control.mAP50_95 is not None:
        if teacher.mAP50_95 <= control.mAP50_95:
            found.append(
                f"The teacher ({points(teacher.mAP50_95)} mAP50-95 points) is no better than the small model trained "
                f"without it ({points(control.mAP50_95)}): there was little to learn from it."
            )
        elif difference(results, "control", "teacher").get("high", -1) >= 0:
            found.append(
                f"That the teacher ({points(teacher.mAP50_95)} mAP50-95 points) is better than the small model trained "
                f"without it ({points(control.mAP50_95)}) may be chance: there may have been little to learn from it."
            )
    return list(dict.fromkeys(found))


def _of_longer(results: Results) -> list[str]:
    """What the control with the student's computation says of the gain, if that is not what the other control says."""
    found = difference(results, "student", "longer")
    if not found or found["low"] > 0:
        return []
    by = f"student minus longer control: {100 * found['estimate']:+.1f} mAP50-95 points"
    if found["high"] < 0:
        return [f"The computation that distilling took was better spent on training longer without a teacher ({by})."]
    return [f"Training longer without a teacher, with the same computation, may be as good ({by})."]


def _biases(results: Results) -> list[str]:
    """What the comparison says of inherited weaknesses, with a caution where the images do not prove them."""
    proven = {name for name, interval in class_intervals(results, "control", "teacher").items() if interval["low"] > 0}
    return [
        bias["sentence"] + ("" if bias["class"] in proven else " With so few images that may be chance.")
        for bias in results.inheritance.get("biases", [])
    ]


def _is_plain(student: Arm) -> bool:
    """Whether it never heard of a teacher."""
    return student.labels == "gt" and student.scheme is None


def _unequal_training(student: Arm, control: Arm) -> list[str]:
    elsewhere = student.trained_on.items() - control.trained_on.items()
    if student.trained_on and control.trained_on and elsewhere:
        what = ", ".join(f"{name} {value}, not {control.trained_on.get(name)}" for name, value in sorted(elsewhere))
        return [
            f"Student and control were not trained alike: the student on {what}.",
            *_unequal_counts(student, control),
        ]
    return _unequal_counts(student, control)


def _unequal_counts(student: Arm, control: Arm) -> list[str]:
    names = {"optimizer_steps": "optimiser steps", "epochs": "epochs", "imgsz": "pixels of image size"}
    return [
        f"Student and control were not trained alike: {number(mine)} against {number(other)} {text}."
        for name, text in names.items()
        if (mine := getattr(student, name)) != (other := getattr(control, name)) and None not in (mine, other)
    ]


def speed_up(results: Results) -> float | None:
    """The teacher's median time an image over the student's."""
    return _teacher_over_student(results, lambda arm: arm.latency_ms.p50)


def size_ratio(results: Results) -> float | None:
    """The teacher's file size over the student's."""
    return _teacher_over_student(results, lambda arm: arm.size_mb)


def _teacher_over_student(results: Results, figure: Any) -> float | None:
    teacher, student = results.arms.get("teacher"), results.arms.get("student")
    if not teacher or not student or figure(teacher) is None or not figure(student):
        return None
    return float(figure(teacher) / figure(student))


def headline(results: Results) -> list[Figure]:
    """The four figures under the verdict."""
    teacher, student, control = (results.arms.get(name) or Arm() for name in ("teacher", "student", "control"))
    times = [f"teacher {duration(teacher.train_seconds)}"] if "teacher" in results.arms else []
    times += [f"control {duration(control.train_seconds)}"] if "control" in results.arms else []
    between = f"; 95 % interval {interval}" if (interval := kept(results)) else ""
    return [
        Figure(
            "of the teacher's mAP kept",
            percent(results.student_keeps),
            f"{points(student.mAP50_95)} of {points(teacher.mAP50_95)} mAP50-95 points{between}",
        ),
        Figure(
            "as fast as the teacher",
            ratio(speed_up(results)),
            f"{number(student.latency_ms.p50, 1)} ms an image instead of {number(teacher.latency_ms.p50, 1)} (medians)",
        ),
        Figure(
            "smaller than the teacher",
            ratio(size_ratio(results)),
            f"{number(student.size_mb, 1)} MB instead of {number(teacher.size_mb, 1)} MB",
        ),
        Figure("to train the student", duration(student.train_seconds), "; ".join(times)),
    ]


def lessons(arm: Arm) -> str:
    """What a model learned from, in words."""
    words = {
        "pseudo": "the teacher's pseudo-labels",
        "gt": "ground truth",
        "gt+pseudo": "ground truth and pseudo-labels",
        "gt+pool": "ground truth, and pseudo-labels on unlabelled images",
        "pool": "pseudo-labels on unlabelled images",
    }
    if arm.labels is None:
        return NA
    beside = f"; {arm.scheme} ({arm.method})" if arm.scheme else ""
    return words.get(arm.labels, arm.labels) + beside


def how_measured(measured: dict[str, Any]) -> str:
    """How speed and accuracy were measured, in sentences; what is not known is said to be ``n/a``."""

    def get(name: str) -> str:
        value = measured.get(name)
        return NA if value is None else str(value)

    processor = f" ({measured['processor']})" if measured.get("processor") else ""
    return (
        f"One image at a time on {get('device')}{processor}, {get('precision')}, {get('threads')} threads: "
        f"{get('timed_images')} timings of {get('different_images')} images after {get('warmup_images')} to warm up, "
        f"at each model's own image size, scores from "
        f"{get('timed_conf')} up; reading the file is not counted. Accuracy counts scores from {get('conf')} up. "
        f"NMS at IoU {get('iou')}, at most {get('max_det')} detections an image."
    )
