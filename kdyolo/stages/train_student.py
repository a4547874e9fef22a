"""Stages `student` and `baseline`: the small model on the teacher's labels, and its control on ground truth alone."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kdyolo.config import Config
from kdyolo.errors import ConfigError
from kdyolo.stages.base import Stage, StageContext, StageResult, fingerprint
from kdyolo.stages.training import Lesson, check_training, repeat, train_on
from kdyolo.storage import RunDir, read_class_map, sha256_file

if TYPE_CHECKING:
    from kdyolo.datasets.view import ViewImage
    from kdyolo.distill.carry import Hearsay
    from kdyolo.distill.plan import Distillation
    from kdyolo.distill.soft_labels import SoftLabels


def _inputs(config: Config) -> dict[str, str]:
    weights = config.student.weights
    return {} if weights is None else {"weights": fingerprint(weights, "student.weights")}


def _recipe(config: Config) -> dict[str, Any]:
    student = config.student.model_dump(mode="json", exclude={"weights", "labels"})
    return {"seed": config.seed, "precision": config.runtime.precision, "student": student}


def _student_settings(config: Config) -> dict[str, Any]:
    distill = config.distill.model_dump(mode="json") if config.distill.scheme != "labels" else {"scheme": "labels"}
    return {**_recipe(config), "labels": config.student_labels, "distill": distill}


def _baseline_settings(config: Config) -> dict[str, Any]:
    # Of the student's labels only one thing reaches the control: whether it must match an epoch that includes the pool.
    return {**_recipe(config), "pool": config.student_labels != "gt"}


def _check(run: RunDir, config: Config) -> None:
    check_training(config, config.student)


def _check_student(run: RunDir, config: Config) -> None:
    from kdyolo.distill.registry import parse

    _check(run, config)
    scheme, recipe = config.distill.scheme, parse(config.distill.method)
    if scheme == "cached" and not recipe.replayable:
        wrong = [info.name for info in recipe.infos if not info.replayable]
        raise ConfigError(
            f"The method '{wrong[0]}' needs the teacher at every step; the cached scheme has only its answers.",
            "Use -S distill.scheme=online-teacher, or a response method.",
        )
    if scheme == "cached" and config.pseudo.augment:
        raise ConfigError(
            "Test-time augmentation gives no soft labels, which the cached scheme needs.",
            "Take one back: -S pseudo.augment=false, or -S distill.scheme=labels.",
        )


def train_student(context: StageContext) -> StageResult:
    """Train the student on the labels the settings name; the record proves which label files were read.

    Raises:
        StageError: The loader did not read exactly the labels it was given.
        Interrupted: Stopped by the user; finished epochs are kept.
    """
    labels, scheme = context.config.student_labels, context.config.distill.scheme
    lessons = _lessons(context, labels)
    distil = None if scheme == "labels" else functools.partial(_distillation, context, lessons)
    return _train(context, "student", lessons, labels, distil)


def _distillation(context: StageContext, lessons: Sequence[Lesson], files: Sequence[Path]) -> Distillation:
    """What the student hears of its teacher, with the soft labels under the names of its own training images."""
    from kdyolo.distill.plan import Distillation

    run, settings = context.run, context.config.distill
    if settings.scheme == "online-teacher":
        teacher = run.stage("teacher")
        return Distillation(settings, teacher / "best.pt", read_class_map(teacher / "classes.json"))
    return Distillation(settings, hearsay=_hearsay(context, lessons, files))


def _hearsay(context: StageContext, lessons: Sequence[Lesson], files: Sequence[Path]) -> dict[str, Hearsay]:
    from kdyolo.distill.carry import Hearsay
    from kdyolo.pseudo.thresholds import doubtful

    thresholds, soft = _thresholds(context), _soft_labels(context, {lesson.name: lesson.image for lesson in lessons})
    hearsay = {}
    for lesson, file in zip(lessons, files, strict=True):
        if (said := soft.get(lesson.name)) is not None:
            ignored = doubtful(said.probs, thresholds) if lesson.unlabelled else np.zeros(len(said.probs), dtype=bool)
            hearsay[file.name] = Hearsay(said, ignored)
    return hearsay


def _soft_labels(context: StageContext, images: Mapping[str, Path]) -> dict[str, SoftLabels]:
    from kdyolo.datasets.view import load_view
    from kdyolo.distill.soft_labels import FILE, Origin, read_soft_labels

    config, run = context.config, context.run
    origin = Origin(
        sha256_file(run.stage("teacher") / "best.pt"),
        config.pseudo.imgsz or config.teacher.imgsz,
        load_view(run.stage("split")).names,
    )
    return read_soft_labels(run.stage("pseudo") / FILE, origin, {n: sha256_file(p) for n, p in images.items()})


def _thresholds(context: StageContext) -> list[float]:
    """Score from which a box of each class is a label, in the order of the classes."""
    held = json.loads((context.run.stage("pseudo") / "thresholds.json").read_text(encoding="utf-8"))
    return [float(score) for score in held.values()]


def train_baseline(context: StageContext) -> StageResult:
    """Train the control: the student's model, start, seed, images and number of steps, on ground truth alone.

    Where the student also learns from unlabelled images, the control sees its own images again as often as it takes
    to make its epochs equally long.
    """
    length = len(_lessons(context, context.config.student_labels))
    return _train(context, "baseline", repeat(_lessons(context, "gt"), length, context.config.seed), "gt")


def _lessons(context: StageContext, labels: str) -> list[Lesson]:
    """Training images with the labels asked for: `pseudo`, `gt`, `gt+pool` or `gt+pseudo`.

    Images the teacher could not read are left out of every variant, so that all arms see the same ones.
    """
    from kdyolo.datasets.view import load_view, verify_view

    run = context.run
    view = load_view(run.stage("split"))
    verify_view(view, ("train", "val", "pool"))
    run.require("pseudo")
    teacher_labels = run.stage("pseudo") / "labels"
    lessons = []
    for image in view.splits["train"]:
        theirs = teacher_labels / "train" / image.label.name
        if theirs.exists():
            text = _label_text(image, theirs, labels)
            lessons.append(Lesson(image.image, text, f"train/{image.image.name}", labels == "pseudo"))
    if labels == "gt":
        return lessons
    pool = [image.image for image in view.splits["pool"]]
    for path in [*pool, *sorted((run.stage("pseudo") / "images" / "pool").glob("*"))]:
        theirs = teacher_labels / "pool" / f"{path.stem}.txt"
        if theirs.exists():
            lessons.append(Lesson(path, theirs.read_text(encoding="utf-8"), f"pool/{path.name}", unlabelled=True))
    return lessons


def _label_text(image: ViewImage, theirs: Path, labels: str) -> str:
    from kdyolo.boxes import xywh_to_xyxy, xyxy_to_xywh
    from kdyolo.datasets.formats.labels import label_text, read_labels
    from kdyolo.pseudo.merge import add_to_truth

    if labels != "gt+pseudo":
        return (theirs if labels == "pseudo" else image.label).read_text(encoding="utf-8")
    (truth_cls, truth), (found_cls, found) = read_labels(image.label), read_labels(theirs)
    # Boxes are shares of one image, so their overlaps are those of the pixel boxes.
    cls, xyxy = add_to_truth(truth_cls, xywh_to_xyxy(truth), found_cls, xywh_to_xyxy(found))
    return label_text(cls, xyxy_to_xywh(xyxy))


def _train(
    context: StageContext,
    stage: str,
    lessons: Sequence[Lesson],
    labels: str,
    distil: Callable[[Sequence[Path]], Distillation] | None = None,
) -> StageResult:
    facts, outputs = train_on(context, stage, context.config.student, lessons, distil)
    score = f"validation mAP50-95 {facts['val_mAP50_95']:.3f}"
    summary = f"{facts['model']} on {labels} labels, {facts['epochs']} epochs, {score}"
    return StageResult(outputs, {"labels": labels, **facts}, summary)


STAGE = Stage(
    name="student",
    command="train-student",
    needs=("split", "pseudo"),
    settings=_student_settings,
    inputs=_inputs,
    versions=("ultralytics", "torch"),
    work=train_student,
    sections=("student", "distill", "runtime"),
    check=_check_student,
)

BASELINE = Stage(
    name="baseline",
    command="train-student --baseline",
    needs=("split", "pseudo"),
    settings=_baseline_settings,
    inputs=_inputs,
    versions=("ultralytics", "torch"),
    work=train_baseline,
    sections=("student", "runtime"),
    check=_check,
)
