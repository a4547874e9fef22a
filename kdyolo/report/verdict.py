"""What the figures mean, in sentences that claim no more than they show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kdyolo.evaluation import sentences
from kdyolo.language import ENGLISH, Language, mark
from kdyolo.report.arms import name as arm_name
from kdyolo.report.load import Arm, Inputs, Results
from kdyolo.report.numbers import NA, duration, number, percent, points, ratio, shorten
from kdyolo.report.proof import kept, student_against_control

_MOST_NAMES, _LONGEST_NAME = 6, 40
_SPLITS = {"train": mark("train"), "val": mark("val"), "test": mark("test")}


@dataclass(frozen=True)
class Figure:
    """One of the large figures at the top of the page."""

    title: str
    value: str
    note: str


def task(inputs: Inputs, language: Language = ENGLISH) -> str:
    """What is to be found, in how many images."""
    names, record = inputs.results.classes, inputs.records.get("split")
    splits = record.facts.get("splits", {}) if record else {}
    counts = [splits.get(name, {}).get("images") for name in ("train", "val", "test")]
    if not names or None in counts:
        return ""
    shown = ", ".join(shorten(name, _LONGEST_NAME) for name in names[:_MOST_NAMES])
    if more := len(names) - _MOST_NAMES:
        shown = shown if more < 0 else language.gettext("%(names)s and %(more)s more", names=shown, more=more)
    train, val, test = (number(count, 0, language) for count in counts)
    if pool := record.facts.get("pool") if record else 0:
        return language.gettext(
            "To be found: %(names)s. %(train)s labelled images and %(pool)s without labels to learn from, %(val)s to "
            "choose by, %(test)s to measure on.",
            names=shown,
            train=train,
            pool=number(pool, 0, language),
            val=val,
            test=test,
        )
    return language.gettext(
        "To be found: %(names)s. %(train)s images to learn from, %(val)s to choose by, %(test)s to measure on.",
        names=shown,
        train=train,
        val=val,
        test=test,
    )


def verdict(results: Results, language: Language = ENGLISH) -> str:
    """Did distillation help? What the resampled test images say, and the two figures; see `evaluation.verdicts`."""
    say = language.gettext
    student, control = results.arms.get("student"), results.arms.get("control")
    if student is None:
        return say("This run has no student, so there is nothing to compare.")
    model, where = student.model or arm_name("student", language), _where(results, language)
    if _is_plain(student):
        return say(
            "Nothing was distilled in this run: the %(model)s student learned the data set's own labels, %(where)s.",
            model=model,
            where=where,
        )
    if control is None:
        return say(
            "The distilled %(model)s reaches %(points)s mAP50-95 points %(where)s; whether distillation helped is "
            "unknown, because no control was trained without the teacher.",
            model=model,
            points=points(student.mAP50_95, language),
            where=where,
        )
    mine, others = _mean(results, "student"), _mean(results, "control")
    if mine is None or others is None:
        return say(
            "The distilled %(model)s and its control cannot be compared: mAP50-95 could not be measured %(where)s.",
            model=model,
            where=where,
        )
    reached = say(
        "The distilled %(model)s reaches %(points)s mAP50-95 points against %(others)s of %(other)s, %(where)s.",
        model=model,
        points=points(mine, language),
        others=points(others, language),
        other=_other(student, control, language),
        where=_where_of_seeds(results, language),
    )
    if sentence := _judged(results, language):
        return f"{sentence} {reached}"
    return f"{reached} " + say("Whether that is chance was not measured yet: kdyolo compare --force does it.")


def operating_points(results: Results, language: Language = ENGLISH) -> str:
    """Where the confidences of the models come from, that precision, recall and counts were measured at."""
    if results.measured.get("confidence_from") == "val":
        text = language.gettext(
            "mAP follows the COCO protocol. Precision, recall and counts depend on a confidence: that of each model's "
            "best F1 on the validation images. A lower one finds more and raises more false alarms, so look at both."
        )
        if lost := [arm_name(arm, language) for arm in results.measured.get("without_choice") or ()]:
            text += " " + language.gettext(
                "With no hit there, the confidence is the usual one: %(arms)s.", arms=", ".join(lost)
            )
        return text
    return language.gettext(
        "mAP follows the COCO protocol. Precision and recall are at the confidence of each model's best F1 on these "
        "same images, which flatters both figures; kdyolo compare --force chooses it on validation images."
    )


def _where(results: Results, language: Language) -> str:
    return language.gettext(
        "on %(images)s %(split)s images",
        images=number(results.images, 0, language),
        split=split_name(results, language),
    )


def _where_of_seeds(results: Results, language: Language) -> str:
    where, seeds = _where(results, language), results.uncertainty.get("seeds", 1)
    if seeds < 2:
        return where
    return language.gettext("%(where)s, the mean of %(seeds)s trainings each", where=where, seeds=seeds)


def _other(student: Arm, control: Arm, language: Language) -> str:
    """The control, in words."""
    if control.model == student.model:
        return language.gettext("the same model trained without a teacher")
    return language.gettext("a %(model)s trained without a teacher", model=control.model)


def _judged(results: Results, language: Language) -> str:
    """The verdict of the comparison; in its own words where what they were made from was not kept."""
    stored, found = results.verdict, student_against_control(results).get("difference", {}).get("mAP50_95")
    effect = results.measured.get("min_effect")
    if language == ENGLISH or not found or effect is None or "level" not in found:
        return str(stored.get("sentence") or "")
    if not any(_mean(results, arm) for arm in ("student", "control")):
        return sentences.nothing(results.uncertainty.get("seeds", 1), language)
    needed = stored.get("needed_images"), stored.get("needed_seeds")
    return sentences.verdict(stored["name"], found, effect, results.uncertainty.get("seeds", 1), needed, language)


def split_name(results: Results, language: Language = ENGLISH) -> str:
    """The split that was compared, in a sentence."""
    return language.word(
        {"train": mark("train"), "val": mark("val"), "test": mark("test")}.get(results.split, results.split)
    )


def _mean(results: Results, arm: str) -> float | None:
    """mAP50-95 of an arm, the mean over its trainings; None without it."""
    of_seeds: float | None = results.uncertainty.get("arms", {}).get(arm, {}).get("mAP50_95")
    return (results.arms.get(arm) or Arm()).mAP50_95 if of_seeds is None else of_seeds


def _is_plain(student: Arm) -> bool:
    """Whether it never heard of a teacher."""
    return student.labels == "gt" and student.scheme is None


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


def headline(results: Results, language: Language = ENGLISH) -> list[Figure]:
    """The four figures under the verdict."""
    say = language.gettext
    teacher, student, control = (results.arms.get(name) or Arm() for name in ("teacher", "student", "control"))
    times = [
        say(text, time=duration(arm.train_seconds, language))
        for text, arm, name in (
            (mark("before it the teacher %(time)s"), teacher, "teacher"),
            (mark("the control %(time)s"), control, "control"),
        )
        if name in results.arms and arm.train_seconds is not None
    ]
    return [
        Figure(
            say("of the teacher's mAP kept"),
            percent(results.student_keeps, language),
            "; ".join([_points_kept(results, language), *_control_keeps(results, language)]),
        ),
        Figure(
            say("as fast as the teacher"),
            ratio(speed_up(results), language),
            say(
                "%(student)s ms an image instead of %(teacher)s (medians)",
                student=number(student.latency_ms.p50, 1, language),
                teacher=number(teacher.latency_ms.p50, 1, language),
            ),
        ),
        Figure(
            say("smaller than the teacher"),
            ratio(size_ratio(results), language),
            say(
                "%(student)s MB instead of %(teacher)s MB",
                student=number(student.size_mb, 1, language),
                teacher=number(teacher.size_mb, 1, language),
            ),
        ),
        Figure(say("to train the student"), duration(student.train_seconds, language), "; ".join(times)),
    ]


def _control_keeps(results: Results, language: Language) -> list[str]:
    """What needs no teacher is no merit of distillation."""
    teacher, control = _mean(results, "teacher"), _mean(results, "control")
    if not teacher or control is None:
        return []
    return [language.gettext("without a teacher %(share)s", share=percent(control / teacher, language))]


def _points_kept(results: Results, language: Language) -> str:
    scores = {arm: points(_mean(results, arm), language) for arm in ("student", "teacher")}
    if interval := kept(results, language=language):
        return language.gettext(
            "%(student)s of %(teacher)s mAP50-95 points; 95 %% interval %(interval)s", **scores, interval=interval
        )
    return language.gettext("%(student)s of %(teacher)s mAP50-95 points", **scores)


_LESSONS = {
    "pseudo": mark("the teacher's pseudo-labels"),
    "gt": mark("ground truth"),
    "gt+pseudo": mark("ground truth and pseudo-labels"),
    "gt+pool": mark("ground truth, and pseudo-labels on unlabelled images"),
    "pool": mark("pseudo-labels on unlabelled images"),
}


def lessons(arm: Arm, language: Language = ENGLISH) -> str:
    """What a model learned from, in words."""
    if arm.labels is None:
        return language.gettext("labels outside this run")
    beside = f"; {arm.scheme} ({arm.method})" if arm.scheme else ""
    return language.word(_LESSONS.get(arm.labels, arm.labels)) + beside


def how_measured(measured: dict[str, Any], language: Language = ENGLISH) -> str:
    """How speed and accuracy were measured, in sentences; what is not known is said to be ``n/a``."""

    def get(name: str) -> str:
        value = measured.get(name)
        if isinstance(value, int | float):
            return language.digits(str(value))
        return language.word(NA) if value is None else str(value)

    processor = f" ({measured['processor']})" if measured.get("processor") else ""
    timed = language.gettext(
        "One image at a time on %(device)s, %(precision)s, threads: %(threads)s; %(timed)s timings of %(different)s "
        "images after %(warmup)s to warm up, at each model's own image size, scores from %(conf)s up; reading the file "
        "is not counted.",
        device=get("device") + processor,
        precision=get("precision"),
        threads=get("threads"),
        timed=get("timed_images"),
        different=get("different_images"),
        warmup=get("warmup_images"),
        conf=get("timed_conf"),
    )
    sums = language.gettext("FPS is 1000 over the mean; medians of the steps do not add up to the median of the whole.")
    counted = language.gettext(
        "Accuracy counts scores from %(conf)s up. NMS at IoU %(iou)s, at most %(most)s detections an image.",
        conf=get("conf"),
        iou=get("iou"),
        most=get("max_det"),
    )
    return f"{timed} {sums} {counted}"
