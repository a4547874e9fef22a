"""Stages `student` and `baseline`: the small model on the teacher's labels, and its control on ground truth alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdyolo.config import Config
from kdyolo.stages.base import Stage, StageContext, StageResult, fingerprint
from kdyolo.stages.training import Lesson, check_training, repeat, train_on
from kdyolo.storage import RunDir

if TYPE_CHECKING:
    from kdyolo.datasets.view import ViewImage


def _inputs(config: Config) -> dict[str, str]:
    weights = config.student.weights
    return {} if weights is None else {"weights": fingerprint(weights, "student.weights")}


def _recipe(config: Config) -> dict[str, Any]:
    student = config.student.model_dump(mode="json", exclude={"weights", "labels"})
    return {"seed": config.seed, "precision": config.runtime.precision, "student": student}


def _student_settings(config: Config) -> dict[str, Any]:
    return {**_recipe(config), "labels": config.student.labels}


def _baseline_settings(config: Config) -> dict[str, Any]:
    # Of the student's labels only one thing reaches the control: whether it must match an epoch that includes the pool.
    return {**_recipe(config), "pool": config.student.labels != "gt"}


def _check(run: RunDir, config: Config) -> None:
    check_training(config, config.student)


def train_student(context: StageContext) -> StageResult:
    """Train the student on the labels the settings name; the record proves which label files were read.

    Raises:
        StageError: The loader did not read exactly the labels it was given.
        Interrupted: Stopped by the user; finished epochs are kept.
    """
    labels = context.config.student.labels
    return _train(context, "student", _lessons(context, labels), labels)


def train_baseline(context: StageContext) -> StageResult:
    """Train the control: the student's model, start, seed, images and number of steps, on ground truth alone.

    Where the student also learns from unlabelled images, the control sees its own images again as often as it takes
    to make its epochs equally long.
    """
    length = len(_lessons(context, context.config.student.labels))
    return _train(context, "baseline", repeat(_lessons(context, "gt"), length, context.config.seed), "gt")


def _lessons(context: StageContext, labels: str) -> list[Lesson]:
    """Training images with the labels asked for: `pseudo`, `gt`, or `gt+pseudo`.

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
            lessons.append(Lesson(image.image, _label_text(image, theirs, labels)))
    if labels == "gt":
        return lessons
    pool = [image.image for image in view.splits["pool"]]
    for path in [*pool, *sorted((run.stage("pseudo") / "images" / "pool").glob("*"))]:
        theirs = teacher_labels / "pool" / f"{path.stem}.txt"
        if theirs.exists():
            lessons.append(Lesson(path, theirs.read_text(encoding="utf-8")))
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


def _train(context: StageContext, stage: str, lessons: Sequence[Lesson], labels: str) -> StageResult:
    facts, outputs = train_on(context, stage, context.config.student, lessons)
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
    sections=("student", "runtime"),
    check=_check,
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
