"""Stages `student` and `baseline`: the small model on the teacher's labels, and its control on ground truth alone."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdyolo.config import Config
from kdyolo.errors import StageError
from kdyolo.stages.base import Stage, StageContext, StageResult, fingerprint
from kdyolo.stages.training import train_model
from kdyolo.storage import sha256_by_name, write_text

if TYPE_CHECKING:
    from kdyolo.datasets.view import ViewImage


@dataclass(frozen=True)
class Lesson:
    """One training image of a student and its label text; the same image may come several times."""

    image: Path
    labels: str


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
    return _train(context, "baseline", _repeat(_lessons(context, "gt"), length, context.config.seed), "gt")


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
    for path in [
        *(i.image for i in view.splits.get("pool", ())),
        *sorted((run.stage("pseudo") / "images").glob("*/*")),
    ]:
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


def _repeat(lessons: Sequence[Lesson], length: int, seed: int) -> list[Lesson]:
    """Lessons repeated to `length`: whole rounds, then a seeded choice, so that no image is seen much more often."""
    rounds, rest = divmod(length, len(lessons))
    chosen = [*range(len(lessons))] * rounds + sorted(random.Random(seed).sample(range(len(lessons)), rest))  # noqa: S311
    return [lessons[i] for i in chosen]


def _train(context: StageContext, stage: str, lessons: Sequence[Lesson], labels: str) -> StageResult:
    folder = context.run.stage(stage)
    given = _build_view(folder / "data", lessons)
    training = train_model(context, stage, context.config.student, folder / "data" / "images" / "train")
    if training["labels_sha256"] != given:
        raise StageError(
            f"The training of {stage} did not read the label files it was given.",
            "An image or label in the run directory was changed meanwhile; run the command again with --force.",
        )
    label_files = sorted((folder / "data" / "labels" / "train").glob("*.txt"))
    facts = {"labels": labels, **training}
    score = f"validation mAP50-95 {facts['val_mAP50_95']:.3f}"
    summary = f"{facts['model']} on {labels} labels, {facts['epochs']} epochs, {score}"
    return StageResult([folder / "best.pt", folder / "results.csv", *label_files], facts, summary)


def _build_view(folder: Path, lessons: Sequence[Lesson]) -> str:
    """Link images and write labels as ultralytics looks for them; returns the sha256 of the label files."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "images" / "train").mkdir(parents=True)
    files, taken = [], set[str]()
    for lesson in lessons:
        # An image that comes again, or shares its name with one of the pool, must not overwrite the other: as links,
        # both may be the user's own files.
        stem, number = lesson.image.stem, 1
        while stem.casefold() in taken:
            number += 1
            stem = f"{lesson.image.stem}~{number}"
        taken.add(stem.casefold())
        image = folder / "images" / "train" / f"{stem}{lesson.image.suffix}"
        try:
            os.link(lesson.image, image)
        except OSError:
            shutil.copyfile(lesson.image, image)
        files.append(folder / "labels" / "train" / f"{image.stem}.txt")
        write_text(files[-1], lesson.labels)
    return sha256_by_name(files)


STAGE = Stage(
    name="student",
    command="train-student",
    needs=("split", "pseudo"),
    settings=_student_settings,
    inputs=_inputs,
    versions=("ultralytics", "torch"),
    work=train_student,
)

BASELINE = Stage(
    name="baseline",
    command="train-student --baseline",
    needs=("split", "pseudo"),
    settings=_baseline_settings,
    inputs=_inputs,
    versions=("ultralytics", "torch"),
    work=train_baseline,
)
